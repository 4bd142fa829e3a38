//! The event around its body, and the two bodies that make up almost all of a stream: commands and
//! images.

use bytes::{Bytes, BytesMut};
use prost::encoding::WireType;
use wire::slot::Slot;

use super::check;
use super::error::EncodeError;
use super::rope::{Rope, RopeWriter};
use super::sink::{Message, Sink};
use crate::image::{Flavour, ImageHead, ImageValue};
use crate::{Body, Command, Effect, Event, KeyArgs, Position, SCHEMA_VERSION, Seen, Stamp, limits};

/// What an event says besides its body, borrowed: see [`Event`].
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its identity.
    pub position: Position,
    /// When it was written.
    pub stamp: &'a Stamp,
    /// Database of the source.
    pub db: u32,
    /// Hash slot of `key`.
    pub slot: Slot,
    /// The key.
    pub key: &'a [u8],
    /// Two-way sets only: what had been applied before.
    pub seen: &'a [Seen],
}

/// Appends the encoding of an event to `buf`, which is unchanged after an error.
///
/// The result may exceed [`limits::MAX_EVENT_BYTES`]: [`crate::fragment::split`] is for that.
pub fn encode(event: &Event, buf: &mut BytesMut) -> Result<(), EncodeError> {
    write(event, buf)
}

/// The encoding of an event, whose large values are shared with `lenders`, of which they are parts:
/// see [`super::lenders`].
///
/// # Errors
/// As [`encode`].
pub fn encode_rope(event: &Event, lenders: &[Bytes]) -> Result<Rope, EncodeError> {
    let mut out = RopeWriter::new(lenders);
    write(event, &mut out)?;
    Ok(out.finish())
}

fn write(event: &Event, buf: &mut impl Sink) -> Result<(), EncodeError> {
    check::body(&event.body)?;
    let head = Head::of(event);
    match &event.body {
        Body::Command(command) => record(buf, &head, 7, &CommandBody::of(command)),
        Body::Image(image) => {
            let (number, value) = match &image.value {
                ImageValue::Text(value) => (2, value),
                ImageValue::Rdb(value) => (3, value),
            };
            record(buf, &head, 8, &ImageBody { head: &image.head, number, value })
        }
        Body::ImagePart(part) => record(buf, &head, 9, part),
        Body::Group(group) => record(buf, &head, 10, group),
        Body::Fragment(fragment) => record(buf, &head, 11, fragment),
        Body::Control(control) => record(buf, &head, 12, control),
    }
}

/// Appends the event of one command to `buf`, from slices. `keys` are the indexes of the arguments
/// that are written and that are only read; none stands for [`KeyArgs::First`]. Leaves `buf`
/// unchanged after an error.
pub fn encode_command<'a>(
    buf: &mut BytesMut,
    head: &Head<'_>,
    effect: Effect,
    keys: Option<(&[u32], &[u32])>,
    args: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<(), EncodeError> {
    check::keys(args.clone().count(), keys)?;
    record(buf, head, 7, &CommandBody { args, effect, keys })
}

/// The event of one command, as of [`encode_command`]: arguments that are large are shared with
/// `frame`, of which they are parts.
///
/// # Errors
/// As [`encode_command`].
pub fn encode_command_rope<'a>(
    frame: &Bytes,
    head: &Head<'_>,
    effect: Effect,
    keys: Option<(&[u32], &[u32])>,
    args: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Rope, EncodeError> {
    check::keys(args.clone().count(), keys)?;
    let mut out = RopeWriter::new(std::slice::from_ref(frame));
    record(&mut out, head, 7, &CommandBody { args, effect, keys })?;
    Ok(out.finish())
}

/// Appends the event of a whole string to `buf`, from slices. Leaves `buf` unchanged after an
/// error.
pub fn encode_text_image(
    buf: &mut BytesMut,
    head: &Head<'_>,
    image: &ImageHead,
    text: &[u8],
) -> Result<(), EncodeError> {
    record(buf, head, 8, &ImageBody { head: image, number: 2, value: text })
}

/// Appends the event of a whole value of another type to `buf`, from slices: `rdb` as in
/// [`ImageValue::Rdb`]. Leaves `buf` unchanged after an error.
pub fn encode_rdb_image(
    buf: &mut BytesMut,
    head: &Head<'_>,
    image: &ImageHead,
    rdb: &[u8],
) -> Result<(), EncodeError> {
    record(buf, head, 8, &ImageBody { head: image, number: 3, value: rdb })
}

/// Bytes of an event besides key, body, site and `seen`, at most: nine varints and as many field
/// numbers.
const HEAD_BYTES_MAX: usize = 128;

fn record(
    buf: &mut impl Sink,
    head: &Head<'_>,
    number: u32,
    body: &impl Message,
) -> Result<(), EncodeError> {
    check::site(&head.stamp.site)?;
    head.seen.iter().try_for_each(|seen| check::site(&seen.site))?;
    let body_bytes = body.size();
    let bytes = body_bytes.saturating_add(head.bytes_max());
    if bytes > limits::MAX_ENCODED_BYTES {
        return Err(EncodeError::TooLarge { bytes, limit: limits::MAX_ENCODED_BYTES });
    }
    buf.make_room(bytes);
    buf.uint(1, SCHEMA_VERSION);
    buf.message(2, &head.position);
    buf.message(3, head.stamp);
    buf.uint(4, head.db);
    buf.uint(5, head.slot.get());
    buf.bytes(6, head.key);
    buf.field(number, WireType::LengthDelimited);
    buf.varint(body_bytes as u64);
    body.write(buf);
    buf.messages(16, head.seen);
    Ok(())
}

/// A command whose arguments are wherever they are.
pub(super) struct CommandBody<'a, I> {
    args: I,
    effect: Effect,
    keys: Option<(&'a [u32], &'a [u32])>,
}

struct ImageBody<'a> {
    head: &'a ImageHead,
    /// Number of the field that the value goes into.
    number: u32,
    value: &'a [u8],
}

// === impl Head ===

impl<'a> Head<'a> {
    /// The head of an event.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        Self {
            position: event.position,
            stamp: &event.stamp,
            db: event.db,
            slot: event.slot,
            key: &event.key,
            seen: &event.seen,
        }
    }

    /// What the encoding of an event has besides that of its body, at most.
    pub(crate) fn bytes_max(&self) -> usize {
        let seen = self.seen.iter().map(|seen| HEAD_BYTES_MAX + seen.site.len());
        HEAD_BYTES_MAX + self.stamp.site.len() + self.key.len() + seen.sum::<usize>()
    }
}

impl Message for Position {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.shard.0);
        out.uint(2, self.epoch);
        out.uint(3, self.offset);
        out.uint(4, self.index);
    }
}

impl Message for Stamp {
    fn write(&self, out: &mut impl Sink) {
        out.int(1, self.time_ms);
        out.uint(2, self.counter);
        out.bytes(3, self.site.as_bytes());
    }
}

impl Message for Seen {
    fn write(&self, out: &mut impl Sink) {
        out.bytes(1, self.site.as_bytes());
        out.message(2, &self.position);
    }
}

// === impl CommandBody ===

impl<'a> CommandBody<'a, ()> {
    pub(super) fn of(
        command: &'a Command,
    ) -> CommandBody<'a, impl Iterator<Item = &'a [u8]> + Clone> {
        CommandBody {
            args: command.args.iter().map(AsRef::as_ref),
            effect: command.effect,
            keys: listed(&command.keys),
        }
    }
}

/// The lists of keys, if they are listed.
pub(super) fn listed(keys: &KeyArgs) -> Option<(&[u32], &[u32])> {
    match keys {
        KeyArgs::First => None,
        KeyArgs::Listed { written, read } => Some((written, read)),
    }
}

impl<'a, I: Iterator<Item = &'a [u8]> + Clone> Message for CommandBody<'_, I> {
    fn write(&self, out: &mut impl Sink) {
        for arg in self.args.clone() {
            out.bytes_present(1, arg);
        }
        out.uint(2, self.effect.number());
        if let Some((written, read)) = self.keys {
            out.packed(3, written.iter().copied().map(u64::from));
            out.packed(4, read.iter().copied().map(u64::from));
        }
    }
}

impl Message for Command {
    fn write(&self, out: &mut impl Sink) {
        CommandBody::of(self).write(out);
    }
}

impl Effect {
    fn number(self) -> u32 {
        match self {
            Self::Overwrite => 1,
            Self::Merge => 2,
            Self::Delete => 3,
            Self::Expire => 4,
        }
    }
}

// === impl ImageBody ===

impl Message for ImageBody<'_> {
    fn write(&self, out: &mut impl Sink) {
        out.message(1, self.head);
        out.bytes_present(self.number, self.value);
    }
}

impl Message for ImageHead {
    fn write(&self, out: &mut impl Sink) {
        out.uint(1, self.type_byte);
        out.uint(2, flavour(self.flavour));
        out.uint(3, self.rdb_version);
        if let Some(at) = self.expire_at_ms {
            out.uint_present(4, at.cast_unsigned());
        }
        if let Some(idle) = self.idle_s {
            out.uint_present(5, idle);
        }
        if let Some(freq) = self.freq {
            out.uint_present(6, freq.into());
        }
        out.uint(7, self.snapshot_id);
    }
}

/// The number of the enum `Flavour`.
pub(super) fn flavour(flavour: Flavour) -> u32 {
    match flavour {
        Flavour::Redis => 1,
        Flavour::Valkey => 2,
    }
}
