//! Several `keyferry apply` of one destination share its partitions, and execute together what is of partitions of
//! several of them: transactions, scripts, flushes, exchanges of databases.

use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use testkit::{Kind, Process, Workload, seed};

use crate::apart::{PATIENCE, Stage, stop};
use crate::processes::status_says;

/// Processes that share the destination.
const APPLIES: usize = 3;
/// How often one of them, or the capture, is killed.
const KILLS: usize = 8;

fn apply(stage: &Stage, number: usize) -> Result<Process> {
    let (destination, dir) = (stage.destination.uri(), format!("apply-{number}"));
    stage.process(&["apply", &destination], &dir, &[])
}

#[test]
fn what_is_of_partitions_of_several_processes_takes_effect_once_whoever_is_killed() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let mut workload = Workload::new(rng.u64(..), Kind::Redis7_0);
    workload.run(&mut client, 500)?;
    let mut capture = stage.capture("capture")?;
    let mut applies: Vec<Process> =
        (0..APPLIES).map(|number| apply(&stage, number)).collect::<Result<_>>()?;
    for number in 0..APPLIES {
        // Each has a part: so what is of all partitions is of several processes.
        let dir = stage.data_dir(&format!("apply-{number}"));
        status_says(&dir, &stage.stream, "apply: stream")?;
    }
    for round in 0..KILLS {
        workload.run(&mut client, rng.usize(100..600))?;
        let which = rng.usize(0..=APPLIES);
        let victim = applies.get_mut(which).unwrap_or(&mut capture);
        if rng.bool() {
            victim.until(PATIENCE, "it listens", |_, said| {
                said.contains("metrics and status").then_some(())
            })?;
            workload.run(&mut client, rng.usize(1..400))?;
        }
        victim.kill()?;
        *victim = match which {
            APPLIES => stage.capture("capture")?,
            number => apply(&stage, number)?,
        };
        if round % 4 == 3 {
            let mut all: Vec<_> = applies.iter_mut().chain([&mut capture]).collect();
            stage.caught_up(&mut all)?;
            stage.assert_same()?;
        }
    }
    applies.iter_mut().try_for_each(stop)?;
    stop(&mut capture)
}

/// `./test long` has five minutes of this.
const ACCIDENTS: Duration = Duration::from_secs(30);

#[test]
fn one_capture_and_five_applies_of_three_destinations_survive_accidents() -> Result<()> {
    crate::chaos::survive(ACCIDENTS)
}
