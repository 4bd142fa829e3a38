//! Destinations that take less at once than a change has: it is set aside by name, the rest goes on, and it is tried again
//! once they take it.

use std::sync::Arc;

use anyhow::Result;
use apply::quarantine::{Ask, Lanes, Shelf};
use bytes::Bytes;
use testkit::{Kind, Server};

use crate::harness::{Bench, Service};

const KINDS: [Kind; 3] = [Kind::Redis7_0, Kind::Redis8_2, Kind::Valkey9_1];

/// More than 1 MiB.
const LARGE: usize = 2 << 20;

/// Tries everything that is set aside again.
async fn retry_all(bench: &mut Bench, service: &Service) -> Result<()> {
    let clock = Arc::new(runtime::SystemClock::new());
    let mut shelf = Shelf::open(&bench.config(), "shop", Lanes::One, clock).await?;
    for held in shelf.list().await? {
        assert!(shelf.ask(held.db, &held.key, Ask::Retry).await?);
    }
    service.shows("quarantined_keys", "0")?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()
}

/// Why each key was set aside, by key.
async fn why(bench: &Bench) -> Result<Vec<(String, String)>> {
    let clock = Arc::new(runtime::SystemClock::new());
    let mut shelf = Shelf::open(&bench.config(), "shop", Lanes::One, clock).await?;
    let held = shelf.list().await?.into_iter();
    Ok(held.map(|held| (String::from_utf8_lossy(&held.key).into_owned(), held.why)).collect())
}

/// A value of a list that is larger in one piece than any of its elements.
fn list_payload(kind: Kind) -> Result<Bytes> {
    let source = Server::start(kind, &["rdbcompression no"])?;
    let mut client = source.client()?;
    for _ in 0..4 {
        client.cmd(&["RPUSH", "list", &"e".repeat(LARGE / 4)])?;
    }
    Ok(client.cmd(&["DUMP", "list"])?.bytes()?.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_longer_than_an_argument_may_be_is_set_aside_and_tried_again() -> Result<()> {
    for kind in KINDS {
        let mut bench = Bench::with(kind, &["proto-max-bulk-len 1mb"]).await?;
        let large = "x".repeat(LARGE);
        bench.feed.snapshot().await?;
        bench.feed.text("image", &large).await?;
        bench.feed.text("exact", &large[..1 << 20]).await?;
        bench.feed.end_snapshot().await?;
        bench.feed.command(&format!("SET set {large}")).await?;
        let payload = list_payload(kind)?;
        bench.feed.args(&[b"RESTORE", b"list", b"0", &payload, b"REPLACE"]).await?;
        bench.feed.group(&[(0, &format!("APPEND part {large}")), (0, "INCR n")]).await?;
        bench.feed.commands(&["APPEND set y", "RPUSH list last", "INCR n"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("2"), "{kind}");
        assert_eq!(bench.get("exact")?.map(|value| value.len()), Some(1 << 20));
        service.shows("quarantined_keys", "4")?;
        for (key, why) in why(&bench).await? {
            let sizes = "bytes, and its proto-max-bulk-len is 1048576: raise it there";
            assert!(why.contains(sizes), "{key} of {kind}: {why}");
        }
        bench.client.cmd(&["CONFIG", "SET", "proto-max-bulk-len", "64mb"])?;
        retry_all(&mut bench, &service).await?;
        assert_eq!(bench.get("image")?.as_deref(), Some(&*large), "{kind}");
        assert_eq!(bench.get("set")?, Some(large.clone() + "y"), "{kind}");
        assert_eq!(bench.get("part")?.as_deref(), Some(&*large), "{kind}");
        assert_eq!(bench.client.cmd(&["LLEN", "list"])?.int()?, 5, "{kind}");
        assert_eq!(bench.get("n")?.as_deref(), Some("3"), "{kind}");
        // A limit that is lowered while everything runs is found out by the connection that it ends.
        bench.client.cmd(&["CONFIG", "SET", "proto-max-bulk-len", "1mb"])?;
        bench.feed.commands(&[&format!("SET later {large}"), "INCR n"]).await?;
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("4"), "{kind}");
        service.shows("quarantined_keys", "1")?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_a_client_may_have_waiting_is_set_aside_or_cut() -> Result<()> {
    for kind in [Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::with(kind, &["client-query-buffer-limit 4mb"]).await?;
        bench.feed.empty_snapshot().await?;
        let piece = "x".repeat(700_000);
        let sets: Vec<String> = (0..12).map(|number| format!("SET key:{number} {piece}")).collect();
        bench.feed.commands(&sets).await?;
        let group: Vec<(u32, &str)> = sets.iter().map(|words| (1, &**words)).collect();
        bench.feed.group(&group).await?;
        bench.feed.command(&format!("MSET a {piece} b {piece} c {piece}")).await?;
        bench.feed.commands(&["APPEND a y", "INCR n"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("1"), "{kind}");
        service.shows("quarantined_keys", "3")?;
        for (key, why) in why(&bench).await? {
            assert!(why.contains("its client-query-buffer-limit is 4194304"), "{key}: {why}");
        }
        bench.client.cmd(&["CONFIG", "SET", "client-query-buffer-limit", "1gb"])?;
        retry_all(&mut bench, &service).await?;
        assert_eq!(bench.get("a")?, Some(piece.clone() + "y"), "{kind}");
        bench.client.cmd(&["SELECT", "1"])?;
        assert_eq!(bench.get("key:11")?.as_deref(), Some(&*piece), "{kind}");
        service.stop().await?;
    }
    Ok(())
}
