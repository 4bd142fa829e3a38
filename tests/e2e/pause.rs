//! A destination that stands still under load: the source is not harmed, memory stays small, nothing is lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Client, Deadline, Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

const PAUSE: Duration = Duration::from_secs(60);
const WRITES_PER_SECOND: u64 = 20_000;
const BURST_WRITES: u64 = 1_000;
const OUTPUT_BUFFER_LIMIT_BYTES: u64 = 16 << 20;
const MEMORY_LIMIT_KIB: u64 = 128 << 10;

#[test]
fn a_paused_destination_harms_nobody() -> Result<()> {
    let backlog = ["repl-backlog-size 64mb"];
    let mut pair = Pair::start_with(Kind::Redis7_0, &backlog, Kind::Redis7_0, &[])?;
    let mut client = pair.source_client()?;
    let mut observer = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.destination.pause()?;
    let deadline = Deadline::after(PAUSE);
    let (mut written, mut buffer_max) = (0, 0);
    while !deadline.has_passed() {
        burst(&mut client, written)?;
        written += BURST_WRITES;
        buffer_max = buffer_max.max(replica_buffer_bytes(&mut observer)?);
        let due = Duration::from_millis(written * 1000 / WRITES_PER_SECOND);
        eventually(PAUSE, "the next burst is due", || {
            Ok((deadline.elapsed() >= due).then_some(()))
        })?;
    }
    pair.destination.resume()?;
    pair.caught_up(&mut bridge)?;
    let peak = peak_memory_kib(&bridge)?;
    pair.assert_same()?;
    println!("{written} writes, output buffer {buffer_max} bytes, peak memory {peak} KiB");
    // A busy machine may not keep the pace; far below it the figures above would say nothing.
    let wanted = WRITES_PER_SECOND * PAUSE.as_secs() / 2;
    ensure!(written >= wanted, "only {written} writes: the machine is too slow for this test");
    ensure!(buffer_max < OUTPUT_BUFFER_LIMIT_BYTES, "output buffer of {buffer_max} bytes");
    ensure!(peak < MEMORY_LIMIT_KIB, "peak memory of {peak} KiB");
    let full_syncs = client.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "full syncs: {full_syncs:?}");
    stop(&mut bridge)
}

fn burst(client: &mut Client, from: u64) -> Result<()> {
    let commands: Vec<Vec<String>> = (from..from + BURST_WRITES)
        .map(|number| match number % 4 {
            0 => vec!["INCR".to_owned(), format!("count:{}", number % 97)],
            _ => {
                vec!["SET".to_owned(), format!("key:{}", number % 50_000), format!("{number:0100}")]
            }
        })
        .collect();
    client.batch(&commands)?;
    Ok(())
}

/// What waits at the source for its replicas, the largest of them.
fn replica_buffer_bytes(client: &mut Client) -> Result<u64> {
    let list = client.cmd(&["CLIENT", "LIST", "TYPE", "replica"])?.text()?;
    let fields = list.split_whitespace().filter_map(|field| field.strip_prefix("omem="));
    Ok(fields.filter_map(|bytes| bytes.parse().ok()).max().unwrap_or(0))
}

fn peak_memory_kib(process: &Process) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

#[test]
fn a_paused_source_is_waited_for() -> Result<()> {
    let mut pair = Pair::start(Kind::Valkey9_1, Kind::Valkey9_1)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "before", "1"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.source.pause()?;
    pair.destination_client()?.cmd(&["GET", "before"])?;
    pair.source.resume()?;
    client.cmd(&["SET", "after", "1"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
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
