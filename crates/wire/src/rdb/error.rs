//! What can be wrong with an RDB file or a DUMP payload. Every error names the byte at which it
//! was found; nothing unknown is guessed at or skipped.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use super::kind::Flavour;

/// Of a key no more is shown than this: keys may have 512 MiB.
const SHOWN_KEY_BYTES: usize = 100;

/// A fault and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{fault} at byte {offset}{}", Shown(.file.as_deref()))]
pub struct Error {
    /// Bytes from the beginning of the file, of the raw value or of the payload.
    pub offset: u64,
    /// What is wrong there.
    #[source]
    pub fault: Fault,
    /// In which file, behind its magic; `None` for a payload and for a value on its own.
    pub file: Option<Box<InFile>>,
}

/// What the parser of a file knew when it met a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFile {
    /// Whose numbering the file follows.
    pub flavour: Flavour,
    /// In that numbering.
    pub version: u16,
    /// The key whose type or value is at fault.
    pub key: Option<Bytes>,
}

/// The end of an error's text.
struct Shown<'a>(Option<&'a InFile>);

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The first nine bytes are no magic of an RDB file.
    #[error("not an RDB file, it begins with \"{}\"", .0.escape_ascii())]
    Magic([u8; 9]),
    /// A version that this parser does not read.
    #[error("RDB version {flavour} {version} is not supported")]
    Version {
        /// Whose numbering it is.
        flavour: Flavour,
        /// The version number in the magic.
        version: u16,
    },
    /// A byte that is neither a known value type nor a known opcode of this kind of file.
    #[error("unknown type or opcode {byte} in a {flavour} file")]
    UnknownType {
        /// The byte.
        byte: u8,
        /// Whose numbering it is.
        flavour: Flavour,
    },
    /// A type or opcode that is known and not supported.
    #[error("type or opcode {byte} ({name}) is not supported")]
    Unsupported {
        /// The byte.
        byte: u8,
        /// What writes it.
        name: &'static str,
    },
    /// The first byte of a length is none that exists.
    #[error("invalid length encoding {0:#04x}")]
    LengthEncoding(u8),
    /// A special string encoding that does not exist, or that cannot stand where a length must.
    #[error("invalid string encoding {0}")]
    StringEncoding(u8),
    /// A string, blob or count promises more than the limit.
    #[error("{what} of {promised} is above the limit of {limit}")]
    TooLong {
        /// What promises it.
        what: &'static str,
        /// The promise.
        promised: u64,
        /// The limit.
        limit: u64,
    },
    /// Values of a module that belong to no key and are too many to be held.
    #[error("module data without a key is above the limit of {limit} bytes")]
    ModuleData {
        /// The limit.
        limit: usize,
    },
    /// A number that does not fit where it stands.
    #[error("{what} of {number} is out of range")]
    OutOfRange {
        /// What the number is.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// A compressed string that does not decompress to its promised length.
    #[error("broken LZF string")]
    Lzf,
    /// A score that is not a number.
    #[error("score is not a number")]
    Score,
    /// A packed blob (ziplist, listpack, intset, zipmap) that contradicts itself.
    #[error("broken {blob}: {what}")]
    Packed {
        /// Which kind of blob.
        blob: &'static str,
        /// What does not hold.
        what: &'static str,
    },
    /// A stream whose nodes or tables contradict themselves.
    #[error("broken stream: {0}")]
    Stream(&'static str),
    /// A module opcode that does not exist.
    #[error("unknown module opcode {0}")]
    ModuleOpcode(u64),
    /// A quicklist node that is neither plain nor packed.
    #[error("unknown quicklist container {0}")]
    Container(u64),
    /// The value or payload ends before it is complete.
    #[error("ends too early")]
    Truncated,
    /// Bytes follow the end of the value.
    #[error("{0} bytes follow the end of the value")]
    TrailingBytes(usize),
    /// The bytes do not have the checksum that stands after them.
    #[error("checksum is {computed:#018x}, the file says {stored:#018x}")]
    Checksum {
        /// What stands in the file.
        stored: u64,
        /// What its bytes have.
        computed: u64,
    },
}

// === impl Fault ===

impl Fault {
    /// This fault, found at `offset`.
    pub(crate) fn at(self, offset: u64) -> Error {
        Error { offset, fault: self, file: None }
    }
}

// === impl Error ===

impl Error {
    /// This error, found in a file.
    pub(super) fn within(self, flavour: Flavour, version: u16, key: Option<Bytes>) -> Self {
        Self { file: Some(Box::new(InFile { flavour, version, key })), ..self }
    }
}

// === impl Shown ===

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(InFile { flavour, version, key }) = self.0 else { return Ok(()) };
        write!(f, " of a file {flavour} {version}")?;
        let Some(key) = key else { return Ok(()) };
        let shown = key.get(..SHOWN_KEY_BYTES).unwrap_or(key);
        let rest = if shown.len() < key.len() { "…" } else { "" };
        write!(f, ", key \"{}{rest}\"", shown.escape_ascii())
    }
}
