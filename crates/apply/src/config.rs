//! Settings of one destination: plain data with defaults, and their check.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis_io::Endpoint;
use runtime::Throttle;

use crate::filter::Filters;
use crate::limits;
use crate::mapping::DbMapping;
use crate::replay::Replay;

/// Settings of one destination.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to write.
    pub destination: Endpoint,
    /// What the destination is called towards the journal, which keeps records until it has them. Default: the
    /// endpoint without its credentials.
    pub name: String,
    /// What to do about data that is there before the first sync. Default: refuse it.
    pub existing: Existing,
    /// Where to begin anew, whatever the destination's checkpoint says, and where to end. Default: go on from the
    /// checkpoint; without one begin at the newest snapshot.
    pub replay: Option<Replay>,
    /// Where the journal has forgotten what the destination needs next: fill it anew from a newer snapshot, and remove
    /// what that does not name. Default: that is done; otherwise the service stops and says so.
    pub heal: bool,
    /// Wait where the journal holds no snapshot to begin with, until there is one: whoever runs the service has it asked
    /// for ([`crate::Apply::needs_snapshot`]). Default: that is an error.
    pub awaits: bool,
    /// Database of the checkpoint. Default: 0.
    pub checkpoint_db: u32,
    /// What of the stream to take. Default: all.
    pub filters: Filters,
    /// Where databases go. Default: where they are.
    pub mapping: DbMapping,
    /// How much one step may hold.
    pub batch: BatchLimits,
    /// A transaction of the source of more encoded bytes than that is applied in pieces, each of about that size and
    /// with a checkpoint of its own. Default: [`limits::GROUP_BYTES`].
    pub group_bytes: usize,
    /// Added to every absolute expiry. Default: 0.
    pub extend_expiry: Duration,
    /// How long what is written lives here, at the least, so that a change that renews it finds it: a source removes
    /// what has expired by a delete of its own, which follows. While the lane lags, twice its lag is added; deadlines
    /// that are farther away than the hold are settled once it lags no more than half of it. Default:
    /// [`limits::HOLD_EXPIRY`]; 0: no such time.
    pub hold_expiry: Duration,
    /// Have the destination in import mode where it knows that: then nothing is held back.
    pub import_mode: bool,
    /// What to do about a flush or an exchange of databases that cannot be done exactly. Default: refuse it.
    pub inexact: Inexact,
    /// What to do about what the destination cannot hold. Default: set it aside.
    pub unsupported: Unsupported,
    /// How much may be applied in a second, by all lanes together: may be changed, and paused, while they run.
    pub throttle: Throttle,
    /// For how long to try again.
    pub windows: Windows,
    /// Longest wait for a reply. Default: [`limits::REPLY_TIMEOUT`].
    pub reply_timeout: Duration,
    /// Keys of a resync that are noted in memory; more go to files. Default: [`limits::MARKS_IN_MEMORY`].
    pub marks_in_memory: usize,
    /// Where a resync keeps its marks when memory does not hold them. Default: the system's directory for
    /// temporary files.
    pub spill_dir: PathBuf,
}

/// What to do about data that a destination holds before it is first synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse to start.
    #[default]
    Fail,
    /// Leave it, and write over it.
    Overwrite,
    /// Write over it, and remove at the end of the snapshot what the source does not have.
    Sweep,
}

/// What to do about FLUSHALL, FLUSHDB and SWAPDB where filters, mappings or other people's data make them inexact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inexact {
    /// Stop and say so.
    #[default]
    Refuse,
    /// Leave it out, with a warning: the destination then keeps what the source has removed.
    Skip,
}

/// What to do about a change that the destination has no form and no word for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// Set it aside, and go on with all other keys.
    #[default]
    Quarantine,
    /// Leave it out, with a count and a warning: the key is not kept in step until a change replaces it as a whole.
    Drop,
    /// Stop before it and say so.
    Fail,
}

/// How much one atomic step may hold. A transaction of the source is never cut because of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Commands. Default: [`limits::BATCH_COMMANDS`].
    pub commands: usize,
    /// Bytes. Default: [`limits::BATCH_BYTES`].
    pub bytes: usize,
}

/// For how long to try again before giving up. Time without progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// While the destination cannot be reached. Default: [`limits::CONNECTION_WINDOW`].
    pub connection: Duration,
    /// While it refuses commands. Default: [`limits::REFUSED_WINDOW`].
    pub refused: Duration,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub setting: &'static str,
    /// What is wrong with it.
    pub what: String,
}

// === impl Config ===

impl Config {
    /// The defaults for a destination.
    #[must_use]
    pub fn new(destination: Endpoint) -> Self {
        Self {
            name: destination.to_string(),
            destination,
            existing: Existing::default(),
            replay: None,
            heal: true,
            awaits: false,
            checkpoint_db: 0,
            filters: Filters::default(),
            mapping: DbMapping::default(),
            batch: BatchLimits::default(),
            group_bytes: limits::GROUP_BYTES,
            extend_expiry: Duration::ZERO,
            hold_expiry: limits::HOLD_EXPIRY,
            import_mode: false,
            inexact: Inexact::default(),
            unsupported: Unsupported::default(),
            throttle: Throttle::default(),
            windows: Windows::default(),
            reply_timeout: limits::REPLY_TIMEOUT,
            marks_in_memory: limits::MARKS_IN_MEMORY,
            spill_dir: std::env::temp_dir(),
        }
    }

    /// Everything that is wrong with the settings.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |bad: bool, setting, what: &str| {
            if bad {
                problems.push(Problem { setting, what: what.to_owned() });
            }
        };
        check(self.name.is_empty(), "name", "must not be empty");
        check(self.batch.commands == 0, "batch.commands", "must be at least 1");
        check(self.batch.bytes == 0, "batch.bytes", "must be at least 1");
        check(
            self.batch.bytes > limits::GROUP_BYTES,
            "batch.bytes",
            &format!("must be at most {} bytes", limits::GROUP_BYTES),
        );
        check(self.reply_timeout.is_zero(), "reply_timeout", "must not be 0");
        check(
            self.destination.db() != 0,
            "destination",
            "names a database: say by the mapping of databases where they go",
        );
        problems
    }
}

// === impl BatchLimits ===

impl Default for BatchLimits {
    fn default() -> Self {
        Self { commands: limits::BATCH_COMMANDS, bytes: limits::BATCH_BYTES }
    }
}

// === impl Windows ===

impl Default for Windows {
    fn default() -> Self {
        Self { connection: limits::CONNECTION_WINDOW, refused: limits::REFUSED_WINDOW }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uri: &str) -> Config {
        Config::new(Endpoint::parse(uri).unwrap())
    }

    #[test]
    fn the_defaults_are_valid_and_name_no_secret() {
        let config = config("redis://user:hidden@db.example:6380");
        assert_eq!(config.validate(), []);
        assert!(!config.name.contains("hidden"), "{}", config.name);
    }

    #[test]
    fn reports_every_problem_at_once() {
        let mut config = config("redis://h/3");
        config.batch = BatchLimits { commands: 0, bytes: usize::MAX };
        config.name.clear();
        let settings: Vec<_> =
            config.validate().into_iter().map(|problem| problem.setting).collect();
        assert_eq!(settings, ["name", "batch.commands", "batch.bytes", "destination"]);
    }
}
