//! Events larger than one record may be: cut into pieces, and put together again.
//!
//! No piece is larger than [`limits::MAX_EVENT_BYTES`], whatever the key: pieces do not carry it.
//! What is put together is what was cut, or an error: order, number, size and checksum are all
//! checked.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::codec::{Beginning, Head, LeanWriter, Rope};
use crate::{Body, Event, Position, limits};

/// A piece of the encoding of a larger event. All pieces carry that event's position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Counted from 0.
    pub number: u32,
    /// How many there are.
    pub count: u32,
    /// Size of the whole encoding.
    pub total_bytes: u64,
    /// CRC-32C of the whole encoding.
    pub crc32c: u32,
    /// This piece of it.
    pub data: Bytes,
    /// Not 0: of an image of a snapshot made on demand.
    pub snapshot_id: u64,
}

/// Puts the pieces of one event after the other together, as they come from one partition.
#[derive(Debug)]
pub struct Assembler {
    budget_bytes: usize,
    gives: Gives,
    open: Option<Open>,
}

/// What an assembler makes of an encoding.
#[derive(Clone, Copy, Debug)]
enum Gives {
    Whole,
    Lean,
    Beginning,
}

/// Why a piece does not go on with what came before. What had been put together is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// Pieces are missing, came twice, or in another order.
    #[error("piece {found} of the event at {position} where {expected} should come")]
    Gap {
        /// Position of the piece.
        position: Position,
        /// The number that should come.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// The pieces before belong to another event.
    #[error("piece {number} of the event at {found} within the pieces of that at {expected}")]
    OtherEvent {
        /// Number of the piece.
        number: u32,
        /// Position of the pieces before.
        expected: Position,
        /// Position of the piece.
        found: Position,
    },
    /// Count, size or checksum of the whole are not those of the pieces before.
    #[error("pieces of two encodings of the event at {position}")]
    OtherEncoding {
        /// Their position.
        position: Position,
    },
    /// The number of pieces is none that there can be.
    #[error("piece {number} of {count}, of at most {limit}")]
    Count {
        /// Number of the piece.
        number: u32,
        /// How many pieces there are said to be.
        count: u32,
        /// The most that there can be.
        limit: u32,
    },
    /// The whole is larger than the memory for it.
    #[error("event of {total_bytes} bytes does not fit the budget of {budget_bytes}")]
    OverBudget {
        /// Promised size of the whole.
        total_bytes: u64,
        /// What the assembler may hold.
        budget_bytes: usize,
    },
    /// The pieces have more, or all of them fewer bytes than promised.
    #[error("{found_bytes} bytes of the event at {position}, promised are {total_bytes}")]
    Size {
        /// Position of the pieces.
        position: Position,
        /// Promised size of the whole.
        total_bytes: u64,
        /// What came.
        found_bytes: usize,
    },
    /// The whole is not what was cut.
    #[error("checksum of the event at {position} is {found:08x}, promised is {expected:08x}")]
    Checksum {
        /// Position of the pieces.
        position: Position,
        /// Promised checksum.
        expected: u32,
        /// That of the pieces.
        found: u32,
    },
}

/// The pieces that have come.
#[derive(Debug)]
struct Open {
    position: Position,
    /// The first piece without its data.
    promise: Fragment,
    next: u32,
    /// Bytes that have come, and their checksum.
    found_bytes: usize,
    crc32c: u32,
    data: Data,
}

/// What has been put together.
#[derive(Debug)]
enum Data {
    Whole(BytesMut),
    Lean(LeanWriter),
    Beginning { bytes: Vec<u8>, is_known: bool },
}

/// Whether an event of that encoded size has to be cut.
#[must_use]
pub fn is_needed(encoded_bytes: usize) -> bool {
    encoded_bytes > limits::MAX_EVENT_BYTES
}

/// The events that an encoding is cut into: see [`split`].
#[derive(Debug)]
pub struct Pieces {
    rest: Rope,
    /// Bytes of the encoding that are not in a piece yet, wherever they are.
    rest_bytes: usize,
    number: u32,
    count: u32,
    total_bytes: u64,
    crc32c: u32,
    snapshot_id: u64,
    /// What all of them say.
    blank: Event,
}

/// Cuts the encoding of an event into events that each fit a record: slices of it, at the same
/// place in the history, with an empty key and without `seen`, which are in the encoding.
///
/// `encoded` is what [`crate::codec::encode`] made of the event that `head` is of.
pub fn split(encoded: impl Into<Rope>, head: &Head<'_>) -> Pieces {
    let rest = encoded.into();
    let count = rest.len().div_ceil(limits::FRAGMENT_BYTES).max(1);
    let count = u32::try_from(count).expect("an encoding is smaller than four billion pieces");
    let (total_bytes, crc32c) = (rest.len() as u64, rest.crc32c());
    let data = Bytes::new();
    let nothing = Fragment { number: 0, count, total_bytes, crc32c, data, snapshot_id: 0 };
    let blank = Event {
        position: head.position,
        stamp: head.stamp.clone(),
        db: head.db,
        slot: head.slot,
        key: Bytes::new(),
        body: Body::Fragment(nothing),
        seen: Vec::new(),
    };
    let (rest_bytes, snapshot_id) = (rest.len(), 0);
    Pieces { rest_bytes, rest, number: 0, count, total_bytes, crc32c, snapshot_id, blank }
}

// === impl Pieces ===

impl Pieces {
    /// The same, of an image of that snapshot; 0: of none made on demand.
    #[must_use]
    pub fn of_snapshot(self, snapshot_id: u64) -> Self {
        Self { snapshot_id, ..self }
    }

    /// Bytes of the encoding that are not in the pieces given so far.
    #[must_use]
    pub fn rest_bytes(&self) -> usize {
        self.rest_bytes
    }

    /// The rest of the encoding, unless it was taken out.
    #[must_use]
    pub fn encoding(&self) -> &Rope {
        &self.rest
    }

    /// Takes the rest of the encoding out, to be kept elsewhere: what comes next is made by [`Pieces::piece`].
    pub fn take_encoding(&mut self) -> Rope {
        std::mem::take(&mut self.rest)
    }

    /// Bytes of the encoding in the piece that comes next; none: there is no more.
    #[must_use]
    pub fn next_bytes(&self) -> Option<usize> {
        (self.number < self.count).then_some(self.rest_bytes.min(limits::FRAGMENT_BYTES))
    }

    /// The piece that comes next, of the [`Pieces::next_bytes`] next bytes of the encoding.
    pub fn piece(&mut self, data: Bytes) -> Event {
        let &mut Self { number, count, total_bytes, crc32c, snapshot_id, .. } = self;
        self.number += 1;
        self.rest_bytes -= data.len().min(self.rest_bytes);
        let fragment = Fragment { number, count, total_bytes, crc32c, data, snapshot_id };
        let body = Body::Fragment(fragment);
        Event { body, ..self.blank.clone() }
    }
}

impl Iterator for Pieces {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let bytes = self.next_bytes()?;
        let data = self.rest.take(bytes);
        Some(self.piece(data))
    }
}

// === impl Assembler ===

impl Assembler {
    /// An assembler that never holds an event of more than `budget_bytes`.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, gives: Gives::Whole, open: None }
    }

    /// One that gives the lean form of an encoding, for [`crate::codec::decode_lean`]: in it a long key that stands
    /// several times takes the memory of one.
    #[must_use]
    pub fn lean(budget_bytes: usize) -> Self {
        Self { gives: Gives::Lean, ..Self::new(budget_bytes) }
    }

    /// One that gives of an encoding only its [`Beginning`], and holds no more of it than that and a piece: all of what is
    /// no encoding of an event. What it is given is checked all the same.
    #[must_use]
    pub fn beginning(budget_bytes: usize) -> Self {
        Self { gives: Gives::Beginning, ..Self::new(budget_bytes) }
    }

    /// Whether pieces of an event have come of which others are missing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the next piece, at its event's position; with the last one gives the encoding of the
    /// whole event.
    ///
    /// Piece 0 always begins anew, also where pieces are missing: a capture that died in between
    /// writes them again.
    ///
    /// # Errors
    /// When the piece does not go on with those before. They are dropped: a piece 0 has to follow.
    pub fn push(
        &mut self,
        fragment: Fragment,
        position: Position,
    ) -> Result<Option<Bytes>, FragmentError> {
        let mut open = match (self.open.take(), fragment.number) {
            (_, 0) => self.begin(&fragment, position)?,
            (Some(open), _) => open,
            (None, found) => return Err(FragmentError::Gap { position, expected: 0, found }),
        };
        open.append(&fragment, position)?;
        if open.next < open.promise.count {
            self.open = Some(open);
            return Ok(None);
        }
        open.finish().map(Some)
    }

    fn begin(&self, first: &Fragment, position: Position) -> Result<Open, FragmentError> {
        let budget_bytes = self.budget_bytes;
        let &Fragment { number, count, total_bytes, .. } = first;
        if count == 0 || count > limits::MAX_FRAGMENTS {
            return Err(FragmentError::Count { number, count, limit: limits::MAX_FRAGMENTS });
        }
        let fitting = usize::try_from(total_bytes).ok().filter(|total| *total <= budget_bytes);
        let capacity = fitting.ok_or(FragmentError::OverBudget { total_bytes, budget_bytes })?;
        let data = match self.gives {
            Gives::Whole => Data::Whole(BytesMut::with_capacity(capacity)),
            Gives::Lean => Data::Lean(LeanWriter::new(capacity)),
            Gives::Beginning => Data::Beginning { bytes: Vec::new(), is_known: false },
        };
        Ok(Open {
            position,
            promise: Fragment { data: Bytes::new(), ..*first },
            next: 0,
            found_bytes: 0,
            crc32c: 0,
            data,
        })
    }
}

// === impl Open ===

impl Open {
    fn append(&mut self, piece: &Fragment, position: Position) -> Result<(), FragmentError> {
        let number = piece.number;
        if position != self.position {
            let expected = self.position;
            return Err(FragmentError::OtherEvent { number, expected, found: position });
        }
        let whole = |piece: &Fragment| (piece.count, piece.total_bytes, piece.crc32c);
        if whole(piece) != whole(&self.promise) {
            return Err(FragmentError::OtherEncoding { position });
        }
        if number != self.next {
            return Err(FragmentError::Gap { position, expected: self.next, found: number });
        }
        let found_bytes = self.found_bytes.saturating_add(piece.data.len());
        if found_bytes as u64 > self.promise.total_bytes {
            return Err(self.wrong_size(found_bytes));
        }
        match &mut self.data {
            Data::Whole(data) => data.extend_from_slice(&piece.data),
            Data::Lean(data) => data.push(&piece.data),
            Data::Beginning { is_known: true, .. } => {}
            Data::Beginning { bytes, is_known } => {
                bytes.extend_from_slice(&piece.data);
                if let Some(beginning) = Beginning::of(bytes) {
                    let known = beginning.bytes;
                    bytes.truncate(known);
                    bytes.shrink_to_fit();
                    *is_known = true;
                }
            }
        }
        self.crc32c = crc32c::crc32c_append(self.crc32c, &piece.data);
        self.found_bytes = found_bytes;
        self.next += 1;
        Ok(())
    }

    fn finish(self) -> Result<Bytes, FragmentError> {
        if self.found_bytes as u64 != self.promise.total_bytes {
            return Err(self.wrong_size(self.found_bytes));
        }
        let (position, expected) = (self.position, self.promise.crc32c);
        let found = self.crc32c;
        if found != expected {
            return Err(FragmentError::Checksum { position, expected, found });
        }
        Ok(match self.data {
            Data::Whole(data) => data.freeze(),
            Data::Lean(data) => data.finish(),
            Data::Beginning { bytes, .. } => Bytes::from(bytes),
        })
    }

    fn wrong_size(&self, found_bytes: usize) -> FragmentError {
        let (position, total_bytes) = (self.position, self.promise.total_bytes);
        FragmentError::Size { position, total_bytes, found_bytes }
    }
}

#[cfg(test)]
mod tests;
