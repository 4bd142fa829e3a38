//! The form in which another server takes a value by RESTORE: the same bytes under a version that
//! the server accepts where it knows the type, else encoded anew. Pure.
//!
//! No value needs commands: whatever a server has a type for at all, it has an encoding for that
//! can be made from every newer one. Large values go in parts all the same.
//!
//! | type | where it is known | elsewhere |
//! |---|---|---|
//! | 0, 1, 2, 3, 4, 9 to 13 | everywhere | |
//! | 5 | from version 8 | 3 |
//! | 7 | from Redis 6.2, if the module is there | not at all |
//! | 14 | from version 7 | 1 |
//! | 15 | from version 9 | not at all |
//! | 16, 17, 18 | from version 10 | 4, 5 or 3, 1 |
//! | 19, 21, 26 | from version 10, 11, 13 | the stream of the destination's version |
//! | 20 | from version 11 | 2 |
//! | 22 of Valkey | Valkey 9 | 24; 4 if no field expires; else not at all |
//! | 24, 25 of Redis | Redis from version 12 | 22; 4 if no field expires; else not at all |

use bytes::Bytes;
use thiserror::Error;

use super::error::Error;
use super::kind::{Class, Flavour, ValueType};
use super::value::{self, Value, module_id};
use super::{dump, encode};

/// The version under which every Valkey takes the types that both projects share.
const VALKEY_SHARED_VERSION: u16 = 11;

/// The version under which Valkey takes types of its own.
const VALKEY_OWN_VERSION: u16 = 80;

/// The name of the only type of value that Redis calls a module's and brings along itself.
const VECTOR_SET: &str = "vectorset";

/// From which Redis on which RDB version is written, newest first.
const REDIS_VERSIONS: [((u32, u32), u16); 7] =
    [((8, 6), 13), ((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9), ((4, 0), 8), ((3, 2), 7)];

/// Of every older Redis.
const OLDEST_VERSION: u16 = 6;

/// A collection in more bytes than this has an element, whatever its encoding.
const EMPTY_BYTES: usize = 24;

/// Which values a server takes by RESTORE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// The largest version of payloads in the numbering that both projects share.
    version: u16,
    /// Whose own types it knows.
    own: Flavour,
    /// Whether it may be given a value of a module that it has not.
    modules: bool,
    /// Whether it brings vector sets along.
    vectors: bool,
}

/// A value as a server takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The type.
    pub kind: ValueType,
    /// The value in the encoding of the type.
    pub raw: Bytes,
    /// The version that the payload must name.
    pub version: u16,
}

/// Why a server cannot hold a value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misfit {
    /// It knows no deadlines of hash fields.
    #[error("it knows no expiry of hash fields")]
    FieldExpiry,
    /// It is older than streams.
    #[error("it knows no streams")]
    Stream,
    /// Redis before 6.2 knows no values of modules, or ends itself when it is given one of a module
    /// that it has not.
    #[error("it does not survive values of modules that it has not")]
    Module,
    /// Only Redis from 8.0 on has vector sets.
    #[error("it knows no vector sets")]
    VectorSet,
    /// A collection without elements is a key on servers before 6.2 only, and by mistake.
    #[error("the collection is empty, and an empty one is no key")]
    Empty,
    /// The value cannot be read.
    #[error("the value cannot be read: {0}")]
    Broken(#[from] Error),
}

/// The form of a value that the server takes; the bytes are the same where it knows the type.
///
/// # Errors
/// The server has no way to hold the value, or it cannot be read. A value that needs no new
/// encoding is not looked into.
pub fn lower(kind: ValueType, raw: &Bytes, to: Dialect) -> Result<Form, Misfit> {
    if is_empty(kind, raw) {
        return Err(Misfit::Empty);
    }
    if kind == ValueType::Module {
        check_module(raw, to)?;
    }
    if let Some(version) = to.version_of(kind) {
        return Ok(Form { kind, raw: raw.clone(), version });
    }
    let (kind, raw) = match kind.class() {
        Class::Stream => {
            let layout = to.stream().ok_or(Misfit::Stream)?;
            (layout, encode::stream(kind, raw, layout)?)
        }
        Class::Module => return Err(Misfit::Module),
        _ => anew(value::decode(kind, raw)?, to)?,
    };
    let version = to.version_of(kind).unwrap_or(to.version);
    Ok(Form { kind, raw, version })
}

fn check_module(raw: &[u8], to: Dialect) -> Result<(), Misfit> {
    let is_vectors = module_id(raw).name() == VECTOR_SET;
    match (is_vectors, to.vectors, to.modules) {
        (true, false, _) => Err(Misfit::VectorSet),
        (_, _, false) => Err(Misfit::Module),
        _ => Ok(()),
    }
}

/// Encodes a collection element by element.
fn anew(value: Value, to: Dialect) -> Result<(ValueType, Bytes), Misfit> {
    match &value {
        Value::Zset(members) if to.version_of(ValueType::Zset).is_none() => {
            return Ok((ValueType::ZsetText, encode::zset_text(members)));
        }
        Value::Hash(fields) if fields.iter().any(|field| field.expire_at_ms.is_some()) => {
            let flavour = to.field_expiry().ok_or(Misfit::FieldExpiry)?;
            return Ok(encode::expiring_hash(fields, flavour));
        }
        _ => {}
    }
    encode::generic(&value).map_err(|_| Misfit::Module)
}

fn is_empty(kind: ValueType, raw: &Bytes) -> bool {
    let holds_elements = !matches!(kind.class(), Class::String | Class::Stream | Class::Module);
    holds_elements
        && raw.len() <= EMPTY_BYTES
        && value::decode(kind, raw).is_ok_and(|value| match value {
            Value::List(elements) | Value::Set(elements) => elements.is_empty(),
            Value::Zset(members) => members.is_empty(),
            Value::Hash(fields) => fields.is_empty(),
            Value::Str(_) | Value::Stream(_) | Value::Module { .. } => false,
        })
}

// === impl Dialect ===

impl Dialect {
    /// Of a Redis, and of what calls itself one.
    #[must_use]
    pub fn redis(major: u32, minor: u32) -> Self {
        let known = REDIS_VERSIONS.into_iter().find(|(first, _)| (major, minor) >= *first);
        Self {
            version: known.map_or(OLDEST_VERSION, |(_, version)| version),
            own: Flavour::Redis,
            modules: (major, minor) >= (6, 2),
            vectors: major >= 8,
        }
    }

    /// Of a Valkey.
    #[must_use]
    pub fn valkey(major: u32) -> Self {
        // Below 9 there are no types of its own, and none of the newer Redis: all is shared.
        let own = if major >= 9 { Flavour::Valkey } else { Flavour::Redis };
        Self { version: VALKEY_SHARED_VERSION, own, modules: true, vectors: false }
    }

    /// The version under which the server takes a payload of that type; `None`: it does not know
    /// the type.
    #[must_use]
    pub fn version_of(self, kind: ValueType) -> Option<u16> {
        match kind.flavour() {
            Some(flavour) if flavour != self.own => None,
            Some(Flavour::Valkey) => Some(VALKEY_OWN_VERSION),
            _ => (kind.version_first() <= self.version).then_some(self.version),
        }
    }

    /// The newest layout of streams that the server reads.
    fn stream(self) -> Option<ValueType> {
        [ValueType::Stream4, ValueType::Stream3, ValueType::Stream2, ValueType::Stream1]
            .into_iter()
            .find(|layout| self.version_of(*layout).is_some())
    }

    /// Whose hashes with expiring fields the server reads.
    fn field_expiry(self) -> Option<Flavour> {
        let known = |kind| self.version_of(kind).is_some();
        if known(ValueType::HashExpiryValkey) {
            Some(Flavour::Valkey)
        } else {
            known(ValueType::HashExpiryRedis).then_some(Flavour::Redis)
        }
    }
}

// === impl Form ===

impl Form {
    /// What RESTORE is given.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        dump::payload(self.kind.byte(), &self.raw, self.version)
    }
}

#[cfg(test)]
mod tests;
