//! A side that stands still or restarts: the source is not harmed, memory stays small, nothing is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};
use crate::standstill;

/// Below this the figures would say nothing. What was reached is printed: a debug build on a machine that others use
/// as well does not keep the pace that is aimed at, which `./test long` asks for.
const WRITES_PER_SECOND_MIN: u64 = 15_000;

#[test]
fn a_paused_destination_harms_nobody() -> Result<()> {
    standstill::harms_nobody(WRITES_PER_SECOND_MIN)
}

/// A link on which nothing comes is given up after a minute, which is what real replicas do.
const SILENCE: Duration = Duration::from_secs(100);

#[test]
fn a_paused_source_is_waited_for() -> Result<()> {
    let mut pair = Pair::start(Kind::Valkey9_1, Kind::Valkey9_1)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "before", "1"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.source.pause()?;
    bridge.until(SILENCE, "it says that nothing comes", |_, said| {
        said.contains("has been silent for too long").then_some(())
    })?;
    eventually(PATIENCE, "the status says that it waits", || {
        let mut asked = Process::start(&["status", "--data-dir", &pair.data_dir()])?;
        ensure!(asked.wait(PATIENCE)?.success(), "{}", asked.stderr());
        let said = asked.stdout();
        Ok((said.contains("connecting") && said.contains("silent")).then_some(()))
    })?;
    ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
    pair.source.resume()?;
    client.cmd(&["SET", "after", "1"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    ensure!(pair.destination_client()?.cmd(&["GET", "after"])?.text()? == "1");
    let full_syncs = client.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "full syncs: {full_syncs:?}");
    stop(&mut bridge)
}

#[test]
fn both_servers_restart_under_a_running_bridge() -> Result<()> {
    let append = ["appendonly yes", "appendfsync always"];
    let mut pair = Pair::start_with(Kind::Redis7_0, &append, Kind::Redis7_0, &append)?;
    pair.source_client()?.cmd(&["SET", "counter", "5"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.destination.restart()?;
    pair.source_client()?.cmd(&["INCR", "counter"])?;
    pair.caught_up(&mut bridge)?;
    pair.source.restart()?;
    eventually(PATIENCE, "the source answers again", || Ok(pair.source_client().ok().map(|_| ())))?;
    pair.source_client()?.cmd(&["INCR", "counter"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}
