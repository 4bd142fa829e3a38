//! Where a lane begins, in journals that are written by hand.

use event::control::EpochCause;
use journal::{Offset, Partition};

use super::*;
use crate::survey::tests::Log;

async fn newest(log: &Log, survey: &mut Survey) -> Option<(Vec<u64>, Vec<(u64, u64)>)> {
    let description = log.describe().await;
    let begin = Begin::newest(survey, (&log.journal, &description), &Scope::all(&description))
        .await
        .ok()?;
    let snapshots = begin.snapshots.iter().map(|of| (of.position.epoch, of.snapshot_id)).collect();
    Some((begin.offsets, snapshots))
}

#[tokio::test]
async fn a_search_goes_on_where_the_last_one_ended() {
    let (mut log, mut survey) = (Log::new(1).await, Survey::default());
    assert_eq!(newest(&log, &mut survey).await, Some((vec![0], vec![])));
    log.heartbeat((1, 0, 0)).await;
    assert_eq!(newest(&log, &mut survey).await, None);
    log.epoch((1, 0, 0), EpochCause::FullResync).await;
    log.heartbeat((1, 0, 0)).await;
    for _ in 0..2 {
        assert_eq!(newest(&log, &mut survey).await, Some((vec![1], vec![(1, 0)])));
    }
    log.epoch((2, 0, 0), EpochCause::FullResync).await;
    assert_eq!(newest(&log, &mut survey).await, Some((vec![3], vec![(2, 0)])));
    log.heartbeat((2, 0, 0)).await;
    log.journal.trim(vec![(Partition(0), Offset(4))]).await.unwrap();
    assert_eq!(newest(&log, &mut survey).await, None, "it has left the journal");
}

#[tokio::test]
async fn one_of_the_stream_may_be_under_way_and_one_made_on_demand_may_not() {
    let (mut log, mut survey) = (Log::new(2).await, Survey::default());
    log.epoch((1, 10, 100), EpochCause::FullResync).await;
    assert_eq!(newest(&log, &mut survey).await, Some((vec![0, 0], vec![(1, 0)])));
    log.end((1, 10, 100), 0).await;
    log.begin((1, 20, 200), 7).await;
    log.image(0, (1, 25, 210), 7).await;
    log.end_in(0, (1, 25, 210), 7).await;
    assert_eq!(newest(&log, &mut survey).await, Some((vec![0, 0], vec![(1, 0)])));
    log.end_in(1, (1, 25, 210), 7).await;
    assert_eq!(newest(&log, &mut survey).await, Some((vec![2, 2], vec![(1, 7)])));
    log.epoch((2, 5, 300), EpochCause::FullResync).await;
    assert_eq!(newest(&log, &mut survey).await.unwrap().1, [(2, 0)]);
}

#[tokio::test]
async fn only_a_snapshot_of_the_history_that_goes_on_leads_on() {
    let (mut log, mut survey) = (Log::new(1).await, Survey::default());
    log.snapshot((1, 10, 100)).await;
    log.begin((1, 20, 200), 7).await;
    log.end((1, 25, 210), 7).await;
    let description = log.describe().await;
    let scope = Scope::all(&description);
    let begin = Begin::newest(&mut survey, (&log.journal, &description), &scope).await.unwrap();
    let leads = |offset, beyond| begin.leads_on(&[point(0, 1, offset)], beyond);
    assert!(leads(20, None) && !leads(25, None) && !leads(20, Some(Shard(0))));
}

fn point(shard: u32, epoch: u64, offset: u64) -> Point {
    Point { track: 0, position: Position::new(Shard(shard), epoch, offset) }
}

fn shown(shard: u32, epoch: u64, offset: u64) -> Beginning {
    let position = Position::new(Shard(shard), epoch, offset);
    Beginning { position, snapshot_id: 7, time_ms: 0, offsets: vec![0] }
}

#[tokio::test]
async fn one_shard_needs_a_later_epoch_where_only_its_history_goes_on_without_what_was_applied() {
    let scope = Scope::all(&Log::new(1).await.describe().await);
    // Shard 0 has a snapshot of a new history; that of shard 1 was made on demand, in the same.
    let begin = Begin::at(vec![shown(0, 3, 10), shown(1, 1, 90)], &scope);
    let applied = [point(0, 2, 50), point(1, 1, 80)];
    assert!(begin.leads_on(&applied, Some(Shard(0))));
    assert!(!begin.leads_on(&applied, Some(Shard(1))), "it still shows what is gone");
    assert!(!begin.leads_on(&[point(0, 2, 50), point(1, 1, 90)], Some(Shard(0))), "it is behind");
}

#[tokio::test]
async fn each_snapshot_made_on_demand_is_gone_back_to_where_it_begins() {
    let log = Log::new(1).await;
    let scope = Scope::all(&log.describe().await);
    let of = |shard, from| Beginning {
        position: Position::new(Shard(shard), 1, 5),
        snapshot_id: 7,
        time_ms: 0,
        offsets: vec![from],
    };
    let begin = Begin::at(vec![of(0, 30), of(1, 4), of(2, 9)], &scope);
    let mut progress = Progress::from(begin.offsets.clone());
    begin.begin(&mut progress, (&scope, 0), false);
    let from = [0, 1, 2].map(|shard| progress.snapshot_from[&(0, Shard(shard))]);
    assert_eq!((from, &progress.needed[..]), ([30, 4, 9], &[4][..]));
}
