//! Deadlines that were put off while the lane lagged: settled once it has caught up, kept from one session to the next.

use wire::resp::reply::Reply;

use super::pump::Pump;
use crate::batch::Batch;
use crate::limits;

// === impl Pump ===

impl Pump<'_> {
    /// Settles some deadlines, if the lane has caught up and there is nothing else to plan at the moment. What is held
    /// back in the journal may prolong them.
    pub(super) fn settle_deadlines(&mut self, now_ms: i64) {
        // Keys of a track that waits are for others to change.
        let waits = self.planner.any_waits();
        let due = !self.stopping && !waits && !self.planner.deadlines.is_empty() && !self.is_held();
        if due && self.planner.has_caught_up() {
            self.planner.settle(now_ms, limits::SETTLED_KEYS, &mut self.open);
        }
    }

    /// Takes note of which fields have got a deadline that was put off.
    pub(super) fn note_answers(&mut self, batch: &Batch, exec: &Reply) {
        if batch.questions.is_empty() {
            return;
        }
        let replies = exec.as_array().unwrap_or_default();
        let answered: Vec<&Reply> = batch.answered(replies).map(|(reply, _)| reply).collect();
        for question in &batch.questions {
            let reply = answered.get(question.sent);
            let said = reply.and_then(|reply| reply.as_array()).unwrap_or_default();
            let of = (question.spot.db, &question.spot.key[..]);
            for (field, said) in question.fields.iter().zip(said) {
                let got_it = said.as_int() == Some(1);
                self.planner.deadlines.answer(of, field, (question.number, got_it));
            }
        }
    }

    /// Takes back what has been planned since the batch that is being executed, or was executed last.
    pub(super) fn take_back_deadlines(&mut self) {
        let deadlines = &mut self.planner.deadlines;
        let planned = deadlines.take_changes();
        deadlines.undo(planned);
        if let Some(flight) = &mut self.waiting {
            deadlines.undo(std::mem::take(&mut flight.batch.deadlines));
        }
        // Those of what was executed have been answered.
        deadlines.drop_questions();
    }

    /// Hands them to the next session, which finds out whether the batch under way was executed.
    pub(super) fn keep_deadlines(&mut self) {
        self.take_back_deadlines();
        self.memory.deadlines = std::mem::take(&mut self.planner.deadlines);
        let running = self.running.as_mut();
        self.memory.unsure_deadlines =
            running.map(|flight| std::mem::take(&mut flight.batch.deadlines)).unwrap_or_default();
    }

    /// Drops those that have passed, and shows how many there are.
    pub(super) fn look_at_deadlines(&mut self) {
        let now_ms = self.tools.clock.now_ms();
        let near_ms = self.planner.rules.near(now_ms);
        let has_caught_up = self.planner.has_caught_up();
        let deadlines = &mut self.planner.deadlines;
        deadlines.drop_until(near_ms);
        let left_out = deadlines.take_left_out();
        deadlines.untold += left_out;
        if deadlines.untold > 0 && has_caught_up {
            // Said once, of all: while it catches up the status tells.
            tracing::warn!(
                deadlines = std::mem::take(&mut deadlines.untold),
                "too many deadlines were put off while catching up: these keys live on until the source deletes them"
            );
        }
        self.status.held_back(deadlines.len(), left_out);
    }
}
