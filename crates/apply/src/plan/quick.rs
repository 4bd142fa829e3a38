//! The short way for what almost all of a stream consists of: a command with one key that is passed on as it is, while
//! nothing is set aside, in doubt or open. Pure.
//!
//! Guarantees: what is planned here is what the long way plans; whatever it would do besides, this way leaves to it,
//! untouched.

use bytes::Bytes;
use event::codec::{Glance, SHARED_BYTES};

use super::{Planner, lower};
use crate::batch::{Batch, Sent};

// === impl Planner ===

impl Planner {
    /// Plans a record if it may go the short way; says whether it did.
    pub(super) fn quick(&mut self, record: &Bytes, batch: &mut Batch) -> bool {
        if !self.is_plain() || record.len() >= SHARED_BYTES {
            return false;
        }
        let Some(command) = Glance::at(record) else { return false };
        let shard = command.position.shard;
        let follows = self.progress.of(shard).is_some_and(|applied| {
            applied.epoch == command.position.epoch && command.position.is_after(applied)
        });
        if !follows || self.doubt.concerns(shard) || !self.passes_on(&command) {
            return false;
        }
        let db = self.rules.mapping.target(command.db);
        if db >= self.rules.databases {
            return false;
        }
        let sent = Sent::data(batch.next_record(), 0);
        match command.args() {
            [name, key, value] if name.eq_ignore_ascii_case(b"SET") => {
                self.rules.set(batch, (db, sent), (key, value));
            }
            args => batch.command(db, sent, args),
        }
        self.note_lag(shard);
        if let Some(marks) = &mut self.marks {
            marks.rebuilding = false;
        }
        self.done(command.position, batch);
        true
    }

    /// Whether nothing has to be looked at beside the record itself.
    fn is_plain(&self) -> bool {
        self.held.is_empty()
            && self.refused.is_empty()
            && self.deadlines.is_empty()
            && self.assembly.is_idle()
    }

    /// Whether the command is taken, and is the same at the destination.
    fn passes_on(&self, command: &Glance<'_>) -> bool {
        let Some(name) = command.args().first() else { return false };
        lower::passes_on(name, command.args().len())
            && self.rules.filters.command(name)
            && self.rules.takes(command.db, command.key)
            && !self.rules.is_own(command.key)
    }
}
