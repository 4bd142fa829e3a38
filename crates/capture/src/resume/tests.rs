//! Every shape that a tail can have.

use bytes::{Bytes, BytesMut};
use event::control::{Control, FunctionChange, Heartbeat, SnapshotBegin, SnapshotEnd};
use event::fragment::Fragment;
use event::image::{Elements, Flavour, Image, ImageHead, ImagePart, ImageValue};
use event::{Body, Command, Effect, Event, Group, KeyArgs, codec};
use journal::{Append, MemoryJournal, Offset, Partition};
use wire::slot::Slot;

use super::*;

const SHARD: Shard = Shard(0);

/// Events of one partition, the position's index given where it is not 0.
enum Put {
    Begin(u64, u64, EpochCause, &'static str),
    Change(u64, u64),
    Beat(u64, u64, &'static str, u32),
    /// Number and count.
    Fragment(u64, u64, u32, u32),
    /// Number and whether it is the last.
    Group(u64, u64, u32, bool),
    /// Any record of a snapshot made on demand: which, at the place of the snapshot.
    Beside(Record, u64, u64),
}

/// Records of a snapshot made on demand.
#[derive(Clone, Copy)]
enum Record {
    Begin,
    Function,
    Image,
    Part,
    Fragment,
    End,
}

use EpochCause::{Continued, FullResync};
use Put::{Beat, Begin, Change};

fn at(epoch: u64, offset: u64) -> Position {
    Position::new(SHARD, epoch, offset)
}

fn last_at(epoch: u64, offset: u64) -> Position {
    at(epoch, offset).at_index(Position::LAST_INDEX)
}

impl Put {
    fn event(&self) -> Event {
        let (position, body) = match *self {
            Begin(epoch, offset, cause, id) => {
                (at(epoch, offset), Body::Control(Control::EpochBegin(begin(cause, id))))
            }
            Change(epoch, offset) => {
                let args = ["SET", "k", "v"].map(Bytes::from).to_vec();
                let command = Command { args, effect: Effect::Overwrite, keys: KeyArgs::First };
                (at(epoch, offset), Body::Command(command))
            }
            Beat(epoch, offset, id, selected_db) => {
                let heartbeat = Heartbeat {
                    replication_id: id.to_owned(),
                    selected_db,
                    source_time_ms: 0,
                    capture_time_ms: 0,
                    shard_name: String::new(),
                    slots: None,
                };
                (last_at(epoch, offset), Body::Control(Control::Heartbeat(heartbeat)))
            }
            Put::Fragment(epoch, offset, number, count) => {
                let data = Bytes::from_static(b"piece");
                let fragment =
                    Fragment { number, count, total_bytes: 100, crc32c: 0, data, snapshot_id: 0 };
                (at(epoch, offset), Body::Fragment(fragment))
            }
            Put::Beside(record, epoch, offset) => (at(epoch, offset).at_index(9), record.body()),
            Put::Group(epoch, offset, number, last) => {
                let group = Group {
                    changes: Vec::new(),
                    partitions: Vec::new(),
                    number,
                    last,
                    transaction: true,
                };
                (at(epoch, offset).at_index(number.into()), Body::Group(group))
            }
        };
        let time_ms = i64::try_from(position.epoch * 1000 + position.offset).unwrap();
        let stamp = Stamp { time_ms, ..Stamp::default() };
        let slot = Slot::new(0).unwrap();
        Event { position, stamp, db: 0, slot, key: Bytes::new(), body, seen: Vec::new() }
    }
}

impl Record {
    const ALL: [Self; 6] =
        [Self::Begin, Self::Function, Self::Image, Self::Part, Self::Fragment, Self::End];

    fn body(self) -> Body {
        let (snapshot_id, data) = (7, Bytes::from_static(b"piece"));
        let (type_byte, flavour, rdb_version) = (0, Flavour::Redis, 11);
        let (expire_at_ms, idle_s, freq) = (None, None, None);
        let head =
            ImageHead { type_byte, flavour, rdb_version, expire_at_ms, idle_s, freq, snapshot_id };
        match self {
            Self::Begin => Body::Control(Control::SnapshotBegin(SnapshotBegin {
                snapshot_id,
                keys_expected: 0,
                bytes_expected: 0,
                rdb_version: 0,
                flavour: Flavour::Redis,
                slots: None,
            })),
            Self::Function => {
                Body::Control(Control::Function(FunctionChange { args: vec![data], snapshot_id }))
            }
            Self::Image => Body::Image(Image { head, value: ImageValue::Text(data) }),
            Self::Part => {
                let elements = Elements::Text(data);
                Body::ImagePart(ImagePart { head, number: 0, last: false, elements })
            }
            Self::Fragment => Body::Fragment(Fragment {
                number: 0,
                count: 2,
                total_bytes: 100,
                crc32c: 0,
                data,
                snapshot_id,
            }),
            Self::End => {
                let end = SnapshotEnd { snapshot_id, keys: 0, keys_total: 0 };
                Body::Control(Control::SnapshotEnd(end))
            }
        }
    }
}

fn begin(cause: EpochCause, id: &str) -> EpochBegin {
    EpochBegin {
        cause,
        shard_name: "0".to_owned(),
        replication_id: id.to_owned(),
        branch_offset: 0,
        server: String::new(),
        slots: None,
    }
}

async fn append(journal: &MemoryJournal, partitions: &[&[Put]]) {
    let mut appender = journal.appender().await.unwrap();
    for (number, puts) in (0..).zip(partitions) {
        for put in *puts {
            let event = put.event();
            let mut payload = BytesMut::new();
            codec::encode(&event, &mut payload).unwrap();
            let record = Append {
                partition: Partition(number),
                key: Bytes::new(),
                timestamp_ms: 0,
                kind: event.kind(),
                db: 0,
                payload: payload.freeze(),
            };
            appender.append(&mut vec![record]).await.unwrap();
        }
    }
}

async fn journal(partitions: &[&[Put]]) -> MemoryJournal {
    let journal = MemoryJournal::new("test", u16::try_from(partitions.len()).unwrap());
    append(&journal, partitions).await;
    journal
}

/// The tail, the same whatever window the scan begins with.
async fn tail_of(partitions: &[&[Put]]) -> Tail {
    let journal = journal(partitions).await;
    let tail = read_tail(&journal, SHARD).await.unwrap();
    for first_window in [1, 2, 3] {
        let other = read_tail_by(&journal, SHARD, first_window).await.unwrap();
        assert_eq!(other.point, tail.point, "with a window of {first_window}");
        assert_eq!(other.last_epoch, tail.last_epoch);
        assert_eq!(other.last_stamp, tail.last_stamp);
        if tail.point.is_some() {
            assert_eq!(other.held, tail.held, "with a window of {first_window}");
        }
    }
    tail
}

fn point(tail: &Tail) -> (&str, u64, u64, u32) {
    let point = tail.point.as_ref().expect("a place to resume at");
    (&point.replication_id, point.epoch, point.offset, point.selected_db)
}

#[tokio::test]
async fn an_empty_journal_has_nothing_to_go_on_from() {
    let tail = tail_of(&[&[], &[]]).await;
    let expected =
        Tail { held: vec![None, None], open: vec![false, false], durable: true, ..Tail::default() };
    assert_eq!(tail, expected);
    assert_eq!(tail.held_offset(), 0);
}

#[tokio::test]
async fn goes_on_at_the_last_heartbeat_that_all_partitions_have() {
    let begun = || Begin(1, 50, FullResync, "a");
    let tail = tail_of(&[
        &[begun(), Beat(1, 100, "a", 2), Change(1, 120), Beat(1, 200, "a", 7), Change(1, 230)],
        &[begun(), Beat(1, 100, "a", 2), Change(1, 150)],
    ])
    .await;
    assert_eq!(point(&tail), ("a", 1, 100, 2));
    assert_eq!(tail.held, [Some(at(1, 230)), Some(at(1, 150))]);
    assert_eq!((tail.last_epoch, tail.held_offset()), (1, 230));
    assert_eq!(tail.last_stamp, Stamp { time_ms: 1230, ..Stamp::default() });
    assert!(tail.durable);
}

#[tokio::test]
async fn a_partition_without_a_heartbeat_means_a_full_transfer() {
    let begun = || Begin(1, 50, FullResync, "a");
    let tail = tail_of(&[&[begun(), Beat(1, 50, "a", 0)], &[begun(), Change(1, 50)]]).await;
    assert_eq!(tail.point, None);
    assert_eq!(tail.last_epoch, 1);
    let tail = tail_of(&[&[begun(), Beat(1, 50, "a", 0)], &[]]).await;
    assert_eq!((tail.point, tail.last_epoch), (None, 1));
}

#[tokio::test]
async fn a_snapshot_cut_short_is_not_resumed() {
    let old = || [Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)];
    let cut = [Begin(2, 90, FullResync, "b"), Change(2, 90), Change(2, 90)];
    let [begin, beat] = old();
    let [cut_begin, one, two] = cut;
    let tail = tail_of(&[&[begin, beat, cut_begin, one, two], &old()]).await;
    assert_eq!((tail.point, tail.last_epoch), (None, 2));
}

#[tokio::test]
async fn a_snapshot_of_which_one_partition_lost_all_is_not_resumed() {
    // The first partition is complete, and its window does not reach back to where the epoch began.
    let mut first = vec![Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)];
    first.push(Begin(2, 90, FullResync, "b"));
    first.extend((0..50).map(|_| Change(2, 90)));
    first.push(Beat(2, 90, "b", 0));
    let tail = tail_of(&[&first, &[Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)]]).await;
    assert_eq!((tail.point, tail.last_epoch), (None, 2));
}

#[tokio::test]
async fn epochs_ahead_are_known_from_the_partitions_that_have_them() {
    let old = || [Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 3)];
    let [one, two] = old();
    let mut first = vec![one, two, Change(1, 150), Begin(2, 180, Continued, "b")];
    first.extend((200..260).map(|offset| Change(2, offset)));
    first.push(Beat(2, 260, "b", 5));
    first.push(Begin(4, 300, Continued, "c"));
    let tail = tail_of(&[&first, &old()]).await;
    assert_eq!(point(&tail), ("c", 1, 100, 3), "the newest id, at the oldest place");
    let expected = [(at(2, 180), begin(Continued, "b")), (at(4, 300), begin(Continued, "c"))];
    assert_eq!(tail.point.as_ref().unwrap().ahead, expected);
    assert_eq!(tail.point.as_ref().unwrap().epoch_id, "a");
    assert_eq!(tail.held, [Some(at(4, 300)), Some(last_at(1, 100))]);
    assert_eq!((tail.last_epoch, tail.held_offset()), (4, 300));
}

#[tokio::test]
async fn an_epoch_that_everybody_has_passed_is_not_ahead() {
    let shard = || {
        [
            Begin(1, 50, FullResync, "a"),
            Beat(1, 100, "a", 0),
            Begin(2, 120, Continued, "b"),
            Beat(2, 150, "b", 0),
        ]
    };
    let tail = tail_of(&[&shard(), &shard()]).await;
    assert_eq!(point(&tail), ("b", 2, 150, 0));
    assert!(tail.point.unwrap().ahead.is_empty());
}

#[tokio::test]
async fn an_end_without_the_next_beginning_means_a_full_transfer() {
    let old = || vec![Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)];
    let mut closed = old();
    closed.push(Beat(1, 120, "", 0));
    assert_eq!(tail_of(&[&closed, &old()]).await.point, None);
    let mut begun = old();
    begun.extend([Beat(1, 120, "", 0), Begin(2, 120, Continued, "b")]);
    let tail = tail_of(&[&closed, &begun]).await;
    assert_eq!(point(&tail), ("b", 1, 100, 0), "one partition knows what comes");
    assert_eq!(tail.point.unwrap().ahead, [(at(2, 120), begin(Continued, "b"))]);
}

#[tokio::test]
async fn a_beginning_that_retention_has_taken_means_a_full_transfer() {
    let mut first = vec![Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)];
    first.push(Begin(2, 120, Continued, "b"));
    first.extend((130..140).map(|offset| Change(2, offset)));
    first.push(Beat(2, 150, "b", 0));
    let second = [Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)];
    let journal = journal(&[&first, &second]).await;
    let whole = read_tail(&journal, SHARD).await.unwrap();
    assert_eq!(point(&whole), ("b", 1, 100, 0));
    journal.trim(vec![(Partition(0), Offset(5))]).await.unwrap();
    let tail = read_tail(&journal, SHARD).await.unwrap();
    assert_eq!((tail.point, tail.last_epoch), (None, 2));
}

#[tokio::test]
async fn retention_far_behind_the_heartbeats_changes_nothing() {
    let mut events = vec![Begin(1, 50, FullResync, "a")];
    events.extend((60..100).map(|offset| Beat(1, offset, "a", 1)));
    let journal = journal(&[&events]).await;
    journal.trim(vec![(Partition(0), Offset(30))]).await.unwrap();
    let tail = read_tail(&journal, SHARD).await.unwrap();
    assert_eq!(point(&tail), ("a", 1, 99, 1));
    let end = Offset(events.len() as u64);
    journal.trim(vec![(Partition(0), end)]).await.unwrap();
    let tail = read_tail(&journal, SHARD).await.unwrap();
    assert_eq!((tail.point, tail.held), (None, vec![None]), "nothing is left");
}

#[tokio::test]
async fn an_event_whose_last_piece_is_missing_is_not_held() {
    let begun = || vec![Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0), Change(1, 120)];
    let mut cut = begun();
    cut.extend([Put::Fragment(1, 140, 0, 3), Put::Fragment(1, 140, 1, 3)]);
    let tail = tail_of(&[&cut]).await;
    assert_eq!((tail.held, tail.open), (vec![Some(at(1, 120))], vec![true]));
    cut.push(Put::Fragment(1, 140, 2, 3));
    let tail = tail_of(&[&cut]).await;
    assert_eq!(tail.held, [Some(at(1, 140))]);
    assert_eq!(tail.open, [true], "it may have been a record of a group");
    cut.push(Change(1, 150));
    assert_eq!(tail_of(&[&cut]).await.open, [false]);
}

#[tokio::test]
async fn a_record_of_a_group_is_held_by_itself() {
    let mut cut = vec![Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)];
    cut.extend([Put::Group(1, 140, 0, false), Put::Group(1, 140, 1, false)]);
    let tail = tail_of(&[&cut]).await;
    assert_eq!((tail.held, tail.open), (vec![Some(at(1, 140).at_index(1))], vec![true]));
    cut.push(Put::Group(1, 140, 2, true));
    let tail = tail_of(&[&cut]).await;
    assert_eq!((tail.held, tail.open), (vec![Some(at(1, 140).at_index(2))], vec![false]));
}

#[tokio::test]
async fn tells_whether_what_is_held_survives_a_crash() {
    let journal = journal(&[&[Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 0)]]).await;
    journal.hold_durability();
    append(&journal, &[&[Change(1, 120)]]).await;
    assert!(!read_tail(&journal, SHARD).await.unwrap().durable);
    journal.release_durability();
    assert!(read_tail(&journal, SHARD).await.unwrap().durable);
}

#[tokio::test]
async fn a_record_that_is_no_event_is_named() {
    let journal = journal(&[&[], &[Begin(1, 50, FullResync, "a")]]).await;
    let mut appender = journal.appender().await.unwrap();
    let record = Append {
        partition: Partition(1),
        key: Bytes::new(),
        timestamp_ms: 0,
        kind: "command",
        db: 0,
        payload: Bytes::from_static(b"\xff\xff"),
    };
    appender.append(&mut vec![record]).await.unwrap();
    let error = read_tail(&journal, SHARD).await.unwrap_err();
    assert!(error.to_string().starts_with("the record at offset 1 of partition 1"), "{error}");
}

#[tokio::test]
async fn a_snapshot_made_on_demand_is_no_place_in_the_stream() {
    let without: [&[Put]; 2] = [
        &[Begin(1, 0, FullResync, "a"), Beat(1, 10, "a", 0), Change(1, 20)],
        &[Begin(1, 0, FullResync, "a"), Beat(1, 10, "a", 0), Put::Fragment(1, 30, 0, 2)],
    ];
    let expected = tail_of(&without).await;
    for record in Record::ALL {
        // Far ahead of the stream, at it, and behind it, as where it is caught up.
        for offset in [1_000, 20, 5] {
            let beside = || Put::Beside(record, 1, offset);
            let with: [&[Put]; 2] = [
                &[
                    Begin(1, 0, FullResync, "a"),
                    beside(),
                    Beat(1, 10, "a", 0),
                    beside(),
                    Change(1, 20),
                    beside(),
                ],
                &[
                    Begin(1, 0, FullResync, "a"),
                    Beat(1, 10, "a", 0),
                    beside(),
                    Put::Fragment(1, 30, 0, 2),
                    beside(),
                ],
            ];
            assert_eq!(tail_of(&with).await, expected);
        }
    }
}

/// An event of another shard: its slots are those that it says.
fn of_shard(shard: u32, put: &Put, slots: &Slots) -> Append {
    let mut event = put.event();
    event.position.shard = Shard(shard);
    match &mut event.body {
        Body::Control(Control::Heartbeat(beat)) => {
            beat.slots = Some(slots.clone());
            "eighth".clone_into(&mut beat.shard_name);
        }
        Body::Control(Control::EpochBegin(begin)) => begin.slots = Some(slots.clone()),
        _ => {}
    }
    let mut payload = BytesMut::new();
    codec::encode(&event, &mut payload).unwrap();
    let (partition, kind) = (Partition(0), event.kind());
    Append { partition, key: Bytes::new(), timestamp_ms: 0, kind, db: 0, payload: payload.freeze() }
}

#[tokio::test]
async fn each_shard_has_a_tail_of_its_own_however_much_another_has_written_behind_it() {
    let slot = |number| Slot::new(number).unwrap();
    let mine = Slots::of([(slot(0), slot(99))]);
    let journal = MemoryJournal::new("test", 1);
    let mut appender = journal.appender().await.unwrap();
    let of_mine = [Begin(1, 50, FullResync, "a"), Beat(1, 100, "a", 2), Change(1, 120)];
    let mut records: Vec<Append> = of_mine.iter().map(|put| of_shard(7, put, &mine)).collect();
    records.push(of_shard(8, &Begin(5, 10, FullResync, "b"), &mine.others()));
    records.extend((11..10_000).map(|offset| of_shard(8, &Change(5, offset), &mine.others())));
    records.push(of_shard(8, &Beat(5, 10_000, "b", 3), &mine.others()));
    appender.append(&mut records).await.unwrap();
    let tail = read_tail(&journal, Shard(7)).await.unwrap();
    assert_eq!(point(&tail), ("a", 1, 100, 2));
    let held = Position { shard: Shard(7), ..at(1, 120) };
    assert_eq!((&tail.held[..], tail.last_epoch), (&[Some(held)][..], 1));
    assert_eq!(tail.slots, Some(Some(mine.clone())));
    let told = Told { slots: Some(mine.others()), name: Some("eighth".to_owned()) };
    assert_eq!(tail.others, [(Shard(8), told)].into());
    assert_eq!(point(&read_tail(&journal, Shard(8)).await.unwrap()), ("b", 5, 10_000, 3));
    let new = read_tail(&journal, Shard(9)).await.unwrap();
    assert_eq!((new.point, new.slots, new.held), (None, None, vec![None]));
}
