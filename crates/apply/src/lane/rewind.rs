//! After a failure: what was planned behind it is taken back, and, unless the lane ends, read again and planned anew.

use event::Position;

use super::pump::Pump;
use super::session::durable;
use crate::batch::{Batch, Judge, Sent};
use crate::doubt::Doubt;
use crate::error::Error;
use crate::plan::{Aftermath, Part};
use crate::quarantine;
use crate::quarantine::set::Spot;
use crate::scope::{Line, Point};

/// What a key that is removed should have got.
const EXPIRED_EARLY: &str = "the value of one that had expired early";

// === impl Pump ===

impl Pump<'_> {
    /// Sets aside what failed, and removes what must not be there, ahead of everything else.
    pub(super) fn deal_with(&mut self, aftermath: Aftermath) -> Result<(), Error> {
        // Until that has been executed: the next session may have to do it.
        self.memory.aftermath = Some(aftermath.clone());
        self.open.urgent = true;
        let now = self.tools.clock.monotonic();
        let held = &self.planner.held;
        let right: Vec<Spot> =
            aftermath.right.into_iter().filter(|spot| !held.contains(spot.db, &spot.key)).collect();
        for draft in aftermath.drafts {
            self.planner.hold(draft, &mut self.open)?;
        }
        for spot in right {
            self.planner.held.release(spot.db, &spot.key);
        }
        for (spot, why) in aftermath.moved {
            self.planner.held.hold(spot.db, &spot.key, &quarantine::moved(&why))?;
            self.planner.deadlines.forget(spot.db, &spot.key);
        }
        for spot in aftermath.gone {
            if self.memory.notices.has_a_line(now, EXPIRED_EARLY) {
                tracing::warn!(key = %spot, "removed a key that should have got {EXPIRED_EARLY}");
            }
            self.planner.held.release(spot.db, &spot.key);
            self.planner.deadlines.forget(spot.db, &spot.key);
            self.open.command(spot.db, Sent::OURS, [b"DEL".as_slice(), &spot.key]);
            self.status.removed(1);
        }
        for (spot, part) in aftermath.parts {
            self.remove_part(&spot, &part);
        }
        Ok(())
    }

    /// Removes what readers would take for the value of a key that is set aside.
    fn remove_part(&mut self, spot: &Spot, part: &Part) {
        // Somebody else may have made something else of it.
        let sent = Sent { judge: Judge::Settles, ..Sent::OURS };
        match part {
            Part::Whole => {
                let remove = [self.planner.rules.remove_command(), &spot.key];
                self.open.command(spot.db, sent, remove);
            }
            Part::Fields(fields) => {
                let head: [&[u8]; 2] = [b"HDEL", &spot.key];
                let fields = fields.iter().map(|field| &field[..]);
                self.open.command(spot.db, sent, head.into_iter().chain(fields));
            }
        }
    }

    /// Takes back everything that was planned after the last executed batch, and reads it again. `refused` is the batch
    /// that was to be executed and was not.
    pub(super) async fn rewind(&mut self, refused: Option<Batch>) -> Result<(), Error> {
        self.take_back(refused).await?;
        let mut progress = self.executed.clone();
        if let Some(from) = &self.doubt_from {
            progress.needed.clone_from(from);
            self.planner.doubt = Doubt::new(self.doubtful(), from.clone());
        }
        let description = self.tools.journal.describe().await?;
        self.durable = durable(&description, self.scope);
        progress.stay_before(&self.durable);
        self.planner.rewind(progress);
        self.read_on().await
    }

    /// Takes back everything that was planned after the last executed batch, also what waits at the destination. The
    /// journal, which may be away just then, is not asked: who plans on has to read again.
    pub(super) async fn take_back(&mut self, mut refused: Option<Batch>) -> Result<(), Error> {
        let planned = self.planner.held.take_changes();
        self.planner.held.undo(&planned);
        self.take_back_deadlines();
        if let Some(batch) = &mut refused {
            self.planner.deadlines.undo(std::mem::take(&mut batch.deadlines));
            self.planner.deadlines.drop_questions();
        }
        if let Some(flight) = self.waiting.take() {
            self.connection.send(b"*1\r\n$7\r\nDISCARD\r\n").await?;
            self.connection.flush().await?;
            // To MULTI, to each command, to DISCARD.
            for _ in flight.answered..flight.batch.commands() + 2 {
                self.connection.recv().await?;
            }
            self.planner.held.undo(&flight.batch.changes);
            self.recycle(flight.batch);
        }
        if let Some(batch) = refused {
            self.planner.held.undo(&batch.changes);
            self.recycle(batch);
        }
        self.open.reset();
        self.planner.suspects.clear();
        self.tried.clear();
        self.ties = None;
        self.unsettled = true;
        self.barrier = None;
        self.intake.clear();
        Ok(())
    }

    /// Per line, up to where it is judged and executed.
    fn doubtful(&self) -> Vec<(Position, Point)> {
        let judged = |line: Line| {
            let judged = self.judged.iter().find(|point| point.line() == line);
            judged.map(|point| point.position).unwrap_or_default()
        };
        self.executed.applied.iter().map(|applied| (judged(applied.line()), *applied)).collect()
    }
}
