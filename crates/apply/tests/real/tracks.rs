//! A journal whose partitions have no common order: each has a track and a checkpoint of its own.

use std::sync::Arc;

use anyhow::Result;
use event::control::Control;
use testkit::{Client, Kind, Server, eventually};

use crate::harness::{Bench, LIMIT, Roster};

pub(crate) async fn bench() -> Result<Bench> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.unordered = true;
    Ok(bench)
}

/// Waits until every partition has been applied to the end of the stream, which a heartbeat marks.
pub(crate) fn all_caught_up(bench: &mut Bench) -> Result<()> {
    let end = bench.feed.position();
    eventually(LIMIT, "every partition is at the end", || {
        for partition in 0..4_u32 {
            let first = wire::slot::slots_of(partition, 4).start;
            let slot = wire::slot::Slot::new(first).expect("a slot");
            let key = event::names::checkpoint(slot, "shop");
            let testkit::Value::Bulk(bytes) = bench.client.ask(&["GET", &key])? else {
                return Ok(None);
            };
            let found = event::codec::checkpoint::decode(&bytes)?;
            if found.applied.first().is_none_or(|applied| end.is_after(&applied.position)) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_partition_has_a_checkpoint_of_its_own() -> Result<()> {
    let mut bench = bench().await?;
    for round in 0..3 {
        for number in 0..400 {
            bench.feed.command(&format!("INCR n{}", number % 20)).await?;
        }
        bench.feed.heartbeat().await?;
        let service = bench.start().await?;
        all_caught_up(&mut bench)?;
        for number in 0..20 {
            let found = bench.get(&format!("n{number}"))?;
            assert_eq!(found, Some((20 * (round + 1)).to_string()));
        }
        let summary = service.stop().await?;
        assert_eq!(summary.lane.expect("a lane").partitions, [0, 1, 2, 3]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_is_swept_at_the_end_of_its_snapshot() -> Result<()> {
    let mut bench = bench().await?;
    for number in 0..200 {
        bench.feed.command(&format!("SET old:{number} v")).await?;
    }
    bench.feed.heartbeat().await?;
    let service = bench.start().await?;
    all_caught_up(&mut bench)?;
    bench.feed.snapshot().await?;
    for number in 0..50 {
        bench.feed.text(&format!("old:{number}"), "new").await?;
    }
    bench.feed.end_snapshot().await?;
    bench.feed.command("SET end 1").await?;
    bench.feed.heartbeat().await?;
    all_caught_up(&mut bench)?;
    let found = bench.client.cmd(&["KEYS", "old:*"])?.array()?;
    assert_eq!(found.len(), 50);
    service.stop().await?;
    Ok(())
}

/// Writes single commands and transactions over several partitions, and does the same to a model.
pub(crate) async fn write(bench: &mut Bench, model: &mut Client, round: u32) -> Result<()> {
    for number in 0..120_u32 {
        let (key, other) = (number % 23, (number * 7 + round) % 23);
        let commands = match number % 10 {
            0 => vec![
                format!("INCR n{key}"),
                format!("RPUSH l{other} {round}.{number}"),
                format!("RENAME l{other} m{key}"),
            ],
            5 => vec![format!("RPUSH l{key} {number}"), format!("INCR n{other}")],
            2 | 7 => vec![format!("RPUSH m{other} {number}")],
            _ => vec![format!("INCR n{other}")],
        };
        for words in &commands {
            model.cmd(&words.split(' ').collect::<Vec<_>>())?;
        }
        match &commands[..] {
            [words] => bench.feed.command(words).await?,
            several => {
                let several: Vec<_> = several.iter().map(|words| (0, words.as_str())).collect();
                bench.feed.group(&several).await?;
            }
        }
    }
    bench.feed.heartbeat().await
}

/// A service that starts now applies all that is left, and then both hold the same.
async fn ends_equal(bench: &mut Bench, model: &mut Client) -> Result<()> {
    let service = bench.start().await?;
    all_caught_up(bench)?;
    bench.assert_holds(model)?;
    service.shows("dead_letters", "0")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_over_partitions_take_effect_once_whatever_is_killed() -> Result<()> {
    let mut bench = bench().await?;
    let model = Server::start(Kind::Redis7_0, &[])?;
    let mut model = model.client()?;
    for round in 0..12 {
        let service = bench.start().await?;
        write(&mut bench, &mut model, round).await?;
        if round % 4 == 3 {
            all_caught_up(&mut bench)?;
            bench.assert_holds(&mut model)?;
            service.stop().await?;
        } else {
            service.kill().await?;
        }
    }
    ends_equal(&mut bench, &mut model).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_wait_with_more_than_is_read_ahead_go_on_whatever_is_killed() -> Result<()>
{
    let mut bench = bench().await?;
    let model = Server::start(Kind::Redis7_0, &[])?;
    let mut model = model.client()?;
    let value = "v".repeat(400_000);
    for round in 0..6 {
        // One partition after the other has much between two transactions of all.
        for number in 0..12 {
            let words = format!("APPEND big:{{n{round}}}:{} {value}", number % 3);
            model.cmd(&words.split(' ').collect::<Vec<_>>())?;
            bench.feed.command(&words).await?;
        }
        write(&mut bench, &mut model, round).await?;
    }
    for _ in 0..4 {
        let service = bench.start().await?;
        let sent = || service.lane("sent_bytes").parse::<u64>().unwrap_or_default();
        eventually(LIMIT, "it has begun", || Ok((sent() > 2 << 20).then_some(())))?;
        service.kill().await?;
    }
    ends_equal(&mut bench, &mut model).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_comes_between_what_is_before_and_after_it_in_every_partition() -> Result<()> {
    let mut bench = bench().await?;
    let model = Server::start(Kind::Redis7_0, &[])?;
    let mut model = model.client()?;
    let service = bench.start().await?;
    for round in 0..3 {
        write(&mut bench, &mut model, round).await?;
        model.cmd(&["FLUSHALL"])?;
        bench.feed.control(Control::Flush { all: true }).await?;
        write(&mut bench, &mut model, round).await?;
        model.cmd(&["FLUSHDB"])?;
        model.cmd(&["INCR", "n1"])?;
        bench.feed.group(&[(0, "FLUSHDB"), (0, "INCR n1")]).await?;
        write(&mut bench, &mut model, round).await?;
        all_caught_up(&mut bench)?;
        bench.assert_holds(&mut model)?;
    }
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_go_from_one_process_to_another_and_every_change_takes_effect_once() -> Result<()>
{
    let mut bench = bench().await?;
    let roster = Arc::new(Roster::default());
    bench.roster = Some(Arc::clone(&roster));
    let mut rounds = 0;
    let mut count = async |bench: &mut Bench| -> Result<()> {
        rounds += 1;
        for number in 0..400 {
            bench.feed.command(&format!("INCR n{}", number % 20)).await?;
        }
        bench.feed.heartbeat().await?;
        all_caught_up(bench)?;
        for number in 0..20 {
            let found = bench.get(&format!("n{number}"))?;
            assert_eq!(found, Some((20 * rounds).to_string()), "in round {rounds}");
        }
        Ok(())
    };
    let first = bench.start().await?;
    count(&mut bench).await?;
    let mut letters = journal::MemoryJournal::new("other-letters", 1);
    std::mem::swap(&mut bench.letters, &mut letters);
    let second = bench.start().await?;
    eventually(LIMIT, "both are there", || Ok((roster.members() == 2).then_some(())))?;
    for (of_first, of_second) in
        [(&[0, 3][..], &[1, 2][..]), (&[3], &[0, 1, 2]), (&[], &[0, 1, 2, 3]), (&[1, 2], &[0, 3])]
    {
        // The one that gets some may begin before the other has ended: then that is shut out of them.
        roster.give(1, of_second);
        roster.give(0, of_first);
        count(&mut bench).await?;
    }
    first.kill().await?;
    roster.give(1, &[0, 1, 2, 3]);
    count(&mut bench).await?;
    second.stop().await?;
    Ok(())
}
