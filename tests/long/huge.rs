//! Values as large as a server takes arrive whole, in the snapshot and in the stream.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{Client, Kind, Process, Value, eventually};

use crate::bridge::{Pair, stop};

/// The longest string that a server takes with its defaults.
const STRING_BYTES: usize = 512 << 20;
/// Elements of each large collection.
const ELEMENTS: u32 = 5_000_000;
/// Far more than a debug build on a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Makes a collection of `ARGV[1]` elements.
const FILL: [(&str, &str); 5] = [
    ("list", "redis.call('RPUSH', KEYS[1], 'element:'..i)"),
    ("set", "redis.call('SADD', KEYS[1], 'element:'..i)"),
    ("hash", "redis.call('HSET', KEYS[1], 'field:'..i, 'value:'..i)"),
    ("zset", "redis.call('ZADD', KEYS[1], i, 'element:'..i)"),
    ("stream", "redis.call('XADD', KEYS[1], '1-'..i, 'field', i)"),
];

fn fill(client: &mut Client, elements: u32) -> Result<()> {
    for (key, command) in FILL {
        let script = format!("for i = 1, ARGV[1] do {command} end");
        client.cmd(&["EVAL", &script, "1", key, &elements.to_string()])?;
    }
    Ok(())
}

/// Waits until a key is the same at both sides, by the servers' own digest of its value.
fn arrives(pair: &Pair, bridge: &mut Process, key: &str) -> Result<()> {
    let digest = |client: &mut Client| -> Result<Value> {
        client.set_reply_limit(Some(PATIENCE))?;
        client.cmd(&["DEBUG", "DIGEST-VALUE", key])
    };
    let wanted = digest(&mut pair.source_client()?)?;
    let mut destination = pair.destination_client()?;
    eventually(PATIENCE, format!("{key} is whole at the destination"), || {
        ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
        let there = destination.cmd(&["EXISTS", key])?.int()? == 1;
        Ok((there && digest(&mut destination)? == wanted).then_some(()))
    })
}

#[test]
fn the_longest_string_arrives_in_the_snapshot_and_in_the_stream() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.set_reply_limit(Some(PATIENCE))?;
    let value: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(STRING_BYTES).collect();
    client.cmd(&[b"SET".as_slice(), b"in the snapshot", &value])?;
    let mut bridge = pair.run(&[])?;
    arrives(&pair, &mut bridge, "in the snapshot")?;
    client.cmd(&[b"SET".as_slice(), b"in the stream", &value])?;
    arrives(&pair, &mut bridge, "in the stream")?;
    stop(&mut bridge)
}

#[test]
fn collections_of_millions_arrive_in_the_snapshot() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.set_reply_limit(Some(PATIENCE))?;
    fill(&mut client, ELEMENTS)?;
    let mut bridge = pair.run(&[])?;
    for (key, _) in FILL {
        arrives(&pair, &mut bridge, key)?;
    }
    stop(&mut bridge)
}

/// A script's effects are one transaction.
#[test]
fn a_transaction_of_a_million_changes_arrives() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.set_reply_limit(Some(PATIENCE))?;
    let mut bridge = pair.run(&[])?;
    fill(&mut client, 1_000_000)?;
    for (key, _) in FILL {
        arrives(&pair, &mut bridge, key)?;
    }
    stop(&mut bridge)
}
