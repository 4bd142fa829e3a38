//! What is due for keys that are to be tried again together: chosen, then read in one pass over the letters.
//!
//! In memory is never more than a bounded part of the letters of several keys, or those of one that are as many as can
//! be tried at once.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use event::quarantine::Letter;
use event::{Body, Position};
use runtime::{ByteSize, chain};

use super::asked::Refused;
use super::ties::{Group, Lot, Ties};
use crate::limits;
use crate::quarantine::set::{Held, Spot};

/// Keys that hang together, and what is due for them.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// Those that an operator has asked for.
    pub(super) asked: Vec<Spot>,
    /// All that are set aside, and since when.
    since: HashMap<Spot, Option<Position>>,
    /// Those of them with whose first change this begins.
    whole: HashSet<Spot>,
    letters: Vec<Letter>,
    seen: HashSet<(Position, u32)>,
    bytes: usize,
    largest: usize,
    refused: Option<Refused>,
}

/// A letter that is due.
#[derive(Debug)]
pub(super) struct Due {
    /// The letter.
    pub(super) letter: Letter,
    /// The held keys of the lane that it is due for.
    pub(super) spots: Vec<Spot>,
    /// Why it cannot be tried again here.
    pub(super) obstacle: Option<Refused>,
}

/// Attempts that are made in one batch.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Each with keys of its own.
    pub(super) list: Vec<Attempt>,
    /// Where their letters lie.
    pub(super) lot: Lot,
    /// Keys of which nothing is kept.
    pub(super) unknown: Vec<Spot>,
    /// Whether there are more than fit.
    pub(super) more: bool,
    /// The attempt that each key is in.
    of: HashMap<Spot, usize>,
}

// === impl Attempts ===

impl Attempts {
    /// As many of the keys as fit, those with the oldest letters first.
    pub(super) fn choose(mut asked: Vec<Spot>, ties: &Ties, held: &Held, limit: usize) -> Self {
        let start = |spot: &Spot| ties.group(spot).map(|(_, group)| group.lot.part.start);
        asked.sort_by_cached_key(start);
        let mut chosen = Self::default();
        for spot in asked {
            let at = chosen.of.get(&spot).copied();
            match (at.and_then(|at| chosen.list.get_mut(at)), ties.group(&spot)) {
                (Some(attempt), _) => attempt.asked.push(spot),
                (None, None) => chosen.unknown.push(spot),
                (None, Some((_, group))) => {
                    let weight = chosen.lot.weight + group.lot.weight;
                    match chosen.list.is_empty() || weight <= limit {
                        true => chosen.add(spot, group, held),
                        false => chosen.more = true,
                    }
                }
            }
        }
        chosen
    }

    /// Takes a letter, if the keys that it is due for are among those that are tried.
    pub(super) fn take(&mut self, due: Due, limit: usize) {
        let at = due.spots.iter().find_map(|spot| self.of.get(spot).copied());
        if let Some(attempt) = at.and_then(|at| self.list.get_mut(at)) {
            attempt.take(due, limit);
        }
    }

    fn add(&mut self, asked: Spot, group: &Group, held: &Held) {
        // Some may have been released since they were tied.
        let spots = group.spots.iter().filter(|spot| held.contains(spot.db, &spot.key));
        let since: HashMap<_, _> = spots.map(|spot| (spot.clone(), held.since(spot))).collect();
        self.of.extend(since.keys().map(|spot| (spot.clone(), self.list.len())));
        self.lot.add(&group.lot);
        self.list.push(Attempt { asked: vec![asked], since, ..Attempt::default() });
    }
}

// === impl Attempt ===

impl Attempt {
    /// The keys, and their letters: each once and in order.
    ///
    /// # Errors
    /// Why they cannot be tried.
    pub(super) fn due(&mut self) -> Result<(HashSet<Spot>, Vec<Letter>), Refused> {
        if let Some(why) = self.refused.take() {
            return Err(why);
        }
        if self.letters.is_empty() {
            return Err(NOTHING_KEPT.to_owned());
        }
        let mut letters = std::mem::take(&mut self.letters);
        letters.sort_by_key(|letter| {
            let position = letter.position;
            (position.shard, position.epoch, position.offset, position.index, letter.change)
        });
        Ok((self.since.keys().cloned().collect(), letters))
    }

    /// Whether its keys are set aside as they were when its letters were read.
    pub(super) fn stands(&self, held: &Held) -> bool {
        self.since
            .iter()
            .all(|(spot, since)| held.contains(spot.db, &spot.key) && held.since(spot) == *since)
    }

    /// What it does not begin with: the change since which a key is set aside is not kept. What came after it alone would
    /// leave that out.
    pub(super) fn lacks(&self) -> Option<Refused> {
        let lacking = self.since.iter().filter(|(spot, _)| !self.whole.contains(spot));
        let (spot, since) = lacking.min_by_key(|(spot, _)| *spot)?;
        let at = since.map(|since| format!(" at {since}")).unwrap_or_default();
        Some(format!(
            "the change{at} with which {spot} was set aside is not among the dead letters (they were removed, or are \
             in another place): write the key anew at the source (for example RESTORE … REPLACE of its DUMP)"
        ))
    }

    fn take(&mut self, due: Due, limit: usize) {
        let Due { mut letter, spots, obstacle } = due;
        let begins = |spot: &Spot| self.since.get(spot) == Some(&Some(letter.position));
        self.whole.extend(spots.into_iter().filter(begins));
        if self.refused.is_some() || !self.seen.insert((letter.position, letter.change)) {
            return;
        }
        self.bytes += letter.event.len();
        self.largest = letter.event.len().max(self.largest);
        // One may be as large as a change may be that comes by itself.
        let fits = match (obstacle, self.bytes - self.largest > limit) {
            (Some(why), _) => Err(why),
            (None, true) => Err(format!(
                "more changes are kept for it and what it needs than the {} that can be tried at once",
                ByteSize(limit as u64)
            )),
            (None, false) => readable(&letter),
        };
        if let Err(why) = fits {
            self.refused = Some(why);
            self.letters = Vec::new();
            return;
        }
        // Not parts of what was read with it, which would stay in memory with them.
        if letter.event.len() < limits::READ_BYTES {
            letter.event = Bytes::copy_from_slice(&letter.event);
        }
        letter.keys = Vec::new();
        self.letters.push(letter);
    }
}

/// Why a key cannot be tried again for which there is no letter.
pub(super) const NOTHING_KEPT: &str = "none of its changes is kept among the dead letters";

/// Whether the change that a letter is about is in it.
fn readable(letter: &Letter) -> Result<(), Refused> {
    let event = event::codec::decode(letter.event.clone()).map_err(|error| {
        format!(
            "the change at {} that is kept for it cannot be read: {}",
            letter.position,
            chain(&error)
        )
    })?;
    let there = match &event.body {
        Body::Group(group) => {
            usize::try_from(letter.change).is_ok_and(|number| number < group.changes.len())
        }
        _ => letter.change == 0,
    };
    match there {
        true => Ok(()),
        false => Err(format!("the change at {} that is kept for it is not whole", letter.position)),
    }
}
