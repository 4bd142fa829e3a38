//! What comes of a reader's partitions: each has a queue of its own at the client of Kafka, which fetches no more of one
//! whose queue is long enough.
//!
//! Guarantees: messages of a partition in their order; no partition comes before others for longer than its turn; of one
//! that is held nothing comes, and what is fetched of it is bounded.

use std::collections::{BTreeMap, BTreeSet};
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
        assign(&consumer, topic, places)?;
        let mut queues = Vec::new();
        let numbers: BTreeMap<i32, Partition> = places
            .elements()
            .iter()
            .filter_map(|of| Some((of.partition(), Partition(u16::try_from(of.partition()).ok()?))))
            .collect();
        for (number, partition) in numbers {
            // Of one that the client does not split off, all comes with the others.
            let Some(mut split) = consumer.split_partition_queue(topic, number) else { continue };
            let bell = Arc::clone(queue);
            split.set_nonempty_callback(move || bell.ring());
            queues.push((partition, split));
        }
        Ok(Self { consumer, topic: topic.to_owned(), queues, at: 0 })
    }

    /// Gives to `take` what is there, partition by partition, until that has enough: it says so by false.
    pub(super) fn take(
        &mut self,
        held: &BTreeSet<Partition>,
        mut take: impl FnMut(KafkaResult<BorrowedMessage<'_>>) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        // What came before the queues were split stands before what is in them; then only what is of no partition.
        while let Some(came) = self.consumer.poll(Duration::ZERO) {
            if !take(came)? {
                return Ok(());
            }
        }
        for _ in 0..self.queues.len() {
            let Some((partition, queue)) = self.queues.get(self.at) else { break };
            let (mut messages, mut bytes) = (0, 0);
            while !held.contains(partition) && messages < TURN_MESSAGES && bytes < TURN_BYTES {
                let Some(came) = queue.poll(Duration::ZERO) else { break };
                messages += 1;
                bytes += came.as_ref().map_or(0, size);
                if !take(came)? {
                    return Ok(());
                }
            }
            self.at = (self.at + 1) % self.queues.len();
        }
        Ok(())
    }

    /// Nothing has come for so long again.
    pub(super) fn idle(&self, time: Duration) {
        idle(&self.consumer, &self.topic, time);
    }
}
