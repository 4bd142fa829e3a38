//! The thread behind a reader: fetches, passes over what does not count, fills the queue.
//!
//! Guarantees: every record that counts from its partition's place on, once and in order; nothing that a writer sent
//! after its time. Brokers that are away are waited for; only what does not pass ends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset as Place, TopicPartitionList};

use super::client::{Quiet, passes};
use super::config::KafkaConfig;
use super::fences::{Verdict, writer_of};
use super::follow::{Follower, Following, Known};
use super::inlets::Inlets;
use super::ranges::Ranges;
use super::reader::{LastWord, Queue};
use super::record::{Copies, Origin, place_of};
use super::rights::{Asked, of_opener, settings_error};
use super::settings::{self, Role};
use crate::{Entry, Offset, Partition, ReadError, Writer};

/// How long one poll takes when nothing comes.
const POLL: Duration = Duration::from_millis(100);
/// What is there already is taken together, up to so many records and payload bytes: handing over wakes the reader.
const TAKE_RECORDS: usize = 512;
const TAKE_BYTES: usize = 1024 * 1024;
/// How long the notes may take to tell about a writer whose records are here already.
const NOTE_PATIENCE: Duration = Duration::from_secs(30);

/// Holders that may have begun.
type Doubts = BTreeMap<(u16, Option<Writer>), u64>;

/// What the thread has.
pub(super) struct Fetch {
    config: KafkaConfig,
    inlets: Inlets,
    following: Arc<Following>,
    ranges: Arc<Ranges>,
    queue: Arc<Queue>,
    /// By partition, the first offset that is wanted next.
    wanted: BTreeMap<u16, u64>,
    /// By partition and writer, the number of a holder whose fence was passed and that is not known to have begun.
    doubt: Doubts,
    copies: Copies,
}

// === impl Fetch ===

impl Fetch {
    /// Checks the places and takes them up. Blocks.
    pub(super) fn new(
        config: &KafkaConfig,
        following: Arc<Following>,
        ranges: Arc<Ranges>,
        from: &[(Partition, Offset)],
    ) -> Result<Self, ReadError> {
        let raw = ranges.raw()?;
        let count = raw.len();
        let mut places = TopicPartitionList::new();
        let mut wanted = BTreeMap::new();
        let failed =
            |error: &KafkaError| Asked::Read(&config.topic).read_error(error, &config.place());
        for &(partition, offset) in from {
            let range = raw.get(usize::from(partition.0));
            let &(start, end) = range.ok_or(ReadError::NoSuchPartition { partition, count })?;
            if offset.0 < start {
                return Err(ReadError::OutOfRetention { partition, offset, start: Offset(start) });
            }
            // A broker refuses places beyond its end.
            let place = Place::Offset(i64::try_from(offset.0.min(end)).unwrap_or(i64::MAX));
            places
                .add_partition_offset(&config.topic, i32::from(partition.0), place)
                .map_err(|error| failed(&error))?;
            wanted.insert(partition.0, offset.0);
        }
        let role = Role::Partitions(from.len());
        let made = settings::of(role, config).create_with_context(Quiet::new(config));
        let consumer: BaseConsumer<Quiet> =
            made.map_err(|error| of_opener(settings_error(&error)))?;
        let queue = Arc::default();
        let inlets = Inlets::new(consumer, (&config.topic, &places), &queue);
        Ok(Self {
            config: config.clone(),
            inlets: inlets.map_err(|error| failed(&error))?,
            following,
            ranges,
            queue,
            wanted,
            doubt: Doubts::new(),
            copies: Copies::default(),
        })
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The thread: until nobody reads any more, or something does not pass.
    pub(super) fn run(mut self) {
        let _last_word = LastWord(Arc::clone(&self.queue));
        while self.queue.has_room() {
            let mut taken = Taken::default();
            let outcome = self.take_some(&mut taken);
            self.queue.push(taken.entries);
            if let Err(failed) = outcome {
                self.queue.fail(failed);
                return;
            }
        }
    }

    /// Takes what is there; waits for something where that is nothing.
    fn take_some(&mut self, taken: &mut Taken) -> Result<(), ReadError> {
        let Self { config, inlets, following, ranges, queue, wanted, doubt, copies } = self;
        let mut heard = false;
        inlets.take(&queue.held(), |came| {
            heard = true;
            match came {
                Ok(message) => {
                    let follower = following.follower();
                    let mut judge = Judge { follower, queue, doubt, copies, place: config };
                    judge.take(&message, wanted, taken)?;
                }
                Err(error) => explain(&error, (config, ranges), wanted)?,
            }
            Ok(!taken.is_full())
        })?;
        if !heard && !queue.rest(POLL) {
            inlets.idle(POLL);
        }
        Ok(())
    }
}

/// What an error of the consumer means for the reader.
fn explain(
    error: &KafkaError,
    (config, ranges): (&KafkaConfig, &Ranges),
    wanted: &BTreeMap<u16, u64>,
) -> Result<(), ReadError> {
    let code = error.rdkafka_error_code();
    let left = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
    if code.is_some_and(|code| left.contains(&code)) {
        return Err(out_of_retention(ranges, wanted).unwrap_or_else(|| {
            let place = config.place();
            ReadError::Failed(format!("{place}: a place that was read is not there any more"))
        }));
    }
    if passes(error) {
        tracing::debug!(topic = config.topic, %error, "trouble with reading");
        return Ok(());
    }
    Err(Asked::Read(&config.topic).read_error(error, &config.place()))
}

fn out_of_retention(ranges: &Ranges, wanted: &BTreeMap<u16, u64>) -> Option<ReadError> {
    let raw = ranges.raw().ok()?;
    wanted.iter().find_map(|(&partition, &offset)| {
        let &(start, _) = raw.get(usize::from(partition))?;
        let (partition, offset, start) = (Partition(partition), Offset(offset), Offset(start));
        (offset < start).then_some(ReadError::OutOfRetention { partition, offset, start })
    })
}

/// Records that are handed over together.
#[derive(Default)]
struct Taken {
    entries: Vec<Entry>,
    bytes: usize,
}

/// Decides on one message.
struct Judge<'a> {
    follower: &'a Follower,
    queue: &'a Queue,
    doubt: &'a mut Doubts,
    copies: &'a mut Copies,
    place: &'a KafkaConfig,
}

// === impl Taken ===

impl Taken {
    fn is_full(&self) -> bool {
        self.entries.len() >= TAKE_RECORDS || self.bytes >= TAKE_BYTES
    }

    fn add(&mut self, entry: Entry) {
        self.bytes += entry.payload.len();
        self.entries.push(entry);
    }
}

// === impl Judge ===

impl Judge<'_> {
    fn take(
        &mut self,
        message: &BorrowedMessage<'_>,
        wanted: &mut BTreeMap<u16, u64>,
        taken: &mut Taken,
    ) -> Result<(), ReadError> {
        let origin = Origin::of(message);
        let (partition, offset) = place_of(message);
        if origin.is_fence {
            if !self.follower.look(|known| known.state.has_begun(origin.lease)) {
                let of = (partition.0, writer_of(origin.lease));
                let doubt = self.doubt.entry(of).or_default();
                *doubt = origin.lease.max(*doubt);
            }
            return Ok(());
        }
        let Some(next) = wanted.get_mut(&partition.0).filter(|next| **next <= offset) else {
            return Ok(());
        };
        if self.counts(partition, offset, origin.lease, taken)? {
            *next = offset + 1;
            taken.add(origin.entry(message, self.copies));
        } else {
            tracing::debug!(
                partition = partition.0,
                offset,
                lease = origin.lease,
                "a record that does not count"
            );
        }
        Ok(())
    }

    /// Whether a record counts, which the notes may have to tell first; what was taken before does not wait for that.
    fn counts(
        &mut self,
        partition: Partition,
        offset: u64,
        lease: u64,
        taken: &mut Taken,
    ) -> Result<bool, ReadError> {
        let doubt = self.doubt.get(&(partition.0, writer_of(lease))).copied();
        let doubt = doubt.filter(|doubt| *doubt > lease);
        let number = usize::from(partition.0);
        let decide = |known: &Known| {
            let state = &known.state;
            // A fence was passed: whether it stands is known when its holder has begun, or was overtaken before.
            let is_open =
                doubt.is_some_and(|doubt| !state.has_begun(doubt) && !state.is_overtaken(doubt));
            match state.verdict(number, offset, lease) {
                Verdict::Void => Some(false),
                Verdict::Counts if !is_open => Some(true),
                Verdict::Counts | Verdict::Unknown => None,
            }
        };
        if let Some(counts) = self.follower.look(decide) {
            return Ok(counts);
        }
        self.queue.push(std::mem::take(taken).entries);
        let patience = NOTE_PATIENCE.as_millis() / POLL.as_millis();
        for _ in 0..patience {
            if let Some(counts) = self.follower.wait(POLL, decide)? {
                return Ok(counts);
            }
            if self.queue.is_closed() {
                return Ok(false);
            }
        }
        let (topic, meta) = (&self.place.topic, self.place.meta_topic());
        Err(ReadError::Failed(format!(
            "{topic}: {meta} does not tell about the writer {} of offset {offset} in partition {}",
            doubt.unwrap_or(lease),
            partition.0
        )))
    }
}
