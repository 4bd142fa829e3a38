//! What is done about the replies to a batch.
//!
//! Guarantees: what was executed and judged counts as such before anything else is sent; what was refused is planned
//! again, with the reason at hand; nothing that failed is passed in silence.

use std::collections::HashSet;

use redis_io::Refusal;
use wire::resp::reply::Reply;

use super::judge::{Verdict, judge, refuses_joined};
use super::pump::{Flight, Pump};
use super::status::Executed;
use crate::error::Error;
use crate::plan::{Failure, name_of_change};
use crate::progress::Progress;
use crate::scope::{Line, Point};

// === impl Pump ===

impl Pump<'_> {
    /// Judges a batch that was to be executed.
    pub(super) async fn finish(&mut self, flight: Flight, exec: &Reply) -> Result<(), Error> {
        let endpoint = || self.connection.endpoint().to_string();
        if matches!(exec, Reply::Error(_)) && refuses_joined(&flight.refused) {
            self.tell_of_joined(&flight);
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
                let error = self.refused(&flight, refusal);
                // It has not been executed, and the next session is to know.
                self.running = Some(flight);
                Err(error)
            }
            Verdict::Crossed => {
                let error = Error::Crossed { endpoint: endpoint() };
                self.running = Some(flight);
                Err(error)
            }
            Verdict::Unpassed(failure) => self.stand_before(flight.batch, failure).await,
            Verdict::Gone => Err(Error::CheckpointGone { endpoint: endpoint() }),
            Verdict::Torn(said) => Err(Error::Torn { endpoint: endpoint(), said }),
        }
    }

    /// A batch has been executed: notes how far that is, and deals with what failed in it.
    async fn executed(&mut self, flight: Flight, failures: &[Failure]) -> Result<(), Error> {
        let Flight { batch, works, read_from, written, .. } = flight;
        self.stored.take(written);
        self.stored_from = self.stored.read_from(self.scope, &read_from);
        for point in &batch.after.applied {
            if !batch.in_doubt.contains(&point.line()) {
                self.judge_up_to(*point);
            }
        }
        if batch.in_doubt.is_empty() {
            self.doubt_from = None;
        }
        let ended = self.ended_resyncs(&batch.after);
        let phase_changed = self.executed.resyncs != batch.after.resyncs;
        self.executed.clone_from(&batch.after);
        self.memory.stood = vec![self.executed.clone()];
        self.memory.judged.clone_from(&self.judged);
        self.memory.doubt_from.clone_from(&self.doubt_from);
        self.memory.had_checkpoint.extend(self.stored.iter().map(|(track, _)| track));
        let begun = std::mem::take(&mut self.anew);
        self.tools.begun.lock().extend(begun.into_iter().map(|track| self.scope.span(track).0));
        self.lags = works;
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
        self.planner.refused.retain(|(position, _), (track, _)| {
            let line = Line { track: *track, shard: position.shard };
            applied.of(line).is_none_or(|applied| position.is_after(applied))
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
            // Until it is dealt with: the connection may be lost before.
            self.memory.aftermath = Some(aftermath);
            self.rewind(None).await?;
            self.deal_with_earlier()?;
        }
        self.settle(tried);
        self.clear_suspects(&ended);
        self.tell_others();
        Ok(())
    }

    /// The lines whose snapshot has been applied whole with what was executed now.
    fn ended_resyncs(&self, after: &Progress) -> Vec<Line> {
        let before = self.executed.resyncs.keys().copied();
        before.filter(|line| !after.resyncs.contains_key(line)).collect()
    }

    /// The error about a batch that was refused; where keys are the reason, it names the change that has them.
    fn refused(&self, flight: &Flight, refusal: Refusal) -> Error {
        let endpoint = self.connection.endpoint().to_string();
        let of = flight.refused.iter().find(|(_, found)| *found == refusal);
        let sent = of.and_then(|(sent, _)| *sent).filter(|_| refusal.is_about_keys());
        let record = sent.and_then(|sent| Some((sent, flight.batch.record(sent.record)?)));
        let Some((sent, record)) = record else { return Error::Refused { endpoint, refusal } };
        let spots = self.planner.concerned(record, sent.change);
        if spots.is_empty() {
            return Error::Refused { endpoint, refusal };
        }
        let shown = || spots.iter().take(KEYS_SHOWN);
        let keys: Vec<String> = shown().map(ToString::to_string).collect();
        let mut patterns: Vec<String> = shown().map(|spot| pattern(&spot.key)).collect();
        patterns.dedup();
        let command = name_of_change(record, sent.change);
        let (what, patterns) = (format!("{command} of {}", keys.join(", ")), patterns.join(" "));
        Error::KeyDenied { endpoint, what, patterns, said: refusal.text }
    }

    /// Says once why keys are set one by one.
    fn tell_of_joined(&mut self, flight: &Flight) {
        if std::mem::replace(&mut self.memory.told_of_joined, true) {
            return;
        }
        let endpoint = self.connection.endpoint();
        let joined = flight.refused.iter().find(|(sent, _)| sent.is_some_and(|sent| sent.joined));
        match joined.map(|(_, refusal)| refusal) {
            Some(said) if said.is_about_keys() => tracing::info!(
                %endpoint, %said,
                "the destination refuses to set several keys at once: they are set one by one, to find which it refuses"
            ),
            said => tracing::info!(
                %endpoint, said = said.map(ToString::to_string),
                "the destination takes no MSET: keys are set one by one in this session"
            ),
        }
    }

    fn judge_up_to(&mut self, point: Point) {
        match self.judged.iter_mut().find(|judged| judged.line() == point.line()) {
            Some(judged) => *judged = point,
            None => self.judged.push(point),
        }
    }
}

/// So many keys of a change that is refused are named.
const KEYS_SHOWN: usize = 3;

/// A pattern of keys that would let this one through: what stands before its first colon, where that is plain.
fn pattern(key: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let end = key.iter().position(|byte| !plain(byte));
    match end.and_then(|end| key.split_at_checked(end)) {
        Some((head, [b':', ..])) => format!("~{}:*", String::from_utf8_lossy(head)),
        None if !key.is_empty() && key.len() < PATTERN_BYTES => {
            format!("~{}", String::from_utf8_lossy(key))
        }
        _ => "~*".to_owned(),
    }
}

/// A longer key makes no pattern.
const PATTERN_BYTES: usize = 64;
