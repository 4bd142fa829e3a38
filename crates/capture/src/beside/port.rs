//! What passes between the link of a snapshot on demand and the session that records it.
//!
//! Guarantees: at most [`PARTS_AHEAD`] parts wait, each of one read of a socket ([`PART_BYTES_MAX`]): whoever sends more
//! waits, and with it the source. Of offers one at a time is taken up.

use bytes::Bytes;
use redis_io::replication::link::LARGE_READ_BYTES;
use runtime::{Flow, Gate, Rate};
use tokio::sync::{mpsc, oneshot};

use crate::piece::Lineage;
use crate::snapshot::SnapshotCounts;

/// So many parts wait for the session, a few milliseconds' worth: it never waits for the link for want of them, and
/// what waits is small beside the rest.
const PARTS_AHEAD: usize = 4;

/// The largest part: a read of a socket.
const PART_BYTES_MAX: usize = LARGE_READ_BYTES;

/// What may wait in memory, besides one part in either hand.
const _: () = assert!(PARTS_AHEAD * PART_BYTES_MAX <= 1 << 20);

/// A snapshot that could begin, by the side of the link.
#[derive(Debug)]
pub(crate) struct Offer {
    /// Its id, which no other has.
    pub(crate) id: u64,
    /// Keys that the source holds.
    pub(crate) keys_expected: u64,
    /// Told once the beginning is recorded: the history, and how far its stream is recorded.
    pub(crate) begun: oneshot::Sender<Lineage>,
    /// What comes over the link. The session closes it when it takes no more.
    pub(crate) parts: mpsc::Receiver<Part>,
    /// Told at the end, in whatever way.
    pub(crate) ended: oneshot::Sender<Ended>,
}

/// How the session ended with a snapshot: all of it is recorded, or why it is given up.
pub(crate) type Ended = Result<SnapshotCounts, String>;

/// What the link has of an offer.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) begun: oneshot::Receiver<Lineage>,
    pub(crate) parts: mpsc::Sender<Part>,
    pub(crate) ended: oneshot::Receiver<Ended>,
}

/// One thing that comes over the link.
#[derive(Debug)]
pub(crate) enum Part {
    /// The snapshot begins.
    Start {
        /// Where it stands in the history of the stream.
        offset: u64,
        /// Its size; 0: not known beforehand.
        bytes_expected: u64,
    },
    /// Bytes of it.
    Bytes(Bytes),
    /// The source has sent all of it.
    End,
}

/// What comes in at the session's side.
#[derive(Debug)]
pub(crate) enum Input {
    /// A snapshot could begin.
    Offer(Offer),
    /// Of the one that is under way.
    Part(Part),
    /// The one that is under way has lost its link.
    Lost,
}

/// The session's side.
#[derive(Debug)]
pub(crate) struct Port {
    offers: mpsc::Receiver<Offer>,
    /// Of the one that is under way.
    parts: Option<mpsc::Receiver<Part>>,
    gate: Gate,
}

// === impl Offer ===

impl Offer {
    /// An offer, and the side of the link.
    pub(crate) fn new(id: u64, keys_expected: u64) -> (Self, Offered) {
        let (begin, begun) = oneshot::channel();
        let (parts_in, parts) = mpsc::channel(PARTS_AHEAD);
        let (end, ended) = oneshot::channel();
        let offer = Self { id, keys_expected, begun: begin, parts, ended: end };
        (offer, Offered { begun, parts: parts_in, ended })
    }
}

// === impl Port ===

impl Port {
    /// The session's side, as fast as `gate` lets snapshots go on; and where offers go.
    pub(crate) fn new(gate: Gate) -> (mpsc::Sender<Offer>, Self) {
        // One link makes them, one after the other.
        let (sender, offers) = mpsc::channel(1);
        (sender, Self { offers, parts: None, gate })
    }

    /// What comes next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Input {
        match &mut self.parts {
            Some(parts) => {
                self.gate.opened(Flow::Full).await;
                // No await once something was taken.
                parts.recv().await.map_or(Input::Lost, Input::Part)
            }
            None => match self.offers.recv().await {
                Some(offer) => Input::Offer(offer),
                // Nobody is left to make one.
                None => std::future::pending().await,
            },
        }
    }

    /// What has come: of the one under way, if it may go on, else an offer.
    pub(crate) fn come(&mut self) -> Option<Input> {
        match &mut self.parts {
            Some(_) if self.gate.hold(Flow::Full).is_some() => None,
            Some(parts) => parts.try_recv().ok().map(Input::Part),
            None => self.offers.try_recv().ok().map(Input::Offer),
        }
    }

    /// Whether nothing is to begin: it would wait at the source.
    pub(crate) fn is_paused(&self) -> bool {
        self.gate.is_paused()
    }

    /// From here on, what comes is of that snapshot; none: it has ended.
    pub(crate) fn attend(&mut self, parts: Option<mpsc::Receiver<Part>>) {
        self.parts = parts;
    }

    /// Says what has become of a part.
    pub(crate) fn count(&self, recorded: Rate) {
        self.gate.took(Flow::Full, recorded);
    }
}
