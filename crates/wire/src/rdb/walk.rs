//! How the bytes of each value type follow one another, as a walk that goes unit by unit and can
//! stop between any two. The same walk finds the end of a small value, cuts a large one into parts
//! and feeds [`decode`](super::value::decode), so that a type's layout is written down once.
//!
//! A unit is read as a whole or not at all: on [`Stop::More`] the walk stands where it stood.

mod module;
mod stream;

use super::error::Fault;
use super::kind::ValueType;
use super::reader::{Reader, Stop, Text};
use module::ModuleWalk;
use stream::StreamWalk;

pub(super) use module::values as module_values;
pub(super) use stream::StreamUnit;

/// A resumable walk over one value.
#[derive(Debug)]
pub(super) enum Walk {
    Flat(FlatWalk),
    Stream(StreamWalk),
    Module(ModuleWalk),
}

/// What was passed over in one step. Texts are positions in the bytes of the step.
#[derive(Debug)]
pub(super) enum Unit {
    /// Structure only.
    Nothing,
    /// The string, an element of a list or a member of a set.
    Text(Text),
    /// A member of a sorted set and its score.
    Scored(Text, f64),
    /// A field of a hash, its value and when it expires (unix ms).
    Field(Text, Text, Option<i64>),
    /// A blob of many elements.
    Packed(Text, Packing),
    /// A part of a stream.
    Stream(StreamUnit),
    /// A part of a module's value.
    Module,
}

/// What a blob is and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    ZiplistElements,
    ListpackElements,
    IntsetElements,
    ZiplistScores,
    ListpackScores,
    ZiplistFields,
    ListpackFields,
    ZipmapFields,
    /// Field, value and when the field expires.
    ListpackExpiringFields,
}

/// A value that is a number of like units.
#[derive(Debug)]
pub(super) struct FlatWalk {
    shape: Shape,
    /// Units to come; `None` until the count has been read.
    left: Option<u64>,
    /// Of a type 24 hash: what its fields' deadlines are counted from.
    expire_base: i64,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Texts,
    ScoredText,
    Scored,
    Fields,
    FieldsWithDeadline,
    FieldsWithDelta,
    Blobs(Packing),
    DatedBlob(Packing),
    Nodes,
}

// === impl Walk ===

impl Walk {
    pub(super) fn new(kind: ValueType) -> Self {
        let (shape, left) = match kind {
            ValueType::String => (Shape::Texts, Some(1)),
            ValueType::List | ValueType::Set => (Shape::Texts, None),
            ValueType::ZsetText => (Shape::ScoredText, None),
            ValueType::Zset => (Shape::Scored, None),
            ValueType::Hash => (Shape::Fields, None),
            ValueType::HashExpiryValkey => (Shape::FieldsWithDeadline, None),
            ValueType::HashExpiryRedis => (Shape::FieldsWithDelta, None),
            ValueType::ListZiplist => (Shape::Blobs(Packing::ZiplistElements), Some(1)),
            ValueType::ListQuicklist => (Shape::Blobs(Packing::ZiplistElements), None),
            ValueType::ListQuicklist2 => (Shape::Nodes, None),
            ValueType::SetIntset => (Shape::Blobs(Packing::IntsetElements), Some(1)),
            ValueType::SetListpack => (Shape::Blobs(Packing::ListpackElements), Some(1)),
            ValueType::ZsetZiplist => (Shape::Blobs(Packing::ZiplistScores), Some(1)),
            ValueType::ZsetListpack => (Shape::Blobs(Packing::ListpackScores), Some(1)),
            ValueType::HashZipmap => (Shape::Blobs(Packing::ZipmapFields), Some(1)),
            ValueType::HashZiplist => (Shape::Blobs(Packing::ZiplistFields), Some(1)),
            ValueType::HashListpack => (Shape::Blobs(Packing::ListpackFields), Some(1)),
            ValueType::HashExpiryListpack => {
                (Shape::DatedBlob(Packing::ListpackExpiringFields), Some(1))
            }
            ValueType::Stream1 => return Self::Stream(StreamWalk::new(1)),
            ValueType::Stream2 => return Self::Stream(StreamWalk::new(2)),
            ValueType::Stream3 => return Self::Stream(StreamWalk::new(3)),
            ValueType::Stream4 => return Self::Stream(StreamWalk::new(4)),
            ValueType::Module => return Self::Module(ModuleWalk::new()),
        };
        Self::Flat(FlatWalk { shape, left, expire_base: 0 })
    }

    /// Passes over the next unit; `None` at the end of the value.
    pub(super) fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<Unit>, Stop> {
        match self {
            Self::Flat(walk) => walk.next(reader),
            Self::Stream(walk) => Ok(walk.next(reader)?.map(Unit::Stream)),
            Self::Module(walk) => Ok(walk.next(reader)?.then_some(Unit::Module)),
        }
    }
}

// === impl FlatWalk ===

impl FlatWalk {
    fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<Unit>, Stop> {
        let Some(left) = self.left else { return self.head(reader).map(Some) };
        let Some(left) = left.checked_sub(1) else { return Ok(None) };
        let unit = self.unit(reader)?;
        self.left = Some(left);
        Ok(Some(unit))
    }

    fn head(&mut self, reader: &mut Reader<'_>) -> Result<Unit, Stop> {
        let base = match self.shape {
            Shape::FieldsWithDelta => reader.i64()?,
            _ => 0,
        };
        let count = reader.len()?;
        self.expire_base = base;
        self.left = Some(count);
        Ok(Unit::Nothing)
    }

    fn unit(&self, reader: &mut Reader<'_>) -> Result<Unit, Stop> {
        Ok(match self.shape {
            Shape::Texts => Unit::Text(reader.text()?),
            Shape::ScoredText => Unit::Scored(reader.text()?, text_score(reader)?),
            Shape::Scored => Unit::Scored(reader.text()?, f64::from_le_bytes(reader.array()?)),
            Shape::Fields => Unit::Field(reader.text()?, reader.text()?, None),
            Shape::FieldsWithDeadline => {
                let (field, value, deadline) = (reader.text()?, reader.text()?, reader.i64()?);
                Unit::Field(field, value, (deadline != -1).then_some(deadline))
            }
            Shape::FieldsWithDelta => {
                let deadline = self.deadline(reader)?;
                Unit::Field(reader.text()?, reader.text()?, deadline)
            }
            Shape::Blobs(packing) => Unit::Packed(reader.text()?, packing),
            Shape::DatedBlob(packing) => {
                // The earliest deadline, for a reader that does not look inside.
                reader.i64()?;
                Unit::Packed(reader.text()?, packing)
            }
            Shape::Nodes => node(reader)?,
        })
    }

    /// Deadlines are stored as one more than the distance from the earliest; 0 is none.
    fn deadline(&self, reader: &mut Reader<'_>) -> Result<Option<i64>, Stop> {
        let start = reader.position();
        let number = reader.len()?;
        let Some(delta) = number.checked_sub(1) else { return Ok(None) };
        let deadline = self.expire_base.checked_add_unsigned(delta);
        deadline.map(Some).ok_or_else(|| {
            reader.bad_at(start, Fault::OutOfRange { what: "field deadline", number })
        })
    }
}

/// A score of type 3: a length byte and text, or one of three lengths that stand for a score.
fn text_score(reader: &mut Reader<'_>) -> Result<f64, Stop> {
    let at = reader.position();
    match reader.byte()? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => {
            let text = reader.bytes(len.into())?;
            score(text).map_err(|fault| reader.bad_at(at, fault))
        }
    }
}

/// A score from its text.
pub(super) fn score(text: &[u8]) -> Result<f64, Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::Score)?;
    text.parse().map_err(|_| Fault::Score)
}

/// A node of a quicklist of type 18.
fn node(reader: &mut Reader<'_>) -> Result<Unit, Stop> {
    let at = reader.position();
    match reader.len()? {
        1 => Ok(Unit::Text(reader.text()?)),
        2 => Ok(Unit::Packed(reader.text()?, Packing::ListpackElements)),
        container => Err(reader.bad_at(at, Fault::Container(container))),
    }
}
