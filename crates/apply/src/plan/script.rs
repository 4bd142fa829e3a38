//! Scripts, which a source up to Redis 4.0 replicates as such. Pure.
//!
//! What a script reads and writes nobody knows before it has run: whatever keys it names, it may meet any key of any
//! database. So it runs only where all that the source has is here as the source has it, and whatever depends on knowing
//! the keys of a change takes it for a change of all.

use bytes::Bytes;
use event::{Body, Change, Command, Event};

use super::{Place, Planner};
use crate::batch::{Batch, Judge, Sent};
use crate::error::Error;

/// What runs a script.
pub(crate) const EVAL: &str = "EVAL";

/// Commands that a script may not name, since they would take our own keys away.
const WHOLESALE: [&[u8]; 3] = [b"flushall", b"flushdb", b"swapdb"];
/// A command that takes what chance wants, here as there.
const RANDOM: &[u8] = b"spop";

/// What stands before every script: it makes a newer server do what those up to 4.0 do, so that the same script comes to
/// the same: random numbers begin with the same seed, and lists without an order are sorted. Our own keys are not found.
pub(super) const PRELUDE: &str = "local redis=(function(R) \
    local S={smembers=1,sinter=1,sunion=1,sdiff=1,hkeys=1,hvals=1,keys=1} \
    local function like(f) return function(c,...) local r=f(c,...) \
    local n=type(c)=='string' and string.lower(c) \
    if n and S[n] and type(r)=='table' and not r.err then \
    if n=='keys' then local k={} \
    for _,v in ipairs(r) do if string.sub(v,1,10)~='keyferry:{' then k[#k+1]=v end end r=k end \
    table.sort(r) end return r end end \
    return setmetatable({call=like(R.call),pcall=like(R.pcall)},{__index=R}) end)(redis) \
    math.randomseed(0) ";

// === impl Planner ===

impl Planner {
    /// Plans a script. What is in its way stops the lane, or sets the script aside where the settings say that what is
    /// not exact is left out.
    pub(super) fn script(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if let Some(why) = self.obstacle(place.db, command) {
            if self.exact {
                return Err(Error::Inexact { command: EVAL, position: place.position, why });
            }
            return self.set_aside_script(place, command, why, batch);
        }
        self.require_allowed(place, EVAL)?;
        self.deadlines.clear();
        let mut args = command.args.clone();
        if let Some(text) = args.get_mut(1) {
            *text = [PRELUDE.as_bytes(), text].concat().into();
        }
        batch.mark();
        batch.command(place.db, Sent { judge: Judge::Runs, ..Self::sent(place) }, args);
        self.fitting(batch, Ok(())).or_else(|unfit| {
            let why = self.cannot_hold(place, unfit)?;
            self.set_aside_script(place, command, why, batch)
        })
    }

    /// Makes a script a dead letter. Of the keys that it names those are held that are taken.
    fn set_aside_script(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        why: impl Into<String>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let keys = command.written_keys();
        let taken = |key: &&Bytes| self.rules.takes(place.db, key) && !self.rules.is_own(key);
        let keys: Vec<&Bytes> = keys.filter(taken).collect();
        self.set_aside(place, (self.rules.mapping.target(place.db), &keys), why, batch)
    }

    /// Plans a script of a letter: what is in its way sends it back there.
    pub(super) fn script_again(
        &mut self,
        place: &Place<'_>,
        command: &Command,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let exact = std::mem::replace(&mut self.exact, false);
        let planned = self.script(place, command, batch);
        self.exact = exact;
        planned
    }

    /// What is in the way of the scripts of an event, if it has any.
    pub(crate) fn obstacle_to(&self, event: &Event) -> Option<&'static str> {
        match &event.body {
            Body::Command(command) if command.is_script() => self.obstacle(event.db, command),
            Body::Group(group) => group.changes.iter().find_map(|change| match &change.change {
                Change::Command(command) if command.is_script() => {
                    self.obstacle(change.db, command)
                }
                _ => None,
            }),
            _ => None,
        }
    }

    /// Why a script would not do here what it did at the source.
    fn obstacle(&self, db: u32, command: &Command) -> Option<&'static str> {
        let filters = &self.rules.filters;
        if filters.split_databases() || !filters.dbs.is_empty() {
            return Some("a script may need what the filters (filter.*) leave out, or write it");
        }
        if !self.rules.mapping.is_identity() {
            return Some("a script may select databases, which are mapped (map.dbs)");
        }
        if self.rules.extend_ms != 0 {
            return Some(
                "expiries that a script sets cannot be extended (destination.extend_expiry)",
            );
        }
        if self.held.has_keys() {
            return Some(
                "a script may need keys that are in quarantine: look at them (keyferry quarantine list), \
                 then retry or discard them",
            );
        }
        if db >= self.rules.databases {
            return Some("the destination does not have the database");
        }
        let names = |word: &[u8]| command.args.iter().any(|arg| has_word(arg, word));
        if WHOLESALE.into_iter().any(names) {
            return Some("the script may empty or exchange databases");
        }
        names(RANDOM).then_some("the script may take a member of a set by chance (SPOP)")
    }
}

/// Whether a text has a word in it, of any case, that is not part of a longer one.
fn has_word(text: &[u8], word: &[u8]) -> bool {
    let ends = |at: Option<&u8>| at.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    text.windows(word.len()).enumerate().any(|(at, window)| {
        window.eq_ignore_ascii_case(word)
            && ends(at.checked_sub(1).and_then(|before| text.get(before)))
            && ends(text.get(at + word.len()))
    })
}
