//! What an operator asks of a stream on a real broker: its topics, its events, how far everybody is.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::kafka::Broker;
use testkit::{Kind, Process, free_port};

use crate::apart::{PATIENCE, Stage, stop};

const DONE: i32 = 0;
const USAGE: i32 = 2;
const JOURNAL: i32 = 6;

/// Runs keyferry to its end: exit code, stdout, stderr.
fn keyferry(args: &[&str]) -> Result<(i32, String, String)> {
    let mut process = Process::start(args)?;
    let status = process.wait(PATIENCE)?;
    let code = status.code().context("it was killed")?;
    Ok((code, process.stdout(), process.stderr()))
}

/// The same about a stream on the shared broker.
fn ask(stream: &str, words: &[&str], more: &[&str]) -> Result<(i32, String, String)> {
    let journal = format!("kafka://{}", Broker::shared()?.bootstrap());
    let args = [words, &["--journal", &journal, "--stream", stream], more].concat();
    keyferry(&args)
}

#[test]
fn topics_are_made_compared_and_described() -> Result<()> {
    let stream = format!("operated-{}", std::process::id());
    let (code, _, said) = ask(&stream, &["topics", "describe"], &[])?;
    ensure!(code == JOURNAL && said.contains("does not exist"), "{code}: {said}");
    ensure!(said.contains("keyferry topics create"), "{said}");
    let (code, _, said) = ask(&stream, &["topics", "check"], &["--partitions", "3"])?;
    ensure!(code == JOURNAL, "{code}: {said}");
    for ending in ["", ".meta", ".requests", ".dead"] {
        ensure!(said.contains(&format!("keyferry.{stream}{ending} does not exist")), "{said}");
    }

    let wanted = ["--partitions", "3", "--journal-retention-age", "2h"];
    let (code, told, said) = ask(&stream, &["topics", "create"], &wanted)?;
    ensure!(code == DONE && told.contains("made") && told.contains("as wanted"), "{told}{said}");
    let (code, told, said) = ask(&stream, &["topics", "create"], &wanted)?;
    ensure!(code == DONE && told.contains("was there"), "{told}{said}");
    let others = ["--partitions", "5", "--journal-retention-age", "3h"];
    let (code, _, said) = ask(&stream, &["topics", "check"], &others)?;
    ensure!(code == JOURNAL, "{code}: {said}");
    for word in ["has 3 partition(s), 5 are wanted", "retention.ms=7200000, 10800000", "--alter"] {
        ensure!(said.contains(word), "nothing is said of {word:?}:\n{said}");
    }

    let (code, told, said) = ask(&stream, &["topics", "describe", "--json"], &[])?;
    ensure!(code == DONE, "{said}");
    let shown: Value = serde_json::from_str(&told)?;
    ensure!(shown["partitions"].as_array().is_some_and(|all| all.len() == 3), "{told}");
    ensure!(shown["topics"][0]["settings"]["retention.ms"] == "7200000", "{told}");
    ensure!(shown["topics"].as_array().is_some_and(|all| all.len() == 4), "{told}");
    ensure!(shown["lease"].is_null() && shown["format"] == 1, "{told}");

    let nowhere = format!("kafka://127.0.0.1:{}", free_port()?);
    let (code, _, said) = keyferry(&["topics", "check", "--journal", &nowhere])?;
    ensure!(code == JOURNAL && said.contains("see that the brokers run"), "{code}: {said}");
    let (code, _, said) = keyferry(&["topics", "check"])?;
    ensure!(code == USAGE && said.contains("--journal kafka://"), "{code}: {said}");
    Ok(())
}

#[test]
fn a_stream_is_looked_at_while_it_is_carried() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    client.cmd(&["SET", "of-the-snapshot", "1"])?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    client.cmd(&["SET", "of-the-stream", "2"])?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;

    // Four partitions, although 16 are the default: it is looked at as it is.
    let (code, told, said) = ask(&stage.stream, &["tail"], &["--from", "beginning"])?;
    ensure!(code == DONE, "{said}");
    ensure!(told.contains("of-the-snapshot") && told.contains("of-the-stream"), "{told}");
    let only = ["--from", "beginning", "--key", "of-the-s*m", "--json"];
    let (_, told, _) = ask(&stage.stream, &["tail"], &only)?;
    let event: Value = serde_json::from_str(told.trim())?;
    ensure!(event["key"] == "of-the-stream", "{told}");
    let journal = format!("kafka://{}", Broker::shared()?.bootstrap());
    let args =
        ["tail", "--journal", &journal, "--stream", &stage.stream, "--from", "end", "--follow"];
    let mut following = Process::start(&[&args[..], &["--limit", "1", "--key", "later"]].concat())?;
    let mut number = 0;
    let status = testkit::eventually(PATIENCE, "it follows", || {
        number += 1;
        client.cmd(&["SET", "later", &number.to_string()])?;
        Ok((!following.is_running()?).then_some(()))
    });
    status?;
    ensure!(following.stdout().contains("later"), "{}", following.stderr());

    apply.kill()?;
    for number in 0..50 {
        client.cmd(&["SET", &format!("behind:{number}"), "x"])?;
    }
    let dir = stage.data_dir("nothing-here");
    let more = ["--data-dir", dir.as_str(), "--json"];
    let lags = testkit::eventually(PATIENCE, "the status tells of the lag", || {
        let (code, told, said) = ask(&stage.stream, &["status"], &more)?;
        ensure!(code == DONE, "{said}");
        let shown: Value = serde_json::from_str(&told)?;
        let parts = shown["partitions"].as_array().context("partitions")?.clone();
        let lag = |part: &Value, of: &str| {
            let groups = part["destinations"].as_object()?.values().next()?.clone();
            groups[of].as_f64()
        };
        let events: f64 = parts.iter().filter_map(|part| lag(part, "lag_events")).sum();
        let all = parts.len() == 4 && parts.iter().all(|part| part["source_position"].is_string());
        Ok((all && events >= 50.0).then(|| {
            ["lag_bytes", "lag_seconds"]
                .map(|of| parts.iter().filter_map(|part| lag(part, of)).sum::<f64>())
        }))
    })?;
    ensure!(lags.iter().all(|lag| *lag > 0.0), "{lags:?}");
    let (_, told, _) = ask(&stage.stream, &["topics", "describe"], &[])?;
    for word in ["heard of", "events to go", "4 partitions", "begins at offsets"] {
        ensure!(told.contains(word), "nothing is said of {word:?}:\n{told}");
    }

    unnamed_partitions_do(&mut stage, &mut capture, &dir)?;
    stop(&mut capture)
}

/// Whoever is told no number of partitions takes the four that there are.
fn unnamed_partitions_do(stage: &mut Stage, capture: &mut Process, dir: &str) -> Result<()> {
    let (code, told, said) = ask(&stage.stream, &["resnapshot"], &[])?;
    ensure!(code == DONE && told.contains("is complete"), "{code}: {told}{said}");
    let uri = stage.destination.uri();
    let (code, told, said) = ask(&stage.stream, &["quarantine", "list", &uri], &[])?;
    ensure!(code == DONE, "{code}: {told}{said}");
    let dry = ["--dry-run", "--from", "beginning"];
    let (code, told, said) = ask(&stage.stream, &["replay", &uri], &dry)?;
    ensure!(code == DONE && told.contains("partition 3"), "{code}: {told}{said}");
    let (journal, stream) = (format!("kafka://{}", stage.brokers), stage.stream.clone());
    let named = ["apply", &uri, "--journal", &journal, "--stream", &stream];
    let mut apply = Process::start(&[&named[..], &["--data-dir", dir]].concat())?;
    stage.caught_up(&mut [capture, &mut apply])?;
    stop(&mut apply)?;
    let mut refused =
        Process::start(&[&named[..], &["--data-dir", dir, "--partitions", "16"]].concat())?;
    let code = refused.wait(PATIENCE)?.code();
    ensure!(
        code == Some(JOURNAL) && refused.stderr().contains("so ask for 4"),
        "{}",
        refused.stderr()
    );
    Ok(())
}
