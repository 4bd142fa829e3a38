//! Applying a stream anew from one of its snapshots, up to a place in the source's history.
//!
//! Guarantees: begins at one snapshot that is complete, the same in every partition; what cannot be done so is refused
//! before anything is written, with what can be done instead.

mod cut;
mod plan;
mod standing;

use std::fmt;

use event::Position;
use event::text::Utc;

pub(crate) use self::cut::Cut;
pub use self::plan::Measured;
pub use self::standing::{Standing, look};
use crate::survey::Snapshot;

/// What is applied anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub(crate) begin: Beginning,
    pub(crate) until: Until,
}

/// A place in the source's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind everything up to a replication offset.
    Offset {
        /// Of this epoch; none: of the only one that the journal holds.
        epoch: Option<u64>,
        /// The offset.
        offset: u64,
    },
    /// Behind everything up to a time, Unix milliseconds by the source's clock.
    TimeMs(i64),
}

/// Where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At the newest snapshot that it can end behind.
    Snapshot,
    /// At the oldest.
    Beginning,
    /// At the newest that is not after a place.
    At(Place),
}

/// Where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Where the journal ended when it began.
    End,
    /// Behind everything up to a place of an epoch.
    Position(Position),
    /// Behind everything up to a time, Unix milliseconds by the source's clock.
    TimeMs(i64),
}

/// A snapshot to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The place in the source's history that it shows.
    pub position: Position,
    /// Not 0: it was made on demand, beside the stream.
    pub snapshot_id: u64,
    /// Nothing that it shows was written later, Unix milliseconds by the source's clock.
    pub time_ms: i64,
    /// Per partition of the stream, the first record to read.
    pub(crate) offsets: Vec<u64>,
}

// === impl Beginning ===

impl Beginning {
    /// A snapshot that has been found; partitions in which it does not begin are read from `starts` on.
    pub(crate) fn of(found: &Snapshot, starts: &[u64]) -> Self {
        let Snapshot { shard, epoch, id, at, time_ms, .. } = *found;
        let place = |(number, start): (u16, &u64)| found.begin(number).unwrap_or(*start);
        Self {
            position: at.unwrap_or(Position::new(shard, epoch, 0)),
            snapshot_id: id,
            time_ms,
            offsets: (0..).zip(starts).map(place).collect(),
        }
    }

    /// The first record to read of a partition.
    pub(crate) fn offset(&self, partition: u16) -> Option<u64> {
        self.offsets.get(usize::from(partition)).copied()
    }
}

impl fmt::Display for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { epoch, offset, .. } = self.position;
        f.write_str(&shown(epoch, offset, self.time_ms))
    }
}

/// A place and its time, as either is typed.
fn shown(epoch: u64, offset: u64, time_ms: i64) -> String {
    format!("offset:{epoch}:{offset} (time:{})", Utc(time_ms))
}

// === impl Until ===

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the end of the journal"),
            Self::Position(Position { epoch, offset, .. }) => write!(f, "offset:{epoch}:{offset}"),
            Self::TimeMs(ms) => write!(f, "time:{}", Utc(*ms)),
        }
    }
}

// === impl Replay ===

impl Replay {
    /// The snapshot that it begins with.
    #[must_use]
    pub fn begin(&self) -> &Beginning {
        &self.begin
    }

    /// Where it ends.
    #[must_use]
    pub fn until(&self) -> Until {
        self.until
    }
}
