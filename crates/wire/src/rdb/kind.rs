//! The value types of RDB files, and whose numbering a byte follows: bytes 22, 23, 242 and 243 mean
//! different things in files of Redis and of Valkey, so a byte is only ever read with its flavour.

use std::fmt;

use super::error::Fault;

/// The first RDB version in Valkey's own numbering; below it both projects share one.
const VALKEY_VERSION_FIRST: u16 = 80;

/// Whose numbering of types and opcodes a file follows; the magic tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Magic `REDIS`: every Redis, and Valkey up to 8.1.
    Redis,
    /// Magic `VALKEY`: Valkey 9.0 and later.
    Valkey,
}

/// What a value is to its users, whatever its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A string.
    String,
    /// A list.
    List,
    /// A set.
    Set,
    /// A sorted set.
    Zset,
    /// A hash, with or without expiring fields.
    Hash,
    /// A stream.
    Stream,
    /// A value of a module.
    Module,
}

/// How a value is encoded in a file: the type byte, its flavour resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueType {
    /// 0: a string.
    String,
    /// 1: a list, element by element.
    List,
    /// 2: a set, member by member.
    Set,
    /// 3: a sorted set with scores as text.
    ZsetText,
    /// 4: a hash, field by field.
    Hash,
    /// 5: a sorted set with binary scores.
    Zset,
    /// 7: a module's value.
    Module,
    /// 9: a hash in a zipmap.
    HashZipmap,
    /// 10: a list in a ziplist.
    ListZiplist,
    /// 11: a set in an intset.
    SetIntset,
    /// 12: a sorted set in a ziplist.
    ZsetZiplist,
    /// 13: a hash in a ziplist.
    HashZiplist,
    /// 14: a list of ziplists.
    ListQuicklist,
    /// 15: a stream as Redis 5 wrote it.
    Stream1,
    /// 16: a hash in a listpack.
    HashListpack,
    /// 17: a sorted set in a listpack.
    ZsetListpack,
    /// 18: a list of listpacks and plain elements.
    ListQuicklist2,
    /// 19: a stream as Redis 7.0 writes it.
    Stream2,
    /// 20: a set in a listpack.
    SetListpack,
    /// 21: a stream as Redis 7.2 and Valkey write it.
    Stream3,
    /// 22 of Valkey: a hash with expiring fields.
    HashExpiryValkey,
    /// 24 of Redis: a hash with expiring fields.
    HashExpiryRedis,
    /// 25 of Redis: a hash with expiring fields in a listpack.
    HashExpiryListpack,
    /// 26: a stream as Redis 8.6 writes it.
    Stream4,
}

// === impl Flavour ===

impl Flavour {
    /// The flavour of a DUMP payload, which has no magic, from its version number.
    #[must_use]
    pub fn of_version(version: u16) -> Self {
        if version < VALKEY_VERSION_FIRST { Self::Redis } else { Self::Valkey }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "REDIS",
            Self::Valkey => "VALKEY",
        })
    }
}

// === impl Class ===

impl Class {
    /// The word that the TYPE command uses; modules have names of their own there.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Module => "module",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl ValueType ===

impl ValueType {
    /// Resolves a type byte.
    ///
    /// # Errors
    /// [`Fault::Unsupported`] for types that are known and not supported, [`Fault::UnknownType`]
    /// for all others.
    pub fn from_byte(byte: u8, flavour: Flavour) -> Result<Self, Fault> {
        Ok(match (byte, flavour) {
            (0, _) => Self::String,
            (1, _) => Self::List,
            (2, _) => Self::Set,
            (3, _) => Self::ZsetText,
            (4, _) => Self::Hash,
            (5, _) => Self::Zset,
            (7, _) => Self::Module,
            (9, _) => Self::HashZipmap,
            (10, _) => Self::ListZiplist,
            (11, _) => Self::SetIntset,
            (12, _) => Self::ZsetZiplist,
            (13, _) => Self::HashZiplist,
            (14, _) => Self::ListQuicklist,
            (15, _) => Self::Stream1,
            (16, _) => Self::HashListpack,
            (17, _) => Self::ZsetListpack,
            (18, _) => Self::ListQuicklist2,
            (19, _) => Self::Stream2,
            (20, _) => Self::SetListpack,
            (21, _) => Self::Stream3,
            (22, Flavour::Valkey) => Self::HashExpiryValkey,
            (24, Flavour::Redis) => Self::HashExpiryRedis,
            (25, Flavour::Redis) => Self::HashExpiryListpack,
            (26, Flavour::Redis) => Self::Stream4,
            _ => return Err(refusal(byte, flavour)),
        })
    }

    /// The type byte.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::String => 0,
            Self::List => 1,
            Self::Set => 2,
            Self::ZsetText => 3,
            Self::Hash => 4,
            Self::Zset => 5,
            Self::Module => 7,
            Self::HashZipmap => 9,
            Self::ListZiplist => 10,
            Self::SetIntset => 11,
            Self::ZsetZiplist => 12,
            Self::HashZiplist => 13,
            Self::ListQuicklist => 14,
            Self::Stream1 => 15,
            Self::HashListpack => 16,
            Self::ZsetListpack => 17,
            Self::ListQuicklist2 => 18,
            Self::Stream2 => 19,
            Self::SetListpack => 20,
            Self::Stream3 => 21,
            Self::HashExpiryValkey => 22,
            Self::HashExpiryRedis => 24,
            Self::HashExpiryListpack => 25,
            Self::Stream4 => 26,
        }
    }

    /// What the value is to its users.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::String => Class::String,
            Self::List | Self::ListZiplist | Self::ListQuicklist | Self::ListQuicklist2 => {
                Class::List
            }
            Self::Set | Self::SetIntset | Self::SetListpack => Class::Set,
            Self::ZsetText | Self::Zset | Self::ZsetZiplist | Self::ZsetListpack => Class::Zset,
            Self::Hash
            | Self::HashZipmap
            | Self::HashZiplist
            | Self::HashListpack
            | Self::HashExpiryValkey
            | Self::HashExpiryRedis
            | Self::HashExpiryListpack => Class::Hash,
            Self::Stream1 | Self::Stream2 | Self::Stream3 | Self::Stream4 => Class::Stream,
            Self::Module => Class::Module,
        }
    }

    /// Whose own the type is; `None`: both projects have it.
    #[must_use]
    pub fn flavour(self) -> Option<Flavour> {
        match self {
            Self::HashExpiryValkey => Some(Flavour::Valkey),
            Self::HashExpiryRedis | Self::HashExpiryListpack | Self::Stream4 => {
                Some(Flavour::Redis)
            }
            _ => None,
        }
    }

    /// The lowest RDB version whose readers know this type: a payload under a lower version, or
    /// for a server that stops below it, must be encoded anew.
    #[must_use]
    pub fn version_first(self) -> u16 {
        match self {
            Self::Zset | Self::Module => 8,
            Self::ListQuicklist => 7,
            Self::Stream1 => 9,
            Self::HashListpack | Self::ZsetListpack | Self::ListQuicklist2 | Self::Stream2 => 10,
            Self::SetListpack | Self::Stream3 => 11,
            Self::HashExpiryRedis | Self::HashExpiryListpack => 12,
            Self::Stream4 => 13,
            Self::HashExpiryValkey => VALKEY_VERSION_FIRST,
            _ => 6,
        }
    }
}

/// Why a byte is no value type, by the best name that it has.
fn refusal(byte: u8, flavour: Flavour) -> Fault {
    let name = match (byte, flavour) {
        (6, _) => "module value of a Redis 4.0 release candidate",
        (22 | 23, Flavour::Redis) => "expiring hash fields of a Redis 7.4 release candidate",
        (23, Flavour::Valkey) => "path hash of Valkey 9.2",
        (27, Flavour::Redis) => "stream of Redis 8.8",
        (28, Flavour::Redis) => "array of Redis 8.8",
        (29..=32, Flavour::Redis) => "template hash of Redis 8.10",
        (33, Flavour::Redis) => "rate limiter of a Redis 8.8 release candidate",
        (64, Flavour::Redis) => "cron job of KeyDB",
        (242, Flavour::Redis) => "hash template of Redis 8.10",
        (242, Flavour::Valkey) => "inline update of Valkey 9.2",
        (246, _) => "function of a Redis 7.0 release candidate",
        _ => return Fault::UnknownType { byte, flavour },
    };
    Fault::Unsupported { byte, name }
}

#[cfg(test)]
mod tests;
