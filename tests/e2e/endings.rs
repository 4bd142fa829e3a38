//! How a run ends: by signals, and when what it waits for does not come. The exit codes are documented.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Deadline, Kind, Process, Signal, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

const NOT_EMPTY: i32 = 5;
const GAVE_UP: i32 = 7;
const SECOND_SIGNAL: i32 = 130;
/// Signals that come within this are one.
const SECOND_SIGNAL_GRACE: Duration = Duration::from_secs(1);

/// What is logged when a signal is heeded.
const HEEDED: &str = "finishing what is under way";

fn heeds(bridge: &mut Process, signal: Signal) -> Result<()> {
    bridge.signal(signal)?;
    bridge.until(PATIENCE, "it heeds the signal", |_, said| said.contains(HEEDED).then_some(()))
}

#[test]
fn each_signal_stops_in_good_order_and_is_named() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let signals = [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM"), (Signal::HUP, "SIGHUP")];
    for (signal, name) in signals {
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        // One wish may arrive more than once: from the terminal, and from a shell that hands it on.
        bridge.signal(signal)?;
        bridge.signal(signal)?;
        let is_ignored = signal == Signal::HUP && ignores_hangups()?;
        if is_ignored {
            bridge.signal(Signal::TERM)?;
        }
        let status = bridge.wait(PATIENCE)?;
        let said = bridge.stderr();
        ensure!(status.code() == Some(0), "{name}: {status}:\n{said}");
        ensure!(said.contains(name) != is_ignored, "{name}:\n{said}");
        ensure!(said.contains("stopped: everything read"), "{said}");
    }
    Ok(())
}

/// Whether this process, and so each that it starts, was started to outlive its terminal (`nohup`).
fn ignores_hangups() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.context("the signals that are ignored")?.trim(), 16)?;
    Ok(ignored & 1 == 1)
}

#[test]
fn a_second_signal_ends_at_once_and_loses_nothing() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    // It cannot finish what is under way: nobody answers.
    pair.destination.pause()?;
    let mut client = pair.source_client()?;
    for _ in 0..100 {
        client.cmd(&["INCR", "counter"])?;
    }
    let one_wish = Deadline::after(SECOND_SIGNAL_GRACE);
    heeds(&mut bridge, Signal::INT)?;
    eventually(PATIENCE, "a signal ends it", || {
        let running = bridge.is_running()?;
        if running {
            bridge.signal(Signal::TERM)?;
        }
        Ok((!running).then_some(()))
    })?;
    ensure!(one_wish.has_passed(), "it took a signal that came twice for two");
    let status = bridge.wait(PATIENCE)?;
    let said = bridge.stderr();
    ensure!(status.code() == Some(SECOND_SIGNAL), "{status}:\n{said}");
    ensure!(said.contains("ended at once by a second signal"), "{said}");
    pair.destination.resume()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_stop_during_the_start_is_heeded_at_once() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    pair.source.pause()?;
    let mut bridge = pair.run(&[])?;
    let slow = "this takes a while step=\"connecting to both servers\"";
    bridge
        .until(PATIENCE, "the slow step is named", |_, said| said.contains(slow).then_some(()))?;
    bridge.signal(Signal::TERM)?;
    let status = bridge.wait(PATIENCE)?;
    pair.source.resume()?;
    let said = bridge.stderr();
    ensure!(status.code() == Some(0) && said.contains("before anything was read"), "{said}");
    Ok(())
}

#[test]
fn gives_up_on_a_destination_that_does_not_come_back() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&["--destination-reconnect-window", "500ms"])?;
    pair.caught_up(&mut bridge)?;
    pair.destination.kill()?;
    pair.source_client()?.cmd(&["SET", "key", "value"])?;
    let status = bridge.wait(PATIENCE)?;
    let said = bridge.stderr();
    ensure!(status.code() == Some(GAVE_UP), "{status}:\n{said}");
    ensure!(said.contains("gave up") && said.contains("what to do"), "{said}");
    Ok(())
}

#[test]
fn gives_up_on_a_source_that_does_not_come_back() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&["--source-reconnect-window", "500ms"])?;
    pair.caught_up(&mut bridge)?;
    pair.source.kill()?;
    let status = bridge.wait(PATIENCE)?;
    let said = bridge.stderr();
    ensure!(status.code() == Some(GAVE_UP), "{status}:\n{said}");
    ensure!(said.contains("what to do"), "{said}");
    Ok(())
}

#[test]
fn everything_it_says_is_json_when_json_is_asked_for() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    pair.destination_client()?.cmd(&["SET", "precious", "1"])?;
    let mut refused = pair.run(&["--json"])?;
    ensure!(refused.wait(PATIENCE)?.code() == Some(NOT_EMPTY), "{}", refused.stderr());
    let last = json_lines(&refused)?.pop().context("nothing was said")?;
    ensure!(last["exit_code"] == NOT_EMPTY && last["level"] == "ERROR", "{last}");
    ensure!(last["message"].is_string() && last["advice"].is_string(), "{last}");
    let often = ["--json", "--existing", "overwrite", "--log-progress-interval", "10ms"];
    let mut bridge = pair.run(&often)?;
    pair.caught_up(&mut bridge)?;
    bridge.until(PATIENCE, "it tells how it goes", |_, said| {
        said.contains("\"message\":\"progress\"").then_some(())
    })?;
    stop(&mut bridge)?;
    let said = json_lines(&bridge)?;
    let progress = said.iter().find(|line| line["message"] == "progress");
    let progress = progress.context("no progress")?;
    ensure!(progress["applied"].is_u64() && progress["lag_bytes"].is_u64(), "{progress}");
    Ok(())
}

fn json_lines(process: &Process) -> Result<Vec<Value>> {
    let said = process.stderr();
    let parse = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    said.lines().map(parse).collect()
}
