//! Snapshots made on demand: whoever does not begin with one passes over it.

use event::checkpoint::Resync;
use event::control::{FunctionChange, SnapshotBegin};
use event::fragment::{self, Fragment};
use event::image::{Elements, Flavour, Image, ImageHead, ImagePart, ImageValue};

use super::*;
use crate::config::Existing;
use crate::plan::{Need, Planned};
use crate::scope::Line;

const ID: u64 = 7;

fn head() -> ImageHead {
    ImageHead {
        type_byte: 0,
        flavour: Flavour::Redis,
        rdb_version: 11,
        expire_at_ms: None,
        idle_s: None,
        freq: None,
        snapshot_id: ID,
    }
}

/// One of each kind, at the offset of the snapshot, which is far beyond the stream.
fn records() -> Vec<Event> {
    let text = ImageValue::Text(Bytes::from_static(b"of the snapshot"));
    let image = Body::Image(Image { head: head(), value: text });
    let part = |number, last| {
        let elements = Elements::Items(vec![Bytes::from_static(b"item")]);
        Body::ImagePart(ImagePart { head: head(), number, last, elements })
    };
    let opaque = Elements::Opaque(Bytes::from_static(b"x"));
    let opaque = ImagePart { head: head(), number: 0, last: false, elements: opaque };
    let data = Bytes::from_static(b"x");
    let piece = Fragment { number: 0, count: 2, total_bytes: 9, crc32c: 0, data, snapshot_id: ID };
    let args = ["FUNCTION", "LOAD", "REPLACE", "#!lua name=lib"].map(Bytes::from).to_vec();
    let begin = SnapshotBegin {
        snapshot_id: ID,
        keys_expected: 0,
        bytes_expected: 0,
        rdb_version: 0,
        flavour: Flavour::Redis,
        slots: None,
    };
    let end = SnapshotEnd { snapshot_id: ID, keys: 1, keys_total: 1 };
    let bodies = [
        Body::Control(Control::SnapshotBegin(begin)),
        Body::Control(Control::Function(FunctionChange { args, snapshot_id: ID })),
        image,
        part(0, false),
        part(1, true),
        Body::ImagePart(opaque),
        Body::Fragment(piece),
        Body::Control(Control::SnapshotEnd(end)),
    ];
    let places = (1..).map(|index| at(1_000).at_index(index));
    places.zip(bodies).map(|(position, body)| event(position, b"k", body)).collect()
}

#[test]
fn a_snapshot_made_on_demand_is_passed_over_wherever_it_stands() {
    for before in [0, 1, 3] {
        let mut planner = begun();
        let stream: Vec<Event> =
            (1..=3).map(|n| written(n, &format!("INCRBY k {n}"), Effect::Merge)).collect();
        let (first, rest) = stream.split_at(before);
        let mut found = commands(&plan(&mut planner, first));
        let stood = planner.now().applied;
        let beside = plan(&mut planner, &records());
        assert!(!beside.has_work() && !beside.urgent);
        assert_eq!(planner.now().applied, stood, "it is no place in the stream");
        found.extend(commands(&plan(&mut planner, rest)));
        assert_eq!(found, ["INCRBY k 1", "INCRBY k 2", "INCRBY k 3"]);
    }
}

#[test]
fn a_lane_that_has_not_begun_passes_over_it_too() {
    let mut planner = planner();
    plan(&mut planner, &records());
    assert!(planner.now().applied.is_empty());
}

#[test]
fn the_pieces_of_one_of_its_images_all_say_whose_they_are() {
    let text = ImageValue::Text(Bytes::from(vec![b'x'; 2_000_000]));
    let image = event(at(9), b"k", Body::Image(Image { head: head(), value: text }));
    let mut encoded = BytesMut::new();
    event::codec::encode(&image, &mut encoded).unwrap();
    let pieces = fragment::split(encoded.freeze(), &event::codec::Head::of(&image));
    let pieces: Vec<Event> = pieces.of_snapshot(image.snapshot_id()).collect();
    assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.snapshot_id() == ID));
    let mut planner = begun();
    let batch = plan(&mut planner, &pieces);
    assert!(!batch.has_work());
    assert_eq!(planner.now().applied, begun().now().applied);
}

#[test]
fn what_is_in_doubt_of_one_that_is_applied_is_applied_again_or_suspect() {
    let planner = begun();
    let judged = at(1_000).at_index(1);
    let mut doubt = crate::doubt::Doubt::new([(judged, at(1_000).at_index(5).into())], vec![0; 4]);
    for event in records().iter().skip(2).take(3) {
        doubt.note(event, &entry(event, 0, 0).payload, here(&planner.rules)).unwrap();
    }
    // Of the same key first an image, then parts.
    let settled = doubt.settle(&planner.rules).unwrap();
    assert_eq!((settled.again.len(), settled.suspects.len()), (0, 1));
    let mut doubt = crate::doubt::Doubt::new([(judged, at(1_000).at_index(3).into())], vec![0; 4]);
    let image = &records()[2];
    doubt.note(image, &entry(image, 0, 0).payload, here(&planner.rules)).unwrap();
    let settled = doubt.settle(&planner.rules).unwrap();
    assert_eq!((settled.again.len(), settled.suspects.len()), (1, 0));
}

/// What is done about the libraries of functions ahead of the first record of one that is applied.
#[test]
fn one_that_is_applied_removes_libraries_only_where_they_may_go() {
    use Existing::{Fail, Overwrite, Sweep};
    for (sweep, existing, found, flushes) in [
        (false, Fail, None, false),
        (false, Sweep, None, false),
        (true, Sweep, None, true),
        (true, Overwrite, None, false),
        (true, Fail, Some(true), true),
        (true, Fail, Some(false), false),
    ] {
        let mut planner = begun();
        planner.rules.take_existing(existing);
        let line = Line { track: 0, shard: Shard(0) };
        let resync = Resync { shard: Shard(0), epoch: 1, sweep, sweeping: false, snapshot_id: ID };
        planner.progress.resyncs.insert(line, resync);
        let mut batch = Batch::new(0);
        let first = planner.plan(entry(&records()[1], 0, 0), &mut batch).unwrap();
        match (first, found) {
            (Planned::Barrier(barrier), Some(may_go)) => {
                assert_eq!(barrier.need, Need::Functions);
                assert!(!batch.has_work());
                let planned = planner.plan_looked(*barrier, may_go, &mut batch);
                assert!(matches!(planned, Ok(Planned::Done)));
            }
            (Planned::Done, None) => {}
            (first, _) => panic!("{first:?}"),
        }
        planner.plan(entry(&records()[2], 0, 1), &mut batch).unwrap();
        batch.close_run();
        let mut expected = vec!["FUNCTION LOAD REPLACE #!lua name=lib", "SET k of the snapshot"];
        if flushes {
            expected.insert(0, "FUNCTION FLUSH");
        }
        assert_eq!(commands(&batch), expected, "{sweep} {existing:?} {found:?}");
    }
}
