//! Whatever is killed and when: every change takes effect once.

use anyhow::Result;
use apply::Config;
use redis_io::Endpoint;
use testkit::{Deadline, Kind, Relay, Turn, eventually};

use crate::harness::{Bench, LIMIT, checkpoint};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_checkpoint() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for round in 1..=3 {
        bench.feed.commands(&["INCR n", "RPUSH l x", "APPEND s y"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.stop().await?;
        assert_eq!(bench.get("n")?, Some(round.to_string()));
        assert_eq!(bench.client.cmd(&["LLEN", "l"])?.int()?, round);
        assert_eq!(bench.client.cmd(&["STRLEN", "s"])?.int()?, round);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_exact_though_connections_are_killed_all_the_time() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    let mut killer = bench.server.client()?;
    let rounds = 60_u64;
    for round in 0..rounds {
        for number in 0..50 {
            bench.feed.command(&format!("INCR n{}", number % 7)).await?;
            bench.feed.command("RPUSH l x").await?;
        }
        if round % 3 == 0 {
            killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
            bench.client = bench.server.client()?;
        }
    }
    bench.caught_up()?;
    let mut total = 0;
    for number in 0..7 {
        total += bench.client.cmd(&["GET", &format!("n{number}")])?.int()?;
    }
    assert_eq!(total, 50 * i64::try_from(rounds)?);
    assert_eq!(bench.client.cmd(&["LLEN", "l"])?.int()?, 50 * i64::try_from(rounds)?);
    assert_ne!(service.lane("repeated_events"), "");
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_shuts_its_predecessor_out() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("INCR n").await?;
    let first = bench.start().await?;
    bench.caught_up()?;
    let mut letters = journal::MemoryJournal::new("other-letters", 1);
    std::mem::swap(&mut bench.letters, &mut letters);
    let second = bench.start().await?;
    let error = first.failed().await?;
    assert!(matches!(error, apply::Error::Fenced { .. }), "{error}");
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    second.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_restarted_without_its_data_is_not_filled_from_the_middle()
-> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("INCR n").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.server.restart()?;
    let error = service.failed().await?;
    assert!(matches!(error, apply::Error::CheckpointGone { .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_comes_back_with_its_data_is_written_on() -> Result<()> {
    let mut bench = Bench::with(Kind::Redis7_0, &["appendonly yes", "appendfsync always"]).await?;
    bench.feed.empty_snapshot().await?;
    let service = bench.start().await?;
    for round in 0..4 {
        for _ in 0..100 {
            bench.feed.command("INCR n").await?;
        }
        if round < 3 {
            bench.server.restart()?;
            bench.client = bench.server.client()?;
        }
    }
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("400"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_never_points_past_what_is_durable_in_the_journal() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let journal = bench.feed.journal();
    let service = bench.start().await?;
    bench.feed.command("SET a 1").await?;
    bench.caught_up()?;
    journal.hold_durability();
    let range = journal::Journal::describe(&journal).await?.partitions;
    for number in 0..50 {
        bench.feed.command(&format!("SET key:{number} v")).await?;
    }
    bench.caught_up()?;
    let found = checkpoint(&mut bench.client)?.expect("a checkpoint");
    for (read_from, range) in found.read_from.iter().zip(&range) {
        assert!(*read_from <= range.durable.0, "{read_from} {range:?}");
    }
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_cut_from_the_journal_is_not_applied_twice() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let journal = bench.feed.journal();
    bench.feed.command("INCR n").await?;
    journal.hold_durability();
    let service = bench.start().await?;
    let before = bench.feed.position();
    bench.feed.commands(&["INCR n", "INCR n", "INCR n"]).await?;
    bench.caught_up()?;
    journal.crash();
    journal.release_durability();
    let mut again = crate::feed::Feed::of(journal).await?;
    again.go_on_at(before);
    bench.feed = again;
    bench.feed.commands(&["INCR n", "INCR n", "INCR n", "INCR n"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("5"));
    service.stop().await?;
    Ok(())
}

/// Per partition, what a reader has told the journal that it may forget; none: the journal does not know it.
async fn released(bench: &Bench) -> Result<Option<Vec<u64>>> {
    let found = journal::Journal::describe(&bench.feed.journal()).await?;
    let name = bench.config().name;
    let reader = found.readers.into_iter().find(|reader| reader.name == name);
    Ok(reader.map(|reader| reader.released.iter().map(|(_, offset)| offset.0).collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_may_forget_follows_the_checkpoint() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    // From the start: what comes before the first look around is not forgotten unread.
    assert_eq!(released(&bench).await?, Some(vec![0; 4]));
    for _ in 0..20 {
        bench.feed.command("INCR n").await?;
    }
    bench.feed.heartbeat().await?;
    let deadline = Deadline::after(LIMIT);
    while released(&bench).await?.is_none_or(|released| released.iter().all(|from| *from <= 5)) {
        anyhow::ensure!(!deadline.has_passed(), "nothing was released");
        tokio::task::yield_now().await;
    }
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_never_forgets_what_the_checkpoint_needs() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    for _ in 0..4 {
        let service = bench.start().await?;
        let before = released(&bench).await?;
        // The look around of a second falls into the load; what was executed before it has an older checkpoint.
        let deadline = Deadline::after(LIMIT);
        let mut fed = 0;
        while released(&bench).await? == before {
            anyhow::ensure!(!deadline.has_passed(), "nothing was released");
            bench.feed.command("INCR n").await?;
            fed += 1;
            if fed % 10_000 == 0 {
                // Else a slow machine would have more to apply than there is time for.
                bench.caught_up()?;
            }
        }
        service.kill().await?;
        let found = checkpoint(&mut bench.client)?.expect("a checkpoint");
        let released = released(&bench).await?.expect("a reader");
        let kept = released.iter().zip(&found.read_from).all(|(released, from)| released <= from);
        assert!(kept, "{released:?} were released, and {:?} is needed", found.read_from);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_exact_though_the_process_is_killed_again_and_again() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let begin = bench.feed.position().offset;
    let total = 12_000_u64;
    for number in 0..total {
        match number % 10 {
            0 => bench.feed.group(&[(0, "INCR n"), (3, "INCR n"), (0, "RPUSH l x")]).await?,
            _ => bench.feed.command("INCR n").await?,
        }
    }
    let mut config = bench.config();
    config.batch.commands = 40;
    let mut random = runtime::Random::from_seed(7);
    let mut reached = begin;
    let mut kills = 0;
    while reached < bench.feed.position().offset {
        // Each life lasts until the checkpoint has moved by a little, whatever is under way then.
        let until = (reached + 10 * (1 + random.below(1_500))).min(bench.feed.position().offset);
        let service = bench.start_with(config.clone()).await?;
        bench.reached(event::Position { offset: until, ..bench.feed.position() })?;
        service.kill().await?;
        kills += 1;
        let found = checkpoint(&mut bench.client)?.expect("a checkpoint");
        reached = found.applied[0].position.offset;
    }
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    service.stop().await?;
    assert!(kills > 5, "{kills}");
    assert_eq!(bench.get("n")?, Some(total.to_string()));
    assert_eq!(bench.client.cmd(&["LLEN", "l"])?.int()?, i64::try_from(total / 10)?);
    bench.client.select(3)?;
    assert_eq!(bench.get("n")?, Some((total / 10).to_string()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_in_pieces_goes_on_after_a_letter_and_a_kill_between_two_of_them()
-> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET bad text").await?;
    let value = "v".repeat(300_000);
    let mut changes = vec!["INCR n".to_owned(), "RPUSH bad x".to_owned()];
    changes.extend((0..60).map(|number| format!("SET key:{number} {value}")));
    changes.extend(["INCR n".to_owned(), "RPUSH bad y".to_owned()]);
    let changes: Vec<(u32, &str)> = changes.iter().map(|words| (0, words.as_str())).collect();
    let mut config = bench.config();
    config.group_bytes = 1_000_000;
    for round in 1..=3 {
        bench.feed.group(&changes).await?;
        let begun = bench.feed.position().at_index(1);
        bench.feed.command("INCR after").await?;
        let service = bench.start_with(config.clone()).await?;
        bench.reached(begun)?;
        service.kill().await?;
        let service = bench.start_with(config.clone()).await?;
        bench.caught_up()?;
        service.stop().await?;
        assert_eq!(bench.get("n")?, Some((2 * round).to_string()));
        assert_eq!(bench.get("after")?, Some(round.to_string()));
        assert_eq!(bench.get("key:59")?.map(|value| value.len()), Some(300_000));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_set_aside_though_the_connection_is_lost_before_more_is_taken_back()
-> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET bad text").await?;
    // What follows the failure is at the destination, inside MULTI, before the replies to it come.
    let fails = "RPUSH\r\n$3\r\nbad\r\n";
    let cues = [(fails, Turn::Mute), ("waiting", Turn::Unmute), ("DISCARD\r\n", Turn::Cut)];
    let relay = Relay::with_cues(bench.server.port(), &cues)?;
    let mut config = Config::new(Endpoint::parse(&relay.uri())?);
    config.batch.commands = 2;
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    bench.feed.command("RPUSH bad x").await?;
    eventually(LIMIT, "the failure is under way", || Ok((relay.cues_left() < 3).then_some(())))?;
    bench.feed.commands(&["INCR waiting", "INCR n", "INCR n", "INCR n"]).await?;
    service.shows("quarantined_keys", "1")?;
    assert_eq!(relay.cues_left(), 0, "nothing had to be taken back");
    bench.caught_up()?;
    let [letter] = &bench.all_letters().await?[..] else { panic!("one letter") };
    assert!(letter.why.contains("WRONGTYPE"), "{letter:?}");
    assert_eq!(
        (bench.get("waiting")?.as_deref(), bench.get("n")?.as_deref()),
        (Some("1"), Some("3"))
    );
    service.stop().await?;
    Ok(())
}

/// Executes what `feed` writes, forgets the replies, and lets another process take over.
async fn die_before_the_replies(
    bench: &mut Bench,
    groups: &[&[(u32, &str)]],
    meanwhile: &[&[&str]],
) -> Result<String> {
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    let before = checkpoint(&mut bench.client)?.expect("a checkpoint");
    for group in groups {
        match group {
            [(_, words)] => bench.feed.command(words).await?,
            group => bench.feed.group(group).await?,
        }
    }
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    bench.lose_replies_since(&before)?;
    for command in meanwhile {
        bench.client.cmd(command)?;
    }
    bench.letters = journal::MemoryJournal::new("letters", 1);
    let service = bench.start().await?;
    bench.feed.command("SET next v").await?;
    bench.caught_up()?;
    service.shows("phase", "stream")?;
    let suspects = service.lane("suspects");
    service.stop().await?;
    Ok(suspects)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_is_not_replaced_by_an_older_one_after_a_crash() -> Result<()> {
    let large = "y".repeat(950_000);
    let set = format!("SET k {large}");
    let alone: [&[(u32, &str)]; 2] = [&[(0, "SET k old")], &[(0, &set)]];
    let together: [&[(u32, &str)]; 1] = [&[(0, "SET k old"), (0, &set)]];
    for groups in [&alone[..], &together] {
        let mut bench = Bench::streaming(Kind::Redis7_0).await?;
        let suspects = die_before_the_replies(&mut bench, groups, &[]).await?;
        assert_eq!(bench.get("k")?.map(|value| value.len()), Some(large.len()));
        assert_eq!(suspects, "");
    }
    // As if it had failed.
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let meanwhile: [&[&str]; 1] = [&["SET", "k", "old"]];
    die_before_the_replies(&mut bench, &together, &meanwhile).await?;
    assert_eq!(bench.get("k")?.map(|value| value.len()), Some(large.len()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_doubt_is_no_suspect_where_its_key_shows_that_it_was_executed() -> Result<()> {
    let group: [&[(u32, &str)]; 1] = [&[
        (0, "INCR n"),
        (0, "SET m 1"),
        (0, "INCRBY m 3"),
        (0, "RPUSH l a"),
        (3, "HINCRBY h f 2"),
        (3, "MSET one 1 other 2"),
        (0, "XADD stream 5-1 f v"),
        (0, "APPEND text x"),
        (0, "SETRANGE text 1 y"),
        (0, "SETBIT bits 7 1"),
        (0, "SET late 1 PXAT 4102444800000"),
        (0, "PEXPIREAT late 4102444800001"),
        (0, "INCR late"),
    ]];
    let unclear = "db 0 bits, db 0 late, db 0 stream, db 0 text";
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    assert_eq!(die_before_the_replies(&mut bench, &group, &[]).await?, unclear);
    assert_eq!((bench.get("n")?.as_deref(), bench.get("m")?.as_deref()), (Some("1"), Some("4")));
    // As if what stands there had made them fail.
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let meanwhile: [&[&str]; 3] = [&["SET", "n", "text"], &["DEL", "l"], &["SET", "l", "text"]];
    let suspects = die_before_the_replies(&mut bench, &group, &meanwhile).await?;
    assert_eq!(suspects, "db 0 bits, db 0 l, db 0 late, db 0 n, db 0 stream, db 0 text");
    // As if it had been no number: only one that the server writes so is counted with.
    for text in ["+5", "007", "-0"] {
        let mut bench = Bench::streaming(Kind::Redis7_0).await?;
        let suspects = die_before_the_replies(&mut bench, &group, &[&["SET", "n", text]]).await?;
        assert_eq!(suspects, "db 0 bits, db 0 late, db 0 n, db 0 stream, db 0 text", "{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_change_in_doubt_is_a_suspect_where_its_key_is_of_another_type() -> Result<()> {
    let push = format!("RPUSH large {}", "y".repeat(950_000));
    let group: [&[(u32, &str)]; 1] = [&[(0, "SADD small x"), (0, &push), (0, "RPUSH l a")]];
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    assert_eq!(die_before_the_replies(&mut bench, &group, &[]).await?, "");
    assert_eq!(bench.client.cmd(&["LLEN", "large"])?.int()?, 1);
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let meanwhile: [&[&str]; 2] = [&["DEL", "large"], &["SADD", "large", "x"]];
    let suspects = die_before_the_replies(&mut bench, &group, &meanwhile).await?;
    assert_eq!(suspects, "db 0 large");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_flush_removed_does_not_come_back_after_a_crash() -> Result<()> {
    let group: [&[(u32, &str)]; 1] =
        [&[(0, "SET ghost v"), (3, "SET ghost v"), (0, "FLUSHALL"), (0, "SET last w")]];
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let meanwhile: [&[&str]; 1] = [&["SET", "last", "old"]];
    let suspects = die_before_the_replies(&mut bench, &group, &meanwhile).await?;
    assert_eq!((bench.get("ghost")?, suspects.as_str()), (None, ""));
    assert_eq!(bench.get("last")?.as_deref(), Some("w"));
    bench.client.select(3)?;
    assert_eq!(bench.get("ghost")?, None);
    Ok(())
}
