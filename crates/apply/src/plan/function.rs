//! Changes of function libraries, which belong to no key: each library that is set aside is held by its name. Pure.
//!
//! LOAD and DELETE make one library what it is at the source, whatever it was: they release it. FLUSH does so to all.
//! What RESTORE brings is known only to the server, so it is held under the empty name, and keeps its place in the order
//! of all others: it waits behind each that is held, and what comes after it waits behind it, until a flush.

use bytes::Bytes;
use event::control::{Control, FunctionChange};
use event::text::Shortened;
use event::{Body, Change, Event, Position, Shard};
use wire::slot::{Slot, Slots};

use super::fault::{AFTER_A_FAILURE, Failure, States, taint};
use super::lower::Unfit;
use super::{Barrier, Need, Place, Planned, Planner};
use crate::batch::{Batch, Judge, Sent};
use crate::config::Existing;
use crate::error::Error;
use crate::quarantine::Draft;
use crate::quarantine::set::Spot;
use crate::target;

/// What a change of functions reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This library.
    One {
        /// What it is called.
        name: Bytes,
        /// Whether it is gone then.
        deletes: bool,
    },
    /// Libraries that only the server can name.
    Some,
    /// All of them.
    All {
        /// Whether none is left then.
        deletes: bool,
    },
}

/// Which changes of function libraries are applied of those that are read in a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppliedFunctions {
    /// None: those of another shard count.
    None,
    /// Those in transactions. The others stand in every track, and another applies them.
    InGroups,
    /// All.
    All,
}

// === impl Reach ===

impl Reach {
    /// What one change reaches.
    pub(crate) fn of(change: &FunctionChange) -> Self {
        let word = |number: usize| change.args.get(number).map(Bytes::as_ref).unwrap_or_default();
        let is = |number, word_is: &str| word(number).eq_ignore_ascii_case(word_is.as_bytes());
        if is(1, "FLUSH") {
            return Self::All { deletes: true };
        }
        if is(1, "RESTORE") && is(3, "FLUSH") {
            return Self::All { deletes: false };
        }
        let name = match change.args.as_slice() {
            [_, _, name] if is(1, "DELETE") => Some((name.clone(), true)),
            [_, _, .., text] if is(1, "LOAD") => name_in(text).map(|name| (name, false)),
            _ => None,
        };
        name.map_or(Self::Some, |(name, deletes)| Self::One { name, deletes })
    }

    /// Under which name it is held.
    fn name(&self) -> Bytes {
        match self {
            Self::One { name, .. } => name.clone(),
            Self::Some | Self::All { .. } => Bytes::new(),
        }
    }

    /// Whether it stands behind one that is held under this name.
    fn follows(&self, held: &Bytes) -> bool {
        match self {
            Self::One { .. } => held.is_empty(),
            Self::Some => true,
            Self::All { .. } => false,
        }
    }

    /// The names under which it is held: its own, behind those among these that it follows.
    fn names<'a>(&self, held: impl Iterator<Item = &'a Spot>) -> (Vec<Bytes>, bool) {
        let of_libraries = held.filter(|spot| spot.is_library()).map(|spot| &spot.key);
        let mut names: Vec<Bytes> =
            of_libraries.filter(|name| self.follows(name)).cloned().collect();
        names.sort();
        let follows = !names.is_empty();
        let own = self.name();
        if !names.contains(&own) {
            names.push(own);
        }
        (names, follows)
    }

    /// The error about a change that cannot be held: it is about no key.
    fn of_error(&self, error: Error) -> Error {
        let library = match self {
            Self::One { name, .. } => format!("the library of functions {}", Shortened(name)),
            Self::Some | Self::All { .. } => "a change of the functions".to_owned(),
        };
        match error {
            Error::CannotHold { position, why, .. } => {
                Error::CannotHoldLibrary { library, position, why }
            }
            other => other,
        }
    }

    /// Whether a destination that knows no functions is as if it had been executed.
    fn leaves_nothing(&self) -> bool {
        matches!(self, Self::One { deletes: true, .. } | Self::All { deletes: true })
    }
}

/// The name in the first line of a library: `#!lua name=mylib`.
fn name_in(text: &[u8]) -> Option<Bytes> {
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace);
    let name = words.find_map(|word| {
        let (head, name) = word.split_at_checked(b"name=".len())?;
        head.eq_ignore_ascii_case(b"name=").then_some(name)
    })?;
    let name: Bytes = name.iter().copied().filter(|byte| !b"\"'".contains(byte)).collect();
    (!name.is_empty()).then_some(name)
}

/// The change of functions that a change of an event is, if it is one.
pub(super) fn function_of(event: &Event, number: u32) -> Option<&FunctionChange> {
    match &event.body {
        Body::Control(Control::Function(change)) => Some(change),
        Body::Group(group) => match &group.changes.get(usize::try_from(number).ok()?)?.change {
            Change::Function(change) => Some(change),
            _ => None,
        },
        _ => None,
    }
}

/// Follows a change of functions of an executed batch: what it leaves unknown, what it makes good.
pub(super) fn follow(
    change: &FunctionChange,
    mut draft: Draft,
    failure: Option<&Failure>,
    (states, drafts): (&mut States, &mut Vec<Draft>),
) {
    let reach = Reach::of(change);
    let (names, follows) = reach.names(states.keys());
    let said = failure.map(|failure| failure.said.as_deref().unwrap_or(AFTER_A_FAILURE));
    let Some(why) = said.or(follows.then_some(AFTER_A_FAILURE)) else {
        match reach {
            Reach::One { name, .. } => drop(states.remove(&Spot::library(name))),
            Reach::Some => {}
            Reach::All { .. } => states.retain(|spot, _| !spot.is_library()),
        }
        return;
    };
    (draft.db, draft.keys, draft.why) = (Spot::LIBRARIES, names, why.to_owned());
    taint(states, &draft, None);
    drafts.push(draft);
}

// === impl Planner ===

impl Planner {
    /// Plans a change of the function libraries.
    pub(super) fn function(
        &mut self,
        place: &Place<'_>,
        change: &FunctionChange,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let reach = Reach::of(change);
        let (names, follows) = reach.names(self.held.iter().map(|(spot, _)| spot));
        let names: Vec<&Bytes> = names.iter().collect();
        let under = (Spot::LIBRARIES, names.as_slice());
        if let Some(why) = self.refusal(place, 0) {
            return self.set_aside(place, under, why, batch);
        }
        if follows {
            let why = self.after_another(names.iter().map(|name| (Spot::LIBRARIES, *name)));
            return self.set_aside(place, under, why, batch);
        }
        if !self.rules.target.can(target::SEVEN) {
            self.release_reached(&reach);
            if reach.leaves_nothing() {
                return Ok(());
            }
            let why = self.cannot_hold(place, Unfit::new("it knows no functions"));
            let why = why.map_err(|error| reach.of_error(error))?;
            self.counts.functions_left_out += 1;
            return self.set_aside(place, under, why, batch);
        }
        let judge = match reach.leaves_nothing() {
            true => Judge::Deletes,
            false => Judge::Data,
        };
        let db = self.rules.mapping.target(place.db);
        batch.mark();
        batch.command(db, Sent { judge, ..Self::sent(place) }, &change.args);
        match self.fitting(batch, Ok(())) {
            Ok(()) => {
                self.release_reached(&reach);
                Ok(())
            }
            Err(unfit) => {
                let why = self.cannot_hold(place, unfit);
                let why = why.map_err(|error| reach.of_error(error))?;
                self.set_aside(place, under, why, batch)
            }
        }
    }

    fn release_reached(&mut self, reach: &Reach) {
        match reach {
            Reach::One { name, .. } => self.held.release(Spot::LIBRARIES, name),
            Reach::Some => {}
            Reach::All { .. } => drop(self.held.release_where(Spot::is_library)),
        }
    }

    /// Which changes of functions of a shard the track at hand applies: those that stand in all tracks are the first
    /// one's.
    pub(super) fn applied_functions(&self, shard: Shard) -> AppliedFunctions {
        match (self.functions_count(shard), self.scope.span(self.track).0) {
            (false, _) => AppliedFunctions::None,
            (true, 0) => AppliedFunctions::All,
            (true, _) => AppliedFunctions::InGroups,
        }
    }

    /// Whether the functions of a shard count: of several, which all have the same, those of the one with the first slot.
    pub(super) fn functions_count(&self, shard: Shard) -> bool {
        let first = Slot::new(0).expect("there is a slot 0");
        let has_first =
            |slots: &Option<Slots>| slots.as_ref().is_none_or(|slots| slots.contains(first));
        match self.slots.get(&shard) {
            Some(slots) => has_first(slots),
            // Not met in this session: it is if no other one is.
            None => !self.slots.values().any(has_first),
        }
    }

    /// Whether a snapshot that is applied there leaves no library that there was before.
    pub(super) fn forgets_functions(&self, position: Position) -> bool {
        let resync = self.progress.resyncs.get(&self.line(position));
        resync.is_some_and(|resync| resync.sweep)
            && self.applied_functions(position.shard) == AppliedFunctions::All
    }

    /// Ahead of an event: where a snapshot begins that leaves nothing else behind, all libraries go that may; its own
    /// follow. Gives the look at the destination that this needs first.
    pub(super) fn forget_functions_before(
        &mut self,
        event: &Event,
        place: &Place<'_>,
        batch: &mut Batch,
    ) -> Result<Option<Need>, Error> {
        let begins = match self.is_on_demand(event.position) {
            // Its beginning stands where the stream was.
            true => self.begins_on_demand(event.position),
            false => matches!(&event.body, Body::Control(Control::SnapshotBegin(_))),
        };
        if !begins || !self.forgets_functions(event.position) {
            return Ok(None);
        }
        if self.rules.target.can(target::SEVEN) {
            match (self.rules.existing, self.libraries_may_go) {
                (Existing::Sweep, _) | (Existing::Fail, Some(true)) => {}
                (Existing::Overwrite, _) | (Existing::Fail, Some(false)) => return Ok(None),
                (Existing::Fail, None) => return Ok(Some(Need::Functions)),
            }
            self.require_allowed(place, "FUNCTION FLUSH")?;
            let db = self.rules.mapping.target(place.db);
            batch.command(db, Self::sent(place), [b"FUNCTION".as_slice(), b"FLUSH"]);
        }
        self.held.release_where(Spot::is_library);
        Ok(None)
    }

    /// Plans an event ahead of which libraries go if they may, now that this is known.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub(crate) fn plan_looked(
        &mut self,
        barrier: Barrier,
        libraries_may_go: bool,
        batch: &mut Batch,
    ) -> Result<Planned, Error> {
        let Barrier { track, event, record, .. } = barrier;
        self.track = track;
        // Others may have come when it is asked again.
        self.libraries_may_go = Some(libraries_may_go);
        let planned = self.event(event, record, batch);
        self.libraries_may_go = None;
        if matches!(planned, Ok(Planned::Done)) {
            self.parked.retain(|parked| parked.track != track);
        }
        planned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(words: &[&str]) -> Reach {
        let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        Reach::of(&FunctionChange { args, snapshot_id: 0 })
    }

    fn one(name: &'static str, deletes: bool) -> Reach {
        Reach::One { name: Bytes::from_static(name.as_bytes()), deletes }
    }

    #[test]
    fn a_change_tells_which_libraries_it_reaches() {
        let load = |text| reach(&["FUNCTION", "LOAD", "REPLACE", text]);
        assert_eq!(load("#!lua name=mylib\nredis.x()"), one("mylib", false));
        assert_eq!(load("#!lua  NAME=\"my_lib\" \r\n"), one("my_lib", false));
        assert_eq!(reach(&["function", "load", "#!js name=a"]), one("a", false));
        assert_eq!(reach(&["FUNCTION", "DELETE", "a"]), one("a", true));
        for text in ["", "#!", "#!lua", "#!lua name=", "-- name=a", "#!lua\nname=a"] {
            assert_eq!(load(text), Reach::Some, "{text}");
        }
        assert_eq!(reach(&["FUNCTION", "FLUSH", "ASYNC"]), Reach::All { deletes: true });
        assert_eq!(reach(&["FUNCTION", "RESTORE", "x", "flush"]), Reach::All { deletes: false });
        assert_eq!(reach(&["FUNCTION", "RESTORE", "x", "REPLACE"]), Reach::Some);
        assert_eq!(reach(&["FUNCTION", "RESTORE", "x"]), Reach::Some);
        assert_eq!(reach(&["FUNCTION"]), Reach::Some);
    }

    #[test]
    fn a_library_that_cannot_be_held_is_named() {
        let said = |reach: Reach| {
            let (db, key, position) = (0, Bytes::new(), Position::default());
            let why = "it knows no functions".into();
            let error = reach.of_error(Error::CannotHold { db, key, position, why });
            assert!(runtime::Classified::advice(&error).contains("7.0"), "{error:?}");
            error.to_string()
        };
        let stock = said(one("stock", false));
        assert!(stock.contains("cannot hold the library of functions stock at"), "{stock}");
        let all = said(Reach::All { deletes: false });
        assert!(all.contains("cannot hold a change of the functions at"), "{all}");
    }

    #[test]
    fn what_nobody_can_name_keeps_its_place_between_the_others() {
        let spot = |name: &'static str| Spot::library(Bytes::from_static(name.as_bytes()));
        let held = [spot("b"), spot("a"), Spot { db: 0, key: Bytes::from_static(b"k") }];
        let names = |reach: Reach, held: &[Spot]| {
            let (names, follows) = reach.names(held.iter());
            (
                names
                    .into_iter()
                    .map(|name| String::from_utf8_lossy(&name).into_owned())
                    .collect::<Vec<_>>(),
                follows,
            )
        };
        let some = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(one("c", false), &held), (some(&["c"]), false));
        assert_eq!(names(Reach::Some, &held), (some(&["a", "b", ""]), true));
        assert_eq!(names(Reach::All { deletes: true }, &held), (some(&[""]), false));
        assert_eq!(names(one("c", true), &[spot("")]), (some(&["", "c"]), true));
    }
}
