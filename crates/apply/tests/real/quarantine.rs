//! Keys that the destination refuses: set aside in order, released by a whole state, never in the way of others.

use anyhow::Result;
use event::quarantine::Piece;
use journal::{Journal, MemoryJournal, Offset, Partition, ReadLimit};
use testkit::Kind;

use crate::harness::Bench;

/// The letters so far: key and what was said.
async fn letters(journal: &MemoryJournal) -> Result<Vec<(String, String)>> {
    let end = journal.describe().await?.partitions[0].end;
    let mut reader = journal.reader(vec![(Partition(0), Offset(0))]).await?;
    let mut found = Vec::new();
    while (found.len() as u64) < end.0 {
        for entry in reader.next(ReadLimit { records: 100, bytes: 1 << 20 }).await? {
            let letter = Piece::decode(entry.payload)?.letter;
            let keys: Vec<_> = letter.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            found.push((keys.join(" "), letter.why.clone()));
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_is_set_aside_and_the_rest_goes_on() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET a 1", "SET bad text"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    // Somebody else writes at the destination: from here on the key differs from the source's.
    bench.client.cmd(&["DEL", "bad"])?;
    bench.client.cmd(&["LPUSH", "bad", "x"])?;
    let mut commands = vec!["APPEND bad more".to_owned()];
    commands.extend((0..100).map(|number| format!("SET key:{number} v")));
    commands.extend(["APPEND bad again".to_owned(), "COPY bad copied REPLACE".to_owned()]);
    commands.extend(["APPEND copied x".to_owned(), "INCR n".to_owned()]);
    bench.feed.commands(&commands).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("key:99")?.as_deref(), Some("v"));
    assert_eq!(bench.get("n")?.as_deref(), Some("1"));
    let found = letters(&bench.letters).await?;
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["bad", "bad", "copied", "copied"]);
    assert!(found[0].1.starts_with("WRONGTYPE"), "{}", found[0].1);
    service.stop().await?;
    // The set survives a restart, and a whole state releases its key.
    bench.feed.commands(&["APPEND bad third", "SET bad fresh", "APPEND bad er"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.get("bad")?.as_deref(), Some("fresher"));
    assert_eq!(letters(&bench.letters).await?.len(), 5);
    bench.feed.commands(&["DEL copied", "APPEND copied y"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("copied")?.as_deref(), Some("y"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_the_destination_does_not_know_is_set_aside_alone() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis6_2).await?;
    let commands =
        ["INCR n", "MYMODULE.PUT odd v", "INCR n", "APPEND odd x", "SET fine v", "INCR n"];
    bench.feed.commands(&commands).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("3"));
    assert_eq!(bench.get("fine")?.as_deref(), Some("v"));
    assert_eq!(bench.get("odd")?, None);
    let found = letters(&bench.letters).await?;
    assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["odd", "odd"]);
    assert!(found[0].1.contains("unknown command"), "{}", found[0].1);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_keys_are_all_set_aside_and_counters_stay_exact() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for number in 0..300 {
        bench.client.cmd(&["LPUSH", &format!("bad:{number}"), "x"])?;
    }
    let config = apply::Config { existing: apply::Existing::Overwrite, ..bench.config() };
    for number in 0..3_000 {
        bench.feed.command("INCR n").await?;
        bench.feed.command(&format!("INCR bad:{}", number % 300)).await?;
    }
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("3000"));
    assert_eq!(letters(&bench.letters).await?.len(), 3_000);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_key_that_expired_early_at_the_destination_leaves_nothing() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let commands = [
        "SET target old",
        "SET copied old",
        "SET again old",
        "RPUSH moved a",
        "RENAME nothing target",
        "COPY nothing copied REPLACE",
        "RENAME nothing again",
        "SET again new",
        "LMOVE nothing moved LEFT LEFT",
        "SET fine v",
    ];
    bench.feed.commands(&commands).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.feed.command("APPEND target x").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("target")?.as_deref(), Some("x"));
    assert_eq!(bench.get("copied")?, None);
    assert_eq!(bench.get("again")?.as_deref(), Some("new"));
    assert_eq!(bench.get("fine")?.as_deref(), Some("v"));
    let found = letters(&bench.letters).await?;
    assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["nothing moved"]);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_applied_once_and_an_old_destination_says_so() -> Result<()> {
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let change = || {
        let args = ["FUNCTION", "LOAD", "REPLACE", library].map(bytes::Bytes::from);
        let change = event::control::FunctionChange { args: args.to_vec() };
        event::control::Control::Function(change)
    };
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
