//! The link to the source: kept up, drained at socket speed, acknowledged.
//!
//! Guarantees: bytes go into the spool as they come, whatever happens behind it; a lost link is set up again from
//! the very byte that is missing, so that nobody behind the spool notices; where the source has forgotten that
//! byte, a full transfer begins, and says so. The source is told only what the journal holds durably.

use std::sync::Arc;
use std::time::Duration;

use redis_io::replication::{
    Announcement, Answer, Event, Link, LinkReader, LinkWriter, ReplicationId, Resume, SnapshotSize,
    Transfer, open,
};
use redis_io::{Connector, ServerFacts};
use runtime::clock::timeout;
use runtime::{Backoff, Class, Classified, Clock, Random, TaskError, backoff};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::error::IntakeError;
use crate::limits::{ACK_INTERVAL, LINK_SILENCE};
use crate::progress::{Phase, Progress};
use crate::spool::{Lineage, Piece, SpoolWriter};

/// Keeps the link.
pub(crate) struct Intake {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) spool: SpoolWriter,
    pub(crate) place: Option<Place>,
    /// The largest offset that the journal holds of the history at `place`.
    pub(crate) held_offset: u64,
    pub(crate) announcement: Announcement,
    pub(crate) window: Duration,
    pub(crate) durable_offset: watch::Receiver<u64>,
    pub(crate) ack_wanted: Arc<Notify>,
    pub(crate) progress: Arc<Progress>,
}

/// What has been received: the history, and the offset of its last byte that is in the spool or was recorded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) replication_id: ReplicationId,
    pub(crate) offset: u64,
}

/// Acknowledges on its own timer, once there is something to acknowledge.
struct Acks {
    writer: LinkWriter,
    /// Whether the snapshot has been received: before that there is nothing to say.
    begun: bool,
}

// === impl Intake ===

impl Intake {
    /// Keeps the link up until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), TaskError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            result = self.keep() => result.map_err(Into::into),
        }
    }

    async fn keep(&mut self) -> Result<(), IntakeError> {
        let settings =
            backoff::Settings { window: Some(self.window), ..backoff::Settings::default() };
        let mut backoff = Backoff::new(settings).expect("the defaults are valid");
        loop {
            let received = self.place;
            let Err(error) = self.link().await;
            if self.place != received {
                backoff.reset();
            }
            if error.class() != Class::Retry {
                return Err(error);
            }
            let Some(wait) = backoff.next(&mut self.random) else { return Err(error) };
            tracing::warn!(error = %chain(&error), ?wait, "the link to the source is down");
            self.progress.set_phase(Phase::Connecting);
            self.progress.set_trouble(&chain(&error));
            self.clock.sleep(wait).await;
        }
    }

    /// Sets up the link and drains it until it breaks.
    async fn link(&mut self) -> Result<std::convert::Infallible, IntakeError> {
        let connection = self.connector.connect().await?;
        let resume = self
            .place
            .map(|place| Resume { replid: place.replication_id, next_offset: place.offset + 1 });
        let (answer, link) = open(connection, &self.announcement, resume).await?;
        self.progress.set_trouble("");
        match answer {
            Answer::Full { replid, offset } => {
                if let Some(place) = self.place.take() {
                    tracing::warn!(
                        wanted = place.offset + 1,
                        "the source no longer has what follows: it sends everything again"
                    );
                }
                self.progress.set_phase(Phase::Waiting);
                let begun = Place { replication_id: replid, offset };
                self.drain(link, Transfer::full(), begun).await
            }
            Answer::Continue { replid } => {
                let place = self.place.ok_or(IntakeError::Unasked)?;
                let place = self.continued(place, replid).await?;
                self.drain(link, Transfer::resumed(), place).await
            }
        }
    }

    /// The source goes on where we are. Under another id: only if the journal holds nothing of what that id's
    /// history does not have.
    async fn continued(
        &mut self,
        place: Place,
        replid: Option<ReplicationId>,
    ) -> Result<Place, IntakeError> {
        let renamed = replid.filter(|replid| *replid != place.replication_id);
        let Some(replication_id) = renamed else {
            self.spool.push(Piece::Continued(None)).await?;
            return Ok(place);
        };
        let mut connection = self.connector.connect().await?;
        let facts = ServerFacts::gather(&mut connection).await?;
        let branch = facts.replication.and_then(|replication| replication.second_offset);
        // Without the number only what the source has just accepted is known to be common.
        let branch_offset = branch.map_or(place.offset, |second| second.saturating_sub(1));
        if self.held_offset.max(place.offset) > branch_offset {
            self.place = None;
            return Err(IntakeError::Diverged { held: self.held_offset, branch: branch_offset });
        }
        let lineage = Lineage { replication_id: replication_id.to_string(), offset: branch_offset };
        self.spool.push(Piece::Continued(Some(lineage))).await?;
        let place = Place { replication_id, ..place };
        self.place = Some(place);
        Ok(place)
    }

    async fn drain(
        &mut self,
        link: Link,
        mut transfer: Transfer,
        mut place: Place,
    ) -> Result<std::convert::Infallible, IntakeError> {
        let (mut reader, writer) = link.split();
        let mut acks = Acks { writer, begun: self.place.is_some() };
        let mut next_ack = self.clock.sleep(ACK_INTERVAL);
        if acks.begun {
            acks.send(&self.durable_offset).await?;
        }
        loop {
            let chunk = tokio::select! {
                biased;
                // The acknowledgement first: it is small, and without it the source drops us.
                () = &mut next_ack => {
                    acks.send(&self.durable_offset).await?;
                    next_ack = self.clock.sleep(ACK_INTERVAL);
                    continue;
                }
                () = self.ack_wanted.notified() => {
                    acks.send(&self.durable_offset).await?;
                    continue;
                }
                chunk = read(&mut reader, self.clock.as_ref(), acks.begun) => chunk?,
            };
            transfer.feed(chunk);
            while let Some(event) = transfer.next_event()? {
                self.take(event, &mut place, &mut acks).await?;
            }
        }
    }

    async fn take(
        &mut self,
        event: Event,
        place: &mut Place,
        acks: &mut Acks,
    ) -> Result<(), IntakeError> {
        match event {
            Event::Keepalive => {}
            Event::SnapshotStart(size) => {
                let lineage = Lineage {
                    replication_id: place.replication_id.to_string(),
                    offset: place.offset,
                };
                let bytes_expected = match size {
                    SnapshotSize::Length(bytes) => bytes,
                    SnapshotSize::UntilMark => 0,
                };
                self.held_offset = 0;
                self.spool.push(Piece::FullResync { lineage, bytes_expected }).await?;
            }
            Event::SnapshotBytes(bytes) => self.spool.push(Piece::Snapshot(bytes)).await?,
            Event::SnapshotEnd => {
                self.spool.push(Piece::SnapshotEnd).await?;
                self.place = Some(*place);
                acks.begun = true;
                acks.send(&self.durable_offset).await?;
            }
            Event::StreamBytes(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let arrived_ms = self.clock.now_ms();
                self.spool.push(Piece::Stream { bytes, arrived_ms }).await?;
                place.offset += length;
                self.place = Some(*place);
            }
        }
        Ok(())
    }
}

/// The next bytes. On the stream a silence beyond the source's pings means that the link is dead; before it a
/// source may be silent for as long as its snapshot takes.
async fn read(
    reader: &mut LinkReader,
    clock: &dyn Clock,
    on_stream: bool,
) -> Result<bytes::Bytes, IntakeError> {
    if !on_stream {
        return Ok(reader.read_chunk().await?);
    }
    match timeout(clock, LINK_SILENCE, reader.read_chunk()).await {
        Ok(chunk) => Ok(chunk?),
        Err(_) => Err(IntakeError::Silent { endpoint: reader.endpoint().to_string() }),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

// === impl Acks ===

impl Acks {
    async fn send(&mut self, durable_offset: &watch::Receiver<u64>) -> Result<(), IntakeError> {
        if self.begun {
            let offset = *durable_offset.borrow();
            self.writer.ack(offset).await?;
        }
        Ok(())
    }
}
