//! Looks at the slots of a shard, for as long as it is captured.
//!
//! Guarantees: while changes wait for a look there is one every [`LOOK_INTERVAL`], for all that have come before it; a
//! source that cannot be asked lets nothing be recorded, which is said soon and ends the capture after a while.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis_io::{Connection, Connector};
use runtime::{Clock, chain};

use super::Owned;
use crate::error::{IntakeError, SlotsError};
use crate::limits::{
    ASK_AGAIN_INTERVAL, IDLE_LOOK_INTERVAL, LOOK_INTERVAL, UNREACHED_INTERVAL, UNTOLD_GRACE,
};
use crate::looks::Looks;
use crate::progress::{Obstacle, Progress};
use crate::source::SourceError;

/// Looks at the source whether it still has what is captured.
pub(crate) struct SlotsWatch {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owned: Owned,
    /// What waits for them.
    pub(crate) looks: Looks,
    pub(crate) progress: Arc<Progress>,
    /// For how long to try again: to reach the source, and to be let in again.
    pub(crate) windows: (Duration, Duration),
}

/// That the source does not tell its slots.
#[derive(Debug, Default)]
struct Silence {
    since: Option<Duration>,
    is_told: bool,
}

// === impl SlotsWatch ===

impl SlotsWatch {
    /// Completes when what is captured cannot be recorded any more, since the source has something else or does not tell,
    /// and says why.
    pub(crate) async fn moved(&self) -> SlotsError {
        if !self.owned.is_shard() {
            // No node of a cluster: there is nothing to look at.
            std::future::pending::<Infallible>().await;
        }
        let (mut connection, mut silence) = (None, Silence::default());
        loop {
            let begun = self.clock.monotonic();
            let number = self.looks.begin();
            match self.look(&mut connection).await {
                Ok(()) => {
                    self.looks.found(number);
                    self.has_told(&mut silence);
                    let lasted = self.clock.monotonic().saturating_sub(begun);
                    self.clock.sleep(LOOK_INTERVAL.saturating_sub(lasted)).await;
                    tokio::select! {
                        biased;
                        () = self.looks.wanted() => {}
                        () = self.clock.sleep(IDLE_LOOK_INTERVAL) => {}
                    }
                }
                Err(SourceError::Moved(what)) => {
                    return SlotsError::Moved { endpoint: self.endpoint(), what };
                }
                Err(SourceError::Unfit(what)) => {
                    return SlotsError::Unfit { endpoint: self.endpoint(), what };
                }
                Err(error) => {
                    connection = None;
                    let error = IntakeError::of_source(error, &self.endpoint());
                    silence.since.get_or_insert(begun);
                    match self.note(error, &mut silence) {
                        Ok(wait) => self.clock.sleep(wait).await,
                        Err(error) => return error,
                    }
                }
            }
        }
    }

    async fn look(&self, connection: &mut Option<Connection>) -> Result<(), SourceError> {
        let connection = match connection {
            Some(connection) => connection,
            none => {
                let mut connection = self.connector.connect().await?;
                // One that hangs is to be named as soon as one that is not there.
                connection.set_patience(UNTOLD_GRACE);
                none.insert(connection)
            }
        };
        self.owned.look(connection).await
    }

    fn has_told(&self, silence: &mut Silence) {
        if std::mem::take(silence).is_told {
            tracing::info!(source = %self.endpoint(), "the source tells its slots again");
            self.progress.overcome(Obstacle::Slots);
        }
    }

    /// The source has not told its slots: when to ask again, or why that has no sense any more.
    fn note(&self, error: IntakeError, silence: &mut Silence) -> Result<Duration, SlotsError> {
        let now = self.clock.monotonic();
        let after = now.saturating_sub(*silence.since.get_or_insert(now));
        let is_denial = error.is_denial();
        let window = match is_denial {
            true => self.windows.1,
            // The link ends by itself then, and says more.
            false => self.windows.0.saturating_add(UNTOLD_GRACE),
        };
        if after >= window {
            let (endpoint, last) = (self.endpoint(), Box::new(error));
            return Err(SlotsError::Untold { endpoint, after, last });
        }
        let why = chain(&error);
        if after >= UNTOLD_GRACE {
            if !std::mem::replace(&mut silence.is_told, true) {
                tracing::warn!(
                    error = %why,
                    "the source does not tell its slots: what it sends waits, and nothing of it is recorded"
                );
            }
            self.progress.hindered(Obstacle::Slots, &format!("its slots are not known: {why}"));
        } else {
            tracing::debug!(error = %why, "the source does not tell its slots");
        }
        Ok(if is_denial { ASK_AGAIN_INTERVAL } else { UNREACHED_INTERVAL })
    }

    fn endpoint(&self) -> String {
        self.connector.endpoint().to_string()
    }
}

#[cfg(test)]
mod tests;
