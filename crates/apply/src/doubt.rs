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
use event::{Body, Change, Command, Event, Position};

use self::evidence::{Evidence, Left};
use crate::limits;
use crate::plan::{Roles, Rules};
use crate::scope::{Line, Point};
use crate::swap::Swap;

/// What is in doubt at the start of a lane.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    ranges: Vec<Range>,
    last: HashMap<Spot, Last>,
    /// Large changes of which not all has come, by line and the partition's index in the lane.
    open: HashMap<(Line, usize), Assembler>,
    /// Per partition, where reading begins so that all of it is met.
    from: Vec<u64>,
}

/// The changes of one line that are in doubt.
#[derive(Clone, Copy, Debug)]
struct Range {
    line: Line,
    /// What is not after it has been judged, or noted: records may come twice.
    noted: Option<Position>,
    /// The last that was executed.
    applied: Position,
    /// The last of which nobody knows which keys it changed.
    blind: Option<Order>,
}

/// Where a change stands in its line: epoch, offset, index, number in its group.
type Order = (u64, u64, u64, u32);

/// A key of the destination, and the line that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spot {
    line: Line,
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

/// What becomes of the doubt about one line.
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
    /// The doubt of checkpoints: pairs of judged and applied. Reading begins at `from`.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (Position, Point)>, from: Vec<u64>) -> Self {
        let doubtful = pairs.into_iter().filter(|(judged, applied)| *judged != applied.position);
        let ranges = doubtful.map(|(judged, applied)| Range {
            line: applied.line(),
            noted: Some(judged).filter(|judged| judged.shard == applied.position.shard),
            applied: applied.position,
            blind: None,
        });
        Self { ranges: ranges.collect(), from, ..Self::default() }
    }

    /// Whether changes of a line are in doubt.
    pub(crate) fn concerns(&self, line: Line) -> bool {
        self.ranges.iter().any(|range| range.line == line)
    }

    /// Whether all that is in doubt of a line has been noted, so that nothing is to be waited for.
    pub(crate) fn is_whole(&self, line: Line) -> bool {
        let mut mine = self.ranges.iter().filter(|range| range.line == line).peekable();
        mine.peek().is_some() && mine.all(Range::is_noted)
    }

    /// The last change of a line that is in doubt.
    pub(crate) fn end(&self, line: Line) -> Option<Position> {
        let mine = self.ranges.iter().filter(|range| range.line == line);
        mine.map(|range| range.applied).next_back()
    }

    /// The lines of which changes are in doubt.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.ranges.iter().map(|range| range.line).collect()
    }

    /// Where reading has to begin for as long as there is doubt.
    pub(crate) fn from(&self) -> Option<&[u64]> {
        (!self.ranges.is_empty()).then_some(&self.from)
    }

    /// Takes note of an event that has been applied, of the partition with that index in the lane, and its track.
    ///
    /// # Errors
    /// When it is a large change that cannot be put together: then nothing before it is applied again.
    pub(crate) fn note(
        &mut self,
        event: &Event,
        record: &Bytes,
        ((track, lane_index), rules): ((usize, usize), &Rules),
    ) -> Result<(), Unseen> {
        let point = Point { track, position: event.position };
        if !self.ranges.iter().any(|range| range.has(point)) {
            return Ok(());
        }
        let Body::Fragment(fragment) = &event.body else {
            self.take(event, record, (track, rules));
            return Ok(());
        };
        match self.assemble(fragment, point, lane_index) {
            Ok(None) => Ok(()),
            Ok(Some((whole, record))) => {
                self.take(&whole, &record, (track, rules));
                Ok(())
            }
            Err(unseen) => {
                self.lose_sight(point, u32::MAX);
                self.pass(point);
                Err(unseen)
            }
        }
    }

    /// Ends the doubt about a line.
    pub(crate) fn settle(&mut self, line: Line) -> Settled {
        let mine = self.ranges.extract_if(.., |range| range.line == line);
        let blind = mine.filter_map(|range| range.blind).max();
        let unfinished: Vec<Assembler> =
            self.open.extract_if(|(of, _), _| *of == line).map(|(_, open)| open).collect();
        let unfinished = unfinished.iter().any(Assembler::is_open);
        let in_sight = !unfinished && blind.is_none();
        let mut settled = Settled::default();
        for (spot, last) in self.last.extract_if(|spot, _| spot.line == line) {
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
        point: Point,
        lane_index: usize,
    ) -> Result<Option<(Event, Bytes)>, Unseen> {
        let open = self.open.entry((point.line(), lane_index));
        let open = open.or_insert_with(|| Assembler::lean(limits::EVENT_BYTES));
        let Some(record) = open.push(fragment.clone(), point.position)? else { return Ok(None) };
        Ok(Some((event::codec::decode_lean(record.clone())?, record)))
    }

    fn take(&mut self, event: &Event, record: &Bytes, (track, rules): (usize, &Rules)) {
        let position = event.position;
        let point = Point { track, position };
        let line = point.line();
        self.pass(match is_last_of_its_offset(&event.body) {
            true => Point { track, position: position.at_index(Position::LAST_INDEX) },
            false => point,
        });
        let again = Again { position, change: 0, record: record.clone() };
        match &event.body {
            Body::Command(command) => self.command((line, again), command, event.db, rules),
            Body::Image(image) if image.head.snapshot_id == 0 => {
                self.put(rules, event.db, &event.key, (line, Effect::Again(again, None)));
            }
            Body::ImagePart(part) if part.head.snapshot_id == 0 => {
                self.put(rules, event.db, &event.key, (line, Effect::Change(None)));
            }
            Body::Group(group) => {
                for (change, grouped) in (0u32..).zip(&group.changes) {
                    let again = Again { change, ..again.clone() };
                    match &grouped.change {
                        Change::Command(command) => {
                            self.command((line, again), command, grouped.db, rules);
                        }
                        Change::Flush { all } => self.flush(line, grouped.db, *all, rules),
                        Change::SwapDb { first, second } => {
                            self.swap(line, (*first, *second), rules);
                        }
                        Change::Function(_) => {}
                    }
                }
            }
            Body::Control(Control::Flush { all }) => self.flush(line, event.db, *all, rules),
            Body::Control(Control::SwapDb { first, second }) => {
                self.swap(line, (*first, *second), rules);
            }
            // A capture that died while it wrote a large change writes it again.
            Body::Control(Control::EpochBegin(_)) => self.open.retain(|(of, _), _| *of != line),
            Body::Image(_) | Body::ImagePart(_) | Body::Fragment(_) | Body::Control(_) => {}
        }
    }

    fn command(&mut self, (line, again): (Line, Again), command: &Command, db: u32, rules: &Rules) {
        let point = Point { track: line.track, position: again.position };
        if command.is_script() {
            self.lose_sight(point, again.change);
        }
        let roles = Roles::of(command, db);
        let left = Left::of(&command.args);
        let sets_many = roles.spec.is_some_and(|spec| spec.name == "MSET");
        for role in roles.written() {
            // One key only: of several, another may have changed again since. And of its own track: another track may
            // have changed it since, so that it shows nothing either.
            let (own, alone) = (rules.names.is_of(line.track, role.key), roles.keys.len() == 1);
            let effect = match (own, alone) {
                (true, true) if roles.whole_state() => Effect::Again(again.clone(), left),
                (true, true) => Effect::Change(Evidence::of(&command.args)),
                (true, false) if sets_many => text_of(&command.args, role.key),
                _ => Effect::Change(None),
            };
            self.put(rules, role.db, role.key, (line, effect));
        }
    }

    fn put(&mut self, rules: &Rules, db: u32, key: &Bytes, (line, effect): (Line, Effect)) {
        if !rules.takes(db, key) || rules.is_own(key) {
            return;
        }
        let spot = Spot { line, db: rules.mapping.target(db), key: key.clone() };
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
    fn flush(&mut self, line: Line, db: u32, all: bool, rules: &Rules) {
        if !all && !rules.filters.db(db) {
            return;
        }
        let target = rules.mapping.target(db);
        let emptied = |spot: &Spot| spot.line == line && (all || spot.db == target);
        if rules.skips_inexact {
            // Nobody knows any more whether it was done here.
            let kept = self.last.iter_mut().filter(|(spot, _)| emptied(spot));
            kept.for_each(|(_, last)| *last = Last::of(last.db));
        } else {
            self.last.retain(|spot, _| !emptied(spot));
        }
    }

    /// Two databases have been exchanged. What was written before names the database where it is no longer.
    fn swap(&mut self, line: Line, (first, second): (u32, u32), rules: &Rules) {
        let target = |db| rules.mapping.target(db);
        let swap = Swap::between(target(first), target(second));
        let moved: Vec<(Spot, Last)> = self
            .last
            .extract_if(|spot, _| spot.line == line && swap.moves(spot.db))
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
    fn lose_sight(&mut self, point: Point, change: u32) {
        let here = order(point.position, change);
        let mine = self.ranges.iter_mut().filter(|range| range.line == point.line());
        mine.for_each(|range| range.blind = Some(here).max(range.blind));
    }

    fn pass(&mut self, point: Point) {
        let mine = self.ranges.iter_mut().filter(|range| range.line == point.line());
        mine.for_each(|range| range.noted = Some(point.position));
    }
}

// === impl Range ===

impl Range {
    /// Whether a record is in doubt, and has not been noted.
    fn has(&self, Point { track, position }: Point) -> bool {
        self.line == Line { track, shard: position.shard }
            && !position.is_after(&self.applied)
            && self.noted.is_none_or(|noted| position.is_after(&noted))
    }

    fn is_noted(&self) -> bool {
        self.noted.is_some_and(|noted| !self.applied.is_after(&noted))
    }
}

/// Whether nothing else stands at the offset of an event, but what changes no key. Who has executed it among several
/// tracks has passed all of its offset.
fn is_last_of_its_offset(body: &Body) -> bool {
    match body {
        Body::Group(group) => group.last,
        Body::Control(control) => {
            matches!(control, Control::Flush { .. } | Control::SwapDb { .. })
        }
        Body::Command(_) | Body::Image(_) | Body::ImagePart(_) | Body::Fragment(_) => false,
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
