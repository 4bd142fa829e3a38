//! Commands of the replication stream to changes: which database, which transaction, which keys.
//!
//! Pure: no I/O, no clock. Guarantees: between two calls the state is the one at a command boundary; a command
//! that cannot be understood changes nothing and is refused by name; what carries no data (PING, PUBLISH,
//! bookkeeping keys of ours) yields no change but still counts in the offset, which is the caller's to keep.

mod change;
mod error;

use std::collections::HashMap;

use bytes::Bytes;
use event::control::{Control, FunctionChange};
use event::{Body, Change, Command, Group, GroupedChange};
use wire::args::{Args, is_word};
use wire::command::normalise::Era;
use wire::command::{CommandSpec, Effect, lookup};
use wire::resp::scan::RawCommand;
use wire::slot::{Slot, partition_of};

use self::change::ChangeMaker;
pub use self::error::TranslateError;

/// The state of a replication stream at a command boundary.
#[derive(Debug)]
pub(crate) struct Translator {
    maker: ChangeMaker,
    partitions: u16,
    selected_db: u32,
    /// Commands since MULTI, while inside a transaction.
    transaction: Option<Vec<GroupedChange>>,
    heartbeat_key: Bytes,
    /// Commands that the table does not know, as the source described them.
    learned: HashMap<Vec<u8>, CommandSpec>,
}

/// What one command came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Translated {
    /// Nothing to record.
    Nothing,
    /// The source asks for an acknowledgement at once.
    AckWanted,
    /// Our own heartbeat passed, written at this time of the source's clock (Unix milliseconds).
    Heartbeat(i64),
    /// Changes, in order; their place in the list is the index of their position.
    Changes(Vec<Record>),
}

/// One record to append.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// In the partition of its slot, with a barrier in each other partition that it touches.
    Keyed {
        /// Database.
        db: u32,
        /// Slot of the (home) key.
        slot: Slot,
        /// The (home) key.
        key: Bytes,
        /// What happens.
        body: Body,
        /// Other partitions that it touches.
        others: Vec<u16>,
    },
    /// In every partition.
    Everywhere {
        /// Database.
        db: u32,
        /// What happens.
        control: Control,
    },
}

// === impl Translator ===

impl Translator {
    /// The state at a place where `selected_db` is selected, of a journal with so many partitions.
    #[must_use]
    pub(crate) fn new(era: Era, partitions: u16, selected_db: u32, heartbeat_key: &str) -> Self {
        Self {
            maker: ChangeMaker { era },
            partitions,
            selected_db,
            transaction: None,
            heartbeat_key: Bytes::copy_from_slice(heartbeat_key.as_bytes()),
            learned: HashMap::new(),
        }
    }

    /// The database selected here.
    #[must_use]
    pub(crate) fn selected_db(&self) -> u32 {
        self.selected_db
    }

    /// Whether a transaction is open: no place to resume at.
    #[must_use]
    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Takes in what the source says of a command that the table does not know.
    pub(crate) fn learn(&mut self, name: &[u8], spec: CommandSpec) {
        self.learned.insert(name.to_ascii_uppercase(), spec);
    }

    /// Takes the next command. `now_ms` is when it arrived, by the source's clock.
    ///
    /// # Errors
    /// When it cannot be understood; [`TranslateError::Unknown`] may be tried again after [`Translator::learn`].
    pub(crate) fn take(
        &mut self,
        raw: &RawCommand,
        now_ms: i64,
    ) -> Result<Translated, TranslateError> {
        let Some(name) = raw.get(0) else { return Ok(Translated::Nothing) };
        let known = lookup(raw);
        let learned = || self.learned.get(&name.to_ascii_uppercase());
        let Some(spec) = known.or_else(learned) else {
            return Err(TranslateError::unknown(name));
        };
        match spec.effect {
            Effect::Control => self.control(raw),
            Effect::None | Effect::Publish => Ok(Translated::Nothing),
            Effect::Script if is_bookkeeping(raw) => Ok(Translated::Nothing),
            Effect::Script => Err(TranslateError::Script { command: lossy(name) }),
            Effect::Flush | Effect::SwapDb | Effect::Function => {
                let change = self.keyless(raw, spec.effect)?;
                Ok(self.take_keyless(change))
            }
            Effect::FlushSlots => Err(TranslateError::Refused { command: lossy(name) }),
            Effect::Overwrite | Effect::Merge | Effect::Move | Effect::Delete | Effect::Expire => {
                if let Some(beat) = self.heartbeat_of(raw) {
                    return Ok(Translated::Heartbeat(beat));
                }
                let spec = spec.clone();
                let changes = self.maker.changes(raw, &spec, self.selected_db, now_ms)?;
                Ok(self.take_changes(changes))
            }
        }
    }

    fn control(&mut self, raw: &RawCommand) -> Result<Translated, TranslateError> {
        if is_word(raw, 0, "SELECT") {
            self.selected_db = number(raw, 1, "database")?;
        } else if is_word(raw, 0, "MULTI") {
            self.transaction = Some(Vec::new());
        } else if is_word(raw, 0, "EXEC") {
            let changes = self.transaction.take().unwrap_or_default();
            return Ok(self.finish_transaction(changes));
        } else if is_word(raw, 0, "REPLCONF") && is_word(raw, 1, "GETACK") {
            return Ok(Translated::AckWanted);
        }
        Ok(Translated::Nothing)
    }

    fn keyless(&self, raw: &RawCommand, effect: Effect) -> Result<Change, TranslateError> {
        Ok(match effect {
            Effect::Flush => Change::Flush { all: is_word(raw, 0, "FLUSHALL") },
            Effect::SwapDb => Change::SwapDb {
                first: number(raw, 1, "database")?,
                second: number(raw, 2, "database")?,
            },
            _ => Change::Function(FunctionChange { args: self.maker.function_args(raw)? }),
        })
    }

    fn take_keyless(&mut self, change: Change) -> Translated {
        let slot = change::first_slot();
        self.take_changes(vec![GroupedChange {
            db: self.selected_db,
            slot,
            key: Bytes::new(),
            change,
        }])
    }

    fn take_changes(&mut self, changes: Vec<GroupedChange>) -> Translated {
        if let Some(transaction) = &mut self.transaction {
            transaction.extend(changes);
            return Translated::Nothing;
        }
        let records: Vec<_> =
            changes.into_iter().map(|change| self.record_of_one(change, false)).collect();
        if records.is_empty() { Translated::Nothing } else { Translated::Changes(records) }
    }

    fn finish_transaction(&self, mut changes: Vec<GroupedChange>) -> Translated {
        match changes.len() {
            0 => Translated::Nothing,
            1 => match changes.pop() {
                Some(change) => Translated::Changes(vec![self.record_of_one(change, true)]),
                None => Translated::Nothing,
            },
            _ => Translated::Changes(vec![self.group(changes, true)]),
        }
    }

    /// One change is an event of its own, unless its keys lie in several partitions.
    fn record_of_one(&self, change: GroupedChange, transaction: bool) -> Record {
        if self.partitions_of(std::slice::from_ref(&change)).len() > 1
            && matches!(change.change, Change::Command(_))
        {
            return self.group(vec![change], transaction);
        }
        let GroupedChange { db, slot, key, change } = change;
        match control_of(change) {
            Ok(control) => Record::Everywhere { db, control },
            Err(command) => {
                Record::Keyed { db, slot, key, body: Body::Command(command), others: Vec::new() }
            }
        }
    }

    fn group(&self, changes: Vec<GroupedChange>, transaction: bool) -> Record {
        let partitions = self.partitions_of(&changes);
        let home = changes.iter().find(|change| matches!(change.change, Change::Command(_)));
        let (db, slot, key) = match home.or(changes.first()) {
            Some(home) => (home.db, home.slot, home.key.clone()),
            None => (self.selected_db, change::first_slot(), Bytes::new()),
        };
        let home = self.partition(slot);
        let others: Vec<u16> = partitions.into_iter().filter(|other| *other != home).collect();
        let involved = match others.is_empty() {
            true => Vec::new(),
            false => std::iter::once(home).chain(others.iter().copied()).collect(),
        };
        let group = Group { changes, partitions: involved, number: 0, last: true, transaction };
        Record::Keyed { db, slot, key, body: Body::Group(group), others }
    }

    /// Every partition that the changes touch, in order, each once.
    fn partitions_of(&self, changes: &[GroupedChange]) -> Vec<u16> {
        let mut partitions = Vec::new();
        for change in changes {
            match &change.change {
                Change::Command(command) => {
                    let keys = command.written_keys().chain(command.read_keys());
                    partitions.extend(keys.map(|key| self.partition(Slot::of_key(key))));
                }
                Change::Flush { .. } | Change::SwapDb { .. } | Change::Function(_) => {
                    partitions.extend(0..self.partitions);
                }
            }
        }
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    fn partition(&self, slot: Slot) -> u16 {
        let number = partition_of(slot, u32::from(self.partitions));
        u16::try_from(number).expect("fewer partitions than slots")
    }

    /// The time in our own heartbeat, if this is one: `SET key <ms> …`.
    fn heartbeat_of(&self, raw: &RawCommand) -> Option<i64> {
        let ours = raw.get(1) == Some(&self.heartbeat_key[..]) && is_word(raw, 0, "SET");
        ours.then(|| raw.get(2).and_then(parse)).flatten()
    }
}

/// The control event of a change without a key; a command has keys and comes back.
fn control_of(change: Change) -> Result<Control, Command> {
    match change {
        Change::Flush { all } => Ok(Control::Flush { all }),
        Change::SwapDb { first, second } => Ok(Control::SwapDb { first, second }),
        Change::Function(function) => Ok(Control::Function(function)),
        Change::Command(command) => Err(command),
    }
}

/// SCRIPT LOAD and its like only fill a cache: effects travel by themselves.
fn is_bookkeeping(raw: &RawCommand) -> bool {
    is_word(raw, 0, "SCRIPT")
}

fn number(raw: &RawCommand, index: usize, what: &'static str) -> Result<u32, TranslateError> {
    let text = raw.get(index).and_then(parse::<u32>);
    text.ok_or_else(|| TranslateError::BadArgument {
        command: raw.get(0).map(lossy).unwrap_or_default(),
        what,
    })
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
