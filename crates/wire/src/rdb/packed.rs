//! The blobs in which small collections are packed: entries one after another, as slices of the
//! blob. What a blob says about itself is checked as far as it decides where entries lie.

mod intset;
mod listpack;
mod ziplist;
mod zipmap;

use bytes::Bytes;

use super::error::Fault;
use super::walk::{Packing, score};
use intset::Intset;
pub(super) use listpack::Listpack;
use ziplist::Ziplist;
use zipmap::Zipmap;

/// Goes over the entries of a blob.
#[derive(Debug)]
pub(super) enum Packed {
    Ziplist(Ziplist),
    Listpack(Listpack),
    Intset(Intset),
    Zipmap(Zipmap),
}

/// An entry: bytes, or a number that stands for its decimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Bytes(Bytes),
    Int(i64),
}

/// The bytes of a blob, read from the front.
#[derive(Debug)]
struct Blob {
    bytes: Bytes,
    /// What faults call it.
    name: &'static str,
}

// === impl Packed ===

impl Packed {
    pub(super) fn new(packing: Packing, blob: Bytes) -> Result<Self, Fault> {
        Ok(match packing {
            Packing::ZiplistElements | Packing::ZiplistScores | Packing::ZiplistFields => {
                Self::Ziplist(Ziplist::new(blob)?)
            }
            Packing::ListpackElements
            | Packing::ListpackScores
            | Packing::ListpackFields
            | Packing::ListpackExpiringFields => Self::Listpack(Listpack::new(blob)?),
            Packing::IntsetElements => Self::Intset(Intset::new(blob)?),
            Packing::ZipmapFields => Self::Zipmap(Zipmap::new(blob)?),
        })
    }

    /// The next entry; `None` at the end of the blob.
    pub(super) fn next(&mut self) -> Result<Option<Scalar>, Fault> {
        match self {
            Self::Ziplist(blob) => blob.next(),
            Self::Listpack(blob) => blob.next(),
            Self::Intset(blob) => blob.next(),
            Self::Zipmap(blob) => blob.next(),
        }
    }

    /// The next entry of the element whose first was already read.
    pub(super) fn rest(&mut self) -> Result<Scalar, Fault> {
        self.next()?.ok_or_else(|| self.name().broken("it ends inside an element"))
    }

    fn name(&self) -> Name {
        Name(match self {
            Self::Ziplist(_) => "ziplist",
            Self::Listpack(_) => "listpack",
            Self::Intset(_) => "intset",
            Self::Zipmap(_) => "zipmap",
        })
    }
}

struct Name(&'static str);

impl Name {
    fn broken(&self, what: &'static str) -> Fault {
        Fault::Packed { blob: self.0, what }
    }
}

// === impl Scalar ===

impl Scalar {
    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Int(number) => Bytes::from(number.to_string()),
        }
    }

    pub(super) fn score(&self) -> Result<f64, Fault> {
        match self {
            Self::Bytes(text) => score(text),
            Self::Int(number) => Ok(*number as f64),
        }
    }

    /// The number that it must be.
    pub(super) fn int(&self) -> Result<i64, Fault> {
        let broken = Fault::Packed { blob: "listpack", what: "text stands where a number must" };
        match self {
            Self::Int(number) => Ok(*number),
            Self::Bytes(text) => {
                std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(broken)
            }
        }
    }
}

// === impl Blob ===

impl Blob {
    fn new(bytes: Bytes, name: &'static str) -> Self {
        Self { bytes, name }
    }

    fn broken(&self, what: &'static str) -> Fault {
        Fault::Packed { blob: self.name, what }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let chunk = self.bytes.first_chunk::<N>().copied();
        let chunk = chunk.ok_or_else(|| self.broken("it ends inside an entry"))?;
        drop(self.bytes.split_to(N));
        Ok(chunk)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u32(&mut self) -> Result<usize, Fault> {
        let number = u32::from_le_bytes(self.array()?);
        usize::try_from(number).map_err(|_| self.broken("a length is out of range"))
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Fault> {
        if len > self.bytes.len() {
            return Err(self.broken("an entry is longer than the blob"));
        }
        Ok(self.bytes.split_to(len))
    }

    /// Nothing may follow the mark that ends the blob.
    fn end(&self) -> Result<Option<Scalar>, Fault> {
        if self.bytes.is_empty() { Ok(None) } else { Err(self.broken("bytes follow its end")) }
    }
}
