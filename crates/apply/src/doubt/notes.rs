//! What was noted of the changes in doubt, looked at in the order of the source. Pure.
//!
//! Guarantees: a change is applied once more only where all that has changed its key since is in doubt, too, and was
//! seen.

use std::collections::HashMap;

use bytes::Bytes;
use event::{Position, Shard};

use super::evidence::{Evidence, Left};
use super::{Again, Doubtful, Order, Range, Settled};
use crate::plan::{Reach, Rules};
use crate::quarantine::set::Spot as At;
use crate::scope::Line;
use crate::swap::Swap;

/// Something that was noted, and where it stands.
#[derive(Debug)]
pub(super) struct Note {
    /// The line that it was read in.
    pub(super) line: Line,
    /// Its place in that.
    pub(super) order: Order,
    /// What it is.
    pub(super) noted: Noted,
}

/// What was noted.
#[derive(Debug)]
pub(super) enum Noted {
    /// A change of a key; the database is the source's.
    Put { db: u32, key: Bytes, effect: Effect },
    /// One database was emptied, or all.
    Flush { db: u32, all: bool },
    /// Two databases were exchanged.
    Swap(u32, u32),
    /// A change of function libraries: which.
    Functions(Reach, Again),
    /// A change of which nobody knows what keys it changed: a script, or one that cannot be put together.
    Unseen,
    /// A change that has its home in that track, or in one of another lane: of keys of the line, too.
    Elsewhere(Option<usize>),
}

/// What a change makes of the doubt about its key.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// It replaces the value: it is applied once more. What it leaves if it cannot fail.
    Again(Again, Option<Left>),
    /// It puts this text in the place of the value.
    Text(Bytes),
    /// It changes the value, which then shows this, if that can be told.
    Change(Option<Evidence>),
}

/// A key of the destination, or a function library there, and the line whose changes it is judged by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spot {
    line: Line,
    db: u32,
    key: Bytes,
}

/// What is known of a key after what was noted so far.
#[derive(Clone, Debug)]
struct Last {
    /// Database of the source; [`At::LIBRARIES`]: it is a library.
    db: u32,
    /// The first change since the value was replaced.
    since: Position,
    again: Option<Again>,
    /// What it leaves for sure, if it replaces the value and cannot fail.
    left: Option<Left>,
    /// What the key shows if no change has failed.
    evidence: Option<Evidence>,
}

/// The state while notes are looked at one after the other.
struct Look<'a> {
    rules: &'a Rules,
    ranges: &'a [Range],
    last: HashMap<Spot, Last>,
    /// Per line, the last change of which nobody knows which keys it changed.
    blind: HashMap<Line, Order>,
    /// The last exchange of databases.
    swapped: Option<(Shard, Order)>,
}

/// What becomes of the doubt about lines; of shards that are `unfinished` a large change has not come wholly.
pub(super) fn settle(
    mut notes: Vec<Note>,
    (ranges, unfinished): (&[Range], &[Shard]),
    rules: &Rules,
) -> Settled {
    notes.sort_by_key(|note| (note.line.shard, note.order));
    let (last, blind) = (HashMap::new(), HashMap::new());
    let mut look = Look { rules, ranges, last, blind, swapped: None };
    notes.into_iter().for_each(|note| look.at(note));
    look.settled(unfinished)
}

/// What `MSET` makes of one of its keys: the last value that it names.
pub(super) fn text_of(args: &[Bytes], key: &Bytes) -> Effect {
    let pairs = args.get(1..).unwrap_or_default().chunks_exact(2).rev();
    let mut texts = pairs.filter(|pair| pair.first() == Some(key)).filter_map(|pair| pair.get(1));
    texts.next().map_or(Effect::Change(None), |text| Effect::Text(text.clone()))
}

// === impl Look ===

impl Look<'_> {
    fn at(&mut self, Note { line, order, noted }: Note) {
        match noted {
            Noted::Put { db, key, effect } => self.put((line, order), (db, key), effect),
            Noted::Flush { db, all } => self.flush(line.shard, db, all),
            Noted::Functions(reach, again) => self.functions((line, order), reach, again),
            Noted::Swap(first, second) => {
                // One that is no part of a transaction stands in all tracks.
                let here = Some((line.shard, order));
                if std::mem::replace(&mut self.swapped, here) != here {
                    self.swap(line.shard, (first, second));
                }
            }
            Noted::Unseen => {
                let lines = self.ranges.iter().map(|range| range.line);
                self.blind.extend(lines.filter(|of| of.shard == line.shard).map(|of| (of, order)));
            }
            Noted::Elsewhere(home) => {
                let home = home.map(|track| Line { track, ..line });
                let is_seen = home.is_some_and(|home| self.covers(home, order));
                // Where nothing before it is in doubt, it was executed when all that was had been judged.
                let concerns = self.last.keys().any(|spot| spot.line == line);
                if !is_seen && concerns {
                    self.blind.insert(line, order);
                }
            }
        }
    }

    fn covers(&self, line: Line, order: Order) -> bool {
        self.ranges.iter().any(|range| range.line == line && range.covers(order))
    }

    /// The line of the track that a spot belongs to, if that is in doubt so far as well: else it may have been changed
    /// there since, and that have been judged.
    fn own(&self, (line, order): (Line, Order), spot: &At) -> Option<Line> {
        let own = self.rules.names.track_of(spot).map(|track| Line { track, ..line });
        own.filter(|own| *own == line || self.covers(*own, order))
    }

    fn put(&mut self, (line, order): (Line, Order), (db, key): (u32, Bytes), effect: Effect) {
        let (epoch, offset, index, _) = order;
        let here = Position { shard: line.shard, epoch, offset, index };
        let at = self.rules.spot(db, key);
        let own = self.own((line, order), &at);
        let spot = Spot { line: own.unwrap_or(line), db: at.db, key: at.key };
        let effect = if own.is_some() { effect } else { Effect::Change(None) };
        let last = match effect {
            Effect::Again(again, left) => Last { again: Some(again), left, ..Last::of(db, here) },
            Effect::Text(text) => {
                let evidence = Evidence::of_text(&text);
                Last { left: Some(Left::Value), evidence, ..Last::of(db, here) }
            }
            Effect::Change(next) => {
                let before = self.last.remove(&spot);
                let since = before.as_ref().map_or(here, |before| before.since);
                let evidence = match before {
                    None => next,
                    Some(Last { left: Some(left), .. }) => next.map(|next| next.behind(left)),
                    Some(before) => {
                        before.evidence.zip(next).and_then(|(before, next)| before.and(next))
                    }
                };
                Last { evidence, ..Last::of(db, since) }
            }
        };
        self.last.insert(spot, last);
    }

    /// Function libraries: one is what it is at the source after the change, whatever it was, or all are. A change of
    /// those that only the server can name may be one of any.
    fn functions(&mut self, (line, order): (Line, Order), reach: Reach, again: Again) {
        let own = self.own((line, order), &At::library(Bytes::new()));
        let (name, effect) = match (reach, own) {
            (Reach::One { name, .. }, _) => (name, Effect::Again(again, None)),
            (Reach::All { .. }, Some(own)) => {
                self.last.retain(|spot, _| !(spot.is_library() && spot.line == own));
                (Bytes::new(), Effect::Again(again, None))
            }
            (Reach::All { .. } | Reach::Some, _) => {
                let is_library = |spot: &Spot| spot.is_library() && spot.line.shard == line.shard;
                let libraries = self.last.iter_mut().filter(|(spot, _)| is_library(spot));
                libraries.for_each(|(_, last)| *last = Last::of(last.db, last.since));
                (Bytes::new(), Effect::Change(None))
            }
        };
        self.put((line, order), (At::LIBRARIES, name), effect);
    }

    fn flush(&mut self, shard: Shard, db: u32, all: bool) {
        let target = self.rules.mapping.target(db);
        let emptied = |spot: &Spot| {
            spot.line.shard == shard && !spot.is_library() && (all || spot.db == target)
        };
        if self.rules.skips_inexact {
            // Nobody knows any more whether it was done here.
            let kept = self.last.iter_mut().filter(|(spot, _)| emptied(spot));
            kept.for_each(|(_, last)| *last = Last::of(last.db, last.since));
        } else {
            self.last.retain(|spot, _| !emptied(spot));
        }
    }

    /// What was written before names the database where it is no longer.
    fn swap(&mut self, shard: Shard, (first, second): (u32, u32)) {
        let target = |db| self.rules.mapping.target(db);
        let swap = Swap::between(target(first), target(second));
        let moved: Vec<(Spot, Last)> = self
            .last
            .extract_if(|spot, _| spot.line.shard == shard && swap.moves(spot.db))
            .map(|(spot, last)| (spot, Last::of(last.db, last.since)))
            .collect();
        for (spot, last) in moved {
            // The source's number of it.
            let db = if spot.db == target(first) { second } else { first };
            let since = last.since;
            if self.rules.skips_inexact {
                self.last.insert(spot.clone(), last);
            }
            self.last.insert(Spot { db: swap.follow(spot.db), ..spot }, Last::of(db, since));
        }
    }

    fn settled(self, unfinished: &[Shard]) -> Settled {
        let mut settled = Settled::default();
        for (spot, last) in self.last {
            let blind = self.blind.get(&spot.line).copied();
            let is_whole = !unfinished.contains(&spot.line.shard);
            let seen = |again: &Again| is_whole && Some(again.order()) > blind;
            if let Some(again) = last.again.filter(seen) {
                settled.again.push(again);
                continue;
            }
            let evidence = last.evidence.filter(|_| is_whole && blind.is_none());
            let Last { db, since, .. } = last;
            settled.suspects.push(Doubtful { db, key: spot.key, evidence, since });
        }
        settled.again.sort_by_key(Again::order);
        settled.suspects.sort_by(|one, other| (one.db, &one.key).cmp(&(other.db, &other.key)));
        settled
    }
}

// === impl Spot ===

impl Spot {
    fn is_library(&self) -> bool {
        self.db == At::LIBRARIES
    }
}

// === impl Last ===

impl Last {
    /// A change that cannot be judged, to a key of this database of the source.
    fn of(db: u32, since: Position) -> Self {
        Self { db, since, again: None, left: None, evidence: None }
    }
}
