//! What the settings say about a change: whether it is taken, where it goes. Pure.

use std::path::PathBuf;

use event::names::PREFIX;
use redis_io::ServerFacts;

use crate::config::Config;
use crate::filter::Filters;
use crate::mapping::DbMapping;
use crate::names::Names;
use crate::target::Target;

/// The settings and facts that planning depends on.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// What is taken.
    pub(crate) filters: Filters,
    /// Where databases go.
    pub(crate) mapping: DbMapping,
    /// Milliseconds added to every expiry.
    pub(crate) extend_ms: i64,
    /// Keys that are ours.
    pub(crate) names: Names,
    /// What the destination can do.
    pub(crate) target: Target,
    /// How many databases it has.
    pub(crate) databases: u32,
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
            names,
            target: Target::of(facts),
            databases: facts.databases.unwrap_or(USUAL_DATABASES),
            spill_dir: config.spill_dir.clone(),
        }
    }

    /// Whether a key of a database of the source is taken.
    pub(crate) fn takes(&self, db: u32, key: &[u8]) -> bool {
        self.filters.db(db) && self.filters.key(key)
    }

    /// Whether a key is one of our own.
    pub(crate) fn is_own(&self, key: &[u8]) -> bool {
        key.starts_with(PREFIX.as_bytes()) && self.names.is_own(key)
    }

    /// The moment at which a key expires here, when it expires at `ms` at the source.
    pub(crate) fn expiry(&self, ms: i64) -> i64 {
        ms.saturating_add(self.extend_ms)
    }
}
