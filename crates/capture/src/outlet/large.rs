//! A large event on its way into the journal: it waits in a file, and goes piece by piece.
//!
//! Guarantees: while it is written its bytes are not in memory, unless there is no room for the file.

use event::{Event, fragment};

use crate::error::OutletError;
use crate::spool::{Aside, Asides, SpoolError};

/// A large event of which not all is written.
pub(super) struct Large {
    pieces: fragment::Pieces,
    /// Where its encoding is, if not in memory.
    file: Option<Aside>,
}

/// Events from this size on wait in a file while they are written to the journal.
const ASIDE_BYTES: usize = 8 << 20;

// === impl Large ===

impl Large {
    pub(super) fn new(pieces: fragment::Pieces) -> Self {
        Self { pieces, file: None }
    }

    /// Bytes that are not in a piece yet.
    pub(super) fn rest_bytes(&self) -> usize {
        self.pieces.rest_bytes()
    }

    /// Moves it to a file, if it is large enough.
    ///
    /// # Errors
    /// When there is no room. It stays in memory then.
    pub(super) async fn put_aside(&mut self, asides: &Asides) -> Result<(), SpoolError> {
        if self.file.is_some() || self.pieces.rest_bytes() < ASIDE_BYTES {
            return Ok(());
        }
        let mut file = asides.for_event()?;
        file.put(self.pieces.encoding().segments()).await?;
        drop(self.pieces.take_encoding());
        self.file = Some(file);
        Ok(())
    }

    /// The next piece; none after the last.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Event>, OutletError> {
        let (Some(file), Some(bytes)) = (&mut self.file, self.pieces.next_bytes()) else {
            return Ok(self.pieces.next());
        };
        let data = file.take(bytes).map_err(OutletError::Aside)?;
        Ok(Some(self.pieces.piece(data)))
    }
}
