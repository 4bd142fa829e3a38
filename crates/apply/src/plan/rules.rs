//! What the settings say about a change: whether it is taken, where it goes. Pure.

use std::path::PathBuf;

use bytes::Bytes;
use event::checkpoint::Territory;
use event::image::ImageHead;
use event::names::PREFIX;
use redis_io::ServerFacts;
use redis_io::facts::SizeFacts;

use super::sizes::Sizes;
use crate::batch::{Batch, Sent};
use crate::config::{Config, Existing, Inexact, Unsupported};
use crate::filter::{Filters, ValueKind};
use crate::limits;
use crate::mapping::DbMapping;
use crate::marks::{Marks, Snapshot};
use crate::names::Names;
use crate::quarantine::set::Spot;
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
    /// What is nearer than this is not settled, but left to the source's own delete.
    near_ms: i64,
    /// How far the record at hand is behind its source.
    lag_ms: i64,
    /// Whether every key of the source is here, so that one that is not says something.
    pub(crate) complete: bool,
    /// Keys that are ours.
    pub(crate) names: Names,
    /// What the destination can do.
    pub(crate) target: Target,
    /// Whether keys may be set several by one command.
    pub(crate) joins: bool,
    /// How many databases it has.
    pub(crate) databases: u32,
    /// Where the stream's keys live there.
    pub(crate) territory: Territory,
    /// What holds of data that is not the stream's.
    pub(crate) existing: Existing,
    /// What to do about what it cannot hold.
    pub(crate) unsupported: Unsupported,
    /// How much it takes at once.
    pub(crate) sizes: Sizes,
    /// Whether flushes and exchanges of databases may have been left out.
    pub(crate) skips_inexact: bool,
    /// Marks that are kept in memory.
    pub(crate) marks_in_memory: usize,
    /// Where marks go that memory does not hold.
    pub(crate) spill_dir: PathBuf,
}

/// Databases of a server that does not tell: the default of every version.
const USUAL_DATABASES: u32 = 16;

/// Where the keys of a stream live at a destination of so many databases.
fn territory(config: &Config, databases: u32) -> Territory {
    let is_target = |db: &u32| config.mapping.sources(*db, |from| config.filters.db(from)).next();
    let targets: Vec<u32> = (0..databases).filter(|db| is_target(db).is_some()).collect();
    let is_everywhere = targets.len() as u64 == u64::from(databases);
    Territory {
        databases: if is_everywhere { Vec::new() } else { targets },
        shared: config.existing == Existing::Overwrite,
    }
}

// === impl Rules ===

impl Rules {
    /// The rules of a lane.
    pub(crate) fn new(config: &Config, names: Names, facts: &ServerFacts) -> Self {
        let databases = facts.databases.unwrap_or(USUAL_DATABASES);
        Self {
            filters: config.filters.clone(),
            mapping: config.mapping.clone(),
            extend_ms: i64::try_from(config.extend_expiry.as_millis()).unwrap_or(i64::MAX),
            hold_ms: i64::try_from(config.hold_expiry.as_millis()).unwrap_or(i64::MAX),
            earliest_ms: i64::MIN,
            complete: config.filters.takes_every_value() && config.mapping.keeps_apart(),
            near_ms: i64::MAX,
            lag_ms: 0,
            names,
            target: Target::of(facts),
            joins: true,
            databases,
            territory: territory(config, databases),
            existing: config.existing,
            unsupported: config.unsupported,
            sizes: Sizes::of(facts.sizes, Target::of(facts), (config.batch, config.group_bytes)),
            skips_inexact: config.inexact == Inexact::Skip,
            marks_in_memory: config.marks_in_memory,
            spill_dir: config.spill_dir.clone(),
        }
    }

    /// Takes note of how much the destination takes at once by now.
    pub(crate) fn take_sizes(&mut self, facts: SizeFacts, config: &Config) {
        self.sizes = Sizes::of(facts, self.target, (config.batch, config.group_bytes));
    }

    /// Takes what holds of data that is not the stream's from the checkpoints, which may know more than who is here.
    pub(crate) fn take_existing(&mut self, existing: Existing) {
        self.existing = existing;
        self.territory.shared = existing == Existing::Overwrite;
    }

    /// No marks, for a snapshot that begins.
    pub(crate) fn marks(&self, of: Snapshot) -> Marks {
        Marks::new(of, &self.spill_dir, self.marks_in_memory)
    }

    /// Whether a key of a database of the source is taken.
    pub(crate) fn takes(&self, db: u32, key: &[u8]) -> bool {
        self.filters.db(db) && self.filters.key(key)
    }

    /// Where a key of a database of the source goes. Function libraries belong to none.
    pub(crate) fn spot(&self, db: u32, key: Bytes) -> Spot {
        let db = if db == Spot::LIBRARIES { db } else { self.mapping.target(db) };
        Spot { db, key }
    }

    /// Whether an image of such a key of a database of the source is taken, or a part of one.
    pub(crate) fn takes_image(&self, (db, key): (u32, &[u8]), head: &ImageHead) -> bool {
        let kind = ValueKind::of_type_byte(head.type_byte);
        let takes_kind = kind.is_none_or(|kind| self.filters.kind(kind));
        takes_kind && self.takes(db, key) && !self.is_own(key)
    }

    /// The command that removes keys with the least harm to others.
    pub(crate) fn remove_command(&self) -> &'static [u8] {
        if self.target.can(target::UNLINK) { b"UNLINK" } else { b"DEL" }
    }

    /// Sets a key to a value without a deadline.
    pub(super) fn set(&self, batch: &mut Batch, (db, sent): (u32, Sent), pair: (&[u8], &[u8])) {
        if self.joins {
            batch.set(db, sent, pair);
        } else {
            batch.command(db, sent, [b"SET".as_slice(), pair.0, pair.1]);
        }
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
            self.lag_ms = now_ms.saturating_sub(stamp_ms).clamp(0, lag_max);
            self.near_ms = self.near(now_ms);
            self.earliest_ms = self.near_ms.saturating_add(2 * self.lag_ms);
        }
    }

    /// Nothing expires at the destination by itself: every deadline is written as it is.
    pub(crate) fn trust_import_mode(&mut self) {
        self.hold_ms = 0;
    }

    /// The same for what is planned later, or again, with as much lag as the last record had.
    pub(crate) fn hold_expiry_anew(&mut self, now_ms: i64) {
        self.hold_expiry(now_ms, now_ms.saturating_sub(self.lag_ms).max(1));
    }

    /// What expires before that is left to the source's own delete: a change that renews it may be on its way.
    pub(crate) fn near(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(self.hold_ms)
    }

    /// How far the record at hand is behind its source.
    pub(crate) fn lag_ms(&self) -> i64 {
        self.lag_ms
    }

    /// Up to which lag deadlines are settled. A change that is on its way then arrives before the nearest of them.
    pub(crate) fn settling_lag_ms(&self) -> i64 {
        self.hold_ms / 2
    }

    /// The true deadline of what expires at `ms` at the source, if a later one is written and it may be settled.
    pub(crate) fn put_off(&self, ms: i64) -> Option<i64> {
        let own_ms = ms.saturating_add(self.extend_ms);
        (own_ms > self.near_ms && own_ms < self.earliest_ms).then_some(own_ms)
    }

    /// Whether a deadline had passed at the source when the record at hand was written: it acts at once.
    pub(crate) fn had_passed(&self, ms: i64) -> bool {
        ms <= self.near_ms.saturating_sub(self.hold_ms).saturating_sub(self.lag_ms)
    }

    /// When something expires here that expires at `ms` at the source, if nothing is put off.
    pub(crate) fn extended(&self, ms: i64) -> i64 {
        ms.saturating_add(self.extend_ms)
    }

    /// The moment at which a key expires here, when it expires at `ms` at the source.
    pub(crate) fn expiry(&self, ms: i64) -> i64 {
        ms.saturating_add(self.extend_ms).max(self.earliest_ms)
    }
}
