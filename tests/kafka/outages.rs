//! Brokers that are away for long, each in another way, while the source is written to: what comes meanwhile waits in
//! capture's spool, not at the source, and afterwards nothing is lost or doubled.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::http::Http;
use testkit::kafka::{Broker, Setup};
use testkit::{Deadline, Kind, Process, eventually};

use crate::apart::{PATIENCE, Stage, status_of, stop};
use crate::load::{Load, assert_counted, assert_one_full_transfer, waiting_bytes};
use crate::steered::steered;
use crate::topic::assert_each_once;

/// What is written while the broker is away: more than sockets hold, the client of Kafka when told to hold less, and
/// capture in memory.
const MEANWHILE_BYTES: usize = 32 << 20;
pub(crate) const LESS: &str = "queue.buffering.max.kbytes=4096";
const VALUE_BYTES: usize = 64 << 10;
/// What waits at the source for its replica link, at most.
pub(crate) const WAITING_BYTES: u64 = 1 << 20;
/// What a user may set who does not like to wait.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often a broker hangs.
const HANGS: usize = 2;
/// After how long without a word a broker is given up by its controller, and how often it gives one.
const SESSION: Duration = Duration::from_secs(1);
const SHORT_SESSION: [&str; 2] =
    ["broker.session.timeout.ms=1000", "broker.heartbeat.interval.ms=300"];
/// How often that happens.
const GIVEN_UP: usize = 3;
/// The size of a partition at which its disk is full.
const FULL_BYTES: u64 = 1 << 20;

/// A capture with properties of the client of Kafka, and an apply, in the stream; `more` are words for both.
pub(crate) fn start(
    stage: &mut Stage,
    properties: &str,
    more: &[&str],
) -> Result<(Process, Process)> {
    let of_capture = [&["--kafka-properties", properties], more].concat();
    let (source, destination) = (stage.source.uri(), stage.destination.uri());
    let mut capture = stage.process(&["capture", &source], "capture", &of_capture)?;
    let mut apply = stage.process(&["apply", &destination], "apply", more)?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    Ok((capture, apply))
}

/// What waits in capture's files.
fn spooled_bytes(stage: &Stage) -> Result<u64> {
    let shown = status_of(stage, "capture")?;
    let bytes = shown.pointer("/capture/spool_disk_bytes").and_then(Value::as_u64);
    bytes.with_context(|| format!("no spool in {shown}"))
}

/// Writes values of no pattern.
pub(crate) fn write(stage: &Stage, bytes: usize) -> Result<()> {
    let mut client = stage.source_client()?;
    for number in 0..bytes / VALUE_BYTES {
        let value: String =
            std::iter::repeat_with(fastrand::alphanumeric).take(VALUE_BYTES).collect();
        client.cmd(&["SET", &format!("large:{number}"), &value])?;
    }
    Ok(())
}

/// Writes more than fits anywhere but into capture's spool, and waits until it is there and the source free of it.
fn assert_spooled(stage: &Stage) -> Result<()> {
    write(stage, MEANWHILE_BYTES)?;
    eventually(PATIENCE, "what came is in the spool", || {
        Ok((spooled_bytes(stage)? >= MEANWHILE_BYTES as u64 / 2).then_some(()))
    })?;
    let mut client = stage.source_client()?;
    eventually(PATIENCE, "the source has got rid of it", || {
        Ok((waiting_bytes(&mut client)? <= WAITING_BYTES).then_some(()))
    })
}

/// Everything that was written is at the destination once, in the topic once, and was transferred once.
pub(crate) fn assert_whole(
    stage: &mut Stage,
    load: Load,
    (capture, apply): (&mut Process, &mut Process),
) -> Result<()> {
    load.goes_on(50)?;
    let counted = load.stop()?;
    stage.caught_up(&mut [capture, apply])?;
    stage.assert_same()?;
    assert_counted(stage, counted)?;
    assert_one_full_transfer(stage)?;
    let changes = u64::try_from(assert_each_once(stage)?)?;
    ensure!(changes >= 5 * counted, "{changes} changes for {counted} rounds");
    stop(apply)?;
    stop(capture)
}

#[test]
fn a_broker_out_of_disk_loses_and_doubles_nothing_once_it_has_room_again() -> Result<()> {
    let mut broker = Broker::start()?;
    let mut stage = Stage::on(Kind::Redis7_0, broker.bootstrap())?;
    let (mut capture, mut apply) = start(&mut stage, LESS, &[])?;
    let load = Load::start(&stage.source)?;
    broker.limit_files(FULL_BYTES)?;
    // In the middle of a write: Kafka gives a directory up that it cannot write to, and it has no other.
    write(&stage, 8 * usize::try_from(FULL_BYTES)?)?;
    broker.ends(PATIENCE)?;
    assert_spooled(&stage)?;
    broker.restart()?;
    assert_whole(&mut stage, load, (&mut capture, &mut apply))
}

#[test]
fn a_broker_that_hangs_for_longer_than_all_timeouts_loses_and_doubles_nothing() -> Result<()> {
    let broker = Broker::start()?;
    let mut stage = Stage::on(Kind::Redis7_0, broker.bootstrap())?;
    let timeout = TIMEOUT.as_millis();
    let timeouts = format!("{LESS},request.timeout.ms={timeout},socket.timeout.ms={timeout}");
    let (mut capture, mut apply) = start(&mut stage, &timeouts, &[])?;
    let load = Load::start(&stage.source)?;
    for _ in 0..HANGS {
        load.goes_on(50)?;
        broker.pause()?;
        let since = Deadline::after(TIMEOUT * 4);
        assert_spooled(&stage)?;
        eventually(PATIENCE, "all timeouts are over", || Ok(since.has_passed().then_some(())))?;
        broker.resume()?;
        stage.caught_up(&mut [&mut capture, &mut apply])?;
    }
    assert_whole(&mut stage, load, (&mut capture, &mut apply))
}

#[test]
fn brokers_that_were_given_up_for_a_moment_are_found_again() -> Result<()> {
    let lonely = SHORT_SESSION.iter().fold(Setup::default(), |setup, line| setup.property(line));
    let broker = Broker::with(&lonely)?;
    let mut stage = Stage::on(Kind::Redis7_0, broker.bootstrap())?;
    let (mut capture, mut apply) = start(&mut stage, LESS, &[])?;
    let load = Load::start(&stage.source)?;
    for _ in 0..GIVEN_UP {
        load.goes_on(50)?;
        // When it goes on its controller has heard from no broker for long, and tells clients of none.
        broker.pause()?;
        let since = Deadline::after(SESSION * 2);
        eventually(PATIENCE, "its session is over", || Ok(since.has_passed().then_some(())))?;
        broker.resume()?;
        stage.caught_up(&mut [&mut capture, &mut apply])?;
    }
    assert_whole(&mut stage, load, (&mut capture, &mut apply))
}

/// The answer to `GET /readyz`, once it has this code.
fn readiness(http: &Http, code: u16) -> Result<String> {
    eventually(PATIENCE, format!("it answers {code}"), || {
        let (found, said) = http.get("/readyz")?;
        Ok((found == code).then_some(said))
    })
}

fn of_apply<'a>(status: &'a Value, name: &str) -> Option<&'a str> {
    status.get("apply")?.get(name)?.as_str()
}

/// An apply has just lost its broker: says so.
fn assert_told(http: &Http, brokers: &str) -> Result<()> {
    // While it gives its partitions up, that is what it says for a moment.
    let said = eventually(PATIENCE, format!("it is not ready for {brokers}"), || {
        let (found, said) = http.get("/readyz")?;
        Ok((found == 503 && said.contains(brokers)).then_some(said))
    })?;
    ensure!(said.contains("see that its brokers run and can be reached"), "{said}");
    let (_, metrics) = http.get("/metrics")?;
    ensure!(metrics.contains("keyferry_ready 0"), "{metrics}");
    // When its session is over it has no partitions, like one that others have spared none.
    let status = eventually(PATIENCE, "it has lost its partitions", || {
        Ok(Some(http.status()?).filter(|status| of_apply(status, "phase").is_some()))
    })?;
    ensure!(of_apply(&status, "journal").is_some(), "{status}");
    readiness(http, 503).map(drop)
}

#[test]
fn an_apply_says_that_its_brokers_hang_or_are_gone_and_that_they_are_back() -> Result<()> {
    let mut broker = Broker::start()?;
    let mut stage = Stage::on(Kind::Redis7_0, broker.bootstrap())?;
    let mut capture = stage.capture("capture")?;
    let (mut apply, http) = steered(&stage, &["apply", &stage.destination.uri()], &[])?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    readiness(&http, 200)?;
    broker.pause()?;
    assert_told(&http, &broker.bootstrap())?;
    broker.resume()?;
    readiness(&http, 200)?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    broker.kill()?;
    assert_told(&http, &broker.bootstrap())?;
    broker.restart()?;
    readiness(&http, 200)?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    for words in ["the journal does not answer", "the journal answers again"] {
        let is_said = |said: &str| (said.matches(words).count() >= 2).then_some(());
        apply.until(PATIENCE, words, |_, said| is_said(said))?;
    }
    stop(&mut apply)?;
    stop(&mut capture)
}
