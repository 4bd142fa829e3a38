//! What an operator asks to be done about keys that are set aside: done between two batches, in the order of the lane.
//!
//! A request is taken off the list in the same atomic step as the set of held keys changes, so it is done once whatever
//! is killed. What cannot be done gets an answer in its place. Letters that are tried again stand before the checkpoint
//! already: so their request says that they were executed until the replies have been read, and where nobody has
//! read them the key is a suspect.
//!
//! What is tried again goes part by part, with the stream between them. A lane that is to stop leaves the rest of the
//! requests where they are, for its next start.

use std::collections::HashSet;

use bytes::Bytes;

use super::pump::Pump;
use crate::error::Error;
use crate::limits;
use crate::quarantine::set::Spot;
use crate::quarantine::shelf::{Ask, Word, pairs};
use crate::quarantine::suspects::{Suspected, Suspects};

/// Why something is not done.
pub(super) type Refused = String;

// === impl Pump ===

impl Pump<'_> {
    /// Whether planning rests until it is known what an operator asks about keys that are set aside.
    pub(super) fn has_question(&self) -> bool {
        let known = !self.planner.held.is_empty() || !self.suspects.is_empty();
        // What is set aside of a track that waits is for others to change.
        let waits = !self.planner.progress.waits.is_empty();
        // What is in doubt is looked at as it was left.
        let is_settled = !waits && self.planner.doubt.is_over();
        self.asked && !self.stopping && is_settled && (self.unsettled || known)
    }

    /// Does what has been asked for. Everything before has been executed; what this plans goes next.
    pub(super) async fn answer(&mut self) -> Result<(), Error> {
        (self.asked, self.unsettled) = (false, false);
        let began = self.tools.clock.monotonic();
        // An operator may have taken keys off the list.
        let (mut listed, mut requests) = (Vec::new(), Vec::new());
        let names = self.names.tracks().iter();
        let asked = names.flat_map(|names| {
            [[b"HGETALL".as_slice(), &names.suspects], [b"HGETALL".as_slice(), &names.requests]]
        });
        let mut replies = self.connection.call_each(&asked.collect::<Vec<_>>()).await?.into_iter();
        while let (Some(suspects), Some(asked)) = (replies.next(), replies.next()) {
            listed.extend(pairs(&suspects));
            requests.extend(pairs(&asked));
        }
        self.suspects = Suspects::read(listed);
        self.status.suspects(&self.suspects);
        let mut retries = Vec::new();
        for (field, word) in requests {
            match (Spot::parse(&field), Word::parse(&word)) {
                (_, Word::Refused(_)) => {}
                (Some(spot), Word::Tried) => self.lost_sight_of(spot),
                (Some(spot), Word::Ask(_)) if !self.planner.held.contains(spot.db, &spot.key) => {
                    self.refuse(&field, "it is not in quarantine").await?;
                }
                (Some(spot), Word::Ask(Ask::Retry)) => retries.push(spot),
                (Some(spot), Word::Ask(Ask::Discard)) => self.discard(&spot),
                (None, _) => {
                    let why = "it names neither a database and a key nor a function library";
                    self.refuse(&field, why).await?;
                }
                (_, Word::Unknown(text)) => {
                    let why = format!("{text:?} is nothing that can be done");
                    self.refuse(&field, &why).await?;
                }
            }
        }
        let retried = self.retry(retries).await?;
        for (spot, why) in &retried.refused {
            self.refuse(&spot.field(), why).await?;
        }
        if retried.more {
            let took = self.tools.clock.monotonic().saturating_sub(began);
            self.pause = Some(self.tools.clock.sleep(took.max(limits::RETRY_PAUSE)));
        } else {
            self.ties = None;
        }
        Ok(())
    }

    /// Puts an answer in the place of a request that cannot be done.
    async fn refuse(&mut self, field: &Bytes, why: &str) -> Result<(), Error> {
        let spot = Spot::parse(field);
        let key = spot.as_ref().map(ToString::to_string);
        tracing::warn!(key, why, "a request about a key in quarantine cannot be done");
        let answer = Word::Refused(why.to_owned()).text();
        // What names no key stands where it was found, in any track.
        let own = spot.as_ref().and_then(|spot| self.names.of(spot));
        for names in self.names.tracks() {
            if own.is_some_and(|own| own != names) {
                continue;
            }
            let asked: [&[u8]; 3] = [b"HEXISTS", &names.requests, field];
            if self.connection.call(asked).await?.as_int() == Some(1) {
                let put: [&[u8]; 4] = [b"HSET", &names.requests, field, answer.as_bytes()];
                self.connection.call(put).await?;
            }
        }
        Ok(())
    }

    fn discard(&mut self, spot: &Spot) {
        tracing::info!(key = %spot, "released a key as it is, on request");
        self.planner.held.release(spot.db, &spot.key);
        self.open.urgent = true;
    }

    /// Takes note that the replies to what was tried again have been read.
    pub(super) fn settle(&mut self, tried: HashSet<Spot>) {
        tried.iter().for_each(|spot| self.take_off(spot));
    }

    /// The letters of a key were executed, and the process ended before it knew what became of them.
    fn lost_sight_of(&mut self, spot: Spot) {
        self.take_off(&spot);
        self.planner.suspects.push(Suspected { spot, evidence: None });
    }

    /// Takes a request off the list.
    fn take_off(&mut self, spot: &Spot) {
        if let Some(names) = self.names.of(spot) {
            self.open.own([b"HDEL".as_slice(), &names.requests, &spot.field()]);
            self.open.urgent = true;
        }
    }
}
