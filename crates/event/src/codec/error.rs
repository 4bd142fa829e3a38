//! Why an event cannot be encoded or decoded.

use thiserror::Error;

/// Why an event cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The event contradicts itself.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Not even fragments can carry it.
    #[error("event of {bytes} bytes is larger than {limit}")]
    TooLarge {
        /// Size of the encoding.
        bytes: usize,
        /// The largest there can be.
        limit: usize,
    },
}

/// Why bytes cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes are not the protobuf message that they should be.
    #[error("malformed {message}")]
    Malformed {
        /// Name of the message.
        message: &'static str,
        /// What is wrong with the bytes.
        #[source]
        reason: Malformed,
    },
    /// Written by a later version, whose fields may mean something else.
    #[error("schema {found} is newer than {known}, the newest that this version reads")]
    SchemaTooNew {
        /// Version in the message.
        found: u32,
        /// The newest that this build knows.
        known: u32,
    },
    /// What the message says is said in a field that this build does not know.
    #[error("field {field} of {message} is unknown to this version, which cannot apply it")]
    UnknownBody {
        /// Name of the message.
        message: &'static str,
        /// Number of the unknown field.
        field: u32,
    },
    /// An enum has a value that this build does not know.
    #[error("value {value} of {name} is unknown to this version")]
    UnknownValue {
        /// Name of the enum.
        name: &'static str,
        /// The value.
        value: i32,
    },
    /// A field without which the message means nothing is not there.
    #[error("{name} is missing")]
    Missing {
        /// Name of the field.
        name: &'static str,
    },
    /// A number is outside what the field may hold.
    #[error("{name} {value} is greater than {limit}")]
    OutOfRange {
        /// Name of the field.
        name: &'static str,
        /// The value.
        value: u64,
        /// The largest there can be.
        limit: u64,
    },
    /// The message contradicts itself.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What contradicts itself, in a domain value or in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// A key is said to be an argument that the command does not have.
    #[error("argument {index} is said to be a key of a command that has {args}")]
    KeyIndex {
        /// Index of the key.
        index: u32,
        /// How many arguments there are.
        args: usize,
    },
    /// A list of keys that names none: it could not be told from "the first argument".
    #[error("command lists its keys and names none")]
    NoKeys,
    /// A shard without slots: nobody could tell it from one that has all.
    #[error("a shard has no slots")]
    NoSlots,
    /// Two lists that belong together differ in length.
    #[error("{left_len} {left} do not fit {right_len} {right}")]
    Lengths {
        /// What the one holds.
        left: &'static str,
        /// How many.
        left_len: usize,
        /// What the other holds.
        right: &'static str,
        /// How many.
        right_len: usize,
    },
    /// A stream entry has a field without a value.
    #[error("stream entry of {items} fields and values")]
    OddStreamEntry {
        /// Length of the content.
        items: usize,
    },
    /// A field expires at 0, which is how the format says that it does not.
    #[error("hash field expires at 0")]
    FieldExpiry,
    /// A slot that no cluster has.
    #[error("slot {slot} does not exist")]
    Slot {
        /// Its number.
        slot: u32,
    },
    /// A range that ends before it begins.
    #[error("{name} {first} to {last} is no range")]
    Range {
        /// What it ranges over.
        name: &'static str,
        /// Its first member.
        first: u32,
        /// Its last member.
        last: u32,
    },
    /// The name of a site is longer than may be.
    #[error("site name of {bytes} bytes is longer than {limit}")]
    SiteName {
        /// Length of the name.
        bytes: usize,
        /// The longest there can be.
        limit: usize,
    },
}

/// What is wrong with bytes that should be protobuf.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Said by the protobuf library.
    #[error(transparent)]
    Protobuf(#[from] prost::DecodeError),
    /// A field is longer than what is left.
    #[error("field {field} of {promised} bytes ends after {left}")]
    Truncated {
        /// Number of the field.
        field: u32,
        /// Length that it begins with.
        promised: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A field that holds text holds something else.
    #[error("field {field} is not UTF-8")]
    NotText {
        /// Number of the field.
        field: u32,
    },
    /// A field is of another kind than the schema says, or of one that proto3 does not have.
    #[error("field {field} is of the wrong wire type")]
    WireType {
        /// Number of the field.
        field: u32,
    },
}

// === impl DecodeError ===

impl DecodeError {
    pub(super) fn malformed(message: &'static str, reason: impl Into<Malformed>) -> Self {
        Self::Malformed { message, reason: reason.into() }
    }
}
