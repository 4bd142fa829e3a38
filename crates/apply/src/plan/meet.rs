//! Changes of several tracks: where tracks wait for one another, so that each such change comes between what is before
//! and what is after it in all of them. Pure.
//!
//! One track is the *home* of such a change, the others hold a barrier at the same place. The home waits until the
//! others have come that far; they wait until the change is planned. Changes of a shard stand in one order in all
//! tracks, so no two tracks wait for each other.
//!
//! Where all of them are of this lane, the change is planned as any other, into the batch at hand. Tracks of other lanes
//! are met by their checkpoints (see [`elsewhere`]): such a change is executed by itself, when all before it has been
//! judged.

mod elsewhere;

use bytes::Bytes;
use event::control::Control;
use event::{Body, Event, Group, Position};

pub(crate) use self::elsewhere::Others;
use super::{Barrier, Need, Place, Planned, Planner};
use crate::batch::Batch;
use crate::error::Error;
use crate::scope::{Line, Point};

/// A track that waits, and where.
#[derive(Debug)]
pub(super) struct Gate {
    position: Position,
    /// The change itself, if the track is its home.
    change: Option<Box<Barrier>>,
    /// Who meets.
    meeting: Meeting,
}

/// Who meets at an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meeting {
    home: Home,
    /// The tracks of the lane.
    tracks: Vec<usize>,
    /// The partitions that other lanes have.
    elsewhere: Vec<u16>,
}

/// Where the change stands that tracks have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// In that track.
    Here(usize),
    /// In that partition, which another lane has.
    Elsewhere(u16),
}

/// The partition that is the home of what concerns all and has no key.
const HOME_OF_ALL: u16 = 0;

// === impl Planner ===

impl Planner {
    /// Whether a track waits for others: nothing more of it is to be planned.
    pub(crate) fn waits(&self, track: usize) -> bool {
        self.gates.contains_key(&track) || self.doubt.waits(track)
    }

    /// The change at which a track waits until all are there that it concerns.
    pub(crate) fn waits_at(&self, track: usize) -> Option<Position> {
        self.gates.get(&track).map(|gate| gate.position)
    }

    /// Whether any track waits for others.
    pub(crate) fn any_waits(&self) -> bool {
        !self.gates.is_empty()
    }

    /// The offset per partition behind what has been planned, and what waits.
    pub(crate) fn next(&self) -> &[u64] {
        &self.next
    }

    /// Has an event wait that several tracks have in common; none: it is of its track alone.
    pub(super) fn wait_for_others(
        &mut self,
        event: &Event,
        record: &Bytes,
        batch: &mut Batch,
    ) -> Result<Option<Planned>, Error> {
        let Some(meeting) = self.meeting(event) else { return Ok(None) };
        let (track, position) = (self.track, event.position);
        match meeting.home {
            Home::Here(home) if track != home && self.is_past(home, position) => {
                self.require_no_jump(home, position)?;
                return Ok(None);
            }
            Home::Here(_) => {}
            Home::Elsewhere(_) => {
                // Said at the destination, once all before it has been judged.
                self.progress.waits.insert(track, position);
                batch.urgent = true;
            }
        }
        let change = (meeting.home == Home::Here(track)).then(|| {
            let need = self.need_of(event);
            let guests = meeting.elsewhere.clone();
            Box::new(Barrier { track, event: event.clone(), record: record.clone(), need, guests })
        });
        self.gates.insert(track, Gate { position, change, meeting: meeting.clone() });
        let opened = match meeting.home {
            Home::Here(home) => self.open_home(home)?,
            Home::Elsewhere(_) => None,
        };
        let Some(mut barrier) = opened else { return Ok(Some(Planned::Waits)) };
        // Keys may have been set aside since it came.
        barrier.need = self.need_of(&barrier.event);
        if barrier.need == Need::Together && barrier.guests.is_empty() {
            self.together(&barrier, batch)?;
            return Ok(Some(Planned::Done));
        }
        Ok(Some(Planned::Barrier(barrier)))
    }

    /// Plans a change of several tracks of the lane, all of which are there.
    fn together(&mut self, barrier: &Barrier, batch: &mut Batch) -> Result<(), Error> {
        let Barrier { track, event, record, .. } = barrier;
        if self.is_superseded(barrier) {
            self.leave_behind(barrier, batch);
            return Ok(());
        }
        self.track = *track;
        self.parked.retain(|parked| parked.track != *track);
        batch.lend(record);
        let place = Place {
            position: event.position,
            change: 0,
            db: event.db,
            key: &event.key,
            record,
            index: batch.next_record(),
        };
        if let Body::Group(group) = &event.body {
            self.group(&place, group, batch)?;
        }
        self.done(event.position, batch);
        self.go_on(barrier, batch);
        batch.keep(record.clone());
        Ok(())
    }

    /// What is to be done about an event of several tracks.
    fn need_of(&self, event: &Event) -> Need {
        match &event.body {
            Body::Group(group) if !Self::empties_databases(group) => {
                match self.obstacle_to(event) {
                    Some(_) => Need::Script,
                    None => Need::Together,
                }
            }
            _ => Need::Alone,
        }
    }

    /// The change at its home, if all that have to be there are.
    fn open_home(&mut self, home: usize) -> Result<Option<Box<Barrier>>, Error> {
        let ready = self.gates.get(&home).filter(|gate| gate.change.is_some());
        let Some(Gate { position, meeting, .. }) = ready else { return Ok(None) };
        let waits = |track: usize| {
            self.gates.get(&track).is_some_and(|other| is_beside(other.position, *position))
        };
        let mut are_here = true;
        for track in meeting.tracks.iter().copied().filter(|track| !waits(*track)) {
            let is_past = self.is_past(track, *position);
            if is_past {
                self.require_no_jump(track, *position)?;
            }
            are_here &= is_past;
        }
        if !are_here || !self.others.are_at(&meeting.elsewhere, *position)? {
            return Ok(None);
        }
        Ok(self.gates.get_mut(&home).and_then(|gate| gate.change.take()))
    }

    /// A track that has passed a change by a snapshot made on demand was not there when the others met: they need one,
    /// too, that is as new.
    fn require_no_jump(&self, track: usize, change: Position) -> Result<(), Error> {
        let begun = self.progress.begun.get(&track);
        let jumps = self.progress.on_demand(Line { track, shard: change.shard }).is_some()
            || begun.is_some_and(|begun| is_jump(*begun, change));
        if jumps { Err(Error::LeftBehind { position: change }) } else { Ok(()) }
    }

    /// Puts a change back that was about to be executed: one of those it concerns is not there any more.
    pub(crate) fn put_back(&mut self, barrier: Box<Barrier>) {
        if let Some(gate) = self.gates.get_mut(&barrier.track) {
            gate.change = Some(barrier);
        }
    }

    /// Whether a change is of a history that one of those it concerns has left behind, with a later snapshot that has
    /// everything: nothing of it is to be done, for their keys are those of that snapshot.
    pub(crate) fn is_superseded(&self, barrier: &Barrier) -> bool {
        let Some(gate) = self.gates.get(&barrier.track) else { return false };
        let is_later = |track: usize| {
            let line = Line { track, shard: gate.position.shard };
            self.progress.of(line).is_some_and(|applied| applied.epoch > gate.position.epoch)
        };
        let elsewhere = &gate.meeting.elsewhere;
        gate.meeting.tracks.iter().copied().any(is_later)
            || elsewhere.iter().any(|of| self.others.is_in_later_epoch(*of, gate.position))
    }

    /// Plans nothing of a change, and goes on behind it.
    pub(crate) fn leave_behind(&mut self, barrier: &Barrier, batch: &mut Batch) {
        self.track = barrier.track;
        self.parked.retain(|parked| parked.track != barrier.track);
        batch.urgent = true;
        self.done(barrier.event.position, batch);
        self.go_on(barrier, batch);
    }

    /// Lets the tracks go on that waited for what has been planned now. Of a group in pieces only the last does.
    pub(super) fn go_on(&mut self, barrier: &Barrier, batch: &mut Batch) {
        let Some(gate) = self.gates.remove(&barrier.track) else { return };
        let is_last = match &barrier.event.body {
            Body::Group(group) => group.last,
            _ => true,
        };
        if !is_last {
            return;
        }
        for track in gate.meeting.tracks.into_iter().filter(|track| *track != barrier.track) {
            let Some(other) = self.gates.get(&track) else { continue };
            if is_beside(other.position, gate.position) {
                let position = other.position;
                self.pass_gate(track, position, batch);
            }
        }
        if !gate.meeting.elsewhere.is_empty() {
            // Nothing else is recorded there: so others see that it was done wholly.
            let end = gate.position.at_index(Position::LAST_INDEX);
            self.progress.advance(barrier.track, end);
        }
    }

    /// A track goes on behind what it waited for.
    fn pass_gate(&mut self, track: usize, position: Position, batch: &mut Batch) {
        self.gates.remove(&track);
        self.progress.waits.remove(&track);
        self.parked.retain(|parked| parked.track != track);
        self.progress.advance(track, position);
        batch.events += 1;
    }

    /// Whether a track has passed a change of several: something behind it has been planned.
    fn is_past(&self, track: usize, change: Position) -> bool {
        let applied = self.progress.of(Line { track, shard: change.shard });
        applied.is_some_and(|applied| is_behind(*applied, change))
    }

    /// Who meets at an event, if it is not of this track alone.
    fn meeting(&self, event: &Event) -> Option<Meeting> {
        if self.scope.one_order {
            return None;
        }
        let all = || -> Vec<u16> { (0..=u16::MAX).take(self.partitions()).collect() };
        let (home, partitions) = match &event.body {
            Body::Control(Control::Barrier(barrier)) => {
                (barrier.home_partition, barrier.partitions.clone())
            }
            Body::Control(Control::Flush { .. } | Control::SwapDb { .. }) => (HOME_OF_ALL, all()),
            Body::Group(Group { partitions, .. }) => (*partitions.first()?, partitions.clone()),
            _ => return None,
        };
        let track =
            |partition: u16| self.scope.index_of(partition).map(|index| self.scope.track(index));
        let (here, elsewhere): (Vec<u16>, Vec<u16>) =
            partitions.into_iter().partition(|partition| track(*partition).is_some());
        let tracks: Vec<usize> = here.into_iter().filter_map(track).collect();
        let home = track(home).map_or(Home::Elsewhere(home), Home::Here);
        (tracks.len() + elsewhere.len() > 1).then_some(Meeting { home, tracks, elsewhere })
    }

    fn partitions(&self) -> usize {
        usize::try_from(self.scope.partitions).unwrap_or(usize::MAX)
    }

    /// The track that an event of one key or group is of.
    pub(super) fn point_of(&self, event: &Event) -> Point {
        let partition = wire::slot::partition_of(event.slot, self.scope.partitions);
        let index = u16::try_from(partition).ok().and_then(|number| self.scope.index_of(number));
        let track = index.map_or(0, |index| self.scope.track(index));
        Point { track, position: event.position }
    }
}

/// Whether two events belong to one change of several tracks.
fn is_beside(one: Position, other: Position) -> bool {
    (one.shard, one.epoch, one.offset) == (other.shard, other.epoch, other.offset)
}

/// Whether a history that began there has left out a change by a snapshot made on demand: no other of the stream tells
/// those that have not.
fn is_jump(begun: Position, change: Position) -> bool {
    begun.index == Position::LAST_INDEX && begun.is_after(&change)
}

/// Whether a place is behind all of a change of several tracks.
fn is_behind(place: Position, change: Position) -> bool {
    let end = change.at_index(Position::LAST_INDEX);
    place.shard == change.shard && (place == end || place.is_after(&end))
}
