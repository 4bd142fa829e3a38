//! Payloads, also those that only certain servers make.

use bytes::Bytes;

use super::{Payload, parse, payload, payload_with_meta};
use crate::crc64::crc64;
use crate::rdb::sample::{len, text};
use crate::rdb::{Fault, ValueType};

/// A payload with the right checksum.
fn seal(body: &[u8], version: u16) -> Bytes {
    let covered = [body, &version.to_le_bytes()].concat();
    [&covered[..], &crc64(&covered).to_le_bytes()].concat().into()
}

#[test]
fn takes_apart_what_it_makes() {
    let made = payload(4, b"\x01\x01f\x01v", 9);
    assert_eq!(made, seal(b"\x04\x01\x01f\x01v", 9));
    let raw = Bytes::from_static(b"\x01\x01f\x01v");
    let expected = Payload { key_meta: None, kind: 4, raw, version: 9, checked: true };
    assert_eq!(parse(&made), Ok(expected.clone()));
    assert_eq!(expected.value_type(), Ok(ValueType::Hash));
}

#[test]
fn is_what_a_server_made() {
    // DUMP of the string "10" on Redis 7.0, as its documentation shows it for an older one.
    let made = payload(0, &[0xc0, 10], 6);
    assert_eq!(made, &b"\x00\xc0\n\x06\x00\xf8r?\xc5\xfb\xfb_("[..]);
}

#[test]
fn refuses_a_wrong_checksum_and_notes_a_missing_one() {
    let made = payload(0, b"\x01v", 11);
    for at in 0..made.len() {
        let mut wrong = made.to_vec();
        wrong[at] ^= 0x10;
        let fault = parse(&wrong.into()).unwrap_err().fault;
        assert!(matches!(fault, Fault::Checksum { .. }), "byte {at}");
    }
    let mut without = made.to_vec();
    without[5..].fill(0);
    assert!(!parse(&without.into()).unwrap().checked);
}

#[test]
fn refuses_what_is_too_short() {
    for len in 0..10 {
        let fault = parse(&vec![0; len].into()).unwrap_err().fault;
        assert_eq!(fault, Fault::Truncated);
    }
    assert_eq!(parse(&seal(b"", 11)).unwrap_err().fault, Fault::Truncated);
}

#[test]
fn finds_the_type_behind_metadata() {
    let meta = [&len(1)[..], b"spec", &len(2), &len(5), &len(0)].concat();
    let body = [&[243][..], &meta, &[0], &text("v")].concat();
    let parsed = parse(&seal(&body, 13)).unwrap();
    assert_eq!(payload_with_meta(&meta, 0, b"\x01v", 13), seal(&body, 13));
    assert_eq!((parsed.key_meta, parsed.kind), (Some(meta.into()), 0));
    assert_eq!(parsed.raw, "\x01v");
    let fault = parse(&seal(&body[..4], 13)).unwrap_err().fault;
    assert_eq!(fault, Fault::Truncated);
    // In payloads of other servers the byte is no opcode.
    assert_eq!(parse(&seal(&body, 80)).unwrap().kind, 243);
    assert_eq!(parse(&seal(&body, 12)).unwrap().kind, 243);
}

#[test]
fn resolves_the_type_by_the_version() {
    let value_type = |kind, version| parse(&payload(kind, &[0], version)).unwrap().value_type();
    assert_eq!(value_type(22, 80), Ok(ValueType::HashExpiryValkey));
    assert!(matches!(value_type(22, 12), Err(Fault::Unsupported { byte: 22, .. })));
    assert_eq!(value_type(24, 12), Ok(ValueType::HashExpiryRedis));
    assert!(matches!(value_type(24, 80), Err(Fault::UnknownType { byte: 24, .. })));
}

#[test]
fn cuts_off_the_notes_of_keydb() {
    let noted = [&text("v")[..], &[250], &text("mvcc-tstamp"), &text("123")].concat();
    let parsed = parse(&payload(0, &noted, 9)).unwrap();
    assert_eq!(parsed.without_notes().unwrap().raw, "\x01v");
    let plain = parse(&payload(0, b"\x01v", 9)).unwrap();
    assert_eq!(plain.clone().without_notes(), Ok(plain));
    let trailing = parse(&payload(0, b"\x01v!", 9)).unwrap();
    assert_eq!(trailing.without_notes().unwrap_err().fault, Fault::TrailingBytes(1));
}
