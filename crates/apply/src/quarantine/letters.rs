//! Reading the journal of dead letters, one letter after the other: in memory is never more than the one at hand and the
//! records behind it.

use std::collections::VecDeque;

use event::quarantine::{Letter, Piece, Pieces};
use journal::{Entry, Journal, Offset, Partition, ReadLimit, Reader};

use crate::error::Error;
use crate::limits;

/// The letters that a journal held when reading began, in order. One that is not complete is left out.
pub struct Reading {
    reader: Option<Box<dyn Reader>>,
    entries: VecDeque<Entry>,
    next: Offset,
    end: Offset,
    pieces: Pieces,
}

// === impl Reading ===

impl Reading {
    /// Begins with the first letter.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn open(journal: &dyn Journal) -> Result<Self, Error> {
        let range = journal.describe().await?.partitions.first().copied().unwrap_or_default();
        let reader = match range.start == range.end {
            true => None,
            false => Some(journal.reader(vec![(Partition(0), range.start)]).await?),
        };
        let (next, end) = (range.start, range.end);
        Ok(Self { reader, entries: VecDeque::new(), next, end, pieces: Pieces::default() })
    }

    /// The next letter that is complete; none: there is no more.
    ///
    /// # Errors
    /// When the journal cannot be read, or a record is no letter.
    pub async fn next(&mut self) -> Result<Option<Letter>, Error> {
        while let Some(entry) = self.entry().await? {
            let piece = Piece::decode(entry.payload).map_err(|source| Error::Record {
                partition: 0,
                offset: entry.offset.0,
                source,
            })?;
            if let Some(letter) = self.pieces.push(piece) {
                return Ok(Some(letter));
            }
        }
        Ok(None)
    }

    async fn entry(&mut self) -> Result<Option<Entry>, Error> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        while self.entries.is_empty() && self.next < self.end {
            let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
            self.entries.extend(reader.next(limit).await?);
        }
        let entry = self.entries.pop_front().filter(|entry| entry.offset < self.end);
        if let Some(entry) = &entry {
            self.next = entry.offset.after(1);
        }
        Ok(entry)
    }
}
