//! Cutting and putting together, and every refusal.

use bytes::{Bytes, BytesMut};
use wire::slot::Slot;

use super::{Assembler, Fragment, FragmentError, is_needed, split};
use crate::codec::{Head, decode, encode};
use crate::{Body, Command, Effect, Event, KeyArgs, Position, Seen, Shard, Stamp, limits};

const BUDGET_BYTES: usize = 16 << 20;

fn position(offset: u64) -> Position {
    Position::new(Shard(0), 1, offset)
}

/// A SET of a key and a value of these sizes, with the longest site names.
fn set(key_bytes: usize, value_bytes: usize) -> Event {
    let key = Bytes::from(vec![b'k'; key_bytes]);
    let value: Vec<u8> = (0..=255).cycle().take(value_bytes).collect();
    let args = vec![Bytes::from_static(b"SET"), key.clone(), Bytes::from(value)];
    let site = "s".repeat(limits::SITE_BYTES);
    Event {
        position: Position { shard: Shard(u32::MAX), epoch: u64::MAX, offset: u64::MAX, index: 7 },
        stamp: Stamp { time_ms: -1, counter: u32::MAX, site: site.clone() },
        db: u32::MAX,
        slot: Slot::of_key(&key),
        key,
        body: Body::Command(Command { args, effect: Effect::Overwrite, keys: KeyArgs::First }),
        seen: vec![Seen { site, position: Position::default() }],
    }
}

fn encoded(event: &Event) -> Bytes {
    let mut buf = BytesMut::new();
    encode(event, &mut buf).unwrap();
    buf.freeze()
}

/// Pieces of some bytes, cut at 4.
fn pieces() -> Vec<Fragment> {
    let whole = Bytes::from_static(b"0123456789");
    let (count, total_bytes, crc32c) = (3, 10, crc32c::crc32c(&whole));
    let piece = |(number, range)| {
        let data = whole.slice(range);
        Fragment { number, count, total_bytes, crc32c, data, snapshot_id: 0 }
    };
    [(0, 0..4), (1, 4..8), (2, 8..10)].map(piece).to_vec()
}

/// Pushes pieces at their positions; the first error, or what the last one gave.
fn push_all(pieces: &[(Fragment, Position)]) -> Result<Option<Bytes>, FragmentError> {
    let mut assembler = Assembler::new(BUDGET_BYTES);
    let mut last = None;
    for (piece, position) in pieces {
        last = assembler.push(piece.clone(), *position)?;
    }
    Ok(last)
}

fn at(offset: u64, pieces: &[Fragment]) -> Vec<(Fragment, Position)> {
    pieces.iter().map(|piece| (piece.clone(), position(offset))).collect()
}

#[test]
fn gives_the_event_back_through_records_that_fit() {
    let mib = 1 << 20;
    let sizes = [(10, 2 * mib), (3 * mib, 10), (limits::RECORD_KEY_BYTES, mib), (2 * mib, 2 * mib)];
    for (key_bytes, value_bytes) in sizes {
        let event = set(key_bytes, value_bytes);
        let whole = encoded(&event);
        assert!(is_needed(whole.len()));
        let mut assembler = Assembler::new(BUDGET_BYTES);
        let mut result = None;
        for piece in split(whole.clone(), &Head::of(&event)) {
            assert_eq!(result, None);
            assert_eq!(
                (piece.position, piece.slot, piece.db),
                (event.position, event.slot, event.db)
            );
            assert!(piece.key.is_empty() && piece.seen.is_empty());
            let record = encoded(&piece);
            assert!(record.len() <= limits::MAX_EVENT_BYTES, "{} bytes", record.len());
            let Body::Fragment(fragment) = decode(record).unwrap().body else { panic!() };
            result = assembler.push(fragment, piece.position).unwrap();
        }
        assert!(!assembler.is_open());
        assert_eq!(decode(result.unwrap()).unwrap(), event);
    }
}

#[test]
fn cuts_exactly_at_the_size_of_a_piece() {
    let head_of = set(1, 1);
    for (bytes, count) in [(0, 1), (1, 1), (800_000, 1), (800_001, 2), (1_600_000, 2)] {
        let pieces: Vec<_> = split(Bytes::from(vec![7; bytes]), &Head::of(&head_of)).collect();
        assert_eq!(pieces.len(), count, "{bytes} bytes");
        let fragments = pieces.into_iter().map(|event| match event.body {
            Body::Fragment(fragment) => (fragment, position(1)),
            other => panic!("{other:?}"),
        });
        let whole = push_all(&fragments.collect::<Vec<_>>()).unwrap().unwrap();
        assert_eq!(whole.len(), bytes);
    }
}

#[test]
fn begins_anew_at_piece_zero() {
    let pieces = pieces();
    let whole = Bytes::from_static(b"0123456789");
    let again = [at(5, &pieces[..2]), at(5, &pieces)].concat();
    assert_eq!(push_all(&again), Ok(Some(whole.clone())));
    let elsewhere = [at(5, &pieces[..2]), at(6, &pieces)].concat();
    assert_eq!(push_all(&elsewhere), Ok(Some(whole)));
}

#[test]
fn refuses_gaps() {
    let pieces = pieces();
    let gap = |expected, found| Err(FragmentError::Gap { position: position(5), expected, found });
    assert_eq!(push_all(&at(5, &pieces[1..])), gap(0, 1));
    let without_second = [pieces[0].clone(), pieces[2].clone()];
    assert_eq!(push_all(&at(5, &without_second)), gap(1, 2));
    let twice = [pieces[0].clone(), pieces[1].clone(), pieces[1].clone()];
    assert_eq!(push_all(&at(5, &twice)), gap(2, 1));
    let after_the_end = [&pieces[..], &pieces[2..]].concat();
    assert_eq!(push_all(&at(5, &after_the_end)), gap(0, 2));
}

#[test]
fn refuses_pieces_of_another_event() {
    let mixed = [at(5, &pieces()[..1]), at(6, &pieces()[1..])].concat();
    let (expected, found) = (position(5), position(6));
    assert_eq!(push_all(&mixed), Err(FragmentError::OtherEvent { number: 1, expected, found }));
}

#[test]
fn refuses_pieces_of_another_encoding() {
    for change in [
        |piece: &mut Fragment| piece.crc32c ^= 1,
        |piece: &mut Fragment| piece.count += 1,
        |piece: &mut Fragment| piece.total_bytes += 1,
    ] {
        let mut pieces = pieces();
        change(&mut pieces[1]);
        let refused = FragmentError::OtherEncoding { position: position(5) };
        assert_eq!(push_all(&at(5, &pieces)), Err(refused));
    }
}

#[test]
fn refuses_a_wrong_checksum() {
    let mut pieces = pieces();
    pieces[1].data = Bytes::from_static(b"4x67");
    let refused = push_all(&at(5, &pieces)).unwrap_err();
    let (expected, found) = (crc32c::crc32c(b"0123456789"), crc32c::crc32c(b"01234x6789"));
    assert_eq!(refused, FragmentError::Checksum { position: position(5), expected, found });
}

#[test]
fn refuses_more_and_fewer_bytes_than_promised() {
    let size = |found_bytes| {
        Err(FragmentError::Size { position: position(5), total_bytes: 10, found_bytes })
    };
    let mut more = pieces();
    more[1].data = Bytes::from_static(b"4567890");
    assert_eq!(push_all(&at(5, &more)), size(11));
    let mut fewer = pieces();
    fewer[2].data = Bytes::new();
    assert_eq!(push_all(&at(5, &fewer)), size(8));
}

#[test]
fn refuses_counts_that_cannot_be() {
    for count in [0, limits::MAX_FRAGMENTS + 1] {
        let mut first = pieces().swap_remove(0);
        first.count = count;
        let refused = FragmentError::Count { number: 0, count, limit: limits::MAX_FRAGMENTS };
        assert_eq!(push_all(&at(5, &[first])), Err(refused));
    }
}

#[test]
fn holds_no_more_than_its_budget() {
    let first = pieces().swap_remove(0);
    let refused = Assembler::new(9).push(first.clone(), position(5));
    let over = FragmentError::OverBudget { total_bytes: 10, budget_bytes: 9 };
    assert_eq!(refused, Err(over));
    assert_eq!(Assembler::new(10).push(first, position(5)), Ok(None));
}

#[test]
fn goes_on_after_a_refusal() {
    let mut assembler = Assembler::new(BUDGET_BYTES);
    let pieces = pieces();
    assembler.push(pieces[0].clone(), position(5)).unwrap();
    assembler.push(pieces[2].clone(), position(5)).unwrap_err();
    assert!(!assembler.is_open());
    let mut whole = None;
    for piece in pieces {
        whole = assembler.push(piece, position(5)).unwrap();
    }
    assert_eq!(whole.as_deref(), Some(&b"0123456789"[..]));
}
