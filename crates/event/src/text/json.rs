//! Events as JSON.
//!
//! Bytes are a string where they are UTF-8, else `{"base64": "…"}`. Numbers are numbers, also
//! beyond what a double holds exactly; scores that JSON has no number for are strings. Every field
//! is always there, null where the event does not tell.

mod body;
mod image;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub(super) use self::body::cause;
use crate::{Event, Position, Seen};

/// The event as one line of JSON, without the line's end.
#[must_use]
pub fn json(event: &Event) -> String {
    serde_json::to_string(&Json(event)).expect("maps with text as keys, written to memory")
}

/// What serialises as JSON of this form: an event, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a, T: ?Sized>(pub &'a T);

/// Serialises a map of these entries.
macro_rules! object {
    ($serializer:expr, { $($name:literal: $value:expr),* $(,)? }) => {{
        let mut map = $serializer.serialize_map(None)?;
        $(map.serialize_entry($name, &$value)?;)*
        map.end()
    }};
}
use object;

/// Bytes, readable where they are text.
struct Blob<'a>(&'a [u8]);

// === impl Json ===

impl Serialize for Json<'_, Event> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        object!(serializer, {
            "kind": event.kind(),
            "position": Json(&event.position),
            "time_ms": event.stamp.time_ms,
            "counter": event.stamp.counter,
            "site": event.stamp.site,
            "db": event.db,
            "slot": event.slot.get(),
            "key": Blob(&event.key),
            "body": Json(&event.body),
            "seen": Json(&event.seen[..]),
        })
    }
}

impl Serialize for Json<'_, Position> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, {
            "shard": self.0.shard.0,
            "epoch": self.0.epoch,
            "offset": self.0.offset,
            "index": self.0.index,
        })
    }
}

impl Serialize for Json<'_, Seen> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, { "site": self.0.site, "position": Json(&self.0.position) })
    }
}

impl<'a, T> Serialize for Json<'a, [T]>
where
    Json<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Json))
    }
}

impl Serialize for Json<'_, bytes::Bytes> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Blob(self.0).serialize(serializer)
    }
}

// === impl Blob ===

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => object!(serializer, { "base64": base64(self.0) }),
        }
    }
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for place in 0..4 {
            text.push(if place <= chunk.len() { sextet(bits >> (18 - 6 * place)) } else { '=' });
        }
    }
    text
}

/// The digit of the last six bits.
fn sextet(bits: u32) -> char {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    DIGITS.get((bits & 63) as usize).copied().map_or('=', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_base64_as_the_standard_says() {
        let cases: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff\xfe", "+//+"),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes), text);
        }
    }
}
