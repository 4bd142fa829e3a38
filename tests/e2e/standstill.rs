//! A destination that stands still for a minute under load: what was reached, and what must hold at any pace.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Client, Deadline, Kind, Process, eventually};

use crate::bridge::{Pair, stop};

const PAUSE: Duration = Duration::from_secs(60);
/// What is aimed at: it goes no faster.
pub(crate) const WRITES_PER_SECOND: u64 = 20_000;
const BURST_WRITES: u64 = 1_000;
/// More than is sent before the destination answers again: what follows is planned when it does, by then late.
const FILLERS: u64 = 20_000;
const OUTPUT_BUFFER_LIMIT_BYTES: u64 = 16 << 20;
const MEMORY_LIMIT_KIB: u64 = 128 << 10;

/// Pauses the destination while the source is written to at [`WRITES_PER_SECOND`]; then everything arrives. Fails where
/// fewer than `pace_min` writes a second were done: the figures would say nothing.
pub(crate) fn harms_nobody(pace_min: u64) -> Result<()> {
    let backlog = ["repl-backlog-size 64mb"];
    // It has fields that expire.
    let kind = Kind::Valkey9_1;
    let mut pair = Pair::start_with(kind, &backlog, kind, &[])?;
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
    let pace = written * 1_000 / u64::try_from(deadline.elapsed().as_millis())?.max(1);
    pair.destination.resume()?;
    pair.caught_up(&mut bridge)?;
    let peak = peak_memory_kib(&bridge)?;
    pair.assert_same()?;
    println!(
        "{pace} writes a second of {WRITES_PER_SECOND} for {} s, output buffer {buffer_max} bytes, peak memory {peak} KiB",
        PAUSE.as_secs()
    );
    ensure!(
        pace >= pace_min,
        "only {pace} writes a second of {pace_min}: the machine is too slow for this test"
    );
    ensure!(buffer_max < OUTPUT_BUFFER_LIMIT_BYTES, "output buffer of {buffer_max} bytes");
    ensure!(peak < MEMORY_LIMIT_KIB, "peak memory of {peak} KiB");
    let full_syncs = client.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "full syncs: {full_syncs:?}");
    stop(&mut bridge)
}

fn burst(client: &mut Client, from: u64) -> Result<()> {
    let commands: Vec<Vec<String>> = (from..from + BURST_WRITES)
        .map(|number| {
            let (key, session) = (number % 50_000, number % 5_000);
            match number % 16 {
                _ if number < FILLERS => words(&format!("SET key:{key} {number:0100}")),
                0..=3 => words(&format!("INCR count:{}", number % 97)),
                // Lives that end while the destination stands still, and lives that are prolonged again and again.
                4 => words(&format!("SET gone:{number} v PX {}", 1_000 + number % 20_000)),
                5 => words(&format!("SET session:{session} {number} PX 15000")),
                6 => words(&format!("PEXPIRE session:{} 600000", (session + 3_999) % 5_000)),
                7 => words(&format!("HSET hash:{} f {number} g v", number % 1_000)),
                8 => words(&format!("HPEXPIRE hash:{} 15000 FIELDS 1 f", (number - 1) % 1_000)),
                9 => words(&format!("HPEXPIRE hash:{} 600000 FIELDS 1 f", (number - 2) % 1_000)),
                _ => words(&format!("SET key:{key} {number:0100}")),
            }
        })
        .collect();
    client.batch(&commands)?;
    Ok(())
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
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
