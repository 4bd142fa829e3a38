//! A journal whose partitions have no common order: one lane and one checkpoint for each.

use anyhow::Result;
use event::control::Control;
use testkit::{Kind, eventually};

use crate::harness::{Bench, LIMIT};

async fn bench() -> Result<Bench> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.unordered = true;
    Ok(bench)
}

/// Waits until every lane has applied the end of the stream, which a heartbeat marks.
fn all_caught_up(bench: &mut Bench) -> Result<()> {
    let end = bench.feed.position();
    eventually(LIMIT, "every lane is at the end", || {
        for partition in 0..4_u32 {
            let first = wire::slot::slots_of(partition, 4).start;
            let slot = wire::slot::Slot::new(first).expect("a slot");
            let key = event::names::checkpoint(slot, "shop");
            let testkit::Value::Bulk(bytes) = bench.client.ask(&["GET", &key])? else {
                return Ok(None);
            };
            let found = event::codec::checkpoint::decode(&bytes)?;
            if found.applied.first().is_none_or(|applied| end.is_after(&applied.position)) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_has_a_lane_of_its_own() -> Result<()> {
    let mut bench = bench().await?;
    for round in 0..3 {
        for number in 0..400 {
            bench.feed.command(&format!("INCR n{}", number % 20)).await?;
        }
        bench.feed.heartbeat().await?;
        let service = bench.start().await?;
        all_caught_up(&mut bench)?;
        for number in 0..20 {
            let found = bench.get(&format!("n{number}"))?;
            assert_eq!(found, Some((20 * (round + 1)).to_string()));
        }
        let summary = service.stop().await?;
        assert_eq!(summary.lanes.len(), 4);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lane_sweeps_its_own_partition() -> Result<()> {
    let mut bench = bench().await?;
    for number in 0..200 {
        bench.feed.command(&format!("SET old:{number} v")).await?;
    }
    bench.feed.heartbeat().await?;
    let service = bench.start().await?;
    all_caught_up(&mut bench)?;
    bench.feed.snapshot().await?;
    for number in 0..50 {
        bench.feed.text(&format!("old:{number}"), "new").await?;
    }
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.feed.heartbeat().await?;
    all_caught_up(&mut bench)?;
    let found = bench.client.cmd(&["KEYS", "old:*"])?.array()?;
    assert_eq!(found.len(), 50);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_one_order_is_refused_by_name() -> Result<()> {
    let mut bench = bench().await?;
    bench.feed.control(Control::Flush { all: true }).await?;
    let service = bench.start().await?;
    let error = service.failed().await?;
    assert!(matches!(error, apply::Error::Unsupported { .. }), "{error}");
    Ok(())
}
