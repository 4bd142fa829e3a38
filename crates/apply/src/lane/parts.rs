//! What a lane says of each of its partitions: where it stands in the source's history and in the journal, and how far
//! behind it is in events, bytes and seconds.
//!
//! Guarantees: what a record costs here is a few stores, whoever looks; a partition that has everything shows no lag,
//! however long nothing has come but notes of place, such as heartbeats: what a look finds behind is told when it has been
//! read, and without the notes in it, or as it is when it has not been read by the next look. Bytes are an estimate: the
//! mean size of the records that were read lately, for each record that is behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use event::codec::{Glance, decode_lean};
use event::{Body, Position};
use journal::Entry;
use parking_lot::Mutex;
use runtime::status::{Gauge, Value};
use runtime::{Clock, StatusNode};

/// The partitions of a lane, by their indexes in it.
#[derive(Debug)]
pub(crate) struct Parts(Vec<Part>);

/// Where one partition stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Of the last event of each shard that has been dealt with, in the order of the shards.
    pub(crate) positions: Vec<Position>,
    /// The offset of the next record to deal with.
    pub(crate) applied: u64,
    /// The same of the next record to read.
    pub(crate) read: u64,
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
    /// Records behind, as they are shown.
    behind: AtomicU64,
    /// The end that the last look found, until all before it has been read; 0: it has been.
    unread_to: AtomicU64,
    /// How many of those behind at the last look are known to count.
    counted: AtomicU64,
}

/// The mean is kept in so many parts of a byte, that small differences count.
const PARTS_OF_A_BYTE: u64 = 256;
/// Of how many records, about, the mean is.
const MEAN_OF_RECORDS: u64 = 64;
/// No note of place is larger.
const NOTE_BYTES_MAX: usize = 1_024;

// === impl Parts ===

impl Parts {
    /// Nodes below that of the lane, by the numbers of the partitions.
    pub(super) fn new(lane: &StatusNode, numbers: &[u16], clock: &Arc<dyn Clock>) -> Self {
        let all = lane.child("partitions");
        let parts = numbers.iter().map(|number| Part::new(all.child(number.to_string()), clock));
        Self(parts.collect())
    }

    /// How many records are behind in all, whenever it is asked.
    pub(super) fn behind(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let all: Vec<Arc<Seen>> = self.0.iter().map(|part| Arc::clone(&part.seen)).collect();
        move || all.iter().map(|seen| seen.behind.load(Ordering::Relaxed)).sum()
    }

    /// Notes a record that is about to be applied.
    pub(super) fn took(&self, index: usize, entry: &Entry) {
        let Some(Part { seen, .. }) = self.0.get(index) else { return };
        seen.count(entry);
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
        // Those of several shards are not to be compared.
        let only = match now.positions[..] {
            [only] => only.offset,
            _ => 0,
        };
        set(&self.source_offset, only);
        set(&self.applied_offset, now.applied);
        set(&self.journal_end, now.end);
        self.waits.set(now.waits_at.is_some().into());
        let before = std::mem::replace(&mut *self.standing.lock(), now.clone());
        self.seen.look(&before, &now);
        // Texts only where they are others: everybody who watches is told of each.
        if before.positions != now.positions && !now.positions.is_empty() {
            let shown: Vec<String> = now.positions.iter().map(Position::to_string).collect();
            self.node.set("source_position", shown.join(" "));
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
    /// What is behind now counts when it has been read. Until then it is shown what is known already.
    fn look(&self, before: &Standing, now: &Standing) {
        let behind = now.end.saturating_sub(now.applied);
        let was_unread = self.unread_to.load(Ordering::Relaxed) > 0;
        let is_unread = now.read < now.end;
        if behind == 0 || was_unread || !is_unread || before.end == 0 {
            self.behind.store(behind, Ordering::Relaxed);
        }
        self.counted.store(now.read.saturating_sub(now.applied), Ordering::Relaxed);
        let unread_to = if is_unread { now.end } else { 0 };
        self.unread_to.store(unread_to, Ordering::Relaxed);
    }

    /// Counts what was behind at the last look.
    fn count(&self, entry: &Entry) {
        let unread_to = self.unread_to.load(Ordering::Relaxed);
        if entry.offset.0 >= unread_to {
            return;
        }
        let counts = u64::from(!is_note(&entry.payload));
        let counted = self.counted.fetch_add(counts, Ordering::Relaxed) + counts;
        if entry.offset.0 + 1 == unread_to {
            self.unread_to.store(0, Ordering::Relaxed);
            self.behind.store(counted, Ordering::Relaxed);
        }
    }

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

/// Whether a record changes nothing. What cannot be read is no note that this version knows.
fn is_note(payload: &Bytes) -> bool {
    payload.len() <= NOTE_BYTES_MAX
        && Glance::at(payload).is_none()
        && decode_lean(payload.clone())
            .is_ok_and(|event| matches!(event.body, Body::Control(control) if control.is_note()))
}

fn unknown() -> Value {
    Value::Text("unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use event::control::{Control, Heartbeat};
    use event::{Event, Shard, Stamp};
    use journal::{Offset, Partition};
    use runtime::ManualClock;
    use serde_json::{Value, json};
    use wire::slot::Slot;

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
        let position = Position::new(Shard(0), 9, 77);
        let positions = vec![position];
        let standing = Standing { positions, applied: 8, read: 8, end: 8, waits_at: None };
        parts.stands(1, Standing { applied: 5, read: 5, ..standing.clone() });
        assert_eq!(shown(&node, "lag_events"), 3);
        assert_eq!(shown(&node, "lag_bytes"), 300);
        assert_eq!(shown(&node, "lag_seconds"), 3.5);
        assert_eq!(shown(&node, "source_offset"), 77);
        assert_eq!(
            (shown(&node, "applied_offset"), shown(&node, "journal_end")),
            (5.into(), 8.into())
        );
        parts.stands(1, Standing { waits_at: Some(position), ..standing.clone() });
        for name in ["lag_events", "lag_bytes"] {
            assert_eq!(shown(&node, name), 0, "{name}");
        }
        assert_eq!(shown(&node, "lag_seconds"), 0.0);
        assert_eq!((shown(&node, "waits"), shown(&node, "waits_at")), (1.into(), json!("0:9:77")));
        parts.stands(1, standing.clone());
        assert_eq!((shown(&node, "waits"), shown(&node, "waits_at")), (0.into(), Value::Null));
        assert_eq!(node.snapshot()["partitions"]["3"]["applied_offset"], 0);
        assert_eq!(shown(&node, "source_position"), "0:9:77");
        // Each shard has an order of its own.
        let positions = vec![position, Position::new(Shard(2), 4, 5)];
        parts.stands(1, Standing { positions, ..standing });
        assert_eq!(shown(&node, "source_position"), "0:9:77 2:4:5");
        assert_eq!(shown(&node, "source_offset"), 0);
    }

    fn heartbeat(offset: u64) -> Entry {
        let heartbeat = Heartbeat {
            source_time_ms: 1_000,
            replication_id: "a".repeat(40),
            selected_db: 0,
            capture_time_ms: 1_000,
            shard_name: String::new(),
            slots: None,
        };
        let event = Event {
            position: Position::new(Shard(0), 9, 77),
            stamp: Stamp::default(),
            db: 0,
            slot: Slot::of_key(b""),
            key: Bytes::new(),
            body: Body::Control(Control::Heartbeat(heartbeat)),
            seen: Vec::new(),
        };
        let mut payload = BytesMut::new();
        event::codec::encode(&event, &mut payload).unwrap();
        assert!(payload.len() < NOTE_BYTES_MAX / 4, "{}", payload.len());
        Entry { payload: payload.freeze(), ..entry(offset, 0) }
    }

    fn look(parts: &Parts, applied: u64, end: u64) {
        parts.stands(1, Standing { applied, read: applied, end, ..Standing::default() });
    }

    #[test]
    fn heartbeats_that_come_between_are_no_lag() {
        let (parts, node) = parts();
        look(&parts, 5, 5);
        for offset in 5..50 {
            // Each look finds the next one, which is read soon after.
            look(&parts, offset, offset + 1);
            assert_eq!(shown(&node, "lag_events"), 0);
            parts.took(1, &heartbeat(offset));
            for name in ["lag_events", "lag_bytes"] {
                assert_eq!(shown(&node, name), 0, "{name}");
            }
            assert_eq!(shown(&node, "lag_seconds"), 0.0);
        }
        look(&parts, 50, 51);
        look(&parts, 50, 52);
        assert_eq!(shown(&node, "lag_events"), 2, "it was not read from one look to the next");
    }

    #[test]
    fn what_was_behind_is_counted_without_the_heartbeats_in_it() {
        let (parts, node) = parts();
        look(&parts, 5, 5);
        look(&parts, 5, 9);
        parts.took(1, &heartbeat(5));
        parts.took(1, &entry(6, 100));
        parts.took(1, &entry(7, 100));
        assert_eq!(shown(&node, "lag_events"), 0, "it is not known yet");
        parts.took(1, &heartbeat(8));
        assert_eq!(shown(&node, "lag_events"), 2);
        parts.took(1, &entry(9, 100));
        assert_eq!(shown(&node, "lag_events"), 2, "it has come since");
        // What is planned and not executed is read already.
        parts.stands(1, Standing { applied: 9, read: 10, end: 12, ..Standing::default() });
        parts.took(1, &heartbeat(10));
        parts.took(1, &entry(11, 2_000));
        assert_eq!(shown(&node, "lag_events"), 2);
        look(&parts, 12, 12);
        assert_eq!(shown(&node, "lag_events"), 0);
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
