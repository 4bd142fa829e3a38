//! What an apply service stores in its destination, in the same atomic step as the data.

use crate::{Position, Shard, Stamp};

/// How far a destination has come, for a range of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the journal's stream.
    pub stream: String,
    /// The number drawn when the stream was made: a later stream of the same name has another.
    pub incarnation: u64,
    /// First partition that this covers.
    pub first_partition: u16,
    /// Last partition that this covers.
    pub last_partition: u16,
    /// Per shard.
    pub applied: Vec<Applied>,
    /// Per covered partition, an offset that is durable and not after the first record still
    /// needed.
    pub read_from: Vec<u64>,
    /// Who wrote it.
    pub owner_epoch: u64,
    /// Clock of the writer, Unix milliseconds.
    pub written_ms: i64,
    /// The snapshots that are being applied, of each shard one at most.
    pub resyncs: Vec<Resync>,
    /// The change that this waits for: one of partitions that other workers have. All before it has been executed and
    /// judged.
    pub waits_at: Option<Position>,
    /// Where the history began that was applied here: the beginning of a snapshot, or behind the end of one made on
    /// demand. What is before that was never applied here.
    pub begun_at: Option<Position>,
    /// Where the stream's keys live at the destination.
    pub territory: Territory,
    /// Two-way sets: what the transaction stands for.
    pub marker: Option<Marker>,
}

/// Where the keys of a stream live at a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Territory {
    /// The databases that it writes to; none: any.
    pub databases: Vec<u32>,
    /// Data that is not the stream's may live in them: what a snapshot does not name stays there.
    pub shared: bool,
}

/// How far one shard's history has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// All changes up to here have been executed.
    pub position: Position,
    /// Up to here the replies have been read and what failed has been dealt with.
    pub judged: Position,
}

/// A snapshot that is being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resync {
    /// Whose.
    pub shard: Shard,
    /// In which epoch.
    pub epoch: u64,
    /// Keys that the snapshot does not name must go at its end.
    pub sweep: bool,
    /// The snapshot has ended and the sweep is under way.
    pub sweeping: bool,
    /// Not 0: it was made on demand, beside the stream, and the records with this id are it; the stream is read from its
    /// beginning on once it has been applied.
    pub snapshot_id: u64,
}

/// What became of a remote event in a two-way set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The site it came from.
    pub origin: String,
    /// Its position there.
    pub position: Position,
    /// Its stamp.
    pub stamp: Stamp,
    /// What was done with it.
    pub verdict: Verdict,
}

/// What was done with a remote event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It won.
    Applied,
    /// It lost.
    Skipped,
    /// A local write was put back over it.
    Restored,
}

// === impl Resync ===

impl Resync {
    /// Whether it has to be read again from its beginning once it was interrupted: to know all keys that it names, or
    /// for the stream, which goes on beside a snapshot made on demand.
    #[must_use]
    pub fn is_read_again(&self) -> bool {
        self.sweep || self.snapshot_id != 0
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// How far the shard's history has been executed, if any of it has.
    #[must_use]
    pub fn applied(&self, shard: Shard) -> Option<&Applied> {
        self.applied.iter().find(|applied| applied.position.shard == shard)
    }
}
