//! From records to commands: what each event means at this destination. Pure: no I/O, no clock.
//!
//! The planner keeps how far the lane has come, the keys that are set aside, and what has come of events in several
//! records. An event is planned wholly into one batch, or not at all. What cannot be planned from here (it needs a
//! look at the destination) is handed back as a [`Barrier`]: the lane first finishes everything before it.

mod assemble;
mod barrier;
mod change;
mod condition;
mod control;
mod expiry;
mod fault;
mod function;
mod image;
mod in_doubt;
mod keys;
mod lower;
mod meet;
mod named;
mod on_demand;
mod order;
mod part;
mod quick;
mod rebuild;
mod refused;
mod rules;
mod script;
mod shards;
mod sizes;
#[cfg(test)]
mod tests;
mod unfit;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use event::control::Control;
use event::{Body, Change, Event, Position, Shard};
use journal::{Entry, Offset, Partition};
use wire::slot::Slots;

use self::assemble::{Assembly, Gathered, Origin};
pub(crate) use self::barrier::{Barrier, Need};
use self::expiry::Lags;
pub(crate) use self::fault::{Aftermath, Failure, Part};
pub(crate) use self::function::{AppliedFunctions, Reach};
pub(crate) use self::keys::Roles;
use self::meet::{Gate, Others};
use self::named::Passing;
pub(crate) use self::refused::{Refused, name_of_change};
pub(crate) use self::rules::Rules;
use crate::batch::{Batch, Sent};
use crate::deadlines::Deadlines;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::marks::Marks;
use crate::progress::Progress;
use crate::quarantine::set::Held;
use crate::quarantine::suspects::Suspected;
use crate::scope::{Line, Scope};

/// Plans the events of one lane.
#[derive(Debug)]
pub(crate) struct Planner {
    /// What it depends on.
    pub(crate) rules: Rules,
    /// How far it has come.
    pub(crate) progress: Progress,
    /// The keys that are set aside.
    pub(crate) held: Held,
    /// Changes that the destination refused to queue, and why: they become letters when they are planned again.
    pub(crate) refused: Refused,
    /// What the snapshots under way have named, while that is needed.
    pub(crate) marks: Vec<Marks>,
    /// Changes that were executed and not judged before a crash.
    pub(crate) doubt: Doubt,
    /// Keys that such a change may have left wrong.
    pub(crate) suspects: Vec<Suspected>,
    /// What was left out and why.
    pub(crate) counts: Counts,
    /// Deadlines that were put off.
    pub(crate) deadlines: Deadlines,
    lags: Lags,
    assembly: Assembly,
    passing: Passing,
    /// What waits: for a look at the destination, or for other tracks.
    parked: Vec<Parked>,
    gates: BTreeMap<usize, Gate>,
    /// What is known of partitions that other lanes have.
    others: Others,
    /// Those of them that the barrier at hand concerns.
    guests: Vec<u16>,
    scope: Scope,
    /// The track of the record at hand.
    track: usize,
    /// The slots of each shard, as far as it was met; none: it has all.
    pub(crate) slots: BTreeMap<Shard, Option<Slots>>,
    /// The next offset per partition.
    next: Vec<u64>,
    /// Whether that is before what has been read.
    goes_back: bool,
    /// The partition's index and the offset of the record at hand.
    at: (usize, u64),
    /// Per line that nothing has been applied of: where its newest snapshot begins.
    pub(crate) floor: HashMap<Line, Position>,
    /// Whether it began in a journal that held nothing, so that nobody has looked whether all shards are there.
    pub(crate) from_nothing: bool,
    /// Whether databases may be emptied and exchanged.
    exact: bool,
    /// What a look has found for the event at hand: whether libraries of functions may go that a snapshot does not hold.
    libraries_may_go: Option<bool>,
}

/// The record at which a track stands until something has been done.
#[derive(Clone, Copy, Debug)]
struct Parked {
    track: usize,
    lane_index: usize,
    offset: u64,
}

/// What happened to events, for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events that had been applied before.
    pub(crate) repeated: u64,
    /// Changes that a filter left out.
    pub(crate) filtered: u64,
    /// Changes of the source to keys of ours.
    pub(crate) own: u64,
    /// Changes that became dead letters.
    pub(crate) letters: u64,
    /// Transactions of the source that were larger than may appear at once.
    pub(crate) cut_groups: u64,
    /// Changes of function libraries that the destination is too old for.
    pub(crate) functions_left_out: u64,
}

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Planned {
    /// It is in the batch, as far as it does anything.
    Done,
    /// The lane has to finish everything before it first: of its track, and of those that wait with it.
    Barrier(Box<Barrier>),
    /// Its track waits for others.
    Waits,
}

/// One change and where it stands.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    position: Position,
    /// Index in its group.
    change: u32,
    /// Database of the source.
    db: u32,
    key: &'a Bytes,
    /// The encoded event.
    record: &'a Bytes,
    /// Index of the record in the batch.
    index: u32,
}

// === impl Planner ===

impl Planner {
    /// A planner that goes on from `progress`, with the marks that are known. Reading begins where its progress then
    /// says.
    pub(crate) fn new(rules: Rules, scope: &Scope, progress: Progress, marks: Vec<Marks>) -> Self {
        let group_bytes = rules.sizes.group;
        let mut planner = Self {
            rules,
            next: progress.needed.clone(),
            goes_back: false,
            at: (0, 0),
            floor: HashMap::new(),
            from_nothing: false,
            exact: true,
            libraries_may_go: None,
            progress,
            held: Held::default(),
            refused: HashMap::new(),
            marks,
            doubt: Doubt::default(),
            suspects: Vec::new(),
            counts: Counts::default(),
            deadlines: Deadlines::default(),
            lags: Lags::default(),
            assembly: Assembly::new(group_bytes, scope.one_order),
            passing: Passing::new(),
            parked: Vec::new(),
            gates: BTreeMap::new(),
            others: Others::default(),
            guests: Vec::new(),
            scope: scope.clone(),
            track: 0,
            slots: BTreeMap::new(),
        };
        planner.require_marks();
        planner
    }

    /// Goes back to an earlier point, from which the records are read again.
    pub(crate) fn rewind(&mut self, progress: Progress) {
        self.next.clone_from(&progress.needed);
        self.progress = progress;
        self.assembly = Assembly::new(self.rules.sizes.group, self.scope.one_order);
        self.passing.clear();
        self.parked.clear();
        self.gates.clear();
        self.goes_back = false;
        self.others = Others::default();
        self.require_marks();
    }

    /// Plans the next record into `batch`. What needs a look at the destination first is parked: the lane stands
    /// before it until [`Planner::plan_barrier`].
    ///
    /// # Errors
    /// When the record is no event, contradicts those before, or needs what cannot be done here.
    pub(crate) fn plan(&mut self, entry: Entry, batch: &mut Batch) -> Result<Planned, Error> {
        let (Partition(partition), Offset(offset)) = (entry.partition, entry.offset);
        let lane_index = self.scope.index_of(partition).unwrap_or_default();
        let open = self.assembly.open().filter(|(index, _)| *index == lane_index);
        let began = open.map(|(_, offset)| offset).min().unwrap_or(offset);
        (self.at, self.track) = ((lane_index, offset), self.scope.track(lane_index));
        if let Some(next) = self.next.get_mut(lane_index) {
            *next = offset.saturating_add(1);
        }
        let parked = Parked { track: self.track, lane_index, offset: began };
        let planned = self.plan_record((partition, offset), entry.payload, batch)?;
        if !matches!(planned, Planned::Done) {
            self.parked.push(parked);
        }
        Ok(planned)
    }

    fn plan_record(
        &mut self,
        (partition, offset): (u16, u64),
        payload: Bytes,
        batch: &mut Batch,
    ) -> Result<Planned, Error> {
        if self.quick(&payload, batch) {
            batch.keep(payload);
            return Ok(Planned::Done);
        }
        let decode = |payload: &Bytes| decoded((partition, offset), payload);
        let event = decode(&payload)?;
        self.note_slots(&event)?;
        if self.is_beside(&event) {
            return Ok(Planned::Done);
        }
        let line = self.line(event.position);
        self.note_lag(line);
        if self.settled(&event) {
            self.passed(&event, &payload)?;
            self.settle_doubt(batch)?;
            return Ok(Planned::Done);
        }
        self.note_new(line);
        if self.doubt.is_of_several() {
            self.doubt.has_passed(line);
        }
        self.settle_doubt(batch)?;
        if self.doubt.concerns(line) {
            return Err(Self::contradiction(&event, "others are in doubt that come before it"));
        }
        if self.assembly.is_idle() && !Assembly::gathers(&event.body) {
            return self.event(event, payload, batch);
        }
        let origin = Origin::of(&event, self.at.0, offset);
        let applied = self.progress.of(line).copied();
        match self.assembly.take(event, &payload, origin, applied)? {
            Gathered::Encoding(record, origin) => {
                let event = decode(&record)?;
                let gathered = self.assembly.take(event, &record, origin, applied)?;
                self.gathered(gathered, record, batch)
            }
            gathered => self.gathered(gathered, payload, batch),
        }
    }

    fn gathered(
        &mut self,
        gathered: Gathered,
        record: Bytes,
        batch: &mut Batch,
    ) -> Result<Planned, Error> {
        match gathered {
            Gathered::More | Gathered::Encoding(..) => Ok(Planned::Done),
            Gathered::Event(event) => self.event(event, record, batch),
            Gathered::Value(event, record) => self.event(event, record, batch),
            Gathered::Group(records) => self.records_of_group(records, batch),
        }
    }

    /// Where the lane stands: after everything planned so far.
    pub(crate) fn now(&self) -> Progress {
        let mut progress = self.progress.clone();
        progress.needed.clone_from(&self.next);
        let parked = self.parked.iter().map(|parked| (parked.lane_index, parked.offset));
        let on_demand = self.progress.snapshot_from.iter().filter(|((index, shard), _)| {
            let line = Line { track: self.scope.track(*index), shard: *shard };
            self.progress.on_demand(line).is_some()
        });
        let on_demand = on_demand.map(|((index, _), from)| (*index, *from));
        for (lane_index, offset) in self.assembly.open().chain(parked).chain(on_demand) {
            if let Some(needed) = progress.needed.get_mut(lane_index) {
                *needed = offset.min(*needed);
            }
        }
        progress
    }

    /// Plans one change of an event, or the only one, wherever the lane stands.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub(crate) fn plan_again(
        &mut self,
        record: &Bytes,
        change: u32,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let decoded = event::codec::decode_lean(record.clone());
        let event = decoded.map_err(|error| Error::Contradiction {
            position: self.progress.somewhere(),
            what: format!("an event that was read before cannot be read again: {error}"),
        })?;
        let index = batch.begin(record);
        let position = event.position;
        let place = Place { position, change, db: event.db, key: &event.key, record, index };
        match &event.body {
            Body::Command(command) => self.command(&place, command, batch),
            Body::Image(image) => self.image(&place, image, batch),
            Body::ImagePart(part) => self.part(&place, part, batch),
            Body::Control(Control::Function(function)) => self.function(&place, function, batch),
            // Where that needs a look, nothing goes: a flush that is executed does not fail.
            Body::Control(Control::SnapshotBegin(_)) => {
                self.forget_functions_before(&event, &place, batch).map(drop)
            }
            Body::Group(group) => {
                let number = usize::try_from(change).unwrap_or(usize::MAX);
                let Some(change) = group.changes.get(number) else { return Ok(()) };
                let place = Place { db: change.db, key: &change.key, ..place };
                match &change.change {
                    Change::Command(command) if command.is_script() => {
                        self.script_again(&place, command, batch)
                    }
                    Change::Command(command) => self.command(&place, command, batch),
                    Change::Function(function) => self.function(&place, function, batch),
                    Change::Flush { .. } | Change::SwapDb { .. } => Ok(()),
                }
            }
            Body::Fragment(_) | Body::Control(_) => Ok(()),
        }
    }

    /// Plans an event that is whole.
    fn event(&mut self, event: Event, record: Bytes, batch: &mut Batch) -> Result<Planned, Error> {
        self.check_order(&event)?;
        if let Some(planned) = self.wait_for_others(&event, &record, batch)? {
            return Ok(planned);
        }
        batch.lend(&record);
        let place = Place {
            position: event.position,
            change: 0,
            db: event.db,
            key: &event.key,
            record: &record,
            index: batch.next_record(),
        };
        let look = self.forget_functions_before(&event, &place, batch)?;
        let need = match &event.body {
            _ if look.is_some() => look,
            Body::Command(command) => self.command(&place, command, batch).map(|()| None)?,
            Body::Image(image) => self.image(&place, image, batch).map(|()| None)?,
            Body::ImagePart(part) => self.part(&place, part, batch).map(|()| None)?,
            Body::Group(group) if Self::empties_databases(group) => Some(Need::Alone),
            Body::Group(_) if self.obstacle_to(&event).is_some() => Some(Need::Script),
            Body::Group(group) => self.group(&place, group, batch).map(|()| None)?,
            Body::Control(control) => self.control(&place, control, batch)?,
            Body::Fragment(_) => return Err(Self::contradiction(&event, "a piece of a piece")),
        };
        if let Some(need) = need {
            let track = self.track;
            let guests = Vec::new();
            let barrier = Barrier { track, event, record, need, guests };
            return Ok(Planned::Barrier(Box::new(barrier)));
        }
        self.done(event.position, batch);
        batch.keep(record);
        Ok(Planned::Done)
    }

    /// Plans what had to wait until everything before it was done and the destination had been looked at. Where it is
    /// not `exact`, databases are neither emptied nor exchanged.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub(crate) fn plan_barrier(
        &mut self,
        barrier: &Barrier,
        exact: bool,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let Barrier { track, event, record, need, guests } = barrier;
        (self.exact, self.track) = (exact, *track);
        self.guests.clone_from(guests);
        self.parked.retain(|parked| parked.track != *track);
        let index = batch.begin(record);
        let place = Place {
            position: event.position,
            change: 0,
            db: event.db,
            key: &event.key,
            record,
            index,
        };
        match (&event.body, need) {
            (Body::Group(group), _) => self.group(&place, group, batch)?,
            (Body::Control(Control::Flush { all }), Need::Alone) => {
                self.flush(&place, *all, batch)?;
            }
            (Body::Control(Control::SwapDb { first, second }), Need::Alone) => {
                self.swap(&place, (*first, *second), batch)?;
            }
            (Body::Control(Control::SnapshotEnd(_)), _) => {
                if self.is_on_demand(event.position) {
                    self.progress.begun.insert(self.track, self.behind_end(event));
                }
                let line = self.line(event.position);
                self.go_back_to_stream(line);
                self.end_resync(line);
            }
            (Body::Control(Control::FlushSlots { all, slots }), _) if exact => {
                self.flushed(&place, *all, slots);
            }
            (
                _,
                Need::Alone
                | Need::Slots
                | Need::Script
                | Need::Together
                | Need::Sweep
                | Need::Functions,
            ) => {}
        }
        if !guests.is_empty() {
            self.forget_deadlines_elsewhere();
        }
        batch.urgent = true;
        self.done(self.behind_end(event), batch);
        self.go_on(barrier, batch);
        Ok(())
    }

    /// Notes that an event is in the batch.
    pub(crate) fn done(&mut self, position: Position, batch: &mut Batch) {
        self.progress.advance(self.track, position);
        batch.events += 1;
    }

    /// The line of a place in the track at hand.
    fn line(&self, position: Position) -> Line {
        Line { track: self.track, shard: position.shard }
    }

    fn sent(place: &Place<'_>) -> Sent {
        Sent::data(place.index, place.change)
    }

    fn contradiction(event: &Event, what: &str) -> Error {
        Error::Contradiction { position: event.position, what: what.to_owned() }
    }
}

/// The event of a record, and where that stands.
fn decoded((partition, offset): (u16, u64), payload: &Bytes) -> Result<Event, Error> {
    let decoded = event::codec::decode_lean(payload.clone());
    decoded.map_err(|source| Error::Record { partition, offset, source })
}
