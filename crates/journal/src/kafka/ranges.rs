//! How far the partitions reach, as brokers tell it and as readers see it.
//!
//! Guarantees: the record before an end is one that readers get. Fences, and what a writer sent after its time, are
//! not counted there: whoever reads up to the end would wait for them in vain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as Place, TopicPartitionList};

use super::client::{Quiet, assign, idle, passes};
use super::config::KafkaConfig;
use super::fences::Verdict;
use super::follow::Follower;
use super::offsets;
use super::record::{Origin, place_of};
use super::rights::{Asked, settings_error};
use super::settings::{self, Role};
use crate::{Offset, OpenError, Partition, PartitionRange, ReadError};

/// How many records before the end are looked at first.
const FIRST_WINDOW: u64 = 16;
/// And how many times as many when none of them counts.
const WINDOW_GROWTH: u64 = 64;
/// How often a look at the tails that gets no answer is polled.
const POLL: Duration = Duration::from_millis(100);
/// Polls without a record after which the look has failed.
const PATIENCE_POLLS: usize = 100;

/// Asks for the ranges of one stream. Blocks; for threads that may.
pub(super) struct Ranges {
    config: KafkaConfig,
    follower: Arc<Follower>,
    /// By partition, an end before which a record counts.
    sound: Mutex<BTreeMap<usize, u64>>,
    /// Reads tails; one at a time.
    prober: Mutex<BaseConsumer<Quiet>>,
}

// === impl Ranges ===

impl Ranges {
    pub(super) fn new(config: &KafkaConfig, follower: Arc<Follower>) -> Result<Self, OpenError> {
        let made = settings::of(Role::Reader, config).create_with_context(Quiet::new(config));
        let prober = Mutex::new(made.map_err(|error| settings_error(&error))?);
        Ok(Self { config: config.clone(), follower, sound: Mutex::default(), prober })
    }

    /// All partitions.
    pub(super) fn all(&self) -> Result<Vec<PartitionRange>, ReadError> {
        let (starts, ends): (Vec<u64>, Vec<u64>) = self.raw()?.into_iter().unzip();
        let ends = self.seen(&starts, ends)?;
        let ranges = starts.iter().zip(ends).map(|(start, end)| {
            let end = Offset(end.max(*start));
            PartitionRange { start: Offset(*start), durable: end, end }
        });
        Ok(ranges.collect())
    }

    /// Starts and ends as the brokers tell them.
    pub(super) fn raw(&self) -> Result<Vec<(u64, u64)>, ReadError> {
        self.ask(&self.config.topic, self.config.partitions)
    }

    /// The end of the notes.
    pub(super) fn end_of_notes(&self) -> Result<u64, ReadError> {
        let notes = self.ask(&self.config.meta_topic(), 1)?;
        Ok(notes.first().map(|(_, end)| *end).unwrap_or_default())
    }

    /// The first offset with this time or a later one; `None` where there is none.
    pub(super) fn at_time(
        &self,
        partition: Partition,
        time_ms: i64,
    ) -> Result<Option<u64>, ReadError> {
        let topic = &self.config.topic;
        let found = offsets::at_time(self.follower.asker(), topic, partition.0, time_ms);
        found.map_err(|error| self.failed(topic, &error))
    }

    fn ask(&self, topic: &str, partitions: u16) -> Result<Vec<(u64, u64)>, ReadError> {
        let found = offsets::first_and_next(self.follower.asker(), topic, partitions);
        found.map_err(|error| self.failed(topic, &error))
    }

    fn failed(&self, topic: &str, error: &KafkaError) -> ReadError {
        Asked::Describe(topic).read_error(error, &self.config.place())
    }

    /// The ends before which a record counts.
    fn seen(&self, starts: &[u64], mut ends: Vec<u64>) -> Result<Vec<u64>, ReadError> {
        let mut doubtful = Vec::new();
        for (partition, (start, end)) in starts.iter().zip(&mut ends).enumerate() {
            self.follower.look(|known| {
                while *end > *start && known.state.fence_stands_at(partition, *end - 1) {
                    *end -= 1;
                }
            });
            let is_sound = self.sound.lock().get(&partition) == Some(end);
            if *end > *start && !is_sound {
                doubtful.push(partition);
            }
        }
        let mut window = FIRST_WINDOW;
        while !doubtful.is_empty() {
            let firsts: Vec<(usize, u64, u64)> = doubtful
                .iter()
                .filter_map(|&partition| {
                    let (start, end) = (*starts.get(partition)?, *ends.get(partition)?);
                    Some((partition, end.saturating_sub(window).max(start), end))
                })
                .collect();
            let found = self.last_that_counts(&firsts)?;
            doubtful.clear();
            for (partition, first, _) in firsts {
                let start = starts.get(partition).copied().unwrap_or(0);
                let Some(end) = ends.get_mut(partition) else { continue };
                match found.get(&partition) {
                    Some(sound) => {
                        *end = *sound;
                        self.sound.lock().insert(partition, *sound);
                    }
                    None if first > start => doubtful.push(partition),
                    None => *end = start,
                }
            }
            window = window.saturating_mul(WINDOW_GROWTH);
        }
        Ok(ends)
    }

    /// Reads each partition from its first offset to its end; the offset after the last record that counts.
    fn last_that_counts(
        &self,
        firsts: &[(usize, u64, u64)],
    ) -> Result<BTreeMap<usize, u64>, ReadError> {
        let prober = self.prober.lock();
        let topic = &self.config.topic;
        let mut places = TopicPartitionList::new();
        let mut missing: BTreeMap<usize, u64> = BTreeMap::new();
        for &(partition, first, end) in firsts {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            let place = Place::Offset(i64::try_from(first).unwrap_or(i64::MAX));
            let added = places.add_partition_offset(topic, number, place);
            added.map_err(|error| self.failed(topic, &error))?;
            missing.insert(partition, end);
        }
        assign(&prober, topic, &places).map_err(|error| self.failed(topic, &error))?;
        let mut found = BTreeMap::new();
        let mut patience = PATIENCE_POLLS;
        while !missing.is_empty() && patience > 0 {
            match prober.poll(POLL) {
                None => {
                    idle(&prober, topic, POLL);
                    patience -= 1;
                }
                Some(Ok(message)) => {
                    let (partition, offset) = place_of(&message);
                    let partition = usize::from(partition.0);
                    let Some(end) = missing.get(&partition).copied() else { continue };
                    let origin = Origin::of(&message);
                    let verdict = self
                        .follower
                        .look(|known| known.state.verdict(partition, offset, origin.lease));
                    if verdict != Verdict::Void && !origin.is_fence && offset < end {
                        found.insert(partition, offset + 1);
                    }
                    if offset + 1 >= end {
                        missing.remove(&partition);
                    }
                }
                Some(Err(error)) if passes(&error) => patience -= 1,
                Some(Err(error)) => {
                    return Err(Asked::Read(topic).read_error(&error, &self.config.place()));
                }
            }
        }
        prober.unassign().map_err(|error| self.failed(topic, &error))?;
        if missing.is_empty() {
            return Ok(found);
        }
        Err(ReadError::Failed(format!(
            "{}: the ends of its partitions cannot be read",
            self.config.place()
        )))
    }
}
