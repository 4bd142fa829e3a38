//! Looking for the mark that ends a snapshot of unknown length, however the bytes are cut.
//!
//! Bytes that may be the beginning of the mark are held until the next ones tell; nothing else is.

use bytes::Bytes;
use memchr::memmem::Finder;

/// Bytes of a mark.
const MARK_BYTES: usize = 40;

/// A mark, and how many of its first bytes the input ended with so far.
#[derive(Debug)]
pub(super) struct Mark {
    mark: Bytes,
    finder: Finder<'static>,
    held: usize,
}

/// What was found in a chunk.
pub(super) enum Search {
    /// Bytes that belong to the snapshot; search on.
    Before(Bytes),
    /// The mark, consumed: the snapshot has ended.
    Found,
    /// The chunk was held back whole.
    Nothing,
}

impl Mark {
    pub(super) fn new(mark: &[u8]) -> Option<Self> {
        let finder = Finder::new(mark).into_owned();
        let mark = Bytes::copy_from_slice(mark);
        (mark.len() == MARK_BYTES).then_some(Self { mark, finder, held: 0 })
    }

    /// Consumes from the front of `chunk` what can be told.
    pub(super) fn search(&mut self, chunk: &mut Bytes) -> Search {
        if self.held > 0 {
            return self.search_held(chunk);
        }
        let (before, found) = match self.finder.find(chunk) {
            Some(at) => (at, true),
            None => (chunk.len() - self.beginning_at_end_of(chunk), false),
        };
        if before > 0 {
            return Search::Before(chunk.split_to(before));
        }
        if found {
            drop(chunk.split_to(MARK_BYTES));
            return Search::Found;
        }
        self.held = chunk.len();
        chunk.clear();
        Search::Nothing
    }

    /// The held bytes are the mark's first ones: either the chunk goes on with its next ones, or
    /// some of the held bytes are released.
    fn search_held(&mut self, chunk: &mut Bytes) -> Search {
        let wanted = self.mark.slice(self.held..);
        let here = wanted.len().min(chunk.len());
        if wanted.get(..here) == chunk.get(..here) {
            drop(chunk.split_to(here));
            self.held += here;
            if self.held < MARK_BYTES {
                return Search::Nothing;
            }
            self.held = 0;
            return Search::Found;
        }
        // A shorter beginning of the mark may still end the held bytes.
        let shorter = self.mark.slice(1..self.held);
        let keep = self.beginning_at_end_of(&shorter);
        let released = self.mark.slice(..self.held - keep);
        self.held = keep;
        Search::Before(released)
    }

    /// The length of the longest end of `bytes` that is a beginning of the mark, but not all of it.
    fn beginning_at_end_of(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(MARK_BYTES - 1);
        (1..=most)
            .rev()
            .find(|length| bytes.ends_with(self.mark.get(..*length).unwrap_or_default()))
            .unwrap_or(0)
    }
}
