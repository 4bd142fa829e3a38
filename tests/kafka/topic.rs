//! What is in a topic: whether each change of the source is there once.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use event::{Body, Position, codec};
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::{Journal, Partition, PartitionRange};

use crate::apart::{PARTITIONS, Stage};
use crate::stage::{open, take};

/// Fails unless the changes of each partition come in the order of the source, none of them twice; how many there
/// are of the stream (those of the snapshot are not counted).
pub(crate) fn assert_each_once(stage: &Stage) -> Result<usize> {
    let placement = "slot * partitions / 16384".to_owned();
    let partitions = PARTITIONS.parse()?;
    let config = KafkaConfig::new(&stage.brokers, &stage.stream, partitions);
    let config = KafkaConfig { placement, create: false, ..config };
    tokio::runtime::Runtime::new()?.block_on(async {
        let journal = open(&config).await;
        let mut count = 0;
        for partition in 0..partitions {
            count += changes_of(&journal, partition).await?;
        }
        Ok(count)
    })
}

async fn changes_of(journal: &KafkaJournal, partition: u16) -> Result<usize> {
    let ranges = journal.describe().await?.partitions;
    // The first record of all is of no time, so that the broker may have forgotten it.
    let PartitionRange { start, end, .. } =
        *ranges.get(usize::from(partition)).context("a partition")?;
    let mut reader = journal.reader(vec![(Partition(partition), start)]).await?;
    let mut last: BTreeMap<u64, Position> = BTreeMap::new();
    let mut count = 0;
    let mut next = start;
    while next < end {
        let entry = take(&mut *reader, 1).await.remove(0);
        next = entry.offset.after(1);
        let event = codec::decode(entry.payload)?;
        if matches!(event.body, Body::Control(_)) {
            continue;
        }
        let last = last.insert(event.snapshot_id(), event.position);
        let is_next = last.is_none_or(|last| event.position.is_after(&last));
        ensure!(is_next, "partition {partition}: {} comes after {last:?}", event.position);
        count += usize::from(matches!(event.body, Body::Command(_) | Body::Group(_)));
    }
    Ok(count)
}
