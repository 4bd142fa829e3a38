//! One link from its first byte to its last: what comes goes into the spool, acknowledgements out.

use std::convert::Infallible;

use redis_io::replication::{Event, Link, SnapshotSize, Transfer};
use runtime::clock::{Sleep, over};

use super::acks::Acks;
use super::{Intake, Place};
use crate::error::IntakeError;
use crate::limits::{BUSY_READ_BYTES, BUSY_READ_INTERVAL, LINK_SILENCE};
use crate::piece::{FullResync, Lineage, Peer, Piece};
use crate::progress::LinkPhase;
use crate::room::Room;

/// What comes over one link.
pub(super) struct Incoming {
    pub(super) transfer: Transfer,
    /// The history, and the offset of the last byte of its stream that is in the spool.
    pub(super) place: Place,
    pub(super) peer: Peer,
    /// Keys that the source holds.
    pub(super) keys: u64,
}

// === impl Intake ===

impl Intake {
    pub(super) async fn drain(
        &mut self,
        link: Link,
        mut incoming: Incoming,
    ) -> Result<Infallible, IntakeError> {
        let (mut reader, writer) = link.split();
        let mut acks = Acks::new(writer, self.durable.clone(), self.place.is_some());
        let mut interval = acks.interval();
        let mut next_ack = self.clock.sleep(interval);
        let mut heard = self.clock.monotonic();
        // Until when a busy stream is left to gather.
        let mut rest: Option<Sleep> = None;
        acks.send(self.history, incoming.place.offset).await?;
        loop {
            tokio::select! {
                biased;
                // The acknowledgement first: it is small, and without it the source drops us.
                () = &mut next_ack => {
                    acks.tick(self.history, incoming.place.offset).await?;
                    interval = acks.interval();
                    next_ack = self.clock.sleep(interval);
                    // Before the stream a source may be silent for as long as its snapshot takes.
                    let silence = self.clock.monotonic().saturating_sub(heard);
                    if acks.have_begun() && silence > LINK_SILENCE {
                        return Err(IntakeError::Silent { endpoint: self.endpoint() });
                    }
                }
                () = self.ack_wanted.notified() => {
                    acks.send(self.history, incoming.place.offset).await?;
                    acks.await_durable();
                }
                cause = self.orders.next() => match self.place {
                    Some(_) => return Err(IntakeError::Ordered(cause)),
                    None => tracing::info!("a full transfer is under way already"),
                },
                () = acks.grown() => acks.send(self.history, incoming.place.offset).await?,
                () = over(rest.as_mut()) => rest = None,
                () = self.reading.passes() => {}
                chunk = reader.read_chunk(), if rest.is_none() && !self.reading.is_held() => {
                    heard = self.clock.monotonic();
                    let chunk = chunk?;
                    let is_busy = chunk.len() >= BUSY_READ_BYTES && reader.is_drained();
                    if is_busy && acks.have_begun() {
                        rest = Some(self.clock.sleep(BUSY_READ_INTERVAL));
                    }
                    self.reading.count(chunk.len(), !acks.have_begun());
                    incoming.transfer.feed(chunk);
                    self.take_all(&mut incoming, &mut acks).await?;
                    if acks.interval() < interval {
                        interval = acks.interval();
                        next_ack = self.clock.sleep(interval);
                    }
                }
            }
        }
    }

    async fn take_all(
        &mut self,
        incoming: &mut Incoming,
        acks: &mut Acks,
    ) -> Result<(), IntakeError> {
        loop {
            let next = incoming.transfer.next_event().map_err(|source| {
                let endpoint = self.endpoint();
                IntakeError::Transfer { endpoint, source }
            })?;
            match next {
                None => return Ok(()),
                Some(event) => self.take(event, incoming, acks).await?,
            }
        }
    }

    async fn take(
        &mut self,
        event: Event,
        incoming: &mut Incoming,
        acks: &mut Acks,
    ) -> Result<(), IntakeError> {
        match event {
            Event::Keepalive => {}
            Event::SnapshotStart(size) => self.begin_snapshot(size, incoming).await?,
            Event::SnapshotBytes(bytes) => {
                self.put(Piece::Snapshot(bytes), incoming, acks).await?;
            }
            Event::SnapshotEnd => {
                self.spool.push(Piece::SnapshotEnd).await?;
                self.place = Some(incoming.place);
                acks.begin();
                // Without the first one the source may hold the stream back.
                acks.send(self.history, incoming.place.offset).await?;
            }
            Event::StreamBytes(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let arrived_ms = self.clock.now_ms();
                acks.stream_flows();
                self.put(Piece::Stream { bytes, arrived_ms }, incoming, acks).await?;
                incoming.place.offset += length;
                self.place = Some(incoming.place);
            }
        }
        Ok(())
    }

    /// Puts a piece into the spool. Waits while the disk is full, with the link kept: what the source sends meanwhile
    /// waits at the source, which gives the link up if it becomes too much.
    async fn put(
        &mut self,
        piece: Piece,
        incoming: &Incoming,
        acks: &mut Acks,
    ) -> Result<(), IntakeError> {
        let mut room = Room::new("what the source sends", self.clock.as_ref(), &self.progress);
        loop {
            match self.spool.push(piece.clone()).await {
                Err(error) if error.is_disk_full() => room.wait(&IntakeError::from(error)).await,
                done => {
                    room.found();
                    return Ok(done?);
                }
            }
            acks.send(self.history, incoming.place.offset).await?;
        }
    }

    async fn begin_snapshot(
        &mut self,
        size: SnapshotSize,
        incoming: &Incoming,
    ) -> Result<(), IntakeError> {
        let place = incoming.place;
        let begin = FullResync {
            history: self.history.next(),
            lineage: Lineage {
                replication_id: place.replication_id.to_string(),
                offset: place.offset,
            },
            bytes_expected: match size {
                SnapshotSize::Length(bytes) => bytes,
                SnapshotSize::UntilMark => 0,
            },
            keys_expected: incoming.keys,
            peer: incoming.peer.clone(),
        };
        self.history = begin.history;
        self.held_offset = 0;
        self.spool.push(Piece::FullResync(Box::new(begin))).await?;
        self.progress.set_link(LinkPhase::Up);
        Ok(())
    }
}
