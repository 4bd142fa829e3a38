//! Everything a server holds, in a form in which equal data is equal.
//!
//! Two servers of different versions that hold the same data give equal [`Dataset`]s, whatever
//! encodings they chose. What is left out on purpose: idle times, access frequencies, when a
//! consumer was last seen, and everything that is not data (configuration, users, clients).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;

use crate::client::Client;

mod clock;
mod compare;
mod hll;
mod read;
mod stream;

pub use compare::{Difference, Tolerance, assert_same, compare};
pub use stream::{Group, Pending, StreamEntry, StreamValue};

/// What TYPE says of a vector set.
const VECTOR_SET: &str = "vectorset";

/// The data of a server, or of all primaries of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// By the server's clock, in milliseconds since the epoch: just after the reading ended.
    pub read_at_ms: u64,
    /// Keys by database; databases without keys are absent.
    pub dbs: BTreeMap<u32, BTreeMap<Vec<u8>, Entry>>,
    /// Code by library name; none where the server knows no functions.
    pub functions: Option<BTreeMap<String, String>>,
}

/// A key's value and deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub content: Content,
    /// When it expires, in milliseconds since the epoch.
    pub expires_at_ms: Option<u64>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A string, a bitmap or a HyperLogLog.
    String(Vec<u8>),
    /// A list, head first.
    List(Vec<Vec<u8>>),
    /// A set.
    Set(BTreeSet<Vec<u8>>),
    /// A hash.
    Hash(BTreeMap<Vec<u8>, Field>),
    /// A sorted set: scores by member.
    Zset(BTreeMap<Vec<u8>, Score>),
    /// A stream.
    Stream(Box<StreamValue>),
    /// A vector set: what VEMB … RAW and VGETATTR answer, by element. The graph between the elements
    /// is left out: servers build it with random numbers.
    Vectors(BTreeMap<Vec<u8>, String>),
    /// A module's value: the type's name and the DUMP payload without version and checksum.
    Opaque(String, Vec<u8>),
}

/// The value of a hash's field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The value.
    pub value: Vec<u8>,
    /// When the field expires, in milliseconds since the epoch.
    pub expires_at_ms: Option<u64>,
}

/// A score, equal to another if every bit is, whatever text a server writes for it.
#[derive(Debug, Clone)]
pub struct Score {
    /// As the server wrote it.
    pub text: String,
    /// The number's bits.
    pub bits: u64,
}

// === impl Dataset ===

impl Dataset {
    /// Reads everything that a server holds, and leaves the connection in database 0. Nobody should
    /// be writing meanwhile.
    ///
    /// # Errors
    /// If the connection breaks, or a reply is not understood.
    pub fn read(client: &mut Client) -> Result<Self> {
        read::dataset(client)
    }

    /// Reads all primaries of a cluster as one data set; functions are the last one's.
    ///
    /// # Errors
    /// If a connection breaks, or a reply is not understood.
    pub fn read_all(clients: &mut [Client]) -> Result<Self> {
        let mut all = Self { read_at_ms: 0, dbs: BTreeMap::new(), functions: None };
        for client in clients {
            let part = read::dataset(client)?;
            all.read_at_ms = all.read_at_ms.max(part.read_at_ms);
            all.functions = part.functions;
            for (db, keys) in part.dbs {
                all.dbs.entry(db).or_default().extend(keys);
            }
        }
        Ok(all)
    }

    /// How many keys there are in all databases.
    pub fn len(&self) -> usize {
        self.dbs.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of a key.
    pub fn get(&self, db: u32, key: &[u8]) -> Option<&Entry> {
        self.dbs.get(&db)?.get(key)
    }
}

// === impl Content ===

impl Content {
    /// The type's name, as TYPE says it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::Hash(_) => "hash",
            Self::Zset(_) => "zset",
            Self::Stream(_) => "stream",
            Self::Vectors(_) => VECTOR_SET,
            Self::Opaque(name, _) => name,
        }
    }
}

// === impl Score ===

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl Eq for Score {}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
