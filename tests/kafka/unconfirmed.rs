//! Writes that the broker takes and whose confirmations never arrive: each is sent again, and there once.

use anyhow::{Result, ensure};
use testkit::kafka::{Broker, Setup, SilentRelay};
use testkit::{Kind, eventually};

use crate::apart::{PATIENCE, Stage, stop};
use crate::load::{Load, assert_counted, assert_one_full_transfer};
use crate::topic::assert_each_once;

/// Of how many writes one is not confirmed.
const EVERY: u64 = 20;
/// Confirmations that are lost, each with its connection and all that is under way on it.
const LOST: u64 = 15;

#[test]
fn writes_whose_confirmations_are_lost_are_there_once() -> Result<()> {
    let relay = SilentRelay::listen()?;
    let advertised = format!("advertised.listeners=CLIENTS://{}", relay.address());
    let broker = Broker::with(&Setup::default().property(&advertised))?;
    relay.pass_to(&broker.bootstrap())?;
    let mut stage = Stage::on(Kind::Redis7_0, relay.address())?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    let load = Load::start(&stage.source)?;
    relay.swallow_every(EVERY);
    eventually(PATIENCE, "confirmations are lost", || {
        ensure!(capture.is_running()?, "it has ended:\n{}", capture.stderr());
        Ok((relay.swallowed() >= LOST).then_some(()))
    })?;
    relay.swallow_every(0);
    let counted = load.stop()?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stage.assert_same()?;
    assert_counted(&stage, counted)?;
    assert_one_full_transfer(&stage)?;
    let changes = u64::try_from(assert_each_once(&stage)?)?;
    ensure!(changes >= 5 * counted, "{changes} changes for {counted} rounds");
    stop(&mut apply)?;
    stop(&mut capture)
}
