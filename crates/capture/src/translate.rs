//! Commands of the replication stream to changes: which database, which transaction, which keys.
//!
//! Pure: no I/O, no clock. Guarantees: between two calls the state is the one at a command
//! boundary; a command that cannot be understood changes nothing and is refused by name, so that
//! nothing that changes data is left out in silence; what carries no data (PING, PUBLISH,
//! bookkeeping keys of ours) yields no change but still counts in the offset, which is the caller's
//! to keep.

mod change;
mod error;
mod route;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::HashMap;

use bytes::Bytes;
use event::control::{Control, FunctionChange};
use event::{Change, Command, Group, GroupedChange};
use wire::args::{Args, is_word};
use wire::command::normalise::Era;
use wire::command::script::{Followed, ScriptError, Scripts};
use wire::command::{CommandSpec, Effect, lookup};
use wire::resp::scan::RawCommand;
use wire::slot::Slot;

use self::change::{ChangeMaker, Made, change_itself, change_of_script};
pub use self::error::TranslateError;
use self::route::{Home, Partitions, Route};
use self::transaction::{Ended, Transaction};

/// The state of a replication stream at a command boundary.
#[derive(Debug)]
pub(crate) struct Translator {
    maker: ChangeMaker,
    partitions: Partitions,
    selected_db: u32,
    /// What has come since MULTI, while inside a transaction.
    transaction: Option<Transaction>,
    heartbeat_key: Bytes,
    /// Commands that the table does not know, as the source described them.
    learned: HashMap<Vec<u8>, CommandSpec>,
    /// The scripts that the source has sent, where it replicates them as such.
    scripts: Scripts,
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
    /// The command is to be recorded as it came, for the key after its name; this is what it does.
    Itself(event::Effect),
    /// What to record, in order.
    Changes(Vec<Record>),
    /// The one change of a transaction, which was taken by [`Translator::excess`], is to be recorded
    /// as [`Translator::record_of_one`] says.
    Taken,
}

/// One thing to record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// One change of a key, in the partition of its slot.
    Change {
        /// Database.
        db: u32,
        /// Slot of the key.
        slot: Slot,
        /// The key.
        key: Bytes,
        /// What happens.
        command: Command,
    },
    /// Changes that appear together, in the partition of the home key's slot, with a barrier in
    /// each other one that they touch.
    Group {
        /// Database of the home key.
        db: u32,
        /// Slot of the home key.
        slot: Slot,
        /// The home key.
        key: Bytes,
        /// The changes, after those taken by [`Translator::excess`], and the partitions.
        group: Group,
        /// Whether the key is not there: it is that of the first command among those taken first.
        is_key_out: bool,
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
            partitions: Partitions(partitions),
            selected_db,
            transaction: None,
            heartbeat_key: Bytes::copy_from_slice(heartbeat_key.as_bytes()),
            learned: HashMap::new(),
            scripts: Scripts::default(),
        }
    }

    /// The scripts that the source counts on being known here.
    #[must_use]
    pub(crate) fn knowing(mut self, scripts: Scripts) -> Self {
        self.scripts = scripts;
        self
    }

    /// The stream is written by a server of another generation from here on.
    pub(crate) fn set_era(&mut self, era: Era) {
        self.maker.era = era;
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

    /// Changes of the open transaction that take more memory than that, to be kept elsewhere: they
    /// come before those of the group that it becomes.
    pub(crate) fn excess(&mut self, limit_bytes: usize) -> Option<Vec<GroupedChange>> {
        self.transaction.as_mut()?.excess(limit_bytes)
    }

    /// Takes in what the source says of a command that the table does not know.
    pub(crate) fn learn(&mut self, name: &[u8], spec: CommandSpec) {
        self.learned.insert(name.to_ascii_uppercase(), spec);
    }

    /// Forgets that again.
    pub(crate) fn forget(&mut self, name: &[u8]) {
        self.learned.remove(&name.to_ascii_uppercase());
    }

    /// Takes the next command. `now_ms` is when it arrived, by the source's clock.
    ///
    /// # Errors
    /// When it cannot be understood; [`TranslateError::Unknown`] may be tried again after
    /// [`Translator::learn`].
    pub(crate) fn take(
        &mut self,
        raw: &RawCommand,
        now_ms: i64,
    ) -> Result<Translated, TranslateError> {
        let Some(name) = raw.get(0) else { return Ok(Translated::Nothing) };
        let learned = || self.learned.get(&name.to_ascii_uppercase());
        let Some(spec) = lookup(raw).or_else(learned) else { return Self::unknown(raw, name) };
        match spec.effect {
            Effect::Control => {
                let name = spec.name.clone();
                self.control(raw, &name)
            }
            Effect::None | Effect::Publish => Ok(Translated::Nothing),
            Effect::Script if self.maker.era <= Era::V2_8 => self.script(raw, &spec.name.clone()),
            // Only fills a cache: what scripts do travels by itself, or as EVAL, which is refused.
            Effect::Script if spec.name.starts_with("SCRIPT ") => Ok(Translated::Nothing),
            Effect::Script => Err(TranslateError::Script { command: spec.name.to_string() }),
            Effect::FlushSlots => Err(TranslateError::Refused { command: spec.name.to_string() }),
            Effect::Flush => {
                let all = spec.name == "FLUSHALL";
                Ok(self.take_keyless(Change::Flush { all }))
            }
            Effect::SwapDb => {
                let (first, second) = (number(raw, 1, "database")?, number(raw, 2, "database")?);
                Ok(self.take_keyless(Change::SwapDb { first, second }))
            }
            Effect::Function => {
                let args = self.maker.function_args(spec, raw)?;
                Ok(self.take_keyless(Change::Function(FunctionChange { args, snapshot_id: 0 })))
            }
            Effect::Overwrite | Effect::Merge | Effect::Move | Effect::Delete | Effect::Expire => {
                if let Some(beat) = self.heartbeat_of(raw) {
                    return Ok(Translated::Heartbeat(beat));
                }
                let db = self.selected_db;
                Ok(match self.maker.changes(spec, raw, db, now_ms)? {
                    Made::Itself(effect) if self.transaction.is_none() => {
                        Translated::Itself(effect)
                    }
                    Made::Itself(effect) => self.take_changes(vec![change_itself(raw, effect, db)]),
                    Made::Changes(changes) => self.take_changes(changes),
                })
            }
        }
    }

    /// Takes the next command, and writes out one that is recorded as it came.
    #[cfg(test)]
    pub(crate) fn take_whole(
        &mut self,
        raw: &RawCommand,
        now_ms: i64,
    ) -> Result<Translated, TranslateError> {
        Ok(match self.take(raw, now_ms)? {
            Translated::Itself(effect) => {
                self.take_changes(vec![change_itself(raw, effect, self.selected_db)])
            }
            other => other,
        })
    }

    /// A command about scripts, of a source that replicates them as such.
    fn script(&mut self, raw: &RawCommand, name: &str) -> Result<Translated, TranslateError> {
        match self.scripts.follow(raw) {
            Ok(Followed::Noted) => Ok(Translated::Nothing),
            Ok(Followed::Run(args)) => {
                let change = change_of_script(args, self.selected_db)?;
                Ok(self.take_changes(vec![change]))
            }
            Err(ScriptError::Unknown(digest)) => Err(TranslateError::UnknownScript { digest }),
            Err(ScriptError::Malformed) => {
                let what = "not a command about scripts that travels";
                Err(TranslateError::Malformed { command: name.to_owned(), what })
            }
        }
    }

    /// A command that the table does not know.
    fn unknown(raw: &RawCommand, name: &[u8]) -> Result<Translated, TranslateError> {
        if is_word(raw, 0, "REPLCONF") {
            // Talk between servers, whatever it is about.
            return Ok(Translated::Nothing);
        }
        Err(TranslateError::unknown(name))
    }

    fn control(&mut self, raw: &RawCommand, name: &str) -> Result<Translated, TranslateError> {
        match name {
            "SELECT" => self.selected_db = number(raw, 1, "database")?,
            "MULTI" if self.in_transaction() => {
                // A replica refuses it and stays in the transaction that it is in.
                tracing::warn!("MULTI inside a transaction in the stream");
            }
            "MULTI" => self.transaction = Some(Transaction::default()),
            "EXEC" => match self.transaction.take() {
                Some(transaction) => return Ok(self.finish(transaction)),
                None => tracing::warn!("EXEC without MULTI in the stream"),
            },
            "REPLCONF GETACK" => return Ok(Translated::AckWanted),
            "PING" | "REPLPING" => {}
            _ => return Err(TranslateError::Refused { command: name.to_owned() }),
        }
        Ok(Translated::Nothing)
    }

    fn take_keyless(&mut self, change: Change) -> Translated {
        let slot = change::first_slot();
        let (db, key) = (self.selected_db, Bytes::new());
        self.take_changes(vec![GroupedChange { db, slot, key, change }])
    }

    fn take_changes(&mut self, changes: Vec<GroupedChange>) -> Translated {
        if let Some(transaction) = &mut self.transaction {
            transaction.add(changes, self.partitions);
            return Translated::Nothing;
        }
        if changes.is_empty() {
            return Translated::Nothing;
        }
        let records = changes.into_iter().map(|change| self.record_of_one(change, false));
        Translated::Changes(records.collect())
    }

    fn finish(&self, transaction: Transaction) -> Translated {
        Translated::Changes(match transaction.end(self.selected_db, self.partitions) {
            Ended::Empty => return Translated::Nothing,
            Ended::One(None) => return Translated::Taken,
            Ended::One(Some(change)) => vec![self.record_of_one(change, true)],
            Ended::Many { changes, home, partitions, is_home_out } => {
                let group = Group { changes, ..group_over(partitions, true) };
                let Home { db, slot, key } = home;
                vec![Record::Group { db, slot, key, group, is_key_out: is_home_out }]
            }
        })
    }

    /// One change is an event of its own, unless its keys lie in several partitions.
    pub(crate) fn record_of_one(&self, change: GroupedChange, transaction: bool) -> Record {
        let GroupedChange { db, slot, key, change } = change;
        match change {
            Change::Flush { all } => Record::Everywhere { db, control: Control::Flush { all } },
            Change::SwapDb { first, second } => {
                Record::Everywhere { db, control: Control::SwapDb { first, second } }
            }
            Change::Function(function) => {
                Record::Everywhere { db, control: Control::Function(function) }
            }
            Change::Command(command) if self.partitions.have_in_one(&command) => {
                Record::Change { db, slot, key, command }
            }
            command @ Change::Command(_) => {
                let change = GroupedChange { db, slot, key, change: command };
                let mut route = Route::default();
                route.add(&change, self.partitions);
                let (home, partitions) = route.finish(db, self.partitions);
                let changes = vec![change];
                let group = Group { changes, ..group_over(partitions, transaction) };
                let Home { db, slot, key } = home;
                Record::Group { db, slot, key, group, is_key_out: false }
            }
        }
    }

    /// The time in our own heartbeat, if this is one: `SET key <ms> …`.
    fn heartbeat_of(&self, raw: &RawCommand) -> Option<i64> {
        let ours = raw.get(1) == Some(&self.heartbeat_key[..]) && is_word(raw, 0, "SET");
        ours.then(|| raw.get(2).and_then(parse)).flatten()
    }
}

fn group_over(partitions: Vec<u16>, transaction: bool) -> Group {
    Group { changes: Vec::new(), partitions, number: 0, last: true, transaction }
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
