//! Every byte in both numberings: read as what, or refused by which name.

use super::{Flavour, ValueType};
use crate::rdb::Fault;

/// Types that both projects share, with the first version that has them.
const SHARED: [(u8, ValueType, u16); 20] = [
    (0, ValueType::String, 6),
    (1, ValueType::List, 6),
    (2, ValueType::Set, 6),
    (3, ValueType::ZsetText, 6),
    (4, ValueType::Hash, 6),
    (5, ValueType::Zset, 8),
    (7, ValueType::Module, 8),
    (9, ValueType::HashZipmap, 6),
    (10, ValueType::ListZiplist, 6),
    (11, ValueType::SetIntset, 6),
    (12, ValueType::ZsetZiplist, 6),
    (13, ValueType::HashZiplist, 6),
    (14, ValueType::ListQuicklist, 7),
    (15, ValueType::Stream1, 9),
    (16, ValueType::HashListpack, 10),
    (17, ValueType::ZsetListpack, 10),
    (18, ValueType::ListQuicklist2, 10),
    (19, ValueType::Stream2, 10),
    (20, ValueType::SetListpack, 11),
    (21, ValueType::Stream3, 11),
];

/// Types of one project's own.
const OWN: [(u8, Flavour, ValueType, u16); 4] = [
    (22, Flavour::Valkey, ValueType::HashExpiryValkey, 80),
    (24, Flavour::Redis, ValueType::HashExpiryRedis, 12),
    (25, Flavour::Redis, ValueType::HashExpiryListpack, 12),
    (26, Flavour::Redis, ValueType::Stream4, 13),
];

/// Refused, but known.
const NAMED: [(u8, Flavour); 16] = [
    (6, Flavour::Redis),
    (6, Flavour::Valkey),
    (22, Flavour::Redis),
    (23, Flavour::Redis),
    (23, Flavour::Valkey),
    (27, Flavour::Redis),
    (28, Flavour::Redis),
    (29, Flavour::Redis),
    (30, Flavour::Redis),
    (31, Flavour::Redis),
    (32, Flavour::Redis),
    (33, Flavour::Redis),
    (64, Flavour::Redis),
    (242, Flavour::Redis),
    (242, Flavour::Valkey),
    (246, Flavour::Redis),
];

#[test]
fn every_byte_is_a_type_or_is_refused_by_its_name() {
    for flavour in [Flavour::Redis, Flavour::Valkey] {
        for byte in 0..=u8::MAX {
            let shared = SHARED.iter().find(|known| known.0 == byte).map(|known| known.1);
            let own = OWN.iter().find(|known| (known.0, known.1) == (byte, flavour));
            let kind = shared.or(own.map(|known| known.2));
            let named = NAMED.contains(&(byte, flavour)) || byte == 246;
            match ValueType::from_byte(byte, flavour) {
                Ok(found) => assert_eq!((Some(found), found.byte()), (kind, byte)),
                Err(Fault::Unsupported { byte: refused, name }) => {
                    assert!(named && refused == byte && !name.is_empty(), "{byte} {flavour}");
                }
                Err(fault) => {
                    assert_eq!(fault, Fault::UnknownType { byte, flavour });
                    assert!(kind.is_none() && !named, "{byte} {flavour}");
                }
            }
        }
    }
}

#[test]
fn every_type_knows_the_first_version_that_has_it() {
    let shared = SHARED.iter().map(|(_, kind, version)| (kind, version));
    let own = OWN.iter().map(|(_, _, kind, version)| (kind, version));
    for (kind, version) in shared.chain(own) {
        assert_eq!(kind.version_first(), *version, "{kind:?}");
    }
}
