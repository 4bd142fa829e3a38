//! Transactions that are put aside, and what ends in the middle of them.

use std::path::{Path, PathBuf};

use event::Position;

use super::*;

/// What of a transaction is held in memory: less than one of its changes.
const LITTLE_BYTES: usize = 500;

/// Seeds of worlds; what is tried in each is not left to chance.
const SEEDS: std::ops::Range<u64> = 3_000_000..3_000_008;

/// How the middle of a transaction is met.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// The link breaks, the process lives.
    Link,
    /// The process is killed, and its file stays.
    Process,
}

// === impl Simulation ===

impl Simulation {
    fn with_little_memory(seed: u64) -> Self {
        Self { transaction_bytes: Some(LITTLE_BYTES), ..Self::new(seed, false) }
    }

    /// A life from its start to where everything has been written and delivered.
    async fn live_until_everything_is_there(&mut self, dir: &Path) {
        for _ in 0..5 {
            self.world.write_some();
        }
        self.finish(dir).await;
    }

    /// Delivers what the source has sent, until the session has put it aside.
    async fn deliver_all(&mut self, link: &mut Link, writer: &mut SpoolWriter, dir: &Path) {
        while !link.is_at_end(&self.world) {
            link.deliver(&mut self.world, writer, &mut self.random, &self.clock).await;
            tokio::task::yield_now().await;
        }
        let deadline = Duration::from_secs(60);
        let put_aside = async {
            let gauge = writer.gauge();
            // Once the spool is empty, what it has on disk is what was put aside.
            while gauge.held().memory_bytes > 0 || file_bytes(dir) != gauge.held().disk_bytes {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(deadline, put_aside).await.expect("it is put aside");
        assert!(file_bytes(dir) > 0, "nothing was put aside");
    }

    /// Where in the journal the records of the last group are, their partitions and positions.
    async fn records_of_the_last_group(&self) -> Vec<(usize, u16, Position)> {
        let records = records(&self.journal).await;
        let mut groups = records.iter().filter(|(_, event)| matches!(event.body, Body::Group(_)));
        let last = groups.next_back().expect("a group").1.position;
        let of_it = |event: &Event| {
            let at = event.position;
            (at.epoch, at.offset) == (last.epoch, last.offset) && event.kind() != "heartbeat"
        };
        let places = records.iter().enumerate().filter(|(_, (_, event))| of_it(event));
        places.map(|(place, (partition, event))| (place, *partition, event.position)).collect()
    }
}

fn file_of(dir: &Path) -> PathBuf {
    dir.join("transaction.spool")
}

fn file_bytes(dir: &Path) -> u64 {
    std::fs::metadata(file_of(dir)).map_or(0, |file| file.len())
}

/// The transaction's beginning is put aside when something breaks; then comes its end.
async fn break_before_the_end(seed: u64, broken: Broken) {
    let dir = tempfile::tempdir().unwrap();
    let mut simulation = Simulation::with_little_memory(seed);
    simulation.live_until_everything_is_there(dir.path()).await;
    simulation.clock.advance(Duration::from_millis(1));
    let (session, wires, mut link) = simulation.start(dir.path()).await;
    let mut writer = wires.writer;
    simulation.world.begin_large_transaction();
    let mut running = Box::pin(session.run(wires.stop.clone()));
    let whole_file = {
        let delivering = simulation.deliver_all(&mut link, &mut writer, dir.path());
        tokio::select! {
            biased;
            () = delivering => {}
            result = &mut running => panic!("the session ended: {result:?}"),
        }
        std::fs::read(file_of(dir.path())).unwrap()
    };
    let is_in_journal = records(&simulation.journal).await.len();
    match broken {
        Broken::Link => {
            link.cut();
            simulation.world.end_transaction();
            let delivering = async {
                while !link.is_at_end(&simulation.world) {
                    let (random, clock) = (&mut simulation.random, &simulation.clock);
                    link.deliver(&mut simulation.world, &mut writer, random, clock).await;
                    tokio::task::yield_now().await;
                }
                drop(writer);
            };
            let (summary, ()) = tokio::join!(running, delivering);
            assert_eq!(summary.unwrap().durable_offset, Some(simulation.world.end()));
        }
        Broken::Process => {
            drop((running, writer));
            // A killed process removes nothing.
            std::fs::write(file_of(dir.path()), whole_file).unwrap();
            simulation.world.end_transaction();
        }
    }
    simulation.clock.advance(Duration::from_millis(1));
    simulation.finish(dir.path()).await;
    assert!(!file_of(dir.path()).exists(), "the file of the transaction stays");
    simulation.judge().await;
    let group = simulation.records_of_the_last_group().await;
    assert!(group.iter().all(|(place, ..)| *place >= is_in_journal), "recorded early");
}

#[tokio::test]
async fn a_link_that_breaks_before_exec_goes_on_in_the_middle_of_the_transaction() {
    for seed in SEEDS {
        break_before_the_end(seed, Broken::Link).await;
    }
}

#[tokio::test]
async fn a_process_killed_before_exec_reads_the_transaction_again_and_removes_its_file() {
    for seed in SEEDS {
        break_before_the_end(seed, Broken::Process).await;
    }
}

/// After EXEC the records go into the journal in batches: it is killed after each of them in turn.
#[tokio::test]
async fn a_process_killed_between_the_records_of_a_transaction_adds_the_missing_ones() {
    for seed in SEEDS {
        let dir = tempfile::tempdir().unwrap();
        let mut simulation = Simulation::with_little_memory(seed);
        simulation.live_until_everything_is_there(dir.path()).await;
        simulation.world.begin_large_transaction();
        simulation.world.end_transaction();
        simulation.clock.advance(Duration::from_millis(1));
        simulation.finish(dir.path()).await;
        let whole = records(&simulation.journal).await;
        let group = simulation.records_of_the_last_group().await;
        assert!(group.len() > 2, "only {} records", group.len());
        for (place, ..) in &group {
            simulation.journal = log::journal_of(whole[..=*place].to_vec()).await;
            simulation.destination = Destination::new(PARTITIONS);
            simulation.destination.read(&simulation.journal).await;
            std::fs::write(file_of(dir.path()), b"of the run before").unwrap();
            simulation.clock.advance(Duration::from_millis(1));
            simulation.finish(dir.path()).await;
            assert!(!file_of(dir.path()).exists(), "the file of the transaction stays");
            simulation.judge().await;
            // Fragments that lack their last one are there twice.
            let bare = |records: &[(usize, u16, Position)]| -> Vec<(u16, Position)> {
                let mut bare: Vec<_> = records.iter().map(|(_, p, at)| (*p, *at)).collect();
                bare.dedup();
                bare
            };
            let again = simulation.records_of_the_last_group().await;
            assert_eq!(bare(&again), bare(&group), "killed after record {place}");
        }
    }
}
