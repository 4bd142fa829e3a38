//! Data at the destination that is not the stream's: it stays, whatever is copied anew, unless it is to go.

use anyhow::Result;
use apply::mapping::DbMapping;
use apply::{Config, Error, Existing, Inexact};
use testkit::{Kind, eventually};

use crate::feed::Feed;
use crate::functions::{function, library};
use crate::harness::{Bench, LIMIT};
use crate::resync::names;

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
    let mut bench = Bench::new(Kind::Redis6_2).await?;
    let own = Config { mapping: DbMapping::all_to(0), ..bench.config() };
    copy(&mut bench, &["a", "b"]).await?;
    let service = bench.start_with(own.clone()).await?;
    bench.caught_up()?;
    service.stop().await?;
    beside(&mut bench, (DbMapping::all_to(1), "1")).await?;
    copy(&mut bench, &["b"]).await?;
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
