//! What it means that commands of an executed batch failed, or found nothing to take. Pure.
//!
//! EXEC does not stop at a failure. What came behind it in the same batch and needs the failed key was executed on a value
//! that the source never had: it is set aside with it, in order, up to the next change that replaces a key as a whole.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use event::control::Control;
use event::quarantine::Letter;
use event::{Body, Change, Command, Event};

use super::Planner;
use super::function::{self, function_of};
use super::keys::Roles;
use super::lower::find;
use crate::batch::{Batch, Judge, Sent};
use crate::error::Error;
use crate::quarantine::Draft;
use crate::quarantine::set::Spot;
use crate::swap::Swap;

/// One command of an executed batch that did not do what it did at the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which.
    pub(crate) sent: Sent,
    /// What the destination said; none: there was nothing to take.
    pub(crate) said: Option<String>,
}

/// What is to be done after failures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aftermath {
    /// Changes to be set aside, in order.
    pub(crate) drafts: Vec<Draft>,
    /// Keys that must not be there, since what they should have got from had expired early.
    pub(crate) gone: Vec<Spot>,
    /// Keys of those changes that a later one of the batch has made right again.
    pub(crate) right: Vec<Spot>,
    /// Keys that are wrong where an exchange of databases has brought them, and why, as it is stored.
    pub(crate) moved: Vec<(Spot, Bytes)>,
    /// What is there of keys that are set aside, and is a part of a value.
    pub(crate) parts: Vec<(Spot, Part)>,
}

/// What a key has that is not the source's value, but a part of it: changes behind a failure have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that it has: it was not there.
    Whole,
    /// These fields of a hash: they were not there.
    Fields(Vec<Bytes>),
}

/// What is known of a key after a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its value is not the source's, since what this note says; and it may have a part of it.
    Unknown(Bytes, Option<Part>),
    /// It must not be there; the change that should have written it.
    Gone(Draft),
}

/// What is known of keys after failures; of all others their value is the source's.
pub(super) type States = HashMap<Spot, State>;

/// A change of whole databases of the source.
enum Whole {
    /// Of this one, or all.
    Flush(u32, bool),
    /// These two are exchanged.
    Swap(u32, u32),
}

// === impl Aftermath ===

impl Aftermath {
    /// What follows from what is known in the end.
    fn of(drafts: Vec<Draft>, states: States) -> Self {
        let spots = |draft: &Draft| {
            let db = draft.db;
            draft.keys.clone().into_iter().map(move |key| Spot { db, key })
        };
        let set_aside: HashSet<Spot> = drafts.iter().flat_map(spots).collect();
        let right = set_aside.iter().filter(|spot| !states.contains_key(spot)).cloned().collect();
        let mut aftermath = Self { drafts, right, ..Self::default() };
        for (spot, state) in states {
            let (note, part) = match state {
                State::Gone(_) => {
                    aftermath.gone.push(spot);
                    continue;
                }
                State::Unknown(note, part) => (note, part),
            };
            aftermath.parts.extend(part.map(|part| (spot.clone(), part)));
            if !set_aside.contains(&spot) {
                aftermath.moved.push((spot, note));
            }
        }
        aftermath
    }
}

// === impl Part ===

impl Part {
    /// What two failures leave of one key.
    fn of_both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(Self::Fields(mut one)), Some(Self::Fields(other))) => {
                one.extend(other);
                Some(Self::Fields(one))
            }
            (Some(Self::Whole), _) | (_, Some(Self::Whole)) => Some(Self::Whole),
            (one, other) => one.or(other),
        }
    }

    /// What a key has of it that gets its value from there by a command.
    fn given(self, command: Option<&Command>) -> Self {
        let name = command.and_then(|command| command.args.first());
        let is = |word: &&str| name.is_some_and(|name| name.eq_ignore_ascii_case(word.as_bytes()));
        if ["COPY", "MOVE", "RENAME", "RENAMENX"].iter().any(is) { self } else { Self::Whole }
    }
}

// === impl State ===

impl State {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(..))
    }
}

// === impl Failure ===

impl Failure {
    /// Why a key is set aside that was gone when its deadline was to change.
    pub(crate) const RENEWED_TOO_LATE: &str =
        "the key, or its field, was gone at the destination when the source prolonged its life";

    /// Whether a change of a deadline came after what was to live on was gone.
    pub(crate) fn is_late_renewal(&self) -> bool {
        self.said.as_deref() == Some(Self::RENEWED_TOO_LATE)
    }

    /// What was not there when a change was to prolong its life.
    fn absent(&self, command: Option<&Command>) -> Option<Part> {
        if !self.is_late_renewal() {
            return None;
        }
        let args = command.map(|command| &command.args[..]).unwrap_or_default();
        let fields = find(args, 2, "FIELDS").and_then(|at| args.get(at + 2..));
        match (self.sent.judge, fields) {
            (Judge::RenewsFields, Some(fields)) => Some(Part::Fields(fields.to_vec())),
            _ => Some(Part::Whole),
        }
    }
}

/// One change, decoded again.
struct Again<'a> {
    event: &'a Event,
    record: &'a Bytes,
    sent: Sent,
    db: u32,
    key: &'a Bytes,
    command: Option<&'a Command>,
}

// === impl Again ===

impl Again<'_> {
    fn draft(&self, db: u32, keys: Vec<Bytes>, why: &str) -> Draft {
        Draft {
            position: self.event.position,
            record: self.record.clone(),
            change: self.sent.change,
            db,
            keys,
            why: why.to_owned(),
        }
    }
}

/// Why a key that an element should have gone to is set aside.
const NOTHING_TO_TAKE: &str =
    "the key that it takes from is not there: it may have expired early at the destination";
/// Why a change that was executed behind a failure is set aside.
pub(super) const AFTER_A_FAILURE: &str = "it was executed on a value that the source never had";

// === impl Planner ===

impl Planner {
    /// What is to be done about failures of an executed batch.
    pub(crate) fn aftermath(&self, batch: &Batch, failures: &[Failure]) -> Aftermath {
        let Some(first) = failures.iter().map(|failure| failure.sent.record).min() else {
            return Aftermath::default();
        };
        let said: HashMap<(u32, u32), &Failure> =
            failures.iter().rev().map(|failure| (failure.sent.place(), failure)).collect();
        let (mut states, mut drafts) = (HashMap::new(), Vec::new());
        let mut seen = HashSet::new();
        let behind =
            batch.sent().iter().filter(|sent| **sent != Sent::OURS && sent.record >= first);
        for sent in behind {
            if !seen.insert(sent.place()) {
                continue;
            }
            let Some(record) = batch.record(sent.record) else { continue };
            let Ok(event) = event::codec::decode_lean(record.clone()) else { continue };
            if self.follow_whole(&event, sent.change, &mut states) {
                continue;
            }
            let Some((db, key, command)) = change_of(&event, sent.change) else { continue };
            let again = Again { event: &event, record, sent: *sent, db, key, command };
            let failure = said.get(&sent.place()).copied();
            match function_of(&event, sent.change) {
                Some(change) => {
                    let draft = again.draft(db, Vec::new(), "");
                    function::follow(change, draft, failure, (&mut states, &mut drafts));
                }
                None => self.follow(&again, failure, &mut states, &mut drafts),
            }
        }
        Aftermath::of(drafts, states)
    }

    /// Follows a flush or an exchange of databases of an executed batch. Says whether it is one.
    fn follow_whole(&self, event: &Event, number: u32, states: &mut States) -> bool {
        let grouped = match &event.body {
            Body::Group(group) => {
                usize::try_from(number).ok().and_then(|number| group.changes.get(number))
            }
            _ => None,
        };
        let whole = match (&event.body, grouped.map(|grouped| (grouped.db, &grouped.change))) {
            (_, Some((db, Change::Flush { all }))) => Whole::Flush(db, *all),
            (_, Some((_, Change::SwapDb { first, second }))) => Whole::Swap(*first, *second),
            (Body::Control(Control::Flush { all }), _) => Whole::Flush(event.db, *all),
            (Body::Control(Control::SwapDb { first, second }), _) => Whole::Swap(*first, *second),
            _ => return false,
        };
        let target = |db| self.rules.mapping.target(db);
        match whole {
            Whole::Flush(db, all) => {
                let emptied =
                    |spot: &Spot| if all { self.is_target(spot.db) } else { spot.db == target(db) };
                states.retain(|spot, _| spot.is_library() || !emptied(spot));
            }
            Whole::Swap(first, second) => {
                let swap = Swap::between(target(first), target(second));
                let before = std::mem::take(states).into_iter();
                states.extend(before.map(|(spot, state)| {
                    (Spot { db: swap.follow(spot.db), key: spot.key }, state)
                }));
            }
        }
        true
    }

    /// Follows one change of an executed batch: what it leaves unknown, what it makes good.
    fn follow(
        &self,
        again: &Again<'_>,
        failure: Option<&Failure>,
        states: &mut States,
        drafts: &mut Vec<Draft>,
    ) {
        let touched = self.touched(again);
        let needed: Vec<Spot> = touched
            .iter()
            .filter(|one| !one.replaced && states.contains_key(&one.spot))
            .map(|one| one.spot.clone())
            .collect();
        if let Some(failure) = failure {
            return self.follow_failure(again, failure, (&touched, &needed), (states, drafts));
        }
        if again.command.is_some_and(Command::is_script) && !states.is_empty() {
            // It may have needed any of them.
            for draft in self.drafts(again, AFTER_A_FAILURE) {
                taint(states, &draft, None);
                drafts.push(draft);
            }
            return;
        }
        if needed.is_empty() {
            for one in touched.iter().filter(|one| one.replaced) {
                states.remove(&one.spot);
            }
            return;
        }
        let mut part = None;
        for spot in needed {
            match states.get(&spot).cloned() {
                // What should have made it go comes first in the order of its letters.
                Some(State::Gone(draft)) => {
                    taint(states, &draft, Some(&Part::Whole));
                    drafts.push(draft);
                    part = Some(Part::Whole);
                }
                Some(State::Unknown(_, of)) => {
                    part = Part::of_both(part, of.map(|of| of.given(again.command)));
                }
                None => {}
            }
        }
        for one in touched.iter().filter(|one| one.replaced) {
            states.remove(&one.spot);
        }
        for draft in self.drafts(again, AFTER_A_FAILURE) {
            taint(states, &draft, None);
            drafts.push(draft);
        }
        for one in touched.into_iter().filter(|one| one.replaced) {
            if let Some(State::Unknown(_, of)) = states.get_mut(&one.spot) {
                of.clone_from(&part);
            }
        }
    }

    /// Follows a change that failed, with all keys that it touches, and those whose value it needs and is not known.
    fn follow_failure(
        &self,
        again: &Again<'_>,
        failure: &Failure,
        (touched, needed): (&[Touched], &[Spot]),
        (states, drafts): (&mut States, &mut Vec<Draft>),
    ) {
        let takes = failure.sent.judge == Judge::Takes && again.command.is_some();
        let why = failure.said.as_deref().unwrap_or(NOTHING_TO_TAKE);
        // What a key that is set aside should have given is not gone, but unknown.
        let unknown = needed.iter().any(|spot| states.get(spot).is_some_and(State::is_unknown));
        let part = failure.absent(again.command);
        for draft in self.drafts(again, why) {
            if takes && failure.said.is_none() && !unknown {
                let spots = touched.iter().filter(|spot| spot.replaced);
                states.extend(spots.map(|one| (one.spot.clone(), State::Gone(draft.clone()))));
            } else {
                taint(states, &draft, part.as_ref());
                drafts.push(draft);
            }
        }
    }

    /// Plans what was kept for keys that are set aside, from their release on.
    ///
    /// # Errors
    /// As [`Planner::plan`].
    pub(crate) fn plan_letters(
        &mut self,
        spots: &HashSet<Spot>,
        due: &[Letter],
        batch: &mut Batch,
    ) -> Result<(), Error> {
        for spot in spots {
            self.held.release(spot.db, &spot.key);
        }
        due.iter().try_for_each(|letter| self.plan_again(&letter.event, letter.change, batch))
    }

    /// The keys of the destination whose values one change needs, or leaves its mark on.
    pub(crate) fn concerned(&self, record: &Bytes, change: u32) -> Vec<Spot> {
        let Ok(event) = event::codec::decode_lean(record.clone()) else { return Vec::new() };
        let Some((db, key, command)) = change_of(&event, change) else { return Vec::new() };
        let sent = Sent::data(0, change);
        let again = Again { event: &event, record, sent, db, key, command };
        self.touched(&again).into_iter().map(|touched| touched.spot).collect()
    }

    /// The keys of the destination that a change reads or writes.
    fn touched(&self, again: &Again<'_>) -> Vec<Touched> {
        let target = |db| self.rules.mapping.target(db);
        let Some(command) = again.command else {
            let db = target(again.db);
            let touched =
                |key: &Bytes, replaced| Touched { spot: Spot { db, key: key.clone() }, replaced };
            return match &again.event.body {
                Body::Image(_) => vec![touched(again.key, true)],
                Body::ImagePart(part) => {
                    let epoch = again.event.position.epoch;
                    let stage = self.rules.names.stage(again.key, epoch, db);
                    vec![touched(&stage, part.number == 0)]
                }
                _ => Vec::new(),
            };
        };
        let roles = Roles::of(command, again.db);
        let touched = roles.keys.iter().map(|role| Touched {
            spot: Spot { db: target(role.db), key: role.key.clone() },
            replaced: roles.replaces(role),
        });
        touched.collect()
    }

    fn drafts(&self, again: &Again<'_>, why: &str) -> Vec<Draft> {
        let draft = |db: u32, keys: Vec<Bytes>| again.draft(db, keys, why);
        let target = self.rules.mapping.target(again.db);
        let Some(command) = again.command else {
            let epoch = again.event.position.epoch;
            let keys = match &again.event.body {
                Body::Image(_) => vec![again.key.clone()],
                Body::ImagePart(_) => self.keys_of_part(again.key, epoch, target),
                _ => Vec::new(),
            };
            return vec![draft(target, keys)];
        };
        let roles = Roles::of(command, again.db);
        let mut drafts: Vec<Draft> = Vec::new();
        if command.is_script() && roles.keys.is_empty() {
            // The empty key stands for whatever it has written: so no other script runs before this is looked at.
            drafts.push(draft(target, vec![again.key.clone()]));
        }
        for role in roles.written().filter(|role| self.rules.takes(role.db, role.key)) {
            let db = self.rules.mapping.target(role.db);
            match drafts.iter_mut().find(|draft| draft.db == db) {
                Some(draft) => draft.keys.push(role.key.clone()),
                None => drafts.push(draft(db, vec![role.key.clone()])),
            }
        }
        drafts
    }
}

/// A key that a change reads or writes.
struct Touched {
    spot: Spot,
    /// Whether the change gives it a value that does not depend on the one before.
    replaced: bool,
}

/// The keys of a draft are unknown from here on; one that was not there has no more than what came since.
pub(super) fn taint(states: &mut States, draft: &Draft, part: Option<&Part>) {
    for key in &draft.keys {
        let state = states
            .entry(Spot { db: draft.db, key: key.clone() })
            .or_insert(State::Unknown(Bytes::new(), None));
        let before = match state {
            State::Unknown(_, before) => before.take(),
            State::Gone(_) => Some(Part::Whole),
        };
        *state = State::Unknown(draft.note(), Part::of_both(before, part.cloned()));
    }
}

fn change_of(event: &Event, number: u32) -> Option<(u32, &Bytes, Option<&Command>)> {
    match &event.body {
        Body::Command(command) => Some((event.db, &event.key, Some(command))),
        Body::Group(group) => {
            let change = group.changes.get(usize::try_from(number).ok()?)?;
            let command = match &change.change {
                Change::Command(command) => Some(command),
                _ => None,
            };
            Some((change.db, &change.key, command))
        }
        _ => Some((event.db, &event.key, None)),
    }
}
