//! Accidents at random for as long as it takes: kills, lost connections, servers that stand still.

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use testkit::{Client, Deadline, Kind, Process, Workload, seed};

use crate::bridge::{Pair, stop};

/// How long one soak lasts, unless `KEYFERRY_SOAK_SECONDS` says otherwise.
const SOAK: Duration = Duration::from_secs(600);
/// Accidents between two comparisons.
const ROUNDS: usize = 20;

/// How long the processes around a broker meet with accidents, unless `KEYFERRY_SOAK_SECONDS` says otherwise.
const CHAOS: Duration = Duration::from_secs(300);

fn soak(source: Kind, destination: Kind) -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let deadline =
        Deadline::after(number("KEYFERRY_SOAK_SECONDS").map_or(SOAK, Duration::from_secs));
    let mut pair = Pair::start_with(source, &["repl-backlog-size 64mb"], destination, &[])?;
    let (mut client, mut workload) = (pair.source_client()?, Workload::new(rng.u64(..), source));
    let mut bridge = pair.run(&[])?;
    while !deadline.has_passed() {
        for _ in 0..ROUNDS {
            workload.run(&mut client, rng.usize(1..600))?;
            bridge =
                accident(&mut pair, bridge, &mut rng, || workload.run(&mut client, 300).map(drop))?;
        }
        pair.caught_up(&mut bridge)?;
        pair.assert_same()?;
    }
    println!("in the end, all is equal");
    stop(&mut bridge)
}

/// One accident, while `write` goes on. Gives the bridge that runs afterwards.
fn accident(
    pair: &mut Pair,
    mut bridge: Process,
    rng: &mut Rng,
    mut write: impl FnMut() -> Result<()>,
) -> Result<Process> {
    let cut = |mut client: Client, whose: &str| -> Result<()> {
        client.cmd(&["CLIENT", "KILL", "TYPE", whose]).map(drop)
    };
    let which = rng.u8(0..6);
    if which != 0 {
        // A start waits for a server that has answered it, and ends where one has not: an accident may come before
        // the first answer. Only a kill may come that early.
        pair.caught_up(&mut bridge)?;
    }
    match which {
        0 => {
            bridge.kill()?;
            write()?;
            bridge = pair.run(&[])?;
        }
        1 => {
            stop(&mut bridge)?;
            write()?;
            bridge = pair.run(&[])?;
        }
        2 => cut(pair.source_client()?, "replica")?,
        3 => cut(pair.destination_client()?, "normal")?,
        4 => {
            pair.destination.pause()?;
            write()?;
            pair.destination.resume()?;
        }
        _ => write()?,
    }
    Ok(bridge)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var_os(variable)?.to_string_lossy().parse().ok()
}

#[test]
fn soak_redis_7_0() -> Result<()> {
    soak(Kind::Redis7_0, Kind::Redis7_0)
}

#[test]
fn soak_valkey_9_1() -> Result<()> {
    soak(Kind::Valkey9_1, Kind::Valkey9_1)
}

#[test]
fn soak_redis_6_2_to_8_2() -> Result<()> {
    soak(Kind::Redis6_2, Kind::Redis8_2)
}

#[test]
fn one_capture_and_five_applies_of_three_destinations_survive_five_minutes() -> Result<()> {
    let lasting = number("KEYFERRY_SOAK_SECONDS").map_or(CHAOS, Duration::from_secs);
    crate::chaos::survive(lasting)
}
