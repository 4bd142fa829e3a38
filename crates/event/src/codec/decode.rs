//! The event around its body, and the bodies that make up almost all of a stream, read without
//! building protobuf structs. The others go through the generated types: [`super::convert`].

use bytes::Bytes;
use prost::Message;
use wire::slot::Slot;

use super::check;
use super::convert::{self, Convert};
use super::error::{DecodeError, Invalid, Malformed};
use super::scan::{Fields, low_bits, nothing_known};
use crate::image::{Image, ImageHead, ImageValue};
use crate::{
    Body, Command, Effect, Event, KeyArgs, Position, SCHEMA_VERSION, Seen, Shard, Stamp, schema,
};

/// Decodes one event. Keys, arguments and values are slices of `bytes`: no byte of them is copied,
/// and `bytes` lives as long as any of them.
///
/// Fields that this build does not know are ignored, unless the event says in one of them what
/// happened.
pub fn decode(bytes: Bytes) -> Result<Event, DecodeError> {
    let parts = Parts::of(&bytes).map_err(|reason| DecodeError::malformed(EVENT, reason))?;
    event_of(&bytes, parts, |parts| body(&bytes, parts))
}

/// The event of these fields, with the body that is made of its own.
pub(super) fn event_of(
    bytes: &Bytes,
    parts: Parts<'_>,
    body: impl FnOnce(Option<(u32, &[u8])>) -> Result<Body, DecodeError>,
) -> Result<Event, DecodeError> {
    if parts.schema > SCHEMA_VERSION {
        return Err(DecodeError::SchemaTooNew { found: parts.schema, known: SCHEMA_VERSION });
    }
    if parts.schema == 0 {
        return Err(DecodeError::Missing { name: "schema" });
    }
    let stamp = stamp(parts.stamp.ok_or(DecodeError::Missing { name: "stamp" })?)
        .map_err(|reason| DecodeError::malformed("Stamp", reason))?;
    check::site(&stamp.site)?;
    Ok(Event {
        position: position(parts.position.ok_or(DecodeError::Missing { name: "position" })?)
            .map_err(|reason| DecodeError::malformed("Position", reason))?,
        stamp,
        db: parts.db,
        slot: slot(parts.slot)?,
        key: bytes.slice_ref(parts.key),
        body: body(parts.body)?,
        seen: seen(&parts.seen)?,
    })
}

const EVENT: &str = "ChangeEvent";

/// Numbers of the fields of [`EVENT`] that this build knows.
const EVENT_FIELDS: [u32; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16];

/// The fields of an event as they stand, of a repeated one the last.
#[derive(Default)]
pub(super) struct Parts<'a> {
    schema: u32,
    position: Option<&'a [u8]>,
    stamp: Option<&'a [u8]>,
    db: u32,
    slot: u32,
    key: &'a [u8],
    pub(super) body: Option<(u32, &'a [u8])>,
    seen: Vec<&'a [u8]>,
}

/// The fields of a command as they stand.
#[derive(Default)]
struct CommandParts {
    args: Vec<Bytes>,
    effect: u32,
    written: Vec<u32>,
    read: Vec<u32>,
}

/// The fields of an image as they stand, of a repeated one the last.
#[derive(Default)]
struct ImageParts<'a> {
    head: Option<&'a [u8]>,
    value: Option<ImageValue>,
}

// === impl Parts ===

impl<'a> Parts<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Self::default();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => parts.schema = low_bits(field.varint()?),
                2 => parts.position = Some(field.bytes()?),
                3 => parts.stamp = Some(field.bytes()?),
                4 => parts.db = low_bits(field.varint()?),
                5 => parts.slot = low_bits(field.varint()?),
                6 => parts.key = field.bytes()?,
                number @ 7..=12 => parts.body = Some((number, field.bytes()?)),
                16 => parts.seen.push(field.bytes()?),
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// Decodes a message of which no part is a slice of the input.
pub(super) fn message<M: Message + Default>(
    name: &'static str,
    bytes: &[u8],
) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|reason| DecodeError::malformed(name, reason))
}

/// Decodes a message whose `bytes` fields become slices of the input.
fn slices<M: Message + Default>(name: &'static str, bytes: Bytes) -> Result<M, DecodeError> {
    M::decode(bytes).map_err(|reason| DecodeError::malformed(name, reason))
}

pub(super) fn position(bytes: &[u8]) -> Result<Position, Malformed> {
    let mut position = Position::default();
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => position.shard = Shard(low_bits(field.varint()?)),
            2 => position.epoch = field.varint()?,
            3 => position.offset = field.varint()?,
            4 => position.index = field.varint()?,
            _ => {}
        }
    }
    Ok(position)
}

fn stamp(bytes: &[u8]) -> Result<Stamp, Malformed> {
    let mut stamp = Stamp::default();
    let mut fields = Fields::of(bytes);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => stamp.time_ms = field.varint()?.cast_signed(),
            2 => stamp.counter = low_bits(field.varint()?),
            3 => stamp.site = field.text()?,
            _ => {}
        }
    }
    Ok(stamp)
}

fn seen(list: &[&[u8]]) -> Result<Vec<Seen>, DecodeError> {
    let mut seen = Vec::with_capacity(list.len());
    for bytes in list {
        let site = Seen::convert(message::<schema::Seen>("Seen", bytes)?)?;
        check::site(&site.site)?;
        seen.push(site);
    }
    Ok(seen)
}

/// The slot of that number.
pub(super) fn slot(number: u32) -> Result<Slot, DecodeError> {
    let known = u16::try_from(number).ok().and_then(Slot::new);
    known.ok_or(DecodeError::Invalid(Invalid::Slot { slot: number }))
}

fn body(event: &Bytes, body: Option<(u32, &[u8])>) -> Result<Body, DecodeError> {
    let Some((number, bytes)) = body else {
        return Err(nothing_known(EVENT, event, &EVENT_FIELDS));
    };
    let owned = || event.slice_ref(bytes);
    match number {
        7 => command(event, bytes).map(Body::Command),
        8 => image(event, bytes).map(Body::Image),
        9 => convert::image_part(slices("ImagePart", owned())?, bytes).map(Body::ImagePart),
        10 => convert::group(slices("Group", owned())?, bytes).map(Body::Group),
        11 => Ok(Body::Fragment(convert::fragment(slices("Fragment", owned())?))),
        _ => convert::control(slices("Control", owned())?, bytes).map(Body::Control),
    }
}

fn command(event: &Bytes, bytes: &[u8]) -> Result<Command, DecodeError> {
    let parts = CommandParts::of(event, bytes)
        .map_err(|reason| DecodeError::malformed("Command", reason))?;
    let command = Command {
        args: parts.args,
        effect: Effect::convert(parts.effect.cast_signed())?,
        keys: keys(parts.written, parts.read),
    };
    check::command_keys(&command)?;
    Ok(command)
}

/// What the two lists of a command mean.
pub(super) fn keys(written: Vec<u32>, read: Vec<u32>) -> KeyArgs {
    if written.is_empty() && read.is_empty() {
        KeyArgs::First
    } else {
        KeyArgs::Listed { written, read }
    }
}

fn image(event: &Bytes, bytes: &[u8]) -> Result<Image, DecodeError> {
    let parts =
        ImageParts::of(event, bytes).map_err(|reason| DecodeError::malformed("Image", reason))?;
    let head = parts.head.ok_or(DecodeError::Missing { name: "head of Image" })?;
    let head = message::<schema::ImageHead>("head of Image", head)?;
    let value = parts.value.ok_or_else(|| nothing_known("Image", bytes, &[1, 2, 3]))?;
    Ok(Image { head: ImageHead::convert(head)?, value })
}

// === impl CommandParts ===

impl CommandParts {
    fn of(event: &Bytes, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut parts = Self::default();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => parts.args.push(event.slice_ref(field.bytes()?)),
                2 => parts.effect = low_bits(field.varint()?),
                3 => field.append_to(&mut parts.written)?,
                4 => field.append_to(&mut parts.read)?,
                _ => {}
            }
        }
        Ok(parts)
    }
}

// === impl ImageParts ===

impl<'a> ImageParts<'a> {
    fn of(event: &Bytes, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut parts = Self::default();
        let mut fields = Fields::of(bytes);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => parts.head = Some(field.bytes()?),
                2 => parts.value = Some(ImageValue::Text(event.slice_ref(field.bytes()?))),
                3 => parts.value = Some(ImageValue::Rdb(event.slice_ref(field.bytes()?))),
                _ => {}
            }
        }
        Ok(parts)
    }
}
