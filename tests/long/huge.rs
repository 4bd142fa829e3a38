//! Keys and values as large as a server takes arrive whole, in the snapshot and in the stream, and cost little more
//! memory than the largest of them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::{Client, Deadline, Kind, Process, Value, eventually};

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

/// A command that adds one more element.
type Grow = (&'static str, fn(&str, u32) -> Vec<String>);

const GROW: [Grow; 5] = [
    ("list", |key, number| words(&["RPUSH", key, &format!("element:{number}")])),
    ("set", |key, number| words(&["SADD", key, &format!("element:{number}")])),
    ("hash", |key, number| words(&["HSET", key, &format!("field:{number}"), "value"])),
    ("zset", |key, number| {
        words(&["ZADD", key, &number.to_string(), &format!("element:{number}")])
    }),
    ("stream", |key, number| words(&["XADD", key, "*", "field", &number.to_string()])),
];

/// Commands that a client sends at once.
const BATCH: u32 = 1_000;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn fill(client: &mut Client, (key, command): (&str, &str), elements: u32) -> Result<()> {
    let script = format!("for i = 1, ARGV[1] do {command} end");
    client.cmd(&["EVAL", &script, "1", key, &elements.to_string()])?;
    Ok(())
}

/// Waits until a key is the same at both sides, by the servers' own digest of its value.
fn arrives(pair: &Pair, bridge: &mut Process, key: impl AsRef<[u8]>) -> Result<()> {
    let key = key.as_ref();
    let digest = |client: &mut Client| -> Result<Value> {
        client.set_reply_limit(Some(PATIENCE))?;
        client.cmd(&[b"DEBUG".as_slice(), b"DIGEST-VALUE", key])
    };
    let wanted = digest(&mut pair.source_client()?)?;
    let mut destination = pair.destination_client()?;
    let shown = String::from_utf8_lossy(key.get(..20).unwrap_or(key)).into_owned();
    eventually(PATIENCE, format!("{shown} is whole at the destination"), || {
        ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
        let there = destination.cmd(&[b"EXISTS".as_slice(), key])?.int()? == 1;
        Ok((there && digest(&mut destination)? == wanted).then_some(()))
    })
}

/// What the process may take beside the largest string.
const MORE_BYTES: usize = 128 << 20;

/// What is done with the longest string, as a key or a value, and which key shows that it has arrived.
type Case = (&'static str, fn(&mut Client, &[u8]) -> Result<()>, bool);

const CASES: [Case; 9] = [
    ("SET value", |client, long| all(client, &[&[b"SET", b"key", long]]), false),
    ("HSET value", |client, long| all(client, &[&[b"HSET", b"key", b"f", long]]), false),
    ("RPUSH value", |client, long| all(client, &[&[b"RPUSH", b"key", long, b"b"]]), false),
    (
        "SET value in MULTI",
        |client, long| {
            let transaction: [&[&[u8]]; 5] = [
                &[b"MULTI"],
                &[b"INCR", b"n"],
                &[b"SET", b"key", long],
                &[b"INCR", b"n"],
                &[b"EXEC"],
            ];
            all(client, &transaction)
        },
        false,
    ),
    (
        "SET value by a script",
        |client, long| {
            let script = b"redis.call('SET', KEYS[1], ARGV[1]) redis.call('INCR', 'n')".as_slice();
            all(client, &[&[b"EVAL", script, b"1", b"key", long]])
        },
        false,
    ),
    ("SET key", |client, long| all(client, &[&[b"SET", long, b"v"]]), true),
    ("HSET key", |client, long| all(client, &[&[b"HSET", long, b"f", b"v"]]), true),
    ("RPUSH key", |client, long| all(client, &[&[b"RPUSH", long, b"a", b"b"]]), true),
    (
        "INCR key in MULTI",
        |client, long| all(client, &[&[b"MULTI"], &[b"INCR", long], &[b"INCR", b"n"], &[b"EXEC"]]),
        true,
    ),
];

fn all(client: &mut Client, commands: &[&[&[u8]]]) -> Result<()> {
    commands.iter().try_for_each(|command| client.cmd(command).map(drop))
}

/// The most memory that a process has taken, bytes.
fn peak_of(bridge: &Process) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no peak")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}

fn assert_frugal(bridge: &Process, what: &str, largest_bytes: usize) -> Result<()> {
    let peak = peak_of(bridge)?;
    println!("{what}: {} MiB at the peak", peak >> 20);
    assert!(peak <= largest_bytes + MORE_BYTES, "{what}: {peak} bytes at the peak");
    Ok(())
}

/// Else the source would give up a link whose buffer gets so much at once, and send a snapshot.
const PATIENT: [&str; 1] = ["client-output-buffer-limit replica 0 0 0"];

/// It came in the stream.
fn assert_one_transfer(client: &mut Client, what: &str) -> Result<()> {
    let full_syncs = client.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "{what}: full syncs: {full_syncs:?}");
    Ok(())
}

fn long_string() -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(STRING_BYTES).collect()
}

#[test]
fn the_longest_keys_and_values_cost_little_more_than_themselves_in_the_stream() -> Result<()> {
    let long = long_string();
    for (what, change, is_key) in CASES {
        let mut pair = Pair::start_with(Kind::Redis7_0, &PATIENT, Kind::Redis7_0, &[])?;
        let mut client = pair.source_client()?;
        client.set_reply_limit(Some(PATIENCE))?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        change(&mut client, &long)?;
        arrives(&pair, &mut bridge, if is_key { &long[..] } else { b"key" })?;
        assert_frugal(&bridge, what, STRING_BYTES)?;
        assert_one_transfer(&mut client, what)?;
        stop(&mut bridge)?;
    }
    Ok(())
}

#[test]
fn the_longest_keys_cost_little_more_than_themselves_in_a_snapshot() -> Result<()> {
    let long = long_string();
    for (what, change, _) in CASES.iter().filter(|(_, _, is_key)| *is_key) {
        let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
        let mut client = pair.source_client()?;
        client.set_reply_limit(Some(PATIENCE))?;
        change(&mut client, &long)?;
        let mut bridge = pair.run(&[])?;
        arrives(&pair, &mut bridge, &long)?;
        assert_frugal(&bridge, &format!("{what}, in a snapshot"), STRING_BYTES)?;
        stop(&mut bridge)?;
    }
    Ok(())
}

#[test]
fn the_longest_string_arrives_in_the_snapshot_and_in_the_stream() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.set_reply_limit(Some(PATIENCE))?;
    let value = long_string();
    client.cmd(&[b"SET".as_slice(), b"in the snapshot", &value])?;
    let mut bridge = pair.run(&[])?;
    arrives(&pair, &mut bridge, "in the snapshot")?;
    client.cmd(&[b"SET".as_slice(), b"in the stream", &value])?;
    arrives(&pair, &mut bridge, "in the stream")?;
    stop(&mut bridge)
}

#[test]
fn each_collection_of_millions_costs_little_memory_in_a_snapshot() -> Result<()> {
    for made in FILL {
        let (key, _) = made;
        let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
        let mut client = pair.source_client()?;
        client.set_reply_limit(Some(PATIENCE))?;
        fill(&mut client, made, ELEMENTS)?;
        let since = Deadline::after(PATIENCE);
        let mut bridge = pair.run(&[])?;
        arrives(&pair, &mut bridge, key)?;
        println!(
            "{key} of {ELEMENTS} elements: there after {:.0} s",
            since.elapsed().as_secs_f64()
        );
        assert_frugal(&bridge, &format!("{key} of {ELEMENTS} elements"), 0)?;
        stop(&mut bridge)?;
    }
    Ok(())
}

/// One by one, as a client writes them that has much to say.
#[test]
fn each_collection_of_millions_costs_little_memory_in_the_stream() -> Result<()> {
    for (key, words) in GROW {
        let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
        let mut client = pair.source_client()?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        let since = Deadline::after(PATIENCE);
        for number in 0..ELEMENTS / BATCH {
            let elements = number * BATCH..(number + 1) * BATCH;
            client.batch(&elements.map(|number| words(key, number)).collect::<Vec<_>>())?;
        }
        // A digest of so much keeps the destination busy: not while it is being filled.
        client.cmd(&["SET", "last", "1"])?;
        arrives(&pair, &mut bridge, "last")?;
        arrives(&pair, &mut bridge, key)?;
        println!("{key} of {ELEMENTS} changes: there after {:.0} s", since.elapsed().as_secs_f64());
        assert_frugal(&bridge, &format!("{key} of {ELEMENTS} changes"), 0)?;
        stop(&mut bridge)?;
    }
    Ok(())
}

/// A script's effects are one transaction.
fn transactions_cost_little_memory(elements: u32) -> Result<()> {
    for made in FILL {
        let (key, _) = made;
        let mut pair = Pair::start_with(Kind::Redis7_0, &PATIENT, Kind::Redis7_0, &[])?;
        let mut client = pair.source_client()?;
        client.set_reply_limit(Some(PATIENCE))?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        let since = Deadline::after(PATIENCE);
        fill(&mut client, made, elements)?;
        client.cmd(&["SET", "last", key])?;
        arrives(&pair, &mut bridge, "last")?;
        arrives(&pair, &mut bridge, key)?;
        let what = format!("{key}, {elements} changes in one transaction");
        println!("{what}: there after {:.0} s", since.elapsed().as_secs_f64());
        assert_frugal(&bridge, &what, 0)?;
        assert_one_transfer(&mut client, &what)?;
        stop(&mut bridge)?;
    }
    Ok(())
}

#[test]
fn a_transaction_of_a_million_changes_costs_little_memory() -> Result<()> {
    transactions_cost_little_memory(1_000_000)
}

#[test]
fn a_transaction_of_millions_of_changes_costs_little_memory() -> Result<()> {
    transactions_cost_little_memory(ELEMENTS)
}
