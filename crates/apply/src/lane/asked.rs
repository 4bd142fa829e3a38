//! What an operator asks to be done about keys that are set aside: done between two batches, in the order of the lane.
//!
//! A request is taken off the list in the same atomic step as the set of held keys changes, so it is done once whatever
//! is killed. What cannot be done gets an answer in its place. Letters that are tried again stand before the checkpoint
//! already: so their request says that they were executed until the replies have been read, and where nobody has
//! read them the key is a suspect.

use std::collections::HashSet;

use bytes::Bytes;
use event::Position;
use event::quarantine::Letter;
use runtime::ByteSize;

use super::pump::Pump;
use crate::error::Error;
use crate::limits;
use crate::quarantine::set::Spot;
use crate::quarantine::shelf::{Ask, Word, letters, pairs};
use crate::quarantine::suspects::Suspects;

/// What is not done, and why.
type Refused = String;

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
        for (field, word) in pairs(&reply) {
            let outcome = match (Spot::parse(&field), Word::parse(&word)) {
                (_, Word::Refused(_)) => continue,
                (Some(spot), _) if done.contains(&spot) => continue,
                (Some(spot), Word::Tried) => {
                    self.lost_sight_of(spot);
                    continue;
                }
                (Some(spot), Word::Ask(ask)) => self.fulfil(ask, spot, &mut done).await?,
                (None, _) => Err("it does not name a database and a key".to_owned()),
                (_, Word::Unknown(text)) => Err(format!("{text:?} is nothing that can be done")),
            };
            if let Err(why) = outcome {
                tracing::warn!(why, "a request about a key in quarantine cannot be done");
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
        self.planner.suspects.push(spot);
    }

    async fn fulfil(
        &mut self,
        ask: Ask,
        spot: Spot,
        done: &mut HashSet<Spot>,
    ) -> Result<Result<(), Refused>, Error> {
        if !self.planner.held.contains(spot.db, &spot.key) {
            return Ok(Err("the key is not in quarantine".to_owned()));
        }
        match ask {
            Ask::Retry => self.retry(spot, done).await,
            Ask::Discard => {
                tracing::info!("released a key as it is, on request");
                self.planner.held.release(spot.db, &spot.key);
                self.open.urgent = true;
                done.insert(spot);
                Ok(Ok(()))
            }
        }
    }

    /// Plans the dead letters of a key, and of all keys that they concern.
    async fn retry(
        &mut self,
        spot: Spot,
        done: &mut HashSet<Spot>,
    ) -> Result<Result<(), Refused>, Error> {
        let all = letters(&*self.tools.letters.journal).await?;
        let of_stream = |letter: &Letter| {
            letter.stream == self.scope.stream && letter.incarnation == self.scope.incarnation
        };
        let all: Vec<Letter> = all.into_iter().filter(of_stream).collect();
        let (spots, due) = self.due(spot, all);
        if due.is_empty() {
            return Ok(Err("none of its changes is kept in this data directory".to_owned()));
        }
        let bytes: usize = due.iter().map(|letter| letter.event.len()).sum();
        if bytes > limits::GROUP_BYTES {
            let size = |bytes: usize| ByteSize(bytes as u64);
            return Ok(Err(format!(
                "{} of changes are kept for it and what it needs, more than the {} that can be tried at once",
                size(bytes),
                size(limits::GROUP_BYTES)
            )));
        }
        tracing::info!(
            letters = due.len(),
            keys = spots.len(),
            "try dead letters again, on request"
        );
        for spot in &spots {
            self.planner.held.release(spot.db, &spot.key);
        }
        self.planner.rules.hold_expiry_anew(self.tools.clock.now_ms());
        for letter in due {
            self.planner.plan_again(&letter.event, letter.change, &mut self.open)?;
        }
        self.open.urgent = true;
        self.tried.extend(spots.iter().cloned());
        done.extend(spots);
        Ok(Ok(()))
    }

    /// The held keys that hang together with one, and the letters that are due for them, each once and in order.
    fn due(&self, spot: Spot, all: Vec<Letter>) -> (HashSet<Spot>, Vec<Letter>) {
        let spots_of = |letter: &Letter| -> Vec<Spot> {
            let spot = |key: &Bytes| Spot { db: letter.db, key: key.clone() };
            let mut spots: Vec<Spot> = letter.keys.iter().map(spot).collect();
            spots.extend(self.planner.concerned(&letter.event, letter.change));
            spots
        };
        let all: Vec<(Letter, Vec<Spot>)> = all
            .into_iter()
            .map(|letter| (spots_of(&letter), letter))
            .map(|(of, letter)| (letter, of))
            .collect();
        let mut spots = HashSet::from([spot]);
        loop {
            let before = spots.len();
            for (letter, of) in &all {
                if of.iter().any(|spot| spots.contains(spot) && self.is_due(spot, letter)) {
                    spots.extend(of.iter().filter(|spot| self.is_due(spot, letter)).cloned());
                }
            }
            if spots.len() == before {
                break;
            }
        }
        let mut seen: HashSet<(Position, u32)> = HashSet::new();
        let mut due: Vec<Letter> = all
            .into_iter()
            .filter(|(letter, of)| {
                of.iter().any(|spot| spots.contains(spot) && self.is_due(spot, letter))
                    && seen.insert((letter.position, letter.change))
            })
            .map(|(letter, _)| letter)
            .collect();
        due.sort_by_key(|letter| {
            let position = letter.position;
            (position.shard, position.epoch, position.offset, position.index, letter.change)
        });
        (spots, due)
    }

    /// Whether a letter is part of what has come for a held key since it was set aside.
    fn is_due(&self, spot: &Spot, letter: &Letter) -> bool {
        let since = self.planner.held.since(spot);
        since.is_some_and(|since| !since.is_after(&letter.position))
    }
}
