//! What the end of one partition says. Pure: events in, in the order of the partition.

use event::control::{Control, EpochBegin, EpochCause, Heartbeat};
use event::{Body, Event, Position, Stamp};

/// What was found at the end of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionTail {
    /// The last change that is whole.
    pub held: Option<Position>,
    /// Whether the last event may have further records.
    pub is_open: bool,
    /// The largest stamp.
    pub stamp: Stamp,
    /// The last heartbeat.
    pub heartbeat: Option<(Position, Heartbeat)>,
    /// The epochs whose beginning was found, in order.
    pub epochs: Vec<(Position, EpochBegin)>,
    /// The epoch of the last event.
    pub last_epoch: u64,
    /// Whether the last epoch ends here, and the beginning of the next is missing.
    pub is_closed: bool,
    /// Whether nothing is before what was looked at.
    pub scanned_to_start: bool,
    /// The epoch of the first event looked at.
    first_epoch: Option<u64>,
}

// === impl PartitionTail ===

impl PartitionTail {
    /// Nothing yet, of a part of the partition that begins there or not.
    pub(super) fn new(scanned_to_start: bool) -> Self {
        Self { scanned_to_start, ..Self::default() }
    }

    /// Takes the next event.
    pub(super) fn note(&mut self, event: Event) {
        if event.snapshot_id() != 0 {
            // Made on demand, beside the stream: no place of it.
            return;
        }
        let at = event.position;
        self.first_epoch.get_or_insert(at.epoch);
        self.last_epoch = self.last_epoch.max(at.epoch);
        let (is_whole, is_last) = completes(&event);
        if is_whole {
            self.held = Some(at);
        }
        self.is_open = !is_last;
        if event.stamp > self.stamp {
            self.stamp = event.stamp;
        }
        match event.body {
            Body::Control(Control::Heartbeat(beat)) if beat.replication_id.is_empty() => {
                self.is_closed = true;
            }
            Body::Control(Control::Heartbeat(beat)) => self.heartbeat = Some((at, beat)),
            Body::Control(Control::EpochBegin(begin)) => {
                self.epochs.push((at, begin));
                self.is_closed = false;
            }
            _ => {}
        }
    }

    /// The epoch of the last heartbeat.
    pub(super) fn beat_epoch(&self) -> Option<u64> {
        self.heartbeat.as_ref().map(|(at, _)| at.epoch)
    }

    /// Whether a full transfer began here and did not get as far as a heartbeat.
    pub(super) fn is_cut_short(&self) -> bool {
        self.epochs.iter().any(|(at, begin)| {
            begin.cause == EpochCause::FullResync
                && self.beat_epoch().is_none_or(|beat| beat < at.epoch)
        })
    }

    /// Whether every epoch that began here after that one is known.
    pub(super) fn reaches(&self, epoch: u64) -> bool {
        self.first_epoch.is_some_and(|first| first <= epoch)
    }
}

/// Whether the record completes what stands at its position, and whether it surely completes its
/// event: a record of a group has a position of its own, and in fragments may be one of several.
fn completes(event: &Event) -> (bool, bool) {
    match &event.body {
        Body::Fragment(fragment) => (fragment.number + 1 == fragment.count, false),
        Body::Group(group) => (true, group.last),
        Body::Command(_) | Body::Image(_) | Body::ImagePart(_) | Body::Control(_) => (true, true),
    }
}
