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
    is_taken: bool,
    route: Route,
}

/// What a transaction came to.
pub(super) enum Ended {
    /// Nothing changed.
    Empty,
    /// One change, which stands for itself; none: it was taken out.
    One(Option<GroupedChange>),
    /// The changes that are still here, the home of all, and their partitions.
    Many { changes: Vec<GroupedChange>, home: Home, partitions: Vec<u16>, is_home_out: bool },
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

    /// The changes, if they take more than that.
    pub(super) fn excess(&mut self, limit_bytes: usize) -> Option<Vec<GroupedChange>> {
        if self.changes.is_empty() || self.held_bytes <= limit_bytes {
            return None;
        }
        self.held_bytes = 0;
        self.route.detach(!self.is_taken);
        self.is_taken = true;
        Some(std::mem::take(&mut self.changes))
    }

    /// EXEC, where `db` is selected.
    pub(super) fn end(mut self, db: u32, partitions: Partitions) -> Ended {
        match self.count {
            0 => Ended::Empty,
            1 => Ended::One(self.changes.pop()),
            _ => {
                let is_home_out = self.route.is_home_out();
                let (home, partitions) = self.route.finish(db, partitions);
                Ended::Many { changes: self.changes, home, partitions, is_home_out }
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
