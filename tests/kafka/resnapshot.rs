//! `keyferry resnapshot` over a journal on Kafka, with capture and apply as processes of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Result, ensure};
use testkit::{Kind, Process, Server};

use crate::apart::{PATIENCE, Stage, stop};

/// Keys at the start.
const KEYS: usize = 2_000;

/// A client that counts in every partition until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Load {
    fn start(server: &Server) -> Result<Self> {
        let mut client = server.client()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut counted = 0;
            while !seen.load(Ordering::Relaxed) {
                counted += 1;
                // The source keeps the pace: some hundred rounds a second, on whatever machine.
                client.cmd(&["BLPOP", "absent", "0.002"])?;
                for counter in COUNTERS {
                    client.cmd(&["INCR", counter])?;
                }
                client.cmd(&["APPEND", &format!("key:{}", counted % 1_000), "+"])?;
            }
            Ok(counted)
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

const COUNTERS: [&str; 4] = ["counter:0", "counter:1", "counter:2", "counter:3"];

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

fn assert_counted(stage: &Stage, counted: u64) -> Result<()> {
    let mut destination = stage.destination.client()?;
    for counter in COUNTERS {
        let found = destination.cmd(&["GET", counter])?.text()?;
        ensure!(found == counted.to_string(), "{counter}: {found} of {counted}");
    }
    Ok(())
}

/// One under way that is slow: the process that asked for it.
fn under_way(stage: &Stage) -> Result<Process> {
    let mut source = stage.source_client()?;
    source.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "2000"])?;
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
