//! Keys that are set one after the other, as one command: an `MSET` costs a server half of as many `SET`. Pure.

use bytes::BytesMut;
use wire::resp::encode::{write_argument, write_count};

/// Keys and values that are to be set.
#[derive(Debug, Default)]
pub(super) struct Run {
    pairs: usize,
    /// As arguments.
    bytes: BytesMut,
}

/// The beginning of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) pairs: usize,
    bytes: usize,
}

// === impl Part ===

impl Part {
    /// Bytes of its arguments.
    pub(super) fn bytes(self) -> usize {
        self.bytes
    }
}

// === impl Run ===

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// All of it.
    pub(super) fn whole(&self) -> Part {
        Part { pairs: self.pairs, bytes: self.bytes.len() }
    }

    /// Adds a key and its value. Gives how many bytes they take.
    pub(super) fn push(&mut self, (key, value): (&[u8], &[u8])) -> usize {
        let before = self.bytes.len();
        write_argument(&mut self.bytes, key);
        write_argument(&mut self.bytes, value);
        self.pairs += 1;
        self.bytes.len() - before
    }

    /// Takes out what came behind that part.
    pub(super) fn back_to(&mut self, part: Part) {
        self.pairs = part.pairs;
        self.bytes.truncate(part.bytes);
    }

    /// Moves that part of it to the end of `out`, as a command. Gives how many bytes were not in the part.
    pub(super) fn move_to(&mut self, out: &mut BytesMut, part: Part) -> usize {
        let before = out.len();
        let name = if part.pairs == 1 { b"SET".as_slice() } else { b"MSET" };
        write_count(out, 1 + 2 * part.pairs);
        write_argument(out, name);
        let head_bytes = out.len() - before;
        if part == self.whole() {
            out.extend_from_slice(&self.bytes);
            self.bytes.clear();
        } else {
            out.extend_from_slice(&self.bytes.split_to(part.bytes));
        }
        self.pairs -= part.pairs;
        head_bytes
    }

    /// Gives its memory back if it takes more than that.
    pub(super) fn shrink_to(&mut self, kept_bytes: usize) {
        if self.bytes.capacity() > kept_bytes {
            self.bytes = BytesMut::new();
        }
    }
}
