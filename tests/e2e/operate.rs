//! Watched and steered by HTTP while it runs: metrics, readiness, pause, limits.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::http::{Http, TOKEN};
use testkit::{Client, Deadline, Kind, Process};

use crate::bridge::{PATIENCE, Pair, stop};

/// Starts a bridge that takes orders.
fn steered(pair: &Pair, more: &[&str]) -> Result<(Process, Http)> {
    let (source, destination, dir) = (pair.source.uri(), pair.destination.uri(), pair.data_dir());
    let mut args = vec!["run", &source, &destination, "--data-dir", &dir];
    args.extend(more);
    let mut bridge = Process::start_with(&args, &[TOKEN])?;
    let http = Http::of(&mut bridge)?;
    Ok((bridge, http))
}

fn fill(client: &mut Client, keys: u32) -> Result<()> {
    let commands: Vec<_> =
        (0..keys).map(|n| testkit::command(&["SET", &format!("key:{n}"), "value"])).collect();
    client.all(&commands)?;
    Ok(())
}

fn keys(client: &mut Client) -> Result<u64> {
    Ok(client.cmd(&["KEYS", "key:*"])?.array()?.len().try_into()?)
}

fn lane(status: &Value) -> &Value {
    status.pointer("/apply/partitions-0-15").unwrap_or(&Value::Null)
}

/// Samples how many keys have come until all have: never more than the limit has let through.
fn watch(client: &mut Client, since: Deadline, per_second: u64, all: u64) -> Result<()> {
    loop {
        let found = keys(client)?;
        let ms = u64::try_from(since.elapsed().as_millis())?;
        // A burst, and one.
        let may = per_second * (ms + 100) / 1_000 + 2;
        ensure!(found <= may, "{found} keys after {ms} ms, where at most {may} may be");
        if found == all {
            return Ok(());
        }
        ensure!(!since.has_passed(), "{found} keys of {all}");
    }
}

#[test]
fn a_throttled_sync_takes_its_time_and_is_let_go_by_an_order() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Valkey9_1)?;
    fill(&mut pair.source_client()?, 1_000)?;
    let since = Deadline::after(PATIENCE);
    let (mut bridge, http) =
        steered(&pair, &["--throttle-full-rows", "400", "--throttle-incremental-rows", "50"])?;
    let mut destination = pair.destination_client()?;
    http.until("a limit holds it", |status| lane(status)["held_by"] == "throttle")?;
    // What is written meanwhile is recorded: the source is not held up.
    watch(&mut destination, since, 400, 1_000)?;
    ensure!(since.elapsed() > Duration::from_secs(2), "{:?}", since.elapsed());
    pair.caught_up(&mut bridge)?;
    let mut source = pair.source_client()?;
    for number in 0..3_000 {
        source.cmd(&["INCR", &format!("counter:{}", number % 7)])?;
    }
    http.until("a limit holds it", |status| lane(status)["held_by"] == "throttle")?;
    // It would take a minute.
    http.order("/throttle", r#"{"incremental_rows": 0}"#)?;
    let since = Deadline::after(PATIENCE);
    pair.caught_up(&mut bridge)?;
    ensure!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    let status = http.status()?;
    ensure!(status["throttle"]["apply"]["full_rows"] == 400, "{status:#}");
    ensure!(status["throttle"]["apply"]["incremental_rows"] == 0, "{status:#}");
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_paused_bridge_writes_nothing_records_everything_and_goes_on() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut source = pair.source_client()?;
    source.cmd(&["SET", "counter", "1"])?;
    let (mut bridge, http) = steered(&pair, &[])?;
    pair.caught_up(&mut bridge)?;
    let (code, said) = http.with("not the token").post("/pause", "")?;
    ensure!(code == 401 && !said.contains(TOKEN.1), "{code} {said}");
    http.order("/pause", "")?;
    http.until("a pause holds it", |status| lane(status)["held_by"] == "pause")?;
    let before = http.status()?["capture"]["records"].as_u64().context("no count")?;
    for _ in 0..100 {
        source.cmd(&["INCR", "counter"])?;
    }
    let paused = http.until("it is recorded, and waits", |status| {
        let records = status["capture"]["records"].as_u64().unwrap_or(0);
        records >= before + 100 && lane(status)["lag_records"].as_u64() >= Some(100)
    })?;
    ensure!(paused["throttle"]["apply"]["paused"] == true, "{paused:#}");
    ensure!(pair.destination_client()?.cmd(&["GET", "counter"])?.text()? == "1");
    ensure!(http.get("/readyz")?.0 == 200, "a pause is no trouble");
    // A stop does not wait, and a pause ends with the process.
    stop(&mut bridge)?;
    ensure!(pair.destination_client()?.cmd(&["GET", "counter"])?.text()? == "1");
    let (mut bridge, http) = steered(&pair, &[])?;
    pair.caught_up(&mut bridge)?;
    http.order("/pause", r#"{"side": "capture"}"#)?;
    http.until("a pause holds it", |status| status["capture"]["held_by"] == "pause")?;
    source.cmd(&["INCR", "counter"])?;
    http.until("it waits in the spool", |status| {
        status["capture"]["spool_memory_bytes"].as_u64() > Some(0)
    })?;
    ensure!(pair.destination_client()?.cmd(&["GET", "counter"])?.text()? == "101");
    http.order("/resume", r#"{"side": "capture"}"#)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    let full_syncs = source.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("1"), "full syncs: {full_syncs:?}");
    stop(&mut bridge)
}

#[test]
fn it_is_ready_when_it_works_and_says_what_is_wrong_when_it_does_not() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let (mut bridge, http) = steered(&pair, &[])?;
    pair.caught_up(&mut bridge)?;
    ensure!(http.get("/readyz")? == (200, "ready\n".to_owned()));
    ensure!(http.get("/healthz")?.0 == 200);
    pair.destination.kill()?;
    pair.source_client()?.cmd(&["SET", "key", "1"])?;
    http.until("it waits for the destination", |status| lane(status)["phase"] == "waiting")?;
    let (code, said) = http.get("/readyz")?;
    ensure!(code == 503 && said.contains("apply partitions-0-15"), "{code} {said}");
    ensure!(http.get("/healthz")?.0 == 200, "it lives");
    let (_, metrics) = http.get("/metrics")?;
    ensure!(metrics.contains("\nkeyferry_ready 0\n"), "{metrics}");
    stop(&mut bridge)
}

/// Numbers of the status that are no metrics, and why.
const NO_METRICS: &[&str] = &[
    // Of all partitions of the lane, each of which has a metric.
    "lag_records",
    "apply/partitions-0-15/lag_seconds",
    // Worked out of others, by whoever asks for metrics as well.
    "events_per_second",
    "capture/on_demand/percent",
    // A name that happens to be a number.
    "capture/on_demand/snapshot_id",
    // Of the process, not of its work.
    "process/pid",
    "process/started_ticks",
    "step_seconds",
];

#[test]
fn the_metrics_are_what_prometheus_reads_and_hold_every_number_of_the_status() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    fill(&mut pair.source_client()?, 100)?;
    let (mut bridge, http) = steered(&pair, &["--throttle-source-read-bytes", "100MB"])?;
    pair.caught_up(&mut bridge)?;
    let status =
        http.until("it is counted", |status| lane(status)["events"].as_u64() > Some(100))?;
    let (_, text) = http.get("/metrics")?;
    let families = parsed(&text)?;
    let samples: Vec<_> = families.as_array().context("no list")?.iter().collect();
    let applied = samples.iter().find(|sample| sample[0] == "keyferry_apply_events_total");
    let applied = applied.context("nothing was applied")?;
    ensure!(applied[1]["partition"] == "0-15", "{applied}");
    let destination = applied[1]["destination"].as_str().unwrap_or_default();
    ensure!(destination.contains(&pair.destination.port().to_string()), "{applied}");
    ensure!(applied[2].as_f64() >= Some(100.0), "{applied}");
    let documented = std::fs::read_to_string(root().join("docs/operate.md"))?;
    for sample in &samples {
        let name = sample[0].as_str().unwrap_or_default();
        ensure!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
    let mut missing = Vec::new();
    numbers("", &status, &mut |path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let is_left_out = NO_METRICS.contains(&path) || NO_METRICS.contains(&name);
        if !is_left_out && !is_metric(path) {
            missing.push(path.to_owned());
        }
    });
    ensure!(missing.is_empty(), "numbers of the status that are no metrics: {missing:?}");
    stop(&mut bridge)
}

/// Whether a path of the status is one of the table of metrics.
fn is_metric(path: &str) -> bool {
    admin::metrics::TABLE.iter().any(|metric| {
        let (wanted, found) = (metric.path.split('/'), path.split('/'));
        wanted.clone().count() == found.clone().count()
            && wanted.zip(found).all(|(wanted, found)| wanted.starts_with('{') || wanted == found)
    })
}

fn numbers(path: &str, value: &Value, seen: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                numbers(&below, value, seen);
            }
        }
        Value::Number(_) | Value::Bool(_) => seen(path),
        _ => {}
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every sample, as Prometheus' own parser for Python reads it: name, labels, value.
fn parsed(text: &str) -> Result<Value> {
    let cache = std::env::var_os("KEYFERRY_CACHE").unwrap_or_else(|| ".cache".into());
    let python = root().join(cache).join("python/bin/python");
    ensure!(python.exists(), "{} is missing: run scripts/python-env", python.display());
    let mut parser = Command::new(python)
        .arg(root().join("tests/python/read_metrics.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = parser.stdin.take().context("no input")?;
    std::io::Write::write_all(&mut input, text.as_bytes())?;
    drop(input);
    let output = parser.wait_with_output()?;
    ensure!(output.status.success(), "not what Prometheus reads:\n{text}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
