//! Settings of one source: plain data with defaults, and their check.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis_io::Endpoint;
use runtime::Throttle;

use crate::spool::SpoolConfig;

/// Settings of one source.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to read.
    pub source: Endpoint,
    /// Name of the stream, which is part of the heartbeat key's name.
    pub stream: String,
    /// Which shard of the stream this is, where the source is a primary of a cluster. Default: the source is no node of
    /// one, and the only shard.
    pub shard: Option<u16>,
    /// What comes faster than it can be recorded.
    pub spool: SpoolConfig,
    /// Whether to write a small expiring key at the source, by which its clock is known. Default:
    /// yes.
    pub heartbeat: bool,
    /// How often; also how often a place to resume at is recorded. Default: 1 s.
    pub heartbeat_interval: Duration,
    /// How much may go from the spool to the journal in a second, and how fast a snapshot is read:
    /// may be changed, and the former paused, while it runs. Default: as much as there is.
    pub throttle: Throttle,
    /// For how long to try to reach the source again without progress. Default: 720 min.
    pub reconnect_window: Duration,
    /// The address that the stream was recorded from before, where that is known. Default: it is not.
    pub recorded_from: Option<String>,
    /// Whether a source of another address and another history takes the place of that one. Default: no.
    pub accept_new: bool,
    /// What to do about what a snapshot holds and no event carries. Default: report it.
    pub unsupported: Unsupported,
    /// For how long to try again where the source does not let us in any more, as while a password
    /// is being changed. Default: 10 min.
    pub refused_window: Duration,
}

/// What to do about what a snapshot holds and no event carries, such as data of a module that belongs to no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// Leave it out and say so, with counts.
    #[default]
    Report,
    /// Stop.
    Fail,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub setting: &'static str,
    /// What is wrong with it.
    pub what: String,
}

/// A burst of one second at a hundred megabytes per second fits into neither, so this is only for
/// smoothing: beyond it the disk serves.
const DEFAULT_SPOOL_MEMORY_BYTES: usize = 8 << 20;

/// A snapshot of a few gigabytes that arrives at wire speed waits here until it is recorded.
const DEFAULT_SPOOL_DISK_BYTES: u64 = 8 << 30;

/// What cloud services of this kind give: long enough for a night's outage.
const DEFAULT_RECONNECT_WINDOW: Duration = Duration::from_secs(720 * 60);

/// Long enough to change a password in two places.
const DEFAULT_REFUSED_WINDOW: Duration = Duration::from_secs(10 * 60);

/// A shard has at least one slot.
pub const SHARD_MAX: u16 = 16_383;

/// Below this, heartbeats would be a load of their own.
const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(10);

// === impl Config ===

impl Config {
    /// The defaults for a source, with the spool's files in `spool_dir`.
    #[must_use]
    pub fn new(source: Endpoint, stream: impl Into<String>, spool_dir: PathBuf) -> Self {
        Self {
            source,
            stream: stream.into(),
            shard: None,
            spool: SpoolConfig {
                dir: spool_dir,
                memory_bytes: DEFAULT_SPOOL_MEMORY_BYTES,
                disk_bytes: DEFAULT_SPOOL_DISK_BYTES,
            },
            throttle: Throttle::default(),
            heartbeat: true,
            heartbeat_interval: Duration::from_secs(1),
            reconnect_window: DEFAULT_RECONNECT_WINDOW,
            recorded_from: None,
            accept_new: false,
            unsupported: Unsupported::default(),
            refused_window: DEFAULT_REFUSED_WINDOW,
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
        check(self.stream.is_empty(), "stream", "must not be empty");
        check(self.source.db() != 0, "source", "names a database: all are read; choose by filters");
        check(
            self.shard.is_some_and(|shard| shard > SHARD_MAX),
            "shard",
            "must be 0 to 16383: there are no more shards than slots",
        );
        check(
            self.heartbeat_interval < HEARTBEAT_INTERVAL_MIN,
            "heartbeat_interval",
            "must be at least 10 ms",
        );
        problems
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.what)
    }
}
