//! Where a lane without a usable checkpoint begins: at the newest snapshot of every shard that the journal holds.

use std::collections::HashMap;

use event::control::{Control, EpochCause};
use event::{Body, Position, Shard};
use journal::{Description, Journal, Offset, Partition, ReadLimit};

use super::Scope;
use crate::error::Error;
use crate::limits;

/// Where to begin.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    /// Per partition of the lane, the first record to read.
    pub(crate) offsets: Vec<u64>,
    /// Per shard, the beginning of its newest snapshot: what is before it is not for this destination.
    pub(crate) snapshots: HashMap<Shard, Position>,
}

/// Looks for the newest snapshots in what the journal holds now.
///
/// # Errors
/// When the journal cannot be read, or holds no snapshot although it holds something.
pub(crate) async fn find(
    journal: &dyn Journal,
    description: &Description,
    scope: &Scope,
) -> Result<Begin, Error> {
    let ranges: Vec<_> = (scope.first..=scope.last)
        .map(|number| {
            let range = description.partitions.get(usize::from(number)).copied();
            (Partition(number), range.unwrap_or_default())
        })
        .collect();
    let mut begin = Begin {
        offsets: ranges.iter().map(|(_, range)| range.start.0).collect(),
        ..Begin::default()
    };
    let mut left: usize = ranges.iter().filter(|(_, range)| range.start < range.end).count();
    if left == 0 {
        return Ok(begin);
    }
    let from = ranges.iter().map(|(partition, range)| (*partition, range.start)).collect();
    let mut reader = journal.reader(from).await?;
    let mut found: HashMap<(Partition, Shard), u64> = HashMap::new();
    while left > 0 {
        let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
        for entry in reader.next(limit).await? {
            let range = ranges.iter().find(|(partition, _)| *partition == entry.partition);
            let end = range.map_or(Offset(0), |(_, range)| range.end);
            left -= usize::from(entry.offset.after(1) == end);
            let decoded = event::codec::decode(entry.payload);
            let event = decoded.map_err(|source| Error::Record {
                partition: entry.partition.0,
                offset: entry.offset.0,
                source,
            })?;
            if let Body::Control(Control::EpochBegin(epoch)) = &event.body
                && epoch.cause == EpochCause::FullResync
            {
                found.insert((entry.partition, event.position.shard), entry.offset.0);
                begin.snapshots.insert(event.position.shard, event.position);
            }
        }
    }
    if begin.snapshots.is_empty() {
        return Err(Error::NoSnapshot { stream: scope.stream.clone(), shard: Shard(0) });
    }
    for (offset, (partition, _)) in begin.offsets.iter_mut().zip(&ranges) {
        let of_partition = found.iter().filter(|((of, _), _)| of == partition);
        if let Some(first) = of_partition.map(|(_, offset)| *offset).min() {
            *offset = first;
        }
    }
    Ok(begin)
}
