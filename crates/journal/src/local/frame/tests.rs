//! Frames: what is packed comes back, and nothing else is taken for it.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::local::format::{RECORD_OVERHEAD_BYTES, salt_of};
use crate::{Append, Partition};

const SALT: u32 = 77;

type Plain = (u16, i64, Vec<u8>);

fn any_records() -> impl Strategy<Value = Vec<Plain>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (0..3000_usize).prop_map(|length| vec![b'x'; length]),
    ];
    prop::collection::vec((any::<u16>(), any::<i64>(), payload), 1..20)
}

fn block_of(records: &[Plain]) -> Block {
    let mut block = Block::new(5, Arc::from([]), records[0].1, None);
    for (partition, timestamp_ms, payload) in records {
        let before = block.bytes.len();
        block.push(&Append {
            partition: Partition(*partition),
            key: Bytes::new(),
            timestamp_ms: *timestamp_ms,
            kind: "test",
            db: 0,
            payload: payload.clone().into(),
        });
        assert!(block.bytes.len() - before <= payload.len() + RECORD_OVERHEAD_BYTES);
    }
    block
}

fn pack(records: &[Plain], compression: Compression) -> Vec<u8> {
    let mut out = Vec::new();
    Packer::new(compression, SALT).pack(&block_of(records), 3, &mut out);
    out
}

fn unpack(bytes: &[u8], salt: u32) -> Result<(FrameHeader, Vec<Plain>), Defect> {
    let header = FrameHeader::parse(bytes, salt)?;
    let body = bytes.get(FRAME_HEADER_BYTES..header.frame_bytes()).ok_or(Defect::Short)?;
    header.check(body, salt)?;
    let mut records = header.unpack(Bytes::copy_from_slice(body))?;
    let mut plain = Vec::new();
    while let Some(record) = records.next_record().map_err(Defect::Damaged)? {
        let payload = records.payload(&record).to_vec();
        plain.push((record.partition, record.timestamp_ms, payload));
    }
    Ok((header, plain))
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(records in any_records(), packed: bool, more: Vec<u8>) {
        let compression = if packed { Compression::Lz4 } else { Compression::None };
        let mut bytes = pack(&records, compression);
        bytes.extend_from_slice(&more);
        let (header, found) = unpack(&bytes, SALT).unwrap();
        prop_assert_eq!(header.frame_bytes() + more.len(), bytes.len());
        prop_assert_eq!((header.base_seq, header.durable_seq), (5, 3));
        prop_assert_eq!(header.end_seq(), 5 + found.len() as u64);
        prop_assert_eq!(header.min_ms, records.iter().map(|r| r.1).min().unwrap());
        prop_assert_eq!(header.max_ms, records.iter().map(|r| r.1).max().unwrap());
        prop_assert_eq!(found, records);
    }

    #[test]
    fn any_flipped_bit_is_noticed(records in any_records(), place: prop::sample::Index) {
        let mut bytes = pack(&records, Compression::Lz4);
        let bit = place.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(unpack(&bytes, SALT).is_err());
    }

    #[test]
    fn any_cut_is_noticed(records in any_records(), place: prop::sample::Index) {
        let bytes = pack(&records, Compression::Lz4);
        let cut = &bytes[..place.index(bytes.len())];
        prop_assert!(matches!(unpack(cut, SALT), Err(Defect::Short)), "{:?}", unpack(cut, SALT));
    }

    #[test]
    fn a_frame_of_another_stream_is_refused(records in any_records(), one: u64, other: u64) {
        prop_assume!(salt_of(one) != salt_of(other));
        let mut bytes = Vec::new();
        Packer::new(Compression::Lz4, salt_of(one)).pack(&block_of(&records), 0, &mut bytes);
        prop_assert!(unpack(&bytes, salt_of(other)).is_err());
    }

    /// Behind right checksums, so that the rest of the parser is reached.
    #[test]
    fn any_body_is_read_without_panic(
        body: Vec<u8>, codec in 0_u8..3, raw_len in 0_u32..5000, count in 0_u32..1500,
    ) {
        let header = FrameHeader {
            codec,
            stored_len: u32::try_from(body.len()).unwrap(),
            raw_len,
            count,
            body_crc: crc32c::crc32c_append(SALT, &body),
            base_seq: 0,
            durable_seq: 0,
            base_ms: 0,
            min_ms: 0,
            max_ms: 0,
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes, SALT);
        bytes.extend_from_slice(&body);
        if let Ok((_, records)) = unpack(&bytes, SALT) {
            prop_assert_eq!(records.len(), usize::try_from(count).unwrap());
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        prop_assert!(unpack(&bytes, SALT).is_err());
    }
}

#[test]
fn a_header_cannot_make_a_reader_allocate_more_than_the_limit() {
    let records = [(0, 0, vec![1; 200])];
    let header = FrameHeader::parse(&pack(&records, Compression::None), SALT).unwrap();
    let beyond = u32::try_from(BLOCK_LIMIT_BYTES + 1).unwrap();
    for lie in [
        FrameHeader { raw_len: beyond, codec: CODEC_LZ4, ..header.clone() },
        FrameHeader { stored_len: beyond, raw_len: beyond, ..header.clone() },
        FrameHeader { count: u32::MAX, ..header.clone() },
        FrameHeader { base_seq: u64::MAX, ..header },
    ] {
        let mut bytes = Vec::new();
        lie.write(&mut bytes, SALT);
        let refused = FrameHeader::parse(&bytes, SALT);
        assert!(matches!(refused, Err(Defect::Damaged(_))), "{lie:?}: {refused:?}");
    }
}

#[test]
fn bytes_that_do_not_pack_are_stored_as_they_are_and_not_tried_each_time() {
    let mut random = runtime::Random::from_seed(1);
    let noise: Vec<u8> =
        std::iter::repeat_with(|| random.next_u64().to_le_bytes()).flatten().take(5000).collect();
    let same = block_of(&[(0, 0, vec![b'x'; 5000])]);
    let mut packer = Packer::new(Compression::Lz4, SALT);
    let mut out = Vec::new();
    assert_eq!(packer.pack(&same, 0, &mut out).codec, CODEC_LZ4);
    assert_eq!(packer.pack(&block_of(&[(0, 0, noise)]), 0, &mut out).codec, CODEC_NONE);
    for _ in 0..RUN_OF_UNPACKED {
        assert_eq!(packer.pack(&same, 0, &mut out).codec, CODEC_NONE);
    }
    assert_eq!(packer.pack(&same, 0, &mut out).codec, CODEC_LZ4);
}
