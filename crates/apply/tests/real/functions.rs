//! Function libraries: applied once, and where the destination refuses one, held by its name until it can be made right.

use anyhow::Result;
use apply::Config;
use apply::quarantine::Ask;
use bytes::Bytes;
use event::control::{Control, FunctionChange};
use event::quarantine::LIBRARIES_DB;
use redis_io::Endpoint;
use testkit::{Kind, Relay, Turn};

use crate::harness::{Bench, Service};
use crate::quarantine::shelf;

pub(crate) fn function(words: &[&str]) -> Control {
    let args = [&["FUNCTION"], words].concat();
    let args = args.into_iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Control::Function(FunctionChange { args, snapshot_id: 0 })
}

/// A library of one function of that name, which gives a number.
pub(crate) fn library(name: &str, function: &str, gives: u32) -> String {
    format!(
        "#!lua name={name}\nredis.register_function('{function}', function() return {gives} end)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_applied_once_and_an_old_destination_says_so() -> Result<()> {
    let change = || function(&["LOAD", "REPLACE", &library("lib", "f", 1)]);
    for kind in [Kind::Redis7_0, Kind::Valkey9_1, Kind::Redis6_2] {
        let mut bench = Bench::streaming(kind).await?;
        bench.feed.control(change()).await?;
        bench.feed.command("SET a 1").await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        assert_eq!(bench.get("a")?.as_deref(), Some("1"));
        if kind.has_functions() {
            assert_eq!(bench.client.cmd(&["FCALL", "f", "0"])?.int()?, 1);
            service.shows("dead_letters", "0")?;
        } else {
            service.shows("dead_letters", "1")?;
        }
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_was_refused_is_listed_and_tried_again() -> Result<()> {
    for kind in [Kind::Redis7_0, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        // A function of that name is there, in another library.
        bench.client.cmd(&["FUNCTION", "LOAD", &library("local", "f", 0)])?;
        for (name, function_name) in [("one", "f"), ("two", "g")] {
            let text = library(name, function_name, 1);
            bench.feed.control(function(&["LOAD", "REPLACE", &text])).await?;
        }
        let service = bench.start().await?;
        bench.caught_up()?;
        service.shows("quarantined_keys", "1")?;
        assert_eq!(bench.client.cmd(&["FCALL", "g", "0"])?.int()?, 1, "{kind}");
        let mut shelf = shelf(&bench).await?;
        let held = shelf.list().await?;
        assert_eq!((held[0].db, &held[0].key[..]), (LIBRARIES_DB, b"one".as_slice()));
        assert!(held[0].why.contains("already exists"), "{kind}: {}", held[0].why);
        // It is where it was as long as nobody has mended anything.
        let one = Bytes::from_static(b"one");
        assert!(shelf.ask(LIBRARIES_DB, &one, Ask::Retry).await?);
        service.shows("dead_letters", "2")?;
        bench.client.cmd(&["FUNCTION", "DELETE", "local"])?;
        assert!(shelf.ask(LIBRARIES_DB, &one, Ask::Retry).await?);
        service.shows("quarantined_keys", "0")?;
        assert_eq!(bench.client.cmd(&["FCALL", "f", "0"])?.int()?, 1, "{kind}");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_was_refused_is_released_by_what_makes_it_right() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.client.cmd(&["FUNCTION", "LOAD", &library("local", "f", 0)])?;
    let refused = |name| library(name, "f", 1);
    for name in ["a", "b", "c"] {
        bench.feed.control(function(&["LOAD", "REPLACE", &refused(name)])).await?;
    }
    // An empty dump would do no harm: this is none.
    bench.feed.control(function(&["RESTORE", "nonsense", "REPLACE"])).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "4")?;
    // What comes behind waits behind it, until all is made new.
    bench.feed.control(function(&["DELETE", "a"])).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "4")?;
    let mut shelf = shelf(&bench).await?;
    assert!(shelf.ask(LIBRARIES_DB, &Bytes::new(), Ask::Discard).await?);
    service.shows("quarantined_keys", "3")?;
    // One that never came cannot be deleted, and needs not.
    bench.feed.control(function(&["DELETE", "a"])).await?;
    bench.feed.control(function(&["LOAD", "REPLACE", &library("b", "g", 2)])).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    service.stop().await?;
    let service = bench.start().await?;
    bench.feed.control(function(&["FLUSH"])).await?;
    bench.feed.control(function(&["LOAD", "REPLACE", &refused("c")])).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "0")?;
    assert_eq!(bench.client.cmd(&["FCALL", "f", "0"])?.int()?, 1);
    service.stop().await?;
    Ok(())
}

/// Executes changes of functions, and ends the process before it reads the replies. Gives the one after it.
async fn die_before_the_replies(bench: &mut Bench, changes: &[Control]) -> Result<Service> {
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    for change in changes {
        bench.feed.control(change.clone()).await?;
    }
    let relay = Relay::with_cues(bench.server.port(), &[("FUNCTION", Turn::Mute)])?;
    let service = bench.start_with(Config::new(Endpoint::parse(&relay.uri())?)).await?;
    bench.caught_up()?;
    service.kill().await?;
    assert_eq!(relay.cues_left(), 0, "the replies have come");
    let service = bench.start().await?;
    bench.feed.command("SET next v").await?;
    bench.caught_up()?;
    Ok(service)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_that_failed_unseen_is_held_all_the_same() -> Result<()> {
    for kind in [Kind::Redis7_0, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        bench.client.cmd(&["FUNCTION", "LOAD", &library("local", "f", 0)])?;
        let changes = [
            function(&["LOAD", "REPLACE", &library("one", "f", 1)]),
            function(&["LOAD", "REPLACE", &library("two", "g", 1)]),
            function(&["LOAD", "REPLACE", &library("three", "h", 1)]),
            function(&["DELETE", "three"]),
        ];
        let service = die_before_the_replies(&mut bench, &changes).await?;
        service.shows("quarantined_keys", "1")?;
        service.shows("dead_letters", "1")?;
        assert_eq!(service.lane("suspects"), "", "{kind}");
        let held = shelf(&bench).await?.list().await?;
        assert_eq!((held[0].db, &held[0].key[..]), (LIBRARIES_DB, b"one".as_slice()));
        assert!(held[0].why.contains("already exists"), "{kind}: {}", held[0].why);
        assert_eq!(bench.client.cmd(&["FCALL", "g", "0"])?.int()?, 1, "{kind}");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_of_a_restore_of_which_nobody_saw_what_became_are_suspects() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let changes = [
        function(&["LOAD", "REPLACE", &library("one", "f", 1)]),
        function(&["RESTORE", "nonsense", "REPLACE"]),
        function(&["LOAD", "REPLACE", &library("two", "g", 1)]),
    ];
    let service = die_before_the_replies(&mut bench, &changes).await?;
    service.shows("phase", "stream")?;
    let suspects = "function libraries of a FUNCTION RESTORE, function library one";
    assert_eq!(service.lane("suspects"), suspects);
    service.shows("quarantined_keys", "0")?;
    assert_eq!(bench.client.cmd(&["FCALL", "g", "0"])?.int()?, 1);
    service.stop().await?;
    // What makes an end of all of them is applied again, and what was wrong is mended.
    let changes = [changes[1].clone(), function(&["FLUSH"]), changes[2].clone()];
    let service = die_before_the_replies(&mut bench, &changes).await?;
    service.shows("quarantined_keys", "0")?;
    assert_eq!(service.lane("suspects"), suspects, "those of before");
    assert_eq!(bench.client.cmd(&["FUNCTION", "LIST"])?.array()?.len(), 1);
    service.stop().await?;
    Ok(())
}
