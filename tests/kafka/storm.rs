//! Applies of one destination that come and go in quick succession, under load: partitions change hands all the time.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use testkit::{Client, Kind, Process, seed};

use crate::apart::{PATIENCE, Stage, stop};
use crate::load::{assert_one_full_transfer, waiting_bytes};

/// How often one comes and one goes.
const ROUNDS: usize = 10;
/// Increments of each counter between two changes.
const WRITES: u64 = 100;
/// Counters, in all partitions.
const COUNTERS: usize = 20;
/// What waits at the source for its replica link, at most: what a socket does not take at once.
const WAITING_BYTES: u64 = 1 << 20;

fn count(client: &mut Client) -> Result<()> {
    for _ in 0..WRITES {
        let commands: Vec<_> = (0..COUNTERS)
            .map(|number| vec!["INCR".to_owned(), format!("counter:{number}")])
            .collect();
        client.batch(&commands)?;
    }
    Ok(())
}

fn listens(process: &mut Process) -> Result<()> {
    process
        .until(PATIENCE, "it listens", |_, said| said.contains("metrics and status").then_some(()))
}

#[test]
fn partitions_that_change_hands_all_the_time_lose_and_double_nothing() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let destination = stage.destination.uri();
    let start = |stage: &Stage, number: usize| {
        stage.process(&["apply", &destination], &format!("apply-{number}"), &[])
    };
    let mut capture = stage.capture("capture")?;
    let mut applies = vec![start(&stage, 0)?];
    for number in 1..=ROUNDS {
        count(&mut client)?;
        applies.push(start(&stage, number)?);
        if rng.bool() {
            listens(applies.last_mut().context("it was just started")?)?;
        }
        count(&mut client)?;
        // Some leave in good order, others without a word; two or three are there at any moment.
        if applies.len() > 2 {
            let mut leaving: Process = applies.swap_remove(rng.usize(..applies.len()));
            if rng.bool() {
                // Before that it does not know of signals.
                listens(&mut leaving)?;
                stop(&mut leaving)?;
            } else {
                leaving.kill()?;
            }
        }
        let waiting = waiting_bytes(&mut client)?;
        ensure!(waiting <= WAITING_BYTES, "{waiting} bytes wait at the source");
    }
    let mut all: Vec<&mut Process> = applies.iter_mut().chain([&mut capture]).collect();
    stage.caught_up(&mut all)?;
    let mut at = stage.destination.client()?;
    for number in 0..COUNTERS {
        let counted = at.cmd(&["GET", &format!("counter:{number}")])?.int()?;
        let expected = i64::try_from(2 * WRITES)? * i64::try_from(ROUNDS)?;
        ensure!(counted == expected, "counter {number} is {counted}, not {expected}");
    }
    stage.assert_same()?;
    assert_one_full_transfer(&stage)?;
    applies.iter_mut().try_for_each(stop)?;
    stop(&mut capture)
}
