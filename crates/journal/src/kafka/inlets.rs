//! What comes of a reader's partitions: each has a queue of its own at the client of Kafka, which fetches no more of one
//! whose queue is long enough.
//!
//! Guarantees: messages of a partition in their order; no partition comes before others for longer than its turn; of one
//! that is held nothing comes, and what is fetched of it is bounded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Message};

use super::client::{Quiet, assign, idle};
use super::reader::Queue;
use crate::{Partition, ReadError};

/// How much of one partition comes before the next one has its turn.
const TURN_MESSAGES: usize = 128;
const TURN_BYTES: usize = 256 * 1024;
/// So many events of no partition are taken at once.
const EVENTS: usize = 64;

/// The partitions that one consumer reads.
pub(super) struct Inlets {
    consumer: Arc<BaseConsumer<Quiet>>,
    topic: String,
    queues: Vec<(Partition, PartitionQueue<Quiet>)>,
    /// Whose turn it is.
    at: usize,
}

fn size(message: &BorrowedMessage<'_>) -> usize {
    message.payload().map_or(0, <[u8]>::len)
}

// === impl Inlets ===

impl Inlets {
    /// Has a consumer read from these places of a topic; `queue` hears when something comes. Blocks for a round trip.
    pub(super) fn new(
        consumer: BaseConsumer<Quiet>,
        (topic, places): (&str, &TopicPartitionList),
        queue: &Arc<Queue>,
    ) -> KafkaResult<Self> {
        let consumer = Arc::new(consumer);
        let mut queues = Vec::new();
        // Ahead of the places: nothing of these partitions may come with what is of none, where it could be overtaken.
        for of in places.elements() {
            let Ok(partition) = u16::try_from(of.partition()) else { continue };
            let Some(mut split) = consumer.split_partition_queue(topic, of.partition()) else {
                continue;
            };
            let bell = Arc::clone(queue);
            split.set_nonempty_callback(move || bell.ring());
            queues.push((Partition(partition), split));
        }
        assign(&consumer, topic, places)?;
        Ok(Self { consumer, topic: topic.to_owned(), queues, at: 0 })
    }

    /// Gives to `take` what is there, partition by partition, until that has enough: it says so by false.
    pub(super) fn take(
        &mut self,
        held: &BTreeSet<Partition>,
        mut take: impl FnMut(KafkaResult<BorrowedMessage<'_>>) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        // Nothing said may be one of several events that the client keeps for itself.
        for _ in 0..EVENTS {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Err(error)) => drop(take(Err(error))?),
                Some(Ok(message)) => return Err(self.astray(&message)),
            }
        }
        for _ in 0..self.queues.len() {
            let Some((partition, queue)) = self.queues.get(self.at) else { break };
            let (mut messages, mut bytes, mut wants_more) = (0, 0, true);
            while !held.contains(partition) && messages < TURN_MESSAGES && bytes < TURN_BYTES {
                let Some(came) = queue.poll(Duration::ZERO) else { break };
                messages += 1;
                bytes += came.as_ref().map_or(0, size);
                wants_more = take(came)?;
                if !wants_more {
                    break;
                }
            }
            self.at = (self.at + 1) % self.queues.len();
            if !wants_more {
                break;
            }
        }
        Ok(())
    }

    /// A message came outside its partition's queue, so that its place among the others is not known: whoever reads anew
    /// gets all of them.
    fn astray(&self, message: &BorrowedMessage<'_>) -> ReadError {
        let (topic, partition, offset) = (&self.topic, message.partition(), message.offset());
        ReadError::Failed(format!("{topic}: offset {offset} came beside partition {partition}"))
    }

    /// Nothing has come for so long again.
    pub(super) fn idle(&self, time: Duration) {
        idle(&self.consumer, &self.topic, time);
    }
}
