//! `keyferry resnapshot` over a journal on Kafka, with capture and apply as processes of their own.

use anyhow::{Result, ensure};
use testkit::{Kind, Process};

use crate::apart::{PATIENCE, Stage, stop};
use crate::load::{Load, assert_counted};

/// Keys at the start.
const KEYS: usize = 2_000;

fn prepare(stage: &Stage) -> Result<()> {
    let mut client = stage.source_client()?;
    for (name, value) in [
        ("repl-backlog-size", "100mb"),
        ("repl-diskless-sync", "yes"),
        ("repl-diskless-sync-delay", "0"),
    ] {
        client.cmd(&["CONFIG", "SET", name, value])?;
    }
    for number in 0..KEYS {
        client.cmd(&["SET", &format!("key:{number}"), &format!("value {number}")])?;
    }
    Ok(())
}

fn resnapshot(stage: &Stage) -> Result<Process> {
    stage.process(&["resnapshot"], "asking", &[])
}

/// One under way that would take most of a minute, if its link lasted: the process that asked for it.
fn under_way(stage: &Stage) -> Result<Process> {
    let mut source = stage.source_client()?;
    source.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "20000"])?;
    let mut asked = resnapshot(stage)?;
    asked.until(PATIENCE, "it begins", |_, said| said.contains(" begins: ").then_some(()))?;
    source.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"])?;
    Ok(asked)
}

#[test]
fn a_snapshot_is_made_beside_the_stream_whoever_captures_it_dies() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    prepare(&stage)?;
    let (mut first, mut apply) = (stage.capture("first")?, stage.apply()?);
    stage.caught_up(&mut [&mut first, &mut apply])?;
    let mut second = stage.capture("second")?;
    let load = Load::start(&stage.source)?;
    let mut asked = resnapshot(&stage)?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}\n{}", asked.stderr(), first.stderr());
    ensure!(asked.stdout().contains("is complete"), "{}", asked.stdout());
    let mut asked = under_way(&stage)?;
    first.kill()?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}\n{}", asked.stderr(), second.stderr());
    ensure!(asked.stderr().contains("is given up"), "{}", asked.stderr());
    let counted = load.stop()?;
    stage.caught_up(&mut [&mut second, &mut apply])?;
    stage.assert_same()?;
    assert_counted(&stage, counted)?;
    ensure!(!second.stderr().contains("everything is read again"), "{}", second.stderr());
    let syncs = stage.source_client()?.info_field("stats", "sync_full")?;
    // For the stream, one that was made, one that was lost, one that came after it.
    ensure!(syncs.as_deref() == Some("4"), "full syncs: {syncs:?}");
    stop(&mut apply)?;
    stop(&mut second)
}

#[test]
fn a_source_that_begins_another_history_has_it_made_anew() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    prepare(&stage)?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    let load = Load::start(&stage.source)?;
    let mut asked = under_way(&stage)?;
    let mut source = stage.source_client()?;
    source.cmd(&["DEBUG", "CHANGE-REPL-ID"])?;
    source.cmd(&["CLIENT", "KILL", "TYPE", "replica"])?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}\n{}", asked.stderr(), capture.stderr());
    let counted = load.stop()?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stage.assert_same()?;
    assert_counted(&stage, counted)?;
    stop(&mut apply)?;
    stop(&mut capture)
}
