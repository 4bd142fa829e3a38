//! A disk that fills up, writes half, or fails to sync.

use std::time::Duration;

use runtime::Random;

use super::sim_disk::SimDisk;
use super::{ALL, Stream, from_start, numbered, sim_config};
use crate::local::{LocalConfig, OpenReport, SyncPolicy};
use crate::{AppendError, Health, Journal, Receipt};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    for seed in 0..5 {
        let mut random = Random::from_seed(seed);
        let disk = SimDisk::new();
        disk.write_short(random.fork());
        let mut stream = Stream::open(&disk, &sim_config()).await;
        stream.append((0..10).map(|n| numbered(n, 300)).collect()).await;
        stream.appender.flush().await.unwrap();

        // Room for a part of a frame, or for a segment's end and a part of the next one's header.
        disk.set_capacity(disk.used() + random.below(6000));
        let mut health = stream.appender.health();
        stream.append((10..60).map(|n| numbered(n, 300)).collect()).await;
        let stalled = health.wait_for(|health| *health != Health::Accepting).await.unwrap().clone();
        let Health::Stalled(text) = stalled else { panic!("{stalled:?}") };
        assert!(text.contains("/sim") && text.contains("free some space"), "{text}");
        assert!(*stream.appender.durable().borrow() >= Receipt(10), "written before");

        disk.set_capacity(u64::MAX);
        assert_eq!(stream.appender.flush().await.unwrap(), Receipt(60));
        assert_eq!(*health.borrow(), Health::Accepting);
        stream.append((60..70).map(|n| numbered(n, 300)).collect()).await;
        stream.appender.flush().await.unwrap();
        assert_eq!(stream.check_all_numbered(|what| format!("seed {seed}: {what}")).await, 70);
        let mut stream = stream.reopen(&disk).await;
        assert_eq!(*stream.journal.open_report(), OpenReport::default());
        assert_eq!(stream.check_all_numbered(|what| format!("seed {seed}: {what}")).await, 70);
    }
}

#[tokio::test]
async fn a_full_disk_holds_the_appender_back_and_does_not_hold_up_closing() {
    let disk = SimDisk::new();
    let config = LocalConfig { queue_bytes: 10_000, ..sim_config() };
    let mut stream = Stream::open(&disk, &config).await;
    stream.append(vec![numbered(0, 10)]).await;
    stream.appender.flush().await.unwrap();
    disk.set_capacity(disk.used());
    let mut batch = (1..200).map(|n| numbered(n, 300)).collect();
    let refused = {
        let append = stream.appender.append(&mut batch);
        tokio::pin!(append);
        assert!(
            futures::future::poll_immediate(&mut append).await.is_none(),
            "the queue is bounded"
        );
        tokio::join!(append, stream.journal.close()).0
    };
    assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
    disk.set_capacity(u64::MAX);
    assert_eq!(Stream::open(&disk, &config).await.check_all_numbered(str::to_owned).await, 1);
}

#[tokio::test]
async fn short_writes_are_written_on() {
    let disk = SimDisk::new();
    disk.write_short(Random::from_seed(3));
    let mut stream = Stream::open(&disk, &sim_config()).await;
    for n in 0..100 {
        stream.append(vec![numbered(n, n * 20)]).await;
    }
    stream.appender.flush().await.unwrap();
    let mut stream = stream.reopen(&disk).await;
    assert_eq!(stream.check_all_numbered(str::to_owned).await, 100);
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    fails_for_good(SyncPolicy::EachBatch).await;
}

#[tokio::test]
async fn a_failed_sync_beside_the_writer_is_final_too() {
    fails_for_good(SyncPolicy::Interval(Duration::from_millis(1))).await;
}

/// Record 1 is in the file and being synced when record 2 finds no room.
#[tokio::test]
async fn a_sync_that_fails_while_the_writer_waits_for_room_is_final() {
    let disk = SimDisk::new();
    let sync = SyncPolicy::Interval(Duration::from_millis(1));
    let mut stream = Stream::open(&disk, &LocalConfig { sync, ..sim_config() }).await;
    stream.append(vec![numbered(0, 10)]).await;
    stream.appender.flush().await.unwrap();
    disk.hold_syncs();
    stream.append(vec![numbered(1, 10)]).await;
    disk.until_a_sync_waits();
    stalls(&disk, &mut stream).await;
    disk.fail_syncs();
    disk.release_syncs();
    is_final(&disk, stream).await;
}

/// Record 1 is in the file, its sync is far away, when record 2 finds no room.
#[tokio::test]
async fn a_sync_that_fails_because_there_is_no_room_for_more_is_final() {
    let disk = SimDisk::new();
    let sync = SyncPolicy::Interval(Duration::from_hours(1));
    let mut stream = Stream::open(&disk, &LocalConfig { sync, ..sim_config() }).await;
    stream.append(vec![numbered(0, 10)]).await;
    stream.appender.flush().await.unwrap();
    stream.append(vec![numbered(1, 10)]).await;
    assert_eq!(stream.check_all_numbered(str::to_owned).await, 2, "it is in the file");
    disk.hold_syncs();
    stalls(&disk, &mut stream).await;
    disk.until_a_sync_waits();
    disk.fail_syncs();
    disk.release_syncs();
    is_final(&disk, stream).await;
}

/// There is no room for record 2.
async fn stalls(disk: &SimDisk, stream: &mut Stream) {
    let mut health = stream.appender.health();
    disk.set_capacity(disk.used());
    stream.append(vec![numbered(2, 5_000)]).await;
    health.wait_for(|health| *health != Health::Accepting).await.unwrap();
}

/// Room does not help, nobody waits for ever, and what was durable is all that is claimed to be.
async fn is_final(disk: &SimDisk, mut stream: Stream) {
    let mut durable = stream.appender.durable();
    while durable.changed().await.is_ok() {}
    assert_eq!(*durable.borrow(), Receipt(1));
    // Also those who read up to what stands in the file: the writer has left, full as the disk is.
    let told = tokio::time::timeout(PATIENCE, async {
        let mut reader = stream.journal.reader(from_start()).await.unwrap();
        while reader.next(ALL).await.is_ok() {}
    });
    told.await.expect("readers are told");
    disk.set_capacity(u64::MAX);
    for failed in [
        stream.appender.flush().await.unwrap_err(),
        stream.appender.append(&mut vec![numbered(3, 10)]).await.unwrap_err(),
    ] {
        let AppendError::Failed(text) = failed else { panic!("{failed:?}") };
        assert!(text.contains("sync /sim/00000000000000000000.seg"), "{text}");
    }
    drop(stream.appender);
    stream.journal.close().await;
}

async fn fails_for_good(sync: SyncPolicy) {
    let disk = SimDisk::new();
    let config = LocalConfig { sync, ..sim_config() };
    let mut stream = Stream::open(&disk, &config).await;
    stream.append(vec![numbered(0, 10)]).await;
    stream.appender.flush().await.unwrap();
    disk.fail_syncs();
    let mut durable = stream.appender.durable();
    stream.append(vec![numbered(1, 10)]).await;
    let failed = stream.appender.flush().await;
    let Err(AppendError::Failed(text)) = failed else { panic!("{failed:?}") };
    assert!(text.contains("sync /sim/00000000000000000000.seg"), "{text}");
    assert_eq!(*durable.borrow_and_update(), Receipt(1));
    assert!(durable.changed().await.is_err(), "the watch is closed");
    assert!(stream.appender.append(&mut vec![numbered(2, 10)]).await.is_err());
    drop(stream.appender);
    let mut next = stream.journal.appender().await.unwrap();
    assert!(next.append(&mut vec![numbered(2, 10)]).await.is_err(), "also for the next appender");
}
