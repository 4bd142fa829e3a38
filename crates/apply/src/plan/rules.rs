//! What the settings say about a change: whether it is taken, where it goes. Pure.

use std::path::PathBuf;

use event::names::PREFIX;
use redis_io::ServerFacts;

use crate::config::Config;
use crate::filter::Filters;
use crate::limits;
use crate::mapping::DbMapping;
use crate::marks::{Marks, Snapshot};
use crate::names::Names;
use crate::target::{self, Target};

/// The settings and facts that planning depends on.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// What is taken.
    pub(crate) filters: Filters,
    /// Where databases go.
    pub(crate) mapping: DbMapping,
    /// Milliseconds added to every expiry.
    pub(crate) extend_ms: i64,
    /// Milliseconds for which nothing is left to expire; 0: no such time.
    hold_ms: i64,
    /// The earliest expiry that is written at the moment, Unix milliseconds.
    earliest_ms: i64,
    /// Keys that are ours.
    pub(crate) names: Names,
    /// What the destination can do.
    pub(crate) target: Target,
    /// How many databases it has.
    pub(crate) databases: u32,
    /// Marks that are kept in memory.
    pub(crate) marks_in_memory: usize,
    /// Where marks go that memory does not hold.
    pub(crate) spill_dir: PathBuf,
}

/// Databases of a server that does not tell: the default of every version.
const USUAL_DATABASES: u32 = 16;

// === impl Rules ===

impl Rules {
    /// The rules of a lane.
    pub(crate) fn new(config: &Config, names: Names, facts: &ServerFacts) -> Self {
        Self {
            filters: config.filters.clone(),
            mapping: config.mapping.clone(),
            extend_ms: i64::try_from(config.extend_expiry.as_millis()).unwrap_or(i64::MAX),
            hold_ms: i64::try_from(config.hold_expiry.as_millis()).unwrap_or(i64::MAX),
            earliest_ms: i64::MIN,
            names,
            target: Target::of(facts),
            databases: facts.databases.unwrap_or(USUAL_DATABASES),
            marks_in_memory: config.marks_in_memory,
            spill_dir: config.spill_dir.clone(),
        }
    }

    /// No marks, for a snapshot that begins.
    pub(crate) fn marks(&self, of: Snapshot) -> Marks {
        Marks::new(of, &self.spill_dir, self.marks_in_memory)
    }

    /// Whether a key of a database of the source is taken.
    pub(crate) fn takes(&self, db: u32, key: &[u8]) -> bool {
        self.filters.db(db) && self.filters.key(key)
    }

    /// The command that removes keys with the least harm to others.
    pub(crate) fn remove_command(&self) -> &'static [u8] {
        if self.target.can(target::UNLINK) { b"UNLINK" } else { b"DEL" }
    }

    /// Whether a key is one of our own.
    pub(crate) fn is_own(&self, key: &[u8]) -> bool {
        key.starts_with(PREFIX.as_bytes()) && self.names.is_own(key)
    }

    /// Holds expiry back for what is planned from now on, and was written at its source at `stamp_ms`: a change
    /// that renews a key may be as far behind it as this one is behind the source.
    pub(crate) fn hold_expiry(&mut self, now_ms: i64, stamp_ms: i64) {
        if self.hold_ms > 0 {
            let lag_max = i64::try_from(limits::HOLD_LAG_MAX.as_millis()).unwrap_or(i64::MAX);
            // A record without a time says nothing of the lag.
            let stamp_ms = if stamp_ms > 0 { stamp_ms } else { now_ms };
            let lag_ms = now_ms.saturating_sub(stamp_ms).clamp(0, lag_max);
            self.earliest_ms = now_ms.saturating_add(self.hold_ms).saturating_add(2 * lag_ms);
        }
    }

    /// The moment at which a key expires here, when it expires at `ms` at the source.
    pub(crate) fn expiry(&self, ms: i64) -> i64 {
        ms.saturating_add(self.extend_ms).max(self.earliest_ms)
    }
}
