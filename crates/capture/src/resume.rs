//! Where capture goes on: read from the journal's own tail, the only state that it has.
//!
//! Guarantees: every change after the resume point will be read again from the source, so none is missing; what
//! a partition already holds is known, so none is written twice. Pieces of an event whose last piece is missing
//! do not count as held. A snapshot that was cut short is not resumed: the source is asked for a new one.

use event::codec;
use event::control::{Control, EpochBegin, EpochCause, Heartbeat};
use event::{Body, Event, Position, Shard, Stamp};
use journal::{Description, Entry, Journal, Offset, Partition, ReadLimit};

use crate::error::ResumeError;

/// What the journal's tail says of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Per partition, the last change that is whole there.
    pub held: Vec<Option<Position>>,
    /// The largest epoch that any partition knows; 0 in an empty journal.
    pub last_epoch: u64,
    /// The largest stamp.
    pub last_stamp: Stamp,
    /// Where the stream can be taken up again; none: only a full transfer will do.
    pub point: Option<ResumePoint>,
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
    /// Database selected on the stream there.
    pub selected_db: u32,
    /// Epochs that began after this offset, known from the partitions that already hold their beginning.
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

/// Memory that one step of the scan may take.
const READ_LIMIT: ReadLimit = ReadLimit { records: 4_096, bytes: 8 << 20 };

/// What was found in one partition.
#[derive(Clone, Debug, Default)]
struct PartitionTail {
    held: Option<Position>,
    stamp: Stamp,
    heartbeat: Option<(Position, Heartbeat)>,
    epochs: Vec<(Position, EpochBegin)>,
    scanned_to_start: bool,
}

/// Reads the tail of every partition, as far back as it must.
///
/// # Errors
/// When the journal cannot be read, or holds what this build does not understand.
pub(crate) async fn read_tail(journal: &dyn Journal, shard: Shard) -> Result<Tail, ResumeError> {
    let description = journal.describe().await?;
    let mut window = FIRST_WINDOW;
    loop {
        let partitions = scan(journal, &description, shard, window).await?;
        let conclusive = partitions.iter().all(PartitionTail::is_conclusive);
        if conclusive {
            return Ok(conclude(&partitions));
        }
        window = window.saturating_mul(WINDOW_GROWTH);
    }
}

async fn scan(
    journal: &dyn Journal,
    description: &Description,
    shard: Shard,
    window: u64,
) -> Result<Vec<PartitionTail>, ResumeError> {
    let mut tails = vec![PartitionTail::default(); description.partitions.len()];
    let mut from = Vec::new();
    let mut missing: u64 = 0;
    for (number, (range, tail)) in (0u16..).zip(description.partitions.iter().zip(&mut tails)) {
        let first = Offset(range.end.0.saturating_sub(window).max(range.start.0));
        tail.scanned_to_start = first == range.start;
        if first < range.end {
            from.push((Partition(number), first));
            missing += 1;
        }
    }
    if from.is_empty() {
        return Ok(tails);
    }
    let mut reader = journal.reader(from).await?;
    while missing > 0 {
        for entry in reader.next(READ_LIMIT).await? {
            let index = usize::from(entry.partition.0);
            let (Some(tail), Some(range)) =
                (tails.get_mut(index), description.partitions.get(index))
            else {
                continue;
            };
            if entry.offset >= range.end {
                continue;
            }
            if entry.offset.after(1) == range.end {
                missing -= 1;
            }
            tail.note(entry, shard)?;
        }
    }
    Ok(tails)
}

fn conclude(partitions: &[PartitionTail]) -> Tail {
    let last_epoch =
        partitions.iter().filter_map(|tail| tail.held).map(|held| held.epoch).max().unwrap_or(0);
    Tail {
        held: partitions.iter().map(|tail| tail.held).collect(),
        last_epoch,
        last_stamp: partitions.iter().map(|tail| tail.stamp.clone()).max().unwrap_or_default(),
        point: resume_point(partitions),
    }
}

fn resume_point(partitions: &[PartitionTail]) -> Option<ResumePoint> {
    let heartbeats: Option<Vec<_>> =
        partitions.iter().map(|tail| tail.heartbeat.as_ref()).collect();
    let heartbeats = heartbeats?;
    let (newest, newest_beat) = heartbeats.iter().max_by_key(|(at, _)| (at.epoch, at.offset))?;
    let (oldest, oldest_beat) = heartbeats.iter().min_by_key(|(at, _)| (at.epoch, at.offset))?;
    let mut ahead: Vec<(Position, EpochBegin)> = Vec::new();
    for (at, begin) in partitions.iter().flat_map(|tail| &tail.epochs) {
        // A full transfer that began after the heartbeat was cut short: its offsets lead nowhere.
        if begin.cause == EpochCause::FullResync && at.epoch > oldest.epoch {
            return None;
        }
        if at.epoch > oldest.epoch && !ahead.iter().any(|(known, _)| known.epoch == at.epoch) {
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
        selected_db: oldest_beat.selected_db,
        ahead,
    })
}

// === impl PartitionTail ===

impl PartitionTail {
    /// Whether looking farther back would change nothing.
    fn is_conclusive(&self) -> bool {
        let full_transfer_cut_short = self.epochs.iter().any(|(at, begin)| {
            begin.cause == EpochCause::FullResync
                && self.heartbeat.as_ref().is_none_or(|(beat, _)| beat.epoch < at.epoch)
        });
        self.scanned_to_start || self.heartbeat.is_some() || full_transfer_cut_short
    }

    fn note(&mut self, entry: Entry, shard: Shard) -> Result<(), ResumeError> {
        let place = (entry.partition, entry.offset);
        let event = codec::decode(entry.payload)
            .map_err(|source| ResumeError::Unreadable { place, source })?;
        if event.position.shard != shard {
            return Ok(());
        }
        if is_whole(&event) {
            self.held = Some(event.position);
        }
        if event.stamp > self.stamp {
            self.stamp = event.stamp;
        }
        match event.body {
            Body::Control(Control::Heartbeat(heartbeat)) => {
                self.heartbeat = Some((event.position, heartbeat));
            }
            Body::Control(Control::EpochBegin(begin)) => self.epochs.push((event.position, begin)),
            _ => {}
        }
        Ok(())
    }
}

/// Whether the record completes its event.
fn is_whole(event: &Event) -> bool {
    match &event.body {
        Body::Fragment(fragment) => fragment.number + 1 == fragment.count,
        Body::Group(group) => group.last,
        Body::Command(_) | Body::Image(_) | Body::ImagePart(_) | Body::Control(_) => true,
    }
}

#[cfg(test)]
mod tests;
