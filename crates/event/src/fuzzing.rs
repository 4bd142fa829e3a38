//! What fuzz targets run, and what must hold whatever the bytes are.
//!
//! The targets under `tests/fuzz` are one line each over these functions. The same functions run
//! over the targets' seeds as ordinary tests, so that a seed that once found something stays found.

use bytes::{Bytes, BytesMut};

use crate::codec::{Glance, GlanceBody};
use crate::fragment::Assembler;
use crate::image::{Image, ImageHead, ImageValue};
use crate::quarantine::{Piece, Pieces};
use crate::{Body, Command, Event, KeyArgs, codec, text};

/// Bytes decoded as an event: what there is can be encoded, decodes to the same, and can be shown.
///
/// # Panics
/// When that does not hold.
pub fn event(data: &[u8]) {
    let glance = Glance::at(data);
    let Ok(event) = codec::decode(Bytes::copy_from_slice(data)) else {
        assert_eq!(glance, None);
        return;
    };
    if let Some(glance) = glance {
        assert_same(&glance, &event);
    }
    let again = encode(&event);
    let twice = codec::decode(again.clone()).expect("what was encoded");
    // Compared by encoding: a score that is no number does not equal itself.
    assert_eq!(encode(&twice), again);
    assert!(text::line(&event, 80).chars().count() <= 80);
    assert!(text::json(&event).starts_with('{'));
    if let Body::Fragment(fragment) = event.body {
        const BUDGET_BYTES: usize = 1 << 20;
        let total_bytes = fragment.total_bytes;
        let whole = Assembler::new(BUDGET_BYTES).push(fragment, event.position);
        assert!(whole.ok().flatten().is_none_or(|whole| whole.len() as u64 == total_bytes));
    }
}

/// Bytes decoded as a checkpoint: what there is can be encoded, and decodes to the same.
///
/// # Panics
/// When that does not hold.
pub fn checkpoint(data: &[u8]) {
    let Ok(checkpoint) = codec::checkpoint::decode(data) else { return };
    let mut again = BytesMut::new();
    codec::checkpoint::encode(&checkpoint, &mut again).expect("what was decoded");
    assert_eq!(codec::checkpoint::decode(&again), Ok(checkpoint));
}

/// What a glance shows is what is decoded.
///
/// # Panics
/// When it is not.
pub fn assert_same(glance: &Glance<'_>, event: &Event) {
    let Glance { position, db, key, body } = *glance;
    assert_eq!((position, db, key), (event.position, event.db, &event.key[..]));
    let same = match (body, &event.body) {
        (GlanceBody::Command(words), Body::Command(Command { args, keys, .. })) => {
            *keys == KeyArgs::First && words.words().iter().eq(args.iter())
        }
        (GlanceBody::Text(text), Body::Image(Image { head, value: ImageValue::Text(value) })) => {
            let ImageHead { flavour, rdb_version, .. } = *head;
            let nothing_more = ImageHead {
                type_byte: 0,
                flavour,
                rdb_version,
                expire_at_ms: None,
                idle_s: None,
                freq: None,
                snapshot_id: 0,
            };
            text == value && *head == nothing_more
        }
        _ => false,
    };
    assert!(same && event.seen.is_empty(), "{glance:?} is {event:?}");
}

/// Bytes decoded as a record of a dead letter: what there is can be encoded, and reads back.
///
/// # Panics
/// When it does not.
pub fn letter(data: &[u8]) {
    let Ok(piece) = Piece::decode(Bytes::copy_from_slice(data)) else { return };
    assert!(piece.number < piece.count);
    let (mut alone, mut whole) = (Pieces::default(), Pieces::default());
    let stands_alone = piece.count == 1;
    assert_eq!(alone.push(0, piece.clone()), stands_alone.then(|| (0, piece.letter.clone())));
    // Cut by its own rule: whatever came before, the letter is put together.
    let _stray = whole.push(0, piece.clone());
    let records = piece.letter.encode();
    let found = records
        .into_iter()
        .filter_map(|record| whole.push(1, Piece::decode(record).expect("what was encoded")));
    assert_eq!(found.collect::<Vec<_>>(), [(1, piece.letter)]);
}

fn encode(event: &Event) -> Bytes {
    let mut buf = BytesMut::new();
    codec::encode(event, &mut buf).expect("what was decoded");
    buf.freeze()
}

#[cfg(test)]
#[path = "../../../tests/fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::testing;

    #[test]
    fn events_survive_their_seeds() {
        seeds::run("event", event);
    }

    #[test]
    fn checkpoints_survive_their_seeds() {
        seeds::run("checkpoint", checkpoint);
    }

    #[test]
    fn letters_survive_their_seeds() {
        seeds::run("letter", letter);
    }

    proptest! {
        #[test]
        fn events_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            event(&bytes);
            checkpoint(&bytes);
            letter(&bytes);
        }

        #[test]
        fn events_survive_a_flipped_bit_and_a_cut(
            original in testing::event(),
            at in any::<proptest::sample::Index>(),
            bit in 0..8u8,
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = encode(&original).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            event(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            event(&bytes);
        }

        #[test]
        fn checkpoints_survive_a_flipped_bit_and_a_cut(
            original in testing::checkpoint(),
            at in any::<proptest::sample::Index>(),
            bit in 0..8u8,
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = BytesMut::new();
            codec::checkpoint::encode(&original, &mut bytes).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            checkpoint(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            checkpoint(&bytes);
        }
    }
}
