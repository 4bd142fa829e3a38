//! Databases: mapped, filtered, emptied, exchanged.

use std::sync::Arc;

use anyhow::Result;
use apply::filter::{Filters, Glob, KeyPattern, Rule};
use apply::mapping::DbMapping;
use apply::quarantine::{Lanes, Shelf};
use apply::{BuildError, Config, Error, Inexact};
use bytes::Bytes;
use event::control::Control;
use runtime::Classified;
use testkit::Kind;

use crate::harness::{Bench, Roster, checkpoint};
use crate::tracks;

fn keys(bench: &mut Bench, db: u32) -> Result<Vec<String>> {
    bench.client.select(db)?;
    let found = bench.client.cmd(&["KEYS", "*"])?.array()?;
    bench.client.select(0)?;
    let names: Result<Vec<String>> = found.into_iter().map(testkit::Value::text).collect();
    let mut names: Vec<String> =
        names?.into_iter().filter(|name| !name.starts_with("keyferry:")).collect();
    names.sort();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_stay_apart_and_the_checkpoint_where_it_belongs() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for (db, words) in [(0, "SET a 1"), (3, "SET b 1"), (3, "SET c 1"), (0, "SET d 1")] {
        bench.feed.db = db;
        bench.feed.command(words).await?;
    }
    bench.feed.group(&[(1, "SET e 1"), (2, "SET f 1"), (1, "SET g 1")]).await?;
    bench.feed.db = 3;
    bench.feed.commands(&["MOVE b 5", "COPY c c2 DB 6 REPLACE"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["a", "d"]);
    assert_eq!(keys(&mut bench, 1)?, ["e", "g"]);
    assert_eq!(keys(&mut bench, 2)?, ["f"]);
    assert_eq!(keys(&mut bench, 3)?, ["c"]);
    assert_eq!(keys(&mut bench, 5)?, ["b"]);
    assert_eq!(keys(&mut bench, 6)?, ["c2"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_mapped_also_inside_commands() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET b 1", "COPY a z DB 1 REPLACE", "MOVE b 1"]).await?;
    bench.feed.db = 1;
    bench.feed.command("SET y 1").await?;
    let mapping = DbMapping::of([(0, 4), (1, 2)])?;
    let service = bench.start_with(Config { mapping, ..bench.config() }).await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 4)?, ["a"]);
    assert_eq!(keys(&mut bench, 2)?, ["b", "y", "z"]);
    assert_eq!(keys(&mut bench, 0)?, [""; 0]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_the_destination_lacks_sets_its_keys_aside() -> Result<()> {
    let mut bench = Bench::with(Kind::Redis7_0, &["databases 4"]).await?;
    bench.feed.empty_snapshot().await?;
    bench.feed.command("SET here 1").await?;
    bench.feed.db = 9;
    bench.feed.command("SET nowhere 1").await?;
    bench.feed.db = 0;
    bench.feed.command("SET there 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["here", "there"]);
    service.shows("dead_letters", "1")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_filters_take_arrives() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let commands = [
        "SET user:1 a",
        "SET shop:1 b",
        "SET user:tmp c",
        "MSET user:2 x shop:2 y",
        "DEL user:2 shop:2",
        "SET user:3 z",
        "RENAME user:3 shop:3",
        "SET user:4 z",
    ];
    bench.feed.commands(&commands).await?;
    let filters = Filters {
        keys: Rule {
            include: vec![KeyPattern::Prefix(Bytes::from_static(b"user:"))],
            exclude: vec![KeyPattern::Glob(Glob::new("*:tmp"))],
        },
        ..Filters::default()
    };
    let service = bench.start_with(Config { filters, ..bench.config() }).await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["user:1", "user:4"]);
    service.shows("dead_letters", "0")?;
    bench.feed.commands(&["SUNIONSTORE user:5 shop:a shop:b", "SADD user:5 m"]).await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["user:1", "user:4"]);
    bench.feed.command("SET user:5 known").await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["user:1", "user:4", "user:5"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_empties_the_databases_and_keeps_our_keys() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        bench.feed.commands(&["SET a 1", "SET bad text", "INCR bad", "SET c 1"]).await?;
        bench.feed.db = 2;
        bench.feed.command("SET b 1").await?;
        bench.feed.db = 0;
        let service = bench.start().await?;
        bench.caught_up()?;
        bench.feed.control(Control::Flush { all: false }).await?;
        bench.feed.command("SET d 1").await?;
        bench.caught_up()?;
        assert_eq!(keys(&mut bench, 0)?, ["d"]);
        assert_eq!(keys(&mut bench, 2)?, ["b"]);
        bench.feed.control(Control::Flush { all: true }).await?;
        bench.feed.command("INCR n").await?;
        bench.caught_up()?;
        assert_eq!(keys(&mut bench, 0)?, ["n"]);
        assert_eq!(keys(&mut bench, 2)?, [""; 0]);
        service.stop().await?;
        bench.feed.command("INCR n").await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("2"));
        service.shows("quarantined_keys", "0")?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_inside_a_transaction_takes_what_came_before_it() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET a 1").await?;
    bench.feed.group(&[(0, "SET b 1"), (0, "FLUSHALL"), (0, "SET c 1"), (3, "SET d 1")]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["c"]);
    assert_eq!(keys(&mut bench, 3)?, ["d"]);
    assert!(checkpoint(&mut bench.client)?.is_some());
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanged_databases_leave_our_keys_behind() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET bad text", "INCR bad"]).await?;
    bench.feed.db = 1;
    bench.feed.command("SET b 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.feed.db = 0;
    bench.feed.control(Control::SwapDb { first: 0, second: 1 }).await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    service.stop().await?;
    assert_eq!(keys(&mut bench, 0)?, ["b", "n"]);
    assert_eq!(keys(&mut bench, 1)?, ["a", "bad"]);
    bench.client.select(1)?;
    assert_eq!(bench.client.cmd(&["KEYS", "keyferry:*"])?.array()?.len(), 0);
    bench.client.select(0)?;
    // The key that was set aside is in the other database now.
    bench.feed.db = 1;
    bench.feed.command("APPEND bad x").await?;
    bench.feed.db = 0;
    bench.feed.command("INCR n").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    bench.client.select(1)?;
    assert_eq!(bench.get("bad")?.as_deref(), Some("text"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_cannot_be_exact_is_refused_or_left_out() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET a 1").await?;
    bench.feed.control(Control::Flush { all: true }).await?;
    bench.feed.command("SET b 1").await?;
    let keys_rule =
        Rule { include: Vec::new(), exclude: vec![KeyPattern::Prefix(Bytes::from_static(b"x"))] };
    let filters = Filters { keys: keys_rule, ..Filters::default() };
    let config = Config { filters, ..bench.config() };
    let service = bench.start_with(config.clone()).await?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::Inexact { command: "FLUSHALL", .. }), "{error}");
    let service = bench.start_with(Config { inexact: Inexact::Skip, ..config }).await?;
    bench.caught_up()?;
    assert_eq!(keys(&mut bench, 0)?, ["a", "b"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_spares_another_stream() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let slot = wire::slot::Slot::of_key(b"x");
    let other = event::names::checkpoint(slot, "another");
    let service = bench.start().await?;
    bench.feed.command("SET a 1").await?;
    bench.caught_up()?;
    bench.client.cmd(&["SET", &other, "its checkpoint"])?;
    bench.feed.control(Control::Flush { all: true }).await?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::Inexact { .. }), "{error}");
    assert!(bench.get(&other)?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_to_a_database_that_is_not_there_is_refused_at_the_start() -> Result<()> {
    let bench = Bench::streaming(Kind::Redis7_0).await?;
    let mappings = [DbMapping::of([(1, 2), (0, 99)])?, DbMapping::all_to(99)];
    for (mapping, named) in mappings.into_iter().zip(["0:99", "all:99"]) {
        let config = Config { mapping, ..bench.config() };
        let Err(BuildError::Start(error)) = bench.build(config).await else { panic!("built") };
        let text = error.to_string();
        assert!(text.contains(named) && text.contains("16 databases"), "{text}");
        assert!(error.advice().contains("`databases`"), "{}", error.advice());
    }
    let mapping = DbMapping::of([(0, 99)])?;
    let filters =
        Filters { dbs: Rule { include: vec![1], exclude: Vec::new() }, ..Filters::default() };
    bench.build(Config { mapping, filters, ..bench.config() }).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_the_destination_lacks_is_set_aside_and_its_flush_harms_no_other()
-> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET kept 1").await?;
    bench.feed.db = 20;
    bench.feed.command("SET far 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    bench.feed.control(Control::Flush { all: false }).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "0")?;
    assert_eq!(keys(&mut bench, 0)?, ["kept"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_of_whole_databases_while_it_executes_is_never_passed() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "INCR n"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    let before = bench.feed.position();
    // The destination finds out only while it executes.
    bench.feed.control(Control::SwapDb { first: 0, second: 20 }).await?;
    bench.feed.command("INCR n").await?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::NotAllowed { command: "SWAPDB", .. }), "{error}");
    assert!(error.advice().contains("start again"), "{}", error.advice());
    let stands = checkpoint(&mut bench.client)?.expect("a checkpoint");
    assert_eq!(stands.applied[0].position, before);
    assert_eq!(bench.get("n")?.as_deref(), Some("1"));
    assert_eq!(bench.all_letters().await?.len(), 0);
    // The next start meets it again.
    let again = bench.start().await?.failed().await?;
    assert!(matches!(again, Error::NotAllowed { command: "SWAPDB", .. }), "{again}");
    assert_eq!(bench.get("n")?.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_of_whole_databases_is_not_passed_while_the_brokers_are_away() -> Result<()>
{
    let mut bench = tracks::bench().await?;
    bench.feed.commands(&["SET a 1", "INCR n"]).await?;
    for round in 0..2 {
        // The second start meets it again.
        let roster = Arc::new(Roster::default());
        bench.roster = Some(Arc::clone(&roster));
        let config = Config { name: "copy".into(), ..bench.config() };
        let service = bench.start_with(config).await?;
        if round == 0 {
            bench.feed.heartbeat().await?;
            tracks::all_caught_up(&mut bench)?;
            roster.be_silent_for(u64::MAX);
            bench.feed.control(Control::SwapDb { first: 0, second: 20 }).await?;
            bench.feed.command("INCR n").await?;
        }
        let error = service.failed().await?;
        assert!(matches!(error, Error::NotAllowed { command: "SWAPDB", .. }), "{error}");
        assert_eq!(bench.get("n")?.as_deref(), Some("1"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn suspects_follow_an_exchange_of_databases() -> Result<()> {
    // Beside the checkpoint in database 0, and away from it.
    for (first, second) in [(0, 1), (2, 3)] {
        let mut bench = Bench::streaming(Kind::Redis7_0).await?;
        bench.feed.command("SET before 1").await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.stop().await?;
        let before = checkpoint(&mut bench.client)?.expect("a checkpoint");
        for db in [first, second, 5] {
            bench.feed.db = db;
            bench.feed.command(&format!("XADD of:{db} 1-1 f v")).await?;
        }
        let service = bench.start().await?;
        bench.caught_up()?;
        service.stop().await?;
        bench.lose_replies_since(&before)?;
        bench.feed.db = 0;
        bench.feed.command("SET other 1").await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.shows("suspect_keys", "3")?;
        let swap = Control::SwapDb { first, second };
        bench.feed.control(swap).await?;
        bench.feed.command("SET other 2").await?;
        bench.caught_up()?;
        let clock = Arc::new(runtime::SystemClock::new());
        let mut shelf = Shelf::open(&bench.config(), "shop", Lanes::One, clock).await?;
        let (suspects, _) = shelf.suspects().await?;
        let found: Vec<String> = suspects
            .iter()
            .map(|suspect| format!("{} {}", suspect.db, String::from_utf8_lossy(&suspect.key)))
            .collect();
        let expected =
            [format!("{first} of:{second}"), format!("{second} of:{first}"), "5 of:5".to_owned()];
        assert_eq!(found, expected);
        for suspect in suspects {
            bench.client.select(suspect.db)?;
            let key = String::from_utf8_lossy(&suspect.key).into_owned();
            assert_eq!(bench.client.cmd(&["XLEN", &key])?.int()?, 1, "{key}");
        }
        bench.client.select(0)?;
        service.shows("suspect_keys", "3")?;
        service.stop().await?;
    }
    Ok(())
}
