//! What a lane says of each of its partitions: where it stands in the source's history and in the journal, and how far
//! behind it is in events, bytes and seconds.
//!
//! Guarantees: what a record costs here is a few stores, whoever looks; a partition that has everything shows no lag,
//! however long nothing has come. Bytes are an estimate: the mean size of the records that were read lately, for each
//! record that is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use event::Position;
use journal::Entry;
use parking_lot::Mutex;
use runtime::status::{Gauge, Value};
use runtime::{Clock, StatusNode};

/// The partitions of a lane, by their indexes in it.
#[derive(Debug)]
pub(crate) struct Parts(Vec<Part>);

/// Where one partition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Of the last event that has been dealt with; none: there was none.
    pub(crate) position: Option<Position>,
    /// The offset of the next record to deal with.
    pub(crate) applied: u64,
    /// The offset that the next record to come will have.
    pub(crate) end: u64,
    /// The change at which it waits until all partitions are there that it concerns.
    pub(crate) waits_at: Option<Position>,
}

#[derive(Debug)]
struct Part {
    node: StatusNode,
    seen: Arc<Seen>,
    standing: Mutex<Standing>,
    source_offset: Gauge,
    applied_offset: Gauge,
    journal_end: Gauge,
    waits: Gauge,
}

/// What has been seen of its records.
#[derive(Debug, Default)]
struct Seen {
    /// When the last one was written, Unix milliseconds; 0: none was seen.
    time_ms: AtomicI64,
    /// Mean size of those that came lately, in parts of a byte; 0: none was seen.
    mean: AtomicU64,
    /// Records behind, at the last look.
    behind: AtomicU64,
}

/// The mean is kept in so many parts of a byte, that small differences count.
const PARTS_OF_A_BYTE: u64 = 256;
/// Of how many records, about, the mean is.
const MEAN_OF_RECORDS: u64 = 64;

// === impl Parts ===

impl Parts {
    /// Nodes below that of the lane, by the numbers of the partitions.
    pub(super) fn new(lane: &StatusNode, numbers: &[u16], clock: &Arc<dyn Clock>) -> Self {
        let all = lane.child("partitions");
        let parts = numbers.iter().map(|number| Part::new(all.child(number.to_string()), clock));
        Self(parts.collect())
    }

    /// Notes a record that is about to be applied.
    pub(super) fn took(&self, index: usize, entry: &Entry) {
        let Some(Part { seen, .. }) = self.0.get(index) else { return };
        seen.time_ms.store(entry.timestamp_ms, Ordering::Relaxed);
        let size = (entry.payload.len() as u64).saturating_mul(PARTS_OF_A_BYTE).max(1);
        let mean = match seen.mean.load(Ordering::Relaxed) {
            0 => size,
            mean => mean - mean / MEAN_OF_RECORDS + size / MEAN_OF_RECORDS,
        };
        seen.mean.store(mean, Ordering::Relaxed);
    }

    /// Shows where one stands.
    pub(super) fn stands(&self, index: usize, now: Standing) {
        if let Some(part) = self.0.get(index) {
            part.stands(now);
        }
    }
}

// === impl Part ===

impl Part {
    fn new(node: StatusNode, clock: &Arc<dyn Clock>) -> Self {
        let seen = Arc::new(Seen::default());
        let of = Arc::clone(&seen);
        node.computed("lag_events", move || Value::Count(of.behind.load(Ordering::Relaxed)));
        let of = Arc::clone(&seen);
        node.computed("lag_bytes", move || of.lag_bytes());
        let (of, clock) = (Arc::clone(&seen), Arc::clone(clock));
        node.computed("lag_seconds", move || of.lag_seconds(clock.now_ms()));
        Self {
            seen,
            standing: Mutex::default(),
            source_offset: node.gauge("source_offset"),
            applied_offset: node.gauge("applied_offset"),
            journal_end: node.gauge("journal_end"),
            waits: node.gauge("waits"),
            node,
        }
    }

    fn stands(&self, now: Standing) {
        let set = |gauge: &Gauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.source_offset, now.position.map_or(0, |at| at.offset));
        set(&self.applied_offset, now.applied);
        set(&self.journal_end, now.end);
        self.waits.set(now.waits_at.is_some().into());
        self.seen.behind.store(now.end.saturating_sub(now.applied), Ordering::Relaxed);
        let before = std::mem::replace(&mut *self.standing.lock(), now);
        // Texts only where they are others: everybody who watches is told of each.
        if before.position != now.position
            && let Some(position) = now.position
        {
            self.node.set("source_position", position.to_string());
        }
        if before.waits_at != now.waits_at {
            match now.waits_at {
                Some(at) => self.node.set("waits_at", at.to_string()),
                None => self.node.unset("waits_at"),
            }
        }
    }
}

// === impl Seen ===

impl Seen {
    fn lag_bytes(&self) -> Value {
        let mean = self.mean.load(Ordering::Relaxed);
        match self.behind.load(Ordering::Relaxed) {
            0 => Value::Bytes(0),
            _ if mean == 0 => unknown(),
            behind => {
                let bytes = u128::from(mean) * u128::from(behind) / u128::from(PARTS_OF_A_BYTE);
                Value::Bytes(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
        }
    }

    fn lag_seconds(&self, now_ms: i64) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "a lag is shown to a millisecond at most")]
        let seconds = |ms: i64| ms.max(0) as f64 / 1_000.0;
        let time_ms = self.time_ms.load(Ordering::Relaxed);
        match self.behind.load(Ordering::Relaxed) {
            0 => Value::Float(0.0),
            _ if time_ms == 0 => unknown(),
            _ => Value::Float(seconds(now_ms.saturating_sub(time_ms))),
        }
    }
}

fn unknown() -> Value {
    Value::Text("unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::Shard;
    use journal::{Offset, Partition};
    use runtime::ManualClock;
    use serde_json::{Value, json};

    use super::*;

    fn entry(offset: u64, bytes: usize) -> Entry {
        let payload = Bytes::from(vec![0; bytes]);
        Entry { partition: Partition(7), offset: Offset(offset), timestamp_ms: 1_000, payload }
    }

    fn shown(node: &StatusNode, name: &str) -> Value {
        node.snapshot()["partitions"]["7"][name].clone()
    }

    fn parts() -> (Parts, StatusNode) {
        let (node, clock) = (StatusNode::root(), ManualClock::new(4_500));
        let clock: Arc<dyn Clock> = Arc::new(clock);
        (Parts::new(&node, &[3, 7], &clock), node)
    }

    #[test]
    fn lag_is_what_is_behind_by_the_size_and_age_of_what_came() {
        let (parts, node) = parts();
        parts.took(1, &entry(4, 100));
        let position = Some(Position::new(Shard(0), 9, 77));
        parts.stands(1, Standing { position, applied: 5, end: 8, waits_at: None });
        assert_eq!(shown(&node, "lag_events"), 3);
        assert_eq!(shown(&node, "lag_bytes"), 300);
        assert_eq!(shown(&node, "lag_seconds"), 3.5);
        assert_eq!(shown(&node, "source_offset"), 77);
        assert_eq!(
            (shown(&node, "applied_offset"), shown(&node, "journal_end")),
            (5.into(), 8.into())
        );
        parts.stands(1, Standing { position, applied: 8, end: 8, waits_at: position });
        for name in ["lag_events", "lag_bytes"] {
            assert_eq!(shown(&node, name), 0, "{name}");
        }
        assert_eq!(shown(&node, "lag_seconds"), 0.0);
        assert_eq!((shown(&node, "waits"), shown(&node, "waits_at")), (1.into(), json!("0:9:77")));
        parts.stands(1, Standing { position, applied: 8, end: 8, waits_at: None });
        assert_eq!((shown(&node, "waits"), shown(&node, "waits_at")), (0.into(), Value::Null));
        assert_eq!(node.snapshot()["partitions"]["3"]["applied_offset"], 0);
    }

    #[test]
    fn what_was_never_read_has_no_known_size_or_age() {
        let (parts, node) = parts();
        parts.stands(1, Standing { end: 8, ..Standing::default() });
        assert_eq!(shown(&node, "lag_events"), 8);
        for name in ["lag_bytes", "lag_seconds"] {
            assert_eq!(shown(&node, name), "unknown", "{name}");
        }
    }

    #[test]
    fn the_mean_follows_the_records_that_come() {
        let (parts, node) = parts();
        parts.stands(1, Standing { end: 1, ..Standing::default() });
        for (bytes, least, most) in [(1_000, 990, 1_010), (10, 9, 11), (0, 0, 0)] {
            (0..2_000).for_each(|offset| parts.took(1, &entry(offset, bytes)));
            let mean = shown(&node, "lag_bytes").as_u64().unwrap();
            assert!((least..=most).contains(&mean), "{mean} of {bytes}");
        }
    }
}
