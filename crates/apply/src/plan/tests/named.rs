//! What a snapshot has named when a process takes over that has none of its marks: the keys that it had named before.

use event::checkpoint::Resync;
use event::fragment;
use event::image::{Elements, Flavour as Format, Image, ImageHead, ImagePart, ImageValue};

use super::*;
use crate::config::Existing;
use crate::error::Error;
use crate::filter::{Filters, Rule, ValueKind};
use crate::marks::mark;
use crate::plan::Planned;

/// Of more than one record.
const LARGE_BYTES: usize = 2_000_000;

/// Type bytes.
const STRING: u8 = 0;
const LIST: u8 = 1;
const HASH: u8 = 4;

fn head(type_byte: u8) -> ImageHead {
    ImageHead {
        type_byte,
        flavour: Format::Redis,
        rdb_version: 11,
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        snapshot_id: 0,
    }
}

fn in_snapshot(epoch: u64, index: u64, key: &[u8], body: Body) -> Event {
    event(Position::new(Shard(0), epoch, 0).at_index(index), key, body)
}

fn text(bytes: usize) -> Body {
    let value = ImageValue::Text(Bytes::from(vec![b'x'; bytes]));
    Body::Image(Image { head: head(STRING), value })
}

/// A part of a list with one element.
fn part(number: u64, last: bool, bytes: usize) -> Body {
    let elements = Elements::Items(vec![Bytes::from(vec![b'x'; bytes])]);
    Body::ImagePart(ImagePart { head: head(LIST), number, last, elements })
}

/// The records of an event.
fn records(event: &Event) -> Vec<Event> {
    let mut encoded = BytesMut::new();
    event::codec::encode(event, &mut encoded).unwrap();
    match fragment::is_needed(encoded.len()) {
        true => {
            let pieces = fragment::split(encoded.freeze(), &event::codec::Head::of(event));
            pieces.of_snapshot(event.snapshot_id()).collect()
        }
        false => vec![event.clone()],
    }
}

/// Records of a partition each, at their offsets.
#[derive(Default)]
struct Journal(Vec<Entry>);

impl Journal {
    /// An empty snapshot, and the beginning of another.
    fn begin(&mut self, partition: u16) {
        self.push(partition, &begin(1, EpochCause::FullResync));
        self.push(partition, &end(1));
        self.push(partition, &begin(2, EpochCause::FullResync));
    }

    fn push(&mut self, partition: u16, event: &Event) {
        for record in records(event) {
            let offset = self.0.iter().filter(|entry| entry.partition.0 == partition).count();
            self.0.push(entry(&record, partition, offset as u64));
        }
    }

    /// Plans what a planner needs next.
    fn plan(&self, planner: &mut Planner) -> Result<(), Error> {
        let needed = planner.now().needed;
        let is_needed = |entry: &&Entry| entry.offset.0 >= needed[usize::from(entry.partition.0)];
        for entry in self.0.iter().filter(is_needed) {
            planner.plan(entry.clone(), &mut Batch::new(0))?;
        }
        Ok(())
    }
}

/// One that takes no hashes.
fn lane(one_order: bool) -> Planner {
    let kinds = Rule { include: Vec::new(), exclude: vec![ValueKind::Hash] };
    let config = Config { filters: Filters { kinds, ..Filters::default() }, ..config() };
    planner_of(&config, &facts(7, 2), one_order)
}

/// A journal of an empty snapshot, and one of epoch 2 with these values, all in one partition.
fn resync(values: &[(&[u8], Body)]) -> Journal {
    let mut journal = Journal::default();
    journal.begin(0);
    for (index, (key, body)) in (1..).zip(values) {
        journal.push(0, &in_snapshot(2, index, key, body.clone()));
    }
    journal
}

/// Another process that goes on where that one stands, and has none of its marks.
fn successor(planner: &Planner, one_order: bool) -> Planner {
    Planner::new(planner.rules.clone(), &scope(one_order), planner.now(), Vec::new())
}

fn names(planner: &Planner, key: &[u8]) -> bool {
    assert_eq!(planner.marks.len(), 1);
    planner.marks[0].has(mark(0, key))
}

/// Whether all of these are named where the journal has been applied, and by whoever goes on from there.
fn assert_named(journal: &Journal, one_order: bool, keys: &[&[u8]]) {
    let mut planner = lane(one_order);
    journal.plan(&mut planner).unwrap();
    let mut next = successor(&planner, one_order);
    journal.plan(&mut next).unwrap();
    assert!(next.counts.repeated > 0);
    for key in keys {
        let name = String::from_utf8_lossy(&key[..key.len().min(20)]);
        assert!(names(&planner, key), "{name} is named");
        assert!(names(&next, key), "{name} was named before");
    }
    assert_eq!(next.now(), planner.now());
}

#[test]
fn a_value_of_several_records_is_named_after_a_restart() {
    let keys: [&[u8]; 5] = [b"small", b"large", b"other", b"", b"last"];
    let sizes = [1, LARGE_BYTES, LARGE_BYTES, LARGE_BYTES, 1];
    let values: Vec<_> = keys.into_iter().zip(sizes.map(text)).collect();
    assert_named(&resync(&values), true, &keys);
}

#[test]
fn so_is_one_whose_key_takes_several_records() {
    for bytes in (799_955..799_985).chain([LARGE_BYTES]) {
        let key = vec![b'k'; bytes];
        assert_named(&resync(&[(&key, text(120_000)), (b"last", text(1))]), true, &[&key, b"last"]);
    }
}

#[test]
fn so_is_one_that_comes_in_parts_of_several_records() {
    let parts = [part(0, false, LARGE_BYTES), part(1, true, LARGE_BYTES)];
    assert_named(&resync(&parts.map(|part| (b"list".as_slice(), part))), true, &[b"list"]);
}

#[test]
fn records_of_two_partitions_that_come_in_between_one_another_are_kept_apart() {
    let mut journal = Journal::default();
    for partition in 0..2 {
        journal.begin(partition);
        let key = format!("key:{partition}");
        journal.push(partition, &in_snapshot(2, 1, key.as_bytes(), text(LARGE_BYTES)));
    }
    journal.0.sort_by_key(|entry| (entry.offset, entry.partition));
    assert_named(&journal, false, &[b"key:0", b"key:1"]);
}

#[test]
fn so_is_one_of_a_snapshot_made_on_demand_beside_the_stream() {
    let of_snapshot = |index, key: &[u8], bytes| {
        let value = ImageValue::Text(Bytes::from(vec![b'x'; bytes]));
        let head = ImageHead { snapshot_id: 9, ..head(STRING) };
        event(at(1_000).at_index(index), key, Body::Image(Image { head, value }))
    };
    let mut journal = Journal::default();
    journal.push(0, &of_snapshot(1, b"large", LARGE_BYTES));
    journal.push(0, &in_snapshot(1, 1_001, b"beside", text(LARGE_BYTES)));
    journal.push(0, &of_snapshot(2, b"last", 1));
    let resync = Resync { shard: Shard(0), epoch: 1, sweep: true, sweeping: false, snapshot_id: 9 };
    let mut progress = Progress::from(vec![0; 4]);
    progress.begin(&scope(true), 0, &[resync]);
    let mut planner = Planner::new(lane(true).rules, &scope(true), progress, Vec::new());
    planner.rules.take_existing(Existing::Sweep);
    journal.plan(&mut planner).unwrap();
    let mut next = successor(&planner, true);
    next.rules.take_existing(Existing::Sweep);
    journal.plan(&mut next).unwrap();
    for planner in [&planner, &next] {
        assert!(names(planner, b"large") && names(planner, b"last") && !names(planner, b"beside"));
    }
}

#[test]
fn what_a_track_goes_back_over_is_named_by_another_shard_all_the_same() {
    // The snapshot of shard 1 is read again while that of shard 0, made on demand, ends in the middle of it.
    let resync = |shard, epoch, snapshot_id| Resync {
        shard: Shard(shard),
        epoch,
        sweep: shard == 1,
        sweeping: false,
        snapshot_id,
    };
    let place = |index| Position::new(Shard(1), 7, 0).at_index(index);
    let mut journal = Journal::default();
    journal.push(0, &event(place(1), b"large", text(LARGE_BYTES)));
    let end = SnapshotEnd { snapshot_id: 9, keys: 0, keys_total: 0 };
    let end = event(at(1_000).at_index(1), b"", Body::Control(Control::SnapshotEnd(end)));
    journal.push(0, &end);
    journal.push(0, &event(place(2), b"last", text(1)));
    let mut progress = Progress::from(vec![4, 0, 0, 0]);
    progress.begin(&scope(true), 0, &[resync(0, 1, 9), resync(1, 7, 0)]);
    progress.snapshot_from.insert((0, Shard(0)), 1);
    progress.snapshot_from.insert((0, Shard(1)), 0);
    progress.advance(0, place(2));
    let mut planner = Planner::new(lane(true).rules, &scope(true), progress, Vec::new());
    let records = journal.0.split_last().unwrap().1;
    let mut batch = Batch::new(0);
    for entry in records.iter().take(3).cloned() {
        planner.plan(entry, &mut batch).unwrap();
    }
    let Planned::Barrier(barrier) = planner.plan(records[3].clone(), &mut batch).unwrap() else {
        panic!("nothing ends");
    };
    planner.plan_barrier(&barrier, true, &mut batch).unwrap();
    assert!(planner.take_goes_back() && planner.next()[0] == 0);
    journal.plan(&mut planner).unwrap();
    assert!(planner.marks.iter().any(|marks| marks.has(mark(0, b"large"))));
}

#[test]
fn one_of_which_not_all_had_come_is_named_when_it_has() {
    let mut journal = resync(&[(b"before", text(LARGE_BYTES)), (b"cut", text(LARGE_BYTES))]);
    let rest = journal.0.pop().unwrap();
    let mut planner = lane(true);
    journal.plan(&mut planner).unwrap();
    let mut next = successor(&planner, true);
    journal.plan(&mut next).unwrap();
    assert!(names(&next, b"before") && !names(&next, b"cut"));
    next.plan(rest, &mut Batch::new(0)).unwrap();
    assert!(names(&next, b"cut"));
}

#[test]
fn what_a_capture_that_died_began_is_named_by_the_next_snapshot_alone() {
    let mut journal = resync(&[(b"gone", text(LARGE_BYTES)), (b"cut", text(LARGE_BYTES))]);
    journal.0.pop();
    journal.push(0, &begin(3, EpochCause::FullResync));
    journal.push(0, &in_snapshot(3, 1, b"cut", text(LARGE_BYTES)));
    let mut planner = lane(true);
    journal.plan(&mut planner).unwrap();
    let mut next = successor(&planner, true);
    journal.plan(&mut next).unwrap();
    assert!(names(&next, b"cut") && !names(&next, b"gone"));
}

#[test]
fn a_kind_that_is_left_out_is_named_neither_before_nor_after_a_restart() {
    let hash = |bytes| {
        let value = ImageValue::Rdb(Bytes::from(vec![b'x'; bytes]));
        Body::Image(Image { head: head(HASH), value })
    };
    let journal = resync(&[(b"small", hash(1)), (b"large", hash(LARGE_BYTES)), (b"s", text(1))]);
    let mut planner = lane(true);
    journal.plan(&mut planner).unwrap();
    let mut next = successor(&planner, true);
    journal.plan(&mut next).unwrap();
    for planner in [&planner, &next] {
        assert!(!names(planner, b"small") && !names(planner, b"large") && names(planner, b"s"));
    }
}

#[test]
fn a_value_whose_first_record_is_missing_ends_the_lane_rather_than_its_key() {
    let mut journal = resync(&[(b"large", text(LARGE_BYTES)), (b"last", text(1))]);
    let mut planner = lane(true);
    journal.plan(&mut planner).unwrap();
    journal.0.retain(|entry| entry.offset.0 != 3);
    let refused = journal.plan(&mut successor(&planner, true)).unwrap_err();
    assert!(matches!(refused, Error::Contradiction { .. }), "{refused}");
}
