//! Processes that share the partitions of a stream, and changes that are of partitions of several of them.

use std::sync::Arc;

use anyhow::{Context, Result};
use apply::quarantine::{Answer, Ask, Lanes, Shelf};
use bytes::Bytes;
use event::control::Control;
use journal::MemoryJournal;
use testkit::{Client, Kind, Server, eventually};

use crate::harness::{Bench, LIMIT, Roster, Service};
use crate::tracks::{all_caught_up, bench, write};

/// Two processes at one destination, each of which has two of the four partitions.
struct Pair {
    bench: Bench,
    roster: Arc<Roster>,
    /// Each with its number on the roster.
    services: [Option<(Service, usize)>; 2],
    /// The journals of letters, one for each.
    letters: [MemoryJournal; 2],
    model: Client,
    _model: Server,
}

/// Who has which partitions.
const SPREADS: [[&[u16]; 2]; 3] = [[&[0, 1], &[2, 3]], [&[1, 3], &[0, 2]], [&[3], &[0, 1, 2]]];

/// What the status calls those who have the first of them.
const LANES: [&str; 2] = ["partitions-0-1", "partitions-2-3"];

impl Pair {
    async fn start() -> Result<Self> {
        let mut bench = bench().await?;
        let roster = Arc::new(Roster::default());
        bench.roster = Some(Arc::clone(&roster));
        let server = Server::start(Kind::Redis7_0, &[])?;
        let model = server.client()?;
        let letters = [bench.letters.clone(), MemoryJournal::new("other-letters", 1)];
        let services = [None, None];
        let mut pair = Self { bench, roster, services, letters, model, _model: server };
        pair.revive().await?;
        pair.spread(SPREADS[0]);
        // The first has had all until now: what comes next is to be dealt with by who has it then.
        for ((service, _), lane) in pair.services.iter().flatten().zip(LANES) {
            eventually(LIMIT, format!("there is {lane}, and no other"), || {
                let shown = service.status.snapshot();
                let names = shown.as_object().into_iter().flat_map(|shown| shown.keys());
                let lanes = names.filter(|name| name.starts_with("partition")).count();
                Ok((shown[lane]["phase"] == "stream" && lanes == 1).then_some(()))
            })?;
        }
        Ok(pair)
    }

    /// Starts those that do not run.
    async fn revive(&mut self) -> Result<()> {
        for (service, letters) in self.services.iter_mut().zip(&self.letters) {
            if service.is_none() {
                self.bench.letters = letters.clone();
                let number = self.roster.members();
                let config = apply::Config { name: "copy".into(), ..self.bench.config() };
                *service = Some((self.bench.start_with(config).await?, number));
                let roster = &self.roster;
                eventually(LIMIT, "it has come", || Ok((roster.members() > number).then_some(())))?;
            }
        }
        Ok(())
    }

    fn spread(&self, partitions: [&[u16]; 2]) {
        for (service, partitions) in self.services.iter().zip(partitions) {
            if let Some((_, number)) = service {
                self.roster.give(*number, partitions);
            }
        }
    }

    async fn kill(&mut self, which: usize) -> Result<()> {
        if let Some((service, number)) = self.services[which].take() {
            self.bench.letters = self.letters[which].clone();
            self.roster.give(number, &[]);
            service.kill().await?;
        }
        Ok(())
    }

    async fn control(&mut self, words: &str, control: Control) -> Result<()> {
        self.model.cmd(&words.split(' ').collect::<Vec<_>>())?;
        self.bench.feed.control(control).await
    }

    fn assert_equal(&mut self) -> Result<()> {
        all_caught_up(&mut self.bench)?;
        self.bench.assert_holds(&mut self.model)
    }

    async fn stop(self) -> Result<()> {
        for (service, _) in self.services.into_iter().flatten() {
            assert_eq!(service.lane("dead_letters"), "0");
            service.stop().await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_partitions_of_two_processes_take_effect_once_whatever_is_killed()
-> Result<()> {
    let mut pair = Pair::start().await?;
    for round in 0..12_usize {
        write(&mut pair.bench, &mut pair.model, u32::try_from(round)?).await?;
        match round % 4 {
            0 | 1 => pair.kill(round % 2).await?,
            2 => pair.spread(SPREADS[round / 4]),
            _ => pair.assert_equal()?,
        }
        if pair.services.iter().any(Option::is_none) {
            pair.revive().await?;
            pair.spread(SPREADS[round % 3]);
        }
    }
    pair.assert_equal()?;
    pair.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_of_partitions_of_two_processes_comes_in_its_place_and_takes_no_checkpoint()
-> Result<()> {
    let mut pair = Pair::start().await?;
    for (round, spread) in SPREADS.into_iter().enumerate() {
        pair.spread(spread);
        let round = u32::try_from(round)?;
        write(&mut pair.bench, &mut pair.model, round).await?;
        pair.control("FLUSHALL", Control::Flush { all: true }).await?;
        write(&mut pair.bench, &mut pair.model, round).await?;
        pair.model.cmd(&["FLUSHDB"])?;
        pair.model.cmd(&["INCR", "n1"])?;
        pair.bench.feed.group(&[(0, "FLUSHDB"), (0, "INCR n1")]).await?;
        write(&mut pair.bench, &mut pair.model, round).await?;
        pair.control("SWAPDB 0 3", Control::SwapDb { first: 0, second: 3 }).await?;
        write(&mut pair.bench, &mut pair.model, round).await?;
        pair.assert_equal()?;
    }
    pair.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_get_partitions_while_nobody_tells_about_the_stream_go_on() -> Result<()> {
    let mut pair = Pair::start().await?;
    for (round, spread) in SPREADS.into_iter().enumerate() {
        write(&mut pair.bench, &mut pair.model, u32::try_from(round)?).await?;
        pair.assert_equal()?;
        pair.roster.be_silent_for(4);
        pair.spread(spread);
        eventually(LIMIT, "it is asked", || Ok(pair.roster.was_asked().then_some(())))?;
    }
    write(&mut pair.bench, &mut pair.model, 3).await?;
    pair.assert_equal()?;
    pair.stop().await
}

/// A key of each partition.
fn keys() -> Result<[String; 4]> {
    let of = |key: &str| wire::slot::partition_of(wire::slot::Slot::of_key(key.as_bytes()), 4);
    let key_of = |partition: u32| (0..).map(|n| format!("n{n}")).find(|key| of(key) == partition);
    let [Some(a), Some(b), Some(c), Some(d)] = [0, 1, 2, 3].map(key_of) else {
        anyhow::bail!("there is one")
    };
    Ok([a, b, c, d])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_keys_of_two_processes_is_tried_again_by_neither() -> Result<()> {
    let mut pair = Pair::start().await?;
    let [here, _, _, there] = keys()?;
    pair.bench.feed.commands(&[format!("SET {here} text"), format!("SET {there} old")]).await?;
    pair.bench.feed.command(&format!("INCR {here}")).await?;
    let words = [format!("RENAME {here} {there}"), format!("INCR {{{here}}}")];
    pair.bench.feed.group(&[(0, &words[0]), (0, &words[1])]).await?;
    pair.bench.feed.command(&format!("APPEND {there} 1")).await?;
    pair.bench.feed.heartbeat().await?;
    all_caught_up(&mut pair.bench)?;
    // What was wrong is put right.
    pair.bench.client.cmd(&["SET", &here, "5"])?;
    let clock = Arc::new(runtime::SystemClock::new());
    let mut shelf =
        Shelf::open(&pair.bench.config(), "shop", Lanes::PerPartition(4), clock).await?;
    let mut answer = None;
    assert!(shelf.ask(0, &Bytes::from(there.clone()), Ask::Retry).await?, "it is set aside");
    for number in 0.. {
        let held = shelf.list().await?.into_iter().find(|held| held.key == there.as_bytes());
        answer = held.context("it is set aside")?.answer;
        if answer != Some(Answer::Waiting(Ask::Retry)) {
            break;
        }
        // Whatever they do, they look.
        pair.bench.feed.command(&format!("INCR other:{number}")).await?;
        pair.bench.feed.heartbeat().await?;
        all_caught_up(&mut pair.bench)?;
    }
    let Some(Answer::Refused(why)) = answer else { panic!("{answer:?}") };
    let expected = format!("concerns db 0 {here}, of a partition that another apply process has");
    assert!(why.contains(&expected), "{why}");
    assert_eq!(pair.bench.get(&here)?.as_deref(), Some("5"));
    assert_eq!(pair.bench.get(&there)?.as_deref(), Some("old"));
    for (service, _) in pair.services.into_iter().flatten() {
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_transaction_sets_aside_elsewhere_is_set_aside_for_its_own_process()
-> Result<()> {
    let mut pair = Pair::start().await?;
    // One key of each partition; that of the last cannot be counted here.
    let keys = keys()?;
    pair.bench.client.cmd(&["RPUSH", &keys[3], "x"])?;
    let group: Vec<_> = keys.iter().map(|key| (0, format!("INCR {key}"))).collect();
    let group: Vec<_> = group.iter().map(|(db, words)| (*db, words.as_str())).collect();
    pair.bench.feed.group(&group).await?;
    for _ in 0..5 {
        for key in &keys {
            pair.bench.feed.command(&format!("INCR {key}")).await?;
        }
    }
    pair.bench.feed.heartbeat().await?;
    all_caught_up(&mut pair.bench)?;
    for key in &keys[..3] {
        assert_eq!(pair.bench.get(key)?.as_deref(), Some("6"), "{key}");
    }
    assert_eq!(pair.bench.client.cmd(&["LLEN", &keys[3]])?.int()?, 1);
    let service = |number: usize| &pair.services[number].as_ref().expect("it runs").0;
    // The transaction's by its home's process, the five commands by the key's own.
    service(0).shows("dead_letters", "1")?;
    service(1).shows("dead_letters", "5")?;
    service(1).shows("quarantined_keys", "1")?;
    service(0).shows("quarantined_keys", "0")?;
    for (service, _) in pair.services.into_iter().flatten() {
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_asks_is_done_between_transactions_that_have_no_end() -> Result<()> {
    let mut pair = Pair::start().await?;
    let [a, b, c, d] = keys()?;
    let bad = format!("bad:{{{a}}}");
    pair.bench.feed.commands(&[format!("SET {bad} text"), format!("INCR {bad}")]).await?;
    pair.bench.feed.heartbeat().await?;
    all_caught_up(&mut pair.bench)?;
    let clock = Arc::new(runtime::SystemClock::new());
    let mut shelf =
        Shelf::open(&pair.bench.config(), "shop", Lanes::PerPartition(4), clock).await?;
    assert_eq!(shelf.list().await?.len(), 1);
    // Each partition of the first process waits for another of the second, in turns.
    let pushes = [&c, &a, &d, &b].map(|key| format!("RPUSH {key}:{{{key}}} x"));
    for _ in 0..PAIRS_OF_TRANSACTIONS {
        for two in pushes.chunks(2) {
            let group: Vec<(u32, &str)> = two.iter().map(|words| (0, words.as_str())).collect();
            pair.bench.feed.group(&group).await?;
        }
    }
    pair.bench.feed.heartbeat().await?;
    let length = |pair: &mut Pair| pair.bench.client.cmd(&["LLEN", &format!("{a}:{{{a}}}")])?.int();
    eventually(LIMIT, "they have begun", || Ok((length(&mut pair)? > 0).then_some(())))?;
    assert!(shelf.ask(0, &Bytes::from(bad), Ask::Discard).await?, "it is set aside");
    while !shelf.list().await?.is_empty() {
        let done = length(&mut pair)?;
        assert!(done < PAIRS_OF_TRANSACTIONS, "all were executed before it was done");
    }
    for (service, _) in pair.services.into_iter().flatten() {
        service.stop().await?;
    }
    Ok(())
}

/// So many that they take longer than the looks at what is asked are apart.
const PAIRS_OF_TRANSACTIONS: i64 = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_meet_all_the_time_do_not_disturb_each_other() -> Result<()> {
    let mut pair = Pair::start().await?;
    pair.spread(SPREADS[2]);
    pair.bench.feed.heartbeat().await?;
    all_caught_up(&mut pair.bench)?;
    // Three partitions of one process wait for the fourth, which the other has, in turns.
    let [a, b, c, home] = keys()?;
    let connections = |pair: &mut Pair| -> Result<u32> {
        let found = pair.bench.client.info_field("stats", "total_connections_received")?;
        Ok(found.context("a server counts them")?.parse()?)
    };
    let before = connections(&mut pair)?;
    for _ in 0..MEETINGS_OF_EACH {
        for other in [&a, &b, &c] {
            let (first, second) = (format!("INCR {home}"), format!("INCR {other}"));
            pair.bench.feed.group(&[(0, &first), (0, &second)]).await?;
        }
    }
    pair.bench.feed.heartbeat().await?;
    all_caught_up(&mut pair.bench)?;
    assert_eq!(pair.bench.get(&home)?, Some((3 * MEETINGS_OF_EACH).to_string()));
    // Who is disturbed begins anew, with other connections.
    let begun = connections(&mut pair)? - before;
    assert!(begun < MEETINGS_OF_EACH / 20, "{begun} connections were opened");
    pair.stop().await
}

/// Some seconds of them.
const MEETINGS_OF_EACH: u32 = 400;
