//! A log that many processes write at once: a topic of one partition without a lease.
//!
//! Guarantees: each writer's records in its own order, none lost and none twice; between writers the order that the
//! brokers give. Whoever reads sees them all, and tells writers apart by what is in the records. Nothing is forgotten
//! but by [`Journal::trim`] and by the topic's own retention. There are no named readers.

mod appender;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as Place, TopicPartitionList};
use runtime::Clock;

use self::appender::SharedAppender;
use super::client::{self, Quiet, drop_aside, passes};
use super::config::KafkaConfig;
use super::offsets;
use super::reader::{KafkaReader, LastWord, Queue};
use super::record::{Copies, FIRST_TIME_MS, MAX_RECORD_BYTES, Origin};
use super::rights::{Asked, of_opener, settings_error};
use super::settings::{self, Role};
use super::topics::Topics;
use crate::{
    AppendError, Appender, Description, Journal, Listener, Mailbox, Offset, OpenError, Partition,
    PartitionRange, ReadError, Reader,
};

/// How long one poll takes when nothing comes.
const POLL: Duration = Duration::from_millis(100);
/// The only partition.
const ONLY: Partition = Partition(0);

/// A log beside a stream.
pub struct SharedLog {
    config: KafkaConfig,
    clock: Arc<dyn Clock>,
    /// What its records say whom they are for.
    addressee: String,
    /// Asks for offsets.
    asker: Arc<BaseConsumer<Quiet>>,
}

// === impl SharedLog ===

impl SharedLog {
    /// Opens the log whose topic is `<topic of the stream>.<ending>`, making it where it is missing and that is
    /// allowed. Every record that is appended says in the header `kf-for` that it is for `addressee`.
    ///
    /// # Errors
    /// If the brokers cannot be asked, a right is missing, or the topic has other properties.
    pub async fn open(
        stream: &KafkaConfig,
        ending: &str,
        addressee: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let config = stream.beside(ending);
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(OpenError::Settings { what: problems.join("; ") });
        }
        Topics::new(&config, Arc::clone(&clock))?.ensure_alone().await?;
        let asker = Arc::new(consumer(&config)?);
        Ok(Self { config, clock, addressee: addressee.to_owned(), asker })
    }

    /// Makes the topic for those who may not, where it is missing.
    ///
    /// # Errors
    /// If the brokers cannot be asked, or the right is missing.
    pub async fn make_for_others(
        stream: &KafkaConfig,
        ending: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<(), OpenError> {
        Topics::new(&stream.beside(ending), clock)?.make_missing().await
    }

    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&BaseConsumer<Quiet>, &KafkaConfig) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (asker, config) = (Arc::clone(&self.asker), self.config.clone());
        let asked = tokio::task::spawn_blocking(move || ask(&asker, &config)).await;
        asked.expect("asking does not panic")
    }

    async fn range(&self) -> Result<(u64, u64), ReadError> {
        self.ask(|asker, config| {
            let found = offsets::first_and_next(asker, &config.topic, 1);
            let found = found.map_err(|error| failed(config, &error))?;
            Ok(found.first().copied().unwrap_or_default())
        })
        .await
    }

    async fn read(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn Reader>, ReadError> {
        if let Some(&(partition, _)) = from.iter().find(|(partition, _)| *partition != ONLY) {
            return Err(ReadError::NoSuchPartition { partition, count: 1 });
        }
        let (start, end) = self.range().await?;
        let queue = Arc::<Queue>::default();
        let Some(&(partition, offset)) = from.first() else {
            return Ok(Box::new(KafkaReader::new(queue)));
        };
        if offset.0 < start {
            return Err(ReadError::OutOfRetention { partition, offset, start: Offset(start) });
        }
        let fetch = Fetch {
            config: self.config.clone(),
            consumer: consumer(&self.config).map_err(of_opener)?,
            queue: Arc::clone(&queue),
            wanted: offset,
        };
        // A broker refuses places beyond its end.
        fetch.assign(offset.0.min(end))?;
        client::thread("kafka-shared", move || fetch.run())
            .map_err(|error| ReadError::Failed(error.to_string()))?;
        Ok(Box::new(KafkaReader::new(queue)))
    }

    fn check(places: &[(Partition, Offset)]) -> Result<(), AppendError> {
        match places.iter().find(|(partition, _)| *partition != ONLY) {
            Some(&(partition, _)) => Err(AppendError::NoSuchPartition { partition, count: 1 }),
            None => Ok(()),
        }
    }

    fn no_names() -> AppendError {
        AppendError::Failed("a log that is shared has no named readers".to_owned())
    }
}

/// Nobody writes such a log alone, who could be asked for something.
struct NoMailbox;

impl Mailbox for NoMailbox {
    fn post(&self, _: Bytes) -> BoxFuture<'_, Result<(), AppendError>> {
        let what = "a log that is shared has no writer to ask".to_owned();
        Box::pin(std::future::ready(Err(AppendError::Failed(what))))
    }

    fn listen(&self) -> BoxFuture<'_, Result<Box<dyn Listener>, ReadError>> {
        let what = "a log that is shared has no writer to be asked".to_owned();
        Box::pin(std::future::ready(Err(ReadError::Failed(what))))
    }
}

impl Journal for SharedLog {
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>> {
        Box::pin(async move {
            let (start, end) = self.range().await?;
            let (start, end) = (Offset(start), Offset(end));
            Ok(Description {
                stream: self.config.stream.clone(),
                // What is in it says to which stream it belongs.
                incarnation: 0,
                totally_ordered: true,
                max_record_bytes: MAX_RECORD_BYTES,
                partitions: vec![PartitionRange { start, durable: end, end }],
                readers: Vec::new(),
            })
        })
    }

    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        Box::pin(async move {
            let clock = Arc::clone(&self.clock);
            let appender = SharedAppender::new(&self.config, &self.addressee, clock)?;
            Ok(Box::new(appender) as Box<dyn Appender>)
        })
    }

    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async move { self.read(&from).await })
    }

    fn mailbox(&self) -> Box<dyn Mailbox> {
        Box::new(NoMailbox)
    }

    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>> {
        Box::pin(async move {
            if partition != ONLY {
                return Err(ReadError::NoSuchPartition { partition, count: 1 });
            }
            let time = timestamp_ms.max(FIRST_TIME_MS);
            let found = self.ask(move |asker, config| {
                let found = offsets::at_time(asker, &config.topic, ONLY.0, time);
                found.map_err(|error| failed(config, &error))
            });
            match found.await? {
                Some(offset) => Ok(Offset(offset)),
                None => Ok(Offset(self.range().await?.1)),
            }
        })
    }

    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            Self::check(&before)?;
            let range = self.range().await;
            let (_, end) = range.map_err(|error| AppendError::Failed(error.to_string()))?;
            let before = before.into_iter().map(|(of, offset)| (of, offset.0.min(end)));
            super::delete_records(&self.config, before.collect()).await
        })
    }

    fn release(
        &self,
        _: &str,
        _: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async { Err(Self::no_names()) })
    }

    fn forget_reader(&self, _: &str) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async { Err(Self::no_names()) })
    }
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        drop_aside(Arc::clone(&self.asker));
    }
}

/// What the thread of a reader has.
struct Fetch {
    config: KafkaConfig,
    consumer: BaseConsumer<Quiet>,
    queue: Arc<Queue>,
    wanted: Offset,
}

// === impl Fetch ===

impl Fetch {
    fn assign(&self, offset: u64) -> Result<(), ReadError> {
        let mut places = TopicPartitionList::new();
        let place = Place::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
        let added = places.add_partition_offset(&self.config.topic, 0, place);
        let assigned =
            added.and_then(|()| client::assign(&self.consumer, &self.config.topic, &places));
        assigned.map_err(|error| self.failed(&error))
    }

    /// Until nobody reads any more, or something does not pass.
    fn run(self) {
        let _last_word = LastWord(Arc::clone(&self.queue));
        let mut copies = Copies::default();
        while self.queue.has_room() {
            match self.consumer.poll(POLL) {
                None => client::idle(&self.consumer, &self.config.topic, POLL),
                Some(Ok(message)) => {
                    let entry = Origin::of(&message).entry(&message, &mut copies);
                    if entry.offset >= self.wanted {
                        self.queue.push(vec![entry]);
                    }
                }
                Some(Err(error)) if passes(&error) => {
                    tracing::debug!(topic = self.config.topic, %error, "trouble with reading");
                }
                Some(Err(error)) => {
                    self.queue.fail(self.failed(&error));
                    return;
                }
            }
        }
    }

    fn failed(&self, error: &KafkaError) -> ReadError {
        let code = error.rdkafka_error_code();
        let left = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
        if code.is_some_and(|code| left.contains(&code)) {
            let place = self.config.place();
            return ReadError::Failed(format!("{place}: what was read is not there any more"));
        }
        Asked::Read(&self.config.topic).read_error(error, &self.config.place())
    }
}

fn consumer(config: &KafkaConfig) -> Result<BaseConsumer<Quiet>, OpenError> {
    let made = settings::of(Role::Reader, config).create_with_context(Quiet::new(config));
    made.map_err(|error| settings_error(&error))
}

fn failed(config: &KafkaConfig, error: &KafkaError) -> ReadError {
    Asked::Describe(&config.topic).read_error(error, &config.place())
}
