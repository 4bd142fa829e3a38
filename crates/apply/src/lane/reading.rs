//! What a session reads: from where, and up to where.

use journal::Entry;

use super::Reached;
use super::pump::Pump;
use crate::error::Error;
use crate::replay::Cut;

// === impl Pump ===

impl Pump<'_> {
    /// Begins nothing more: what is planned is finished, and what is not is left to the next start.
    pub(super) fn end_intake(&mut self) {
        self.stopping = true;
        self.intake.clear();
        self.barrier = None;
    }

    /// Takes what has been read, as far as it is to be applied.
    pub(super) fn take_in(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let Some(cut) = &mut self.cut else {
            for entry in entries {
                self.intake.push(self.track_of(&entry), entry);
            }
            return Ok(());
        };
        for entry in entries {
            let index = self.scope.index_of(entry.partition.0).unwrap_or_default();
            // What it begins with is before every place where it may end.
            if self.planner.reads_on_demand(index) || cut.takes(index, &entry)? {
                self.intake.push(self.scope.track(index), entry);
            }
        }
        Ok(())
    }

    /// Reads on where the planner says, whatever has been read.
    pub(super) async fn read_on(&mut self) -> Result<(), Error> {
        let next = self.planner.next();
        if let Some(cut) = &mut self.cut {
            cut.read_from(next);
        }
        self.intake.clear();
        self.reader = self.tools.journal.reader(self.scope.offsets(next)).await?;
        Ok(())
    }

    /// Goes on behind a barrier: where the stream begins, if what was applied stands beside it.
    pub(super) async fn go_on_reading(&mut self) -> Result<(), Error> {
        match self.planner.take_goes_back() {
            true => self.read_on().await,
            false => Ok(()),
        }
    }

    /// Whether everything has been applied that is to be. What still waits for others then waits for what the journal
    /// has not: also where not all of it has been read.
    pub(super) fn is_at_the_end(&mut self) -> bool {
        let is_left = |index| {
            let track = self.scope.track(index);
            self.intake.holds(track) && self.planner.waits(track)
        };
        let ends = |cut: &&Cut| cut.is_complete_but_for(is_left);
        let Some(cut) = self.cut.as_ref().filter(ends) else { return false };
        let is_at_the_end =
            self.is_out_of_input() && !self.lacks_input() && self.planner.doubt.is_over();
        if is_at_the_end {
            self.memory.reached = Some(Reached { passed: cut.is_passed(), time_ms: cut.time_ms() });
        }
        is_at_the_end
    }
}
