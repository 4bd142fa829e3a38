//! A destination that stands still under load: the source is not harmed, memory stays small, nothing is lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Client, Deadline, Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

const PAUSE: Duration = Duration::from_secs(60);
/// What is aimed at: the test goes no faster.
const WRITES_PER_SECOND: u64 = 20_000;
/// Below this the figures would say nothing. What was reached is printed: a debug build on a machine that others use
/// as well does not keep the pace that is aimed at.
const WRITES_PER_SECOND_MIN: u64 = 15_000;
const BURST_WRITES: u64 = 1_000;
/// More than is sent before the destination answers again: what follows is planned when it does, by then late.
const FILLERS: u64 = 20_000;
const OUTPUT_BUFFER_LIMIT_BYTES: u64 = 16 << 20;
const MEMORY_LIMIT_KIB: u64 = 128 << 10;

#[test]
fn a_paused_destination_harms_nobody() -> Result<()> {
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
        pace >= WRITES_PER_SECOND_MIN,
        "only {pace} writes a second: the machine is too slow for this test"
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
