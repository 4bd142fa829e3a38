//! An open transaction: its changes, as far as there is room for them, and where they belong.

use bytes::Bytes;
use event::{Change, GroupedChange};

use super::route::{Home, Partitions, Route};

/// What has come since MULTI.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    /// All changes, or those after what was taken as excess.
    changes: Vec<GroupedChange>,
    /// Memory that they take, about.
    held_bytes: usize,
    /// How many there were, also those taken.
    count: u64,
    route: Route,
}

/// What a transaction came to.
pub(super) enum Ended {
    /// Nothing changed.
    Empty,
    /// One change, which stands for itself.
    One(GroupedChange),
    /// The changes that are still here, the home of all, and their partitions.
    Many(Vec<GroupedChange>, Home, Vec<u16>),
}

// === impl Transaction ===

impl Transaction {
    pub(super) fn add(&mut self, changes: Vec<GroupedChange>, partitions: Partitions) {
        for change in &changes {
            self.route.add(change, partitions);
            self.held_bytes += memory_of(change);
            self.count += 1;
        }
        self.changes.extend(changes);
    }

    /// The changes, if they take more than that. A single one stays: it may have to stand for
    /// itself.
    pub(super) fn excess(&mut self, limit_bytes: usize) -> Option<Vec<GroupedChange>> {
        if self.count < 2 || self.held_bytes <= limit_bytes {
            return None;
        }
        self.held_bytes = 0;
        self.route.detach();
        Some(std::mem::take(&mut self.changes))
    }

    /// EXEC, where `db` is selected.
    pub(super) fn end(mut self, db: u32, partitions: Partitions) -> Ended {
        match (self.count, self.changes.pop()) {
            (0, _) => Ended::Empty,
            (1, Some(change)) => Ended::One(change),
            (_, last) => {
                self.changes.extend(last);
                let (home, touched) = self.route.finish(db, partitions);
                Ended::Many(self.changes, home, touched)
            }
        }
    }
}

/// Memory that a change takes, about. The buffers behind its arguments count with the part that is
/// its own.
fn memory_of(change: &GroupedChange) -> usize {
    let args = match &change.change {
        Change::Command(command) => &command.args[..],
        Change::Function(function) => &function.args[..],
        Change::Flush { .. } | Change::SwapDb { .. } => &[],
    };
    let data: usize = args.iter().map(Bytes::len).sum();
    size_of::<GroupedChange>() + size_of_val(args) + data
}
