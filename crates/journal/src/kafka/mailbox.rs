//! Requests to the stream's writer, in a topic of their own: `<topic>.requests`, one partition, kept for an hour.
//!
//! Whoever listens makes the topic where it is missing; whoever posts does not, since nobody would hear it. Clients are
//! made for each: a request is a rare thing, and a connection that is kept for it would not be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use runtime::Clock;
use tokio::sync::mpsc;

use super::client::{Quiet, assign, idle, passes, thread};
use super::config::KafkaConfig;
use super::notary::Notary;
use super::offsets;
use super::rights::{Asked, as_append, of_opener};
use super::settings::{self, Role};
use super::topics::Topics;
use crate::mailbox::{Listener, MAX_REQUEST_BYTES, Mailbox, check};
use crate::{AppendError, OpenError, ReadError};

/// The key of every request: they have one partition.
const KEY: &str = "request";
/// So many wait for who listens; what comes beyond waits at the brokers.
const WAITING: usize = 64;
/// How long one poll takes when nothing comes: also the longest that the end of the thread is put off.
const POLL: Duration = Duration::from_millis(100);
/// Polls of a twentieth of a second for a request to be confirmed.
const POST_POLLS: usize = 200;

/// The requests of one stream.
#[derive(Clone)]
pub(super) struct KafkaMailbox {
    config: KafkaConfig,
    clock: Arc<dyn Clock>,
}

struct KafkaListener(mpsc::Receiver<Result<Bytes, ReadError>>);

/// The thread behind a listener.
struct Ear {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    place: String,
    heard: mpsc::Sender<Result<Bytes, ReadError>>,
}

// === impl KafkaMailbox ===

impl KafkaMailbox {
    pub(super) fn new(config: &KafkaConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config: config.clone(), clock }
    }

    async fn put(&self, request: Bytes) -> Result<(), OpenError> {
        Topics::new(&self.config, Arc::clone(&self.clock))?.ensure_requests(false).await?;
        let config = self.config.clone();
        let posting = move || {
            let notary = Notary::to(&config, config.requests_topic())?;
            notary.send_and_wait(KEY, &request, POST_POLLS).map(drop)
        };
        tokio::task::spawn_blocking(posting).await.expect("posting does not panic")
    }

    async fn follow(&self) -> Result<KafkaListener, OpenError> {
        Topics::new(&self.config, Arc::clone(&self.clock))?.ensure_requests(true).await?;
        let config = self.config.clone();
        let starting = tokio::task::spawn_blocking(move || start(&config)).await;
        starting.expect("asking does not panic")
    }
}

impl Mailbox for KafkaMailbox {
    fn post(&self, request: Bytes) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            check(&request)?;
            self.put(request).await.map_err(as_append)
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Box<dyn Listener>, ReadError>> {
        Box::pin(async move {
            let listener = self.follow().await.map_err(of_opener)?;
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
}

/// Begins to listen at the end of the topic, as it is now.
fn start(config: &KafkaConfig) -> Result<KafkaListener, OpenError> {
    let (topic, place) = (config.requests_topic(), config.place());
    let made = settings::of(Role::Reader, config).create_with_context(Quiet::new(config));
    let consumer: BaseConsumer<Quiet> =
        made.map_err(|error| super::rights::settings_error(&error))?;
    let denied = |error: &KafkaError| Asked::Describe(&topic).open_error(error, &place);
    let found = offsets::first_and_next(&consumer, &topic, 1).map_err(|error| denied(&error))?;
    let end = found.first().map_or(0, |(_, next)| *next);
    let end = i64::try_from(end).unwrap_or(i64::MAX);
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(&topic, 0, rdkafka::Offset::Offset(end))
        .and_then(|()| assign(&consumer, &topic, &places))
        .map_err(|error| Asked::Read(&topic).open_error(&error, &place))?;
    let (heard, hears) = mpsc::channel(WAITING);
    let ear = Ear { consumer, topic, place, heard };
    thread("kafka-requests", move || ear.run())?;
    Ok(KafkaListener(hears))
}

// === impl Ear ===

impl Ear {
    fn run(&self) {
        while !self.heard.is_closed() {
            let heard = match self.consumer.poll(POLL) {
                None => {
                    idle(&self.consumer, &self.topic, POLL);
                    continue;
                }
                Some(Ok(message)) => {
                    let request = message.payload().unwrap_or_default();
                    if request.len() > MAX_REQUEST_BYTES {
                        let (topic, offset) = (&self.topic, message.offset());
                        tracing::warn!(
                            topic,
                            offset,
                            "what was put there is too large for a request"
                        );
                        continue;
                    }
                    Ok(Bytes::copy_from_slice(request))
                }
                Some(Err(error)) if passes(&error) => {
                    tracing::debug!(topic = self.topic, %error, "trouble with requests");
                    continue;
                }
                Some(Err(error)) => Err(Asked::Read(&self.topic).read_error(&error, &self.place)),
            };
            let ends = heard.is_err();
            if self.heard.blocking_send(heard).is_err() || ends {
                return;
            }
        }
    }
}

// === impl KafkaListener ===

impl Listener for KafkaListener {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, ReadError>> {
        Box::pin(async {
            let ended = || ReadError::Failed("nobody listens for requests any more".to_owned());
            self.0.recv().await.ok_or_else(ended)?
        })
    }
}
