//! Keys that the destination refuses: set aside in order, released by a whole state, never in the way of others.

use std::sync::Arc;

use anyhow::Result;
use apply::quarantine::{Answer, Ask, Lanes, Shelf};
use bytes::Bytes;
use journal::MemoryJournal;
use testkit::{Kind, eventually};

use crate::harness::{Bench, LIMIT};

/// The letters so far: keys and what was said.
async fn letters(bench: &Bench) -> Result<Vec<(String, String)>> {
    let found = bench.all_letters().await?.into_iter().map(|letter| {
        let keys: Vec<_> = letter.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        (keys.join(" "), letter.why)
    });
    Ok(found.collect())
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
    let found = letters(&bench).await?;
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["bad", "bad", "copied", "copied"]);
    assert!(found[0].1.starts_with("WRONGTYPE"), "{}", found[0].1);
    service.stop().await?;
    // The set survives a restart, and a whole state releases its key.
    bench.feed.commands(&["APPEND bad third", "SET bad fresh", "APPEND bad er"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    assert_eq!(bench.get("bad")?.as_deref(), Some("fresher"));
    assert_eq!(letters(&bench).await?.len(), 5);
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
    let found = letters(&bench).await?;
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
    assert_eq!(letters(&bench).await?.len(), 3_000);
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
    let found = letters(&bench).await?;
    assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["nothing moved"]);
    service.stop().await?;
    Ok(())
}

pub(crate) async fn shelf(bench: &Bench) -> Result<Shelf> {
    let clock = Arc::new(runtime::SystemClock::new());
    Ok(Shelf::open(&bench.config(), "shop", Lanes::One, clock).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_is_listed_and_tried_again_in_order() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET list text", "SET other 1"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.client.cmd(&["DEL", "list"])?;
    bench.client.cmd(&["RPUSH", "list", "wrong"])?;
    bench.feed.commands(&["APPEND list -a", "APPEND list -b", "COPY list copy REPLACE"]).await?;
    bench.feed.commands(&["APPEND copy -c", "INCR other"]).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "2")?;
    let mut shelf = shelf(&bench).await?;
    let held = shelf.list().await?;
    let keys: Vec<&[u8]> = held.iter().map(|held| &held.key[..]).collect();
    assert_eq!(keys, [b"copy".as_slice(), b"list"]);
    assert!(held[1].why.contains("WRONGTYPE"), "{}", held[1].why);
    // The operator puts back what the source had before the first letter, and asks.
    bench.client.cmd(&["SET", "list", "text"])?;
    assert!(shelf.ask(0, &Bytes::from_static(b"copy"), Ask::Retry).await?);
    assert!(!shelf.ask(0, &Bytes::from_static(b"unknown"), Ask::Retry).await?);
    service.shows("quarantined_keys", "0")?;
    assert_eq!(bench.get("list")?.as_deref(), Some("text-a-b"));
    assert_eq!(bench.get("copy")?.as_deref(), Some("text-a-b-c"));
    bench.feed.commands(&["APPEND list -d", "INCR other"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("list")?.as_deref(), Some("text-a-b-d"));
    assert_eq!(bench.get("other")?.as_deref(), Some("3"));
    assert!(shelf.list().await?.is_empty());
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_fails_again_leaves_the_key_where_it_was() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET bad text", "INCR bad", "APPEND bad x", "SET fine 1"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    let before = letters(&bench).await?.len();
    let mut shelf = shelf(&bench).await?;
    shelf.ask(0, &Bytes::from_static(b"bad"), Ask::Retry).await?;
    eventually(LIMIT, "the request is answered", || {
        let asked = bench.client.cmd(&["KEYS", "*:requests"])?.array()?;
        Ok(asked.is_empty().then_some(()))
    })?;
    bench.feed.command("INCR fine").await?;
    bench.caught_up()?;
    assert_eq!(shelf.list().await?.len(), 1);
    assert!(letters(&bench).await?.len() > before);
    // Discarded, the key goes on as it is.
    shelf.ask(0, &Bytes::from_static(b"bad"), Ask::Discard).await?;
    service.shows("quarantined_keys", "0")?;
    bench.client.cmd(&["SET", "bad", "5"])?;
    bench.feed.command("INCR bad").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("bad")?.as_deref(), Some("6"));
    service.stop().await?;
    Ok(())
}

/// What is asked for, or was answered, by field.
fn requests(client: &mut testkit::Client) -> Result<Vec<(String, String)>> {
    let Some(name) = client.cmd(&["KEYS", "*:requests"])?.array()?.pop() else {
        return Ok(Vec::new());
    };
    let all = client.cmd(&["HGETALL", &name.text()?])?.array()?;
    let texts = all.into_iter().map(testkit::Value::text).collect::<Result<Vec<_>>>()?;
    Ok(texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}

/// A destination that the service may be kept from writing to by taking a right of its user away.
async fn bench_with_user() -> Result<(Bench, apply::Config)> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"])?;
    let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
    let config = apply::Config::new(redis_io::Endpoint::parse(&uri)?);
    Ok((bench, config))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_outlives_a_crash_before_its_letters_were_executed() -> Result<()> {
    let (mut bench, config) = bench_with_user().await?;
    bench.feed.commands(&["SET n text", "SET given text"]).await?;
    let service = bench.start_with(config.clone()).await?;
    bench.caught_up()?;
    bench.feed.commands(&["INCR n", "INCR n", "INCR given", "SET fine 1"]).await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "2")?;
    // The cause is gone, but the batch with the letters is refused as a whole, and then the process is killed.
    bench.client.cmd(&["SET", "n", "5"])?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "-incr"])?;
    let mut shelf = shelf(&bench).await?;
    shelf.ask(0, &Bytes::from_static(b"given"), Ask::Discard).await?;
    shelf.ask(0, &Bytes::from_static(b"n"), Ask::Retry).await?;
    eventually(LIMIT, "the letters are refused", || {
        Ok(service.lane("waiting_for").contains("NOPERM").then_some(()))
    })?;
    service.kill().await?;
    let held = shelf.list().await?;
    let asked: Vec<_> = held.iter().map(|held| (&held.key[..], held.answer.clone())).collect();
    assert_eq!(asked.last(), Some(&(b"n".as_slice(), Some(Answer::Waiting(Ask::Retry)))));
    bench.client.cmd(&["ACL", "SETUSER", "app", "+incr"])?;
    let service = bench.start_with(config).await?;
    eventually(LIMIT, "no request is left", || {
        Ok(requests(&mut bench.client)?.is_empty().then_some(()))
    })?;
    assert_eq!(bench.get("n")?.as_deref(), Some("7"));
    assert!(shelf.list().await?.is_empty());
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("8"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_done_once_however_often_its_connection_is_killed() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET n text").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    let (mut shelf, mut killer) = (shelf(&bench).await?, bench.server.client()?);
    for round in 1..=8_i64 {
        bench.client.cmd(&["SET", "n", "text"])?;
        bench.feed.commands(&["INCR n", "INCR n", "INCR n"]).await?;
        bench.caught_up()?;
        service.shows("quarantined_keys", "1")?;
        bench.client.cmd(&["SET", "n", "0"])?;
        assert!(shelf.ask(0, &Bytes::from_static(b"n"), Ask::Retry).await?);
        let mut killed = Vec::new();
        eventually(LIMIT, format!("the retry of round {round} is done"), || {
            let list = bench.client.cmd(&["CLIENT", "LIST"])?.text()?;
            let of_lane = |line: &&str| line.contains("name=keyferry:");
            let id = list.lines().find(of_lane).and_then(|line| line.split(' ').next());
            // Each once: it dies somewhere between its first command and its last.
            let found = id.unwrap_or_default().trim_start_matches("id=").to_owned();
            if !found.is_empty() && killed.len() < 3 && !killed.contains(&found) {
                killer.ask(&["CLIENT", "KILL", "ID", &found])?;
                killed.push(found);
            }
            Ok((bench.get("n")? != Some("0".to_owned())).then_some(()))
        })?;
        service.shows("quarantined_keys", "0")?;
        assert_eq!(bench.get("n")?.as_deref(), Some("3"), "round {round}");
    }
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_answered() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET bad text", "INCR bad", "SET free 1"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("quarantined_keys", "1")?;
    let hash = bench.client.cmd(&["KEYS", "*:quarantine"])?.array()?.remove(0).text()?;
    let name = format!("{hash}:requests");
    bench.client.cmd(&["HSET", &name, "0:free", "retry", "0:bad", "fly", "nonsense", "retry"])?;
    eventually(LIMIT, "every request is answered", || {
        let answers = requests(&mut bench.client)?;
        Ok(answers.iter().all(|(_, said)| said.starts_with("refused ")).then_some(()))
    })?;
    let mut shelf = shelf(&bench).await?;
    let held = shelf.list().await?;
    assert!(
        matches!(&held[0].answer, Some(Answer::Refused(why)) if why.contains("fly")),
        "{:?}",
        held[0].answer
    );
    let strays = shelf.strays().await?;
    assert_eq!(strays.len(), 2);
    assert!(strays.iter().any(|(name, why)| &name[..] == b"0:free" && why.contains("not")));
    // A new request takes the place of the answer.
    shelf.ask(0, &Bytes::from_static(b"bad"), Ask::Discard).await?;
    service.shows("quarantined_keys", "0")?;
    assert!(shelf.list().await?.is_empty());
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_whose_letters_are_nowhere_is_refused_and_the_key_stays() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET bad text", "INCR bad"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.letters = MemoryJournal::new("letters", 1);
    let service = bench.start().await?;
    let mut shelf = shelf(&bench).await?;
    shelf.ask(0, &Bytes::from_static(b"bad"), Ask::Retry).await?;
    eventually(LIMIT, "the request is answered", || {
        let answers = requests(&mut bench.client)?;
        Ok(answers.first().is_some_and(|(_, said)| said.starts_with("refused ")).then_some(()))
    })?;
    let held = shelf.list().await?;
    let Some(Answer::Refused(why)) = &held[0].answer else { panic!("{:?}", held[0].answer) };
    assert!(why.contains("none of its changes is kept among the dead letters"), "{why}");
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_the_destination_does_not_know_ends() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["MYMODULE.PUT odd v", "SET fine v"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    let mut shelf = shelf(&bench).await?;
    let before = letters(&bench).await?.len();
    shelf.ask(0, &Bytes::from_static(b"odd"), Ask::Retry).await?;
    eventually(LIMIT, "the request is answered", || {
        let asked = bench.client.cmd(&["KEYS", "*:requests"])?.array()?;
        Ok(asked.is_empty().then_some(()))
    })?;
    bench.feed.commands(&["INCR n", "INCR n"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    assert_eq!(shelf.list().await?.len(), 1);
    assert_eq!(letters(&bench).await?.len(), before + 1);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn suspects_are_listed_by_key_until_somebody_has_looked() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET before 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    let before = crate::harness::checkpoint(&mut bench.client)?.expect("a checkpoint");
    bench
        .feed
        .commands(&["SET whole 1", "XADD n 1-1 f v", "XADD \u{1f600} 1-1 f v", "XADD bad 1-1 f v"])
        .await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.lose_replies_since(&before)?;
    for restarts in 0..2 {
        let service = bench.start().await?;
        bench.feed.command("SET other 1").await?;
        bench.caught_up()?;
        service.shows("suspect_keys", "3")?;
        let shown = service.lane("suspects");
        assert!(shown.contains("db 0 n") && shown.contains("\\xf0"), "{restarts}: {shown}");
        service.stop().await?;
    }
    let mut shelf = shelf(&bench).await?;
    let (suspects, more) = shelf.suspects().await?;
    let keys: Vec<&[u8]> = suspects.iter().map(|suspect| &suspect.key[..]).collect();
    assert_eq!(keys, [b"bad".as_slice(), b"n", "\u{1f600}".as_bytes()]);
    assert_eq!(more, 0);
    assert!(suspects[0].why.contains("nobody has read"), "{}", suspects[0].why);
    assert_eq!(bench.client.cmd(&["XLEN", "n"])?.int()?, 1);
    let service = bench.start().await?;
    assert!(shelf.forget_suspect(0, &Bytes::from_static(b"n")).await?);
    service.shows("suspect_keys", "2")?;
    assert!(shelf.forget_suspects().await?);
    service.shows("suspect_keys", "0")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_whose_replies_nobody_has_read_makes_its_key_a_suspect() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.commands(&["SET bad text", "INCR bad"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    let hash = bench.client.cmd(&["KEYS", "*:quarantine"])?.array()?.remove(0).text()?;
    // As if the process had died right behind the EXEC of a retry.
    bench.client.cmd(&["DEL", &hash])?;
    bench.client.cmd(&["HSET", &format!("{hash}:requests"), "0:bad", "tried"])?;
    let service = bench.start().await?;
    service.shows("suspect_keys", "1")?;
    assert_eq!(service.lane("suspects"), "db 0 bad");
    assert_eq!(requests(&mut bench.client)?, []);
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_right_that_a_flush_or_a_whole_state_follows_in_the_same_step() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    for between in ["FLUSHALL", "SET bad text|DEL bad"] {
        bench.feed.command("DEL bad").await?;
        bench.caught_up()?;
        // Somebody else writes at the destination.
        bench.client.cmd(&["SET", "bad", "text"])?;
        let mut words = vec!["RPUSH bad x"];
        words.extend(between.split('|').chain(["RPUSH bad y"]));
        let group: Vec<(u32, &str)> = words.iter().map(|words| (0, *words)).collect();
        bench.feed.group(&group).await?;
        bench.feed.command("RPUSH bad z").await?;
        bench.caught_up()?;
        let found = bench.client.cmd(&["LRANGE", "bad", "0", "-1"])?.array()?;
        let found: Vec<String> =
            found.into_iter().map(testkit::Value::text).collect::<Result<_>>()?;
        assert_eq!(found, ["y", "z"]);
    }
    assert_eq!(letters(&bench).await?.len(), 2);
    let shelf = shelf(&bench).await?.list().await?;
    assert!(shelf.is_empty(), "{shelf:?}");
    service.stop().await?;
    Ok(())
}
