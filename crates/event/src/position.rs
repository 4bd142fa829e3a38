//! Where in a source's history a change stands: its identity.

use std::cmp::Ordering;

/// The number of a shard within its stream: 0 for a source that is not a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(pub u32);

/// A place in the history of one shard. Ordered by epoch, offset and index; places of different
/// shards do not compare. Within a shard positions only grow, per slot, so what is not after the
/// last applied one has been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// Whose history.
    pub shard: Shard,
    /// Grows whenever offsets stop being comparable.
    pub epoch: u64,
    /// Replication offset just after the command; of a transaction, after its EXEC.
    pub offset: u64,
    /// Orders the changes inside one command, one transaction or one snapshot.
    pub index: u64,
}

// === impl Position ===

impl Position {
    /// The index of an event that stands behind every change at its offset: heartbeats.
    pub const LAST_INDEX: u64 = u64::MAX;

    /// The place of the first change of a command that ends at `offset`.
    #[must_use]
    pub fn new(shard: Shard, epoch: u64, offset: u64) -> Self {
        Self { shard, epoch, offset, index: 0 }
    }

    /// The same offset, another index.
    #[must_use]
    pub fn at_index(self, index: u64) -> Self {
        Self { index, ..self }
    }

    /// Whether this is later in the same shard's history. Never true across shards.
    #[must_use]
    pub fn is_after(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Greater)
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.shard == other.shard).then(|| {
            (self.epoch, self.offset, self.index).cmp(&(other.epoch, other.offset, other.index))
        })
    }
}

impl std::fmt::Display for Position {
    /// `shard:epoch:offset:index`, the last with `+` for [`Position::LAST_INDEX`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.shard.0, self.epoch, self.offset)?;
        match self.index {
            0 => Ok(()),
            Self::LAST_INDEX => f.write_str(":+"),
            index => write!(f, ":{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_epoch_then_offset_then_index() {
        let base = Position { shard: Shard(1), epoch: 2, offset: 100, index: 3 };
        assert!(Position { index: 4, ..base }.is_after(&base));
        assert!(Position { offset: 101, index: 0, ..base }.is_after(&base));
        assert!(Position { epoch: 3, offset: 0, index: 0, ..base }.is_after(&base));
        assert!(!base.is_after(&base));
        assert!(!Position { epoch: 1, offset: 900, ..base }.is_after(&base));
    }

    #[test]
    fn never_orders_two_shards() {
        let base = Position { shard: Shard(1), epoch: 2, offset: 100, index: 3 };
        let other = Position { shard: Shard(2), epoch: 9, ..base };
        assert_eq!(base.partial_cmp(&other), None);
        assert!(!other.is_after(&base));
    }
}
