//! Kill -9 at random moments: nothing lost, nothing twice.

use anyhow::{Result, ensure};
use fastrand::Rng;
use testkit::{Kind, Process, Workload, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

/// Kills in one run of one test.
const KILLS: u64 = 12;

/// Prints the seed that replays a failure.
fn seed() -> u64 {
    let seed = std::env::var_os("KEYFERRY_TEST_SEED")
        .and_then(|text| text.to_string_lossy().parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("replay with KEYFERRY_TEST_SEED={seed}");
    seed
}

fn survives_kills(source: Kind, destination: Kind, partitions: &str) -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut pair = Pair::start(source, destination)?;
    let mut client = pair.source_client()?;
    let mut workload = Workload::new(rng.u64(..), source);
    // Enough for a snapshot that a kill can fall into.
    fill(&mut client, 20_000)?;
    let flags = ["--partitions", partitions];
    for _ in 0..KILLS {
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
    fill(&mut client, 20_000)?;
    let mut counted = 0;
    for _ in 0..KILLS {
        let mut bridge = pair.run(&[])?;
        for _ in 0..rng.usize(1..500) {
            client.cmd(&["INCR", "counted"])?;
            client.cmd(&["LPUSH", "pushed", &counted.to_string()])?;
            client.cmd(&["APPEND", "appended", "x"])?;
            counted += 1;
        }
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

fn fill(client: &mut testkit::Client, keys: usize) -> Result<()> {
    let commands: Vec<Vec<String>> = (0..keys)
        .map(|key| vec!["SET".to_owned(), format!("fill:{key}"), format!("{key:0100}")])
        .collect();
    client.batch(&commands)?;
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
