//! The fixtures, and the loops that every test of them needs.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value as Json;
use wire::rdb::{Entry, EntryHead, Error, Item, Limits, Parser, Part, Progress};

/// Servers whose files are kept, and the RDB version of each.
pub(crate) const SERVERS: [(&str, u16); 8] = [
    ("redis-2.8", 6),
    ("redis-3.2", 7),
    ("redis-5.0", 9),
    ("redis-6.2", 9),
    ("redis-7.0", 10),
    ("valkey-9.1-older", 11),
    ("redis-8.2", 12),
    ("valkey-9.1", 80),
];

/// Every value is large, and parts are tiny.
pub(crate) const ALL_LARGE: Limits =
    Limits { raw_value_bytes: 0, part_bytes: 100, max_string_bytes: 1 << 20 };

/// A file, and what its server said.
pub(crate) struct Fixture {
    pub(crate) file: Bytes,
    pub(crate) said: Json,
}

/// A value that came in parts.
#[derive(Debug, PartialEq)]
pub(crate) struct Large {
    pub(crate) head: EntryHead,
    pub(crate) parts: Vec<Part>,
}

pub(crate) fn load(server: &str) -> Fixture {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../testkit/fixtures/rdb");
    let read = |name: String| std::fs::read(folder.join(&name)).expect("a fixture");
    let file = read(format!("{server}.rdb")).into();
    let said = serde_json::from_slice(&read(format!("{server}.json"))).expect("json");
    Fixture { file, said }
}

/// Bytes that the description holds as text, one character each.
pub(crate) fn bytes(json: &Json) -> Vec<u8> {
    let text = json.as_str().expect("bytes as text");
    text.chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect()
}

/// Feeds a file in chunks of one size and gives each item to `visit`; what the parser said last.
pub(crate) fn feed(
    file: &Bytes,
    chunk: usize,
    limits: Limits,
    mut visit: impl FnMut(Item),
) -> Result<Progress, Error> {
    let mut parser = Parser::new(limits);
    let mut last = Progress::NeedMore;
    for chunk in file.chunks(chunk) {
        parser.feed(file.slice_ref(chunk));
        last = loop {
            match parser.next()? {
                Progress::Item(item) => visit(item),
                other => break other,
            }
        };
    }
    Ok(last)
}

pub(crate) fn items(file: &Bytes, chunk: usize, limits: Limits) -> Vec<Item> {
    let mut items = Vec::new();
    let last = feed(file, chunk, limits, |item| items.push(item)).expect("a good file");
    assert_eq!(last, Progress::End);
    items
}

/// The entries with their databases.
pub(crate) fn entries(file: &Bytes) -> Vec<(u32, Entry)> {
    let (mut db, mut entries) = (0, Vec::new());
    for item in items(file, file.len(), Limits::default()) {
        match item {
            Item::SelectDb(selected) => db = selected,
            Item::Entry(entry) => entries.push((db, entry)),
            _ => {}
        }
    }
    entries
}

/// The values that came in parts.
pub(crate) fn larges(items: Vec<Item>) -> Vec<Large> {
    let mut larges: Vec<Large> = Vec::new();
    let mut open = false;
    for item in items {
        match item {
            Item::LargeBegin(head) => {
                assert!(!open, "values do not nest");
                open = true;
                larges.push(Large { head, parts: Vec::new() });
            }
            Item::LargePart(part) => {
                assert!(open, "parts stand inside a value");
                larges.last_mut().expect("an open value").parts.push(part);
            }
            Item::LargeEnd => open = false,
            Item::Entry(_) => panic!("every value is large"),
            _ => {}
        }
    }
    assert!(!open);
    larges
}
