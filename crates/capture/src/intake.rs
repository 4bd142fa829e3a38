//! The link to the source: kept up, drained at socket speed, acknowledged.
//!
//! Guarantees: bytes go into the spool as they come, whatever happens behind it; a lost link is set
//! up again from the very byte that is missing, so that nobody behind the spool notices; where the
//! source has forgotten that byte, a full transfer begins, and says so. The source is told only
//! what the journal holds durably of the history that it is on.

mod acks;
mod drain;
mod reading;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis_io::Connector;
use redis_io::facts::ReplicationFacts;
use redis_io::replication::{Answer, Link, ReplicationId, Resume, Transfer, open};
use runtime::{Backoff, Class, Classified, Clock, Random, TaskError, Trouble, backoff, chain};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::drain::Incoming;
pub(crate) use self::reading::Reading;
use crate::error::IntakeError;
use crate::orders::TransferOrders;
use crate::owned::Owned;
use crate::piece::{Durable, History, Lineage, Peer, Piece};
use crate::progress::{LinkPhase, Obstacle, Progress};
use crate::source::Source;
use crate::spool::SpoolWriter;

/// Keeps the link.
pub(crate) struct Intake {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) spool: SpoolWriter,
    pub(crate) place: Option<Place>,
    /// The largest offset that the journal holds of the history at `place`.
    pub(crate) held_offset: u64,
    /// The history that is in the spool last.
    pub(crate) history: History,
    /// How fast a snapshot is read.
    pub(crate) reading: Reading,
    /// For how long to try again: to reach the source, and to be let in again.
    pub(crate) windows: (Duration, Duration),
    /// Whether the source has let this process in before.
    pub(crate) was_linked: bool,
    /// Whether the link is down, and since when.
    pub(crate) down: Trouble,
    pub(crate) durable: watch::Receiver<Durable>,
    pub(crate) ack_wanted: Arc<Notify>,
    pub(crate) orders: TransferOrders,
    pub(crate) progress: Arc<Progress>,
    /// What the source has to have.
    pub(crate) owned: Owned,
}

/// What has been received: the history, and the offset of its last byte that is in the spool or was
/// recorded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) replication_id: ReplicationId,
    pub(crate) offset: u64,
}

// === impl Intake ===

impl Intake {
    /// Keeps the link up until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), TaskError> {
        let kept = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            Err(error) = self.keep() => error,
        };
        self.progress.set_link(LinkPhase::Connecting);
        self.progress.hindered(Obstacle::Link, &chain(&kept));
        tracing::warn!(
            "the link to the source has ended for good: what has come is recorded, then the error follows"
        );
        Err(kept.into())
    }

    async fn keep(&mut self) -> Result<Infallible, IntakeError> {
        let settings =
            backoff::Settings { window: Some(self.windows.0), ..backoff::Settings::default() };
        let mut backoff = Backoff::new(settings).expect("the defaults are valid");
        loop {
            let received = self.place;
            let begun = self.clock.monotonic();
            let Err(error) = self.link().await;
            if self.place != received {
                backoff.reset();
            } else {
                backoff.charge(self.clock.monotonic().saturating_sub(begun));
            }
            let denied = self.was_linked && error.is_denial();
            let in_time = !denied || backoff.spent() < self.windows.1;
            if (!denied && error.class() != Class::Retry) || !in_time {
                return Err(error);
            }
            let Some(wait) = backoff.next(&mut self.random) else { return Err(error) };
            self.down.begin(self.clock.monotonic());
            if error.leads_to_resync() {
                tracing::warn!(why = %error, "everything is read again from the source, in a new epoch");
                self.place = None;
                self.progress.count_resync(&error.to_string());
            } else {
                tracing::warn!(error = %chain(&error), ?wait, "the link to the source is down");
            }
            self.progress.set_link(LinkPhase::Connecting);
            self.progress.hindered(Obstacle::Link, &chain(&error));
            self.clock.sleep(wait).await;
        }
    }

    /// Sets up the link and drains it until it breaks.
    async fn link(&mut self) -> Result<Infallible, IntakeError> {
        let mut connection = self.connector.connect().await?;
        let source = self.owned.ask(&mut connection).await;
        let source = source.map_err(|error| IntakeError::of_source(error, &self.endpoint()))?;
        self.progress.set_server(&source.peer.shown);
        let resume = self
            .place
            .map(|place| Resume { replid: place.replication_id, next_offset: place.offset + 1 });
        // A source that waits for other replicas before it makes a snapshot does not answer until
        // it begins.
        self.progress.set_link(LinkPhase::Waiting);
        let (answer, link) = open(connection, &source.announcement, resume).await?;
        self.was_linked = true;
        self.progress.overcome(Obstacle::Link);
        if let Some(after) = self.down.end(self.clock.monotonic()) {
            tracing::info!(source = %self.endpoint(), after, "the link to the source is up again");
        }
        match answer {
            Answer::Full { replid, offset } => {
                if let Some(place) = self.place.take() {
                    tracing::warn!(
                        wanted = place.offset + 1,
                        "the source no longer has what follows: it sends everything again"
                    );
                }
                let place = Place { replication_id: replid, offset };
                self.follow(link, Transfer::full(), place, source).await
            }
            Answer::Continue { replid } => {
                let place = self.continued(replid, &source).await?;
                self.progress.set_link(LinkPhase::Up);
                self.follow(link, Transfer::resumed(), place, source).await
            }
        }
    }

    async fn follow(
        &mut self,
        link: Link,
        transfer: Transfer,
        place: Place,
        source: Source,
    ) -> Result<Infallible, IntakeError> {
        let Source { peer, keys, .. } = source;
        self.drain(link, Incoming { transfer, place, peer, keys }).await
    }

    /// The source goes on where we are. Under another id: only if the journal holds nothing of what
    /// that id's history does not have.
    async fn continued(
        &mut self,
        replid: Option<ReplicationId>,
        source: &Source,
    ) -> Result<Place, IntakeError> {
        let endpoint = || self.endpoint();
        let place = self.place.ok_or_else(|| IntakeError::Unasked { endpoint: endpoint() })?;
        let peer: Peer = source.peer.clone();
        let renamed = replid.filter(|replid| *replid != place.replication_id);
        let Some(replication_id) = renamed else {
            self.spool.push(Piece::Continued { peer, branch: None }).await?;
            return Ok(place);
        };
        let changed = || IntakeError::Changed { endpoint: endpoint() };
        let branch = branch_of(source.replication.as_ref(), &place, replication_id);
        let branch = branch.ok_or_else(changed)?;
        let held = self.held_offset.max(place.offset);
        if held > branch {
            return Err(IntakeError::Diverged { held, branch });
        }
        let lineage = Lineage { replication_id: replication_id.to_string(), offset: branch };
        self.spool.push(Piece::Continued { peer, branch: Some(lineage) }).await?;
        let place = Place { replication_id, ..place };
        self.place = Some(place);
        Ok(place)
    }

    fn endpoint(&self) -> String {
        self.connector.endpoint().to_string()
    }
}

/// The last offset that both histories have; none if what the source said before it granted the
/// link is of other histories. Where it tells no offset, only what it has granted is known to be
/// common.
fn branch_of(
    facts: Option<&ReplicationFacts>,
    place: &Place,
    replication_id: ReplicationId,
) -> Option<u64> {
    let Some(facts) = facts else { return Some(place.offset) };
    let is_ours = facts.replid2.as_deref() == Some(place.replication_id.as_str());
    if facts.replid != replication_id.as_str() || !is_ours {
        return None;
    }
    Some(facts.second_offset.map_or(place.offset, |second| second.saturating_sub(1)))
}
