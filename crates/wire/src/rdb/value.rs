//! Whole values from the exact bytes that a small [`Entry`](super::Entry) or a DUMP payload holds.

use bytes::Bytes;

use super::element::{Collector, Element, Elements};
use super::error::{Error, Fault};
use super::kind::{Class, ValueType};
use super::reader::{Reader, Stop};
use super::stream::StreamValue;
use super::walk::Walk;
use super::{HashField, ModuleId, Part};

/// A decoded value. Order is the file's; members and fields of a damaged file may repeat.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    Str(Bytes),
    /// The elements, from the head on.
    List(Vec<Bytes>),
    /// The members.
    Set(Vec<Bytes>),
    /// The members and their scores.
    Zset(Vec<(Bytes, f64)>),
    /// The fields.
    Hash(Vec<HashField>),
    /// The stream.
    Stream(StreamValue),
    /// A module's value, which only the module can read.
    Module {
        /// Whose.
        module: ModuleId,
        /// The exact bytes: id, values, end mark.
        raw: Bytes,
    },
}

/// Reads a value unit by unit.
struct Units {
    walk: Walk,
    rest: Bytes,
    /// Of `rest` in the value.
    offset: u64,
    /// Of the unit loaded last.
    loaded_at: u64,
}

/// Decodes a whole value. Strings are slices of `raw` wherever they stand there as they are.
///
/// # Errors
/// What is wrong with the value; offsets count from the beginning of `raw`.
pub fn decode(kind: ValueType, raw: &Bytes) -> Result<Value, Error> {
    let class = kind.class();
    let mut units = Units::new(kind, raw);
    let (mut elements, mut collector) = (Elements::default(), Collector::new(class));
    let mut string = None;
    while units.load(&mut elements)? {
        while let Some(element) = elements.next().map_err(|fault| fault.at(units.loaded_at))? {
            match element {
                Element::Text(text) if class == Class::String => string = Some(text),
                // The bytes as they stand are the value.
                Element::Module(_) => {}
                element => collector.push(element),
            }
        }
    }
    units.end()?;
    Ok(match collector.take() {
        Part::Str(_) => Value::Str(string.unwrap_or_default()),
        Part::List(part) => Value::List(part),
        Part::Set(part) => Value::Set(part),
        Part::Zset(part) => Value::Zset(part),
        Part::Hash(part) => Value::Hash(part),
        Part::Stream(items) => Value::Stream(StreamValue::from_items(items)),
        Part::Module { .. } => Value::Module { module: module_id(raw), raw: raw.clone() },
    })
}

/// How many bytes at the front of `raw` are the value, without decoding it.
///
/// # Errors
/// What is wrong with the value; offsets count from the beginning of `raw`.
pub fn length(kind: ValueType, raw: &[u8]) -> Result<usize, Error> {
    let mut walk = Walk::new(kind);
    let mut reader = Reader::new(raw, 0, 0, usize::MAX);
    loop {
        match walk.next(&mut reader) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(reader.position()),
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::More(_)) => return Err(Fault::Truncated.at(raw.len() as u64)),
        }
    }
}

/// The id at the beginning of a module's value that was walked.
pub(super) fn module_id(raw: &[u8]) -> ModuleId {
    let mut reader = Reader::new(raw, 0, 0, 0);
    ModuleId(reader.len().unwrap_or_default())
}

// === impl Value ===

impl Value {
    /// What it is to its users.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Str(_) => Class::String,
            Self::List(_) => Class::List,
            Self::Set(_) => Class::Set,
            Self::Zset(_) => Class::Zset,
            Self::Hash(_) => Class::Hash,
            Self::Stream(_) => Class::Stream,
            Self::Module { .. } => Class::Module,
        }
    }
}

// === impl Units ===

impl Units {
    fn new(kind: ValueType, raw: &Bytes) -> Self {
        Self { walk: Walk::new(kind), rest: raw.clone(), offset: 0, loaded_at: 0 }
    }

    /// Loads the next unit; `false` at the end of the value.
    fn load(&mut self, elements: &mut Elements) -> Result<bool, Error> {
        let mut reader = Reader::new(&self.rest, 0, self.offset, usize::MAX);
        let unit = match self.walk.next(&mut reader) {
            Ok(Some(unit)) => unit,
            Ok(None) => return Ok(false),
            Err(Stop::Bad(error)) => return Err(error),
            Err(Stop::More(_)) => {
                return Err(Fault::Truncated.at(self.offset + self.rest.len() as u64));
            }
        };
        let len = reader.position();
        let bytes = self.rest.split_to(len);
        self.loaded_at = self.offset;
        elements.load(unit, &bytes).map_err(|fault| fault.at(self.loaded_at))?;
        self.offset += len as u64;
        Ok(true)
    }

    fn end(&self) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Fault::TrailingBytes(left).at(self.offset)),
        }
    }
}

#[cfg(test)]
mod tests;
