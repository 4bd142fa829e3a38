//! What an event costs on its way into the journal and out of it: encoding from borrowed slices, as capture does,
//! and decoding into slices of the record, as apply does.
//!
//! Throughput is events and bytes of protobuf a second.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput};
use event::codec::{Head, decode, encode_command, encode_rdb_image, encode_text_image};
use event::image::{Flavour, ImageHead};
use event::{Body, Effect, Position, Shard, Stamp};
use wire::slot::Slot;

mod settings;

/// Events of one iteration: as capture appends them in a batch.
const EVENTS: u64 = 1024;

const KEY: &[u8] = b"key:000000000042";
const VALUE: [u8; 100] = [b'v'; 100];

/// A way to append one event, which is the `u64`-th, to a buffer.
type Encode = fn(&mut BytesMut, u64, &Stamp);

const KINDS: [(&str, &str, Encode); 4] = [
    ("SET 100", "command", set),
    ("ZINTERSTORE of 3", "command", zinterstore),
    ("image of a string of 100", "image", string_image),
    ("image of a hash of 400", "image", hash_image),
];

fn main() {
    let mut criterion = settings::criterion();
    let stamp = Stamp { time_ms: 1_750_000_000_000, counter: 0, site: String::new() };
    encoding(&mut criterion, &stamp);
    decoding(&mut criterion, &stamp);
    criterion.final_summary();
}

fn encoding(criterion: &mut Criterion, stamp: &Stamp) {
    let mut group = criterion.benchmark_group("event/encode");
    for (name, _, encode) in KINDS {
        let mut buf = BytesMut::new();
        encode(&mut buf, 0, stamp);
        group.throughput(throughput(buf.len()));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                buf.clear();
                (0..EVENTS).for_each(|number| encode(&mut buf, black_box(number), stamp));
                black_box(&buf);
            });
        });
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion, stamp: &Stamp) {
    let mut group = criterion.benchmark_group("event/decode");
    for (name, kind, encode) in KINDS {
        let records: Vec<Bytes> = (0..EVENTS)
            .map(|number| {
                let mut buf = BytesMut::new();
                encode(&mut buf, number, stamp);
                buf.freeze()
            })
            .collect();
        let check = decode(records.first().expect("records").clone()).expect("an event");
        assert_eq!(check.kind(), kind);
        assert!(matches!(check.body, Body::Command(_) | Body::Image(_)));
        group.throughput(throughput(records.iter().map(Bytes::len).max().unwrap_or(0)));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                for record in &records {
                    black_box(decode(black_box(record).clone()).expect("an event"));
                }
            });
        });
    }
    group.finish();
}

/// Events of about this size each.
fn throughput(event_bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: EVENTS, bytes: EVENTS * event_bytes as u64 }
}

fn set(buf: &mut BytesMut, number: u64, stamp: &Stamp) {
    let args: [&[u8]; 3] = [b"SET", KEY, &VALUE];
    let encoded =
        encode_command(buf, &head(number, stamp), Effect::Overwrite, None, args.into_iter());
    encoded.expect("a command within the limits");
}

fn zinterstore(buf: &mut BytesMut, number: u64, stamp: &Stamp) {
    let args: [&[u8]; 8] = [
        b"ZINTERSTORE",
        KEY,
        b"3",
        b"zset:{0}:one",
        b"zset:{0}:two",
        b"zset:{0}:three",
        b"AGGREGATE",
        b"MAX",
    ];
    let keys: (&[u32], &[u32]) = (&[1], &[3, 4, 5]);
    let encoded =
        encode_command(buf, &head(number, stamp), Effect::Overwrite, Some(keys), args.into_iter());
    encoded.expect("a command within the limits");
}

fn string_image(buf: &mut BytesMut, number: u64, stamp: &Stamp) {
    let encoded = encode_text_image(buf, &head(number, stamp), &image_head(0), &VALUE);
    encoded.expect("an image within the limits");
}

fn hash_image(buf: &mut BytesMut, number: u64, stamp: &Stamp) {
    let encoded = encode_rdb_image(buf, &head(number, stamp), &image_head(16), &VALUE.repeat(4));
    encoded.expect("an image within the limits");
}

fn head(number: u64, stamp: &Stamp) -> Head<'_> {
    let position = Position::new(Shard(0), 1, 1_000_000_000 + number * 144);
    Head { position, stamp, db: 0, slot: Slot::of_key(KEY), key: KEY, seen: &[] }
}

fn image_head(type_byte: u8) -> ImageHead {
    ImageHead {
        type_byte,
        flavour: Flavour::Redis,
        rdb_version: 11,
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        snapshot_id: 0,
    }
}
