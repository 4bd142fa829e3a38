//! Kill -9 at random moments: nothing lost, nothing twice.
//!
//! The first kills of a run fall into the snapshot, which begins anew each time; the later ones into
//! the start and the stream.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use fastrand::Rng;
use testkit::{Client, Kind, Process, Value, Workload, eventually, seed};

use crate::bridge::{PATIENCE, Pair, stop};

/// Kills in the snapshot, in one run of one test.
const SNAPSHOT_KILLS: usize = 3;
/// Kills after it.
const STREAM_KILLS: usize = 10;
/// Keys before the bridge starts: a snapshot that takes long enough to be hit.
const SNAPSHOT_KEYS: usize = 20_000;
/// Elements of each large value: far more than travels in one part.
const LARGE_ELEMENTS: usize = 50_000;
/// What a temporary key of a large value has in its name.
const STAGED: &str = "keyferry:*:stage:*";

fn survives_kills(source: Kind, destination: Kind, partitions: &str) -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut pair = Pair::start(source, destination)?;
    let mut client = pair.source_client()?;
    let mut workload = Workload::new(rng.u64(..), source);
    let flags = ["--partitions", partitions];
    kill_in_the_snapshot(&mut pair, &mut rng, &flags, |client, rng| {
        workload.run(client, rng.usize(1..400)).map(drop)
    })?;
    for _ in 0..STREAM_KILLS {
        let mut bridge = pair.run(&flags)?;
        for _ in 0..rng.usize(1..6) {
            workload.run(&mut client, rng.usize(1..400))?;
        }
        wait_for_a_moment(&mut bridge, &mut rng)?;
        bridge.kill()?;
    }
    let mut bridge = pair.run(&flags)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn counts_exactly_whatever_is_killed_and_when() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut counted = 0;
    let mut count = |client: &mut Client, rng: &mut Rng| -> Result<()> {
        for _ in 0..rng.usize(1..500) {
            client.cmd(&["INCR", "counted"])?;
            client.cmd(&["LPUSH", "pushed", &counted.to_string()])?;
            client.cmd(&["APPEND", "appended", "x"])?;
            counted += 1;
        }
        Ok(())
    };
    kill_in_the_snapshot(&mut pair, &mut rng, &[], &mut count)?;
    for _ in 0..STREAM_KILLS {
        let mut bridge = pair.run(&[])?;
        count(&mut client, &mut rng)?;
        wait_for_a_moment(&mut bridge, &mut rng)?;
        bridge.kill()?;
    }
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let mut destination = pair.destination_client()?;
    assert_eq!(destination.cmd(&["GET", "counted"])?.text()?, counted.to_string());
    assert_eq!(destination.cmd(&["LLEN", "pushed"])?.int()?, counted);
    assert_eq!(destination.cmd(&["STRLEN", "appended"])?.int()?, counted);
    pair.assert_same()?;
    stop(&mut bridge)
}

/// Values that travel in parts are put together anew after each kill, and nothing of a broken attempt stays.
#[test]
fn a_kill_between_the_parts_of_a_large_value_leaves_nothing_behind() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    fill_large(&mut pair.source_client()?)?;
    let mut destination = pair.destination_client()?;
    for _ in 0..SNAPSHOT_KILLS {
        let mut bridge = pair.run(&[])?;
        let polls = rng.usize(1..20);
        let mut seen = 0;
        eventually(PATIENCE, "a large value is half there", || {
            ensure!(bridge.is_running()?, "the bridge ended by itself:\n{}", bridge.stderr());
            seen += usize::from(staged(&mut destination)? > 0);
            Ok((seen == polls).then_some(()))
        })?;
        bridge.kill()?;
    }
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    ensure!(staged(&mut destination)? == 0, "temporary keys are left");
    stop(&mut bridge)
}

/// Notes of a resync go with the process that makes them, or else with the next start.
#[test]
fn notes_of_a_resync_that_a_killed_process_left_are_gone_after_a_start() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let left = Path::new(&pair.data_dir()).join("marks/main/.tmpLeft");
    std::fs::create_dir_all(&left)?;
    std::fs::write(left.join("marks-000"), "left")?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    ensure!(!left.exists(), "{} is there", left.display());
    stop(&mut bridge)
}

/// How many increments one script makes: a transaction of many times the memory for it.
const SCRIPT_WRITES: u64 = 60_000;
/// Kills in one such transaction.
const TRANSACTION_KILLS: u64 = 4;

/// A large transaction waits in a file for its end, and goes from there into the journal: it is killed in both.
#[test]
fn a_kill_in_a_large_transaction_loses_nothing_and_leaves_no_file() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let backlog = ["repl-backlog-size 256mb"];
    let mut pair = Pair::start_with(Kind::Redis7_0, &backlog, Kind::Redis7_0, &[])?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let file = file_named("transaction.spool", pair.data_dir().as_ref());
    ensure!(file.is_none(), "{file:?} is there before the transaction");
    let script = format!("for i = 1, {SCRIPT_WRITES} do redis.call('INCR', 'counted') end");
    client.cmd(&["EVAL", &script, "0"])?;
    let (mut killed_in_the_file, mut left) = (0, None);
    for _ in 0..TRANSACTION_KILLS {
        let bytes = rng.u64(0..SCRIPT_WRITES * 20);
        eventually(PATIENCE, "the transaction is put aside", || {
            ensure!(bridge.is_running()?, "the bridge ended by itself:\n{}", bridge.stderr());
            left =
                left.take().or_else(|| file_named("transaction.spool", pair.data_dir().as_ref()));
            let length = left.as_ref().and_then(|path| std::fs::metadata(path).ok());
            // It may have grown on and gone between two looks.
            let is_over = counted(&pair)? == SCRIPT_WRITES;
            Ok((is_over || length.is_some_and(|file| file.len() > bytes)).then_some(()))
        })?;
        bridge.kill()?;
        killed_in_the_file += usize::from(left.as_ref().is_some_and(|path| path.exists()));
        bridge = pair.run(&[])?;
    }
    ensure!(killed_in_the_file > 0, "no kill of {TRANSACTION_KILLS} fell into the transaction");
    println!("{killed_in_the_file} of {TRANSACTION_KILLS} kills fell into the transaction");
    pair.caught_up(&mut bridge)?;
    ensure!(counted(&pair)? == SCRIPT_WRITES, "counted {}", counted(&pair)?);
    ensure!(!left.is_some_and(|path| path.exists()), "the file of the transaction stays");
    let full_syncs = client.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "full syncs: {full_syncs:?}");
    pair.assert_same()?;
    stop(&mut bridge)
}

fn counted(pair: &Pair) -> Result<u64> {
    let text = pair.destination_client()?.cmd(&["GET", "counted"])?.text();
    Ok(text.ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// A file somewhere below a directory.
fn file_named(name: &str, dir: &Path) -> Option<PathBuf> {
    // What is gone at a second look is not there.
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    entries.map(|entry| entry.path()).find_map(|path| match path.is_dir() {
        true => file_named(name, &path),
        false => (path.file_name()? == name).then_some(path),
    })
}

fn staged(destination: &mut Client) -> Result<usize> {
    Ok(destination.cmd(&["KEYS", STAGED])?.list()?.len())
}

/// Sets the keys that make a snapshot long, to a value of this round.
fn fill(client: &mut Client, round: usize) -> Result<()> {
    let commands: Vec<Vec<String>> = (0..SNAPSHOT_KEYS)
        .map(|key| vec!["SET".to_owned(), format!("fill:{key}"), format!("{round:0100}")])
        .collect();
    client.batch(&commands)?;
    Ok(())
}

/// Whether some of these keys have no value of this round yet.
fn is_behind(destination: &mut Client, round: usize) -> Result<bool> {
    let mut command = vec!["MGET".to_owned()];
    command.extend((0..SNAPSHOT_KEYS).map(|key| format!("fill:{key}")));
    let wanted = Value::Bulk(format!("{round:0100}").into_bytes());
    let reply = destination.batch(&[command])?.remove(0);
    let Value::Array(values) = reply else { bail!("MGET answers {reply:?}") };
    Ok(values.iter().any(|value| *value != wanted))
}

/// A value of each type that is too large for one part.
fn fill_large(client: &mut Client) -> Result<()> {
    for (key, command) in
        [("list", "RPUSH"), ("set", "SADD"), ("hash", "HSET"), ("zset", "ZADD"), ("stream", "XADD")]
    {
        let commands: Vec<Vec<String>> = (0..LARGE_ELEMENTS)
            .map(|number| {
                let element = format!("{number:040}");
                let words: &[&str] = match command {
                    "HSET" => &[&element, "value"],
                    "ZADD" => &["1", &element],
                    "XADD" => &["*", "field", &element],
                    _ => &[&element],
                };
                [command, key].iter().chain(words).map(|word| (*word).to_owned()).collect()
            })
            .collect();
        client.batch(&commands)?;
    }
    Ok(())
}

/// Runs the bridge again and again and kills it when a random key of a snapshot has come, while writes go on; fails
/// if no kill has fallen into a snapshot.
fn kill_in_the_snapshot(
    pair: &mut Pair,
    rng: &mut Rng,
    flags: &[&str],
    mut write: impl FnMut(&mut Client, &mut Rng) -> Result<()>,
) -> Result<()> {
    let mut client = pair.source_client()?;
    let mut destination = pair.destination_client()?;
    let mut hits = 0;
    for round in 1..=SNAPSHOT_KILLS {
        client.select(0)?;
        fill(&mut client, round)?;
        let mut bridge = pair.run(flags)?;
        write(&mut client, rng)?;
        let key = format!("fill:{}", rng.usize(0..SNAPSHOT_KEYS));
        let wanted = format!("{round:0100}");
        eventually(PATIENCE, "a random key of the snapshot has come", || {
            ensure!(bridge.is_running()?, "the bridge ended by itself:\n{}", bridge.stderr());
            let found = destination.cmd(&["GET", &key])?.text().ok();
            Ok((found.as_ref() == Some(&wanted)).then_some(()))
        })?;
        bridge.kill()?;
        hits += usize::from(is_behind(&mut destination, round)?);
    }
    ensure!(hits > 0, "no kill of {SNAPSHOT_KILLS} has fallen into a snapshot");
    println!("{hits} of {SNAPSHOT_KILLS} early kills fell into a snapshot");
    Ok(())
}

/// Lets the bridge do a random amount of work: a number of keys or a state of the destination is awaited, so that
/// kills fall into the start, the snapshot and the stream alike.
fn wait_for_a_moment(bridge: &mut Process, rng: &mut Rng) -> Result<()> {
    let polls = rng.usize(0..150);
    let mut seen = 0;
    eventually(PATIENCE, "the random moment has come", || {
        seen += 1;
        ensure!(bridge.is_running()?, "the bridge ended by itself:\n{}", bridge.stderr());
        Ok((seen > polls).then_some(()))
    })
}

#[test]
fn survives_kills_redis_7_0() -> Result<()> {
    survives_kills(Kind::Redis7_0, Kind::Redis7_0, "16")
}

#[test]
fn survives_kills_valkey_9_1() -> Result<()> {
    survives_kills(Kind::Valkey9_1, Kind::Valkey9_1, "1")
}
