//! Trying again what is kept for a key that is set aside.
//!
//! The letters are read twice, since there may be more of them than memory holds: once for which keys hang together, once
//! for what is due. A letter that cannot be read or planned refuses its request, and changes nothing.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use event::quarantine::Letter;
use event::{Body, Position};
use redis_io::facts::SizeFacts;
use runtime::{ByteSize, chain};

use super::asked::Refused;
use super::pump::Pump;
use crate::batch::Batch;
use crate::error::Error;
use crate::limits;
use crate::plan::Failure;
use crate::quarantine::letters::Reading;
use crate::quarantine::set::Spot;

/// Which held keys hang together, since a letter is due for more than one.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// The group of each key.
    of: HashMap<Spot, usize>,
    groups: Vec<Vec<Spot>>,
}

// === impl Pump ===

impl Pump<'_> {
    /// Plans the dead letters of a key, and of all keys that they concern.
    pub(super) async fn retry(
        &mut self,
        spot: Spot,
        ties: &mut Option<Ties>,
        done: &mut HashSet<Spot>,
    ) -> Result<Result<(), Refused>, Error> {
        if ties.is_none() {
            match self.ties().await {
                Ok(found) => *ties = Some(found),
                Err(why) => return Ok(Err(why)),
            }
        }
        let spots = ties.as_ref().map(|ties| ties.with(&spot)).unwrap_or_default();
        let due = match self.due(&spots).await {
            Ok(due) if due.is_empty() => {
                return Ok(Err("none of its changes is kept in this data directory".to_owned()));
            }
            Ok(due) => due,
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = self.can_make_good(&spots, &due) {
            return Ok(Err(why));
        }
        self.look_at_sizes().await?;
        self.planner.rules.hold_expiry_anew(self.tools.clock.now_ms());
        if let Err(why) = self.rehearse(&spots, &due)? {
            return Ok(Err(why));
        }
        tracing::info!(
            letters = due.len(),
            keys = spots.len(),
            "try dead letters again, on request"
        );
        self.planner.plan_letters(&spots, &due, &mut self.open)?;
        self.open.urgent = true;
        self.tried.extend(spots.iter().cloned());
        done.extend(spots);
        Ok(Ok(()))
    }

    /// What was too large may fit by now.
    async fn look_at_sizes(&mut self) -> Result<(), Error> {
        let facts = SizeFacts::ask(&mut self.connection).await?;
        self.planner.rules.take_sizes(facts, &self.tools.config);
        Ok(())
    }

    /// Whether the keys would have the source's values after these letters, if nothing else is wrong with them.
    fn can_make_good(&self, spots: &HashSet<Spot>, due: &[Letter]) -> Result<(), Refused> {
        if due.iter().any(|letter| letter.why == Failure::RENEWED_TOO_LATE) {
            return Err("its value is gone here, and what is kept are only the changes after that: write it anew \
                        at the source (for example RESTORE … REPLACE of its DUMP)"
                .to_owned());
        }
        match spots.iter().find(|spot| self.planner.held.was_moved(spot)) {
            None => Ok(()),
            Some(spot) => Err(format!(
                "some changes of {spot} are kept under another database, since databases were exchanged: write it \
                 anew at the source"
            )),
        }
    }

    /// Plans letters as if, and takes it back: what one of them cannot do concerns its request, and not the lane.
    fn rehearse(
        &mut self,
        spots: &HashSet<Spot>,
        due: &[Letter],
    ) -> Result<Result<(), Refused>, Error> {
        let planner = &mut self.planner;
        let (held, deadlines) = (planner.held.take_changes(), planner.deadlines.take_changes());
        let counts = planner.counts;
        let mut rehearsal = Batch::new(self.tools.config.checkpoint_db);
        let planned = planner.plan_letters(spots, due, &mut rehearsal);
        let changes = planner.held.take_changes();
        planner.held.undo(&changes);
        planner.held.put_back(held);
        let changes = planner.deadlines.take_changes();
        planner.deadlines.undo(changes);
        planner.deadlines.put_back(deadlines);
        planner.counts = counts;
        match planned {
            Ok(()) => Ok(Ok(())),
            // Not about the letter, but about the directory.
            Err(error @ Error::Marks { .. }) => Err(error),
            Err(error) => Ok(Err(chain(&error))),
        }
    }

    /// Reads which held keys hang together.
    async fn ties(&mut self) -> Result<Ties, Refused> {
        let mut ties = Ties::default();
        let mut reading = self.read_letters().await?;
        while let Some((_, due)) = self.next_letter(&mut reading).await? {
            ties.tie(&due);
        }
        Ok(ties)
    }

    /// The letters that are due for any of these keys, each once and in order.
    async fn due(&mut self, spots: &HashSet<Spot>) -> Result<Vec<Letter>, Refused> {
        let mut seen: HashSet<(Position, u32)> = HashSet::new();
        let (mut due, mut bytes, mut largest) = (Vec::new(), 0_usize, 0);
        let limit = limits::GROUP_BYTES.min(self.planner.rules.sizes.group);
        let mut reading = self.read_letters().await?;
        while let Some((letter, of)) = self.next_letter(&mut reading).await? {
            let is_due = of.iter().any(|spot| spots.contains(spot));
            if !is_due || !seen.insert((letter.position, letter.change)) {
                continue;
            }
            bytes += letter.event.len();
            largest = letter.event.len().max(largest);
            // One may be as large as a change may be that comes by itself.
            if bytes - largest > limit {
                return Err(format!(
                    "more changes are kept for it and what it needs than the {} that can be tried at once",
                    ByteSize(limit as u64)
                ));
            }
            readable(&letter)?;
            due.push(letter);
        }
        due.sort_by_key(|letter| {
            let position = letter.position;
            (position.shard, position.epoch, position.offset, position.index, letter.change)
        });
        Ok(due)
    }

    async fn read_letters(&mut self) -> Result<Reading, Refused> {
        Reading::open(&*self.tools.letters.journal).await.map_err(|error| unreadable(&error))
    }

    /// The next letter of this stream, and the held keys that it is due for.
    async fn next_letter(
        &mut self,
        reading: &mut Reading,
    ) -> Result<Option<(Letter, Vec<Spot>)>, Refused> {
        while let Some(letter) = reading.next().await.map_err(|error| unreadable(&error))? {
            if letter.stream != self.scope.stream || letter.incarnation != self.scope.incarnation {
                continue;
            }
            let spot = |key: &Bytes| Spot { db: letter.db, key: key.clone() };
            let mut spots: Vec<Spot> = letter.keys.iter().map(spot).collect();
            spots.extend(self.planner.concerned(&letter.event, letter.change));
            spots.retain(|spot| self.is_due(spot, &letter));
            return Ok(Some((letter, spots)));
        }
        Ok(None)
    }

    /// Whether a letter is part of what has come for a held key since it was set aside.
    fn is_due(&self, spot: &Spot, letter: &Letter) -> bool {
        let since = self.planner.held.since(spot);
        since.is_some_and(|since| !since.is_after(&letter.position))
    }
}

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

fn unreadable(error: &Error) -> Refused {
    format!("the changes that are kept cannot be read: {}", chain(error))
}

// === impl Ties ===

impl Ties {
    /// Ties keys together.
    fn tie(&mut self, spots: &[Spot]) {
        let mut whole: Option<usize> = None;
        for spot in spots {
            let number = self.number(spot);
            whole = Some(whole.map_or(number, |whole| self.merge(whole, number)));
        }
    }

    /// A key and all that hang together with it.
    fn with(&self, spot: &Spot) -> HashSet<Spot> {
        let tied = self.of.get(spot).and_then(|number| self.groups.get(*number));
        tied.into_iter().flatten().chain([spot]).cloned().collect()
    }

    /// The group of a key: a new one, if it has none.
    fn number(&mut self, spot: &Spot) -> usize {
        if let Some(number) = self.of.get(spot) {
            return *number;
        }
        // Not a part of the letter that it was read from, which would stay in memory with it.
        let spot = Spot { db: spot.db, key: Bytes::copy_from_slice(&spot.key) };
        self.of.insert(spot.clone(), self.groups.len());
        self.groups.push(vec![spot]);
        self.groups.len() - 1
    }

    /// Puts the smaller of two groups into the other, and gives that.
    fn merge(&mut self, one: usize, other: usize) -> usize {
        if one == other {
            return one;
        }
        let len = |number: usize| self.groups.get(number).map_or(0, Vec::len);
        let (small, large) = if len(one) < len(other) { (one, other) } else { (other, one) };
        let moved = self.groups.get_mut(small).map(std::mem::take).unwrap_or_default();
        for spot in &moved {
            self.of.insert(spot.clone(), large);
        }
        if let Some(group) = self.groups.get_mut(large) {
            group.extend(moved);
        }
        large
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spots(keys: &[&'static str]) -> Vec<Spot> {
        let spot = |key: &&'static str| Spot { db: 0, key: Bytes::from_static(key.as_bytes()) };
        keys.iter().map(spot).collect()
    }

    #[test]
    fn keys_hang_together_over_any_number_of_letters() {
        let mut ties = Ties::default();
        for keys in [&["a", "b"][..], &["c"], &["d", "e"], &["f"], &["e", "c", "b"], &[]] {
            ties.tie(&spots(keys));
        }
        let tied: HashSet<Spot> = spots(&["a", "b", "c", "d", "e"]).into_iter().collect();
        for spot in &tied {
            assert_eq!(ties.with(spot), tied);
        }
        for alone in spots(&["f", "g"]) {
            assert_eq!(ties.with(&alone), HashSet::from([alone]));
        }
    }
}
