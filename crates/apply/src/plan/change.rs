//! Commands and groups of them: filters, quarantine, and what is written. Pure.

use bytes::Bytes;
use event::{Change, Command, Effect, Group, KeyArgs, Position};
use wire::command::{self, Split};
use wire::resp::encode::Decimal;

use super::assemble::GroupRecord;
use super::keys::{Role, Roles};
use super::lower;
use super::{Place, Planned, Planner};
use crate::batch::{Batch, Sent};
use crate::error::Error;
use crate::quarantine::{Draft, LEFT_OUT};

/// Which keys that a command writes are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// All of its keys.
    All,
    /// None.
    Nothing,
    /// Some, or it reads what is not taken.
    Part,
}

// === impl Planner ===

impl Planner {
    /// Plans one command.
    pub(super) fn command(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if command.is_script() {
            return self.script(place, command, batch);
        }
        let name = command.args.first().map_or(b"".as_slice(), |name| name);
        if !self.rules.filters.command(name) {
            self.counts.filtered += 1;
            return self.remove_replaced(place, command, name, batch);
        }
        if matches!(command.keys, KeyArgs::Listed { .. }) || lower::has_other_db(name) {
            return self.command_of_keys(place, command, batch);
        }
        if !self.rules.takes(place.db, place.key) {
            self.counts.filtered += 1;
            return Ok(());
        }
        if self.rules.is_own(place.key) {
            self.counts.own += 1;
            return Ok(());
        }
        let db = self.rules.mapping.target(place.db);
        if let Some(why) = self.refusal(place, db) {
            return self.set_aside(place, (db, &[place.key]), why, batch);
        }
        if self.held.has_keys() {
            if matches!(command.effect, Effect::Overwrite | Effect::Delete) {
                self.held.release(db, place.key);
            } else if self.held.contains(db, place.key) {
                let why = self.after_another([(db, place.key)]);
                return self.set_aside(place, (db, &[place.key]), why, batch);
            }
        }
        self.write_followed(place, db, &command.args, batch).or_else(|unfit| {
            let why = self.cannot_hold(place, unfit)?;
            self.set_aside(place, (db, &[place.key]), why, batch)
        })
    }

    /// A value of a type that is left out has taken the place of the one that may be here.
    fn remove_replaced(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        name: &[u8],
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let replaces = command.effect == Effect::Overwrite && command.keys == KeyArgs::First;
        let taken = self.rules.filters.name(name) && self.rules.takes(place.db, place.key);
        if replaces && taken && !self.rules.is_own(place.key) {
            let db = self.rules.mapping.target(place.db);
            if let Some(why) = self.refusal(place, db) {
                return self.set_aside(place, (db, &[place.key]), why, batch);
            }
            let remove = [self.rules.remove_command(), place.key];
            batch.command(db, Self::sent(place), remove);
            self.deadlines.forget(db, place.key);
        }
        Ok(())
    }

    /// Plans a group that is one record.
    pub(super) fn group(
        &mut self,
        place: &Place<'_>,
        group: &Group,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        for (number, change) in (0u32..).zip(&group.changes) {
            let place = Place { change: number, db: change.db, key: &change.key, ..*place };
            match &change.change {
                Change::Command(command) => self.command(&place, command, batch)?,
                Change::Function(_) if !self.functions_count(place.position.shard) => {}
                Change::Function(function) => self.function(&place, function, batch)?,
                Change::Flush { all } => self.flush(&place, *all, batch)?,
                Change::SwapDb { first, second } => {
                    self.swap(&place, (*first, *second), batch)?;
                }
            }
        }
        Ok(())
    }

    /// Plans the records of a group that came in several: all of it, or as much as may be held in memory.
    pub(super) fn records_of_group(
        &mut self,
        records: Vec<GroupRecord>,
        batch: &mut Batch,
    ) -> Result<Planned, Error> {
        let is_end = records.last().is_some_and(GroupRecord::is_last);
        if is_end && !records.first().is_some_and(GroupRecord::is_first) {
            self.counts.cut_groups += 1;
        }
        if records.iter().any(|record| record.is_met || record.empties_databases) {
            let joined = GroupRecord::join(records)?;
            return joined
                .map_or(Ok(Planned::Done), |(event, record)| self.event(event, record, batch));
        }
        // One after the other into one batch, which is one step.
        let mut planned = Planned::Done;
        for record in records {
            let (event, record) = record.decode()?;
            planned = self.event(event, record, batch)?;
            if let Planned::Barrier(barrier) = &planned {
                // In the way of a script in the middle: where that is not left out, nothing of this batch is executed.
                self.plan_barrier(barrier, !self.rules.skips_inexact, batch)?;
                planned = Planned::Done;
            }
        }
        Ok(planned)
    }

    /// Whether a group empties or exchanges databases.
    pub(super) fn empties_databases(group: &Group) -> bool {
        let mut changes = group.changes.iter().map(|change| &change.change);
        changes.any(|change| matches!(change, Change::Flush { .. } | Change::SwapDb { .. }))
    }

    /// Plans a command that has several keys, or one in several databases.
    fn command_of_keys(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let roles = Roles::of(command, place.db);
        if roles.keys.iter().any(|role| self.rules.is_own(role.key)) {
            self.counts.own += 1;
            return Ok(());
        }
        match self.taken(&roles) {
            Taken::All => {}
            Taken::Nothing => {
                self.counts.filtered += 1;
                return Ok(());
            }
            Taken::Part => return self.command_in_part(place, command, &roles, batch),
        }
        if let Some(why) = self.refusal_of_written(place, roles.written()) {
            return self.set_aside_written(place, &roles, why, batch);
        }
        if self.held.has_keys() && self.needs_held(&roles) {
            let target = |db| self.rules.mapping.target(db);
            let spots = roles.keys.iter().map(|role| (target(role.db), role.key));
            let why = self.after_another(spots);
            return self.set_aside_written(place, &roles, why.into(), batch);
        }
        self.release_replaced(&roles);
        let db = self.rules.mapping.target(place.db);
        let judge = roles.judge();
        let sent = Sent { judge, ..Self::sent(place) };
        batch.mark();
        let written = lower::write(&self.rules, batch, db, sent, &command.args);
        match self.fitting(batch, written) {
            Ok(()) => {
                self.follow_roles(&roles, &command.args);
                Ok(())
            }
            Err(unfit) => {
                let why = self.cannot_hold(place, unfit)?;
                self.set_aside_written(place, &roles, why, batch)
            }
        }
    }

    /// A command of which only a part is taken.
    fn command_in_part(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        roles: &Roles<'_>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let taken = |role: &&Role<'_>| self.rules.takes(role.db, role.key);
        if let Some(why) = self.refusal_of_written(place, roles.written().filter(taken)) {
            return self.set_aside_written(place, roles, why, batch);
        }
        let sent = Self::sent(place);
        let effect = roles.spec.map(|spec| spec.effect);
        let mut gone: Vec<(u32, Bytes)> = Vec::new();
        if effect == Some(command::Effect::Move) && roles.written().filter(taken).all(Role::lends) {
            // A key that leaves for where nothing is taken is simply gone.
            let written = roles.written().filter(taken);
            gone.extend(written.map(|role| (self.rules.mapping.target(role.db), role.key.clone())));
        } else if effect == Some(command::Effect::Delete) {
            let written = roles.written().filter(taken);
            gone.extend(written.map(|role| (self.rules.mapping.target(role.db), role.key.clone())));
        } else if roles.spec.is_some_and(|spec| spec.split == Split::PerKey && spec.name == "MSET")
        {
            let pairs = command.args.get(1..).unwrap_or_default().chunks_exact(2);
            let pairs: Vec<_> =
                pairs.filter_map(|pair| Some((pair.first()?, pair.get(1)?))).collect();
            batch.mark();
            for (key, value) in pairs {
                if self.rules.takes(place.db, key) {
                    let db = self.rules.mapping.target(place.db);
                    self.held.release(db, key);
                    self.deadlines.forget(db, key);
                    batch.command(db, sent, [b"SET".as_slice(), key, value]);
                }
            }
            return self.fitting(batch, Ok(())).or_else(|unfit| {
                let why = self.cannot_hold(place, unfit)?;
                self.set_aside_written(place, roles, why, batch)
            });
        } else {
            let why = "it needs a key that the filters leave out";
            return self.set_aside_written(place, roles, why.into(), batch);
        }
        for (db, key) in gone {
            self.held.release(db, &key);
            self.deadlines.forget(db, &key);
            batch.command(db, sent, [b"DEL".as_slice(), &key]);
        }
        Ok(())
    }

    fn taken(&self, roles: &Roles<'_>) -> Taken {
        let taken = |role: &Role<'_>| self.rules.takes(role.db, role.key);
        if !roles.written().any(taken) {
            Taken::Nothing
        } else if roles.keys.iter().all(taken) {
            Taken::All
        } else {
            Taken::Part
        }
    }

    /// Whether a command needs the value of a key that is set aside.
    fn needs_held(&self, roles: &Roles<'_>) -> bool {
        roles.keys.iter().any(|role| {
            !roles.replaces(role)
                && self.held.contains(self.rules.mapping.target(role.db), role.key)
        })
    }

    fn release_replaced(&mut self, roles: &Roles<'_>) {
        for role in roles.keys.iter().filter(|role| roles.replaces(role)) {
            self.held.release(self.rules.mapping.target(role.db), role.key);
        }
    }

    /// Why these keys of a command cannot be written.
    fn refusal_of_written<'a>(
        &self,
        place: &Place<'_>,
        written: impl Iterator<Item = &'a Role<'a>>,
    ) -> Option<String> {
        let targets = written.map(|role| self.rules.mapping.target(role.db));
        self.refusal(place, targets.max().unwrap_or_default())
    }

    fn set_aside_written(
        &mut self,
        place: &Place<'_>,
        roles: &Roles<'_>,
        why: String,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let mut dbs: Vec<u32> = roles.written().map(|role| role.db).collect();
        dbs.sort_unstable();
        dbs.dedup();
        for db in dbs {
            let keys: Vec<&Bytes> = roles
                .written()
                .filter(|role| role.db == db && self.rules.takes(db, role.key))
                .map(|role| role.key)
                .collect();
            if !keys.is_empty() {
                self.set_aside(place, (self.rules.mapping.target(db), &keys), why.clone(), batch)?;
            }
        }
        Ok(())
    }

    /// Makes a change a dead letter; its keys are held from now on.
    pub(super) fn set_aside(
        &mut self,
        place: &Place<'_>,
        (db, keys): (u32, &[&Bytes]),
        why: impl Into<String>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let draft = Draft {
            position: place.position,
            record: place.record.clone(),
            change: place.change,
            db,
            keys: keys.iter().copied().cloned().collect(),
            why: why.into(),
        };
        self.hold(draft, batch)
    }

    /// A key that is set aside is listed at the destination, with its database.
    fn require_room(&self, position: Position, key: &Bytes) -> Result<(), Error> {
        let (bytes, limit) = (key.len(), self.rules.sizes.argument);
        match bytes.saturating_add(SPOT_BYTES) > limit {
            true => Err(Error::KeyTooLong { position, bytes, limit }),
            false => Ok(()),
        }
    }

    /// Makes a draft a dead letter of the batch; its keys are held from now on.
    pub(crate) fn hold(&mut self, draft: Draft, batch: &mut Batch) -> Result<(), Error> {
        let note = draft.note();
        for key in &draft.keys {
            self.require_room(draft.position, key)?;
            self.held.hold(draft.db, key, &note)?;
            self.deadlines.forget(draft.db, key);
        }
        match draft.why.strip_prefix(LEFT_OUT) {
            Some(why) => batch.left_out.push(why.to_owned()),
            None => {
                self.counts.letters += 1;
                batch.letters.push(draft);
            }
        }
        Ok(())
    }
}

/// What may stand before a key in the list of those that are set aside: the number of its database.
const SPOT_BYTES: usize = 16;

/// The number of a database as an argument.
pub(super) fn number(db: u32) -> Decimal {
    Decimal::from(u64::from(db))
}
