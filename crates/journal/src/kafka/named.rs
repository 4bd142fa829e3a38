//! Named readers: what each has released is its group's committed offset, as lag tools show it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as Place, TopicPartitionList};

use super::client::{Quiet, drop_aside};
use super::config::KafkaConfig;
use super::follow::Follower;
use super::member::Seat;
use super::rights::Asked;
use super::settings::{self, Role};
use super::topics::ANSWER_LIMIT;
use crate::{AppendError, Offset, Partition, ReadError, ReaderProgress};

/// How long one question for offsets may take; a refusal is looked for in between.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// And how often it is asked.
const ASKS: usize = 10;
/// How often a commit is tried that falls into a change of the group's members.
const TRIES: usize = 5;

/// The groups of one stream. Blocks; for threads that may.
pub(super) struct Named {
    config: KafkaConfig,
    follower: Arc<Follower>,
    /// Clients that speak for a group from outside, made once.
    askers: Mutex<BTreeMap<String, Arc<BaseConsumer<Quiet>>>>,
    /// Members of this process, by group: while a group has members, only they may commit.
    seats: Mutex<BTreeMap<String, Weak<Seat>>>,
}

// === impl Named ===

impl Named {
    pub(super) fn new(config: &KafkaConfig, follower: Arc<Follower>) -> Self {
        let (askers, seats) = (Mutex::default(), Mutex::default());
        Self { config: config.clone(), follower, askers, seats }
    }

    /// Remembers a member of this process.
    pub(super) fn sit(&self, name: &str, seat: &Arc<Seat>) {
        self.seats.lock().insert(self.config.group(name), Arc::downgrade(seat));
    }

    /// What every named reader has released.
    pub(super) fn progress(&self) -> Result<Vec<ReaderProgress>, ReadError> {
        let prefix = self.config.group("");
        let client = self.follower.asker().client();
        let groups = client
            .fetch_group_list(None, ANSWER_LIMIT)
            .map_err(|error| self.failed(&prefix, &error))?;
        let mut progress = Vec::new();
        for group in groups.groups() {
            let Some(name) = group.name().strip_prefix(&prefix) else { continue };
            let released = self.committed(group.name())?;
            // A stream whose name begins like this one's has groups that begin alike, and no offsets here.
            if !released.is_empty() {
                progress.push(ReaderProgress { name: name.to_owned(), released });
            }
        }
        Ok(progress)
    }

    fn committed(&self, group: &str) -> Result<Vec<(Partition, Offset)>, ReadError> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.config.partitions {
            asked.add_partition(&self.config.topic, i32::from(partition));
        }
        let asker = self.asker(group).map_err(|error| self.failed(group, &error))?;
        let found = ask_for(&asker, &asked).map_err(|error| self.failed(group, &error))?;
        let released = found.elements().into_iter().filter_map(|element| {
            let Place::Offset(offset) = element.offset() else { return None };
            let partition = Partition(u16::try_from(element.partition()).ok()?);
            Some((partition, Offset(u64::try_from(offset).ok()?)))
        });
        Ok(released.collect())
    }

    /// Commits for a named reader.
    pub(super) fn release(
        &self,
        name: &str,
        before: &[(Partition, Offset)],
    ) -> Result<(), AppendError> {
        let group = self.config.group(name);
        let failed =
            |error: &KafkaError| Asked::Group(&group).append_error(error, &self.config.place());
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in before {
            let place = Place::Offset(i64::try_from(offset.0).unwrap_or(i64::MAX));
            offsets
                .add_partition_offset(&self.config.topic, i32::from(partition.0), place)
                .map_err(|error| failed(&error))?;
        }
        if before.is_empty() {
            return Ok(());
        }
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.commit(&group, &offsets) {
                Err(error) if tries > 0 && is_between_members(&error) => {}
                committed => return committed.map_err(|error| failed(&error)),
            }
        }
    }

    fn commit(&self, group: &str, offsets: &TopicPartitionList) -> Result<(), KafkaError> {
        let seat = self.seats.lock().get(group).and_then(Weak::upgrade);
        match seat {
            Some(seat) => seat.commit(offsets),
            None => {
                let asker = self.asker(group)?;
                // A commit waits for the group's coordinator for ever; this does not.
                ask_for(&asker, offsets)?;
                asker.commit(offsets, CommitMode::Sync)
            }
        }
    }

    fn asker(&self, group: &str) -> Result<Arc<BaseConsumer<Quiet>>, KafkaError> {
        let mut askers = self.askers.lock();
        if let Some(asker) = askers.get(group) {
            return Ok(Arc::clone(asker));
        }
        let settings = settings::of(Role::Asker(group), &self.config);
        let asker: Arc<BaseConsumer<Quiet>> =
            Arc::new(settings.create_with_context(Quiet::new(&self.config))?);
        askers.insert(group.to_owned(), Arc::clone(&asker));
        Ok(asker)
    }

    /// A name is not used any more.
    pub(super) fn forget(&self, name: &str) {
        if let Some(asker) = self.askers.lock().remove(&self.config.group(name)) {
            drop_aside(asker);
        }
    }

    fn failed(&self, group: &str, error: &KafkaError) -> ReadError {
        Asked::Group(group).read_error(error, &self.config.place())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        drop_aside(std::mem::take(&mut *self.askers.lock()));
    }
}

/// Asks for committed offsets. What the brokers refuse, the library tells by the way and waits on.
fn ask_for(
    asker: &BaseConsumer<Quiet>,
    offsets: &TopicPartitionList,
) -> Result<TopicPartitionList, KafkaError> {
    let mut tries = ASKS;
    loop {
        let asked = asker.committed_offsets(offsets.clone(), ASK_LIMIT);
        while let Some(told) = asker.poll(Duration::ZERO) {
            if let Err(error) = told
                && error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
            {
                return Err(error);
            }
        }
        tries -= 1;
        match asked {
            Err(_) if tries > 0 => {
                asker.context().lifeline().overdue(asker.client(), ASK_LIMIT);
            }
            asked => return asked,
        }
    }
}

/// Whether a commit fell into a change of members, after which it may succeed.
fn is_between_members(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::RebalanceInProgress | Code::IllegalGeneration | Code::WaitingForCoordinator)
    )
}
