//! Up to where records are taken: everything of the source's history up to a place, and nothing after it.
//!
//! Positions and times grow alike in all partitions, so that one place is one cut through all of them: what several
//! partitions have in common is before it in each, or in none. What a snapshot made on demand has beside the stream
//! tells nothing about where that has come to.

use event::codec::{Glance, decode_lean};
use journal::Entry;

use super::Until;
use crate::error::Error;

/// A cut through the partitions of a lane, by their indexes in it.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    until: Until,
    /// Where the journal ended when it was looked at first.
    ends: Vec<u64>,
    done: Vec<Option<Done>>,
    /// When the last record that it took was written.
    time_ms: i64,
}

/// Why nothing more is taken of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// What comes next is behind the place.
    Passed,
    /// All that was there has been read.
    Ended,
}

// === impl Cut ===

impl Cut {
    /// Of partitions that are read from these offsets on.
    pub(crate) fn new(until: Until, ends: Vec<u64>, next: &[u64]) -> Self {
        let mut cut = Self { until, ends, done: Vec::new(), time_ms: 0 };
        cut.read_from(next);
        cut
    }

    /// They are read from these offsets on, again.
    pub(crate) fn read_from(&mut self, next: &[u64]) {
        let done = |(next, end): (&u64, &u64)| (next >= end).then_some(Done::Ended);
        self.done = next.iter().zip(&self.ends).map(done).collect();
    }

    /// Whether a record is before the place. Notes what it says about its partition.
    ///
    /// # Errors
    /// When it is no event.
    pub(crate) fn takes(&mut self, index: usize, entry: &Entry) -> Result<bool, Error> {
        let Some(done) = self.done.get_mut(index) else { return Ok(true) };
        let end = self.ends.get(index).copied().unwrap_or_default();
        let is_beyond = match done {
            Some(Done::Passed) => true,
            _ if self.until == Until::End => entry.offset.0 >= end,
            _ => is_behind(entry, self.until)?,
        };
        if is_beyond {
            *done = Some(Done::Passed);
        } else if entry.offset.0.saturating_add(1) >= end {
            *done = Some(Done::Ended);
        }
        if !is_beyond {
            self.time_ms = self.time_ms.max(entry.timestamp_ms);
        }
        Ok(!is_beyond)
    }

    /// When the last record that it took was written, Unix milliseconds; 0: it took none.
    pub(crate) fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Whether nothing more is taken of any partition.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete_but_for(|_| false)
    }

    /// Whether nothing more is taken of any partition but of these.
    pub(crate) fn is_complete_but_for(&self, is_left: impl Fn(usize) -> bool) -> bool {
        (0..).zip(&self.done).all(|(index, done)| done.is_some() || is_left(index))
    }

    /// Whether what comes next in a partition is behind the place.
    pub(crate) fn has_passed(&self, index: usize) -> bool {
        self.done.get(index) == Some(&Some(Done::Passed)) || self.until == Until::End
    }

    /// Whether that is so in all of them.
    pub(crate) fn is_passed(&self) -> bool {
        (0..self.done.len()).all(|index| self.has_passed(index))
    }
}

/// Whether a record of the stream is behind a place.
fn is_behind(entry: &Entry, until: Until) -> Result<bool, Error> {
    let position = match until {
        Until::End => return Ok(false),
        Until::TimeMs(ms) if entry.timestamp_ms <= ms => return Ok(false),
        Until::TimeMs(_) => None,
        Until::Position(position) => Some(position),
    };
    let found = match Glance::at(&entry.payload) {
        Some(glance) => glance.position,
        None => {
            let decoded = decode_lean(entry.payload.clone());
            let event = decoded.map_err(|source| Error::Record {
                partition: entry.partition.0,
                offset: entry.offset.0,
                source,
            })?;
            if event.snapshot_id() != 0 {
                return Ok(false);
            }
            event.position
        }
    };
    Ok(position.is_none_or(|place| found.is_after(&place)))
}
