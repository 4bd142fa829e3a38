//! What is appended, what is skipped, what is cut, what counts as durable.

use event::control::Control;
use event::fragment::Assembler;
use event::image::{Flavour, Image, ImageHead, ImageValue};
use event::limits::RECORD_KEY_BYTES;
use event::names::record_key;
use event::{Body, Command, Effect, KeyArgs, Shard};
use journal::{Journal, MemoryJournal};

use super::*;
use crate::testing::{end_of, outlet, outlet_to, records, stamp};

fn at(offset: u64) -> Position {
    Position::new(Shard(0), 1, offset)
}

fn set(offset: u64, key: &[u8], value: Vec<u8>) -> Event {
    let key = Bytes::copy_from_slice(key);
    let args = vec![Bytes::from_static(b"SET"), key.clone(), value.into()];
    let command = Command { args, effect: Effect::Overwrite, keys: KeyArgs::First };
    Event {
        position: at(offset),
        stamp: stamp(7),
        db: 3,
        slot: Slot::of_key(&key),
        key,
        body: Body::Command(command),
        seen: Vec::new(),
    }
}

fn flush(offset: u64) -> Event {
    let body = Body::Control(Control::Flush { all: true });
    Event { key: Bytes::new(), slot: Slot::new(0).unwrap(), body, ..set(offset, b"", Vec::new()) }
}

#[tokio::test]
async fn events_go_to_the_partition_of_their_slot_in_order() {
    let (journal, mut outlet) = outlet(4).await;
    let events = [set(10, b"foo", vec![1]), set(20, b"bar", vec![2]), set(30, b"foo", vec![3])];
    for event in &events {
        outlet.push(event).unwrap();
    }
    outlet.push_everywhere(&flush(40)).unwrap();
    assert_eq!(end_of(&journal, 2).await.0, 0, "nothing before the flush");
    assert_eq!(outlet.counts(), OutletCounts { changes: 3, ..OutletCounts::default() });
    outlet.flush(40).await.unwrap();
    let [foo, bar, again] = events;
    let mut expected = vec![(2, foo), (1, bar), (2, again)];
    expected.extend((0..4).map(|partition| (partition, flush(40))));
    assert_eq!(records(&journal).await, expected);
    assert_eq!(outlet.counts().records, 7);
    assert_eq!(outlet.batch_bytes(), 0);
}

#[tokio::test]
async fn what_a_partition_holds_is_skipped_there_and_nowhere_else() {
    let journal = MemoryJournal::new("test", 4);
    let held = vec![None, Some(at(30)), Some(at(10).at_index(5)), Some(at(20))];
    let mut outlet = outlet_to(&journal, held).await;
    outlet.push(&set(10, b"foo", vec![1])).unwrap();
    outlet.push(&set(20, b"bar", vec![2])).unwrap();
    outlet.push_everywhere(&flush(20)).unwrap();
    outlet.push(&set(30, b"bar", vec![3])).unwrap();
    outlet.push(&set(31, b"bar", vec![4])).unwrap();
    outlet.push(&set(32, b"bar", vec![5])).unwrap();
    outlet.flush(32).await.unwrap();
    let expected = [
        (0, flush(20)),
        (2, flush(20)),
        (1, set(31, b"bar", vec![4])),
        (1, set(32, b"bar", vec![5])),
    ];
    assert_eq!(records(&journal).await, expected);
    assert_eq!(outlet.counts().skipped, 5);
}

/// The stream is read again from before what the partition holds; the snapshot is new all the same.
#[tokio::test]
async fn a_snapshot_made_on_demand_is_never_skipped_and_skips_nothing() {
    let journal = MemoryJournal::new("test", 1);
    let mut outlet = outlet_to(&journal, vec![Some(at(30))]).await;
    let beside = |offset, text_bytes| {
        let head = ImageHead {
            type_byte: 0,
            flavour: Flavour::Redis,
            rdb_version: 11,
            expire_at_ms: None,
            idle_s: None,
            freq: None,
            snapshot_id: 7,
        };
        let value = ImageValue::Text(vec![b'x'; text_bytes].into());
        Event { body: Body::Image(Image { head, value }), ..set(offset, b"foo", Vec::new()) }
    };
    outlet.push(&set(20, b"foo", vec![1])).unwrap();
    outlet.push(&beside(5, 1)).unwrap();
    outlet.push(&beside(1_000, 1)).unwrap();
    outlet.push(&beside(1_000, 2_000_000)).unwrap();
    outlet.push(&set(30, b"foo", vec![2])).unwrap();
    outlet.push(&set(31, b"foo", vec![3])).unwrap();
    outlet.flush(31).await.unwrap();
    let records: Vec<Event> = records(&journal).await.into_iter().map(|(_, event)| event).collect();
    let (last, before) = records.split_last().unwrap();
    assert_eq!(*last, set(31, b"foo", vec![3]));
    assert_eq!(before[..2], [beside(5, 1), beside(1_000, 1)]);
    assert!(before.len() > 4 && before.iter().all(|event| event.snapshot_id() == 7));
    assert_eq!(outlet.counts().skipped, 2);
}

#[tokio::test]
async fn what_is_larger_than_a_record_goes_in_pieces() {
    let (journal, mut outlet) = outlet(1).await;
    let large = set(10, b"foo", (0..5_000_000).map(|n: u32| n.to_le_bytes()[1]).collect());
    outlet.push(&set(9, b"foo", vec![1])).unwrap();
    outlet.push(&large).unwrap();
    outlet.push(&set(11, b"foo", vec![2])).unwrap();
    outlet.flush(11).await.unwrap();
    let records = records(&journal).await;
    assert_eq!(records.len(), 2 + 7);
    let mut assembler = Assembler::new(usize::MAX >> 1);
    let mut whole = None;
    for (_, event) in &records[1..8] {
        assert_eq!((event.position, &event.stamp, event.db), (at(10), &stamp(7), 3));
        let Body::Fragment(fragment) = &event.body else { panic!("{}", event.kind()) };
        whole = assembler.push(fragment.clone(), event.position).unwrap();
    }
    assert_eq!(codec::decode(whole.unwrap()).unwrap(), large);
}

#[tokio::test]
async fn a_key_too_long_for_a_record_has_a_stand_in_there() {
    let short = vec![b'k'; RECORD_KEY_BYTES];
    assert_eq!(record_key(&short.clone().into()), short);
    let long = |last: u8| Bytes::from([vec![b'k'; RECORD_KEY_BYTES], vec![last]].concat());
    let (one, other) = (record_key(&long(1)), record_key(&long(2)));
    assert!(one.len() < 64 && one != other, "{one:?} {other:?}");
    let (journal, mut outlet) = outlet(1).await;
    let event = set(10, &long(1), vec![1]);
    outlet.push(&event).unwrap();
    outlet.flush(10).await.unwrap();
    assert_eq!(records(&journal).await, [(0, event)], "the event carries the key");
}

#[tokio::test]
async fn an_offset_is_durable_when_everything_up_to_it_is() {
    let (journal, mut outlet) = outlet(1).await;
    assert_eq!(outlet.durable_offset(), 0);
    outlet.push(&set(10, b"foo", vec![1])).unwrap();
    outlet.flush(10).await.unwrap();
    outlet.flush(15).await.unwrap();
    assert_eq!(outlet.durable_offset(), 15, "what carries no data needs no record");
    journal.hold_durability();
    outlet.flush(17).await.unwrap();
    outlet.push(&set(20, b"foo", vec![1])).unwrap();
    outlet.flush(20).await.unwrap();
    outlet.flush(25).await.unwrap();
    assert_eq!(outlet.durable_offset(), 17);
    outlet.push(&set(30, b"foo", vec![1])).unwrap();
    outlet.flush(30).await.unwrap();
    assert_eq!(outlet.durable_offset(), 17);
    journal.release_durability();
    outlet.flush_durably().await.unwrap();
    assert_eq!(outlet.durable_offset(), 30);
    outlet.restart_offsets();
    assert_eq!(outlet.durable_offset(), 0);
}

#[tokio::test]
async fn what_a_run_before_left_undurable_is_not_claimed() {
    let journal = MemoryJournal::new("test", 1);
    let mut before = outlet_to(&journal, vec![None]).await;
    journal.hold_durability();
    before.push(&set(10, b"foo", vec![1])).unwrap();
    before.flush(10).await.unwrap();
    drop(before);
    let appender = journal.appender().await.unwrap();
    let holdings = Holdings { held: vec![Some(at(10))], open: vec![false], durable: false };
    let mut outlet = Outlet::new(appender, holdings);
    outlet.push(&set(10, b"foo", vec![1])).unwrap();
    outlet.flush(10).await.unwrap();
    outlet.flush(12).await.unwrap();
    assert_eq!(outlet.durable_offset(), 0);
    outlet.push(&set(20, b"foo", vec![1])).unwrap();
    outlet.flush(20).await.unwrap();
    assert_eq!(outlet.durable_offset(), 0);
    journal.release_durability();
    assert_eq!(outlet.durable_offset(), 20);
}

#[tokio::test]
async fn nothing_comes_behind_an_event_whose_rest_is_missing() {
    let journal = MemoryJournal::new("test", 2);
    let appender = journal.appender().await.unwrap();
    let holdings = Holdings { held: vec![None, None], open: vec![false, true], durable: true };
    let mut outlet = Outlet::new(appender, holdings);
    outlet.push_behind_all(&flush(10)).unwrap();
    outlet.push_to(Partition(0), &flush(20)).unwrap();
    outlet.push_behind_all(&flush(30)).unwrap();
    assert_eq!(outlet.batch.len(), 1, "the second partition still waits for the rest");
    outlet.push_to(Partition(1), &flush(20)).unwrap();
    outlet.push_behind_all(&flush(40)).unwrap();
    outlet.flush(40).await.unwrap();
    let expected = [(0, flush(20)), (1, flush(20)), (0, flush(40)), (1, flush(40))];
    assert_eq!(records(&journal).await, expected);
}

#[tokio::test]
async fn an_event_without_an_encoding_is_named_by_its_key() {
    let (_journal, mut outlet) = outlet(1).await;
    let mut event = set(10, b"a\x00key", vec![1]);
    let Body::Command(command) = &mut event.body else { panic!() };
    command.keys = KeyArgs::Listed { written: vec![9], read: Vec::new() };
    let error = outlet.push(&event).unwrap_err();
    assert_eq!(error.to_string(), r#"encode an event of key "a\x00key""#);
    assert_eq!(outlet.batch_bytes(), 0);
}
