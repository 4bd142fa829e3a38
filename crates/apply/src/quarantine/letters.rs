//! Reading the journal of dead letters, one letter after the other: in memory is never more than the one at hand and the
//! records behind it.

use std::collections::VecDeque;
use std::ops::Range;

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
    /// Where the last letter begins.
    began: Offset,
    pieces: Pieces,
}

// === impl Reading ===

impl Reading {
    /// Begins with the first letter.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn open(journal: &dyn Journal) -> Result<Self, Error> {
        Self::of(journal, Offset(0)..Offset(u64::MAX)).await
    }

    /// Only what lies in this part of the journal. A letter begins there.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn of(journal: &dyn Journal, part: Range<Offset>) -> Result<Self, Error> {
        let range = journal.describe().await?.partitions.first().copied().unwrap_or_default();
        let next = range.start.max(part.start);
        let mut reading = Self {
            reader: None,
            entries: VecDeque::new(),
            next,
            end: range.end.min(part.end),
            began: next,
            pieces: Pieces::default(),
        };
        reading.seek(journal).await?;
        Ok(reading)
    }

    /// Goes on with what has come since.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn go_on(&mut self, journal: &dyn Journal) -> Result<(), Error> {
        if self.next < self.end {
            return Ok(());
        }
        let range = journal.describe().await?.partitions.first().copied().unwrap_or_default();
        self.next = self.next.max(range.start);
        self.end = range.end;
        self.entries.clear();
        self.seek(journal).await
    }

    /// Where in the journal the last letter lies.
    pub(crate) fn part(&self) -> Range<Offset> {
        self.began..self.next
    }

    async fn seek(&mut self, journal: &dyn Journal) -> Result<(), Error> {
        self.reader = match self.next < self.end {
            true => Some(journal.reader(vec![(Partition(0), self.next)]).await?),
            false => None,
        };
        Ok(())
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
            if let Some((began, letter)) = self.pieces.push(entry.offset.0, piece) {
                self.began = Offset(began);
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
