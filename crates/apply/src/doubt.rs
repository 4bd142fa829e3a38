//! Changes that were executed before a crash and whose replies nobody has read. Pure.
//!
//! EXEC does not roll back, so one of them may have failed while the checkpoint beside it stands. They are read again from
//! the journal: a key whose last change among them replaces it as a whole gets that change once more; the others
//! are suspects, since applying them again could apply them twice.

use std::collections::HashMap;

use bytes::Bytes;
use event::{Body, Change, Event, Position, Shard};

use crate::plan::Roles;

/// What is in doubt at the start of a lane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt {
    ranges: Vec<Range>,
    last: HashMap<Spot, Last>,
    /// Per partition, where reading begins so that all of it is met.
    from: Vec<u64>,
}

/// Judged up to the first, executed up to the second.
#[derive(Clone, Copy, Debug)]
struct Range {
    judged: Position,
    applied: Position,
}

/// A key of the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Spot {
    shard: Shard,
    db: u32,
    key: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Last {
    again: Option<Again>,
}

/// A change to be applied once more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Again {
    /// Where it stands.
    pub(crate) position: Position,
    /// Which change of a group.
    pub(crate) change: u32,
    /// The encoded event.
    pub(crate) record: Bytes,
}

/// What becomes of the doubt about one shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// To be applied once more, in order.
    pub(crate) again: Vec<Again>,
    /// Keys that cannot be judged: database of the source and key.
    pub(crate) suspects: Vec<(u32, Bytes)>,
}

// === impl Doubt ===

impl Doubt {
    /// The doubt of a checkpoint: pairs of judged and applied. Reading begins at `from`.
    pub(crate) fn new(
        pairs: impl IntoIterator<Item = (Position, Position)>,
        from: Vec<u64>,
    ) -> Self {
        let ranges = pairs.into_iter().map(|(judged, applied)| Range { judged, applied });
        let ranges = ranges.filter(|range| range.judged != range.applied).collect();
        Self { ranges, last: HashMap::new(), from }
    }

    /// Whether changes of a shard are in doubt.
    pub(crate) fn concerns(&self, shard: Shard) -> bool {
        self.ranges.iter().any(|range| range.applied.shard == shard)
    }

    /// The shards of which changes are in doubt.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        self.ranges.iter().map(|range| range.applied.shard).collect()
    }

    /// Where reading has to begin for as long as there is doubt.
    pub(crate) fn from(&self) -> Option<&[u64]> {
        (!self.ranges.is_empty()).then_some(&self.from)
    }

    /// Takes note of an event that has been applied.
    pub(crate) fn note(&mut self, event: &Event, record: &Bytes) {
        let position = event.position;
        let in_doubt = |range: &Range| {
            range.applied.shard == position.shard
                && !position.is_after(&range.applied)
                && (position.is_after(&range.judged) || range.judged.shard != position.shard)
        };
        if !self.ranges.iter().any(in_doubt) {
            return;
        }
        match &event.body {
            Body::Command(command) => {
                self.note_command((event, record, 0), command, event.db);
            }
            Body::Image(image) if image.head.snapshot_id == 0 => {
                let again = Again { position, change: 0, record: record.clone() };
                self.put(position.shard, event.db, &event.key, Some(again));
            }
            Body::ImagePart(part) if part.head.snapshot_id == 0 => {
                self.put(position.shard, event.db, &event.key, None);
            }
            Body::Group(group) => {
                for (number, change) in (0u32..).zip(&group.changes) {
                    if let Change::Command(command) = &change.change {
                        self.note_command((event, record, number), command, change.db);
                    }
                }
            }
            Body::Image(_) | Body::ImagePart(_) | Body::Fragment(_) | Body::Control(_) => {}
        }
    }

    /// Ends the doubt about a shard.
    pub(crate) fn settle(&mut self, shard: Shard) -> Settled {
        self.ranges.retain(|range| range.applied.shard != shard);
        let mut settled = Settled::default();
        let mine: Vec<(Spot, Last)> = self.last.extract_if(|spot, _| spot.shard == shard).collect();
        for (spot, last) in mine {
            match last.again {
                Some(again) if settled.again.contains(&again) => {}
                Some(again) => settled.again.push(again),
                None => settled.suspects.push((spot.db, spot.key)),
            }
        }
        settled.again.sort_by_key(|again| {
            let position = again.position;
            (position.epoch, position.offset, position.index, again.change)
        });
        settled.suspects.sort();
        settled
    }

    fn note_command(
        &mut self,
        (event, record, change): (&Event, &Bytes, u32),
        command: &event::Command,
        db: u32,
    ) {
        let roles = Roles::of(command, db);
        let position = event.position;
        // One key only: of several, another may have changed again since.
        let whole = roles.whole_state() && roles.keys.len() == 1;
        for role in roles.written() {
            let again = Again { position, change, record: record.clone() };
            self.put(position.shard, role.db, role.key, whole.then_some(again));
        }
    }

    fn put(&mut self, shard: Shard, db: u32, key: &Bytes, again: Option<Again>) {
        self.last.insert(Spot { shard, db, key: key.clone() }, Last { again });
    }
}
