//! The command with one key, of which almost all of a stream consists, and the string without a deadline, of which
//! many a snapshot does, read where they stand.
//!
//! Guarantees: what a glance shows is what [`decode`](super::decode()) gives for the same bytes; where it is
//! anything else, or decoding would fail, it shows nothing. It allocates nothing.

use wire::slot::Slot;

use super::check;
use super::convert::Convert;
use super::decode::position;
use super::error::Malformed;
use super::scan::{Fields, low_bits};
use crate::image::Flavour;
use crate::{Effect, Position, SCHEMA_VERSION};

/// An event that is one of these, borrowed from its encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Where it stands in its source's history.
    pub position: Position,
    /// The database of the source.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// What it does.
    pub body: GlanceBody<'a>,
}

/// What a [`Glance`] shows of what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlanceBody<'a> {
    /// A command with the one key.
    Command(GlanceArgs<'a>),
    /// A string of a snapshot that everybody takes, without deadline, idle time and frequency.
    Text(&'a [u8]),
}

/// The words of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlanceArgs<'a> {
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
    body: Option<(u32, &'a [u8])>,
}

// === impl Glance ===

impl<'a> Glance<'a> {
    /// Looks at an encoded event.
    #[must_use]
    pub fn at(bytes: &'a [u8]) -> Option<Self> {
        Self::read(bytes).ok().flatten()
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
                number @ 7..=8 => outside.body = Some((number, field.bytes()?)),
                9..=16 => return Ok(None),
                _ => {}
            }
        }
        let Outside { schema, slot, position: Some(place), stamp: Some(stamp), body: Some(body) } =
            outside
        else {
            return Ok(None);
        };
        let known = (1..=SCHEMA_VERSION).contains(&schema)
            && u16::try_from(slot).is_ok_and(|slot| Slot::new(slot).is_some())
            && is_stamp(stamp)?;
        if !known {
            return Ok(None);
        }
        let body = match body {
            (7, command) => GlanceArgs::of(command)?.map(GlanceBody::Command),
            (_, image) => text(image)?.map(GlanceBody::Text),
        };
        let position = position(place)?;
        Ok(body.map(|body| Self { position, db, key, body }))
    }
}

// === impl GlanceArgs ===

impl<'a> GlanceArgs<'a> {
    /// The command's name and arguments; the key is the second.
    #[must_use]
    pub fn words(&self) -> &[&'a [u8]] {
        self.args.get(..self.count).unwrap_or_default()
    }

    fn of(command: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut words = Self::default();
        let (mut effect, mut fields) = (0, Fields::of(command));
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    let Some(next) = words.args.get_mut(words.count) else { return Ok(None) };
                    *next = field.bytes()?;
                    words.count += 1;
                }
                2 => effect = low_bits(field.varint()?),
                3 | 4 => return Ok(None),
                _ => {}
            }
        }
        let is_whole = words.count > 1 && Effect::convert(effect.cast_signed()).is_ok();
        Ok(is_whole.then_some(words))
    }
}

/// The string that an image is, if its head says nothing else of it.
fn text(image: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (mut text, mut is_plain) = (None, false);
    let mut fields = Fields::of(image);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => is_plain = is_plain_string(field.bytes()?)?,
            2 => text = Some(field.bytes()?),
            3 => return Ok(None),
            _ => {}
        }
    }
    Ok(text.filter(|_| is_plain))
}

/// Whether the head of an image is that of a string about which there is no more to say.
fn is_plain_string(head: &[u8]) -> Result<bool, Malformed> {
    let (mut flavour, mut version) = (0, 0);
    let mut fields = Fields::of(head);
    while let Some(field) = fields.next()? {
        match field.number {
            2 => flavour = low_bits(field.varint()?),
            3 => version = low_bits(field.varint()?),
            // A type that is not 0, the type of strings, and all that is optional.
            _ => return Ok(false),
        }
    }
    Ok(Flavour::convert(flavour.cast_signed()).is_ok() && u16::try_from(version).is_ok())
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
