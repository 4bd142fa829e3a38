//! Random histories against a model: appends, reads, flushes and restarts in any mixture.

use runtime::Random;

use super::Backend;
use super::stage::{Stage, noise, sized, within};
use crate::{Append, Entry, Offset, Partition, ReadLimit, Reader};

/// Fixed seeds, so that a failure can be had again; [`random_history`] takes any other.
const SEEDS: std::ops::Range<u64> = 0..4;

/// How many steps a history has: some thousand records, a few restarts.
const STEPS: usize = 150;

/// What a stream of four partitions should hold, and a reader that has come so far.
struct Model {
    random: Random,
    appended: Vec<Append>,
    read: Vec<Entry>,
    /// What each partition's reader asks for next.
    next: [Offset; 4],
}

/// Several seeds, each a history of its own.
pub async fn random_histories_are_read_back(backend: &dyn Backend) {
    for seed in SEEDS {
        random_history(backend, seed).await;
    }
}

/// One history, determined by its seed.
async fn random_history(backend: &dyn Backend, seed: u64) {
    let mut stage = Stage::new(backend, 4).await;
    let mut model = Model::new(seed, &stage).await;
    let mut reader = model.reader(&stage).await;
    for _ in 0..STEPS {
        match model.random.below(10) {
            0..4 => {
                let batch = model.batch();
                stage.append(batch).await;
            }
            4..8 => model.read_some(&mut *reader).await,
            8 => drop(stage.flush().await),
            _ if model.random.chance(0.3) => {
                drop(reader);
                stage.flush().await;
                stage = stage.reopened().await;
                reader = model.reader(&stage).await;
            }
            _ => reader = model.reader(&stage).await,
        }
    }
    while model.read.len() < model.appended.len() {
        model.read_some(&mut *reader).await;
    }
    model.compare(seed);
}

// === impl Model ===

impl Model {
    async fn new(seed: u64, stage: &Stage<'_>) -> Self {
        let mut next = [Offset(0); 4];
        for (partition, place) in (0..).zip(&mut next) {
            *place = stage.range(partition).await.start;
        }
        let random = Random::from_seed(seed);
        Self { random, appended: Vec::new(), read: Vec::new(), next }
    }

    async fn reader(&self, stage: &Stage<'_>) -> Box<dyn Reader> {
        stage.reader(&(0..).zip(self.next).collect::<Vec<_>>()).await
    }

    /// A few records, now and then many or large ones.
    fn batch(&mut self) -> Vec<Append> {
        let random = &mut self.random;
        let count = if random.chance(0.1) { 300 } else { random.below(20) };
        let largest = if random.chance(0.1) { 9_000 } else { 300 };
        let records = (0..count).map(|_| {
            let partition = u16::try_from(random.below(4)).expect("below 4");
            let time = i64::try_from(random.below(1 << 40)).expect("below 2^40");
            let length = usize::try_from(random.below(largest)).expect("small");
            let payload = match random.chance(0.5) {
                true => noise(random, length),
                false => vec![b'-'; length].into(),
            };
            sized(partition, time, payload)
        });
        let batch: Vec<_> = records.collect();
        self.appended.extend(batch.iter().cloned());
        batch
    }

    async fn read_some(&mut self, reader: &mut dyn Reader) {
        if self.read.len() == self.appended.len() {
            return;
        }
        let limit = ReadLimit {
            records: usize::try_from(self.random.below(300)).expect("small"),
            bytes: usize::try_from(self.random.below(100_000)).expect("small"),
        };
        let entries = within("read", reader.next(limit)).await.expect("it can be read");
        for entry in &entries {
            let next = self.next.get_mut(usize::from(entry.partition.0)).expect("one of four");
            assert!(*next <= entry.offset, "{entry:?} came again");
            *next = entry.offset.after(1);
        }
        self.read.extend(entries);
    }

    fn compare(&self, seed: u64) {
        for partition in (0..4).map(Partition) {
            let appended = self.appended.iter().filter(|record| record.partition == partition);
            let read = self.read.iter().filter(|entry| entry.partition == partition);
            let same = appended
                .map(|record| (record.timestamp_ms, &record.payload))
                .eq(read.map(|entry| (entry.timestamp_ms, &entry.payload)));
            assert!(same, "seed {seed}: {partition:?} was not read as it was written");
        }
    }
}
