//! Trying again what is kept for a key: what cannot be read or planned refuses the request, and stops nothing.

use std::sync::Arc;

use anyhow::Result;
use apply::Unsupported;
use apply::quarantine::{Answer, Ask, Lanes, Shelf};
use bytes::Bytes;
use event::control::Control;
use event::quarantine::Letter;
use journal::{Append, Journal, Partition};
use testkit::{Deadline, Kind, eventually};

use crate::harness::{Bench, LIMIT, Service};

async fn shelf(bench: &Bench) -> Result<Shelf> {
    let clock = Arc::new(runtime::SystemClock::new());
    Ok(Shelf::open(&bench.config(), "shop", Lanes::One, clock).await?)
}

/// A stream that has set `bad` aside, by a service that has stopped.
async fn with_letters() -> Result<Bench> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET bad text", "INCR bad", "SET fine 1"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    Ok(bench)
}

async fn keep(bench: &Bench, payload: Bytes) -> Result<()> {
    let record = Append {
        partition: Partition(0),
        key: Bytes::new(),
        timestamp_ms: 0,
        kind: "dead-letter",
        db: 0,
        payload,
    };
    let mut appender = bench.letters.appender().await?;
    appender.append(&mut vec![record]).await?;
    appender.flush().await?;
    Ok(())
}

/// Asks to try a key again, and sees it refused by a lane that goes on, also after the next start.
async fn refused(bench: &mut Bench, config: apply::Config, key: &'static str) -> Result<String> {
    let key = Bytes::from_static(key.as_bytes());
    shelf(bench).await?.ask(0, &key, Ask::Retry).await?;
    for start in 0..2 {
        let service = bench.start_with(config.clone()).await?;
        bench.feed.command("INCR n").await?;
        bench.caught_up()?;
        eventually(LIMIT, "the request is answered", || {
            let requests = bench.client.cmd(&["KEYS", "*:requests"])?.array()?;
            let [name] = &requests[..] else { return Ok(None) };
            let words = bench.client.cmd(&["HVALS", &name.clone().text()?])?.array()?;
            let [word] = &words[..] else { return Ok(None) };
            Ok(word.clone().text()?.starts_with("refused").then_some(()))
        })?;
        service.stop().await?;
        assert_eq!(bench.get("n")?, Some((start + 1).to_string()));
    }
    let held = shelf(bench).await?.list().await?;
    let answer = held.into_iter().find(|held| held.key == key).and_then(|held| held.answer);
    match answer {
        Some(Answer::Refused(why)) => Ok(why),
        other => anyhow::bail!("answered with {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_letter_refuses_the_request() -> Result<()> {
    let mut bench = with_letters().await?;
    keep(&bench, Bytes::from_static(b"\xff\xff")).await?;
    let config = bench.config();
    let why = refused(&mut bench, config, "bad").await?;
    assert!(why.contains("cannot be read: record 1 of partition 0"), "{why}");
    assert_eq!(bench.get("bad")?.as_deref(), Some("text"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_whose_change_cannot_be_read_refuses_the_request() -> Result<()> {
    let mut bench = with_letters().await?;
    let first = bench.all_letters().await?.remove(0);
    let offset = first.position.offset + 1;
    let position = event::Position { offset, ..first.position };
    let damaged = Letter { position, event: Bytes::from_static(b"\xff\xff"), ..first };
    for record in damaged.encode() {
        keep(&bench, record).await?;
    }
    let config = bench.config();
    let why = refused(&mut bench, config, "bad").await?;
    assert!(why.contains("kept for it cannot be read"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_settings_do_not_let_be_set_aside_refuses_the_request() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let commands = ["HSET hash f v", "HPEXPIREAT hash 9999999999999 FIELDS 1 f", "HSET hash g v"];
    bench.feed.commands(&commands).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    let mut config = bench.config();
    config.unsupported = Unsupported::Fail;
    let why = refused(&mut bench, config, "hash").await?;
    assert!(why.contains("cannot hold hash"), "{why}");
    // It is as it was, and can be tried with other settings.
    shelf(&bench).await?.ask(0, &Bytes::from_static(b"hash"), Ask::Retry).await?;
    let service = bench.start().await?;
    eventually(LIMIT, "the request is answered", || {
        let asked = bench.client.cmd(&["KEYS", "*:requests"])?.array()?;
        Ok(asked.is_empty().then_some(()))
    })?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_tried_at_once_refuses_the_request() -> Result<()> {
    let mut bench = with_letters().await?;
    let value = "v".repeat(25 << 20);
    for _ in 0..4 {
        bench.feed.command(&format!("APPEND bad {value}")).await?;
    }
    let config = bench.config();
    let service = bench.start_with(config.clone()).await?;
    bench.caught_up()?;
    service.stop().await?;
    let why = refused(&mut bench, config, "bad").await?;
    assert!(why.contains("than the 64MiB that can be tried at once"), "{why}");
    assert_eq!(bench.get("fine")?.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_value_is_gone_refuses_the_request() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET gone 1", "PEXPIREAT gone 9999999999998"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.client.cmd(&["DEL", "gone"])?;
    bench.feed.commands(&["PEXPIREAT gone 9999999999999", "INCR gone"]).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    let (config, before) = (bench.config(), bench.get("gone")?);
    let why = refused(&mut bench, config, "gone").await?;
    assert!(why.contains("its value is gone here"), "{why}");
    assert_eq!(bench.get("gone")?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_changed_its_database_refuses_the_request() -> Result<()> {
    let mut bench = with_letters().await?;
    let service = bench.start().await?;
    let swap = Control::SwapDb { first: 0, second: 1 };
    bench.feed.control(swap.clone()).await?;
    bench.feed.db = 1;
    bench.feed.command("INCR bad").await?;
    // Back where it was, with a change in between that is kept under the other database.
    bench.feed.control(swap).await?;
    bench.feed.db = 0;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    let config = bench.config();
    let why = refused(&mut bench, config, "bad").await?;
    assert!(why.contains("under another database"), "{why}");
    assert_eq!(bench.get("bad")?.as_deref(), Some("text"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_another_key_that_has_a_later_value_refuses_the_request() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let commands = ["SET bad text", "INCR bad", "RENAME bad other", "SET other new"];
    bench.feed.commands(&commands).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    bench.client.cmd(&["SET", "bad", "5"])?;
    let config = bench.config();
    let why = refused(&mut bench, config, "bad").await?;
    assert!(why.contains("also concerns db 0 other, which is not in quarantine"), "{why}");
    assert_eq!(bench.get("other")?.as_deref(), Some("new"));
    assert_eq!(bench.get("bad")?.as_deref(), Some("5"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_reads_a_key_which_may_have_changed_since_refuses_the_request() -> Result<()>
{
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.client.cmd(&["RPUSH", "union", "no set"])?;
    bench.feed.commands(&["PFMERGE union read", "PFADD read y"]).await?;
    let config = apply::Config { existing: apply::Existing::Overwrite, ..bench.config() };
    let service = bench.start_with(config.clone()).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    let why = refused(&mut bench, config, "union").await?;
    assert!(why.contains("also concerns db 0 read, which is not in quarantine"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_letter_that_is_lost_refuses_the_request() -> Result<()> {
    let mut bench = with_letters().await?;
    bench.letters = journal::MemoryJournal::new("letters", 1);
    bench.client.cmd(&["SET", "bad", "5"])?;
    bench.feed.command("APPEND bad 7").await?;
    let config = bench.config();
    let service = bench.start_with(config.clone()).await?;
    bench.caught_up()?;
    service.stop().await?;
    assert_eq!(bench.all_letters().await?.len(), 1);
    let why = refused(&mut bench, config, "bad").await?;
    assert!(why.contains("with which db 0 bad was set aside is not among the dead"), "{why}");
    assert_eq!(bench.get("bad")?.as_deref(), Some("5"));
    Ok(())
}

/// What the service says of its letters.
fn trouble(service: &Service) -> Option<String> {
    Some(service.status.snapshot().get("letters")?.as_str()?.to_owned())
}

/// Asks to try a key again whose letters nobody gives, and waits until that is told.
async fn stalled() -> Result<(Bench, Service)> {
    let mut bench = with_letters().await?;
    bench.client.cmd(&["SET", "bad", "7"])?;
    bench.letters_read.close_after(0);
    let service = bench.start().await?;
    shelf(&bench).await?.ask(0, &Bytes::from_static(b"bad"), Ask::Retry).await?;
    let told = eventually(LIMIT, "it is told", || Ok(trouble(&service)))?;
    assert!(told.contains("dead letters cannot be read for 5 s"), "{told}");
    Ok((bench, service))
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_nobody_gives_are_told_of_until_they_come() -> Result<()> {
    let (mut bench, service) = stalled().await?;
    bench.letters_read.open();
    eventually(LIMIT, "it is tried again", || {
        Ok((bench.get("bad")?.as_deref() == Some("8")).then_some(()))
    })?;
    eventually(LIMIT, "nothing is told", || Ok(trouble(&service).is_none().then_some(())))?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_letters_that_nobody_gives() -> Result<()> {
    let (bench, service) = stalled().await?;
    let since = Deadline::after(LIMIT);
    service.stop().await?;
    assert!(since.elapsed() < LIMIT / 3, "{:?}", since.elapsed());
    let held = shelf(&bench).await?.list().await?;
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].answer, Some(Answer::Waiting(Ask::Retry)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_nobody_keeps_are_told_of_and_a_stop_does_not_wait_for_them() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.letters.hold_durability();
    bench.feed.commands(&["SET bad text", "INCR bad", "SET fine 1"]).await?;
    let told = eventually(LIMIT, "it is told", || Ok(trouble(&service)))?;
    assert!(told.contains("dead letters cannot be stored for 5 s"), "{told}");
    bench.letters.release_durability();
    bench.caught_up()?;
    eventually(LIMIT, "nothing is told", || Ok(trouble(&service).is_none().then_some(())))?;

    bench.letters.hold_durability();
    bench.feed.commands(&["INCR bad", "SET fine 2"]).await?;
    eventually(LIMIT, "it is told", || Ok(trouble(&service)))?;
    let since = Deadline::after(LIMIT);
    service.stop().await?;
    assert!(since.elapsed() < LIMIT / 3, "{:?}", since.elapsed());
    bench.letters.release_durability();
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.get("fine")?.as_deref(), Some("2"));
    service.stop().await?;
    Ok(())
}
