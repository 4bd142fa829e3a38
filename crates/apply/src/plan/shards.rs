//! What a shard says that has a part of the slots: it concerns keys of these slots, and no others. Pure.

use event::{Body, Event, Shard};
use wire::slot::{Slot, Slots};

use super::{Place, Planner};
use crate::error::Error;
use crate::quarantine::set::Spot;
use crate::scope::Line;

// === impl Planner ===

impl Planner {
    /// Takes note of the slots of a shard, where an event tells them.
    ///
    /// # Errors
    /// When another shard has some of them: nothing tells in which order changes of a key come from two sources. And when it
    /// is the first of several in a journal that held nothing before: one begins with the snapshots of all.
    pub(super) fn note_slots(&mut self, event: &Event) -> Result<(), Error> {
        let Body::Control(control) = &event.body else { return Ok(()) };
        let Some(slots) = control.slots() else { return Ok(()) };
        let shard = event.position.shard;
        if self.slots.get(&shard).is_some_and(|known| known.as_ref() == slots) {
            return Ok(());
        }
        let all = |slots: Option<&Slots>| slots.cloned().unwrap_or_else(Slots::all);
        let others = self.slots.iter().filter(|(other, _)| **other != shard);
        for (other, theirs) in others {
            let common = all(slots).and(&all(theirs.as_ref()));
            if !common.is_empty() {
                let (stream, slots) = (self.scope.stream.clone(), common.to_string());
                return Err(Error::SharedSlots { stream, shards: (*other, shard), slots });
            }
        }
        let missing = all(slots).others();
        let progress = &self.progress;
        let is_first = progress.applied.is_empty() && progress.resyncs.is_empty();
        if self.from_nothing && is_first && !missing.is_empty() {
            let (stream, slots) = (self.scope.stream.clone(), missing.to_string());
            return Err(Error::AwaitsShards { stream, slots });
        }
        self.know_slots(shard, slots.cloned());
        Ok(())
    }

    /// A shard has these slots; none: all.
    pub(crate) fn know_slots(&mut self, shard: Shard, slots: Option<Slots>) {
        for marks in self.marks.iter_mut().filter(|marks| marks.of.shard == shard) {
            marks.slots = Some(slots.clone());
        }
        self.slots.insert(shard, slots);
    }

    /// The slots that the shard of a line has for sure: where it was not met in this session, all if the track has no
    /// other, else none.
    pub(crate) fn slots_of(&self, line: Line) -> Slots {
        match self.slots.get(&line.shard) {
            Some(slots) => slots.clone().unwrap_or_else(Slots::all),
            None if self.progress.is_alone(line) => Slots::all(),
            None => Slots::default(),
        }
    }

    /// Whether a key is of these slots of a line's shard; or a library, and that shard is the one whose libraries count.
    pub(crate) fn is_of(&self, (line, slots): (Line, &Slots), spot: &Spot) -> bool {
        match spot.is_library() {
            true => self.functions_count(line.shard),
            false => slots.contains(Slot::of_key(&spot.key)),
        }
    }

    /// Forgets the deadlines of a shard's keys: every key of the source comes again, and others are not its.
    pub(super) fn forget_deadlines_of(&mut self, shard: Shard) {
        match self.slots.get(&shard).and_then(Option::as_ref) {
            None => self.deadlines.clear(),
            Some(slots) => {
                self.deadlines.forget_where(|key| slots.contains(Slot::of_key(key)));
            }
        }
    }

    /// The keys of these slots in the track are gone: those of all databases that the source's go to, or of that of the
    /// place.
    pub(super) fn flushed(&mut self, place: &Place<'_>, all: bool, slots: &Slots) {
        let only = self.rules.mapping.target(place.db);
        let (scope, mine) = (&self.scope, self.scope.lane_indexes(self.track));
        let is_gone = |key: &[u8]| {
            let index = scope.index_of(scope.partition_of(key));
            slots.contains(Slot::of_key(key)) && index.is_some_and(|index| mine.contains(&index))
        };
        self.held.release_where(|spot: &Spot| {
            !spot.is_library() && (all || spot.db == only) && is_gone(&spot.key)
        });
        // Of a key in another database its true deadline is set by the source's own delete.
        self.deadlines.forget_where(is_gone);
    }
}
