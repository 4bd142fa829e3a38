//! Snapshots on demand: a second link to the source, beside the one that the stream comes over.
//!
//! Guarantees: it is made as of one offset of the very history that the stream is of, not before what the stream had
//! come to when it began, or it is given up and made anew; one at a time; what the session has not recorded yet waits in
//! files (see [`receive`]), so that neither the source's memory nor this process's is taken for it. Nothing is acknowledged
//! over the link, and it is closed with the snapshot's last byte. Nothing that happens to it ends the capture.

mod port;
mod receive;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis_io::Connector;
use redis_io::replication::{Announcement, Answer, TransferError, open};
use runtime::{Backoff, Clock, Random, TaskError, backoff, chain};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::port::{Ended, Input, Offer, Offered, Part, Port};
pub(crate) use self::receive::spool_beside;
use crate::intake::Reading;
use crate::looks::Looks;
use crate::orders::SnapshotOrders;
use crate::owned::Owned;
use crate::piece::Lineage;
use crate::progress::{Beside, Progress};
use crate::snapshot::SnapshotCounts;
use crate::source::SourceError;
use crate::spool::{SpoolConfig, SpoolError};

/// Makes snapshots on demand.
pub(crate) struct SecondLink {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) orders: SnapshotOrders,
    pub(crate) offers: mpsc::Sender<Offer>,
    /// How fast it is read, where that is limited.
    pub(crate) reading: Reading,
    /// Where what is not recorded yet waits.
    pub(crate) spool: SpoolConfig,
    pub(crate) progress: Arc<Progress>,
    /// The id of the last one.
    pub(crate) last_id: u64,
    /// What the source has to have.
    pub(crate) owned: Owned,
    /// By which what it sends may be recorded.
    pub(crate) looks: Looks,
}

/// Why one is given up.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("keep a second link to the source")]
    Link(#[from] redis_io::Error),
    #[error("read from {endpoint}")]
    Source { endpoint: String, source: SourceError },
    #[error(
        "the link ended in the middle of the snapshot (the source itself closes it where more waits there than its \
         client-output-buffer-limit for replicas, which its log then says)"
    )]
    Broken(#[source] redis_io::Error),
    #[error("receive the snapshot")]
    Transfer(#[from] TransferError),
    #[error("keep what waits to be recorded")]
    Spool(#[from] SpoolError),
    #[error("the source answered with the history {found}, the stream is of {expected}")]
    OtherHistory { found: String, expected: String },
    #[error("the source makes it as of offset {found}, the stream had come to {expected} already")]
    Behind { found: u64, expected: u64 },
    #[error("the source goes on with a stream that was not asked for")]
    Unasked,
    #[error("{0}")]
    GivenUp(String),
}

/// The first wait after one was given up: the source has just spent a fork on it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// No wait is longer: whoever asked is waiting too.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// So many are begun anew for one order, about a quarter of an hour's worth of waiting: who still wants it then orders it
/// again, and who does not is not to keep the source busy.
const ATTEMPTS: u32 = 20;

/// Why the end of the session ends one.
const SESSION_ENDED: &str = "what the source sends is not recorded any more";

// === impl SecondLink ===

impl SecondLink {
    /// Obeys orders until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), TaskError> {
        self.clear_spool().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            never = self.obey() => match never {},
        }
    }

    async fn obey(&mut self) -> Infallible {
        loop {
            self.orders.next().await;
            self.make().await;
        }
    }

    /// Makes one for all orders given so far, in as many attempts as it takes.
    async fn make(&mut self) {
        let settings = backoff::Settings {
            first: FIRST_WAIT,
            longest: LONGEST_WAIT,
            attempts: Some(ATTEMPTS),
            ..backoff::Settings::default()
        };
        let mut backoff = Backoff::new(settings).expect("the shape is valid");
        loop {
            let order = self.orders.begin();
            let id = self.next_id();
            let lost = match self.attempt(id).await {
                Ok(counts) => {
                    let SnapshotCounts { keys, bytes, .. } = counts;
                    tracing::info!(id, keys, bytes, "a snapshot on demand is recorded");
                    self.progress.beside(Beside::Done);
                    return self.orders.done(order);
                }
                Err(lost) => chain(&lost),
            };
            let wait = backoff.next(&mut self.random);
            self.progress.beside(Beside::Lost(&lost));
            let Some(wait) = wait else {
                tracing::error!(id, why = %lost, "a snapshot on demand is given up for good: ask for it again");
                return self.orders.give_up(order);
            };
            tracing::warn!(id, why = %lost, ?wait, "a snapshot on demand is given up, and begun anew");
            self.clock.sleep(wait).await;
        }
    }

    /// Ids grow, also across restarts.
    fn next_id(&mut self) -> u64 {
        let now_ms = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        self.last_id = now_ms.max(self.last_id + 1);
        self.last_id
    }

    async fn attempt(&mut self, id: u64) -> Result<SnapshotCounts, Lost> {
        self.progress.beside(Beside::Asking(id));
        let mut connection = self.connector.connect().await?;
        let source = self.owned.ask(&mut connection).await.map_err(|source| {
            let endpoint = self.connector.endpoint().to_string();
            Lost::Source { endpoint, source }
        })?;
        let (offer, Offered { begun, parts, ended }) = Offer::new(id, source.keys);
        let session_ended = || Lost::GivenUp(SESSION_ENDED.to_owned());
        self.offers.send(offer).await.map_err(|_| session_ended())?;
        let stream = begun.await.map_err(|_| session_ended())?;
        tokio::select! {
            biased;
            sent = self.transfer(connection, &source.announcement, (&stream, &parts)) => sent?,
            // The session has given it up, and says why.
            () = parts.closed() => {}
        }
        drop(parts);
        ended.await.map_err(|_| session_ended())?.map_err(Lost::GivenUp)
    }

    /// Asks for the snapshot and hands it on, until the source has sent all of it or nobody takes it.
    async fn transfer(
        &mut self,
        connection: redis_io::Connection,
        announcement: &Announcement,
        (stream, parts): (&Lineage, &mpsc::Sender<Part>),
    ) -> Result<(), Lost> {
        let (answer, link) = open(connection, announcement, None).await?;
        let Answer::Full { replid, offset } = answer else { return Err(Lost::Unasked) };
        if replid.as_str() != stream.replication_id {
            let (found, expected) = (replid.to_string(), stream.replication_id.clone());
            return Err(Lost::OtherHistory { found, expected });
        }
        if offset < stream.offset {
            // A replica that lags, behind the same address.
            return Err(Lost::Behind { found: offset, expected: stream.offset });
        }
        self.hand_on(link, offset, parts).await
    }
}
