//! The journal of dead letters: storing them durably, reading those of a lane, and telling when that is not possible.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event::codec::whole_of_lean;
use event::names::record_key;
use event::quarantine::Letter;
use journal::{Append, Appender, Journal, OpenError, Partition};
use runtime::clock::timeout;
use runtime::{Clock, StatusNode};
use tokio::sync::Mutex;

use super::Draft;
use crate::error::Error;
use crate::limits;
use crate::scope::Scope;

/// Where dead letters go. All lanes share it.
pub(crate) struct Letters {
    appender: Mutex<Box<dyn Appender>>,
    /// What the destination is called where others have letters there, too; empty where nobody has.
    destination: String,
    /// To read them again.
    pub(crate) journal: Arc<dyn Journal>,
    place: Place,
    /// Whether it was told that they cannot be stored or read.
    told: AtomicBool,
}

/// What the letters are at home in.
pub(crate) struct Place {
    /// Where trouble with them is shown.
    pub(crate) status: StatusNode,
    /// Where the time comes from.
    pub(crate) clock: Arc<dyn Clock>,
}

/// What the status calls the reason for which letters cannot be stored or read.
const LETTERS: &str = "letters";

/// All letters lie in one partition, so that those of a key are in order.
const PARTITION: Partition = Partition(0);

// === impl Letters ===

impl Letters {
    /// Becomes a writer of the journal of dead letters, for the destination of this name; empty: the only one.
    ///
    /// # Errors
    /// When another process is, where the journal is for one.
    pub(crate) async fn open(
        journal: Arc<dyn Journal>,
        name: &str,
        place: Place,
    ) -> Result<Self, Error> {
        let appender = Mutex::new(journal.appender().await.map_err(Error::Letters)?);
        let (destination, told) = (name.to_owned(), AtomicBool::new(false));
        Ok(Self { appender, destination, journal, place, told })
    }

    /// Waits for something that is done with them, and tells when that takes too long: they are `to_be` stored, say.
    pub(crate) async fn watch<T>(
        &self,
        to_be: &str,
        doing: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (mut doing, limit) = (pin!(doing), limits::LETTERS_STALL);
        let done = match timeout(&*self.place.clock, limit, &mut doing).await {
            Ok(done) => done,
            Err(_) => {
                self.trouble(format!(
                    "dead letters cannot be {to_be} for {} s: see that what keeps them (brokers, a disk) answers; it is \
                     tried on",
                    limit.as_secs()
                ));
                doing.await
            }
        };
        if done.is_ok() && self.forget_trouble() {
            tracing::info!("dead letters can be {to_be} again");
        }
        done
    }

    /// Tells what is wrong, once, and shows it until it has passed.
    pub(crate) fn trouble(&self, why: String) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("{why}");
        }
        self.place.status.set(LETTERS, why);
    }

    /// Nothing is wrong, or nobody wants anything of them. Says whether something was.
    pub(crate) fn forget_trouble(&self) -> bool {
        self.place.status.unset(LETTERS);
        self.told.swap(false, Ordering::Relaxed)
    }

    /// They were still not stored when everything was to stop.
    pub(crate) fn unstored(&self) -> Error {
        Error::Letters(OpenError::Unreachable {
            place: format!("the journal of dead letters of {}", self.destination),
            why: "nothing was confirmed".to_owned(),
        })
    }

    /// Whether a letter is about a stream at this destination.
    pub(crate) fn concerns(&self, letter: &Letter, scope: &Scope) -> bool {
        let is_ours = self.destination.is_empty() || letter.destination == self.destination;
        is_ours && letter.stream == scope.stream && letter.incarnation == scope.incarnation
    }

    /// Stores letters. They are durable when this returns.
    ///
    /// # Errors
    /// When the journal does not take them.
    pub(crate) async fn store(
        &self,
        scope: &Scope,
        drafts: &[Draft],
        now_ms: i64,
    ) -> Result<(), Error> {
        let mut records = Vec::new();
        for draft in drafts {
            let event = whole_of_lean(&draft.record).map_err(|error| Error::Contradiction {
                position: draft.position,
                what: format!("a change cannot be kept for later: {error}"),
            })?;
            let letter = Letter {
                stream: scope.stream.clone(),
                incarnation: scope.incarnation,
                position: draft.position,
                db: draft.db,
                keys: draft.keys.clone(),
                change: draft.change,
                why: draft.why.clone(),
                written_ms: now_ms,
                event,
                destination: self.destination.clone(),
            };
            records.extend(letter.encode().into_iter().map(|payload| Append {
                partition: PARTITION,
                key: draft.keys.first().map(record_key).unwrap_or_default(),
                timestamp_ms: now_ms,
                kind: "dead-letter",
                db: draft.db,
                payload,
            }));
        }
        let mut appender = self.appender.lock().await;
        appender.append(&mut records).await.map_err(Error::Letter)?;
        appender.flush().await.map_err(Error::Letter)?;
        Ok(())
    }
}
