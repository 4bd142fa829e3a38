//! Counters that somebody increments without a pause: what is lost or doubled on the way shows in their values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use testkit::{Client, Server, eventually};

use crate::apart::{PATIENCE, Stage};

/// In several partitions.
const COUNTERS: [&str; 4] = ["counter:0", "counter:1", "counter:2", "counter:3"];

/// A client that counts in every partition until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    counted: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

// === impl Load ===

impl Load {
    pub(crate) fn start(server: &Server) -> Result<Self> {
        let mut client = server.client()?;
        // An idle server looks for what has waited long enough only so many times a second, 10 by itself.
        client.cmd(&["CONFIG", "SET", "hz", "100"])?;
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, count) = (Arc::clone(&stop), Arc::clone(&counted));
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // The source keeps the pace: nearly a hundred rounds a second, on whatever machine.
                client.cmd(&["BLPOP", "absent", "0.002"])?;
                for counter in COUNTERS {
                    client.cmd(&["INCR", counter])?;
                }
                let round = count.fetch_add(1, Ordering::Relaxed) + 1;
                client.cmd(&["APPEND", &format!("key:{}", round % 1_000), "+"])?;
            }
            Ok(())
        });
        Ok(Self { stop, counted, thread })
    }

    /// Waits until it has counted so much further.
    pub(crate) fn goes_on(&self, rounds: u64) -> Result<()> {
        let counted = || self.counted.load(Ordering::Relaxed);
        let goal = counted() + rounds;
        eventually(PATIENCE, "the load goes on", || Ok((counted() >= goal).then_some(())))
    }

    /// How far it has counted.
    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")?;
        Ok(self.counted.load(Ordering::Relaxed))
    }
}

/// The destination has counted as far.
pub(crate) fn assert_counted(stage: &Stage, counted: u64) -> Result<()> {
    let mut destination = stage.destination.client()?;
    for counter in COUNTERS {
        let found = destination.cmd(&["GET", counter])?.text()?;
        ensure!(found == counted.to_string(), "{counter}: {found} of {counted}");
    }
    Ok(())
}

/// What the source holds back for its replicas.
pub(crate) fn waiting_bytes(client: &mut Client) -> Result<u64> {
    let listed = client.cmd(&["CLIENT", "LIST", "TYPE", "replica"])?.text()?;
    let waiting = listed.split_whitespace().filter_map(|field| field.strip_prefix("omem="));
    waiting.map(|bytes| bytes.parse::<u64>().context("omem")).sum()
}

/// The source has sent everything once, and went on from there whatever happened.
pub(crate) fn assert_one_full_transfer(stage: &Stage) -> Result<()> {
    let full_syncs = stage.source_client()?.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "full syncs: {full_syncs:?}");
    Ok(())
}
