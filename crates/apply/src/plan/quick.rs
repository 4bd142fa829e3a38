//! The short way for what almost all of a stream consists of: a command with one key that is passed on as it is, or a
//! string of a snapshot, while nothing is set aside, in doubt or open. Pure.
//!
//! Guarantees: what is planned here is what the long way plans; whatever it would do besides, this way leaves to it,
//! untouched.

use bytes::Bytes;
use event::codec::{Glance, GlanceBody, SHARED_BYTES};

use super::{Planner, lower};
use crate::batch::{Batch, Sent};
use crate::filter::ValueKind;
use crate::scope::Line;

// === impl Planner ===

impl Planner {
    /// Plans a record if it may go the short way; says whether it did.
    pub(super) fn quick(&mut self, record: &Bytes, batch: &mut Batch) -> bool {
        if !self.is_plain()
            || self.progress.any_on_demand(self.track)
            || record.len() >= SHARED_BYTES
        {
            return false;
        }
        let Some(event) = Glance::at(record) else { return false };
        let line = Line { track: self.track, shard: event.position.shard };
        let Some(known) = self.progress.index_of(line) else { return false };
        let follows = self.progress.applied.get(known).is_some_and(|applied| {
            let applied = &applied.position;
            applied.epoch == event.position.epoch && event.position.is_after(applied)
        });
        let db = self.rules.mapping.target(event.db);
        let may = follows && db < self.rules.databases && self.doubt.is_over();
        if !may || !self.passes_on(&event) {
            return false;
        }
        let sent = Sent::data(batch.next_record(), 0);
        match &event.body {
            GlanceBody::Text(text) => self.rules.set(batch, (db, sent), (event.key, text)),
            GlanceBody::Command(words) => match words.words() {
                [name, key, value] if name.eq_ignore_ascii_case(b"SET") => {
                    self.rules.set(batch, (db, sent), (key, value));
                }
                words => batch.command(db, sent, words),
            },
        }
        self.note_lag(line);
        self.note_new(line);
        if let Some(applied) = self.progress.applied.get_mut(known) {
            applied.position = event.position;
        }
        batch.events += 1;
        true
    }

    /// Whether nothing has to be looked at beside the record itself.
    fn is_plain(&self) -> bool {
        !self.held.has_keys()
            && self.refused.is_empty()
            && self.deadlines.is_empty()
            && self.assembly.is_idle()
    }

    /// Whether the change is taken, and is the same at the destination. Notes the key of a snapshot.
    fn passes_on(&mut self, event: &Glance<'_>) -> bool {
        let takes = |planner: &Self| {
            planner.rules.takes(event.db, event.key) && !planner.rules.is_own(event.key)
        };
        match &event.body {
            GlanceBody::Command(words) => words.words().first().is_some_and(|name| {
                lower::passes_on(name, words.words().len())
                    && self.rules.filters.command(name)
                    && takes(self)
            }),
            GlanceBody::Text(_) => {
                self.rules.filters.kind(ValueKind::String)
                    && takes(self)
                    && self.mark_key(self.line(event.position), (event.db, event.key)).is_ok()
            }
        }
    }
}
