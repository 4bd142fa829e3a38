//! What reading a snapshot costs: files of one kind of value each, through the parser as socket reads arrive, and
//! the decoding of what it gives where capture decodes.
//!
//! Throughput is megabytes and keys a second. Every file is checked once: as many keys come out as went in.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use wire::rdb::{Entry, Item, Limits, Parser, Progress, value};

use self::sample::Sample;

#[path = "rdb/sample.rs"]
mod sample;
mod settings;

/// What a read of the socket gives at most.
const CHUNK_BYTES: usize = 64 << 10;

/// Size that every file aims at: beyond the caches, and read a hundred times a second.
const FILE_BYTES: usize = 2 << 20;

fn main() {
    let mut criterion = settings::criterion();
    let samples = sample::all(FILE_BYTES);
    parse(&mut criterion, &samples);
    decode(&mut criterion, &samples);
    criterion.final_summary();
}

fn parse(criterion: &mut Criterion, samples: &[Sample]) {
    let mut group = criterion.benchmark_group("rdb/parse");
    for sample in samples {
        assert_eq!(parse_all(&sample.file), sample.keys, "{}", sample.name);
        group.throughput(throughput(sample.keys, sample.file.len()));
        group.bench_function(BenchmarkId::from_parameter(sample.name), |bencher| {
            bencher.iter(|| parse_all(black_box(&sample.file)));
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion, samples: &[Sample]) {
    let mut group = criterion.benchmark_group("rdb/decode");
    for sample in samples {
        let entries = entries(&sample.file);
        // A large value comes out of the parser decoded.
        if entries.is_empty() {
            continue;
        }
        let bytes = entries.iter().map(|entry| entry.raw.len()).sum();
        group.throughput(throughput(entries.len(), bytes));
        group.bench_function(BenchmarkId::from_parameter(sample.name), |bencher| {
            bencher.iter(|| entries.iter().for_each(|entry| decode_one(black_box(entry))));
        });
    }
    group.finish();
}

fn throughput(keys: usize, bytes: usize) -> Throughput {
    Throughput::ElementsAndBytes { elements: keys as u64, bytes: bytes as u64 }
}

/// The number of keys.
fn parse_all(file: &Bytes) -> usize {
    let mut keys = 0;
    items(file, |item| {
        keys += usize::from(matches!(item, Item::Entry(_) | Item::LargeBegin(_)));
        black_box(item);
    });
    keys
}

fn entries(file: &Bytes) -> Vec<Entry> {
    let mut entries = Vec::new();
    items(file, |item| {
        if let Item::Entry(entry) = item {
            entries.push(entry);
        }
    });
    entries
}

fn decode_one(entry: &Entry) {
    black_box(value::decode(entry.head.kind, &entry.raw).expect("a value as servers write it"));
}

fn items(file: &Bytes, mut take: impl FnMut(Item)) {
    let mut parser = Parser::new(Limits::default());
    let mut rest = file.clone();
    loop {
        parser.feed(rest.split_to(CHUNK_BYTES.min(rest.len())));
        loop {
            match parser.next().expect("a file as servers write it") {
                Progress::Item(item) => take(item),
                Progress::NeedMore => break,
                Progress::End => return,
            }
        }
        assert!(!rest.is_empty(), "the file ends before its end");
    }
}
