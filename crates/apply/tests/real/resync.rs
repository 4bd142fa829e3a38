//! Snapshots into a destination that holds data: no ghosts, whatever happens in between.

use anyhow::Result;
use apply::{Config, Existing};
use event::control::EpochCause;
use journal::{Journal, Offset, Partition};
use testkit::Kind;

use crate::harness::Bench;

pub(crate) fn names(bench: &mut Bench) -> Result<Vec<String>> {
    let found = bench.client.cmd(&["KEYS", "*"])?.array()?;
    let names: Result<Vec<String>> = found.into_iter().map(testkit::Value::text).collect();
    let mut names: Vec<String> =
        names?.into_iter().filter(|name| !name.starts_with("keyferry:")).collect();
    names.sort();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_snapshot_removes_what_it_does_not_name() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.snapshot().await?;
    for key in ["a", "b", "c"] {
        bench.feed.text(key, "1").await?;
    }
    bench.feed.end_snapshot().await?;
    let service = bench.start().await?;
    bench.feed.command("SET d 1").await?;
    bench.caught_up()?;
    bench.feed.snapshot().await?;
    bench.feed.text("b", "2").await?;
    bench.feed.text("e", "2").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET f 2").await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["b", "e", "f"]);
    assert_eq!(bench.get("b")?.as_deref(), Some("2"));
    service.shows("removed_keys", "3")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_was_cut_short_is_superseded() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.snapshot().await?;
    bench.feed.text("half", "1").await?;
    let service = bench.start().await?;
    bench.reached(bench.feed.position().at_index(2))?;
    bench.feed.snapshot().await?;
    bench.feed.text("whole", "1").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["end", "whole"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_a_snapshot_removes_nothing_that_it_named() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET ghost 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.feed.snapshot().await?;
    for number in 0..40 {
        bench.feed.text(&format!("key:{number}"), "1").await?;
        if number % 10 == 0 {
            let service = bench.start().await?;
            bench.reached(bench.feed.position().at_index(2 + number))?;
            service.stop().await?;
        }
    }
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.client.cmd(&["EXISTS", "ghost"])?.int()?, 0);
    assert_eq!(names(&mut bench)?.len(), 41);
    service.stop().await?;
    Ok(())
}

/// Strings of several records, whose pieces do not carry the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_in_the_middle_of_a_snapshot_removes_no_large_value_that_it_named()
-> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.client.cmd(&["SET", "ghost", "1"])?;
    bench.client.cmd(&["SET", "large:ghost", &"x".repeat(2_000_000)])?;
    let config = Config { existing: Existing::Sweep, ..bench.config() };
    bench.feed.snapshot().await?;
    let mut expected = vec!["end".to_owned()];
    for number in 0_u8..12 {
        let (name, bytes) = match number % 3 {
            0 => (format!("small:{number:02}"), 1),
            _ => (format!("large:{number:02}"), 1_500_000),
        };
        bench.feed.text(&name, &"v".repeat(bytes)).await?;
        expected.push(name);
        if number % 4 == 2 {
            let service = bench.start_with(config.clone()).await?;
            bench.reached(bench.feed.position().at_index(2 + u64::from(number)))?;
            service.kill().await?;
        }
    }
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    expected.sort();
    assert_eq!(names(&mut bench)?, expected);
    assert_eq!(bench.client.cmd(&["STRLEN", "large:01"])?.int()?, 1_500_000);
    service.shows("removed_keys", "2")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_killed_during_a_resync_cost_no_key() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET ghost 1").await?;
    let service = bench.start().await?;
    let mut killer = bench.server.client()?;
    bench.feed.snapshot().await?;
    for number in 0..3_000 {
        bench.feed.text(&format!("key:{number}"), "1").await?;
        if number % 200 == 0 {
            killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
        }
    }
    bench.feed.end_snapshot().await?;
    killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    bench.client = bench.server.client()?;
    bench.feed.command("SET end 1").await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?.len(), 3_001);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_was_there_before_is_swept_where_that_is_asked_for() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.client.cmd(&["SET", "theirs", "1"])?;
    bench.feed.snapshot().await?;
    bench.feed.text("ours", "1").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    let config = Config { existing: Existing::Sweep, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["end", "ours"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sweep_has_left_when_it_was_stopped_goes_after_the_next_start() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.snapshot().await?;
    bench.feed.text("ours", "1").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.crowd()?;
    let config = Config { existing: Existing::Sweep, ..bench.config() };
    let service = bench.start_with(config.clone()).await?;
    bench.stopped_in_the_middle(service).await?;
    assert_eq!(bench.get("end")?, None, "it is behind the sweep");
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["end", "ours"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_quarantine_that_the_source_no_longer_has_is_released() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET bad text", "INCR bad", "SET worse text", "INCR worse"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.feed.snapshot().await?;
    bench.feed.text("worse", "5").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.commands(&["INCR worse", "INCR bad"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("worse")?.as_deref(), Some("6"));
    assert_eq!(bench.get("bad")?.as_deref(), Some("1"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_value_that_was_never_complete_go_with_the_next_snapshot() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.snapshot().await?;
    let elements = event::image::Elements::Items(vec![bytes::Bytes::from_static(b"x")]);
    let head = crate::feed::head(18);
    let part = event::image::ImagePart { head, number: 0, last: false, elements };
    bench.feed.part(b"list", part).await?;
    let service = bench.start().await?;
    bench.reached(bench.feed.position().at_index(2))?;
    assert_eq!(bench.client.cmd(&["KEYS", "*:stage:*"])?.array()?.len(), 1);
    bench.feed.empty_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.caught_up()?;
    assert_eq!(bench.client.cmd(&["KEYS", "*:stage:*"])?.array()?.len(), 0);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_goes_on_elsewhere_is_followed() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["INCR n", "INCR n"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    let reached = bench.feed.position();
    bench.feed.begin_epoch(EpochCause::Continued, reached.offset).await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("3"));
    service.stop().await?;
    Ok(())
}

/// The lane waits for a snapshot, also after a restart, and takes the one that comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_goes_on_without_what_was_applied_is_made_good_by_a_snapshot() -> Result<()>
{
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET kept 1").await?;
    let branch = bench.feed.position().offset;
    bench.feed.command("SET lost 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.feed.begin_epoch(EpochCause::Continued, branch).await?;
    bench.feed.command("SET other 1").await?;
    let (apply, _) = bench.build(bench.config()).await?;
    let mut wanted = apply.snapshots_wanted();
    let stop = tokio_util::sync::CancellationToken::new();
    let asked = async {
        let asked = tokio::time::timeout(std::time::Duration::from_secs(30), wanted.changed());
        asked.await??;
        assert_eq!(names(&mut bench)?, ["kept", "lost"], "nothing is applied meanwhile");
        stop.cancel();
        anyhow::Ok(())
    };
    let (stopped, asked) = tokio::join!(apply.run(stop.clone()), asked);
    stopped?;
    asked?;
    let service = bench.start().await?;
    bench.feed.snapshot().await?;
    bench.feed.text("kept", "1").await?;
    bench.feed.text("other", "1").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["end", "kept", "other"]);
    service.stop().await?;
    Ok(())
}

/// A destination that has stopped, and up to where the journal has what it needs next.
async fn behind() -> Result<(Bench, Vec<(Partition, Offset)>)> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET b 1"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.feed.commands(&["SET c 1"; 20]).await?;
    let journal = bench.feed.journal();
    let ends = journal.describe().await?.partitions;
    let before = (0..4).map(|number| (Partition(number), ends[usize::from(number)].end)).collect();
    Ok((bench, before))
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_left_the_journal_are_made_good_by_a_later_snapshot() -> Result<()> {
    let (mut bench, before) = behind().await?;
    bench.feed.snapshot().await?;
    bench.feed.text("b", "2").await?;
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.feed.journal().trim(before).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["b", "end"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_asked_for_where_the_journal_has_forgotten_what_comes_next() -> Result<()> {
    let (mut bench, before) = behind().await?;
    bench.feed.journal().trim(before).await?;
    let (apply, _) = bench.build(bench.config()).await?;
    let mut wanted = apply.snapshots_wanted();
    let stop = tokio_util::sync::CancellationToken::new();
    let asked = async {
        let asked = tokio::time::timeout(std::time::Duration::from_secs(30), wanted.changed());
        asked.await??;
        bench.feed.snapshot().await?;
        bench.feed.text("b", "2").await?;
        bench.feed.end_snapshot().await?;
        bench.feed.command("SET end 1").await?;
        bench.caught_up()?;
        assert_eq!(names(&mut bench)?, ["b", "end"]);
        stop.cancel();
        anyhow::Ok(())
    };
    let (stopped, asked) = tokio::join!(apply.run(stop.clone()), asked);
    stopped?;
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_of_more_keys_than_memory_holds_removes_exactly_the_strangers() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for number in 0..3_000 {
        bench.feed.command(&format!("SET key:{number} old")).await?;
    }
    bench.feed.commands(&["SET bad text", "INCR bad"]).await?;
    let config = Config { marks_in_memory: 100, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    bench.feed.snapshot().await?;
    for number in (0..3_000).filter(|number| number % 3 != 0) {
        bench.feed.text(&format!("key:{number}"), "new").await?;
    }
    bench.feed.end_snapshot().await?;
    bench.feed.commands(&["SET end 1", "INCR bad"]).await?;
    bench.caught_up()?;
    let found = names(&mut bench)?;
    assert_eq!(found.len(), 2_002);
    let kept = |name: &String| match name.strip_prefix("key:") {
        Some(number) => number.parse::<u32>().is_ok_and(|number| !number.is_multiple_of(3)),
        None => ["bad", "end"].contains(&name.as_str()),
    };
    assert!(found.iter().all(kept), "{found:?}");
    assert_eq!(bench.get("bad")?.as_deref(), Some("1"));
    service.stop().await?;
    Ok(())
}
