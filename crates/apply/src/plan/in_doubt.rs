//! What was executed before a crash and not judged, as its records come again. Pure.
//!
//! Guarantees: nothing new is planned of a line before all that is in doubt of the lane has been read and settled; where
//! several shards are in doubt, all of that line.

use bytes::Bytes;
use event::Event;
use journal::Entry;

use super::{Planner, decoded};
use crate::batch::Batch;
use crate::doubt::{Doubtful, Settled, Where};
use crate::error::Error;
use crate::quarantine::suspects::Suspected;

// === impl Planner ===

impl Planner {
    /// Whether a record is behind all that is in doubt of its line, while others have not come that far: they may have
    /// changed its key before.
    ///
    /// # Errors
    /// When the record is no event.
    pub(crate) fn is_early(&mut self, entry: &Entry) -> Result<bool, Error> {
        if self.doubt.is_over() {
            return Ok(false);
        }
        let event = decoded((entry.partition.0, entry.offset.0), &entry.payload)?;
        self.track = self.scope.track(self.scope.index_of(entry.partition.0).unwrap_or_default());
        let line = self.line(event.position);
        if self.is_beside(&event) || !self.doubt.concerns(line) || self.settled(&event) {
            return Ok(false);
        }
        self.doubt.has_passed(line);
        Ok(!self.doubt.is_whole() && !self.doubt.is_of_several())
    }

    /// An event that has been applied may still have to be looked at: after a crash, and for marks.
    pub(super) fn passed(&mut self, event: &Event, record: &Bytes) -> Result<(), Error> {
        self.counts.repeated += 1;
        let here = Where {
            track: self.track,
            lane_index: self.at.0,
            rules: &self.rules,
            functions: self.applied_functions(event.position.shard),
            forgets_functions: self.forgets_functions(event.position),
        };
        if let Err(error) = self.doubt.note(event, record, here) {
            tracing::warn!(
                position = %event.position, error = %error,
                "a change whose reply nobody has read cannot be read again: its key may be wrong, \
                 and keys that changed shortly before it are suspects"
            );
        }
        self.name_again(event)
    }

    /// Applies once more what was executed and not judged before a crash, where that is safe, if all of it has come:
    /// nothing new may come for long, and others wait until this is judged.
    pub(super) fn settle_doubt(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let Some(Settled { again, suspects }) = self.doubt.settle(&self.rules) else {
            return Ok(());
        };
        for Doubtful { db, key, evidence, since } in suspects {
            let spot = self.rules.spot(db, key);
            // What has come of a key since it was set aside has not been executed; what came before may have failed.
            let is_later = self.held.since(&spot).is_some_and(|held| held.is_after(&since));
            let is_held = self.held.contains(spot.db, &spot.key) && !is_later;
            let is_taken = spot.is_library() || self.rules.takes(db, &spot.key);
            if is_taken && !is_held {
                self.suspects.push(Suspected { spot, evidence });
            }
        }
        batch.urgent = true;
        let track = self.track;
        for again in again {
            self.track = again.track;
            self.plan_again(&again.record, again.change, batch)?;
        }
        self.track = track;
        Ok(())
    }
}
