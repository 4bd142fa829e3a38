//! Changes that were executed before a crash and whose replies nobody has read. Pure.
//!
//! EXEC does not roll back, so one of them may have failed while the checkpoint beside it stands. They are read again from
//! the journal: a key whose last change among them replaces it as a whole gets that change once more; the others
//! are suspects, since applying them again could apply them twice, unless the destination shows that none of their
//! changes failed.
//!
//! What is once more applied is never older than what the key has got since: large changes are put together as the lane
//! does it, what came before a flush is forgotten, and nothing from before a change that cannot be seen (a script, a
//! change that cannot be put together) is applied again. Keys are those of the destination.

pub(crate) mod evidence;

use std::collections::HashMap;

use bytes::Bytes;
use event::codec::DecodeError;
use event::control::Control;
use event::fragment::{Assembler, Fragment, FragmentError};
use event::{Body, Change, Command, Event, Position, Shard};

use self::evidence::{Evidence, Left};
use crate::limits;
use crate::plan::{Roles, Rules};
use crate::swap::Swap;

/// What is in doubt at the start of a lane.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    ranges: Vec<Range>,
    last: HashMap<Spot, Last>,
    /// Large changes of which not all has come, by shard and the partition's index in the lane.
    open: HashMap<(Shard, usize), Assembler>,
    /// Per partition, where reading begins so that all of it is met.
    from: Vec<u64>,
}

/// The changes of one shard that are in doubt.
#[derive(Clone, Copy, Debug)]
struct Range {
    /// What is not after it has been judged, or noted: records may come twice.
    noted: Option<Position>,
    /// The last that was executed.
    applied: Position,
    /// The last of which nobody knows which keys it changed.
    blind: Option<Order>,
}

/// Where a change stands in its shard: epoch, offset, index, number in its group.
type Order = (u64, u64, u64, u32);

/// A key of the destination, and the shard that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spot {
    shard: Shard,
    db: u32,
    key: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    /// Database of the source.
    db: u32,
    again: Option<Again>,
    /// What it leaves for sure, if it replaces the value and cannot fail.
    left: Option<Left>,
    /// What the key shows if no change has failed.
    evidence: Option<Evidence>,
}

/// What a change makes of the doubt about its key.
#[derive(Clone)]
enum Effect {
    /// It replaces the value: it is applied once more. What it leaves if it cannot fail.
    Again(Again, Option<Left>),
    /// It puts this text in the place of the value.
    Text(Bytes),
    /// It changes the value, which then shows this, if that can be told.
    Change(Option<Evidence>),
}

/// A change to be applied once more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Again {
    /// Where it stands.
    pub(crate) position: Position,
    /// Which change of a group.
    pub(crate) change: u32,
    /// The encoded event.
    pub(crate) record: Bytes,
}

/// What becomes of the doubt about one shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// To be applied once more, in order.
    pub(crate) again: Vec<Again>,
    /// Keys that cannot be judged: database of the source and key, and what they show if nothing is wrong with them.
    pub(crate) suspects: Vec<(u32, Bytes, Option<Evidence>)>,
}

/// Why a change in doubt cannot be seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unseen {
    /// Its pieces do not make a whole.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// The whole cannot be read.
    #[error(transparent)]
    Record(#[from] DecodeError),
}

// === impl Doubt ===

impl Doubt {
    /// The doubt of a checkpoint: pairs of judged and applied. Reading begins at `from`.
    pub(crate) fn new(
        pairs: impl IntoIterator<Item = (Position, Position)>,
        from: Vec<u64>,
    ) -> Self {
        let doubtful = pairs.into_iter().filter(|(judged, applied)| judged != applied);
        let ranges = doubtful.map(|(judged, applied)| Range {
            noted: Some(judged).filter(|judged| judged.shard == applied.shard),
            applied,
            blind: None,
        });
        Self { ranges: ranges.collect(), from, ..Self::default() }
    }

    /// Whether changes of a shard are in doubt.
    pub(crate) fn concerns(&self, shard: Shard) -> bool {
        self.ranges.iter().any(|range| range.applied.shard == shard)
    }

    /// The shards of which changes are in doubt.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        self.ranges.iter().map(|range| range.applied.shard).collect()
    }

    /// Where reading has to begin for as long as there is doubt.
    pub(crate) fn from(&self) -> Option<&[u64]> {
        (!self.ranges.is_empty()).then_some(&self.from)
    }

    /// Takes note of an event that has been applied, of the partition with that index in the lane.
    ///
    /// # Errors
    /// When it is a large change that cannot be put together: then nothing before it is applied again.
    pub(crate) fn note(
        &mut self,
        event: &Event,
        record: &Bytes,
        (lane_index, rules): (usize, &Rules),
    ) -> Result<(), Unseen> {
        let position = event.position;
        if !self.ranges.iter().any(|range| range.has(position)) {
            return Ok(());
        }
        let Body::Fragment(fragment) = &event.body else {
            self.take(event, record, rules);
            return Ok(());
        };
        match self.assemble(fragment, position, lane_index) {
            Ok(None) => Ok(()),
            Ok(Some((whole, record))) => {
                self.take(&whole, &record, rules);
                Ok(())
            }
            Err(unseen) => {
                self.lose_sight(position, u32::MAX);
                self.pass(position);
                Err(unseen)
            }
        }
    }

    /// Ends the doubt about a shard.
    pub(crate) fn settle(&mut self, shard: Shard) -> Settled {
        let mine = self.ranges.extract_if(.., |range| range.applied.shard == shard);
        let blind = mine.filter_map(|range| range.blind).max();
        let unfinished: Vec<Assembler> =
            self.open.extract_if(|(of, _), _| *of == shard).map(|(_, open)| open).collect();
        let unfinished = unfinished.iter().any(Assembler::is_open);
        let in_sight = !unfinished && blind.is_none();
        let mut settled = Settled::default();
        for (spot, last) in self.last.extract_if(|spot, _| spot.shard == shard) {
            let seen = |again: &Again| !unfinished && Some(again.order()) > blind;
            match last.again.filter(seen) {
                Some(again) => settled.again.push(again),
                None => {
                    let evidence = last.evidence.filter(|_| in_sight);
                    settled.suspects.push((last.db, spot.key, evidence));
                }
            }
        }
        settled.again.sort_by_key(Again::order);
        settled.suspects.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        settled
    }

    /// Takes the next piece of a large change. With the last one it gives all of it, and its encoding.
    fn assemble(
        &mut self,
        fragment: &Fragment,
        position: Position,
        lane_index: usize,
    ) -> Result<Option<(Event, Bytes)>, Unseen> {
        let open = self.open.entry((position.shard, lane_index));
        let open = open.or_insert_with(|| Assembler::lean(limits::EVENT_BYTES));
        let Some(record) = open.push(fragment.clone(), position)? else { return Ok(None) };
        Ok(Some((event::codec::decode_lean(record.clone())?, record)))
    }

    fn take(&mut self, event: &Event, record: &Bytes, rules: &Rules) {
        let position = event.position;
        self.pass(position);
        let again = Again { position, change: 0, record: record.clone() };
        match &event.body {
            Body::Command(command) => self.command(again, command, event.db, rules),
            Body::Image(image) if image.head.snapshot_id == 0 => {
                self.put(rules, event.db, &event.key, (position.shard, Effect::Again(again, None)));
            }
            Body::ImagePart(part) if part.head.snapshot_id == 0 => {
                self.put(rules, event.db, &event.key, (position.shard, Effect::Change(None)));
            }
            Body::Group(group) => {
                for (change, grouped) in (0u32..).zip(&group.changes) {
                    let again = Again { change, ..again.clone() };
                    let shard = position.shard;
                    match &grouped.change {
                        Change::Command(command) => self.command(again, command, grouped.db, rules),
                        Change::Flush { all } => self.flush(shard, grouped.db, *all, rules),
                        Change::SwapDb { first, second } => {
                            self.swap(shard, (*first, *second), rules);
                        }
                        Change::Function(_) => {}
                    }
                }
            }
            Body::Control(Control::Flush { all }) => {
                self.flush(position.shard, event.db, *all, rules);
            }
            Body::Control(Control::SwapDb { first, second }) => {
                self.swap(position.shard, (*first, *second), rules);
            }
            // A capture that died while it wrote a large change writes it again.
            Body::Control(Control::EpochBegin(_)) => {
                self.open.retain(|(shard, _), _| *shard != position.shard);
            }
            Body::Image(_) | Body::ImagePart(_) | Body::Fragment(_) | Body::Control(_) => {}
        }
    }

    fn command(&mut self, again: Again, command: &Command, db: u32, rules: &Rules) {
        if command.is_script() {
            self.lose_sight(again.position, again.change);
        }
        let roles = Roles::of(command, db);
        let shard = again.position.shard;
        // One key only: of several, another may have changed again since.
        let alone = roles.keys.len() == 1;
        let left = Left::of(&command.args);
        let sets_many = roles.spec.is_some_and(|spec| spec.name == "MSET");
        for role in roles.written() {
            let effect = match alone {
                true if roles.whole_state() => Effect::Again(again.clone(), left),
                true => Effect::Change(Evidence::of(&command.args)),
                false if sets_many => text_of(&command.args, role.key),
                false => Effect::Change(None),
            };
            self.put(rules, role.db, role.key, (shard, effect));
        }
    }

    fn put(&mut self, rules: &Rules, db: u32, key: &Bytes, (shard, effect): (Shard, Effect)) {
        if !rules.takes(db, key) || rules.is_own(key) {
            return;
        }
        let spot = Spot { shard, db: rules.mapping.target(db), key: key.clone() };
        let last = match effect {
            Effect::Again(again, left) => Last { db, again: Some(again), left, evidence: None },
            Effect::Text(text) => {
                let evidence = Evidence::of_text(&text);
                Last { db, again: None, left: Some(Left::Value), evidence }
            }
            Effect::Change(next) => {
                let evidence = match self.last.remove(&spot) {
                    None => next,
                    Some(Last { left: Some(left), .. }) => next.map(|next| next.behind(left)),
                    Some(before) => {
                        before.evidence.zip(next).and_then(|(before, next)| before.and(next))
                    }
                };
                Last { db, again: None, left: None, evidence }
            }
        };
        self.last.insert(spot, last);
    }

    /// One database has been emptied, or all.
    fn flush(&mut self, shard: Shard, db: u32, all: bool, rules: &Rules) {
        if !all && !rules.filters.db(db) {
            return;
        }
        let target = rules.mapping.target(db);
        let emptied = |spot: &Spot| spot.shard == shard && (all || spot.db == target);
        if rules.skips_inexact {
            // Nobody knows any more whether it was done here.
            let kept = self.last.iter_mut().filter(|(spot, _)| emptied(spot));
            kept.for_each(|(_, last)| *last = Last::of(last.db));
        } else {
            self.last.retain(|spot, _| !emptied(spot));
        }
    }

    /// Two databases have been exchanged. What was written before names the database where it is no longer.
    fn swap(&mut self, shard: Shard, (first, second): (u32, u32), rules: &Rules) {
        let target = |db| rules.mapping.target(db);
        let swap = Swap::between(target(first), target(second));
        let moved: Vec<(Spot, Last)> = self
            .last
            .extract_if(|spot, _| spot.shard == shard && swap.moves(spot.db))
            .map(|(spot, last)| (spot, Last::of(last.db)))
            .collect();
        for (spot, last) in moved {
            // The source's number of it.
            let db = if spot.db == target(first) { second } else { first };
            if rules.skips_inexact {
                self.last.insert(spot.clone(), last);
            }
            self.last.insert(Spot { db: swap.follow(spot.db), ..spot }, Last::of(db));
        }
    }

    /// Nothing up to here is applied again: a change that is not seen follows.
    fn lose_sight(&mut self, position: Position, change: u32) {
        let here = order(position, change);
        let mine = self.ranges.iter_mut().filter(|range| range.applied.shard == position.shard);
        mine.for_each(|range| range.blind = Some(here).max(range.blind));
    }

    fn pass(&mut self, position: Position) {
        let mine = self.ranges.iter_mut().filter(|range| range.applied.shard == position.shard);
        mine.for_each(|range| range.noted = Some(position));
    }
}

// === impl Range ===

impl Range {
    /// Whether a record is in doubt, and has not been noted.
    fn has(&self, position: Position) -> bool {
        self.applied.shard == position.shard
            && !position.is_after(&self.applied)
            && self.noted.is_none_or(|noted| position.is_after(&noted))
    }
}

// === impl Last ===

impl Last {
    /// A change that cannot be judged, to a key of this database of the source.
    fn of(db: u32) -> Self {
        Self { db, again: None, left: None, evidence: None }
    }
}

/// What `MSET` makes of one of its keys: the last value that it names.
fn text_of(args: &[Bytes], key: &Bytes) -> Effect {
    let pairs = args.get(1..).unwrap_or_default().chunks_exact(2).rev();
    let mut texts = pairs.filter(|pair| pair.first() == Some(key)).filter_map(|pair| pair.get(1));
    texts.next().map_or(Effect::Change(None), |text| Effect::Text(text.clone()))
}

// === impl Again ===

impl Again {
    fn order(&self) -> Order {
        order(self.position, self.change)
    }
}

fn order(position: Position, change: u32) -> Order {
    (position.epoch, position.offset, position.index, change)
}
