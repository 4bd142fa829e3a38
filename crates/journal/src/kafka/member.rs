//! Members of a consumer group: who works on which partition.
//!
//! Guarantees: a partition that is taken away is given to another only when the work on it has settled, or after
//! [`SETTLE_LIMIT`]; a lost member is replaced when its session has timed out. The group moves no records: members
//! read nothing through it. Callbacks of the library run on the member's own thread.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::{Condvar, Mutex};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset as Place, TopicPartitionList};
use tokio::sync::watch;

use super::client::passes;
use super::config::KafkaConfig;
use super::follow::Follower;
use super::lifeline::Lifeline;
use super::presence::Presence;
use super::rights::{Asked, of_opener, settings_error};
use super::settings::{self, Role};
use crate::{Assignment, Health, Membership, Partition, ReadError};

/// How long what is under way for a partition may take to settle when it is taken away.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);
/// How long the broker may take to hear that a member leaves, which a stop waits for; one that does not hear it gives the
/// partitions to others when the session has timed out.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);
/// How long one poll takes when nothing comes.
const POLL: Duration = Duration::from_millis(50);

/// One member of a group.
pub(super) struct Member {
    seat: Arc<Seat>,
    presence: Presence,
}

/// What the member and its thread have in common.
pub(super) struct Seat {
    consumer: BaseConsumer<Shifts>,
    ended: AtomicBool,
    /// Becomes true when the thread has left the group.
    left: watch::Sender<bool>,
}

/// The context of the consumer: what is assigned.
struct Shifts {
    topic: String,
    group: String,
    place: String,
    state: Mutex<State>,
    settled: Condvar,
    leaving: AtomicBool,
    lifeline: Lifeline,
}

struct State {
    /// `None` when the membership has failed.
    assigned: Option<watch::Sender<Assignment>>,
    settled: u64,
    failed: Option<ReadError>,
}

// === impl Member ===

impl Member {
    /// Joins the group of a name. Its assignment comes later.
    pub(super) fn join(
        config: &KafkaConfig,
        name: &str,
        follower: &Arc<Follower>,
    ) -> Result<Self, ReadError> {
        let group = config.group(name);
        let state = State {
            assigned: Some(watch::Sender::new(Assignment::default())),
            settled: 0,
            failed: None,
        };
        let shifts = Shifts {
            topic: config.topic.clone(),
            group: group.clone(),
            place: config.place(),
            state: Mutex::new(state),
            settled: Condvar::new(),
            leaving: AtomicBool::new(false),
            lifeline: Lifeline::new(config),
        };
        let failed = |error: &KafkaError| Asked::Group(&group).read_error(error, &config.place());
        let made = settings::of(Role::Member(&group), config).create_with_context(shifts);
        let consumer: BaseConsumer<Shifts> =
            made.map_err(|error| of_opener(settings_error(&error)))?;
        consumer.subscribe(&[&config.topic]).map_err(|error| failed(&error))?;
        let (ended, left) = (AtomicBool::new(false), watch::Sender::new(false));
        let seat = Arc::new(Seat { consumer, ended, left });
        let presence = Presence::watch(config, follower).map_err(of_opener)?;
        let thread = Arc::clone(&seat);
        super::client::thread("kafka-member", move || Seat::run(thread))
            .map_err(|error| ReadError::Failed(error.to_string()))?;
        Ok(Self { seat, presence })
    }

    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Why the membership has failed.
    pub(super) fn failure(&self) -> Option<ReadError> {
        self.seat.shifts().state.lock().failed.clone()
    }
}

impl Membership for Member {
    fn assigned(&self) -> watch::Receiver<Assignment> {
        match &self.seat.shifts().state.lock().assigned {
            Some(assigned) => assigned.subscribe(),
            None => watch::Sender::new(Assignment::default()).subscribe(),
        }
    }

    fn settled(&self, generation: u64) {
        let shifts = self.seat.shifts();
        let mut state = shifts.state.lock();
        state.settled = generation.max(state.settled);
        drop(state);
        shifts.settled.notify_all();
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.presence.health()
    }

    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<(), ReadError>> {
        Box::pin(async move {
            let mut left = self.seat.left.subscribe();
            self.seat.end();
            // The thread tells, or is gone: it has left either way.
            left.wait_for(|left| *left).await.map(drop).unwrap_or_default();
            Ok(())
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.seat.end();
    }
}

// === impl Seat ===

impl Seat {
    /// Commits offsets on behalf of the group. Blocks.
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), KafkaError> {
        self.consumer.commit(offsets, rdkafka::consumer::CommitMode::Sync)
    }

    fn shifts(&self) -> &Shifts {
        self.consumer.context()
    }

    fn end(&self) {
        self.shifts().leaving.store(true, Ordering::Relaxed);
        self.ended.store(true, Ordering::Relaxed);
        self.shifts().settled.notify_all();
    }

    fn run(seat: Arc<Self>) {
        while !seat.ended.load(Ordering::Relaxed) {
            match seat.consumer.poll(POLL) {
                None => seat.idle(),
                // It asked for nothing; what comes before a partition is paused is nobody's.
                Some(Ok(_)) => {}
                Some(Err(error)) => seat.shifts().trouble(&error),
            }
        }
        if let Err(error) = seat.close() {
            tracing::debug!(group = seat.shifts().group, %error, "a group could not be left");
        }
        seat.left.send_replace(true);
    }

    /// As it is most of the time.
    fn idle(&self) {
        let shifts = self.shifts();
        shifts.lifeline.idle(self.consumer.client(), &shifts.topic, POLL);
    }

    /// Leaves the group, for at most so long as a broker may take to answer.
    fn close(&self) -> Result<(), KafkaError> {
        self.consumer.close_queue()?;
        let mut polls = CLOSE_LIMIT.as_millis() / POLL.as_millis();
        while !self.consumer.closed() && polls > 0 {
            // What comes now is nobody's; callbacks of the last changes run in here.
            drop(self.consumer.poll(POLL));
            polls -= 1;
        }
        Ok(())
    }
}

// === impl Shifts ===

impl Shifts {
    fn trouble(&self, error: &KafkaError) {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        let denied =
            matches!(code, Some(Code::GroupAuthorizationFailed | Code::InconsistentGroupProtocol));
        // Places do not matter to who reads nothing.
        let harmless = matches!(code, Some(Code::AutoOffsetReset | Code::OffsetOutOfRange));
        if harmless || (passes(error) && !denied) {
            tracing::debug!(group = self.group, %error, "trouble with a group");
            return;
        }
        let asked = match code {
            Some(Code::TopicAuthorizationFailed) => Asked::Read(&self.topic),
            _ => Asked::Group(&self.group),
        };
        self.fail(asked.read_error(error, &self.place));
    }

    /// Ends the membership; the first reason stays.
    fn fail(&self, why: ReadError) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(why);
        state.assigned = None;
    }

    /// Publishes what is assigned from now on; its generation.
    fn publish(&self, change: impl FnOnce(&mut BTreeSet<Partition>)) -> u64 {
        let state = self.state.lock();
        let Some(assigned) = &state.assigned else { return 0 };
        let mut generation = 0;
        assigned.send_modify(|assignment| {
            let mut partitions: BTreeSet<Partition> = assignment.partitions.drain(..).collect();
            change(&mut partitions);
            assignment.partitions = partitions.into_iter().collect();
            assignment.generation += 1;
            generation = assignment.generation;
        });
        generation
    }

    fn wait_until_settled(&self, generation: u64) {
        let mut state = self.state.lock();
        let mut timed_out = false;
        while state.settled < generation
            && state.assigned.is_some()
            && !self.leaving.load(Ordering::Relaxed)
            && !timed_out
        {
            timed_out = self.settled.wait_for(&mut state, SETTLE_LIMIT).timed_out();
        }
    }

    fn take_up(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        // From the end, so that nothing is fetched before the pause.
        let placed = list.set_all_offsets(Place::End);
        let taken = placed.and_then(|()| consumer.incremental_assign(list));
        if let Err(error) = taken.and_then(|()| consumer.pause(list)) {
            // The group counts them as this member's, who knows nothing of them: better none than a half.
            let (group, place) = (&self.group, &self.place);
            self.fail(ReadError::Failed(format!(
                "{place}: partitions could not be taken up in group {group}: {error}"
            )));
            return;
        }
        let partitions = partitions_of(list);
        self.publish(|assigned| assigned.extend(partitions));
    }

    fn give_up(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = partitions_of(list);
        let generation = self.publish(|assigned| {
            assigned.retain(|partition| !partitions.contains(partition));
        });
        // Where the session has timed out others work on them already.
        if !consumer.assignment_lost() {
            self.wait_until_settled(generation);
        }
        if let Err(error) = consumer.incremental_unassign(list) {
            tracing::debug!(group = self.group, %error, "partitions could not be given up");
        }
    }
}

impl ClientContext for Shifts {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka group");
    }
}

impl ConsumerContext for Shifts {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        change: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.take_up(consumer, list),
            _ => self.give_up(consumer, list),
        }
    }
}

fn partitions_of(list: &TopicPartitionList) -> Vec<Partition> {
    let numbers = list.elements().into_iter().map(|element| element.partition());
    numbers.filter_map(|number| u16::try_from(number).ok()).map(Partition).collect()
}
