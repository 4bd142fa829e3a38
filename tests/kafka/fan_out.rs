//! One stream, several destinations: one that is paused, mapped or removed is of no concern to the others.

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;
use testkit::http::{Http, TOKEN};
use testkit::{Dataset, Kind, Process, Server, Tolerance, compare, eventually};

use crate::apart::{PATIENCE, Stage, stop};
use crate::load::{Load, assert_counted};

const KIND: Kind = Kind::Redis7_0;
/// Where the destination that is mapped has what the source has in database 0.
const MAPPED_DB: u32 = 3;

/// An apply of a destination that has its name, its directory and its orders to itself.
fn apply(stage: &Stage, to: &Server, name: &str, more: &[&str]) -> Result<(Process, Http)> {
    let uri = to.uri();
    let own = ["--destination-name", name, "--admin-listen", "127.0.0.1:0"];
    let more = [&own, more].concat();
    let mut process = stage.process_with((&["apply", &uri], &more), name, &[TOKEN])?;
    let http = Http::of(&mut process)?;
    Ok((process, http))
}

/// What the source has of database 0 is in the other one there, and nothing else is.
fn assert_mapped(stage: &Stage, to: &Server) -> Result<()> {
    let mut expected = Dataset::read(&mut stage.source_client()?)?;
    let of_zero = expected.dbs.remove(&0).context("a database 0 at the source")?;
    expected.dbs.insert(MAPPED_DB, of_zero);
    let found = Dataset::read(&mut to.client()?)?;
    let differences = compare(&expected, &found, &Tolerance::native(KIND, KIND));
    let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
    ensure!(differences.is_empty(), "{}", shown.join("\n"));
    Ok(())
}

/// What the brokers know of a destination is gone.
fn forget(stage: &Stage, name: &str) -> Result<()> {
    let group = format!("keyferry.{}.{name}", stage.stream);
    let brokers: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &stage.brokers).create()?;
    let (runtime, options) = (tokio::runtime::Runtime::new()?, AdminOptions::new());
    // On a loaded machine a member may be a little late to be known as gone.
    eventually(PATIENCE, format!("group {group} is deleted"), || {
        let deleted = runtime.block_on(brokers.delete_groups(&[&group], &options))?;
        match deleted.first() {
            Some(Ok(_)) => Ok(Some(())),
            Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => Ok(None),
            other => bail!("{other:?}"),
        }
    })
}

#[test]
fn one_destination_is_paused_mapped_or_removed_and_the_others_go_on() -> Result<()> {
    let mut stage = Stage::start(KIND)?;
    let (mapped, removed) = (Server::start(KIND, &[])?, Server::start(KIND, &[])?);
    let load = Load::start(&stage.source)?;
    let mut capture = stage.capture("capture")?;
    let (mut first, _) = apply(&stage, &stage.destination, "first", &[])?;
    let map = format!("0:{MAPPED_DB}");
    let (mut second, of_second) = apply(&stage, &mapped, "mapped", &["--map-dbs", &map])?;
    let (mut third, _) = apply(&stage, &removed, "removed", &[])?;
    stage.caught_up_at(
        &[&mapped, &removed],
        &mut [&mut capture, &mut first, &mut second, &mut third],
    )?;

    of_second.order("/pause", "")?;
    let is_held = |status: &Value| status.to_string().contains(r#""held_by":"pause""#);
    of_second.until("a pause holds it", is_held)?;
    let mut there = mapped.client()?;
    there.select(MAPPED_DB)?;
    let before = there.cmd(&["GET", "counter:0"])?.text()?;
    load.goes_on(200)?;
    stage.caught_up_at(&[&removed], &mut [&mut capture, &mut first, &mut second, &mut third])?;
    ensure!(there.cmd(&["GET", "counter:0"])?.text()? == before, "it goes on in a pause");

    stop(&mut third)?;
    forget(&stage, "removed")?;
    let mut gone = removed.client()?;
    let left = gone.cmd(&["GET", "counter:0"])?.text()?;
    load.goes_on(200)?;
    of_second.order("/resume", "")?;
    let counted = load.stop()?;
    stage.caught_up_at(&[&mapped], &mut [&mut capture, &mut first, &mut second])?;
    stage.assert_same()?;
    assert_counted(&stage, counted)?;
    assert_mapped(&stage, &mapped)?;
    ensure!(gone.cmd(&["GET", "counter:0"])?.text()? == left, "one that was removed goes on");
    for process in [&mut first, &mut second, &mut capture] {
        stop(process)?;
    }
    Ok(())
}
