//! What one command of a replication stream costs before it is an event: framing it, finding its keys, and making
//! it independent of time and place.
//!
//! Each throughput is commands a second. Every bench checks once that it measured the work it claims.

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput};
use wire::command::normalise::{Context, Era, normalise};
use wire::command::{keys, lookup};
use wire::resp::encode::write_command;
use wire::resp::scan::{RawCommand, ScanLimits, StreamScanner};

mod settings;

/// Commands of one stream: enough that the stream does not stay in the first cache.
const COMMANDS: usize = 4096;

/// What a read of the socket gives at most.
const CHUNK_BYTES: usize = 64 << 10;

/// A moment in 2025, so that relative times come out as such times do.
const RECEIVED_AT_MS: i64 = 1_750_000_000_000;

/// A kind of command by name and arguments; `#` stands for the number of the command.
type Template = (&'static str, &'static [&'static str]);

const VALUE: &str = "0123456789012345678901234567890123456789012345678901234567890123456789\
                     012345678901234567890123456789";

const SET: Template = ("SET", &["SET", "key:#", VALUE]);

const KINDS: &[Template] = &[
    SET,
    ("SET PXAT", &["SET", "key:#", VALUE, "PXAT", "1750000060000"]),
    ("INCRBY", &["INCRBY", "counter:#", "5"]),
    ("HSET", &["HSET", "hash:#", "name", "someone", "city", "somewhere"]),
    ("ZADD", &["ZADD", "scores:#", "12.5", "member:#"]),
    ("XADD", &["XADD", "log:#", "1750000000000-1", "level", "info", "text", "something happened"]),
    ("DEL of 4", &["DEL", "key:#", "list:#", "hash:#", "set:#"]),
];

/// As servers before 7.0 send them: these have to be rewritten.
const OLD_KINDS: &[Template] = &[
    ("SET EX of 6.2", &["SET", "key:#", VALUE, "EX", "60"]),
    ("PEXPIRE of 6.2", &["PEXPIRE", "key:#", "60000"]),
];

fn main() {
    let mut criterion = settings::criterion();
    scan(&mut criterion);
    judge(&mut criterion);
    criterion.final_summary();
}

fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp/scan");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    let stream = stream(SET);
    for chunk_bytes in [stream.len(), CHUNK_BYTES, 1460] {
        let name = if chunk_bytes == stream.len() {
            "whole".to_owned()
        } else {
            format!("{chunk_bytes} byte reads")
        };
        assert_eq!(scan_all(&stream, chunk_bytes), COMMANDS);
        group.bench_function(BenchmarkId::new("SET 100", name), |bencher| {
            bencher.iter(|| scan_all(black_box(&stream), chunk_bytes));
        });
    }
    group.finish();
}

fn judge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resp/lookup, keys, normalise");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    let new = KINDS.iter().map(|template| (*template, Era::V7_0));
    let old = OLD_KINDS.iter().map(|template| (*template, Era::V5_0));
    for (template, source) in new.chain(old) {
        let commands = commands(&stream(template));
        let context = Context { source, received_at_ms: RECEIVED_AT_MS };
        group.bench_function(template.0, |bencher| {
            bencher.iter(|| {
                commands
                    .iter()
                    .map(|command| judge_one(black_box(command), &context))
                    .sum::<usize>()
            });
        });
    }
    group.finish();
}

/// Keys of the command, after everything that capture does with it on its own.
fn judge_one(command: &RawCommand, context: &Context) -> usize {
    let spec = lookup(command).expect("a command of the table");
    let found = keys::keys(spec, command).expect("keys where they belong");
    let normalised = normalise(spec, command, context).expect("a command that servers send");
    black_box(normalised);
    found.len()
}

fn scan_all(stream: &Bytes, chunk_bytes: usize) -> usize {
    let mut scanner = StreamScanner::new(ScanLimits::default());
    let (mut rest, mut found) = (stream.clone(), 0);
    while !rest.is_empty() {
        scanner.feed(rest.split_to(chunk_bytes.min(rest.len())));
        while let Some(command) = scanner.next_command().expect("a stream of commands") {
            black_box(&command);
            found += 1;
        }
    }
    found
}

fn commands(stream: &Bytes) -> Vec<RawCommand> {
    let mut scanner = StreamScanner::new(ScanLimits::default());
    scanner.feed(stream.clone());
    let next = || scanner.next_command().expect("a stream of commands");
    std::iter::from_fn(next).collect()
}

fn stream((_, words): Template) -> Bytes {
    let mut out = BytesMut::new();
    for number in 0..COMMANDS {
        let number = format!("{number:012}");
        let words: Vec<String> = words.iter().map(|word| word.replace('#', &number)).collect();
        write_command(&mut out, words.iter().map(String::as_bytes));
    }
    out.freeze()
}
