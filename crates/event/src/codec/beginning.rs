//! What the encoding of an image says before its value comes, read from the first bytes of it.
//!
//! Guarantees: what [`encode`](super::encode) writes of an event has all of this before the value, or the elements,
//! so that a value of hundreds of megabytes is not needed in order to tell whose it is.

use prost::encoding::{decode_key, decode_varint};

use super::convert::Convert;
use super::decode::message;
use super::scan::{Fields, low_bits};
use crate::image::ImageHead;
use crate::schema;

/// The beginning of an encoded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// Database of the source.
    pub db: u32,
    /// The key.
    pub key: &'a [u8],
    /// What is known of the key besides its value; none: it is neither an image nor a part of one.
    pub image: Option<ImageHead>,
    /// How many bytes of the encoding say this.
    pub bytes: usize,
}

/// The first field that is a body. What stands before it is known then.
const FIRST_BODY: u32 = 7;
const IMAGE: u32 = 8;
const IMAGE_PART: u32 = 9;

// === impl Beginning ===

impl<'a> Beginning<'a> {
    /// That of the encoding whose first bytes these are; none if more of them are needed, or it is no encoding.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (mut db, mut key) = (0, <&[u8]>::default());
        let mut fields = Fields::of(bytes);
        loop {
            let mut rest = fields.rest();
            let (number, _) = decode_key(&mut rest).ok()?;
            if number >= FIRST_BODY {
                let (image, rest) = body(number, rest)?;
                return Some(Self { db, key, image, bytes: bytes.len() - rest.len() });
            }
            let field = fields.next().ok()??;
            match field.number {
                4 => db = low_bits(field.varint().ok()?),
                6 => key = field.bytes().ok()?,
                _ => {}
            }
        }
    }
}

/// The head of the image that a body is, and what comes behind it.
fn body(number: u32, mut rest: &[u8]) -> Option<(Option<ImageHead>, &[u8])> {
    if !matches!(number, IMAGE | IMAGE_PART) {
        return Some((None, rest));
    }
    decode_varint(&mut rest).ok()?;
    let mut fields = Fields::of(rest);
    let head = fields.next().ok()?.filter(|field| field.number == 1)?.bytes().ok()?;
    let head = message::<schema::ImageHead>("head of an image", head).ok()?;
    Some((Some(ImageHead::convert(head).ok()?), fields.rest()))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::codec::encode;
    use crate::fragment::{Assembler, split};
    use crate::{Body, Event, codec, testing};

    fn encoded(event: &Event) -> BytesMut {
        let mut encoded = BytesMut::new();
        encode(event, &mut encoded).unwrap();
        encoded
    }

    fn head(event: &Event) -> Option<ImageHead> {
        match &event.body {
            Body::Image(image) => Some(image.head.clone()),
            Body::ImagePart(part) => Some(part.head.clone()),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn the_first_bytes_of_any_event_say_whose_it_is(event in testing::event()) {
            let encoded = encoded(&event);
            let found = Beginning::of(&encoded).unwrap();
            prop_assert_eq!((found.db, found.key), (event.db, &event.key[..]));
            prop_assert_eq!(&found.image, &head(&event));
            // No fewer bytes say it, and no more are needed.
            for bytes in 0..found.bytes {
                prop_assert_eq!(Beginning::of(&encoded[..bytes]), None);
            }
            prop_assert_eq!(Beginning::of(&encoded[..found.bytes]), Some(found));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let found = Beginning::of(&bytes);
            prop_assert!(found.is_none_or(|found| found.bytes <= bytes.len()));
        }

        #[test]
        fn pieces_give_the_beginning_and_nothing_else(event in testing::event()) {
            let encoded = encoded(&event).freeze();
            let mut assembler = Assembler::beginning(encoded.len());
            let mut given = None;
            for piece in split(encoded.clone(), &codec::Head::of(&event)) {
                let Body::Fragment(fragment) = piece.body else { panic!("no piece") };
                given = assembler.push(fragment, event.position).unwrap();
            }
            let expected = Beginning::of(&encoded).unwrap();
            prop_assert_eq!(given.unwrap(), encoded.slice(..expected.bytes));
        }
    }
}
