//! A stream on which nothing happens but heartbeats: whoever is in step with it shows no lag.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::http::{Http, TOKEN};
use testkit::{Deadline, Kind, Process};

use crate::apart::{PATIENCE, Stage, stop};

/// How often the source's clock is told, in every partition.
const BEATS: [&str; 2] = ["--source-heartbeat-interval", "200ms"];
/// How many of them in a row have to be no lag: some seconds, and as many looks of the lane.
const IN_A_ROW: u64 = 25;
/// How many times in a row the brokers are asked, about a second each.
const ASKED: usize = 5;

/// What an apply says of each of its partitions.
fn parts(status: &Value) -> Result<Vec<&Value>> {
    let apply = status.get("apply").and_then(Value::as_object).context("no apply")?;
    let lanes = apply.values().filter_map(|lane| lane["partitions"].as_object());
    Ok(lanes.flat_map(|parts| parts.values()).collect())
}

/// The sum of the ends, if nothing is behind anywhere.
fn in_step(status: &Value) -> Result<Option<u64>> {
    let parts = parts(status)?;
    let lanes = status.get("apply").and_then(Value::as_object).context("no apply")?;
    let in_lanes = lanes.values().filter_map(|lane| lane["lag_records"].as_u64());
    let has_lag = |part: &&Value| {
        part["lag_events"] != 0 || part["lag_bytes"] != 0 || part["lag_seconds"] != 0.0
    };
    if parts.is_empty() || in_lanes.sum::<u64>() != 0 || parts.iter().any(has_lag) {
        return Ok(None);
    }
    Ok(parts.iter().map(|part| part["journal_end"].as_u64()).sum())
}

/// Waits until looks show no lag for a while in which heartbeats come.
fn shows_no_lag_for_a_while(http: &Http) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    let mut since = None;
    loop {
        let status = http.status()?;
        since = match (in_step(&status)?, since) {
            (None, _) => None,
            (Some(end), None) => Some(end),
            (Some(end), Some(since)) if end >= since + 4 * IN_A_ROW => return Ok(()),
            (Some(_), since) => since,
        };
        ensure!(!deadline.has_passed(), "it shows lag again and again:\n{status:#}");
    }
}

#[test]
fn heartbeats_are_no_lag() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let (source, destination) = (stage.source.uri(), stage.destination.uri());
    let mut capture = stage.process(&["capture", &source], "capture", &BEATS)?;
    let words = ["apply", &destination, "--admin-listen", "127.0.0.1:0"];
    let mut apply = stage.process_with((&words, &[]), "apply", &[TOKEN])?;
    let http = Http::of(&mut apply)?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    shows_no_lag_for_a_while(&http)?;

    let journal = format!("kafka://{}", stage.brokers);
    let (deadline, mut asked) = (Deadline::after(PATIENCE), 0);
    while asked < ASKED {
        let args = ["status", "--journal", &journal, "--stream", &stage.stream, "--json"];
        let mut status = Process::start(&args)?;
        ensure!(status.wait(PATIENCE)?.success(), "{}", status.stderr());
        let told: Value = serde_json::from_str(&status.stdout())?;
        let parts = told.get("partitions").and_then(Value::as_array).context("no partitions")?;
        let lags = parts.iter().filter_map(|part| part["destinations"].as_object());
        let lags: Vec<&Value> = lags.flat_map(|of| of.values()).collect();
        let is_in_step = |lag: &&Value| lag["lag_events"] == 0 && lag["lag_bytes"] == 0;
        let are_in_step = lags.len() == 4 && lags.iter().all(is_in_step);
        asked = if are_in_step { asked + 1 } else { 0 };
        ensure!(!deadline.has_passed(), "it shows lag again and again:\n{told:#}");
    }
    stop(&mut apply)?;
    stop(&mut capture)
}
