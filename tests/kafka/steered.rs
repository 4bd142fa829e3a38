//! Processes of one side, watched and steered by HTTP: limits that change while they run, and what each says of its
//! partitions.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::http::{Http, TOKEN};
use testkit::{Client, Kind, Process, command, eventually};

use crate::apart::{PATIENCE, Stage, stop};

/// Starts a process that takes orders.
pub(crate) fn steered(stage: &Stage, words: &[&str], more: &[&str]) -> Result<(Process, Http)> {
    let dir = words.concat().replace(['/', ':'], "-");
    let more = [&["--admin-listen", "127.0.0.1:0"], more].concat();
    let mut process = stage.process_with((words, &more), &dir, &[TOKEN])?;
    let http = Http::of(&mut process)?;
    Ok((process, http))
}

/// Different keys.
fn fill(client: &mut Client, prefix: &str, keys: u32) -> Result<()> {
    let commands: Vec<_> =
        (0..keys).map(|number| command(&["SET", &format!("{prefix}:{number}"), "value"])).collect();
    client.all(&commands)?;
    Ok(())
}

/// With the limits alone each part would take minutes longer than anything is waited for.
#[test]
fn a_capture_by_itself_is_limited_by_options_and_let_go_by_orders() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    fill(&mut client, "of-the-snapshot", 4_000)?;
    let limits = ["--throttle-full-rows", "20", "--throttle-incremental-bytes", "5kB"];
    let uri = stage.source.uri();
    let (mut capture, http) = steered(&stage, &["capture", &uri], &limits)?;
    let held = |status: &Value| status["capture"]["held_by"] == "throttle";
    let status = http.until("a limit holds the snapshot", held)?;
    ensure!(status["throttle"]["capture"]["full_rows"] == 20, "{status:#}");
    ensure!(status["throttle"]["capture"]["incremental_bytes"] == 5_000, "{status:#}");
    let (code, _) = http.with("not the token").post("/throttle", r#"{"full_rows": 0}"#)?;
    ensure!(code == 401, "{code}");
    // No side is named: there is one.
    http.order("/throttle", r#"{"full_rows": 0}"#)?;
    http.until("the stream follows", |status| status["capture"]["phase"] == "stream")?;

    fill(&mut client, "of-the-stream", 12_000)?;
    http.until("a limit holds the stream", held)?;
    let (_, metrics) = http.get("/metrics")?;
    let limit = r#"keyferry_throttle_incremental_bytes_per_second{side="capture"} 5000"#;
    ensure!(metrics.contains(limit), "{metrics}");
    http.order("/throttle", r#"{"incremental_bytes": "100MB"}"#)?;
    let mut apply = stage.apply()?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;

    http.order("/pause", "")?;
    fill(&mut client, "of-the-pause", 10)?;
    http.until("a pause holds it", |status| status["capture"]["held_by"] == "pause")?;
    http.order("/resume", "")?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stage.assert_same()?;
    stop(&mut capture)?;
    stop(&mut apply)
}

/// The partitions of which a process says something, below each of these nodes.
fn partitions<'a>(nodes: impl Iterator<Item = &'a Value>) -> Vec<(String, Value)> {
    let parts = nodes.filter_map(|node| node.get("partitions")?.as_object());
    parts.flatten().map(|(number, part)| (number.clone(), part.clone())).collect()
}

fn of_apply(status: &Value) -> Vec<(String, Value)> {
    let lanes = status.get("apply").and_then(Value::as_object);
    partitions(lanes.into_iter().flat_map(serde_json::Map::values))
}

#[test]
fn each_process_shows_the_partitions_that_it_has() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let (source, destination) = (stage.source.uri(), stage.destination.uri());
    let (mut capture, captured) = steered(&stage, &["capture", &source], &[])?;
    let (mut first, of_first) = steered(&stage, &["apply", &destination], &[])?;
    // Another directory, the same destination.
    let (mut second, of_second) = steered(&stage, &["apply", &destination, "--json"], &[])?;
    fill(&mut client, "key", 200)?;
    stage.caught_up(&mut [&mut capture, &mut first, &mut second])?;
    let shared = || -> Result<Option<Vec<(String, Value)>>> {
        let (one, other) = (of_apply(&of_first.status()?), of_apply(&of_second.status()?));
        let is_shared = one.len() == 2 && other.len() == 2;
        let all = [one, other].concat();
        let is_through =
            |part: &Value| part["lag_events"] == 0 && part["source_offset"].as_u64() > Some(0);
        Ok((is_shared && all.iter().all(|(_, part)| is_through(part))).then_some(all))
    };
    let mut all = eventually(PATIENCE, "each has two partitions, without a lag", shared)?;
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let numbers: Vec<&str> = all.iter().map(|(number, _)| number.as_str()).collect();
    ensure!(numbers == ["0", "1", "2", "3"], "{numbers:?}");
    captured.until("it has looked at the ends", |status| {
        let parts = partitions([&status["capture"]].into_iter());
        let is_known = |part: &Value| {
            let number = |name: &str| part[name].as_u64();
            number("journal_end") > Some(0) && number("source_offset") > Some(0)
        };
        parts.len() == 4 && parts.iter().all(|(_, part)| is_known(part))
    })?;
    let (_, metrics) = captured.get("/metrics")?;
    for number in 0..4 {
        let sample = format!("keyferry_capture_journal_end{{partition=\"{number}\"}} ");
        ensure!(metrics.contains(&sample), "{sample} in\n{metrics}");
    }
    let (_, metrics) = of_first.get("/metrics")?;
    let lags = metrics.lines().filter(|line| line.starts_with("keyferry_apply_lag_events{"));
    ensure!(lags.count() == 2, "{metrics}");
    one_document_tells_of_all(&stage, &source)?;
    stop(&mut capture)?;
    stop(&mut first)?;
    stop(&mut second)
}

/// What the process with that directory says, and what the brokers do.
fn one_document_tells_of_all(stage: &Stage, source: &str) -> Result<()> {
    let dir = format!("capture{source}").replace(['/', ':'], "-");
    let mut asked = stage.process(&["status", "--json"], &dir, &[])?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}", asked.stderr());
    let shown: Value = serde_json::from_str(&asked.stdout()).context(asked.stdout())?;
    let is_there = |path: &str| shown.pointer(path).is_some();
    for path in ["/capture/partitions/3/journal_end", "/partitions/3/destinations", "/running"] {
        ensure!(is_there(path), "no {path} in {shown:#}");
    }
    Ok(())
}
