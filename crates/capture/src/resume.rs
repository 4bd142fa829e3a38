//! Where capture goes on: read from the journal's own tail, the only state that it has.
//!
//! Guarantees: every change after the resume point will be read again from the source, so none is
//! missing; what a partition already holds is known, so none is written twice. Pieces of an event
//! whose last piece is missing do not count as held. A snapshot that was cut short is not resumed,
//! nor is a tail whose epochs are not all known or that ends between two epochs: the source is
//! asked for a new snapshot.

mod partition;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use event::control::{EpochBegin, EpochCause};
use event::{Position, Shard, Stamp};
use journal::Journal;
use wire::slot::Slots;

use self::partition::PartitionTail;
use self::scan::Scanner;
use crate::error::ResumeError;

/// What the journal's tail says of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Per partition, the last change that is whole there.
    pub held: Vec<Option<Position>>,
    /// Per partition, whether it may end within an event in several records.
    pub open: Vec<bool>,
    /// Whether everything that was found survives a crash.
    pub durable: bool,
    /// The largest epoch that any partition knows; 0 in an empty journal.
    pub last_epoch: u64,
    /// The replication id of the newest epoch of which one is known; none in an empty journal.
    pub last_id: Option<String>,
    /// The largest stamp.
    pub last_stamp: Stamp,
    /// Where the stream can be taken up again; none: only a full transfer will do.
    pub point: Option<ResumePoint>,
    /// The slots that the shard has, as recorded last: of that none, it has all.
    pub slots: Option<Option<Slots>>,
    /// What other shards that were met say of themselves.
    pub others: BTreeMap<Shard, Told>,
}

/// What a shard says of itself, the last of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The slots that it has; none: all.
    pub slots: Option<Slots>,
    /// Its name, where it was told: the id of the node that it is.
    pub name: Option<String>,
}

/// A command boundary outside any transaction, before which every partition is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResumePoint {
    /// The replication id to ask for.
    pub replication_id: String,
    /// Everything up to this offset is in the journal.
    pub offset: u64,
    /// The epoch that this offset belongs to.
    pub epoch: u64,
    /// The replication id of that epoch.
    pub epoch_id: String,
    /// Database selected on the stream there.
    pub selected_db: u32,
    /// Epochs that began after this offset, known from the partitions that already hold their
    /// beginning.
    pub ahead: Vec<(Position, EpochBegin)>,
}

// === impl Tail ===

impl Tail {
    /// The largest offset that any partition holds of the newest epoch.
    #[must_use]
    pub(crate) fn held_offset(&self) -> u64 {
        let held = self.held.iter().flatten().filter(|at| at.epoch == self.last_epoch);
        held.map(|at| at.offset).max().unwrap_or(0)
    }
}

/// Records looked at per partition in the first try; a heartbeat a second is usually within.
const FIRST_WINDOW: u64 = 4_096;

/// Each further try looks back this many times farther.
const WINDOW_GROWTH: u64 = 8;

/// Reads the tail of every partition, as far back as it must.
///
/// # Errors
/// When the journal cannot be read, or holds what this build does not understand.
pub(crate) async fn read_tail(journal: &dyn Journal, shard: Shard) -> Result<Tail, ResumeError> {
    read_tail_by(journal, shard, FIRST_WINDOW).await
}

async fn read_tail_by(
    journal: &dyn Journal,
    shard: Shard,
    first_window: u64,
) -> Result<Tail, ResumeError> {
    let description = journal.describe().await?;
    let ranges = &description.partitions;
    let mut scanner = Scanner { journal, ranges, shard, told: BTreeMap::new() };
    let mut partitions = vec![PartitionTail::default(); description.partitions.len()];
    let mut wanted: Vec<usize> = (0..partitions.len()).collect();
    let mut window = first_window;
    while !wanted.is_empty() {
        for (number, tail) in scanner.scan(&wanted, window).await? {
            if let Some(known) = partitions.get_mut(number) {
                *known = tail;
            }
        }
        wanted = inconclusive(&partitions);
        window = window.saturating_mul(WINDOW_GROWTH);
    }
    let durable = description.partitions.iter().all(|range| range.durable >= range.end);
    Ok(conclude(&partitions, durable, (shard, scanner.told)))
}

/// The partitions in which to look farther back.
fn inconclusive(partitions: &[PartitionTail]) -> Vec<usize> {
    if partitions.iter().any(PartitionTail::is_cut_short) {
        return Vec::new();
    }
    let oldest = partitions.iter().filter_map(PartitionTail::beat_epoch).min();
    let open = |tail: &PartitionTail| match oldest {
        _ if tail.scanned_to_start => false,
        Some(oldest) if tail.heartbeat.is_some() => !tail.reaches(oldest),
        _ => true,
    };
    let numbered = partitions.iter().enumerate();
    numbered.filter(|(_, tail)| open(tail)).map(|(number, _)| number).collect()
}

fn conclude(
    partitions: &[PartitionTail],
    durable: bool,
    (shard, mut told): (Shard, BTreeMap<Shard, Told>),
) -> Tail {
    Tail {
        held: partitions.iter().map(|tail| tail.held).collect(),
        open: partitions.iter().map(|tail| tail.is_open).collect(),
        durable,
        last_epoch: partitions.iter().map(|tail| tail.last_epoch).max().unwrap_or(0),
        last_id: last_id(partitions),
        last_stamp: partitions.iter().map(|tail| tail.stamp.clone()).max().unwrap_or_default(),
        point: resume_point(partitions),
        slots: told.remove(&shard).map(|told| told.slots),
        others: told,
    }
}

fn last_id(partitions: &[PartitionTail]) -> Option<String> {
    let begun = partitions.iter().flat_map(|tail| &tail.epochs);
    let begun = begun.map(|(at, begin)| (at.epoch, &begin.replication_id));
    let beaten = partitions.iter().filter_map(|tail| tail.heartbeat.as_ref());
    let beaten = beaten.map(|(at, beat)| (at.epoch, &beat.replication_id));
    begun.chain(beaten).max_by_key(|(epoch, _)| *epoch).map(|(_, id)| id.clone())
}

fn resume_point(partitions: &[PartitionTail]) -> Option<ResumePoint> {
    let heartbeats: Option<Vec<_>> =
        partitions.iter().map(|tail| tail.heartbeat.as_ref()).collect();
    let heartbeats = heartbeats?;
    let (newest, newest_beat) = heartbeats.iter().max_by_key(|(at, _)| (at.epoch, at.offset))?;
    let (oldest, oldest_beat) = heartbeats.iter().min_by_key(|(at, _)| (at.epoch, at.offset))?;
    // Where a partition does not reach back that far, an epoch may have begun that nobody knows of.
    if !partitions.iter().all(|tail| tail.reaches(oldest.epoch)) {
        return None;
    }
    // An epoch that a destination may have seen begin must not be forgotten.
    let last_epoch = partitions.iter().map(|tail| tail.last_epoch).max();
    if partitions.iter().any(|tail| tail.is_closed && Some(tail.last_epoch) == last_epoch) {
        return None;
    }
    let mut ahead: Vec<(Position, EpochBegin)> = Vec::new();
    let begun = partitions.iter().flat_map(|tail| &tail.epochs);
    for (at, begin) in begun.filter(|(at, _)| at.epoch > oldest.epoch) {
        // After a full transfer nothing before it leads anywhere.
        if begin.cause == EpochCause::FullResync {
            return None;
        }
        if !ahead.iter().any(|(known, _)| known.epoch == at.epoch) {
            ahead.push((*at, begin.clone()));
        }
    }
    ahead.sort_by_key(|(at, _)| at.epoch);
    let replication_id = match ahead.last() {
        Some((at, begin)) if at.epoch >= newest.epoch => begin.replication_id.clone(),
        _ => newest_beat.replication_id.clone(),
    };
    Some(ResumePoint {
        replication_id,
        offset: oldest.offset,
        epoch: oldest.epoch,
        epoch_id: oldest_beat.replication_id.clone(),
        selected_db: oldest_beat.selected_db,
        ahead,
    })
}
