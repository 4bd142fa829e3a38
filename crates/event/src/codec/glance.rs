//! The command with one key, of which almost all of a stream consists, read where it stands.
//!
//! Guarantees: what a glance shows is what [`decode`](super::decode()) gives for the same bytes; where it is
//! anything else, or decoding would fail, it shows nothing. It allocates nothing.

use wire::slot::Slot;

use super::check;
use super::convert::Convert;
use super::decode::position;
use super::error::Malformed;
use super::scan::{Fields, low_bits};
use crate::{Effect, Position, SCHEMA_VERSION};

/// An event that is a command with one key and few arguments, borrowed from its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Where it stands in its source's history.
    pub position: Position,
    /// The database of the source.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    args: [&'a [u8]; GLANCE_ARGS],
    count: usize,
}

/// Commands with more arguments are decoded: few have.
pub const GLANCE_ARGS: usize = 8;

/// What of an event is looked at last, since most need it not.
#[derive(Default)]
struct Outside<'a> {
    schema: u32,
    slot: u32,
    position: Option<&'a [u8]>,
    stamp: Option<&'a [u8]>,
    command: Option<&'a [u8]>,
}

// === impl Glance ===

impl<'a> Glance<'a> {
    /// Looks at an encoded event.
    #[must_use]
    pub fn at(bytes: &'a [u8]) -> Option<Self> {
        Self::read(bytes).ok().flatten()
    }

    /// The command's name and arguments; the key is the second.
    #[must_use]
    pub fn args(&self) -> &[&'a [u8]] {
        self.args.get(..self.count).unwrap_or_default()
    }

    fn read(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let (mut db, mut key) = (0, &[][..]);
        let mut outside = Outside::default();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => outside.schema = low_bits(field.varint()?),
                2 => outside.position = Some(field.bytes()?),
                3 => outside.stamp = Some(field.bytes()?),
                4 => db = low_bits(field.varint()?),
                5 => outside.slot = low_bits(field.varint()?),
                6 => key = field.bytes()?,
                7 => outside.command = Some(field.bytes()?),
                8..=16 => return Ok(None),
                _ => {}
            }
        }
        let Outside {
            schema,
            slot,
            position: Some(place),
            stamp: Some(stamp),
            command: Some(command),
        } = outside
        else {
            return Ok(None);
        };
        let known = (1..=SCHEMA_VERSION).contains(&schema)
            && u16::try_from(slot).is_ok_and(|slot| Slot::new(slot).is_some())
            && is_stamp(stamp)?;
        if !known {
            return Ok(None);
        }
        let glance =
            Self { position: position(place)?, db, key, args: [&[]; GLANCE_ARGS], count: 0 };
        glance.with_command(command)
    }

    fn with_command(mut self, bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let (mut effect, mut fields) = (0, Fields::of(bytes));
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    let Some(next) = self.args.get_mut(self.count) else { return Ok(None) };
                    *next = field.bytes()?;
                    self.count += 1;
                }
                2 => effect = low_bits(field.varint()?),
                3 | 4 => return Ok(None),
                _ => {}
            }
        }
        let is_whole = self.count > 1 && Effect::convert(effect.cast_signed()).is_ok();
        Ok(is_whole.then_some(self))
    }
}

/// Whether bytes are a stamp that decodes.
fn is_stamp(bytes: &[u8]) -> Result<bool, Malformed> {
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field.number {
            1 | 2 => {
                field.varint()?;
            }
            3 => match std::str::from_utf8(field.bytes()?) {
                Ok(site) if check::site(site).is_ok() => {}
                _ => return Ok(false),
            },
            _ => {}
        }
    }
    Ok(true)
}
