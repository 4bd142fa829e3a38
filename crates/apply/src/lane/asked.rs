//! What an operator asks to be done about keys that are set aside: done between two batches, in the order of the lane.

use std::collections::HashSet;

use bytes::Bytes;
use event::Position;
use event::quarantine::Letter;

use super::pump::Pump;
use crate::error::Error;
use crate::limits;
use crate::quarantine::set::Spot;
use crate::quarantine::shelf::{Ask, letters, pairs};

// === impl Pump ===

impl Pump<'_> {
    /// Does what has been asked for. Everything before has been executed; what this plans goes next.
    pub(super) async fn answer(&mut self) -> Result<(), Error> {
        let reply = self.connection.call([b"HGETALL".as_slice(), &self.names.requests]).await?;
        for (field, word) in pairs(&reply) {
            // Done or not, it is not tried again unasked.
            let forget: [&[u8]; 3] = [b"HDEL", &self.names.requests, &field];
            self.connection.call(forget).await?;
            let (Some(spot), Some(ask)) = (Spot::parse(&field), Ask::parse(&word)) else {
                continue;
            };
            if !self.planner.held.contains(spot.db, &spot.key) {
                continue;
            }
            match ask {
                Ask::Retry => self.retry(spot).await?,
                Ask::Discard => {
                    tracing::info!("released a key as it is, on request");
                    self.planner.held.release(spot.db, &spot.key);
                    self.open.urgent = true;
                }
            }
        }
        Ok(())
    }

    /// Plans the dead letters of a key, and of all keys that they concern.
    async fn retry(&mut self, spot: Spot) -> Result<(), Error> {
        let all = letters(&*self.tools.letters.journal).await?;
        let of_stream = |letter: &Letter| {
            letter.stream == self.scope.stream && letter.incarnation == self.scope.incarnation
        };
        let all: Vec<Letter> = all.into_iter().filter(of_stream).collect();
        let (spots, due) = self.due(spot, all);
        let bytes: usize = due.iter().map(|letter| letter.event.len()).sum();
        if bytes > limits::GROUP_BYTES {
            tracing::warn!(bytes, "too much has come for the key to be tried again at once");
            return Ok(());
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
            self.planner.refused.remove(&(letter.position, letter.change));
            self.planner.plan_again(&letter.event, letter.change, &mut self.open)?;
        }
        self.open.urgent = true;
        Ok(())
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
