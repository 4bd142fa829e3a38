//! What the status tree shows of snapshots on demand, under `on_demand`.

use runtime::StatusNode;
use runtime::status::{Counter, Gauge, Value};

use super::{Progress, signed};
use crate::snapshot::SnapshotCounts;

/// What has become of a snapshot on demand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside<'a> {
    /// The source is about to be asked for the one with that id.
    Asking(u64),
    /// It comes, and is recorded so far.
    Coming(SnapshotCounts),
    /// It is recorded.
    Done,
    /// It is given up, and why.
    Lost(&'a str),
}

/// The values of the one under way, or of the last.
#[derive(Debug)]
pub(super) struct BesideShown {
    node: StatusNode,
    id: Gauge,
    keys: Gauge,
    keys_expected: Gauge,
    bytes: Gauge,
    bytes_expected: Gauge,
    done: Counter,
    given_up: Counter,
}

// === impl BesideShown ===

impl BesideShown {
    pub(super) fn new(node: &StatusNode) -> Self {
        let node = node.child("on_demand");
        let shown = Self {
            id: node.gauge("snapshot_id"),
            keys: node.gauge("keys"),
            keys_expected: node.gauge("keys_expected"),
            bytes: node.bytes_gauge("bytes"),
            bytes_expected: node.bytes_gauge("bytes_expected"),
            done: node.counter("done"),
            given_up: node.counter("given_up"),
            node,
        };
        shown.phase("none");
        shown
    }

    fn phase(&self, phase: &str) {
        self.node.set("phase", phase);
    }

    fn counts(&self, counts: SnapshotCounts) {
        self.keys.set(signed(counts.keys));
        self.keys_expected.set(signed(counts.keys_expected));
        self.bytes.set(signed(counts.bytes));
        self.bytes_expected.set(signed(counts.bytes_expected));
        match share(counts) {
            Some(share) => self.node.set("percent", Value::Float(share * 100.0)),
            None => self.node.unset("percent"),
        }
    }
}

/// How much of it has come, from 0 to 1, as far as the source has told how much there is.
#[expect(clippy::cast_precision_loss, reason = "for people, in percent")]
fn share(counts: SnapshotCounts) -> Option<f64> {
    let SnapshotCounts { bytes, bytes_expected, keys, keys_expected } = counts;
    let of = |part: u64, whole: u64| (whole > 0).then(|| (part as f64 / whole as f64).min(1.0));
    of(bytes, bytes_expected).or_else(|| of(keys, keys_expected))
}

// === impl Progress ===

impl Progress {
    /// Something has become of a snapshot on demand.
    pub(crate) fn beside(&self, news: Beside<'_>) {
        let shown = &self.beside;
        match news {
            Beside::Asking(id) => {
                shown.phase("asking");
                shown.id.set(signed(id));
                shown.counts(SnapshotCounts::default());
            }
            Beside::Coming(counts) => {
                shown.phase("snapshot");
                shown.counts(counts);
            }
            Beside::Done => {
                shown.phase("none");
                shown.done.add(1);
                shown.node.set("percent", Value::Float(100.0));
                shown.node.unset("trouble");
            }
            Beside::Lost(why) => {
                shown.phase("none");
                shown.given_up.add(1);
                shown.node.set("trouble", why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_goes_by_what_the_source_has_told() {
        let counts = |bytes, bytes_expected, keys, keys_expected| {
            share(SnapshotCounts { bytes, bytes_expected, keys, keys_expected })
        };
        assert_eq!(counts(5, 20, 9, 10), Some(0.25));
        assert_eq!(counts(5, 0, 9, 10), Some(0.9));
        assert_eq!(counts(5, 0, 11, 10), Some(1.0), "keys that came meanwhile");
        assert_eq!(counts(5, 0, 9, 0), None);
    }
}
