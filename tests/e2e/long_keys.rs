//! Keys around the sizes at which something is done in another way, up to some megabytes: in a snapshot and in the
//! stream, set aside and tried again. A journal's records, a log line and a letter never hold them whole.

use anyhow::{Result, ensure};
use testkit::{Client, Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};
use crate::quarantine::quarantine;

/// Around the longest record key, the size from which bytes are shared, a record, and the size from which an event
/// waits in a file.
const KEY_BYTES: [usize; 8] =
    [65_534, 65_535, 65_536, 65_537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000];

/// More than any line that a person reads.
const LINE_BYTES: usize = 2_000;

/// A key of some size, of bytes that have to be quoted.
fn key(name: &str, bytes: usize) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(bytes, 0xf7);
    key
}

fn do_all(client: &mut Client, commands: &[&[&[u8]]]) -> Result<()> {
    commands.iter().try_for_each(|command| client.cmd(command).map(drop))
}

/// A key of each type.
fn fill(client: &mut Client, bytes: usize) -> Result<()> {
    let [string, list, set, zset, hash, stream] =
        ["string", "list", "set", "zset", "hash", "stream"].map(|name| key(name, bytes));
    do_all(
        client,
        &[
            &[b"SET", &string, b"1"],
            &[b"RPUSH", &list, b"a", b"b"],
            &[b"SADD", &set, b"a", b"b"],
            &[b"ZADD", &zset, b"1", b"a"],
            &[b"HSET", &hash, b"f", b"v"],
            &[b"XADD", &stream, b"1-1", b"f", b"v"],
        ],
    )
}

/// Changes of what is there, alone and in transactions.
fn change(client: &mut Client, bytes: usize) -> Result<()> {
    let [string, list, hash, other] =
        ["string", "list", "hash", "other"].map(|name| key(name, bytes));
    do_all(
        client,
        &[
            &[b"INCR", &string],
            &[b"EXPIRE", &list, b"100000"],
            &[b"MULTI"],
            &[b"INCR", &string],
            &[b"INCR", b"short"],
            &[b"HSET", &hash, b"f", b"w", b"g", b"x"],
            &[b"EXEC"],
            &[b"MULTI"],
            &[b"APPEND", &string, b"1"],
            &[b"EXEC"],
            &[b"RENAME", &hash, &other],
            &[b"MSET", &hash, &other, b"short", &string],
            &[b"DEL", &key("set", bytes), &key("zset", bytes)],
            &[b"EVAL", b"redis.call('INCR', KEYS[1]) redis.call('INCR', KEYS[1])", b"1", &string],
        ],
    )
}

fn assert_short_lines(bridge: &Process) {
    let lines = bridge.stderr();
    let longest = lines.lines().max_by_key(|line| line.len()).unwrap_or_default();
    assert!(longest.len() <= LINE_BYTES, "a line of {} bytes", longest.len());
}

#[test]
fn long_keys_of_every_type_arrive_by_snapshot_and_stream() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    for bytes in KEY_BYTES {
        fill(&mut client, bytes)?;
    }
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    for bytes in KEY_BYTES {
        change(&mut client, bytes)?;
        fill(&mut client, bytes + 7)?;
    }
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    assert_short_lines(&bridge);
    stop(&mut bridge)
}

/// The pattern is one that takes quadratic time where every star is tried at every byte.
#[test]
fn a_filter_goes_through_long_keys_in_linear_time() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let long = vec![b'a'; 5_000_000];
    let mut bridge = pair.run(&["--exclude-keys", "*a*a*a*b*c"])?;
    for n in 0..20_u32 {
        client.cmd(&[b"SET".as_slice(), &long, n.to_string().as_bytes()])?;
    }
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn long_keys_are_set_aside_and_released() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let mut destination = pair.destination_client()?;
    for bytes in KEY_BYTES {
        // Of another type there: what is added to the list is refused.
        let list = key("list", bytes);
        destination.cmd(&[b"SET".as_slice(), &list, b"text"])?;
        client.cmd(&[b"RPUSH".as_slice(), &list, b"a"])?;
        do_all(
            &mut client,
            &[&[b"MULTI"], &[b"INCR", b"n"], &[b"RPUSH", &list, b"b"], &[b"EXEC"]],
        )?;
    }
    pair.caught_up(&mut bridge)?;
    let listed = quarantine(&pair, &["list"])?;
    ensure!(listed.lines().count() >= KEY_BYTES.len(), "{} lines", listed.lines().count());
    let longest = listed.lines().map(str::len).max().unwrap_or_default();
    assert!(longest <= 4 * 65_536 + LINE_BYTES, "a line of {longest} bytes");
    assert_short_lines(&bridge);
    // They stay so over a restart, and a value that replaces all of a key releases it.
    stop(&mut bridge)?;
    let mut bridge = pair.run(&[])?;
    for bytes in KEY_BYTES {
        let list = key("list", bytes);
        do_all(&mut client, &[&[b"DEL", &list], &[b"RPUSH", &list, b"c"]])?;
    }
    pair.caught_up(&mut bridge)?;
    eventually(PATIENCE, "nothing is set aside", || {
        Ok(quarantine(&pair, &["list"])?.lines().all(|line| !line.starts_with("db ")).then_some(()))
    })?;
    pair.assert_same()?;
    assert_short_lines(&bridge);
    stop(&mut bridge)
}
