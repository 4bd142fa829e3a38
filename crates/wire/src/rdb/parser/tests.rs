//! The parser against files written by hand.

use bytes::Bytes;

use crate::rdb::sample::{entry, file, len, parse, parse_some, text, texts};
use crate::rdb::{
    Entry, EntryHead, Fault, Flavour, Item, Limits, ModuleId, Parser, Part, Progress, ValueType,
    sample,
};

fn head(key: &'static str, kind: ValueType) -> EntryHead {
    let key = Bytes::from_static(key.as_bytes());
    EntryHead { key, kind, expire_at_ms: None, idle_s: None, freq: None, key_meta: None }
}

fn items(file: &[u8]) -> Vec<Item> {
    parse(file, &[], Limits::default()).unwrap()
}

fn fault(file: &[u8]) -> (u64, Fault) {
    let error = parse(file, &[], Limits::default()).unwrap_err();
    (error.offset, error.fault)
}

fn with_all_records() -> Vec<u8> {
    let body = [
        [&[250][..], &text("redis-ver"), &text("8.6.0")].concat(),
        [&[250][..], &text("redis-bits"), &[0xc0, 64]].concat(),
        [&[247][..], &len(7), &len(2), &len(1), &len(0)].concat(),
        [&[245][..], &text("#!lua name=l")].concat(),
        [&[254][..], &len(70_000)].concat(),
        [&[251][..], &len(2), &len(1)].concat(),
        [&[244][..], &len(16_383), &len(4), &len(5)].concat(),
        [&[252][..], &(-5_i64).to_le_bytes(), &[249, 200]].concat(),
        [&[243][..], &len(1), b"spec", &len(5), &text("m"), &len(0)].concat(),
        entry(0, "a", &text("one")),
        [&[248][..], &len(9), &[253], &7_i32.to_le_bytes()].concat(),
        entry(1, "b", &texts(2, &["x", "y"])),
        entry(0, "c", &[0xc1, 0x39, 0x30]),
    ];
    file("REDIS0013", &body.concat())
}

#[test]
fn gives_every_record_in_order() {
    let mut a = head("a", ValueType::String);
    (a.expire_at_ms, a.freq) = (Some(-5), Some(200));
    a.key_meta = Some(Bytes::from_static(b"\x01spec\x05\x01m\x00"));
    let mut b = head("b", ValueType::List);
    (b.expire_at_ms, b.idle_s) = (Some(7000), Some(9));
    let expected = vec![
        Item::Header { flavour: Flavour::Redis, version: 13 },
        Item::Aux { key: "redis-ver".into(), value: "8.6.0".into() },
        Item::Aux { key: "redis-bits".into(), value: "64".into() },
        Item::ModuleAux { module: ModuleId(7), raw: Bytes::from_static(&[7, 2, 1, 0]) },
        Item::Function("#!lua name=l".into()),
        Item::SelectDb(70_000),
        Item::ResizeDb { keys: 2, expires: 1 },
        Item::SlotInfo { slot: 16_383, keys: 4, expires: 5 },
        Item::Entry(Entry { head: a, raw: "\x03one".into() }),
        Item::Entry(Entry { head: b, raw: "\x02\x01x\x01y".into() }),
        Item::Entry(Entry {
            head: head("c", ValueType::String),
            raw: Bytes::from_static(&[0xc1, 0x39, 0x30]),
        }),
    ];
    assert_eq!(items(&with_all_records()), expected);
}

#[test]
fn does_not_depend_on_how_the_file_is_cut() {
    let file = with_all_records();
    let whole = items(&file);
    for size in 1..file.len() {
        let cuts = vec![size; file.len()];
        assert_eq!(parse(&file, &cuts, Limits::default()).unwrap(), whole, "chunks of {size}");
    }
}

#[test]
fn asks_for_more_wherever_the_file_is_cut_off() {
    let file = with_all_records();
    for end in 0..file.len() {
        let (_, progress) = parse_some(&file[..end], &[], Limits::default()).unwrap();
        assert_eq!(progress, Progress::NeedMore, "cut off at {end}");
    }
}

#[test]
fn reads_the_shared_bytes_by_the_magic() {
    let import = [&[243][..], &text("job"), &len(1), &len(5), &len(9)].concat();
    let hash = [&len(1)[..], &text("f"), &text("v"), &(-1_i64).to_le_bytes()].concat();
    let valkey = [import, entry(22, "h", &hash)].concat();
    let expected = [
        Item::Header { flavour: Flavour::Valkey, version: 80 },
        Item::SlotImport { job: "job".into(), ranges: vec![(5, 9)] },
        Item::Entry(Entry {
            head: head("h", ValueType::HashExpiryValkey),
            raw: Bytes::from(hash.clone()),
        }),
    ];
    assert_eq!(items(&file("VALKEY080", &valkey)), expected);

    let (offset, fault) = fault(&file("REDIS0012", &entry(22, "h", &hash)));
    assert_eq!(offset, 9);
    assert!(matches!(fault, Fault::Unsupported { byte: 22, .. }), "{fault}");
}

#[test]
fn refuses_what_it_does_not_know_with_its_place() {
    let unknown = Fault::UnknownType { byte: 99, flavour: Flavour::Redis };
    let body = [entry(0, "k", &text("v")), entry(99, "k", &text("v"))].concat();
    assert_eq!(fault(&file("REDIS0011", &body)), (14, unknown));
    let byte = 243;
    let unknown = Fault::UnknownType { byte, flavour: Flavour::Redis };
    assert_eq!(fault(&file("REDIS0012", &[byte])), (9, unknown));
}

/// What a person reads of the first error in a file with this body.
fn told(magic: &str, body: &[u8]) -> String {
    parse(&file(magic, body), &[], Limits::default()).unwrap_err().to_string()
}

#[test]
fn an_error_names_the_key_and_the_version() {
    let long = "k".repeat(1024);
    for (magic, body, expected) in [
        (
            "REDIS0012",
            entry(33, "limiter", &[0]),
            "type or opcode 33 (rate limiter of a Redis 8.8 release candidate) is not supported \
             at byte 9 of a file REDIS 12, key \"limiter\"",
        ),
        (
            "REDIS0013",
            [entry(0, "a", &text("v")), entry(99, "\u{1}b", &[0])].concat(),
            "unknown type or opcode 99 in a REDIS file at byte 14 of a file REDIS 13, \
             key \"\\x01b\"",
        ),
        (
            "VALKEY080",
            [entry(0, "a", &text("v")), entry(7, "m", &[7, 6])].concat(),
            "unknown module opcode 6 at byte 18 of a file VALKEY 80, key \"m\"",
        ),
        (
            "VALKEY080",
            vec![242, 1, 2],
            "type or opcode 242 (inline update of Valkey 9.2) is not supported at byte 9 of a \
             file VALKEY 80",
        ),
        // A number, a broken string, and one that is not worth waiting for.
        (
            "REDIS0011",
            vec![99, 0xc0, 7],
            "unknown type or opcode 99 in a REDIS file at byte 9 of a file REDIS 11, key \"7\"",
        ),
        (
            "REDIS0011",
            vec![99, 0xc9, 7],
            "unknown type or opcode 99 in a REDIS file at byte 9 of a file REDIS 11",
        ),
        (
            "REDIS0011",
            [&[99, 0x80][..], &2_000_000_u32.to_be_bytes()].concat(),
            "unknown type or opcode 99 in a REDIS file at byte 9 of a file REDIS 11",
        ),
    ] {
        let whole = told(magic, &body);
        assert_eq!(whole, expected);
        let limits = Limits { raw_value_bytes: 0, ..Limits::default() };
        let in_pieces = parse(&file(magic, &body), &[1; 2000], limits).unwrap_err();
        assert_eq!(in_pieces.to_string(), expected, "byte by byte, every value large");
    }
    let message = told("REDIS0011", &entry(99, long.leak(), &[0]));
    assert!(message.ends_with(&format!("key \"{}…\"", "k".repeat(100))), "{message}");
}

#[test]
fn an_error_behind_a_key_does_not_name_it() {
    let body = [entry(0, "a", &text("v")), vec![254, 0xc0]].concat();
    let message = told("REDIS0011", &body);
    assert_eq!(message, "invalid string encoding 0 at byte 15 of a file REDIS 11");
}

#[test]
fn refuses_other_magic_and_versions() {
    assert_eq!(fault(b"RADIS0011"), (0, Fault::Magic(*b"RADIS0011")));
    assert_eq!(fault(b"REDIS00a1"), (0, Fault::Magic(*b"REDIS00a1")));
    for (magic, flavour, version) in [
        (b"REDIS0000", Flavour::Redis, 0),
        (b"REDIS0014", Flavour::Redis, 14),
        (b"VALKEY081", Flavour::Valkey, 81),
        (b"VALKEY011", Flavour::Valkey, 11),
    ] {
        assert_eq!(fault(magic), (0, Fault::Version { flavour, version }));
    }
}

#[test]
fn reads_every_version_up_to_the_newest() {
    for version in 1..=13_u16 {
        let magic = format!("REDIS{version:04}");
        let mut file = file(&magic, &entry(0, "k", &text("v")));
        if version < 5 {
            // The checksum came with version 5.
            file.truncate(file.len() - 8);
        }
        let expected = Item::Header { flavour: Flavour::Redis, version };
        let found = items(&file);
        assert_eq!((found.len(), &found[0]), (2, &expected));
    }
}

#[test]
fn notes_of_keydb_stand_around_the_keys_that_they_are_about() {
    let note = |key: &str, value: &str| [&[250][..], &text(key), &text(value)].concat();
    let body = [
        note("mvcc-tstamp", "1783"),
        [&[252][..], &9_i64.to_le_bytes()].concat(),
        entry(2, "set", &texts(1, &["member"])),
        note("keydb-subexpire-key", "member"),
        note("keydb-subexpire-when", "4102444800000"),
        note("mvcc-tstamp", "1784"),
        entry(0, "other", &text("v")),
    ];
    let found = items(&file("REDIS0009", &body.concat()));
    let shown = found.iter().map(|item| match item {
        Item::Aux { key, .. } => String::from_utf8_lossy(key).into_owned(),
        Item::Entry(Entry { head, .. }) => {
            format!("{} {:?}", String::from_utf8_lossy(&head.key), head.expire_at_ms)
        }
        _ => "header".to_owned(),
    });
    let expected = [
        "header",
        "mvcc-tstamp",
        "set Some(9)",
        "keydb-subexpire-key",
        "keydb-subexpire-when",
        "mvcc-tstamp",
        "other None",
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn a_job_of_keydb_is_passed_over_and_named() {
    let job = [
        [&[252][..], &9_i64.to_le_bytes()].concat(),
        entry(64, "job", &text("return 1")),
        [1_i64.to_le_bytes(), 2_i64.to_le_bytes()].concat(),
        texts(2, &["a", "b"]),
        texts(1, &["c"]),
    ];
    let file = file("REDIS0009", &[job.concat(), entry(0, "k", &text("v"))].concat());
    let expected = [
        Item::Header { flavour: Flavour::Redis, version: 9 },
        Item::Skipped { key: "job".into(), what: "cron job of KeyDB" },
        Item::Entry(Entry { head: head("k", ValueType::String), raw: "\x01v".into() }),
    ];
    for size in 1..file.len() {
        assert_eq!(parse(&file, &vec![size; 99], Limits::default()).unwrap(), expected);
    }
}

#[test]
fn checks_the_checksum_unless_it_is_zero() {
    let mut file = file("REDIS0011", &entry(0, "k", &text("v")));
    let end = file.len();
    file[end - 1] ^= 1;
    assert!(matches!(fault(&file), (15, Fault::Checksum { .. })));
    file[end - 8..].fill(0);
    assert_eq!(items(&file).len(), 2);
}

#[test]
fn knows_that_old_files_end_without_a_checksum() {
    let mut parser = Parser::new(Limits::default());
    parser.feed(Bytes::from_static(b"REDIS0004\xffrest"));
    assert!(matches!(parser.next(), Ok(Progress::Item(Item::Header { .. }))));
    assert_eq!(parser.next(), Ok(Progress::End));
    assert_eq!(parser.remaining(), "rest");
}

#[test]
fn hands_back_what_lies_behind_the_file() {
    let file = file("REDIS0011", &entry(0, "k", &text("v")));
    let end = file.len() as u64;
    let all = [&file[..], b"mark and stream"].concat();
    for size in [1, 2, 3, 20, 100] {
        let mut parser = Parser::new(Limits::default());
        all.chunks(size).for_each(|chunk| parser.feed(Bytes::copy_from_slice(chunk)));
        while parser.next() != Ok(Progress::End) {}
        assert_eq!(parser.offset(), end);
        assert_eq!(parser.remaining(), "mark and stream");
        parser.feed(Bytes::from_static(b"more"));
        assert_eq!((parser.next(), parser.remaining()), (Ok(Progress::End), "more".into()));
        assert_eq!(parser.offset(), end);
    }
}

#[test]
fn small_values_are_slices_of_the_chunk() {
    let file = Bytes::from(file("REDIS0011", &entry(0, "key", &text("value"))));
    let mut parser = Parser::new(Limits::default());
    parser.feed(file.clone());
    parser.next().unwrap();
    let Ok(Progress::Item(Item::Entry(entry))) = parser.next() else { panic!("an entry") };
    assert_eq!(entry.raw, "\x05value");
    assert!(file.as_ptr_range().contains(&entry.raw.as_ptr()));
    assert!(file.as_ptr_range().contains(&entry.head.key.as_ptr()));
}

#[test]
fn says_how_much_it_waits_for() {
    let mut parser = Parser::new(Limits::default());
    parser.feed(Bytes::from_static(b"REDIS0011\x00\x80\x00\x01\x00\x00abc"));
    parser.next().unwrap();
    assert_eq!(parser.next(), Ok(Progress::NeedMore));
    assert_eq!(parser.wanted(), 65_536 - 3);
    parser.feed(Bytes::from(vec![b'k'; 1000]));
    assert_eq!(parser.next(), Ok(Progress::NeedMore));
    assert_eq!(parser.wanted(), 65_536 - 1003);
}

#[test]
fn refuses_promises_above_the_limit() {
    let limits = Limits { max_string_bytes: 100, ..Limits::default() };
    for body in [entry(0, "k", &len(101)), len(101), [&[0xc3][..], &len(9), &len(101)].concat()] {
        let body = [&[0][..], &text("k"), &body].concat();
        let error = parse(&file("REDIS0011", &body), &[], limits).unwrap_err();
        assert!(matches!(error.fault, Fault::TooLong { .. }), "{error}");
    }
}

#[test]
fn repeats_an_error() {
    let mut parser = Parser::new(Limits::default());
    parser.feed(Bytes::from_static(b"REDIS0099REDIS0011\xff"));
    let error = parser.next().unwrap_err();
    assert_eq!(parser.next(), Err(error));
}

/// A file of one list with as many elements of ten bytes as make `bytes`, count included.
fn list_of(bytes: usize) -> Vec<u8> {
    let count = (bytes - 2) / 11;
    let elements = vec!["ten bytes."; count];
    file("REDIS0011", &entry(1, "k", &texts(count as u64, &elements)))
}

#[test]
fn values_are_whole_up_to_the_limit_and_not_beyond() {
    let file = list_of(2 + 11 * 200);
    let raw = 2 + 11 * 200;
    for (raw_value_bytes, whole) in [(raw, true), (raw - 1, false), (raw + 1, true), (0, false)] {
        let limits = Limits { raw_value_bytes, ..Limits::default() };
        for chunk in [1, 7, 100, file.len()] {
            let items = parse(&file, &vec![chunk; file.len()], limits).unwrap();
            let expected = match items.get(1..) {
                Some([Item::Entry(entry)]) => whole && entry.raw.len() == raw,
                Some([Item::LargeBegin(_), Item::LargePart(Part::List(part)), Item::LargeEnd]) => {
                    !whole && part.len() == 200
                }
                _ => false,
            };
            assert!(expected, "limit {raw_value_bytes}, chunks of {chunk}: {items:?}");
        }
    }
}

#[test]
fn a_large_string_is_never_held() {
    let mut parser = Parser::new(Limits::default());
    let promised = 400_u32 << 20;
    let head = [b"REDIS0011\x00\x01k\x80", &promised.to_be_bytes()[..]].concat();
    parser.feed(head.into());
    assert!(matches!(parser.next(), Ok(Progress::Item(Item::Header { .. }))));
    assert!(matches!(parser.next(), Ok(Progress::Item(Item::LargeBegin(_)))));
    let chunk = Bytes::from(vec![b'x'; 100_000]);
    for _ in 0..50 {
        parser.feed(chunk.clone());
        while let Ok(Progress::Item(item)) = parser.next() {
            let Item::LargePart(Part::Str(part)) = item else { panic!("a part, not {item:?}") };
            assert_eq!(part.len(), 256 << 10);
        }
        assert!(parser.wanted() <= 256 << 10);
    }
    assert!(parser.offset() > (5_000_000 - (256 << 10)));
}

#[test]
fn a_large_compressed_string_decompresses_as_it_arrives() {
    // 300,000 times "a": a literal and long references to it.
    let mut packed = vec![0, b'a'];
    (0..1136).for_each(|_| packed.extend([0xe0, 0xff, 0]));
    packed.extend([0xe0, 95 - 9, 0]);
    let plain = 1 + 1136 * 264 + 95;
    let raw = [&[0xc3][..], &len(packed.len() as u64), &len(plain), &packed].concat();
    let file = file("REDIS0011", &entry(0, "k", &raw));
    let limits = Limits { raw_value_bytes: 1000, part_bytes: 64 << 10, ..Limits::default() };
    let items = parse(&file, &vec![99; file.len()], limits).unwrap();
    let mut made = 0;
    for item in &items {
        if let Item::LargePart(Part::Str(part)) = item {
            assert!(part.len() == 64 << 10 || (made + part.len()) as u64 == plain);
            assert!(part.iter().all(|byte| *byte == b'a'));
            made += part.len();
        }
    }
    assert_eq!(made as u64, plain);

    let mut broken = raw;
    broken[10] = 0x1f;
    let broken = sample::file("REDIS0011", &entry(0, "k", &broken));
    assert_eq!(parse(&broken, &[], limits).unwrap_err().fault, Fault::Lzf);
}

#[test]
fn module_data_without_a_key_is_held_whole_up_to_the_limit_of_strings() {
    let values = [len(5), text("x".repeat(90))].concat().repeat(2);
    let aux = [&[247][..], &len(7), &len(2), &len(1), &values, &len(0)].concat();
    let file = file("REDIS0011", &aux);
    let limits = Limits { raw_value_bytes: 0, max_string_bytes: 200, ..Limits::default() };
    assert_eq!(parse(&file, &[50; 9], limits).unwrap().len(), 2);
    let limits = Limits { max_string_bytes: 100, ..limits };
    let error = parse(&file, &[], limits).unwrap_err();
    assert_eq!(error.fault, Fault::ModuleData { limit: 100 });
}

#[test]
fn errors_inside_large_values_name_their_place() {
    let blob = sample::listpack(&[b"\x81a", b"\x81b", b"\x81c"]);
    let body = entry(16, "k", &text(blob));
    let limits = Limits { raw_value_bytes: 0, ..Limits::default() };
    let error = parse(&file("REDIS0011", &body), &[], limits).unwrap_err();
    assert_eq!(error.offset, 9 + 3, "where the broken blob begins");
    assert!(matches!(error.fault, Fault::Packed { .. }));
}
