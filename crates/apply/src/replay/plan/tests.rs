//! Which snapshot is chosen, in a history of several epochs, and how far it is read from there.

use event::control::EpochCause;

use super::*;
use crate::survey::tests::Log;

/// Two epochs, in the first a snapshot made on demand, one that was given up, and one of the stream that was cut short.
async fn log() -> Log {
    let mut log = Log::new(2).await;
    log.snapshot((1, 10, 1_000)).await;
    log.set(0, (1, 20, 2_000)).await;
    log.begin((1, 20, 2_000), 7).await;
    log.image(1, (1, 30, 2_500), 7).await;
    log.set(1, (1, 40, 3_000)).await;
    log.end((1, 30, 2_500), 7).await;
    log.begin((1, 40, 3_000), 8).await;
    log.set(0, (1, 50, 4_000)).await;
    log.heartbeat((1, 50, 4_500)).await;
    log.epoch((2, 5, 5_000), EpochCause::FullResync).await;
    log.snapshot((3, 5, 6_000)).await;
    log.set(0, (3, 15, 7_000)).await;
    log.heartbeat((3, 20, 8_000)).await;
    log
}

fn offset(epoch: u64, offset: u64) -> Place {
    Place::Offset { epoch: Some(epoch), offset }
}

/// Epoch, offset and id of the snapshot that is chosen, else why there is none.
async fn plan(log: &Log, origin: Origin, until: Option<Place>) -> Result<(u64, u64, u64), String> {
    let planned = Replay::plan(&log.journal, origin, until).await;
    let replay = planned.map_err(|error| error.to_string())?;
    let Beginning { position, snapshot_id, .. } = replay.begin;
    Ok((position.epoch, position.offset, snapshot_id))
}

#[tokio::test]
async fn begins_at_the_newest_complete_snapshot_that_is_not_after_any_of_the_places() {
    let log = log().await;
    let cases = [
        (Origin::Snapshot, None, (3, 5, 0)),
        (Origin::Beginning, None, (1, 10, 0)),
        (Origin::At(offset(1, 30)), None, (1, 30, 7)),
        (Origin::At(offset(1, 29)), None, (1, 10, 0)),
        (Origin::At(Place::TimeMs(2_500)), None, (1, 30, 7)),
        (Origin::At(Place::TimeMs(2_499)), None, (1, 10, 0)),
        (Origin::At(Place::TimeMs(99_999)), None, (3, 5, 0)),
        (Origin::Snapshot, Some(Place::TimeMs(4_200)), (1, 30, 7)),
        (Origin::Snapshot, Some(offset(1, 20)), (1, 10, 0)),
        (Origin::At(offset(1, 25)), Some(offset(3, 15)), (1, 10, 0)),
    ];
    for (origin, until, expected) in cases {
        assert_eq!(plan(&log, origin, until).await, Ok(expected), "{origin:?} {until:?}");
    }
}

#[tokio::test]
async fn what_no_snapshot_leads_to_is_refused_with_what_is_possible() {
    let log = log().await;
    let refused = async |origin, until| plan(&log, origin, until).await.unwrap_err();
    for (origin, until) in [
        (Origin::Snapshot, Some(Place::TimeMs(999))),
        (Origin::At(offset(1, 9)), None),
        (Origin::Beginning, Some(offset(1, 9))),
    ] {
        let said = refused(origin, until).await;
        assert!(said.contains("no complete snapshot as of"), "{said}");
        let snapshots = "offset:1:10 (time:1970-01-01T00:00:01.000Z), offset:1:30";
        assert!(said.contains(snapshots), "{said}");
        assert!(said.contains("offset:3:20 (time:1970-01-01T00:00:08.000Z)"), "{said}");
    }
    let said = refused(Origin::Snapshot, Some(Place::TimeMs(5_500))).await;
    let begun = "offset:2:5 (time:1970-01-01T00:00:05.000Z), that is not complete";
    assert!(said.contains(begun), "{said}");
    let alone = Place::Offset { epoch: None, offset: 20 };
    assert!(refused(Origin::At(alone), None).await.contains("offset:20 alone names no place"));
    assert!(refused(Origin::At(offset(9, 20)), None).await.contains("nothing of epoch 9"));
    let empty = Log::new(1).await;
    let said = plan(&empty, Origin::Snapshot, None).await.unwrap_err();
    assert!(said.contains("replayed from nowhere"), "{said}");
}

#[tokio::test]
async fn a_place_to_begin_at_that_was_never_reached_is_refused_with_the_last_that_was() {
    let log = log().await;
    for (place, last) in [
        (offset(3, 21), "offset:3:20 (time:1970-01-01T00:00:08.000Z)"),
        (offset(3, u64::MAX), "offset:3:20 (time:1970-01-01T00:00:08.000Z)"),
        (offset(1, 51), "offset:1:50 (time:1970-01-01T00:00:04.500Z)"),
    ] {
        let said = plan(&log, Origin::At(place), None).await.unwrap_err();
        assert!(said.contains("ends before that, at ") && said.contains(last), "{said}");
        assert!(said.contains("complete snapshots: offset:1:10"), "{said}");
    }
    assert_eq!(plan(&log, Origin::At(offset(3, 20)), None).await, Ok((3, 5, 0)));
}

#[tokio::test]
async fn a_snapshot_that_is_ahead_of_the_stream_is_a_place_to_begin_at() {
    let mut log = Log::new(1).await;
    log.snapshot((4, 10, 1_000)).await;
    log.begin((4, 10, 1_000), 7).await;
    log.image(0, (4, 30, 1_500), 7).await;
    log.end((4, 30, 1_500), 7).await;
    assert_eq!(plan(&log, Origin::At(offset(4, 30)), None).await, Ok((4, 30, 7)));
    assert!(plan(&log, Origin::At(offset(4, 31)), None).await.is_err());
}

#[tokio::test]
async fn a_place_to_end_at_that_is_before_the_one_to_begin_at_is_refused() {
    let log = log().await;
    for (from, until) in [
        (offset(1, 50), offset(1, 49)),
        (offset(3, 15), offset(1, 50)),
        (Place::TimeMs(4_001), Place::TimeMs(4_000)),
        // A snapshot tells that it is so.
        (Place::TimeMs(3_000), offset(1, 29)),
        (offset(1, 30), Place::TimeMs(2_000)),
    ] {
        let said = plan(&log, Origin::At(from), Some(until)).await.unwrap_err();
        assert!(said.contains("is before the one to begin at"), "{from:?} {until:?}: {said}");
        assert!(said.contains("complete snapshots: offset:1:10"), "{said}");
    }
    for place in [offset(1, 50), Place::TimeMs(4_000)] {
        assert!(plan(&log, Origin::At(place), Some(place)).await.is_ok(), "{place:?}");
    }
}

#[tokio::test]
async fn an_offset_alone_is_of_the_only_epoch() {
    let mut log = Log::new(1).await;
    log.snapshot((4, 10, 1_000)).await;
    log.heartbeat((4, 20, 2_000)).await;
    let place = Place::Offset { epoch: None, offset: 15 };
    assert_eq!(plan(&log, Origin::At(place), Some(place)).await, Ok((4, 10, 0)));
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_no_place_to_end_at() {
    let mut log = log().await;
    log.epoch((4, 1, 9_000), EpochCause::FullResync).await;
    let said = plan(&log, Origin::Snapshot, None).await.unwrap_err();
    assert!(said.contains("4:1") && said.contains("not complete"), "{said}");
    assert_eq!(plan(&log, Origin::Snapshot, Some(Place::TimeMs(8_500))).await, Ok((3, 5, 0)));
}

/// Per partition: records and whether the place was passed.
async fn measured(log: &Log, until: Option<Place>) -> Vec<(u64, bool)> {
    let replay = Replay::plan(&log.journal, Origin::Beginning, until).await.unwrap();
    let measured = replay.measure(&log.journal).await.unwrap();
    measured.iter().map(|of| (of.records, of.passed)).collect()
}

#[tokio::test]
async fn a_place_is_one_cut_through_all_partitions_whatever_lies_beside_the_stream() {
    let log = log().await;
    // 0: begin, end, set 20, begin 7, end 7, begin 8, set 50, beat 50; 1: the same with an image and set 40.
    assert_eq!(measured(&log, Some(offset(1, 50))).await, [(8, true), (8, true)]);
    assert_eq!(measured(&log, Some(Place::TimeMs(4_500))).await, [(8, true), (8, true)]);
    assert_eq!(measured(&log, Some(offset(1, 49))).await, [(6, true), (7, true)]);
    assert_eq!(measured(&log, Some(Place::TimeMs(2_999))).await, [(6, true), (4, true)]);
    // The end is what it was.
    assert_eq!(measured(&log, None).await, [(13, true), (12, true)]);
    assert_eq!(measured(&log, Some(offset(3, 99))).await, [(13, false), (12, false)]);
}
