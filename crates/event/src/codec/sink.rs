//! Writing protobuf: each message is described once, and that description both measures and writes
//! it.
//!
//! Fields at their default are left out, as proto3 has it; `…_present` methods write them
//! nevertheless, for what has presence (members of a oneof, `optional`, elements of repeated
//! fields).

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encoded_len_varint};

/// Something with a protobuf form.
pub(super) trait Message {
    /// Writes the fields, in the order of their numbers.
    fn write(&self, out: &mut impl Sink);

    /// Length of what `write` writes, bytes.
    fn size(&self) -> usize {
        let mut size = Size(0);
        self.write(&mut size);
        size.0
    }
}

/// Where a message is written to.
pub(super) trait Sink: Sized {
    fn varint(&mut self, value: u64);
    fn raw(&mut self, bytes: &[u8]);

    /// So many bytes are going to be written, about.
    fn make_room(&mut self, _bytes: usize) {}

    fn field(&mut self, number: u32, kind: WireType) {
        self.varint(u64::from(number << 3 | kind as u32));
    }

    fn uint_present(&mut self, number: u32, value: u64) {
        self.field(number, WireType::Varint);
        self.varint(value);
    }

    fn uint(&mut self, number: u32, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.uint_present(number, value);
        }
    }

    fn int(&mut self, number: u32, value: i64) {
        self.uint(number, value.cast_unsigned());
    }

    fn fixed32(&mut self, number: u32, value: u32) {
        if value != 0 {
            self.field(number, WireType::ThirtyTwoBit);
            self.raw(&value.to_le_bytes());
        }
    }

    fn fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.field(number, WireType::SixtyFourBit);
            self.raw(&value.to_le_bytes());
        }
    }

    fn bytes_present(&mut self, number: u32, value: &[u8]) {
        self.field(number, WireType::LengthDelimited);
        self.varint(value.len() as u64);
        self.raw(value);
    }

    fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.bytes_present(number, value);
        }
    }

    fn message(&mut self, number: u32, message: &impl Message) {
        self.field(number, WireType::LengthDelimited);
        self.varint(message.size() as u64);
        message.write(self);
    }

    fn messages<'m, M: Message + 'm>(
        &mut self,
        number: u32,
        messages: impl IntoIterator<Item = &'m M>,
    ) {
        for message in messages {
            self.message(number, message);
        }
    }

    /// A repeated scalar in packed form.
    fn packed(&mut self, number: u32, values: impl Iterator<Item = u64> + Clone) {
        let size: usize = values.clone().map(encoded_len_varint).sum();
        if size > 0 {
            self.field(number, WireType::LengthDelimited);
            self.varint(size as u64);
            for value in values {
                self.varint(value);
            }
        }
    }

    /// A repeated double in packed form.
    fn doubles(&mut self, number: u32, values: impl ExactSizeIterator<Item = f64>) {
        if values.len() > 0 {
            self.field(number, WireType::LengthDelimited);
            self.varint(values.len() as u64 * 8);
            for value in values {
                self.raw(&value.to_le_bytes());
            }
        }
    }
}

/// Counts instead of writing.
struct Size(usize);

// === impl Size ===

impl Sink for Size {
    fn varint(&mut self, value: u64) {
        self.0 += encoded_len_varint(value);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

// === impl BytesMut ===

impl Sink for BytesMut {
    #[inline]
    fn varint(&mut self, value: u64) {
        // Field numbers, most lengths and small numbers take one byte.
        match u8::try_from(value) {
            Ok(byte @ ..0x80) => self.put_u8(byte),
            _ => prost::encoding::encode_varint(value, self),
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }

    fn make_room(&mut self, bytes: usize) {
        self.reserve(bytes);
    }
}
