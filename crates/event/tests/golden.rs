//! Events and checkpoints as earlier versions wrote them: they must be read, and written, the same
//! for ever.

#[path = "golden/values.rs"]
mod values;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use event::codec;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn read(name: &str) -> Vec<u8> {
    let read = std::fs::read(folder().join(name));
    read.expect("`cargo run -p keyferry-event --example golden` writes what is missing")
}

#[test]
fn events_are_read_and_written_as_ever() {
    for (name, event) in values::events() {
        let golden = Bytes::from(read(&format!("{name}.bin")));
        assert_eq!(codec::decode(golden.clone()).as_ref(), Ok(&event), "{name}");
        let mut again = BytesMut::new();
        codec::encode(&event, &mut again).unwrap();
        assert_eq!(again, golden, "{name}");
    }
}

#[test]
fn checkpoints_are_read_and_written_as_ever() {
    for (name, checkpoint) in values::checkpoints() {
        let golden = read(&format!("{name}.bin"));
        assert_eq!(codec::checkpoint::decode(&golden).as_ref(), Ok(&checkpoint), "{name}");
        let mut again = BytesMut::new();
        codec::checkpoint::encode(&checkpoint, &mut again).unwrap();
        assert_eq!(again, golden, "{name}");
    }
}

#[test]
fn the_description_says_what_the_events_are() {
    let description = String::from_utf8(read("events.jsonl")).unwrap();
    let expected: Vec<_> =
        values::events().iter().map(|(_, event)| event::text::json(event)).collect();
    assert_eq!(description.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn every_golden_file_is_read() {
    let events = values::events();
    let checkpoints = values::checkpoints();
    let names = events.iter().map(|(name, _)| *name);
    let expected: BTreeSet<_> = names
        .chain(checkpoints.iter().map(|(name, _)| *name))
        .map(|name| format!("{name}.bin"))
        .chain(["README.md", "events.jsonl"].map(str::to_owned))
        .collect();
    let entries = std::fs::read_dir(folder()).unwrap();
    let found: BTreeSet<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, expected);
}
