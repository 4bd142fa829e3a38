//! Limits and pauses: never more than they let through, changed while it runs, deaf to nothing meanwhile.

use std::time::Duration;

use anyhow::{Result, ensure};
use runtime::{Limits, Rate, Throttle};
use testkit::{Deadline, Kind, eventually};

use crate::harness::{Bench, LIMIT};

fn full(rows: u64, bytes: u64) -> Limits {
    Limits { full: Rate { rows, bytes }, ..Limits::default() }
}

fn incremental(rows: u64, bytes: u64) -> Limits {
    Limits { incremental: Rate { rows, bytes }, ..Limits::default() }
}

/// What a watch expects.
struct Expected {
    /// Keys in a second.
    rate: f64,
    /// Lanes, each of which may have looked at what is saved up before another took it.
    lanes: f64,
    /// Keys in all.
    keys: usize,
}

/// Watches until all keys of that prefix have come: never more than has been let through since.
fn watch_keys(bench: &mut Bench, prefix: &str, since: Deadline, expected: &Expected) -> Result<()> {
    let pattern = format!("{prefix}:*");
    eventually(LIMIT, format!("{} keys are there", expected.keys), || {
        let found = bench.client.cmd(&["KEYS", &pattern])?.array()?.len();
        #[expect(clippy::cast_precision_loss, reason = "these are few")]
        let found_so_far = found as f64;
        let seconds = since.elapsed().as_secs_f64();
        let may = expected.rate * 0.1f64.mul_add(expected.lanes, seconds) + expected.lanes;
        ensure!(found_so_far <= may, "{found} keys where at most {may} may be");
        Ok((found == expected.keys).then_some(()))
    })
}

async fn snapshot_of(bench: &mut Bench, keys: usize, value: &str) -> Result<()> {
    bench.feed.snapshot().await?;
    for number in 0..keys {
        bench.feed.text(&format!("key:{number}"), value).await?;
    }
    bench.feed.end_snapshot().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_applied_no_faster_than_its_limit_in_rows() -> Result<()> {
    // The lanes of one destination share it.
    for unordered in [false, true] {
        let mut bench = Bench::new(Kind::Redis7_0).await?;
        bench.unordered = unordered;
        snapshot_of(&mut bench, 400, "v").await?;
        let mut config = bench.config();
        config.throttle = Throttle::new(full(200, 0));
        let since = Deadline::after(LIMIT);
        let service = bench.start_with(config).await?;
        service.shows("held_by", "throttle")?;
        let lanes = if unordered { 4.0 } else { 1.0 };
        watch_keys(&mut bench, "key", since, &Expected { rate: 200.0, lanes, keys: 400 })?;
        ensure!(since.elapsed() > Duration::from_millis(1_500), "{:?}", since.elapsed());
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_applied_no_faster_than_its_limit_in_bytes_and_the_snapshot_before_it_freely()
-> Result<()> {
    let mut bench = Bench::new(Kind::Valkey9_1).await?;
    let value = "x".repeat(1_000);
    snapshot_of(&mut bench, 1_000, &value).await?;
    let mut config = bench.config();
    config.throttle = Throttle::new(incremental(0, 100_000));
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    let since = Deadline::after(LIMIT);
    for number in 0..200 {
        bench.feed.command(&format!("SET more:{number} {value}")).await?;
    }
    watch_keys(&mut bench, "more", since, &Expected { rate: 100.0, lanes: 1.0, keys: 200 })?;
    bench.caught_up()?;
    ensure!(since.elapsed() > Duration::from_millis(1_500), "{:?}", since.elapsed());
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_can_be_changed_while_it_holds() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    snapshot_of(&mut bench, 500, "v").await?;
    let throttle = Throttle::new(full(1, 0));
    let mut config = bench.config();
    config.throttle = throttle.clone();
    let service = bench.start_with(config).await?;
    service.shows("held_by", "throttle")?;
    throttle.set_limits(Limits::default());
    bench.caught_up()?;
    service.shows("held_by", "")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_place_count_for_nothing() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for _ in 0..200 {
        bench.feed.heartbeat().await?;
    }
    bench.feed.commands(&["SET a 1", "SET b 2"]).await?;
    let mut config = bench.config();
    config.throttle = Throttle::new(incremental(2, 0));
    let service = bench.start_with(config).await?;
    // They would take four times as long.
    bench.caught_up()?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_lane_takes_nothing_and_stops_at_once() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let throttle = Throttle::default();
    let mut config = bench.config();
    config.throttle = throttle.clone();
    bench.feed.command("SET before 1").await?;
    let service = bench.start_with(config.clone()).await?;
    bench.caught_up()?;
    throttle.pause();
    service.shows("held_by", "pause")?;
    bench.feed.commands(&["INCR after", "INCR after"]).await?;
    // It has looked around since.
    eventually(LIMIT, "the lag shows", || Ok((service.lane("lag_records") == "2").then_some(())))?;
    ensure!(bench.get("after")?.is_none(), "something was applied");
    let since = Deadline::after(LIMIT);
    service.stop().await?;
    ensure!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let service = bench.start_with(config).await?;
    service.shows("held_by", "pause")?;
    ensure!(bench.get("after")?.is_none(), "something was applied");
    throttle.resume();
    bench.caught_up()?;
    ensure!(bench.get("after")?.as_deref() == Some("2"));
    service.shows("held_by", "")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_was_put_off_is_not_settled_while_what_may_prolong_it_is_held() -> Result<()>
{
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let throttle = Throttle::default();
    let mut config = bench.config();
    config.throttle = throttle.clone();
    let deadline = testkit::now_ms() + 60_000;
    bench.feed.lag_ms = 60_000;
    bench.feed.command(&format!("SET k 1 PXAT {deadline}")).await?;
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    service.shows("expiry_held", "1")?;
    throttle.pause();
    service.shows("held_by", "pause")?;
    bench.feed.lag_ms = 0;
    bench.feed.command("SET other 1").await?;
    eventually(LIMIT, "the lag shows", || Ok((service.lane("lag_records") == "1").then_some(())))?;
    service.shows("expiry_held", "1")?;
    throttle.resume();
    bench.caught_up()?;
    service.shows("expiry_held", "0")?;
    let expires_ms = bench.client.cmd(&["PEXPIRETIME", "k"])?.int()?;
    ensure!(u64::try_from(expires_ms)? == deadline, "{expires_ms} instead of {deadline}");
    service.stop().await?;
    Ok(())
}
