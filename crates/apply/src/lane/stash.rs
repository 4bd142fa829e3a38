//! What has been read of tracks that wait for others: kept up to a bound, beyond it read again.
//!
//! Guarantees: of each partition, what is given back is in its order and whole up to where reading goes on.

use std::collections::VecDeque;

use journal::Entry;

use super::pump::Pump;
use crate::error::Error;
use crate::limits;

/// Records of tracks that wait, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Stash {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Whether some did not fit: then all of it is read again.
    overflowed: bool,
}

// === impl Stash ===

impl Stash {
    /// Keeps a record for later.
    pub(super) fn keep(&mut self, entry: Entry) {
        self.bytes += entry.payload.len() + limits::STASHED_RECORD_BYTES;
        if self.overflowed || self.bytes > limits::STASH_BYTES {
            *self = Self { overflowed: true, ..Self::default() };
            return;
        }
        self.entries.push_back(entry);
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.overflowed
    }
}

// === impl Pump ===

impl Pump<'_> {
    /// Whether a record is of a track that waits.
    pub(super) fn is_kept_back(&self, entry: &Entry) -> bool {
        let index = self.scope.index_of(entry.partition.0);
        index.is_some_and(|index| self.planner.waits(self.scope.track(index)))
    }

    /// Goes on with what was kept back, once tracks have met.
    pub(super) async fn take_stash(&mut self) -> Result<(), Error> {
        if self.stash.is_empty() {
            return Ok(());
        }
        let stash = std::mem::take(&mut self.stash);
        if !stash.overflowed {
            let mut entries = stash.entries;
            entries.append(&mut self.input);
            self.input = entries;
            return Ok(());
        }
        self.read_on().await
    }
}
