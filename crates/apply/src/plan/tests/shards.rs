//! Several shards in one track: each in its own order, with snapshots, marks and flushes that concern its slots alone.

use event::control::{FunctionChange, SnapshotBegin};
use event::image::{Flavour as Format, Image, ImageHead, ImageValue};
use proptest::collection::vec;
use proptest::prelude::*;
use wire::slot::Slots;

use super::once::stream::{Step, Stream};
use super::once::{Fate, run_all};
use super::*;
use crate::config::{BatchLimits, Existing};
use crate::doubt::Doubt;
use crate::marks::{Marks, mark};
use crate::plan::{Barrier, Need, Planned};
use crate::quarantine::set::Spot;
use crate::scope::{Line, Point};

const SLOTS: u16 = Slot::COUNT;

fn slots(shard: u32) -> Slots {
    let slot = |number| Slot::new(number).unwrap();
    match shard {
        0 => Slots::of([(slot(0), slot(SLOTS / 2))]),
        _ => Slots::of([(slot(SLOTS / 2 + 1), slot(SLOTS - 1))]),
    }
}

/// A key in one of the slots of a shard.
fn key(shard: u32, number: usize) -> Bytes {
    let keys = (0..).map(|number| format!("key:{number}"));
    let mut own = keys.filter(|key| slots(shard).contains(Slot::of_key(key.as_bytes())));
    own.nth(number).unwrap().into()
}

fn of_shard(shard: u32, event: Event) -> Event {
    let position = Position { shard: Shard(shard), ..event.position };
    Event { position, ..event }
}

fn begins(shard: u32, epoch: u64) -> Event {
    let mut event = of_shard(shard, begin(epoch, EpochCause::FullResync));
    if let Body::Control(Control::EpochBegin(begin)) = &mut event.body {
        begin.slots = Some(slots(shard));
    }
    event
}

fn image(shard: u32, epoch: u64, number: usize, snapshot_id: u64) -> Event {
    let head = ImageHead {
        type_byte: 0,
        flavour: Format::Redis,
        rdb_version: 11,
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        snapshot_id,
    };
    let value = ImageValue::Text(Bytes::from_static(b"v"));
    let position = Position::new(Shard(shard), epoch, 0).at_index(number as u64 + 1);
    event(position, &key(shard, number), Body::Image(Image { head, value }))
}

/// Plans the next records of one partition, and gives the barrier that it comes to, if any.
fn take(planner: &mut Planner, events: &[(u64, Event)]) -> Option<Box<Barrier>> {
    let mut batch = Batch::new(0);
    for (offset, event) in events {
        match planner.plan(entry(event, 0, *offset), &mut batch).unwrap() {
            Planned::Done => {}
            Planned::Barrier(barrier) => return Some(barrier),
            Planned::Waits => panic!("it waits"),
        }
    }
    None
}

fn line(shard: u32) -> Line {
    Line { track: 0, shard: Shard(shard) }
}

fn sweeping() -> Planner {
    let mut planner = planner_of(&config(), &facts(7, 2), true);
    planner.rules.take_existing(Existing::Sweep);
    planner
}

fn names(marks: &Marks, shard: u32, number: usize) -> bool {
    marks.has(mark(0, &key(shard, number)))
}

#[test]
fn snapshots_of_two_shards_end_each_with_a_sweep_of_its_own_slots() {
    let mut planner = sweeping();
    let events =
        [begins(0, 1), begins(1, 7), image(0, 1, 0, 0), image(1, 7, 0, 0), image(0, 1, 1, 0)];
    let events: Vec<_> = (0..).zip(events).collect();
    assert!(take(&mut planner, &events).is_none());
    assert_eq!(planner.progress.resyncs.keys().copied().collect::<Vec<_>>(), [line(0), line(1)]);
    let barrier = take(&mut planner, &[(5, end(1))]).expect("a sweep");
    assert_eq!((barrier.need, barrier.line()), (Need::Sweep, line(0)));
    let marks = planner.take_marks(line(0)).expect("they are there");
    assert_eq!(marks.slots, Some(Some(slots(0))));
    assert!(names(&marks, 0, 0) && names(&marks, 0, 1) && !names(&marks, 1, 0));
    planner.plan_barrier(&barrier, true, &mut Batch::new(0)).unwrap();
    // The other goes on, and would be read again from its own beginning.
    assert_eq!(planner.progress.resyncs.keys().copied().collect::<Vec<_>>(), [line(1)]);
    assert_eq!(planner.now().snapshot_from(0), Some(1));
    let barrier = take(&mut planner, &[(6, of_shard(1, end(7)))]).expect("a sweep");
    assert_eq!((barrier.need, barrier.line()), (Need::Sweep, line(1)));
    let marks = planner.take_marks(line(1)).expect("they are there");
    assert!(names(&marks, 1, 0) && !names(&marks, 0, 0));
}

#[test]
fn a_new_snapshot_of_one_shard_leaves_the_other_where_it_is() {
    let mut planner = planner();
    let events = [begins(0, 1), begins(1, 7), end(1), of_shard(1, end(7))];
    assert!(take(&mut planner, &(0..).zip(events).collect::<Vec<_>>()).is_none());
    let change = written(100, "APPEND key:x v", Effect::Merge);
    assert!(take(&mut planner, &[(4, change), (5, begins(1, 8))]).is_none());
    assert_eq!(planner.progress.of(line(0)), Some(&at(100)));
    assert!(planner.progress.resyncs[&line(1)].sweep);
    assert_eq!(planner.progress.resyncs.len(), 1);
    // Another process reads that one again, and nothing of the first twice.
    let mut other = Planner::new(planner.rules.clone(), &scope(true), planner.now(), Vec::new());
    assert_eq!(other.progress.needed[0], 5);
    let mut batch = Batch::new(0);
    let again = written(100, "APPEND key:x v", Effect::Merge);
    other.plan(entry(&again, 0, 4), &mut batch).unwrap();
    assert_eq!((batch.events, other.counts.repeated), (0, 1));
}

#[test]
fn shards_with_a_slot_in_common_are_refused() {
    let mut planner = planner();
    assert!(take(&mut planner, &[(0, begins(0, 1))]).is_none());
    let whole = of_shard(1, begin(7, EpochCause::FullResync));
    let refused = planner.plan(entry(&whole, 0, 1), &mut Batch::new(0)).unwrap_err();
    assert!(refused.to_string().contains("both have the slots 0-8192"), "{refused}");
}

#[test]
fn one_of_several_shards_does_not_begin_alone_in_a_journal_that_was_empty() {
    let begin = |first: Event| {
        let mut planner = planner();
        planner.from_nothing = true;
        planner.plan(entry(&first, 0, 0), &mut Batch::new(0)).map(drop)
    };
    let refused = begin(begins(0, 1)).unwrap_err().to_string();
    assert!(refused.contains("nothing of the slots 8193-16383"), "{refused}");
    begin(super::begin(1, EpochCause::FullResync)).unwrap();
}

#[test]
fn a_shard_that_was_not_met_has_no_slots_for_sure_unless_it_is_alone() {
    let mut planner = planner();
    planner.progress.advance(0, at(100));
    assert!(planner.slots_of(line(0)).others().is_empty(), "it is the only one");
    planner.progress.advance(0, Position::new(Shard(1), 7, 5));
    assert!(planner.slots_of(line(0)).is_empty() && planner.slots_of(line(1)).is_empty());
    planner.know_slots(Shard(1), Some(slots(1)));
    assert_eq!(
        (planner.slots_of(line(0)), planner.slots_of(line(1))),
        (Slots::default(), slots(1))
    );
}

#[test]
fn functions_are_those_of_the_shard_with_the_first_slot_whichever_was_met() {
    let taken = |known: &[u32], shard| {
        let mut planner = planner();
        for known in known {
            planner.know_slots(Shard(*known), Some(slots(*known)));
        }
        let words = ["FUNCTION", "LOAD", "REPLACE", "#!lua name=a"];
        let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let change = Control::Function(FunctionChange { args, snapshot_id: 0 });
        planner.progress.advance(0, Position::new(Shard(shard), 1, 1));
        let event = event(Position::new(Shard(shard), 1, 9), b"", Body::Control(change));
        let mut batch = Batch::new(0);
        planner.plan(entry(&event, 0, 4), &mut batch).unwrap();
        batch.close_run();
        !commands(&batch).is_empty()
    };
    assert!(taken(&[0, 1], 0) && !taken(&[0, 1], 1));
    assert!(!taken(&[0], 1), "the other has it");
    assert!(taken(&[1], 0), "nobody else has it");
}

#[test]
fn functions_in_transactions_are_those_of_the_same_shard() {
    let load = |shard| {
        let words = ["FUNCTION", "LOAD", "#!lua name=a"];
        let args = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let change = event::Change::Function(FunctionChange { args, snapshot_id: 0 });
        let key = key(shard, 0);
        let count = written(9, &format!("INCR {}", String::from_utf8_lossy(&key)), Effect::Merge);
        let Body::Command(command) = count.body else { unreachable!("a command") };
        let (db, slot) = (0, count.slot);
        let changes = vec![
            event::GroupedChange { db, slot, key: Bytes::new(), change },
            event::GroupedChange { db, slot, key, change: event::Change::Command(command) },
        ];
        let partitions = Vec::new();
        let group = event::Group { changes, partitions, number: 0, last: true, transaction: true };
        event(Position::new(Shard(shard), 1, 9), b"", Body::Group(group))
    };
    let both = |planner: &mut Planner| {
        for shard in [0, 1] {
            planner.know_slots(Shard(shard), Some(slots(shard)));
            planner.progress.advance(0, Position::new(Shard(shard), 1, 1));
        }
    };
    let mut planner = planner();
    both(&mut planner);
    let events = [0, 1].map(load);
    let done = commands(&plan(&mut planner, &events));
    let loads = done.iter().filter(|words| words.starts_with("FUNCTION"));
    assert_eq!((done.len(), loads.count()), (3, 1), "{done:?}");
    // Nothing of the other's is in doubt: what is counted is, of both.
    let mut planner = super::planner();
    both(&mut planner);
    let pairs = [0, 1].map(|shard| {
        let applied = Position::new(Shard(shard), 1, 9).at_index(Position::LAST_INDEX);
        planner.progress.advance(0, applied);
        (Position::new(Shard(shard), 1, 1), Point { track: 0, position: applied })
    });
    planner.doubt = Doubt::new(pairs, vec![0; 4]);
    let mut batch = plan(&mut planner, &events);
    planner.settle_doubt(&mut batch).unwrap();
    batch.close_run();
    assert_eq!(commands(&batch), ["FUNCTION LOAD #!lua name=a"]);
    assert_eq!(planner.suspects.len(), 2);
}

#[test]
fn libraries_are_written_anew_with_the_snapshot_of_the_shard_whose_functions_count() {
    let mut planner = planner();
    for shard in [0, 1] {
        planner.know_slots(Shard(shard), Some(slots(shard)));
    }
    let library = Spot::library(key(1, 0));
    let of = |shard, spot| planner.is_of((line(shard), &slots(shard)), spot);
    assert!(of(0, &library) && !of(1, &library));
    let key = Spot { db: 0, key: key(1, 0) };
    assert!(of(1, &key) && !of(0, &key));
}

#[test]
fn the_flush_of_one_shard_waits_for_no_other_track() {
    let mut planner = planner_of(&config(), &facts(7, 2), false);
    assert!(take(&mut planner, &[(0, begins(0, 1)), (1, begins(1, 7))]).is_none());
    let position = Position::new(Shard(1), 7, 10);
    let flush = Control::FlushSlots { all: true, slots: slots(1) };
    let flush = event(position, b"", Body::Control(flush));
    let barrier = take(&mut planner, &[(2, flush)]).expect("a look at the destination");
    assert_eq!(
        (barrier.need, barrier.line(), barrier.command()),
        (Need::Slots, line(1), "FLUSHALL")
    );
    let mut batch = Batch::new(0);
    planner.held.hold(0, &key(0, 0), &"why".into()).unwrap();
    planner.held.hold(0, &key(1, 0), &"why".into()).unwrap();
    let of_track = wire::slot::partition_of(Slot::of_key(&key(1, 0)), 4) == 0;
    planner.plan_barrier(&barrier, true, &mut batch).unwrap();
    assert!(planner.held.contains(0, &key(0, 0)), "it is of the other shard");
    assert_eq!(planner.held.contains(0, &key(1, 0)), !of_track, "each track has its own");
    assert_eq!(planner.progress.of(line(1)), Some(&position));
    batch.close_run();
    assert!(commands(&batch).is_empty(), "nothing but the keys goes");
}

#[test]
fn what_is_in_doubt_of_several_shards_is_settled_line_by_line_however_it_lies() {
    // In each of two partitions stands a new change of one shard before what is in doubt of the other.
    let keys: Vec<(u16, u32, Bytes)> = [(0, 0), (0, 1), (3, 0), (3, 1)]
        .map(|(partition, shard)| (partition, shard, key_of(partition, shard)))
        .into();
    let change = |(partition, shard, key): &(u16, u32, Bytes), offset, name: &str| {
        let words = format!("{name} {} {offset}", String::from_utf8_lossy(key));
        let effect = if name == "SET" { Effect::Overwrite } else { Effect::Merge };
        (*partition, of_shard(*shard, written(offset, &words, effect)))
    };
    let [a0, b0, a3, b3] = &keys[..] else { panic!("four") };
    let records = [
        change(a0, 10, "SET"),
        change(a0, 20, "APPEND"),
        change(b0, 10, "SET"),
        change(b0, 20, "APPEND"),
        change(b3, 10, "SET"),
        change(b3, 20, "APPEND"),
        change(a3, 10, "SET"),
        change(a3, 20, "APPEND"),
    ];
    let mut planner = planner_of(&config(), &facts(7, 2), false);
    let point = |(partition, shard, _): &(u16, u32, Bytes)| {
        let position = Position { shard: Shard(*shard), ..at(10) };
        Point { track: usize::from(*partition), position }
    };
    let mut progress = Progress::from(vec![0; 4]);
    keys.iter().map(point).for_each(|of| progress.advance(of.track, of.position));
    planner.rewind(progress);
    let pairs = keys.iter().map(|of| (Position { shard: Shard(of.1), ..at(0) }, point(of)));
    planner.doubt = Doubt::new(pairs, vec![0; 4]);
    let mut batch = Batch::new(0);
    for (offset, (partition, event)) in (0..).zip(&records) {
        let record = entry(event, *partition, offset);
        assert!(!planner.waits(usize::from(*partition)) && !planner.is_early(&record).unwrap());
        assert!(matches!(planner.plan(record, &mut batch).unwrap(), Planned::Done));
    }
    batch.close_run();
    assert!(planner.doubt.is_over());
    // What replaces a value is done once more, before what comes behind it.
    for (_, _, key) in &keys {
        let key = String::from_utf8_lossy(key).into_owned();
        let done = commands(&batch).into_iter().filter(|words| words.contains(&key));
        let expected = [format!("SET {key} 10"), format!("APPEND {key} 20")];
        assert_eq!(done.collect::<Vec<_>>(), expected);
    }
}

/// A key of that partition of four; which shard it is of its name says.
fn key_of(partition: u16, shard: u32) -> Bytes {
    let keys = (0..).map(|number| format!("{shard}:{number}"));
    let is_there = |key: &String| {
        wire::slot::partition_of(Slot::of_key(key.as_bytes()), 4) == u32::from(partition)
    };
    let mut keys = keys.filter(is_there);
    keys.next().unwrap().into()
}

/// Of the snapshot 9 of shard 1.
fn begin_on_demand() -> Event {
    let begin = SnapshotBegin {
        snapshot_id: 9,
        keys_expected: 0,
        bytes_expected: 0,
        rdb_version: 0,
        flavour: Format::Redis,
        slots: Some(slots(1)),
    };
    event(Position::new(Shard(1), 7, 5), b"", Body::Control(Control::SnapshotBegin(begin)))
}

fn end_on_demand() -> Event {
    let end = SnapshotEnd { snapshot_id: 9, keys: 1, keys_total: 1 };
    let end_at = Position::new(Shard(1), 7, 10).at_index(5);
    event(end_at, b"", Body::Control(Control::SnapshotEnd(end)))
}

#[test]
fn a_snapshot_made_on_demand_of_one_shard_holds_the_other_up_in_nothing() {
    let mut planner = planner();
    let resync = event::checkpoint::Resync {
        shard: Shard(1),
        epoch: 7,
        sweep: false,
        sweeping: false,
        snapshot_id: 9,
    };
    planner.progress.begin(&scope(true), 0, &[resync]);
    let of_stream = |offset, words| of_shard(1, written(offset, words, Effect::Merge));
    let later = Event { position: Position::new(Shard(1), 7, 20), ..of_stream(20, "APPEND a v") };
    let mut shown = image(1, 7, 0, 9);
    shown.position.offset = 10;
    let events = [
        begin_on_demand(),
        begins(0, 1),
        written(100, "APPEND key:x v", Effect::Merge),
        later.clone(),
        shown,
        end_on_demand(),
    ];
    let barrier = take(&mut planner, &(0..).zip(events.clone()).collect::<Vec<_>>());
    let barrier = barrier.expect("the end");
    assert_eq!(planner.progress.of(line(0)), Some(&at(100)), "the other was applied meanwhile");
    assert_eq!(planner.now().needed[0], 0, "the stream beside it is still needed");
    planner.plan_barrier(&barrier, true, &mut Batch::new(0)).unwrap();
    assert!(planner.take_goes_back() && planner.next()[0] == 0);
    let mut batch = Batch::new(0);
    for (offset, event) in (0..).zip(&events) {
        planner.plan(entry(event, 0, offset), &mut batch).unwrap();
    }
    batch.close_run();
    assert_eq!(commands(&batch), ["APPEND a v"], "each once");
}

#[test]
fn what_is_open_of_one_shard_comes_again_after_a_snapshot_on_demand_of_the_other() {
    let mut planner = planner();
    assert!(take(&mut planner, &[(0, begins(0, 1)), (1, end(1))]).is_none());
    let resync = event::checkpoint::Resync {
        shard: Shard(1),
        epoch: 7,
        sweep: false,
        sweeping: false,
        snapshot_id: 9,
    };
    planner.progress.resyncs.insert(line(1), resync);
    planner.progress.read_again_from(&scope(true), line(1), &[10; 4]);
    let of_transaction = |number: u32, last| {
        let mut record = written(100, "APPEND key:x v", Effect::Merge);
        record.position.index = number.into();
        let Body::Command(command) = record.body else { unreachable!("a command") };
        let (key, db, slot) = (record.key.clone(), record.db, record.slot);
        let changes =
            vec![event::GroupedChange { db, slot, key, change: event::Change::Command(command) }];
        let partitions = Vec::new();
        let body =
            Body::Group(event::Group { changes, partitions, number, last, transaction: true });
        Event { body, ..record }
    };
    let mut shown = image(1, 7, 0, 9);
    shown.position.offset = 10;
    let events = [
        (5, of_transaction(0, false)),
        (10, begin_on_demand()),
        (11, shown),
        (12, end_on_demand()),
    ];
    let barrier = take(&mut planner, &events).expect("the end");
    planner.plan_barrier(&barrier, true, &mut Batch::new(0)).unwrap();
    assert_eq!((planner.now().needed[0], planner.next()[0]), (5, 5));
    let mut batch = Batch::new(0);
    let again = events.into_iter().chain([(13, of_transaction(1, true))]);
    for (offset, event) in again {
        planner.plan(entry(&event, 0, offset), &mut batch).unwrap();
    }
    batch.close_run();
    assert_eq!(commands(&batch), ["APPEND key:x v", "APPEND key:x v"]);
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Command),
        1 => Just(Step::Large),
        4 => (2..9usize).prop_map(Step::Transaction),
        1 => Just(Step::LargeTransaction),
        4 => (2..9usize).prop_map(Step::Records),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Executed),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Restarted),
        1 => Just(Fate::ExecutedThenRestarted),
        1 => Just(Fate::ExecutedThenStopped),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_change_of_each_shard_is_executed_once_and_in_order_however_they_are_mixed(
        steps in (vec(step(), 0..30), vec(step(), 0..30)),
        turns in vec(any::<bool>(), 1..50),
        fates in vec(fate(), 0..40),
        commands in 1..20usize,
        group_bytes in prop_oneof![1..600usize, Just(crate::limits::GROUP_BYTES)],
    ) {
        let one = Stream::of_shard(0, slots(0), &steps.0);
        let other = Stream::of_shard(1, slots(1), &steps.1);
        let expected = [one.expected.clone(), other.expected.clone()];
        let both = one.among(other, &turns);
        let limits = BatchLimits { commands, bytes: 1 << 20 };
        let done = run_all(&both, (limits, group_bytes), fates.into_iter());
        let of = |prefix: &str| -> Vec<String> {
            done.executed.iter().filter(|words| words.starts_with(prefix)).cloned().collect()
        };
        prop_assert_eq!(of("APPEND key:").len(), expected[0].len());
        prop_assert!(of("APPEND key:") == expected[0]);
        prop_assert!(of("APPEND 1:") == expected[1]);
    }
}
