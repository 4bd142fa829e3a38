//! A stop while the brokers are away: nobody waits for them longer than a moment.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::kafka::Broker;
use testkit::{Deadline, Kind};

use crate::apart::{PATIENCE, Stage, stop};

/// What it takes by itself is less than half of it; without a bound it was three times as much.
const LIMIT: Duration = Duration::from_secs(9);
/// How often a time is taken: the machine may be slow once.
const TRIES: usize = 3;

/// How the brokers go away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// Nothing answers.
    Frozen,
    /// Nobody is there.
    Killed,
}

/// How long an apply takes to end once it is asked to, with what it said.
fn stopped(away: Away, is_told: bool) -> Result<(Duration, String)> {
    let mut broker = Broker::start()?;
    let mut stage = Stage::on(Kind::Redis7_0, broker.bootstrap())?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    match away {
        Away::Frozen => broker.pause()?,
        Away::Killed => broker.kill()?,
    }
    if is_told {
        apply.until(PATIENCE, "it tells of the brokers", |_, said| {
            said.contains("the journal does not answer").then_some(())
        })?;
    }
    let since = Deadline::after(PATIENCE);
    stop(&mut apply)?;
    let took = since.elapsed();
    capture.kill()?;
    Ok((took, apply.stderr()))
}

fn assert_stops_soon(away: Away, is_told: bool) -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..TRIES {
        let (took, said) = stopped(away, is_told)?;
        ensure!(said.contains("stopped; start again to go on from here"), "{said}");
        all.push((took, said));
        if took < LIMIT {
            return Ok(());
        }
    }
    anyhow::bail!("{away:?}, {is_told}: never less than {LIMIT:?}: {all:?}")
}

#[test]
fn an_apply_stops_soon_while_its_brokers_do_not_answer() -> Result<()> {
    assert_stops_soon(Away::Frozen, false)?;
    assert_stops_soon(Away::Frozen, true)
}

#[test]
fn an_apply_stops_soon_while_its_brokers_are_not_there() -> Result<()> {
    assert_stops_soon(Away::Killed, false)?;
    assert_stops_soon(Away::Killed, true)
}
