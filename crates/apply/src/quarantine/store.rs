//! The journal of dead letters: storing them durably, and reading those of a lane.

use std::sync::Arc;

use event::codec::whole_of_lean;
use event::names::record_key;
use event::quarantine::Letter;
use journal::{Append, Appender, Journal, Partition};
use tokio::sync::Mutex;

use super::Draft;
use crate::error::Error;
use crate::scope::Scope;

/// Where dead letters go. All lanes share it.
pub(crate) struct Letters {
    appender: Mutex<Box<dyn Appender>>,
    /// What the destination is called where others have letters there, too; empty where nobody has.
    destination: String,
    /// To read them again.
    pub(crate) journal: Arc<dyn Journal>,
}

/// All letters lie in one partition, so that those of a key are in order.
const PARTITION: Partition = Partition(0);

// === impl Letters ===

impl Letters {
    /// Becomes a writer of the journal of dead letters, for the destination of this name; empty: the only one.
    ///
    /// # Errors
    /// When another process is, where the journal is for one.
    pub(crate) async fn open(journal: Arc<dyn Journal>, name: &str) -> Result<Self, Error> {
        let appender = journal.appender().await.map_err(Error::Letters)?;
        Ok(Self { appender: Mutex::new(appender), destination: name.to_owned(), journal })
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
