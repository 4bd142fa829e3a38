//! A destination that does not take writes: refused at the start, waited for later, without loss.

use anyhow::Result;
use apply::filter::{Filters, Rule, ValueKind};
use apply::{BuildError, Config, Error, Existing, Windows};
use redis_io::Endpoint;
use runtime::{Class, Classified};
use std::time::Duration;
use testkit::{Kind, Server, eventually};

use crate::harness::{Bench, LIMIT, Service};

fn waiting_for(service: &Service, what: &str) -> Result<()> {
    eventually(LIMIT, format!("the service waits for {what}"), || {
        Ok(service.lane("waiting_for").contains(what).then_some(()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_destination_is_waited_for_without_loss() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis7_0, Kind::Valkey9_1] {
        let mut bench =
            Bench::with(kind, &["maxmemory 8mb", "maxmemory-policy noeviction"]).await?;
        bench.feed.empty_snapshot().await?;
        let service = bench.start().await?;
        let value = "x".repeat(10_000);
        for number in 0..1_500 {
            bench.feed.command("INCR n").await?;
            bench.feed.command(&format!("SET key:{number} {value}")).await?;
        }
        waiting_for(&service, "OOM")?;
        service.shows("phase", "waiting")?;
        bench.client.cmd(&["CONFIG", "SET", "maxmemory", "0"])?;
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("1500"));
        assert_eq!(bench.client.cmd(&["EXISTS", "key:1499"])?.int()?, 1);
        service.shows("dead_letters", "0")?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_too_old_is_refused_by_its_version() -> Result<()> {
    for kind in [Kind::Redis2_8, Kind::Redis3_2] {
        let bench = Bench::new(kind).await?;
        let error = match bench.start().await {
            Ok(service) => service.failed().await?,
            Err(refused) => match refused.downcast::<BuildError>()? {
                BuildError::Start(error) => error,
                other => anyhow::bail!("{kind}: {other:?}"),
            },
        };
        assert!(matches!(error, Error::TooOld { .. }), "{error}");
        assert!(error.to_string().contains("has to be 5.0 or later"), "{error}");
        assert_eq!(error.class(), Class::Operator);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_becomes_a_replica_is_waited_for() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    // Nobody listens there, so its data stays.
    bench.client.cmd(&["REPLICAOF", "127.0.0.1", "1"])?;
    bench.feed.command("INCR n").await?;
    waiting_for(&service, "replica")?;
    bench.client.cmd(&["REPLICAOF", "NO", "ONE"])?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_gone_is_given_up_after_the_window() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let short = Duration::from_millis(300);
    let windows = Windows { connection: short, refused: short };
    let service = bench.start_with(Config { windows, ..bench.config() }).await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    bench.server.kill()?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    assert!(error.advice().contains("runs and listens"), "{}", error.advice());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_stops_when_it_is_told_to() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    eventually(LIMIT, "the service has read the reply", || {
        Ok((service.lane("batches") != "0").then_some(()))
    })?;
    bench.server.kill()?;
    waiting_for(&service, "nobody listens")?;
    let summary = service.stop().await?;
    assert_eq!(summary.lane.expect("a lane").applied.len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_there_is_refused_unless_said_otherwise() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET a 1").await?;
    bench.client.select(3)?;
    bench.client.cmd(&["SET", "mine", "1"])?;
    bench.client.select(0)?;
    let Err(BuildError::Start(error)) = bench.build(bench.config()).await else { panic!("built") };
    assert!(matches!(error, Error::Existing { db: 3, keys: 1, .. }), "{error}");
    let config = Config { existing: Existing::Overwrite, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.client.select(3)?;
    assert_eq!(bench.get("mine")?.as_deref(), Some("1"));
    bench.client.select(0)?;
    // With its checkpoint there, nothing has to be said.
    bench.start().await?.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_history_is_refused_unless_said_otherwise() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET b 1"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.feed = crate::feed::Feed::new("shop").await?;
    bench.feed.snapshot().await?;
    bench.feed.text("b", "2").await?;
    bench.feed.end_snapshot().await?;
    let Err(BuildError::Start(error)) = bench.build(bench.config()).await else { panic!("built") };
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    let config = Config { existing: Existing::Sweep, ..bench.config() };
    let service = bench.start_with(config).await?;
    bench.feed.command("SET c 3").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("a")?, None);
    assert_eq!(bench.get("b")?.as_deref(), Some("2"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_are_named() -> Result<()> {
    let bench = Bench::streaming(Kind::Redis7_0).await?;
    let mut client = bench.server.client()?;
    client.cmd(&[
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pw",
        "~*",
        "+@all",
        "-client|kill",
        "-client|list",
    ])?;
    let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
    let config = Config::new(Endpoint::parse(&uri)?);
    let Err(BuildError::Start(error)) = bench.build(config).await else { panic!("built") };
    assert!(error.to_string().contains("client|list, client|kill"), "{error}");
    assert!(error.advice().contains("app +client|list +client|kill."), "{}", error.advice());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_no_destination() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let primary = Server::start(Kind::Redis7_0, &[])?;
    bench.client.cmd(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()])?;
    let Err(BuildError::Start(error)) = bench.build(bench.config()).await else { panic!("built") };
    assert!(matches!(error, Error::Unfit { .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_snapshot_cannot_be_begun() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.command("SET a 1").await?;
    let service = bench.start().await?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::NoSnapshot { .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_set_together_where_the_destination_lets_them() -> Result<()> {
    for (denied, together) in [("+mset", true), ("-mset", false)] {
        let mut bench = Bench::streaming(Kind::Redis7_0).await?;
        bench.client.cmd(&["ACL", "SETUSER", "default", denied])?;
        let sets: Vec<String> =
            (0..300).map(|number| format!("SET key:{number} v{number}")).collect();
        bench.feed.commands(&sets).await?;
        bench.feed.commands(&["INCR n"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        assert_eq!(bench.get("key:299")?.as_deref(), Some("v299"));
        assert_eq!(bench.get("n")?.as_deref(), Some("1"));
        assert!(bench.all_letters().await?.is_empty());
        let calls = bench.client.cmd(&["INFO", "commandstats"])?.text()?;
        assert_eq!(!calls.contains("cmdstat_mset:calls=0,"), together, "{calls}");
        assert!(calls.contains("cmdstat_mset:"), "{calls}");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_without_functions_to_flush_stops_a_sweep_before_it_begins() -> Result<()> {
    let mut bench = Bench::with(Kind::Redis7_0, &["rename-command FUNCTION \"\""]).await?;
    bench.feed.empty_snapshot().await?;
    let service = bench.start_with(Config { existing: Existing::Sweep, ..bench.config() }).await?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::NotAllowed { command: "FUNCTION FLUSH", .. }), "{error}");
    assert!(error.to_string().contains("unknown command"), "{error}");
    assert!(error.advice().contains("rename-command"), "{}", error.advice());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_filtered_value_replaced_is_set_aside_where_it_cannot_be_removed() -> Result<()>
{
    let mut bench = Bench::with(Kind::Redis7_0, &["rename-command UNLINK \"\""]).await?;
    bench.feed.empty_snapshot().await?;
    bench.feed.commands(&["RPUSH k a", "SET k v", "RPUSH l a"]).await?;
    let kinds = Rule { include: vec![], exclude: vec![ValueKind::String] };
    let filters = Filters { kinds, ..Filters::default() };
    let service = bench.start_with(Config { filters, ..bench.config() }).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    let letters = bench.all_letters().await?;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].why.contains("unknown command"), "{}", letters[0].why);
    assert_eq!(bench.client.cmd(&["LLEN", "l"])?.int()?, 1);
    Ok(())
}
