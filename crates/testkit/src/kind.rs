//! The servers that tests run on, and what each of them knows.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// A server of a certain make and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Redis 2.8: the oldest whose replicas resume; scripts travel as such.
    Redis2_8,
    /// Redis 3.2: quicklists.
    Redis3_2,
    /// Redis 5.0: streams.
    Redis5_0,
    /// Redis 6.2: relative expiry in the stream, no functions.
    Redis6_2,
    /// Redis 7.0: Debian's.
    Redis7_0,
    /// Redis 8.2: hash fields that expire; comes with a module of its own.
    Redis8_2,
    /// Valkey 9.1.
    Valkey9_1,
}

// === impl Kind ===

impl Kind {
    /// Those that are in use everywhere, oldest first: tests of every feature run on them.
    pub const ALL: [Self; 4] = [Self::Redis6_2, Self::Redis7_0, Self::Redis8_2, Self::Valkey9_1];
    /// Those that people move away from, oldest first: what depends on the version is tested on
    /// them as well.
    pub const OLD: [Self; 3] = [Self::Redis2_8, Self::Redis3_2, Self::Redis5_0];

    /// All of them, oldest first.
    pub const EVERY: [Self; 7] = [
        Self::Redis2_8,
        Self::Redis3_2,
        Self::Redis5_0,
        Self::Redis6_2,
        Self::Redis7_0,
        Self::Redis8_2,
        Self::Valkey9_1,
    ];

    /// Its name in `scripts/servers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis2_8 => "redis-2.8",
            Self::Redis3_2 => "redis-3.2",
            Self::Redis5_0 => "redis-5.0",
            Self::Redis6_2 => "redis-6.2",
            Self::Redis7_0 => "redis-7.0",
            Self::Redis8_2 => "redis-8.2",
            Self::Valkey9_1 => "valkey-9.1",
        }
    }

    /// Whether it is a Valkey.
    pub fn is_valkey(self) -> bool {
        self == Self::Valkey9_1
    }

    /// Whether it knows what its own make brought with a version; every Valkey knows all of 7.2.
    pub fn at_least(self, major: u32, minor: u32) -> bool {
        let version = match self {
            Self::Redis2_8 => (2, 8),
            Self::Redis3_2 => (3, 2),
            Self::Redis5_0 => (5, 0),
            Self::Redis6_2 => (6, 2),
            Self::Redis7_0 => (7, 0),
            Self::Redis8_2 => (8, 2),
            Self::Valkey9_1 => (9, 1),
        };
        version >= (major, minor)
    }

    /// Whether single fields of a hash can expire.
    pub fn has_field_expiry(self) -> bool {
        matches!(self, Self::Redis8_2 | Self::Valkey9_1)
    }

    /// Whether there are streams.
    pub fn has_streams(self) -> bool {
        self.at_least(5, 0)
    }

    /// Whether its replicas get scripts as such, and not what they did.
    pub fn replicates_scripts(self) -> bool {
        !self.at_least(5, 0)
    }

    /// Whether there are functions (FUNCTION LOAD).
    pub fn has_functions(self) -> bool {
        self.at_least(7, 0)
    }

    /// Whether the cached binary was built with TLS; of these packages only Debian's is.
    pub fn has_tls(self) -> bool {
        self == Self::Redis7_0
    }

    /// The server binary.
    ///
    /// # Errors
    /// If it is not cached.
    pub fn binary(self) -> Result<PathBuf> {
        self.tool(if self.is_valkey() { "valkey-server" } else { "redis-server" })
    }

    /// Another file that came with it, such as `redis-benchmark`, `redis-sentinel` or the module.
    ///
    /// # Errors
    /// If it is not there.
    pub fn tool(self, file: &str) -> Result<PathBuf> {
        let path = cache().join("servers").join(self.name()).join("bin").join(file);
        if !path.exists() {
            bail!("{} is missing: run scripts/servers", path.display());
        }
        Ok(path)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cache of `scripts/servers`; like there, a relative path starts at the project's root.
pub(crate) fn cache() -> PathBuf {
    let named = std::env::var_os("KEYFERRY_CACHE").unwrap_or_else(|| ".cache".into());
    root().join(named)
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
