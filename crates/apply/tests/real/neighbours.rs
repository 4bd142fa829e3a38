//! Data at the destination that is not the stream's: it stays, whatever is copied anew, unless it is to go.

use std::sync::Arc;

use anyhow::Result;
use apply::mapping::DbMapping;
use apply::{Config, Error, Existing, Inexact};
use event::control::Control;
use journal::MemoryJournal;
use runtime::Classified;
use testkit::{Client, Kind, eventually};
use wire::slot::Slot;

use crate::crowd::Hasty;
use crate::feed::Feed;
use crate::functions::{function, library};
use crate::harness::{Bench, LIMIT};
use crate::resync::names;
use crate::tracks::all_caught_up;

/// A full copy of these keys, and a change behind it.
async fn copy(bench: &mut Bench, keys: &[&str]) -> Result<()> {
    bench.feed.snapshot().await?;
    for key in keys {
        bench.feed.text(key, "1").await?;
    }
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await
}

/// A stream that has begun in an empty destination, and is not at work.
async fn begun(kind: Kind) -> Result<Bench> {
    let mut bench = Bench::new(kind).await?;
    copy(&mut bench, &["a", "b"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    Ok(bench)
}

/// A stream that has begun in one database, with its settings, and another one that has in the next; and then a full copy
/// without one of its keys.
async fn in_databases_of_their_own() -> Result<(Bench, Config)> {
    let mut bench = Bench::new(Kind::Redis6_2).await?;
    let own = Config { mapping: DbMapping::all_to(0), ..bench.config() };
    copy(&mut bench, &["a", "b"]).await?;
    let service = bench.start_with(own.clone()).await?;
    bench.caught_up()?;
    service.stop().await?;
    beside(&mut bench, (DbMapping::all_to(1), "1")).await?;
    copy(&mut bench, &["b"]).await?;
    Ok((bench, own))
}

/// Another stream, which writes a key and a library of functions beside what is there.
async fn beside(bench: &mut Bench, (mapping, db): (DbMapping, &str)) -> Result<()> {
    let other = Feed::new("other").await?;
    let own = std::mem::replace(&mut bench.feed, other);
    copy(bench, &["theirs"]).await?;
    if bench.server.kind().has_functions() {
        let text = library("theirs", "f", 1);
        bench.feed.control(function(&["LOAD", "REPLACE", &text])).await?;
    }
    bench.feed.command("SET last 1").await?;
    let config = Config { existing: Existing::Overwrite, mapping, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.client.cmd(&["SELECT", db])?;
    eventually(LIMIT, "the other stream is applied", || {
        Ok((bench.client.cmd(&["EXISTS", "last"])?.int()? == 1).then_some(()))
    })?;
    bench.client.cmd(&["SELECT", "0"])?;
    service.stop().await?;
    bench.feed = own;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_overwrite_has_left_stays_though_the_option_is_not_repeated() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.client.cmd(&["SET", "theirs", "1"])?;
    copy(&mut bench, &["a", "b"]).await?;
    let config = Config { existing: Existing::Overwrite, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    service.stop().await?;
    copy(&mut bench, &["b"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["a", "b", "end", "theirs"]);
    service.stop().await?;

    // Until it is asked for otherwise, which then holds.
    let config = Config { existing: Existing::Sweep, ..bench.config() };
    let service = bench.start_with(config).await?;
    service.shows("phase", "stream")?;
    service.stop().await?;
    copy(&mut bench, &["b"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["b", "end"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_copy_does_not_remove_keys_of_another_stream() -> Result<()> {
    let mut bench = begun(Kind::Redis6_2).await?;
    beside(&mut bench, (DbMapping::default(), "0")).await?;
    copy(&mut bench, &["b"]).await?;
    let everything = ["a", "b", "end", "last", "theirs"];
    let error = bench.start().await?.failed().await?;
    assert!(matches!(error, Error::Neighbours { .. }), "{error}");
    assert!(error.to_string().contains("(other)"), "{error}");
    assert_eq!(names(&mut bench)?, everything);

    let config = Config { inexact: Inexact::Skip, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, everything);
    service.stop().await?;

    copy(&mut bench, &["b"]).await?;
    let config = Config { existing: Existing::Sweep, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["b", "end"], "that was asked for");
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_removal_is_given_up_where_others_are_to_be_spared() -> Result<()> {
    let mut bench = begun(Kind::Redis6_2).await?;
    beside(&mut bench, (DbMapping::default(), "0")).await?;
    copy(&mut bench, &["b"]).await?;
    bench.start().await?.failed().await?;
    let config = Config { existing: Existing::Overwrite, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["a", "b", "end", "last", "theirs"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_another_database_is_in_nobodys_way() -> Result<()> {
    let (mut bench, own) = in_databases_of_their_own().await?;
    let service = bench.start_with(own).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["b", "end"]);
    bench.client.cmd(&["SELECT", "1"])?;
    assert_eq!(names(&mut bench)?, ["end", "last", "theirs"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_copy_removes_libraries_of_functions_unless_they_may_be_anothers() -> Result<()> {
    for kind in [Kind::Redis7_0, Kind::Valkey9_1] {
        let mut bench = begun(kind).await?;
        let stale = library("stale", "g", 1);
        bench.client.cmd(&["FUNCTION", "LOAD", &stale])?;
        copy(&mut bench, &["b"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        assert!(bench.client.cmd(&["FUNCTION", "LIST"])?.array()?.is_empty(), "{kind}");
        service.stop().await?;

        beside(&mut bench, (DbMapping::default(), "0")).await?;
        copy(&mut bench, &["b"]).await?;
        bench.start().await?.failed().await?;
        assert_eq!(bench.client.cmd(&["FCALL", "f", "0"])?.int()?, 1, "{kind}");
    }
    Ok(())
}

/// How often a destination was asked for some of its keys.
fn scans(client: &mut Client) -> Result<u64> {
    let told = client.cmd(&["INFO", "commandstats"])?.text()?;
    let calls = told.split("cmdstat_scan:calls=").nth(1).and_then(|rest| rest.split(',').next());
    Ok(calls.map_or(Ok(0), str::parse)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_while_others_are_looked_for() -> Result<()> {
    const DATABASES: u64 = 10_000;
    for flushes in [false, true] {
        let mut bench = Bench::with(Kind::Redis6_2, &[&format!("databases {DATABASES}")]).await?;
        copy(&mut bench, &["a", "b"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.stop().await?;
        match flushes {
            true => bench.feed.control(Control::Flush { all: false }).await?,
            false => copy(&mut bench, &["b"]).await?,
        }
        bench.feed.command("SET end 2").await?;
        bench.client.cmd(&["CONFIG", "RESETSTAT"])?;
        let service = bench.start().await?;
        eventually(LIMIT, "it looks for others", || {
            Ok((scans(&mut bench.client)? > 10).then_some(()))
        })?;
        service.stop().await?;
        let looked_into = scans(&mut bench.client)?;
        assert!(looked_into < DATABASES, "it came to the end");
        assert_eq!(names(&mut bench)?, ["a", "b", "end"]);
        assert_eq!(bench.get("end")?.as_deref(), Some("1"));

        // The next start looks again.
        let service = bench.start().await?;
        bench.caught_up()?;
        assert_eq!(names(&mut bench)?, if flushes { vec!["end"] } else { vec!["b", "end"] });
        assert!(scans(&mut bench.client)? >= looked_into + DATABASES);
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_partitions_of_a_copy_need_one_look() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis6_2).await?;
    bench.unordered = true;
    bench.feed.command("SET a 1").await?;
    bench.feed.heartbeat().await?;
    let service = bench.start().await?;
    all_caught_up(&mut bench)?;
    bench.client.cmd(&["CONFIG", "RESETSTAT"])?;
    copy(&mut bench, &["b"]).await?;
    bench.feed.heartbeat().await?;
    all_caught_up(&mut bench)?;
    assert_eq!(names(&mut bench)?, ["b", "end"]);
    // Of 16 databases, each of which takes one to remove what is to go from each of four partitions.
    let looks = scans(&mut bench.client)? / 16 - 4;
    assert!((1..=2).contains(&looks), "{looks} looks");
    service.stop().await?;
    Ok(())
}

/// Another stream comes when some of the crowd are gone. Sees that it keeps what it writes, and some of the crowd stay.
pub(crate) async fn comes_to_the_crowd(bench: &mut Bench, config: Config) -> Result<Option<Error>> {
    let is_left_out = config.inexact == Inexact::Skip;
    bench.clock = Arc::new(Hasty::default());
    bench.crowd()?;
    let service = bench.start_with(config).await?;
    let mut other = bench.server.client()?;
    bench.crowd_goes()?;
    // As every worker does: it takes a number, then a name, then it writes.
    let slot = Slot::new(0).expect("a slot");
    other.cmd(&["SET", &event::names::owner(slot, "other"), "7"])?;
    other.cmd(&["CLIENT", "SETNAME", "keyferry:other:0-3:7"])?;
    for number in 0..1000 {
        other.cmd(&["SET", &format!("theirs:{number}"), "1"])?;
    }
    let ended = match is_left_out {
        true => {
            bench.caught_up()?;
            service.stop().await?;
            None
        }
        false => {
            service.shows("phase", "stopped")?;
            Some(service.failed().await?)
        }
    };
    assert_eq!(bench.client.cmd(&["KEYS", "theirs:*"])?.array()?.len(), 1000);
    assert_ne!(bench.client.cmd(&["KEYS", "crowd:*"])?.array()?.len(), 0, "it came to its end");
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_while_keys_are_removed_loses_none() -> Result<()> {
    for inexact in [Inexact::Refuse, Inexact::Skip] {
        let mut bench = begun(Kind::Redis6_2).await?;
        copy(&mut bench, &["b"]).await?;
        let config = Config { inexact, ..bench.config() };
        let ended = comes_to_the_crowd(&mut bench, config).await?;
        let refused = matches!(ended, Some(Error::Neighbours { .. }));
        assert_eq!(refused, inexact == Inexact::Refuse, "{ended:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_begins_while_another_removes_keys_loses_none() -> Result<()> {
    let mut bench = begun(Kind::Redis6_2).await?;
    bench.clock = Arc::new(Hasty::default());
    bench.crowd()?;
    copy(&mut bench, &["b"]).await?;
    let service = bench.start().await?;
    bench.feed = Feed::new("other").await?;
    bench.letters = MemoryJournal::new("letters of the other", 1);
    let theirs: Vec<String> = (0..500).map(|number| format!("theirs:{number}")).collect();
    copy(&mut bench, &theirs.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    bench.crowd_goes()?;
    let config = Config { existing: Existing::Overwrite, ..bench.config() };
    let other = bench.start_with(config).await?;
    service.shows("phase", "stopped")?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::Neighbours { .. }), "{error}");
    other.shows("phase", "stream")?;
    other.stop().await?;
    assert_eq!(bench.client.cmd(&["KEYS", "theirs:*"])?.array()?.len(), theirs.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_read_checkpoints_of_others_is_told_so() -> Result<()> {
    let (mut bench, own) = in_databases_of_their_own().await?;
    let patterns = ["~keyferry:{*}:shop*", "~a", "~b", "~end"];
    bench.client.cmd(&[&["ACL", "SETUSER", "default", "resetkeys"], &patterns[..]].concat())?;
    let error = bench.start_with(own.clone()).await?.failed().await?;
    assert!(matches!(error, Error::Neighbours { hidden: true, .. }), "{error}");
    assert!(error.to_string().contains("(other, whose keys may not be read)"), "{error}");
    let advice = error.advice();
    assert!(advice.contains("ACL SETUSER default ~keyferry:*"), "{advice}");
    assert_eq!(names(&mut bench)?, ["a", "b", "end"]);

    bench.client.cmd(&["ACL", "SETUSER", "default", "~keyferry:*"])?;
    let service = bench.start_with(own).await?;
    bench.caught_up()?;
    assert_eq!(names(&mut bench)?, ["b", "end"]);
    service.stop().await?;
    Ok(())
}
