//! What apply shows of each partition: where it stands, how far it is behind, and where it waits for others.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use apply::Windows;
use runtime::Throttle;
use serde_json::Value;
use testkit::eventually;

use crate::harness::{Bench, LIMIT, Roster, Service};
use crate::tracks::{all_caught_up, bench};

/// What a service says of each of the partitions that it has.
fn parts(service: &Service) -> Result<Vec<(String, Value)>> {
    let shown = service.status.snapshot();
    let lanes = shown.as_object().context("no status")?;
    let lanes = lanes.values().filter_map(|lane| lane.get("partitions")?.as_object());
    Ok(lanes.flatten().map(|(number, part)| (number.clone(), part.clone())).collect())
}

/// Waits until every partition is as it should be.
fn until(service: &Service, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
    eventually(LIMIT, what, || {
        let parts = parts(service)?;
        Ok((!parts.is_empty() && parts.iter().all(|(_, part)| is_so(part))).then_some(()))
    })
}

/// Something in each of the four partitions.
async fn feed_all(bench: &mut Bench) -> Result<()> {
    for number in 0..40 {
        bench.feed.command(&format!("INCR n{number}")).await?;
    }
    bench.feed.heartbeat().await
}

fn has_everything(part: &Value) -> bool {
    part["lag_events"] == 0
        && part["lag_bytes"] == 0
        && part["lag_seconds"] == 0.0
        && part["applied_offset"] == part["journal_end"]
}

fn is_behind(part: &Value) -> bool {
    let (applied, end) = (part["applied_offset"].as_u64(), part["journal_end"].as_u64());
    let behind = end.zip(applied).map(|(end, applied)| end - applied);
    behind > Some(0)
        && part["lag_events"].as_u64() == behind
        && part["lag_bytes"].as_u64() > behind
        && part["lag_seconds"].as_f64() > Some(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_shows_what_a_pause_leaves_behind() -> Result<()> {
    let mut bench = bench().await?;
    let throttle = Throttle::default();
    let config = apply::Config { throttle: throttle.clone(), ..bench.config() };
    feed_all(&mut bench).await?;
    let service = bench.start_with(config).await?;
    all_caught_up(&mut bench)?;
    until(&service, "all has been applied", has_everything)?;
    let numbers: Vec<_> = parts(&service)?.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, ["0", "1", "2", "3"]);
    let position = bench.feed.position();
    until(&service, "all stand at the heartbeat", |part| {
        let shown = part["source_position"].as_str().unwrap_or_default();
        part["source_offset"] == position.offset
            && shown.split(':').nth(2) == Some(&position.offset.to_string())
    })
    .with_context(|| format!("{position}: {:?}", parts(&service)))?;
    throttle.pause();
    service.shows("held_by", "pause")?;
    feed_all(&mut bench).await?;
    until(&service, "the rest is behind", is_behind)?;
    throttle.resume();
    all_caught_up(&mut bench)?;
    until(&service, "all has been applied", has_everything)?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_grows_while_the_destination_is_away() -> Result<()> {
    let mut bench = bench().await?;
    feed_all(&mut bench).await?;
    let service = bench.start().await?;
    all_caught_up(&mut bench)?;
    until(&service, "all has been applied", has_everything)?;
    bench.server.kill()?;
    service.shows("phase", "waiting")?;
    feed_all(&mut bench).await?;
    until(&service, "what has come is behind", is_behind)?;
    let lag = |service: &Service| service.lane("lag_records").parse::<u64>();
    ensure!(lag(&service)? >= 40, "{}", lag(&service)?);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_partitions_of_others_shows_where() -> Result<()> {
    let mut bench = bench().await?;
    let roster = Arc::new(Roster::default());
    bench.roster = Some(Arc::clone(&roster));
    let config = apply::Config { name: "copy".into(), ..bench.config() };
    let service = bench.start_with(config).await?;
    eventually(LIMIT, "it has come", || Ok((roster.members() > 0).then_some(())))?;
    roster.give(0, &[0, 1]);
    let keys: Vec<String> = (0..20).map(|number| format!("INCR n{number}")).collect();
    let group: Vec<(u32, &str)> = keys.iter().map(|words| (0, words.as_str())).collect();
    bench.feed.group(&group).await?;
    let position = bench.feed.position();
    until(&service, "both wait at the transaction", |part| {
        let at = part["waits_at"].as_str().unwrap_or_default();
        part["waits"] == 1 && at.split(':').nth(2) == Some(&position.offset.to_string())
    })?;
    service.shows("waits_for_partitions", "2,3")?;
    roster.give(0, &[0, 1, 2, 3]);
    until(&service, "nobody waits", |part| part["waits"] == 0 && part["waits_at"].is_null())?;
    bench.feed.heartbeat().await?;
    all_caught_up(&mut bench)?;
    ensure!(bench.get("n7")?.as_deref() == Some("1"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_are_waited_for_longer_than_a_destination_would_be() -> Result<()> {
    let mut bench = bench().await?;
    let roster = Arc::new(Roster::default());
    bench.roster = Some(Arc::clone(&roster));
    // Over by the time that the journal is asked.
    let windows = Windows { connection: Duration::from_millis(100), ..Windows::default() };
    let config = apply::Config { windows, name: "copy".into(), ..bench.config() };
    feed_all(&mut bench).await?;
    let service = bench.start_with(config).await?;
    all_caught_up(&mut bench)?;
    // Waiting for one that does not let it in has a window of its own; then it looks into the journal.
    roster.be_silent_for(u64::MAX);
    bench.client.cmd(&["CONFIG", "SET", "requirepass", "another"])?;
    bench.client.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    feed_all(&mut bench).await?;
    service.shows("phase", "waiting")?;
    bench.client.cmd(&["CONFIG", "SET", "requirepass", ""])?;
    roster.be_silent_for(8);
    eventually(LIMIT, "it has asked again and again", || Ok(roster.was_asked().then_some(())))?;
    all_caught_up(&mut bench)?;
    until(&service, "all has been applied", has_everything)?;
    service.stop().await?;
    Ok(())
}
