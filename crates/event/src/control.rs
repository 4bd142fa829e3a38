//! Events that are not about one key.

use bytes::Bytes;

use wire::slot::Slots;

use crate::Position;
use crate::image::Flavour;

/// What a control event says. All stand in every partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Before the first event of an epoch.
    EpochBegin(EpochBegin),
    /// Images follow.
    SnapshotBegin(SnapshotBegin),
    /// The snapshot is whole.
    SnapshotEnd(SnapshotEnd),
    /// Everything up to here is in the journal before it.
    Heartbeat(Heartbeat),
    /// A group at another partition concerns this one.
    Barrier(Barrier),
    /// FLUSHALL, or FLUSHDB of the event's database.
    Flush {
        /// All databases.
        all: bool,
    },
    /// FLUSHALL, or FLUSHDB of the event's database, of a shard that has these slots: no other key goes.
    FlushSlots {
        /// All databases.
        all: bool,
        /// The slots.
        slots: Slots,
    },
    /// SWAPDB.
    SwapDb {
        /// One database.
        first: u32,
        /// The other.
        second: u32,
    },
    /// A change of the function libraries: whoever applies partition 0 applies it.
    Function(FunctionChange),
    /// A slot has moved to another shard.
    SlotHandover(SlotHandover),
}

/// Why an epoch began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochCause {
    /// The source sends its whole data set.
    FullResync,
    /// The source goes on under a new replication id.
    Continued,
    /// The slot comes from another shard.
    SlotMoved,
}

/// The beginning of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochBegin {
    /// Why.
    pub cause: EpochCause,
    /// The shard's name.
    pub shard_name: String,
    /// The replication id that offsets belong to.
    pub replication_id: String,
    /// [`EpochCause::Continued`]: where the histories part.
    pub branch_offset: u64,
    /// Family and version of the source, for people.
    pub server: String,
    /// The slots that the shard has; none: it has all.
    pub slots: Option<Slots>,
}

/// The beginning of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// Not 0: made on demand, beside the stream.
    pub snapshot_id: u64,
    /// Keys announced for all partitions; 0: not announced.
    pub keys_expected: u64,
    /// Size of the snapshot file; 0: not known beforehand.
    pub bytes_expected: u64,
    /// Version of the RDB format.
    pub rdb_version: u32,
    /// Family of the RDB format.
    pub flavour: Flavour,
    /// The slots that the shard has; none: it has all.
    pub slots: Option<Slots>,
}

/// The end of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// As in [`SnapshotBegin`].
    pub snapshot_id: u64,
    /// Keys in this partition.
    pub keys: u64,
    /// Keys in all partitions.
    pub keys_total: u64,
}

/// A place where capture can resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The replication id that the offset belongs to; empty: no place to resume at, for the epoch ends here.
    pub replication_id: String,
    /// Database selected on the replication stream.
    pub selected_db: u32,
    /// Clock of the source, Unix milliseconds; 0: not known.
    pub source_time_ms: i64,
    /// Clock of capture, Unix milliseconds.
    pub capture_time_ms: i64,
    /// Name of the shard, as in [`EpochBegin`]; empty where it has all slots.
    pub shard_name: String,
    /// The slots that the shard has; none: it has all.
    pub slots: Option<Slots>,
}

/// A group elsewhere that concerns this partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Where the group stands, at the same position.
    pub home_partition: u16,
    /// All partitions it concerns.
    pub partitions: Vec<u16>,
}

/// A change of the function libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionChange {
    /// `FUNCTION LOAD REPLACE source`, `FUNCTION DELETE name`, `FUNCTION FLUSH` or `FUNCTION
    /// RESTORE payload policy`.
    pub args: Vec<Bytes>,
    /// Not 0: a library of a snapshot made on demand.
    pub snapshot_id: u64,
}

/// The move of a range of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotHandover {
    /// First slot of the range.
    pub first_slot: u16,
    /// Last slot of the range.
    pub last_slot: u16,
    /// The shard that had them.
    pub from_shard: u32,
    /// The shard that has them.
    pub to_shard: u32,
    /// Where the old owner's history of them ends.
    pub until: Position,
}

// === impl Control ===

impl Control {
    /// Whether it only tells where the others stand, and changes nothing.
    #[must_use]
    pub fn is_note(&self) -> bool {
        match self {
            Self::EpochBegin(_)
            | Self::SnapshotBegin(_)
            | Self::SnapshotEnd(_)
            | Self::Heartbeat(_)
            | Self::Barrier(_)
            | Self::SlotHandover(_) => true,
            Self::Flush { .. }
            | Self::FlushSlots { .. }
            | Self::SwapDb { .. }
            | Self::Function(_) => false,
        }
    }

    /// The slots of its shard, where it tells them: none of it for one that tells nothing, and of that none for a shard
    /// that has all.
    #[must_use]
    pub fn slots(&self) -> Option<Option<&Slots>> {
        match self {
            Self::EpochBegin(begin) => Some(begin.slots.as_ref()),
            Self::SnapshotBegin(begin) => Some(begin.slots.as_ref()),
            Self::Heartbeat(heartbeat) => Some(heartbeat.slots.as_ref()),
            Self::FlushSlots { slots, .. } => Some(Some(slots)),
            _ => None,
        }
    }

    /// The name of its shard, where it tells it: for a node of a cluster, what the nodes call it.
    #[must_use]
    pub fn shard_name(&self) -> Option<&str> {
        let name = match self {
            Self::EpochBegin(begin) => &begin.shard_name,
            Self::Heartbeat(heartbeat) => &heartbeat.shard_name,
            _ => return None,
        };
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// A short constant name.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EpochBegin(_) => "epoch-begin",
            Self::SnapshotBegin(_) => "snapshot-begin",
            Self::SnapshotEnd(_) => "snapshot-end",
            Self::Heartbeat(_) => "heartbeat",
            Self::Barrier(_) => "barrier",
            Self::Flush { .. } => "flush",
            Self::FlushSlots { .. } => "flush-slots",
            Self::SwapDb { .. } => "swapdb",
            Self::Function(_) => "function",
            Self::SlotHandover(_) => "slot-handover",
        }
    }
}
