//! `keyferry capture` and `keyferry apply` as processes of their own, and `keyferry run`, on a real broker.

use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use testkit::kafka::Broker;
use testkit::{Client, Deadline, Kind, Process, Signal, Workload, eventually, free_port, seed};

use crate::apart::{PATIENCE, Stage, stop};
use crate::load::assert_one_full_transfer;

/// How often one of the two processes is killed.
const KILLS: usize = 6;
/// Keys before anything starts: a snapshot.
const SNAPSHOT_KEYS: usize = 5_000;
/// How long a stand-by may take from the death of the leader to having carried what was written since: five seconds by
/// itself, and more where other tests take the machine.
const TAKE_OVER: Duration = Duration::from_secs(20);
/// Writes between two looks at what has arrived.
const WRITES: u64 = 300;

const USAGE: i32 = 2;
const JOURNAL: i32 = 6;

#[test]
fn two_processes_carry_everything_whichever_is_killed() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    for number in 0..SNAPSHOT_KEYS {
        client.cmd(&["SET", &format!("key:{number}"), &format!("value {number}")])?;
    }
    let mut workload = Workload::new(rng.u64(..), Kind::Redis7_0);
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    for _ in 0..KILLS {
        workload.run(&mut client, rng.usize(1..400))?;
        let is_capture = rng.bool();
        let victim = if is_capture { &mut capture } else { &mut apply };
        // Half of the kills fall into the start.
        if rng.bool() {
            victim.until(PATIENCE, "it listens", |_, said| {
                said.contains("metrics and status").then_some(())
            })?;
            workload.run(&mut client, rng.usize(1..400))?;
        }
        victim.kill()?;
        *victim = if is_capture { stage.capture("capture")? } else { stage.apply()? };
    }
    workload.run(&mut client, 400)?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stage.assert_same()?;
    stop(&mut apply)?;
    stop(&mut capture)
}

#[test]
fn one_process_may_have_its_journal_on_kafka() -> Result<()> {
    let mut stage = Stage::start(Kind::Valkey9_1)?;
    let mut client = stage.source_client()?;
    client.cmd(&["SET", "counter", "0"])?;
    let (source, destination) = (stage.source.uri(), stage.destination.uri());
    let words = ["run", source.as_str(), destination.as_str()];
    for is_killed in [false, true, false] {
        let mut bridge = stage.process(&words, "run", &[])?;
        count(&mut client, WRITES)?;
        stage.caught_up(&mut [&mut bridge])?;
        stage.assert_same()?;
        if is_killed {
            bridge.kill()?;
        } else {
            stop(&mut bridge)?;
        }
        count(&mut client, WRITES)?;
    }
    assert_one_full_transfer(&stage)
}

#[test]
fn a_second_capture_stands_by_and_takes_over() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let (mut leader, mut apply) = (stage.capture("one")?, stage.apply()?);
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut leader, &mut apply])?;
    let mut other = stage.capture("two")?;
    other.until(PATIENCE, "it stands by", |_, said| said.contains("standing by").then_some(()))?;
    status_says(&stage.data_dir("two"), &stage.stream, "capture: standby")?;
    count(&mut client, WRITES)?;
    leader.kill()?;
    let since = Deadline::after(TAKE_OVER);
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut other, &mut apply])?;
    ensure!(since.elapsed() < TAKE_OVER, "it took longer:\n{}", other.stderr());
    let mut third = stage.capture("one")?;
    third.until(PATIENCE, "it stands by", |_, said| said.contains("standing by").then_some(()))?;
    stop(&mut other)?;
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut third, &mut apply])?;
    let mut destination = stage.destination.client()?;
    for name in ["counted:0", "counted:1", "counted:2", "counted:3"] {
        let counted = destination.cmd(&["GET", name])?.text()?;
        ensure!(counted == (4 * WRITES).to_string(), "{name} is {counted}");
    }
    stage.assert_same()?;
    stop(&mut third)?;
    stop(&mut apply)
}

#[test]
fn a_capture_that_wakes_up_late_does_no_harm_and_stands_by() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let (mut sleeper, mut apply) = (stage.capture("one")?, stage.apply()?);
    stage.caught_up(&mut [&mut sleeper, &mut apply])?;
    let mut other = stage.capture("two")?;
    other.until(PATIENCE, "it stands by", |_, said| said.contains("standing by").then_some(()))?;
    sleeper.signal(Signal::STOP)?;
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut other, &mut apply])?;
    sleeper.signal(Signal::CONT)?;
    sleeper.until(PATIENCE, "it was overtaken", |_, said| {
        said.contains("another process has taken over").then_some(())
    })?;
    status_says(&stage.data_dir("one"), &stage.stream, "capture: standby")?;
    count(&mut client, WRITES)?;
    other.kill()?;
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut sleeper, &mut apply])?;
    let counted = stage.destination.client()?.cmd(&["GET", "counted:0"])?.text()?;
    ensure!(counted == (3 * WRITES).to_string(), "counted {counted}");
    stage.assert_same()?;
    stop(&mut sleeper)?;
    stop(&mut apply)
}

#[test]
fn several_applies_share_one_destination_and_replace_one_another() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let mut client = stage.source_client()?;
    let destination = stage.destination.uri();
    let words = ["apply", destination.as_str()];
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    count(&mut client, WRITES)?;
    let mut other = stage.process(&words, "other", &[])?;
    status_says(&stage.data_dir("other"), &stage.stream, "apply: stream")?;
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut capture, &mut apply, &mut other])?;
    apply.kill()?;
    count(&mut client, WRITES)?;
    stage.caught_up(&mut [&mut capture, &mut other])?;
    stage.assert_same()?;
    let counted = stage.destination.client()?.cmd(&["GET", "counted:3"])?.text()?;
    ensure!(counted == (3 * WRITES).to_string(), "counted {counted}");
    stop(&mut other)?;
    stop(&mut capture)
}

/// Counters, one in each partition.
fn count(client: &mut Client, times: u64) -> Result<()> {
    for _ in 0..times {
        for name in ["counted:0", "counted:1", "counted:2", "counted:3"] {
            client.cmd(&["INCR", name])?;
        }
    }
    Ok(())
}

pub(crate) fn status_says(dir: &str, stream: &str, words: &str) -> Result<()> {
    eventually(PATIENCE, format!("the status says {words}"), || {
        let mut asked = Process::start(&["status", "--data-dir", dir, "--stream", stream])?;
        asked.wait(PATIENCE)?;
        Ok(asked.stdout().contains(words).then_some(()))
    })
}

/// It ends with this code, and says all of these words.
fn assert_refused(mut process: Process, code: i32, words: &[&str]) -> Result<()> {
    let status = process.wait(PATIENCE)?;
    let said = process.stderr();
    ensure!(status.code() == Some(code), "exit code {:?}, not {code}:\n{said}", status.code());
    for word in words.iter().chain(&["what to do"]) {
        ensure!(said.contains(word), "nothing is said of {word:?}:\n{said}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() -> Result<()> {
    let stage = Stage::start(Kind::Redis7_0)?;
    let source = stage.source.uri();
    let nowhere = format!("kafka://127.0.0.1:{}", free_port()?);
    let dir = stage.data_dir("refused");
    let start = |more: &[&str]| {
        let mut args = vec!["capture", source.as_str(), "--data-dir", &dir];
        args.extend(more);
        Process::start(&args)
    };
    let address = nowhere.trim_start_matches("kafka://");
    assert_refused(
        start(&["--journal", &nowhere])?,
        JOURNAL,
        &[address, "see that the brokers run"],
    )?;
    assert_refused(start(&[])?, USAGE, &["journal.uri", "embedded", "keyferry run"])?;
    assert_refused(
        start(&["--journal", &nowhere, "--kafka-properties", "sasl.password=hidden"])?,
        USAGE,
        &["--kafka-properties-file"],
    )?;
    let journal = format!("kafka://{}", Broker::shared()?.bootstrap());
    let mut first = stage.capture("first")?;
    first.until(PATIENCE, "it runs", |_, said| said.contains("starting").then_some(()))?;
    status_says(&stage.data_dir("first"), &stage.stream, "capture: stream")?;
    let of_the_stream = ["--journal", journal.as_str(), "--stream", stage.stream.as_str()];
    let mut other = of_the_stream.to_vec();
    other.extend(["--partitions", "5"]);
    assert_refused(start(&other)?, JOURNAL, &["4", "5", "partitions"])?;
    assert_refused(stage.capture("first")?, JOURNAL, &["locks", "--data-dir"])?;
    stop(&mut first)
}
