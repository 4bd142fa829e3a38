//! Power cuts at any moment: what was reported durable is there, the rest is a prefix, and the
//! journal goes on.

use runtime::Random;

use super::sim_disk::SimDisk;
use super::{ALL, Stream, from_start, numbered, sim_config};
use crate::local::{LocalConfig, SyncPolicy};
use crate::{Journal, Offset, Partition};

/// Power cuts one after the other on the same disk.
const GENERATIONS: usize = 6;
const SEEDS: u64 = 40;

#[tokio::test]
async fn a_power_cut_takes_a_suffix_of_what_was_not_durable() {
    let (mut cuts, mut losses) = (0, 0);
    for seed in 0..SEEDS {
        let (cut, lost) = survive(seed).await;
        cuts += cut;
        losses += lost;
    }
    // Else the test would not have tested what it says.
    assert!(cuts > 15, "only {cuts} torn tails were cut");
    assert!(losses > 150, "only {losses} records were lost");
}

/// Returns how many torn tails were cut and how many records were lost.
async fn survive(seed: u64) -> (usize, usize) {
    let mut random = Random::from_seed(seed);
    let sync = match random.below(3) {
        0 => SyncPolicy::EachBatch,
        1 => SyncPolicy::Interval(std::time::Duration::from_micros(300)),
        // Only flushes and sealing sync: as much as possible is at risk.
        _ => SyncPolicy::Interval(std::time::Duration::from_secs(3600)),
    };
    let config = LocalConfig { sync, ..sim_config() };
    let mut disk = SimDisk::new();
    let (mut sure, mut total, mut cuts, mut losses) = (0, 0, 0, 0);
    let mut released = None;
    for generation in 0..GENERATIONS {
        let mut stream = Stream::open(&disk, &config).await;
        cuts += usize::from(stream.journal.open_report().cut.is_some());
        let found =
            stream.check_all_numbered(|what| format!("seed {seed}/{generation}: {what}")).await;
        assert!(
            (sure..=total).contains(&found),
            "seed {seed}/{generation}: {found} of {total}, sure {sure}"
        );
        let readers = stream.journal.describe().await.unwrap().readers;
        assert_eq!(readers.first().map(|reader| reader.released[0].1), released);
        losses += usize::try_from(total - found).unwrap();
        total = found;
        for _ in 0..random.below(30) {
            let count = 1 + random.below(40);
            let size = random.below(600);
            stream.append((total..total + count).map(|n| numbered(n, size)).collect()).await;
            total += count;
            if random.chance(0.15) {
                stream.appender.flush().await.unwrap();
            }
            if random.chance(0.05) {
                let place = Offset(random.below(1000));
                stream.journal.release("reader", vec![(Partition(1), place)]).await.unwrap();
                released = Some(place);
            }
            if random.chance(0.3) {
                tokio::task::yield_now().await;
            }
        }
        // Asked first: what is reported after the cut does not count.
        sure = found + stream.appender.durable().borrow().0;
        disk = disk.power_cut(&mut random);
    }
    (cuts, losses)
}

#[tokio::test]
async fn what_a_killed_process_left_in_memory_is_made_durable_before_more_is_written() {
    let mut random = Random::from_seed(1);
    let never = std::time::Duration::from_secs(3600);
    let config = LocalConfig { sync: SyncPolicy::Interval(never), ..sim_config() };
    for round in 0..40 {
        let disk = SimDisk::new();
        let mut killed = Stream::open(&disk, &config).await;
        killed.append((0..5).map(|n| numbered(n, 100)).collect()).await;
        let mut reader = killed.journal.reader(from_start()).await.unwrap();
        reader.next(ALL).await.unwrap();
        // As a killed process, it does not close; what it wrote, the system has.
        let mut next = Stream::open(&disk, &config).await;
        let described = next.journal.describe().await.unwrap();
        let found: u64 = described.partitions.iter().map(|range| range.durable.0).sum();
        next.append((found..found + 5).map(|n| numbered(n, 100)).collect()).await;
        let mut reader = next.journal.reader(from_start()).await.unwrap();
        super::read(&mut *reader, usize::try_from(found).unwrap() + 5).await;
        let mut left = Stream::open(&disk.power_cut(&mut random), &config).await;
        let kept = left.check_all_numbered(|what| format!("{round}: {what}")).await;
        assert!((found..=found + 5).contains(&kept), "{round}: {kept} of {found}");
    }
}
