//! Damaged files and values end in an error or in other items, never in a panic.

use bytes::Bytes;
use wire::rdb::{Limits, Progress, ValueType, dump, value};

use crate::fixture::{ALL_LARGE, SERVERS, entries, feed, load};

/// A small generator with a fixed seed: the same damage in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    fn damage(&mut self, bytes: &[u8]) -> Bytes {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 0x40, 0x7f, 0x80, 0x81, 0xc3, 0xfe, 0xff][self.below(8)],
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, u8::try_from(self.below(256)).expect("a byte")),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes.into()
    }
}

#[test]
fn damaged_files_are_refused_or_incomplete() {
    let mut chance = Chance(1);
    for (server, _) in SERVERS {
        let file = load(server).file;
        for round in 0..300 {
            let damaged = chance.damage(&file);
            let limits = if round % 2 == 0 { Limits::default() } else { ALL_LARGE };
            let chunk = [damaged.len(), 1 + chance.below(5000)][chance.below(2)];
            let complete = feed(&damaged, chunk, limits, drop) == Ok(Progress::End);
            // Where the damage lies behind the end, or wrote what stood there.
            assert!(!complete || damaged.starts_with(&file), "{server} round {round}");
        }
    }
}

#[test]
fn damaged_values_do_not_panic() {
    let mut chance = Chance(2);
    let mut refused = 0;
    for (server, _) in SERVERS {
        for (_, entry) in entries(&load(server).file) {
            for _ in 0..60 {
                let damaged = chance.damage(&entry.raw);
                refused += usize::from(value::decode(entry.head.kind, &damaged).is_err());
            }
        }
    }
    assert!(refused > 5000, "only {refused} damaged values were refused");
}

#[test]
fn values_of_another_type_do_not_panic() {
    for (server, _) in SERVERS {
        for (_, entry) in entries(&load(server).file) {
            for byte in 0..=26 {
                for flavour in [wire::rdb::Flavour::Redis, wire::rdb::Flavour::Valkey] {
                    let Ok(kind) = ValueType::from_byte(byte, flavour) else { continue };
                    let right = kind == entry.head.kind;
                    assert!(value::decode(kind, &entry.raw).is_ok() || !right);
                }
            }
        }
    }
}

#[test]
fn payloads_with_a_flipped_bit_are_refused() {
    let mut chance = Chance(3);
    for (_, entry) in entries(&load("redis-8.2").file) {
        let payload = dump::payload(entry.head.kind.byte(), &entry.raw, 12);
        for _ in 0..20 {
            let mut damaged = payload.to_vec();
            let at = chance.below(damaged.len());
            damaged[at] ^= 1 << chance.below(8);
            assert!(!dump::parse(&damaged.into()).is_ok_and(|parsed| parsed.checked));
        }
    }
}
