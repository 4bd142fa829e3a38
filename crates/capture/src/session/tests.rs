//! A simulation: random commands, links that break, fail-overs, crashes of the process and of the
//! journal, restarts. The journal must end with every change exactly once per partition, in order,
//! and a destination that reads it with the source's data.
//!
//! A failure prints its seed: `simulate(seed, …)` alone repeats it.

mod aside;
mod beside;
mod destination;
mod link;
mod log;
mod world;

use std::sync::Arc;
use std::time::Duration;

use event::Shard;
use journal::{Journal, MemoryJournal};
use redis_io::{Connector, Endpoint, connector};
use runtime::{Backoff, ManualClock, Random, StatusNode, Throttle, backoff};

use self::beside::Second;
use self::destination::Destination;
use self::link::Link;
use self::world::World;
use super::*;
use crate::beside::Offer;
use crate::heartbeat::SourceClock;
use crate::looks::Looks;
use crate::orders::transfer_orders;
use crate::outlet::Holdings;
use crate::owned::Owned;
use crate::resume::read_tail;
use crate::spool::{SpoolConfig, SpoolWriter, spool};
use crate::testing::records;
use tokio::sync::mpsc;
use wire::command::normalise::Era;

const PARTITIONS: u16 = 4;
const SHARD: Shard = Shard(0);
const BEAT: &str = "keyferry:heartbeat:test";
const BEGIN_MS: i64 = 1_700_000_000_000;

/// How a run of the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Killed: what the journal accepted stays.
    Killed,
    /// The machine dies: what is not durable is gone.
    PowerCut,
    /// Told to stop.
    Stopped,
    /// As killed, and each partition loses its own share of what was not durable.
    BrokersLost,
}

/// What a simulation consists of.
struct Simulation {
    random: Random,
    clock: ManualClock,
    journal: MemoryJournal,
    world: World,
    /// Another server that may answer at the same address.
    other_world: World,
    destination: Destination,
    /// Whether partitions may lose records each for itself: then nothing may span them.
    is_partitioned: bool,
    /// How much of a transaction is held in memory; none: sometimes little, sometimes much.
    transaction_bytes: Option<usize>,
    /// Makes snapshots on demand.
    second: Second,
    /// How many of them were used.
    begun_with: usize,
}

/// What the session was told and what it tells.
struct Wires {
    writer: SpoolWriter,
    durable: watch::Receiver<Durable>,
    stop: CancellationToken,
    offers: mpsc::Sender<Offer>,
}

fn connector() -> Connector {
    let endpoint = Endpoint::parse("redis://127.0.0.1:1").unwrap();
    let clock = Arc::new(ManualClock::new(0));
    Connector::new(endpoint, connector::Settings::default(), clock).unwrap()
}

fn peer() -> Peer {
    Peer { shown: "redis 7.0.0".to_owned(), era: Era::V7_0 }
}

impl Simulation {
    fn new(seed: u64, is_partitioned: bool) -> Self {
        let mut random = Random::from_seed(seed);
        Self {
            world: World::new(random.fork(), is_partitioned, 'a'),
            other_world: World::new(random.fork(), is_partitioned, 'b'),
            clock: ManualClock::new(BEGIN_MS),
            journal: MemoryJournal::new("test", PARTITIONS),
            destination: Destination::new(PARTITIONS),
            is_partitioned,
            transaction_bytes: None,
            second: Second::default(),
            begun_with: 0,
            random,
        }
    }

    /// A session that goes on where the journal ends, and a link for it.
    async fn start(&mut self, dir: &std::path::Path) -> (Session, Wires, Link) {
        let appender = self.journal.appender().await.unwrap();
        let tail = read_tail(&self.journal, SHARD).await.unwrap();
        self.world.assert_can_resume_at(&tail);
        let memory_bytes = if self.random.chance(0.2) { 1_000 } else { 100 << 20 };
        let dir = dir.to_owned();
        let config = SpoolConfig { dir, memory_bytes, disk_bytes: 1 << 40 };
        let (writer, reader) = spool(config, &self.clock, Looks::default()).await.unwrap();
        let status = StatusNode::root();
        let (durable_out, durable) = watch::channel(Durable::default());
        let (_, source_clock) = watch::channel(SourceClock { skew_ms: Some(5), beats: Some(true) });
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let backoff = Backoff::new(backoff::Settings::default()).unwrap();
        let (order, _) = transfer_orders();
        let progress = Arc::new(Progress::new(&status, writer.gauge()));
        let window = Duration::ZERO;
        let asking = (connector(), Arc::clone(&clock));
        let (offers, beside) = Port::new(Throttle::default().gate(Arc::clone(&clock)));
        self.second.cut();
        let parts = SessionParts {
            order,
            beside,
            clock,
            outlet: Outlet::new(appender, Holdings::of(&tail)).with_asides(reader.asides()),
            inflow: Inflow::new(
                reader,
                &Throttle::default(),
                Arc::new(self.clock.clone()),
                Arc::clone(&progress),
            ),
            describer: CommandDescriber::new(asking, (backoff, window), Arc::clone(&progress)),
            progress,
            source_clock,
            durable: durable_out,
            ack_wanted: Arc::default(),
        };
        let config = SessionConfig {
            owned: Owned::all(SHARD),
            heartbeat_key: BEAT.to_owned(),
            heartbeat_interval: Duration::from_secs(1),
            unsupported: Unsupported::Report,
            snapshot_limits: rdb::Limits {
                raw_value_bytes: if self.random.chance(0.5) { 100_000 } else { 10_000_000 },
                part_bytes: 100_000,
                ..rdb::Limits::default()
            },
            transaction_bytes: match self.transaction_bytes {
                Some(bytes) => bytes,
                None if self.random.chance(0.5) => 500,
                None => 1 << 20,
            },
        };
        let link = Link::of(&tail);
        let session = Session::new(config, parts, &tail, peer());
        (session, Wires { writer, durable, stop: CancellationToken::new(), offers }, link)
    }

    /// One life of the process.
    async fn run_once(&mut self, dir: &std::path::Path, end: End) {
        let (session, wires, mut link) = self.start(dir).await;
        let Wires { mut writer, durable, stop, offers } = wires;
        let mut session = Box::pin(session.run(stop.clone()));
        let steps = self.random.below(60);
        let driving = async {
            for _ in 0..steps {
                self.step(&mut link, &mut writer, &offers).await;
            }
            self
        };
        let this = tokio::select! {
            biased;
            this = driving => this,
            result = &mut session => panic!("the session ended: {result:?}"),
        };
        let claimed = *durable.borrow();
        match end {
            End::Stopped => {
                this.journal.release_durability();
                stop.cancel();
                drop(writer);
                session.await.unwrap();
            }
            End::Killed => drop(session),
            End::PowerCut => {
                drop(session);
                this.journal = log::cut(&this.journal, &mut this.random).await;
            }
            End::BrokersLost => {
                drop(session);
                this.journal = log::lose(&this.journal, &mut this.random).await;
            }
        }
        let tail = read_tail(&this.journal, SHARD).await.unwrap();
        this.world.assert_holds(&tail, claimed.of(link.history()));
        if !this.is_partitioned {
            this.destination.read(&this.journal).await;
        }
    }

    /// Something happens, or nothing.
    async fn step(
        &mut self,
        link: &mut Link,
        writer: &mut SpoolWriter,
        offers: &mpsc::Sender<Offer>,
    ) {
        for _ in 0..self.random.below(4) {
            self.second.step(&mut self.world, offers, &mut self.random);
            tokio::task::yield_now().await;
        }
        match self.random.below(100) {
            0..40 => self.world.write_some(),
            40..75 => link.deliver(&mut self.world, writer, &mut self.random, &self.clock).await,
            75..80 => self.clock.advance(Duration::from_millis(self.random.below(3000))),
            80..83 => link.cut(),
            83 => self.second.cut(),
            84..87 => {
                link.cut();
                self.second.cut();
                self.world.fail_over();
            }
            87 => {
                link.cut();
                self.second.cut();
                self.world.restart_anew();
            }
            88 if self.random.chance(0.5) => {
                link.cut();
                self.second.cut();
                std::mem::swap(&mut self.world, &mut self.other_world);
            }
            88 => self.world.forget_backlog(),
            89..93 => self.journal.hold_durability(),
            93..95 => self.journal.release_durability(),
            95 if !self.is_partitioned => self.destination.read(&self.journal).await,
            _ => {}
        }
        for _ in 0..self.random.below(4) {
            tokio::task::yield_now().await;
        }
    }

    /// The last life: everything is delivered, nothing goes wrong.
    async fn finish(&mut self, dir: &std::path::Path) {
        self.journal.release_durability();
        let (session, wires, mut link) = self.start(dir).await;
        let Wires { mut writer, stop, offers, .. } = wires;
        let delivering = async {
            while !link.is_at_end(&self.world) {
                link.deliver(&mut self.world, &mut writer, &mut self.random, &self.clock).await;
                self.second.step(&mut self.world, &offers, &mut self.random);
                tokio::task::yield_now().await;
            }
            drop(writer);
        };
        let (summary, ()) = tokio::join!(session.run(stop), delivering);
        assert_eq!(summary.unwrap().durable_offset, Some(self.world.end()));
    }

    /// Everything that must hold at the end.
    async fn judge(&mut self) {
        let written = log::read(&self.journal).await;
        written.assert_in_order();
        written.assert_complete(&self.world);
        let on_demand = beside::complete(&self.journal).await;
        if !self.is_partitioned {
            for one in on_demand {
                if let Some(destination) = beside::begin_with(&self.journal, one).await {
                    destination.assert_holds(self.world.data());
                    self.begun_with += 1;
                }
            }
            self.destination.read(&self.journal).await;
            self.destination.assert_holds(self.world.data());
        }
    }
}

/// Tells with how many snapshots on demand somebody began.
fn simulate(seed: u64, is_partitioned: bool) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut simulation = Simulation::new(seed, is_partitioned);
        simulation.second.is_wanted = true;
        for _ in 0..simulation.random.below(12) {
            let end = match simulation.random.below(4) {
                0 => End::Stopped,
                1 => End::Killed,
                _ if is_partitioned => End::BrokersLost,
                _ => End::PowerCut,
            };
            simulation.clock.advance(Duration::from_millis(1 + simulation.random.below(5000)));
            simulation.run_once(dir.path(), end).await;
            simulation.world.write_some();
        }
        simulation.clock.advance(Duration::from_millis(1));
        simulation.finish(dir.path()).await;
        simulation.judge().await;
        simulation.begun_with
    })
}

/// Runs a simulation for each seed; names the one that fails.
#[expect(clippy::print_stderr, reason = "the seed belongs to the message of a failed test")]
fn simulate_all(seeds: std::ops::Range<u64>, is_partitioned: bool) -> usize {
    let mut begun_with = 0;
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| simulate(seed, is_partitioned));
        match std::panic::catch_unwind(run) {
            Ok(more) => begun_with += more,
            Err(panic) => {
                eprintln!("failed with seed {seed}, is_partitioned {is_partitioned}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    begun_with
}

#[test]
fn every_change_is_there_once_and_in_order_whatever_crashes() {
    let begun_with = simulate_all(0..150, false);
    assert!(begun_with > 50, "only {begun_with} snapshots on demand were used");
}

#[test]
fn every_change_is_there_once_also_when_partitions_lose_records_each_for_itself() {
    simulate_all(1_000_000..1_000_150, true);
}

/// What is recorded of a source's life with so much memory for a transaction.
/// Whether a session that was given all this, and then ended, says that all of it is recorded.
async fn ends_complete(scripts: Option<Scripts>, given: &[&str]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let (mut session, _wires, _link) = Simulation::new(1, false).start(dir.path()).await;
    session.peer.era = Era::V2_8;
    session.begin_stream(0, 100, scripts);
    for words in given {
        let words: Vec<&str> = words.split(' ').collect();
        let mut bytes = format!("*{}\r\n", words.len());
        bytes.extend(words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())));
        session.stream(bytes.into(), BEGIN_MS).await.unwrap();
    }
    session.drain().await.unwrap().complete
}

#[tokio::test]
async fn what_was_left_unread_or_open_is_not_called_complete() {
    let unknown = format!("EVALSHA {} 0", "a".repeat(40));
    assert!(ends_complete(None, &["SELECT 0", "SET a 1"]).await);
    assert!(!ends_complete(None, &["SELECT 0", "SET a 1", &unknown, "SET b 2"]).await);
    assert!(!ends_complete(None, &["SELECT 0", "SET a 1", "MULTI", "SET b 2"]).await);
    assert!(ends_complete(None, &["SELECT 0", "MULTI", "SET b 2", "EXEC"]).await);
}

async fn recorded(seed: u64, transaction_bytes: usize) -> Vec<(u16, Event)> {
    let dir = tempfile::tempdir().unwrap();
    let mut simulation = Simulation::new(seed, false);
    simulation.transaction_bytes = Some(transaction_bytes);
    let steps = 2 + simulation.random.below(3);
    for _ in 0..steps {
        simulation.world.write_some();
    }
    simulation.finish(dir.path()).await;
    for _ in 0..30 {
        simulation.world.write_some();
    }
    simulation.clock.advance(Duration::from_millis(1));
    simulation.finish(dir.path()).await;
    simulation.judge().await;
    records(&simulation.journal).await
}

#[tokio::test]
async fn the_records_of_a_transaction_do_not_depend_on_the_memory_for_it() {
    for seed in 2_000_000..2_000_040 {
        let (little, much) = (recorded(seed, 0).await, recorded(seed, usize::MAX).await);
        assert!(little.len() > 50, "{} records", little.len());
        assert!(little == much, "other records with seed {seed}");
    }
}
