//! What an operator asks to be done about keys that are set aside: done between two batches, in the order of the lane.
//!
//! A request is taken off the list in the same atomic step as the set of held keys changes, so it is done once whatever
//! is killed. What cannot be done gets an answer in its place. Letters that are tried again stand before the checkpoint
//! already: so their request says that they were executed until the replies have been read, and where nobody has
//! read them the key is a suspect.

use std::collections::HashSet;

use super::pump::Pump;
use super::retry::Ties;
use crate::error::Error;
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
        self.asked && (self.unsettled || known)
    }

    /// Does what has been asked for. Everything before has been executed; what this plans goes next.
    pub(super) async fn answer(&mut self) -> Result<(), Error> {
        (self.asked, self.unsettled) = (false, false);
        // An operator may have taken keys off the list.
        let listed = self.connection.call([b"HGETALL".as_slice(), &self.names.suspects]).await?;
        self.suspects = Suspects::read(pairs(&listed));
        self.status.suspects(&self.suspects);
        let reply = self.connection.call([b"HGETALL".as_slice(), &self.names.requests]).await?;
        // Keys that a request has dealt with, with those that hang together with its own.
        let mut done = HashSet::new();
        let mut ties = None;
        for (field, word) in pairs(&reply) {
            let named = Spot::parse(&field);
            let key = named.as_ref().map(Spot::to_string);
            let outcome = match (named, Word::parse(&word)) {
                (_, Word::Refused(_)) => continue,
                (Some(spot), _) if done.contains(&spot) => continue,
                (Some(spot), Word::Tried) => {
                    self.lost_sight_of(spot);
                    continue;
                }
                (Some(spot), Word::Ask(ask)) => {
                    self.fulfil(ask, spot, &mut ties, &mut done).await?
                }
                (None, _) => Err("it does not name a database and a key".to_owned()),
                (_, Word::Unknown(text)) => Err(format!("{text:?} is nothing that can be done")),
            };
            if let Err(why) = outcome {
                tracing::warn!(key, why, "a request about a key in quarantine cannot be done");
                let answer = Word::Refused(why).text();
                let put: [&[u8]; 4] = [b"HSET", &self.names.requests, &field, answer.as_bytes()];
                self.connection.call(put).await?;
            }
        }
        Ok(())
    }

    /// Takes note that the replies to what was tried again have been read.
    pub(super) fn settle(&mut self, tried: HashSet<Spot>) {
        for spot in tried {
            self.open.own([b"HDEL".as_slice(), &self.names.requests, &spot.field()]);
            self.open.urgent = true;
        }
    }

    /// The letters of a key were executed, and the process ended before it knew what became of them.
    fn lost_sight_of(&mut self, spot: Spot) {
        self.open.own([b"HDEL".as_slice(), &self.names.requests, &spot.field()]);
        self.open.urgent = true;
        self.planner.suspects.push(Suspected { spot, evidence: None });
    }

    async fn fulfil(
        &mut self,
        ask: Ask,
        spot: Spot,
        ties: &mut Option<Ties>,
        done: &mut HashSet<Spot>,
    ) -> Result<Result<(), Refused>, Error> {
        if !self.planner.held.contains(spot.db, &spot.key) {
            return Ok(Err("the key is not in quarantine".to_owned()));
        }
        match ask {
            Ask::Retry => self.retry(spot, ties, done).await,
            Ask::Discard => {
                tracing::info!(key = %spot, "released a key as it is, on request");
                self.planner.held.release(spot.db, &spot.key);
                self.open.urgent = true;
                done.insert(spot);
                Ok(Ok(()))
            }
        }
    }
}
