//! Follows the notes about a stream, from the first on, on a thread of its own.
//!
//! Guarantees: [`State`] is always that of a place in the notes, and gets to every later one; whoever waits for
//! something in it is woken. The thread ends with the last handle, at the latest after one poll.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use runtime::Clock;
use tokio::sync::watch;

use super::client::Quiet;
use super::config::KafkaConfig;
use super::notes::State;
use super::rights::Asked;
use super::settings::{self, Role};
use crate::{OpenError, ReadError, Writer};

/// How long one poll takes when nothing comes: also the longest that the end of the thread is put off.
const POLL: Duration = Duration::from_millis(100);

/// The notes of one stream, kept up to date.
pub(super) struct Follower {
    consumer: BaseConsumer<Quiet>,
    /// For questions about topics. A broker answers one request of a connection after the other, so on the
    /// consumer's they would wait for a fetch that waits for news.
    asker: BaseConsumer<Quiet>,
    clock: Arc<dyn Clock>,
    place: String,
    topic: String,
    known: Mutex<Known>,
    /// Counts what has been taken in, for those who wait in tasks.
    news: watch::Sender<u64>,
    /// The same for those who wait in threads.
    told: Condvar,
    ended: AtomicBool,
}

/// What the notes say, and how far they have been read.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) state: State,
    /// The offset of the next note.
    pub(super) next: u64,
    /// When each writer was last heard of.
    heard: BTreeMap<Writer, Heard>,
    failed: Option<ReadError>,
}

/// When a writer was last heard of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// By the clock's monotonic time; the reading of old notes counts as well.
    pub(super) at: Duration,
    /// What the brokers noted as its time, Unix milliseconds.
    pub(super) at_ms: i64,
}

/// Keeps the thread running, for as long as a journal, a writer or a reader needs it; dropped, it ends.
pub(super) struct Following(Arc<Follower>);

// === impl Following ===

impl Following {
    /// Reads the notes from their start and follows them. Blocks for a round trip.
    pub(super) fn start(config: &KafkaConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let topic = config.meta_topic();
        let made = settings::of(Role::Reader, config).create_with_context(Quiet::new(config));
        let consumer: BaseConsumer<Quiet> =
            made.map_err(|error| super::rights::settings_error(&error))?;
        let made = settings::of(Role::Admin, config).create_with_context(Quiet::new(config));
        let asker = made.map_err(|error| super::rights::settings_error(&error))?;
        let mut places = TopicPartitionList::new();
        let place = config.place();
        places
            .add_partition_offset(&topic, 0, rdkafka::Offset::Beginning)
            .and_then(|()| super::client::assign(&consumer, &topic, &places))
            .map_err(|error| Asked::Read(&topic).open_error(&error, &place))?;
        let follower = Arc::new(Follower {
            consumer,
            asker,
            clock,
            place,
            topic,
            known: Mutex::default(),
            news: watch::Sender::new(0),
            told: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let thread = Arc::clone(&follower);
        super::client::thread("kafka-notes", move || thread.run())?;
        Ok(Self(follower))
    }

    pub(super) fn follower(&self) -> &Arc<Follower> {
        &self.0
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

// === impl Known ===

impl Known {
    /// When a writer was last heard of; never: long ago.
    pub(super) fn heard(&self, writer: Writer) -> Heard {
        self.heard.get(&writer).copied().unwrap_or_default()
    }
}

// === impl Follower ===

impl Follower {
    /// A client for questions about topics; they may be asked on any thread, and block.
    pub(super) fn asker(&self) -> &BaseConsumer<Quiet> {
        &self.asker
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Looks at what is known now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.lock())
    }

    /// Waits in a task until `look` finds something. Cancel-safe.
    pub(super) async fn until<T>(
        &self,
        mut look: impl FnMut(&Known) -> Option<T>,
    ) -> Result<T, ReadError> {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            if let Some(found) = self.find(&mut look)? {
                return Ok(found);
            }
            news.changed().await.expect("the sender lives in the follower");
        }
    }

    /// Waits in a thread until `look` finds something, or the time is over.
    pub(super) fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&Known) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let mut known = self.known.lock();
        let mut timed_out = false;
        loop {
            if let Some(found) = look(&known) {
                return Ok(Some(found));
            }
            if let Some(failed) = &known.failed {
                return Err(failed.clone());
            }
            if timed_out {
                return Ok(None);
            }
            timed_out = self.told.wait_for(&mut known, limit).timed_out();
        }
    }

    fn find<T>(&self, look: impl FnOnce(&Known) -> Option<T>) -> Result<Option<T>, ReadError> {
        let known = self.known.lock();
        match (look(&known), &known.failed) {
            (None, Some(failed)) => Err(failed.clone()),
            (found, _) => Ok(found),
        }
    }

    fn run(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            // It has nothing to say but what went wrong, which would pile up.
            drop(self.asker.poll(Duration::ZERO));
            match self.consumer.poll(POLL) {
                None => super::client::idle(&self.consumer, &self.topic, POLL),
                Some(Ok(message)) => {
                    let key = message.key().unwrap_or_default();
                    let value = message.payload().unwrap_or_default();
                    let next = u64::try_from(message.offset()).unwrap_or(0) + 1;
                    let at_ms = message.timestamp().to_millis().unwrap_or_default();
                    self.take(next, at_ms, |state| state.note(key, value));
                }
                Some(Err(error)) => self.trouble(&error),
            }
        }
    }

    fn take(&self, next: u64, at_ms: i64, note: impl FnOnce(&mut State) -> Option<Writer>) {
        let mut known = self.known.lock();
        let lives = note(&mut known.state);
        known.next = next;
        known.failed = None;
        if let Some(writer) = lives {
            known.heard.insert(writer, Heard { at: self.clock.monotonic(), at_ms });
        }
        drop(known);
        self.announce();
    }

    /// What passes is librdkafka's to wait for; what does not is told.
    fn trouble(&self, error: &KafkaError) {
        if super::client::passes(error) {
            tracing::debug!(topic = self.topic, %error, "trouble with the notes of a stream");
            return;
        }
        let failed = Asked::Read(&self.topic).read_error(error, &self.place);
        self.known.lock().failed = Some(failed);
        self.announce();
    }

    fn announce(&self) {
        self.news.send_modify(|count| *count += 1);
        self.told.notify_all();
    }
}
