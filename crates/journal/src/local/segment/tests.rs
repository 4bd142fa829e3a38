//! Headers and footers: what is stored is read, and nothing else is taken for it.

use proptest::prelude::*;

use super::*;

const SALT: u32 = 99;

fn any_mark(partitions: usize) -> impl Strategy<Value = Mark> {
    let next = prop::collection::vec(any::<u64>(), partitions);
    (any::<u64>(), any::<u64>(), any::<i64>(), next)
        .prop_map(|(position, seq, max_ms, next)| Mark { position, seq, max_ms, next: next.into() })
}

fn any_footer() -> impl Strategy<Value = (Mark, i64, Vec<Mark>)> {
    (1..5_usize).prop_flat_map(|partitions| {
        let marks = prop::collection::vec(any_mark(partitions), 0..6);
        (any_mark(partitions), any::<i64>(), marks)
    })
}

fn any_header() -> impl Strategy<Value = SegmentHeader> {
    let base = prop::collection::vec(any::<u64>(), 0..6);
    (any::<u64>(), any::<u64>(), any::<i64>(), base).prop_map(
        |(incarnation, base_seq, created_ms, base)| SegmentHeader {
            incarnation,
            base_seq,
            created_ms,
            base: base.into(),
        },
    )
}

proptest! {
    #[test]
    fn a_header_comes_back(header in any_header(), more: Vec<u8>) {
        let mut bytes = header.encode();
        prop_assert_eq!(bytes.len() as u64, header.file_bytes());
        bytes.extend_from_slice(&more);
        prop_assert_eq!(SegmentHeader::parse(&bytes), Ok(header));
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed(header in any_header(), place: prop::sample::Index) {
        let mut bytes = header.encode();
        let bit = place.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(SegmentHeader::parse(&bytes).is_err());
    }

    #[test]
    fn a_footer_comes_back((end, min_ms, marks) in any_footer()) {
        let bytes = Footer::encode(&end, min_ms, &marks, SALT);
        let trailer = Trailer::parse(bytes.last_chunk().unwrap(), SALT).unwrap();
        prop_assert_eq!(trailer.footer_len as usize, bytes.len());
        prop_assert_eq!((trailer.end_seq, trailer.min_ms), (end.seq, min_ms));
        prop_assert_eq!(trailer.max_ms, end.max_ms);
        prop_assert_eq!(Footer::parse(&bytes, SALT), Some(Footer { end: end.next, marks }));
        prop_assert_eq!(Footer::parse(&bytes, SALT + 1), None);
    }

    #[test]
    fn any_flipped_bit_of_a_footer_is_noticed(
        (end, min_ms, marks) in any_footer(), place: prop::sample::Index,
    ) {
        let mut bytes = Footer::encode(&end, min_ms, &marks, SALT);
        let bit = place.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Footer::parse(&bytes, SALT), None);
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut bytes: Vec<u8>) {
        prop_assert!(SegmentHeader::parse(&bytes).is_err());
        prop_assert!(Footer::parse(&bytes, SALT).is_none());
        // Past the checksums as well.
        bytes.splice(..0, SEGMENT_MAGIC.into_iter().chain(VERSION.to_le_bytes()));
        prop_assert!(SegmentHeader::parse(&bytes).is_err());
        bytes.splice(..0, FOOTER_MAGIC);
        let trailer = Trailer {
            footer_len: u32::try_from(bytes.len() + TRAILER_BYTES).unwrap(),
            footer_crc: crc32c::crc32c_append(SALT, &bytes),
            end_seq: 0,
            min_ms: 0,
            max_ms: 0,
        };
        trailer.write(&mut bytes, SALT);
        let footer = Footer::parse(&bytes, SALT);
        prop_assert!(footer.is_none_or(|footer| footer.marks.len() < bytes.len()));
    }
}

#[test]
fn a_later_version_is_named() {
    let header =
        SegmentHeader { incarnation: 1, base_seq: 0, created_ms: 0, base: Arc::from([0, 0]) };
    let mut bytes = header.encode();
    bytes[8] = 2;
    assert_eq!(SegmentHeader::parse(&bytes), Err(HeaderDefect::Version(2)));
}
