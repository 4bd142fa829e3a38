//! What a server is: flavour, version, role, replication state, sizes.
//!
//! Guarantees: only read commands are sent; what the account may not ask is `None` and listed in
//! [`ServerFacts::missing`] with what the server said, never an error.

mod gather;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::{Connection, info::Info};

/// Everything asked of a server, at one moment.
#[derive(Debug, Clone, Default)]
pub struct ServerFacts {
    /// Redis, Valkey or another.
    pub flavour: Option<Flavour>,
    /// Its own version (Valkey's, not the Redis version that it poses as).
    pub version: Option<Version>,
    /// Primary, replica or sentinel.
    pub role: Option<Role>,
    /// Changes with every restart.
    pub run_id: Option<String>,
    /// Its replication history and backlog. `None` before 4.0 as well.
    pub replication: Option<ReplicationFacts>,
    /// Whether it is loading its data.
    pub loading: Option<bool>,
    /// Memory limit in bytes; 0 is none.
    pub maxmemory_bytes: Option<u64>,
    /// Memory in use, in bytes.
    pub used_memory_bytes: Option<u64>,
    /// What it does at the limit, for example `noeviction`.
    pub maxmemory_policy: Option<String>,
    /// Whether it is a cluster node.
    pub cluster_enabled: Option<bool>,
    /// How many databases it has.
    pub databases: Option<u32>,
    /// How much it takes from a client at once.
    pub sizes: SizeFacts,
    /// Of a replica: whether it refuses writes.
    pub replica_read_only: Option<bool>,
    /// Databases that hold keys.
    pub keyspace: BTreeMap<u32, DbFacts>,
    /// Modules that are loaded.
    pub modules: Vec<Module>,
    /// What could not be asked.
    pub missing: Vec<Missing>,
}

/// Whose server it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// Another server that speaks the protocol and names itself.
    Other(String),
}

/// A version of three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

/// What a server is to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary {
        /// Replicas connected to it.
        replicas: u64,
    },
    /// Follows a primary.
    Replica {
        /// Its primary.
        primary_host: String,
        /// Its primary's port.
        primary_port: u16,
        /// Whether the link to it is up.
        link_up: bool,
        /// Whether it is being filled by a full sync.
        syncing: bool,
    },
    /// Watches others and holds no data.
    Sentinel,
}

/// Replication history and backlog (4.0 and later).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationFacts {
    /// The history it writes or follows.
    pub replid: String,
    /// The history it was on before a failover, if one is remembered.
    pub replid2: Option<String>,
    /// The offset of the last byte of the stream.
    pub offset: u64,
    /// The first offset that belongs to `replid` alone.
    pub second_offset: Option<u64>,
    /// Configured size of the backlog in bytes.
    pub backlog_bytes: Option<u64>,
    /// First offset in the backlog; `None` while there is none.
    pub backlog_first_offset: Option<u64>,
    /// Bytes in the backlog.
    pub backlog_used_bytes: Option<u64>,
}

/// How much a server takes from a client at once; more ends the connection. Both may be changed while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeFacts {
    /// The longest argument, in bytes (`proto-max-bulk-len`, 4.0 and later).
    pub max_bulk_bytes: Option<u64>,
    /// What may have been sent and not been executed, in bytes (`client-query-buffer-limit`, 4.0 and later).
    pub query_buffer_bytes: Option<u64>,
}

/// One database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DbFacts {
    /// Keys, those included that have expired and are not yet removed.
    pub keys: u64,
    /// Keys with an expiry.
    pub expires: u64,
}

/// A loaded module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
}

/// Something that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The command.
    pub command: String,
    /// What the server said.
    pub said: String,
}

// === impl ServerFacts ===

impl ServerFacts {
    /// Asks the server. The connection is left in the database it was in.
    ///
    /// # Errors
    /// When the connection is lost; a refused question is no error.
    pub async fn gather(connection: &mut Connection) -> Result<Self, Error> {
        gather::gather(connection).await
    }

    /// Asks for version and role in another way where `INFO` did not tell them: with `HELLO`, which servers with accounts
    /// (6.0 and later) answer to every one. Of a primary that is followed it does not tell the address.
    ///
    /// # Errors
    /// When the connection is lost; a refused question is no error.
    pub async fn ask_again(&mut self, connection: &mut Connection) -> Result<(), Error> {
        gather::ask_again(self, connection).await
    }

    /// What could not be asked with this command, and what the server said.
    #[must_use]
    pub fn refusal_of(&self, command: &str) -> Option<&str> {
        let missing = self.missing.iter().find(|missing| missing.command == command)?;
        Some(&missing.said)
    }

    /// What `INFO` tells, without asking further.
    #[must_use]
    pub fn from_info(info: &Info) -> Self {
        gather::from_info(info)
    }

    /// Whether it is a Valkey.
    #[must_use]
    pub fn is_valkey(&self) -> bool {
        self.flavour == Some(Flavour::Valkey)
    }
}

// === impl SizeFacts ===

impl SizeFacts {
    /// Asks the server. What it does not tell is `None`.
    ///
    /// # Errors
    /// When the connection is lost; a refused question is no error.
    pub async fn ask(connection: &mut Connection) -> Result<Self, Error> {
        gather::sizes(connection).await
    }
}

// === impl Flavour ===

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
            Self::Other(name) => name,
        })
    }
}

// === impl Version ===

impl Version {
    /// A version from its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Not three numbers with dots between.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version")]
pub struct BadVersion(String);

impl FromStr for Version {
    type Err = BadVersion;

    /// Takes what follows the third number (`-rc1`) as no part of the version.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..digits).unwrap_or_default().parse::<u32>().map_err(|_| bad())
        });
        let mut next = || numbers.next().unwrap_or_else(|| Err(bad()));
        Ok(Self { major: next()?, minor: next()?, patch: next()? })
    }
}

#[cfg(test)]
mod tests;
