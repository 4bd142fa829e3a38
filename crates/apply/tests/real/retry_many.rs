//! Trying many keys again at once: in one pass over what is kept, part by part, with the stream between the parts.

use std::sync::Arc;

use anyhow::Result;
use apply::quarantine::{Answer, Ask, Lanes, Shelf};
use bytes::Bytes;
use testkit::{Kind, eventually};

use crate::harness::{Bench, LIMIT};

async fn shelf(bench: &Bench) -> Result<Shelf> {
    let clock = Arc::new(runtime::SystemClock::new());
    Ok(Shelf::open(&bench.config(), "shop", Lanes::One, clock).await?)
}

/// Strings `bad:n` that are lists at the destination, with letters for each; then it is put right and all are asked
/// to be tried again. No service runs.
async fn asked_to_try(keys: usize, letters: usize, value: &str) -> Result<Bench> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    for key in 0..keys {
        bench.client.cmd(&["LPUSH", &format!("bad:{key}"), "x"])?;
    }
    for number in 0..letters {
        let all = (0..keys).map(|key| format!("APPEND bad:{key} {number}{value}"));
        bench.feed.commands(&all.collect::<Vec<_>>()).await?;
    }
    bench.caught_up()?;
    service.shows("quarantined_keys", &keys.to_string())?;
    service.stop().await?;
    let mut shelf = shelf(&bench).await?;
    for key in 0..keys {
        let key = format!("bad:{key}");
        bench.client.cmd(&["DEL", &key])?;
        assert!(shelf.ask(0, &Bytes::from(key), Ask::Retry).await?);
    }
    Ok(bench)
}

/// Waits until no key is set aside, and sees that each has the value that its letters make.
fn made_good(bench: &mut Bench, keys: usize, value: &str) -> Result<()> {
    eventually(LIMIT, "no key is set aside, and no request is left", || {
        let left = bench.client.cmd(&["KEYS", "*:quarantine*"])?.array()?;
        Ok(left.is_empty().then_some(()))
    })?;
    for key in 0..keys {
        let found = bench.get(&format!("bad:{key}"))?;
        assert!(found.as_deref() == Some(value), "bad:{key} has {:?}", found.map(|it| it.len()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_are_tried_again_in_one_pass_over_the_letters() -> Result<()> {
    let mut bench = asked_to_try(200, 5, "").await?;
    let before = bench.letters_read.opened();
    let service = bench.start().await?;
    made_good(&mut bench, 200, "01234")?;
    // Once for which keys hang together, once for what is due.
    assert_eq!(bench.letters_read.opened() - before, 2);
    service.stop().await?;
    Ok(())
}

/// Keys and bytes of a letter of each: several times what is tried in one batch.
const LARGE_KEYS: usize = 24;
const LARGE_BYTES: usize = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_goes_on_between_two_parts_of_what_is_tried_again() -> Result<()> {
    let value = "v".repeat(LARGE_BYTES);
    let mut bench = asked_to_try(LARGE_KEYS, 1, &value).await?;
    // Nothing is read for the second part.
    bench.letters_read.close_after(2);
    let service = bench.start().await?;
    bench.feed.command("SET other new").await?;
    eventually(LIMIT, "another key arrives", || {
        Ok((bench.get("other")?.as_deref() == Some("new")).then_some(()))
    })?;
    let held = shelf(&bench).await?.list().await?;
    assert!(!held.is_empty() && held.len() < LARGE_KEYS, "{} are still to be tried", held.len());
    bench.letters_read.open();
    made_good(&mut bench, LARGE_KEYS, &format!("0{value}"))?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_leaves_what_is_not_yet_tried_for_the_next_start() -> Result<()> {
    let value = "v".repeat(LARGE_BYTES);
    let mut bench = asked_to_try(LARGE_KEYS, 1, &value).await?;
    bench.letters_read.close_after(2);
    let before = bench.letters_read.opened();
    let service = bench.start().await?;
    eventually(LIMIT, "the second part is to be read", || {
        Ok((bench.letters_read.opened() - before > 2).then_some(()))
    })?;
    service.ask_to_stop();
    bench.letters_read.open();
    service.stop().await?;
    let held = shelf(&bench).await?.list().await?;
    assert!(!held.is_empty() && held.len() < LARGE_KEYS, "{} are still to be tried", held.len());
    for key in held {
        assert_eq!(key.answer, Some(Answer::Waiting(Ask::Retry)));
    }
    let service = bench.start().await?;
    made_good(&mut bench, LARGE_KEYS, &format!("0{value}"))?;
    service.stop().await?;
    Ok(())
}
