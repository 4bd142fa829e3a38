//! Whether the brokers are there: a thread of each member of a group asks the leaders of all partitions now and then.
//!
//! Guarantees: where no answer comes for [`STALL_AFTER`] that is told, once, within [`LOOK_EVERY`] and as long again;
//! the first answer takes it back. The library itself goes on trying without a word. The thread ends by itself soon
//! after the handle is gone.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

use super::config::KafkaConfig;
use super::follow::Follower;
use super::offsets;
use super::rights::said;
use crate::{Health, OpenError};

/// After how long without an answer the brokers count as away: longer than a leader takes to move. Also the longest
/// that one question is waited for.
const STALL_AFTER: Duration = Duration::from_secs(5);
/// How often it is asked: one small request to each broker.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps the thread running; dropped, it ends.
pub(super) struct Presence {
    seen: Arc<Seen>,
}

/// What the thread tells, and is told.
struct Seen {
    health: watch::Sender<Health>,
    ended: Mutex<bool>,
    end: Condvar,
}

/// What the thread has.
struct Lookout {
    config: KafkaConfig,
    follower: Arc<Follower>,
    seen: Arc<Seen>,
}

// === impl Presence ===

impl Presence {
    /// Begins to ask.
    pub(super) fn watch(config: &KafkaConfig, follower: &Arc<Follower>) -> Result<Self, OpenError> {
        let seen = Arc::new(Seen {
            health: watch::Sender::new(Health::Accepting),
            ended: Mutex::new(false),
            end: Condvar::new(),
        });
        let lookout = Lookout {
            config: config.clone(),
            follower: Arc::clone(follower),
            seen: Arc::clone(&seen),
        };
        super::client::thread("kafka-presence", move || lookout.run())?;
        Ok(Self { seen })
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.seen.health.subscribe()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        *self.seen.ended.lock() = true;
        self.seen.end.notify_all();
    }
}

// === impl Seen ===

impl Seen {
    /// Waits for the next look; false when there is none any more.
    fn rest(&self) -> bool {
        let mut ended = self.ended.lock();
        if !*ended {
            // Woken for nothing it looks a little early.
            self.end.wait_for(&mut ended, LOOK_EVERY);
        }
        !*ended
    }

    /// Tells what has changed only.
    fn tell(&self, trouble: Option<String>) {
        self.health.send_if_modified(|health| {
            if matches!(health, Health::Stalled(_)) == trouble.is_some() {
                return false;
            }
            *health = trouble.map_or(Health::Accepting, Health::Stalled);
            true
        });
    }
}

// === impl Lookout ===

impl Lookout {
    fn run(self) {
        let clock = self.follower.clock();
        // When the first look began that had no answer, since the last one that had.
        let mut silent_since = None;
        while self.seen.rest() {
            let began = clock.monotonic();
            match self.look() {
                Ok(()) => {
                    silent_since = None;
                    self.follower.asker().context().forget_trouble();
                    self.seen.tell(None);
                }
                Err(error) => {
                    let since = *silent_since.get_or_insert(began);
                    if clock.monotonic().saturating_sub(since) >= STALL_AFTER {
                        self.seen.tell(Some(self.trouble(&error)));
                    }
                }
            }
        }
    }

    fn look(&self) -> Result<(), KafkaError> {
        let KafkaConfig { topic, partitions, .. } = &self.config;
        offsets::answer_within(self.follower.asker(), (topic, *partitions), STALL_AFTER)
    }

    fn trouble(&self, error: &KafkaError) -> String {
        use RDKafkaErrorCode as Code;
        let silent = [Code::OperationTimedOut, Code::BrokerTransportFailure, Code::AllBrokersDown];
        let is_silence = error.rdkafka_error_code().is_some_and(|code| silent.contains(&code));
        let why = match (is_silence, self.follower.asker().context().trouble()) {
            (true, Some(trouble)) => trouble,
            (true, None) => "no answer".to_owned(),
            (false, _) => said(error),
        };
        format!(
            "{} cannot be read for {} s ({why}): see that its brokers run and can be reached; it is tried on",
            self.config.place(),
            STALL_AFTER.as_secs()
        )
    }
}
