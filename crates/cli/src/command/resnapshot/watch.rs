//! What a journal's records say about a snapshot that somebody waits for. Pure.
//!
//! Guarantees: a snapshot counts when its beginning and its end have been seen in every partition; one that is given up
//! counts for nothing, whatever of it was recorded.

use event::control::{Control, EpochCause, SnapshotBegin, SnapshotEnd};
use event::image::ImagePart;
use event::{Body, Event};

/// Follows the snapshots of one stream.
#[derive(Debug)]
pub(super) struct Watch {
    partitions: Vec<Stage>,
    current: Option<Which>,
    keys: u64,
    keys_expected: u64,
}

/// A snapshot: its id, and for one of the stream itself, whose id is 0, its epoch.
type Which = (u64, u64);

/// How far one partition is with the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Before,
    Begun,
    Ended,
}

/// What a record has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing about a snapshot.
    None,
    /// A snapshot has begun, of about so many keys; 0: nobody knows.
    Begun {
        /// Its id; 0: the stream has begun anew.
        id: u64,
        /// Keys.
        keys_expected: u64,
    },
    /// Another has begun before the end of this one.
    GivenUp {
        /// Its id.
        id: u64,
        /// Of the one that has begun.
        next: u64,
        /// Keys of that.
        keys_expected: u64,
    },
    /// It has ended in every partition.
    Complete {
        /// Its id.
        id: u64,
        /// Its keys.
        keys: u64,
    },
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(partitions: usize) -> Self {
        let partitions = vec![Stage::default(); partitions];
        Self { partitions, current: None, keys: 0, keys_expected: 0 }
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.current.is_some()
    }

    /// Keys of the one under way that were recorded, and how many there are about; 0: nobody knows.
    pub(super) fn keys(&self) -> (u64, u64) {
        (self.keys, self.keys_expected)
    }

    /// Takes the next record of a partition.
    pub(super) fn take(&mut self, partition: u16, event: &Event) -> News {
        let which =
            (event.snapshot_id(), if event.snapshot_id() == 0 { event.position.epoch } else { 0 });
        match &event.body {
            Body::Control(Control::SnapshotBegin(begin)) => self.begin(partition, which, begin),
            Body::Control(Control::SnapshotEnd(end)) => self.end(partition, which, *end),
            Body::Control(Control::EpochBegin(begin))
                if begin.cause != EpochCause::SlotMoved
                    && self.current.is_some_and(|of| of.0 != 0) =>
            {
                // It is of an epoch that is over; another follows.
                self.restart(None);
                News::None
            }
            Body::Image(_) | Body::ImagePart(ImagePart { last: true, .. })
                if self.current == Some(which) =>
            {
                self.keys += 1;
                News::None
            }
            _ => News::None,
        }
    }

    fn begin(&mut self, partition: u16, which: Which, begin: &SnapshotBegin) -> News {
        let before = self.current;
        if before != Some(which) {
            self.restart(Some(which));
            self.keys_expected = begin.keys_expected;
        }
        self.note(partition, Stage::Begun);
        let (id, keys_expected) = (which.0, begin.keys_expected);
        match before {
            Some(before) if before == which => News::None,
            Some(before) => News::GivenUp { id: before.0, next: id, keys_expected },
            None => News::Begun { id, keys_expected },
        }
    }

    fn end(&mut self, partition: u16, which: Which, end: SnapshotEnd) -> News {
        let stage = self.partitions.get(usize::from(partition)).copied();
        if self.current != Some(which) || stage != Some(Stage::Begun) {
            // Its beginning was not seen: it began before anybody waited.
            return News::None;
        }
        self.note(partition, Stage::Ended);
        match self.partitions.iter().all(|stage| *stage == Stage::Ended) {
            true => News::Complete { id: which.0, keys: end.keys_total },
            false => News::None,
        }
    }

    fn restart(&mut self, current: Option<Which>) {
        self.current = current;
        self.partitions.fill(Stage::Before);
        (self.keys, self.keys_expected) = (0, 0);
    }

    fn note(&mut self, partition: u16, stage: Stage) {
        if let Some(known) = self.partitions.get_mut(usize::from(partition)) {
            *known = stage;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::control::EpochBegin;
    use event::image::{Flavour, Image, ImageHead, ImageValue};
    use event::{Position, Shard, Stamp};
    use wire::slot::Slot;

    use super::*;

    fn event(epoch: u64, body: Body) -> Event {
        Event {
            position: Position::new(Shard(0), epoch, 5),
            stamp: Stamp::default(),
            db: 0,
            slot: Slot::of_key(b""),
            key: Bytes::new(),
            body,
            seen: Vec::new(),
        }
    }

    fn begin(snapshot_id: u64, epoch: u64) -> Event {
        let flavour = Flavour::Redis;
        let (keys_expected, bytes_expected, rdb_version) = (9, 0, 0);
        let begin = SnapshotBegin {
            snapshot_id,
            keys_expected,
            bytes_expected,
            rdb_version,
            flavour,
            slots: None,
        };
        event(epoch, Body::Control(Control::SnapshotBegin(begin)))
    }

    fn end(snapshot_id: u64, epoch: u64) -> Event {
        let end = SnapshotEnd { snapshot_id, keys: 1, keys_total: 2 };
        event(epoch, Body::Control(Control::SnapshotEnd(end)))
    }

    fn image(snapshot_id: u64) -> Event {
        let head = ImageHead {
            type_byte: 0,
            flavour: Flavour::Redis,
            rdb_version: 9,
            expire_at_ms: None,
            idle_s: None,
            freq: None,
            snapshot_id,
        };
        event(1, Body::Image(Image { head, value: ImageValue::Text(Bytes::new()) }))
    }

    fn epoch(epoch: u64, cause: EpochCause) -> Event {
        let begin = EpochBegin {
            cause,
            shard_name: String::new(),
            replication_id: String::new(),
            branch_offset: 0,
            server: String::new(),
            slots: None,
        };
        event(epoch, Body::Control(Control::EpochBegin(begin)))
    }

    fn taken(records: &[(u16, Event)]) -> Vec<News> {
        let mut watch = Watch::new(2);
        let news = records.iter().map(|(partition, event)| watch.take(*partition, event));
        news.filter(|news| *news != News::None).collect()
    }

    const BEGUN: News = News::Begun { id: 7, keys_expected: 9 };

    #[test]
    fn a_snapshot_counts_when_it_has_ended_in_every_partition() {
        let mut watch = Watch::new(2);
        let mut told = Vec::new();
        for (partition, event) in [
            (0, begin(7, 1)),
            (1, begin(7, 1)),
            (0, image(7)),
            (1, image(0)),
            (1, image(7)),
            (1, end(7, 1)),
        ] {
            told.push(watch.take(partition, &event));
        }
        assert_eq!((told.remove(0), watch.keys()), (BEGUN, (2, 9)));
        assert!(told.iter().all(|news| *news == News::None), "{told:?}");
        assert_eq!(watch.take(0, &end(7, 1)), News::Complete { id: 7, keys: 2 });
    }

    #[test]
    fn one_that_began_before_anybody_waited_does_not_count() {
        assert_eq!(taken(&[(0, end(7, 1)), (1, end(7, 1))]), []);
        // It was seen to begin in one partition only.
        assert_eq!(taken(&[(1, begin(7, 1)), (0, end(7, 1)), (1, end(7, 1))]), [BEGUN]);
    }

    #[test]
    fn one_that_is_given_up_does_not_count() {
        let both = |event: fn(u64, u64) -> Event, id| [(0, event(id, 1)), (1, event(id, 1))];
        let records = [both(begin, 7), both(begin, 8), both(end, 7), both(end, 8)].concat();
        let given_up = News::GivenUp { id: 7, next: 8, keys_expected: 9 };
        assert_eq!(taken(&records), [BEGUN, given_up, News::Complete { id: 8, keys: 2 }]);
        let over = epoch(2, EpochCause::Continued);
        let records = [&both(begin, 7)[..], &[(0, over)], &both(end, 7)].concat();
        assert_eq!(taken(&records), [BEGUN]);
    }

    #[test]
    fn one_of_the_stream_itself_counts_too() {
        let records = [
            (0, epoch(3, EpochCause::FullResync)),
            (0, begin(0, 3)),
            (1, epoch(3, EpochCause::FullResync)),
            (1, begin(0, 3)),
            (0, end(0, 3)),
            (1, end(0, 3)),
        ];
        let begun = News::Begun { id: 0, keys_expected: 9 };
        assert_eq!(taken(&records), [begun, News::Complete { id: 0, keys: 2 }]);
    }
}
