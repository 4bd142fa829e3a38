//! The backend on Apache Kafka: a stream is a topic, a partition is a partition, a record is a message.
//!
//! Guarantees: what the crate promises, with every accepted record durable once the brokers that have to
//! (`min.insync.replicas`) have confirmed it. Not totally ordered: each partition for itself. The stream's writer is
//! whoever holds the lease; a successor sets a fence in every partition, and what its predecessor sends later is void
//! for every reader. Writers side by side have a lease and fences each. Offsets have gaps where fences and void records are.
//!
//! ```text
//!   appender ─► session thread ─► topic            ─► fetch thread ─► reader
//!                  │  lease, fences                      │ which records count
//!                  └────────────► topic.meta ─► follower ┘
//! ```
//!
//! Everything that may block runs on threads of its own; what is under way is bounded on every way.

mod administer;
mod appender;
mod client;
mod config;
mod deliveries;
mod fences;
mod fetch;
mod follow;
mod identity;
mod inlets;
mod lease;
mod lifeline;
mod mailbox;
mod member;
mod named;
mod notary;
mod notes;
mod offsets;
mod presence;
mod ranges;
mod reader;
mod record;
mod rights;
mod session;
mod settings;
mod topics;
mod unleased;
mod watermark;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use rdkafka::admin::AdminOptions;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as Place, TopicPartitionList};
use runtime::Clock;
use runtime::clock::timeout;

use self::appender::KafkaAppender;
use self::client::drop_aside;
use self::fetch::Fetch;
use self::follow::{Following, Known};
use self::lease::{Candidate, LEASE_TIMEOUT, catch_up};
use self::mailbox::KafkaMailbox;
use self::member::Member;
use self::named::Named;
use self::ranges::Ranges;
use self::reader::KafkaReader;
use self::record::{FIRST_TIME_MS, MAX_RECORD_BYTES};
use self::rights::{Asked, of_reader};
use self::session::Session;
use self::topics::{ANSWER_LIMIT, Topics, administrator};
use crate::{
    AppendError, Appender, Description, Journal, Mailbox, Membership, Offset, OpenError, Partition,
    ReadError, Reader, Writer,
};

pub use self::administer::{DEAD_LETTERS, LeaseFacts, StreamFacts, StreamTopics, WriterFacts};
pub use self::config::{Compression, HeldTo, KafkaConfig};
pub use self::topics::TopicFacts;
pub use self::unleased::SharedLog;

/// How long an appender that was dropped may take to write what it had accepted before another is refused.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// How long a member that joins is watched for a refusal, which comes at once.
const JOIN_LOOK: Duration = Duration::from_secs(1);
/// How long a commit of offsets may take; what it says is said again later.
const COMMIT_LIMIT: Duration = Duration::from_secs(20);
/// How long something that the brokers refuse for the moment, while a leader moves say, is asked again.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// And after what time.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What a stream is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To write it, or to carry it on from a place.
    Use,
    /// To look at what is there, whatever has become of it.
    Look,
}

/// A stream on Kafka.
pub struct KafkaJournal {
    config: KafkaConfig,
    clock: Arc<dyn Clock>,
    incarnation: u64,
    following: Arc<Following>,
    ranges: Arc<Ranges>,
    named: Arc<Named>,
    /// By writer, the appender of this process, if one lives or is just ending.
    sessions: tokio::sync::Mutex<BTreeMap<Writer, Weak<Session>>>,
    /// One commit at a time: should the brokers keep it waiting, those behind it hold no thread.
    commits: Arc<tokio::sync::Mutex<()>>,
}

// === impl KafkaJournal ===

impl KafkaJournal {
    /// Opens the stream, making its topics where they are missing and that is allowed.
    ///
    /// # Errors
    /// If the brokers cannot be asked, a right is missing, or what is there is not this stream.
    pub async fn open(config: KafkaConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_for(Purpose::Use, config, clock).await
    }

    async fn open_for(
        purpose: Purpose,
        mut config: KafkaConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(OpenError::Settings { what: problems.join("; ") });
        }
        let topics = Topics::new(&config, Arc::clone(&clock))?;
        let ensured = topics.ensure().await?;
        let (asked, time) = (config.clone(), Arc::clone(&clock));
        let starting = tokio::task::spawn_blocking(move || Following::start(&asked, time)).await;
        let following = Arc::new(starting.expect("asking does not panic")?);
        let mut ranges = Arc::new(Ranges::new(&config, Arc::clone(following.follower()))?);
        let caught_up = catch_up(following.follower(), &ranges).await;
        caught_up.map_err(|error| of_reader(error, &config.place()))?;
        let noted = following.follower().look(|known| known.state.stream.clone());
        let count = identity::count(&config, purpose, ensured.partitions, noted.as_ref())?;
        if count != config.partitions {
            config.partitions = count;
            let other = Ranges::new(&config, Arc::clone(following.follower()))?;
            drop_aside(std::mem::replace(&mut ranges, Arc::new(other)));
        }
        let named = Arc::new(Named::new(&config, Arc::clone(following.follower())));
        let mut journal = Self {
            config,
            clock,
            incarnation: 0,
            following,
            ranges,
            named,
            sessions: tokio::sync::Mutex::default(),
            commits: Arc::default(),
        };
        journal.incarnation = journal.identify(noted, ensured.is_new).await?.incarnation;
        if purpose == Purpose::Use {
            journal.refuse_lost_records().await?;
        }
        Ok(journal)
    }

    /// Asks on a thread that may block, again while what is wrong may pass.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl Fn() -> Result<T, ReadError> + Send + Sync + 'static,
    ) -> Result<T, ReadError> {
        let ask = Arc::new(ask);
        let began = self.clock.monotonic();
        loop {
            let asking = Arc::clone(&ask);
            let asked = tokio::task::spawn_blocking(move || asking()).await;
            let is_early = self.clock.monotonic().saturating_sub(began) < ASK_LIMIT;
            match asked.expect("asking does not panic") {
                Err(ReadError::Failed(why)) if is_early => {
                    tracing::debug!(why, "the brokers are asked again");
                    self.clock.sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn caught_up(&self) -> Result<(), ReadError> {
        catch_up(self.following.follower(), &self.ranges).await
    }

    fn has(&self, partition: Partition) -> bool {
        partition.0 < self.config.partitions
    }

    fn count(&self) -> usize {
        usize::from(self.config.partitions)
    }

    fn check(&self, places: &[(Partition, Offset)]) -> Result<(), AppendError> {
        match places.iter().find(|(partition, _)| !self.has(*partition)) {
            Some(&(partition, _)) => {
                Err(AppendError::NoSuchPartition { partition, count: self.count() })
            }
            None => Ok(()),
        }
    }

    async fn become_writer(&self, writer: Writer) -> Result<Box<dyn Appender>, OpenError> {
        let mut sessions = self.sessions.lock().await;
        if let Some(old) = sessions.get(&writer).and_then(Weak::upgrade) {
            let has_writer = || OpenError::HasWriter { stream: self.config.stream.clone() };
            if !old.is_closing() {
                return Err(has_writer());
            }
            let mut ended = old.ended();
            drop(old);
            let ended = timeout(&*self.clock, CLOSE_LIMIT, ended.wait_for(|ended| *ended)).await;
            ended.map(drop).map_err(|_| has_writer())?;
        }
        let candidate = Candidate {
            config: &self.config,
            clock: &self.clock,
            following: &self.following,
            ranges: &self.ranges,
            writer,
        };
        let hold = candidate.take().await?;
        sessions.insert(writer, Arc::downgrade(&hold.0));
        Ok(Box::new(KafkaAppender::new(hold, Arc::clone(&self.clock))))
    }

    async fn read(&self, from: Vec<(Partition, Offset)>) -> Result<Box<dyn Reader>, ReadError> {
        if let Some(&(partition, _)) = from.iter().find(|(partition, _)| !self.has(*partition)) {
            return Err(ReadError::NoSuchPartition { partition, count: self.count() });
        }
        self.caught_up().await?;
        // A writer that is just beginning: behind its fence nobody could tell yet what counts.
        // One that has claimed it and died is not waited for again and again.
        let clock = &self.clock;
        let lives = |known: &Known, of| {
            clock.monotonic().saturating_sub(known.heard(of).at) < LEASE_TIMEOUT
        };
        let begun = self
            .following
            .follower()
            .until(|known| (!known.state.beginning().any(|of| lives(known, of))).then_some(()));
        if let Ok(begun) = timeout(&*self.clock, LEASE_TIMEOUT, begun).await {
            begun?;
        }
        let (config, ranges) = (self.config.clone(), Arc::clone(&self.ranges));
        let following = Arc::clone(&self.following);
        let making =
            move || Fetch::new(&config, Arc::clone(&following), Arc::clone(&ranges), &from);
        let fetch = self.ask(making).await?;
        let queue = Arc::clone(fetch.queue());
        client::thread("kafka-reader", move || fetch.run())
            .map_err(|error| ReadError::Failed(error.to_string()))?;
        Ok(Box::new(KafkaReader::new(queue)))
    }

    async fn delete_before(&self, before: Vec<(Partition, Offset)>) -> Result<(), AppendError> {
        self.check(&before)?;
        let ranges = Arc::clone(&self.ranges);
        let place = self.config.place();
        let raw = self.ask(move || ranges.raw()).await;
        let raw = raw.map_err(|error| rights::as_append(of_reader(error, &place)))?;
        let places = before.into_iter().map(|(partition, offset)| {
            let end = raw.get(usize::from(partition.0)).map_or(0, |(_, end)| *end);
            (partition, offset.0.min(end))
        });
        delete_records(&self.config, places.collect()).await
    }

    async fn forget(&self, name: &str) -> Result<(), AppendError> {
        self.named.forget(name);
        let group = self.config.group(name);
        let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
        let place = self.config.place();
        let failed = |error: &KafkaError| Asked::DeleteGroup(&group).append_error(error, &place);
        let admin = administrator(&self.config).map_err(|error| failed(&error))?;
        let deleted = admin.delete_groups(&[&group], &options).await;
        drop_aside(admin);
        match deleted.map_err(|error| failed(&error))?.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::GroupIdNotFound))) | Some(Ok(_)) | None => Ok(()),
            Some(Err((_, RDKafkaErrorCode::NonEmptyGroup))) => Err(AppendError::Failed(format!(
                "{place}: group {group} has members: stop them first"
            ))),
            Some(Err((_, code))) => Err(failed(&KafkaError::AdminOp(code))),
        }
    }
}

/// Has the brokers forget what is before these places, none of which is beyond its partition's end.
async fn delete_records(
    config: &KafkaConfig,
    before: Vec<(Partition, u64)>,
) -> Result<(), AppendError> {
    let (topic, place) = (&config.topic, config.place());
    let failed = |error: &KafkaError| Asked::DeleteRecords(topic).append_error(error, &place);
    let mut list = TopicPartitionList::new();
    for (partition, offset) in before {
        let offset = Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        list.add_partition_offset(topic, i32::from(partition.0), offset)
            .map_err(|error| failed(&error))?;
    }
    let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
    let admin = administrator(config).map_err(|error| failed(&error))?;
    let deleted = admin.delete_records(&list, &options).await;
    drop_aside(admin);
    let deleted = deleted.map_err(|error| failed(&error))?;
    deleted
        .elements()
        .iter()
        .try_for_each(TopicPartitionListElem::error)
        .map_err(|error| failed(&error))
}

impl Journal for KafkaJournal {
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>> {
        Box::pin(async move {
            self.caught_up().await?;
            let (ranges, named) = (Arc::clone(&self.ranges), Arc::clone(&self.named));
            let partitions = self.ask(move || ranges.all()).await?;
            let readers = self.ask(move || named.progress()).await?;
            Ok(Description {
                stream: self.config.stream.clone(),
                incarnation: self.incarnation,
                totally_ordered: false,
                max_record_bytes: MAX_RECORD_BYTES,
                partitions,
                readers,
            })
        })
    }

    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        self.appender_of(Writer::FIRST)
    }

    fn appender_of(&self, writer: Writer) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        Box::pin(self.become_writer(writer))
    }

    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(self.read(from))
    }

    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>> {
        Box::pin(async move {
            if !self.has(partition) {
                return Err(ReadError::NoSuchPartition { partition, count: self.count() });
            }
            let ranges = Arc::clone(&self.ranges);
            let time = timestamp_ms.max(FIRST_TIME_MS);
            let found = self.ask(move || ranges.at_time(partition, time)).await?;
            if let Some(offset) = found {
                return Ok(Offset(offset));
            }
            let ranges = Arc::clone(&self.ranges);
            let all = self.ask(move || ranges.all()).await?;
            Ok(all.get(usize::from(partition.0)).map_or(Offset(0), |range| range.end))
        })
    }

    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(self.delete_before(before))
    }

    fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        let name = name.to_owned();
        Box::pin(async move {
            self.check(&before)?;
            let (named, commits) = (Arc::clone(&self.named), Arc::clone(&self.commits));
            let committing = async move {
                let turn = commits.lock_owned().await;
                let commit = move || {
                    let _turn = turn;
                    named.release(&name, &before)
                };
                tokio::task::spawn_blocking(commit).await.expect("a commit does not panic")
            };
            let place = self.config.place();
            let late =
                |_| AppendError::Failed(format!("{place}: no answer to a commit of offsets"));
            timeout(&*self.clock, COMMIT_LIMIT, committing).await.map_err(late)?
        })
    }

    fn forget_reader(&self, name: &str) -> BoxFuture<'_, Result<(), AppendError>> {
        let name = name.to_owned();
        Box::pin(async move { self.forget(&name).await })
    }

    fn mailbox(&self) -> Box<dyn Mailbox> {
        Box::new(KafkaMailbox::new(&self.config, Arc::clone(&self.clock)))
    }

    fn join<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Box<dyn Membership>, ReadError>> {
        Box::pin(async move {
            let member = Member::join(&self.config, name, self.following.follower())?;
            self.named.sit(name, member.seat());
            let mut assigned = member.assigned();
            // A refusal closes it; others may keep this one waiting for its part as long as they like.
            let looked = timeout(&*self.clock, JOIN_LOOK, assigned.changed()).await;
            match (looked, member.failure()) {
                (_, Some(failure)) => Err(failure),
                (_, None) => Ok(Box::new(member) as Box<dyn Membership>),
            }
        })
    }
}
