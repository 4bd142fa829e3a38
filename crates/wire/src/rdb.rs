//! RDB files and DUMP payloads: Redis versions up to 13 and Valkey 80, every encoding that they
//! contain.
//!
//! [`Parser`] takes the bytes of a file as they arrive and gives items: small values as the exact
//! bytes of the file, large ones as decoded parts of bounded size. [`dump`] makes and opens
//! payloads, [`value`] decodes, [`lower`] gives a value the form that another server takes, by
//! [`encode`] where it must be another one. Nothing here does I/O, panics on any input, or allocates by a promised length; what is not known is
//! refused with its byte and offset.

#[cfg(test)]
mod sample;

mod buffer;
pub mod dump;
mod element;
pub mod encode;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod key_meta;
mod kind;
mod large;
pub mod lower;
mod packed;
mod parser;
mod reader;
mod record;
mod stream;
pub mod value;
mod walk;

use bytes::Bytes;

pub use error::{Error, Fault};
pub use kind::{Class, Flavour, ValueType};
pub use parser::{Limits, Parser, Progress};
pub use stream::{
    Idempotence, PendingEntry, StreamConsumer, StreamEntry, StreamGroup, StreamId, StreamItem,
    StreamMeta, StreamProducer, StreamValue,
};
pub use value::Value;

/// What a file consists of, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Item {
    /// The magic, always first.
    Header {
        /// Whose numbering of types and opcodes the file follows.
        flavour: Flavour,
        /// In that numbering.
        version: u16,
    },
    /// A note of the writer's, as `repl-stream-db`; may stand between keys as well.
    Aux {
        /// Its name.
        key: Bytes,
        /// Its text.
        value: Bytes,
    },
    /// The keys that follow are of this database.
    SelectDb(u32),
    /// How much the database holds; a hint.
    ResizeDb {
        /// Keys.
        keys: u64,
        /// Keys that expire.
        expires: u64,
    },
    /// How much a slot holds; a hint.
    SlotInfo {
        /// The slot.
        slot: u16,
        /// Keys.
        keys: u64,
        /// Keys that expire.
        expires: u64,
    },
    /// Keys of these slots are staged: their import has not finished.
    SlotImport {
        /// The import's name.
        job: Bytes,
        /// First and last slot of each range.
        ranges: Vec<(u16, u16)>,
    },
    /// The source of a function library, with the line that names its engine.
    Function(Bytes),
    /// Values of a module that belong to no key.
    ModuleAux {
        /// Whose.
        module: ModuleId,
        /// The exact bytes after the opcode: id, values, end mark.
        raw: Bytes,
    },
    /// A key whose value is nothing that any other server could hold.
    Skipped {
        /// The key.
        key: Bytes,
        /// What it is.
        what: &'static str,
    },
    /// A key with a small value.
    Entry(Entry),
    /// A key with a large value, which follows in parts.
    LargeBegin(EntryHead),
    /// The next part of the large value.
    LargePart(Part),
    /// The large value is complete. An empty one has no parts.
    LargeEnd,
}

/// A key and all that stands before its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHead {
    /// The key.
    pub key: Bytes,
    /// How the value is encoded.
    pub kind: ValueType,
    /// When the key expires, unix ms.
    pub expire_at_ms: Option<i64>,
    /// For how many seconds it had not been accessed.
    pub idle_s: Option<u64>,
    /// Its logarithmic access counter.
    pub freq: Option<u8>,
    /// Metadata of modules, the exact bytes after the opcode.
    pub key_meta: Option<Bytes>,
}

/// A key with its whole value. Both are slices of the chunk that was fed, wherever it held all of
/// them, and keep it alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key and what stands before it.
    pub head: EntryHead,
    /// The exact bytes of the value, without the type byte.
    pub raw: Bytes,
}

/// A part of a large value, decoded. Parts have about `Limits::part_bytes`; one of a single element
/// may be larger.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// The next bytes of the string.
    Str(Bytes),
    /// The next elements, from the head on.
    List(Vec<Bytes>),
    /// More members.
    Set(Vec<Bytes>),
    /// More members and their scores.
    Zset(Vec<(Bytes, f64)>),
    /// More fields.
    Hash(Vec<HashField>),
    /// The next pieces, in the order that [`StreamItem`] describes.
    Stream(Vec<StreamItem>),
    /// The next bytes of a module's value as they stand in the file.
    Module {
        /// The bytes, cut between two values of the module's.
        raw: Bytes,
    },
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashField {
    /// Its name.
    pub field: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When it expires, unix ms.
    pub expire_at_ms: Option<i64>,
}

/// A module's type and the version of its encoding, in one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModuleId(pub u64);

// === impl ModuleId ===

impl ModuleId {
    /// The nine characters of the type's name.
    #[must_use]
    pub fn name(self) -> String {
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let letter = |index: u32| {
            let code = usize::try_from((self.0 >> (58 - 6 * index)) & 63).unwrap_or_default();
            LETTERS.get(code).copied().map_or('?', char::from)
        };
        (0..9).map(letter).collect()
    }

    /// The version of the encoding.
    #[must_use]
    pub fn version(self) -> u16 {
        u16::try_from(self.0 & 1023).unwrap_or_default()
    }
}
