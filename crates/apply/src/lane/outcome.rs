//! What is done about the replies to a batch.
//!
//! Guarantees: what was executed and judged counts as such before anything else is sent; what was refused is planned
//! again, with the reason at hand; nothing that failed is passed in silence.

use std::collections::HashSet;

use event::Position;
use wire::resp::reply::Reply;

use super::judge::{Verdict, judge, refuses_joined};
use super::pump::{Flight, Pump};
use super::status::Executed;
use crate::error::Error;
use crate::plan::Failure;

// === impl Pump ===

impl Pump<'_> {
    /// Judges a batch that was to be executed.
    pub(super) async fn finish(&mut self, flight: Flight, exec: &Reply) -> Result<(), Error> {
        let endpoint = || self.connection.endpoint().to_string();
        if matches!(exec, Reply::Error(_)) && refuses_joined(&flight.refused) {
            tracing::info!(
                endpoint = endpoint(),
                "the destination takes no MSET: keys are set one by one in this session"
            );
            self.planner.rules.joins = false;
            self.asked = true;
            self.rewind(Some(flight.batch)).await?;
            return self.deal_with_earlier();
        }
        match judge(&flight.batch, &flight.refused, exec) {
            Verdict::Executed(failures) => {
                self.note_answers(&flight.batch, exec);
                self.executed(flight, &failures).await
            }
            Verdict::Rejected(failures) => {
                if let Err(error) = self.planner.note_refused(&flight.batch, &failures) {
                    // It has not been executed, and the next session is to know.
                    self.running = Some(flight);
                    return Err(error);
                }
                // Among them may be what an operator asked for: it is set aside again before that is forgotten.
                self.asked = true;
                self.rewind(Some(flight.batch)).await?;
                self.deal_with_earlier()
            }
            Verdict::Refused(refusal) => {
                let endpoint = endpoint();
                // It has not been executed, and the next session is to know.
                self.running = Some(flight);
                Err(Error::Refused { endpoint, refusal })
            }
            Verdict::Unpassed(failure) => self.stand_before(flight.batch, failure).await,
            Verdict::Gone => Err(Error::CheckpointGone { endpoint: endpoint() }),
            Verdict::Torn(said) => Err(Error::Torn { endpoint: endpoint(), said }),
        }
    }

    /// A batch has been executed: notes how far that is, and deals with what failed in it.
    async fn executed(&mut self, flight: Flight, failures: &[Failure]) -> Result<(), Error> {
        let Flight { batch, works, read_from, .. } = flight;
        self.stored_from = read_from;
        for position in &batch.after.applied {
            if !batch.in_doubt.contains(&position.shard) {
                self.judge_up_to(*position);
            }
        }
        if batch.in_doubt.is_empty() {
            self.doubt_from = None;
        }
        let phase_changed = self.executed.resync != batch.after.resync;
        self.executed.clone_from(&batch.after);
        self.memory.stood = vec![self.executed.clone()];
        (self.memory.had_checkpoint, self.anew, self.lags) = (true, false, works);
        self.tell_left_out(&batch);
        self.status.executed(Executed {
            events: batch.events,
            commands: batch.commands() as u64,
            bytes: batch.bytes() as u64,
            letters: batch.letters.len() as u64,
            settled: batch.settled,
        });
        if phase_changed {
            self.show_phase();
        }
        // What had been refused is in a letter now that is durable.
        let applied = &self.executed;
        self.planner.refused.retain(|(position, _), _| {
            applied.of(position.shard).is_none_or(|applied| position.is_after(applied))
        });
        let late = failures.iter().filter(|failure| failure.is_late_renewal());
        let late: HashSet<(u32, u32)> = late.map(|failure| failure.sent.place()).collect();
        self.status.late_renewals(late.len() as u64);
        // What was to be done about the batch before was done in this one.
        self.memory.aftermath = None;
        let aftermath = self.planner.aftermath(&batch, failures);
        self.recycle(batch);
        let tried = std::mem::take(&mut self.tried);
        if !failures.is_empty() {
            self.rewind(None).await?;
            self.deal_with(aftermath)?;
        }
        self.settle(tried);
        if phase_changed && self.executed.resync.is_none() {
            self.clear_suspects();
        }
        Ok(())
    }

    fn judge_up_to(&mut self, position: Position) {
        match self.judged.iter_mut().find(|judged| judged.shard == position.shard) {
            Some(judged) => *judged = position,
            None => self.judged.push(position),
        }
    }
}
