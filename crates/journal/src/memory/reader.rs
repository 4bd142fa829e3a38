//! Readers of a journal in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{Shared, State};
use crate::{Entry, Offset, Partition, ReadError, ReadLimit, Reader};

/// A reader and its place.
pub(super) struct MemoryReader {
    pub(super) shared: Arc<Shared>,
    pub(super) changes: watch::Receiver<u64>,
    /// The place in the total order from which to look on.
    pub(super) seq: u64,
    /// How many crashes have been looked at.
    pub(super) cuts_seen: usize,
    /// Per partition asked for, the first offset still wanted.
    pub(super) wanted: BTreeMap<Partition, Offset>,
}

// === impl MemoryReader ===

impl Reader for MemoryReader {
    fn next(&mut self, limit: ReadLimit) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            loop {
                self.changes.mark_unchanged();
                let found = self.take(limit)?;
                if !found.is_empty() {
                    return Ok(found);
                }
                self.changes.changed().await.expect("the sender lives in the stream");
            }
        })
    }
}

impl MemoryReader {
    /// Whether what is wanted can still be read.
    pub(super) fn check(&self, state: &State) -> Result<(), ReadError> {
        if state.cuts.iter().skip(self.cuts_seen).any(|cut| *cut < self.seq) {
            let what = "records that were read are lost: the stream has crashed".to_owned();
            return Err(ReadError::Failed(what));
        }
        for (&partition, &offset) in &self.wanted {
            let start = state.range(partition)?.start;
            if offset < start {
                return Err(ReadError::OutOfRetention { partition, offset, start });
            }
        }
        Ok(())
    }

    fn take(&mut self, limit: ReadLimit) -> Result<Vec<Entry>, ReadError> {
        let shared = Arc::clone(&self.shared);
        let state = shared.state.lock();
        self.check(&state)?;
        self.cuts_seen = state.cuts.len();
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0_usize;
        let from = state.records.partition_point(|(seq, _)| *seq < self.seq);
        for (seq, entry) in state.records.range(from..) {
            let next = self.wanted.get_mut(&entry.partition).filter(|next| entry.offset >= **next);
            if let Some(next) = next {
                bytes = bytes.saturating_add(entry.payload.len());
                let full = found.len() >= limit.records.max(1) || bytes > limit.bytes;
                if full && !found.is_empty() {
                    return Ok(found);
                }
                *next = entry.offset.after(1);
                found.push(entry.clone());
            }
            self.seq = seq + 1;
        }
        Ok(found)
    }
}
