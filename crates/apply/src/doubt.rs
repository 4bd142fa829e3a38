//! Changes that were executed before a crash and whose replies nobody has read. Pure.
//!
//! EXEC does not roll back, so one of them may have failed while the checkpoint beside it stands. They are read again from
//! the journal: a key whose last change among them replaces it as a whole gets that change once more; the others
//! are suspects, since applying them again could apply them twice, unless the destination shows that none of their
//! changes failed.
//!
//! What is once more applied is never older than what the key has got since: large changes are put together as the lane
//! does it, what came before a flush is forgotten, and nothing from before a change that cannot be seen (a script, a
//! change that cannot be put together, one of several tracks that another lane has executed) is applied again. Keys are
//! those of the destination.
//!
//! Function libraries are told like keys: LOAD and DELETE make one what it is at the source, whatever it was, FLUSH makes
//! all. What RESTORE brings is known only to the server: all that changed before it are suspects.
//!
//! A change of several tracks is of keys that others of them change, too. So all lines of a lane are noted before any is
//! settled, and what was noted is looked at in the order of the shard, whatever order it was read in. Where several shards
//! are in doubt there are no such changes, and each line is settled as soon as it is noted: a track in which one of them
//! waited would hold the others up for ever.

pub(crate) mod evidence;
mod notes;

use std::collections::HashMap;

use bytes::Bytes;
use event::codec::DecodeError;
use event::control::Control;
use event::fragment::{Assembler, Fragment, FragmentError};
use event::{Body, Change, Command, Event, Position, Shard};

use self::evidence::{Evidence, Left};
use self::notes::{Effect, Note, Noted};
use crate::limits;
use crate::plan::{AppliedFunctions, Reach, Roles, Rules};
use crate::scope::{Line, Point};

/// What is in doubt at the start of a lane.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    ranges: Vec<Range>,
    notes: Vec<Note>,
    /// Large changes of which not all has come, by line and the partition's index in the lane.
    open: HashMap<(Line, usize), Assembler>,
    /// Per partition, where reading begins so that all of it is met.
    from: Vec<u64>,
}

/// The changes of one line that are in doubt.
#[derive(Clone, Copy, Debug)]
struct Range {
    line: Line,
    /// What is not after it has been judged.
    judged: Option<Position>,
    /// What is not after it has been judged, or noted: records may come twice.
    noted: Option<Position>,
    /// The last that was executed.
    applied: Position,
    /// Whether what comes next is behind it.
    passed: bool,
}

/// Where a change stands in its line: epoch, offset, index, number in its group.
type Order = (u64, u64, u64, u32);

/// Where an event is read again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Where<'a> {
    /// The track.
    pub(crate) track: usize,
    /// The partition's index in the lane.
    pub(crate) lane_index: usize,
    /// What the settings say.
    pub(crate) rules: &'a Rules,
    /// Which changes of function libraries are applied there.
    pub(crate) functions: AppliedFunctions,
    /// Whether a snapshot has removed the libraries that there were before it.
    pub(crate) forgets_functions: bool,
}

/// A change to be applied once more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Again {
    /// The track that it is read in.
    pub(crate) track: usize,
    /// Where it stands.
    pub(crate) position: Position,
    /// Which change of a group.
    pub(crate) change: u32,
    /// The encoded event.
    pub(crate) record: Bytes,
}

/// A key, or a function library, that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubtful {
    /// Database of the source; `Spot::LIBRARIES`: it is a library.
    pub(crate) db: u32,
    /// The key, or the name of the library.
    pub(crate) key: Bytes,
    /// What it shows if nothing is wrong with it.
    pub(crate) evidence: Option<Evidence>,
    /// The first of its changes that may have failed.
    pub(crate) since: Position,
}

/// What becomes of the doubt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// To be applied once more, in order.
    pub(crate) again: Vec<Again>,
    /// Keys that cannot be judged.
    pub(crate) suspects: Vec<Doubtful>,
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
        let ranges = doubtful.map(|(judged, applied)| {
            let judged = Some(judged).filter(|judged| judged.shard == applied.position.shard);
            let (line, applied) = (applied.line(), applied.position);
            Range { line, judged, noted: judged, applied, passed: false }
        });
        Self { ranges: ranges.collect(), from, ..Self::default() }
    }

    /// Whether nothing is in doubt.
    pub(crate) fn is_over(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether changes of a line are in doubt.
    pub(crate) fn concerns(&self, line: Line) -> bool {
        self.ranges.iter().any(|range| range.line == line)
    }

    /// Whether several shards are in doubt.
    pub(crate) fn is_of_several(&self) -> bool {
        let first = self.ranges.first().map(|range| range.line.shard);
        self.ranges.iter().any(|range| Some(range.line.shard) != first)
    }

    /// Whether all that is in doubt has been noted, so that nothing is to be waited for.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_over() && self.ranges.iter().all(Range::is_whole)
    }

    /// Whether all that is in doubt of a track has been noted, and not that of others.
    pub(crate) fn waits(&self, track: usize) -> bool {
        let mut mine = self.ranges.iter().filter(|range| range.line.track == track).peekable();
        !self.is_of_several() && mine.peek().is_some() && mine.all(Range::is_whole)
    }

    /// What comes next of a line is behind what is in doubt.
    pub(crate) fn has_passed(&mut self, line: Line) {
        let mine = self.ranges.iter_mut().filter(|range| range.line == line);
        mine.for_each(|range| range.passed = true);
    }

    /// The lines of which changes are in doubt.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.ranges.iter().map(|range| range.line).collect()
    }

    /// Where reading has to begin for as long as there is doubt.
    pub(crate) fn from(&self) -> Option<&[u64]> {
        (!self.ranges.is_empty()).then_some(&self.from)
    }

    /// Takes note of an event that has been applied.
    ///
    /// # Errors
    /// When it is a large change that cannot be put together: then nothing before it is applied again.
    pub(crate) fn note(
        &mut self,
        event: &Event,
        record: &Bytes,
        here: Where<'_>,
    ) -> Result<(), Unseen> {
        let point = Point { track: here.track, position: event.position };
        if !self.ranges.iter().any(|range| range.has(point))
            || is_beside_its_home(event, point, here.rules)
        {
            return Ok(());
        }
        let Body::Fragment(fragment) = &event.body else {
            self.take(event, record, here);
            return Ok(());
        };
        match self.assemble(fragment, point, here.lane_index) {
            Ok(None) => Ok(()),
            Ok(Some((whole, record))) => {
                self.take(&whole, &record, here);
                Ok(())
            }
            Err(unseen) => {
                self.push((point.line(), order(point.position, u32::MAX)), Noted::Unseen);
                self.pass(point);
                Err(unseen)
            }
        }
    }

    /// Ends the doubt, of all lines once all are noted, or of several shards of those lines that are.
    pub(crate) fn settle(&mut self, rules: &Rules) -> Option<Settled> {
        if !self.is_whole() && !self.is_of_several() {
            return None;
        }
        let ranges: Vec<Range> = self.ranges.extract_if(.., |range| range.is_whole()).collect();
        if ranges.is_empty() {
            return None;
        }
        let is_theirs = |line: &Line| ranges.iter().any(|range| range.line == *line);
        let open = self.open.extract_if(|(line, _), _| is_theirs(line));
        let unfinished = open.filter(|(_, open)| open.is_open());
        let unfinished: Vec<Shard> = unfinished.map(|((line, _), _)| line.shard).collect();
        let notes = self.notes.extract_if(.., |note| is_theirs(&note.line)).collect();
        Some(notes::settle(notes, (&ranges, &unfinished), rules))
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

    fn take(&mut self, event: &Event, record: &Bytes, here: Where<'_>) {
        let Where { track, rules, .. } = here;
        let position = event.position;
        let point = Point { track, position };
        let at = (point.line(), order(position, 0));
        self.pass(match is_last_of_its_offset(&event.body) {
            true => Point { track, position: position.at_index(Position::LAST_INDEX) },
            false => point,
        });
        let again = Again { track, position, change: 0, record: record.clone() };
        match &event.body {
            Body::Command(command) => self.command((at, again), command, event.db, rules),
            Body::Image(_) => {
                self.put(at, (event.db, &event.key), Effect::Again(again, None), rules);
            }
            Body::ImagePart(_) => {
                self.put(at, (event.db, &event.key), Effect::Change(None), rules);
            }
            Body::Group(group) => {
                for (change, grouped) in (0u32..).zip(&group.changes) {
                    let again = Again { change, ..again.clone() };
                    let at = (at.0, order(position, change));
                    match &grouped.change {
                        Change::Command(command) => {
                            self.command((at, again), command, grouped.db, rules);
                        }
                        Change::Flush { all } => self.flush(at, (grouped.db, *all), rules),
                        Change::SwapDb { first, second } => {
                            self.push(at, Noted::Swap(*first, *second));
                        }
                        Change::Function(_) if here.functions == AppliedFunctions::None => {}
                        Change::Function(function) => {
                            self.push(at, Noted::Functions(Reach::of(function), again));
                        }
                    }
                }
            }
            Body::Control(Control::Flush { all }) => self.flush(at, (event.db, *all), rules),
            Body::Control(Control::SwapDb { first, second }) => {
                self.push(at, Noted::Swap(*first, *second));
            }
            Body::Control(Control::Function(function))
                if here.functions == AppliedFunctions::All =>
            {
                self.push(at, Noted::Functions(Reach::of(function), again));
            }
            Body::Control(Control::SnapshotBegin(_)) if here.forgets_functions => {
                self.push(at, Noted::Functions(Reach::All { deletes: true }, again));
            }
            // A capture that died while it wrote a large change writes it again.
            Body::Control(Control::EpochBegin(_)) => self.open.retain(|(of, _), _| *of != at.0),
            Body::Control(Control::Barrier(barrier)) => {
                let home = rules.names.track_of_partition(barrier.home_partition);
                self.push(at, Noted::Elsewhere(home));
            }
            Body::Fragment(_) | Body::Control(_) => {}
        }
    }

    fn command(
        &mut self,
        (at, again): ((Line, Order), Again),
        command: &Command,
        db: u32,
        rules: &Rules,
    ) {
        if command.is_script() {
            self.push(at, Noted::Unseen);
        }
        let roles = Roles::of(command, db);
        let left = Left::of(&command.args);
        let sets_many = roles.spec.is_some_and(|spec| spec.name == "MSET");
        for role in roles.written() {
            // One key only: of several, another may have changed again since.
            let effect = match roles.keys.len() == 1 {
                true if roles.whole_state() => Effect::Again(again.clone(), left),
                true => Effect::Change(Evidence::of(&command.args)),
                false if sets_many => notes::text_of(&command.args, role.key),
                false => Effect::Change(None),
            };
            self.put(at, (role.db, role.key), effect, rules);
        }
    }

    fn put(&mut self, at: (Line, Order), (db, key): (u32, &Bytes), effect: Effect, rules: &Rules) {
        if rules.takes(db, key) && !rules.is_own(key) {
            self.push(at, Noted::Put { db, key: key.clone(), effect });
        }
    }

    /// One database has been emptied, or all.
    fn flush(&mut self, at: (Line, Order), (db, all): (u32, bool), rules: &Rules) {
        if all || rules.filters.db(db) {
            self.push(at, Noted::Flush { db, all });
        }
    }

    fn push(&mut self, (line, order): (Line, Order), noted: Noted) {
        self.notes.push(Note { line, order, noted });
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

    /// Whether all of it has been noted.
    fn is_whole(&self) -> bool {
        self.passed || self.noted.is_some_and(|noted| !self.applied.is_after(&noted))
    }

    /// Whether all changes of its line from that one on are in doubt.
    fn covers(&self, order: Order) -> bool {
        self.judged.is_none_or(|judged| self::order(judged, u32::MAX) < order)
            && order <= self::order(self.applied, u32::MAX)
    }
}

/// Whether an event only holds a place for a change that stands in the same track.
fn is_beside_its_home(event: &Event, Point { track, .. }: Point, rules: &Rules) -> bool {
    matches!(&event.body, Body::Control(Control::Barrier(barrier))
        if rules.names.track_of_partition(barrier.home_partition) == Some(track))
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

// === impl Again ===

impl Again {
    fn order(&self) -> Order {
        order(self.position, self.change)
    }
}

fn order(position: Position, change: u32) -> Order {
    (position.epoch, position.offset, position.index, change)
}
