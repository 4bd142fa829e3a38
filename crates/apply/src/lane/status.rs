//! What a lane says about itself: phase, positions, lag, what was set aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use journal::Entry;
use parking_lot::Mutex;
use runtime::status::{Counter, Gauge, Value};
use runtime::{Classified, Clock, Hold, RateMeter, StatusNode, Trouble};

use super::parts::{Parts, Standing};
use crate::error::Error;
use crate::plan::Counts;
use crate::progress::Progress;
use crate::quarantine::suspects::Suspects;
use crate::scope::Scope;

/// What a lane does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It reads the checkpoint and takes over.
    Starting,
    /// It applies a snapshot.
    Snapshot,
    /// It removes what the snapshot did not name.
    Sweep,
    /// It follows the stream.
    Stream,
    /// It waits for the destination.
    Waiting,
    /// It has stopped.
    Stopped,
}

/// The status node of one lane, with its meters.
#[derive(Debug)]
pub(crate) struct LaneStatus {
    node: StatusNode,
    events: Arc<RateMeter>,
    commands: Counter,
    bytes: Counter,
    batches: Counter,
    letters: Counter,
    repeated: Counter,
    filtered: Counter,
    suspects: Gauge,
    removed: Counter,
    quarantined: Gauge,
    expiry_held: Gauge,
    expiry_settled: Counter,
    expiry_left_out: Counter,
    late_renewals: Counter,
    parts: Parts,
    /// Stamp of the last event applied, milliseconds since 1970; 0: none yet.
    applied_stamp_ms: Arc<AtomicI64>,
    progressed: AtomicBool,
    clock: Arc<dyn Clock>,
    /// What the lane waits for, and whether it is over as soon as the destination is reached.
    waiting: Mutex<(Trouble, bool)>,
    endpoint: String,
}

/// The rate forgets with this time constant.
const RATE_MEMORY: Duration = Duration::from_secs(5);

// === impl LaneStatus ===

impl LaneStatus {
    /// A node below `parent`, named after the partitions.
    pub(crate) fn new(
        parent: &StatusNode,
        scope: &Scope,
        (clock, endpoint): (Arc<dyn Clock>, String),
    ) -> Self {
        let node = parent.child(name_of(scope));
        let events = Arc::new(RateMeter::new(Arc::clone(&clock), RATE_MEMORY));
        let meter = Arc::clone(&events);
        node.computed("events_per_second", move || Value::Float(meter.per_second()));
        let meter = Arc::clone(&events);
        node.computed("events", move || Value::Count(meter.total()));
        let applied_stamp_ms = Arc::new(AtomicI64::new(0));
        let stamp = Arc::clone(&applied_stamp_ms);
        let now = Arc::clone(&clock);
        node.computed("lag_seconds", move || lag(&*now, stamp.load(Ordering::Relaxed)));
        let parts = Parts::new(&node, &scope.numbers, &clock);
        let behind = parts.behind();
        node.computed("lag_records", move || Value::Count(behind()));
        let status = Self {
            commands: node.counter("commands"),
            bytes: node.counter("sent_bytes"),
            batches: node.counter("batches"),
            letters: node.counter("dead_letters"),
            repeated: node.counter("repeated_events"),
            filtered: node.counter("filtered_changes"),
            suspects: node.gauge("suspect_keys"),
            removed: node.counter("removed_keys"),
            quarantined: node.gauge("quarantined_keys"),
            expiry_held: node.gauge("expiry_held"),
            expiry_settled: node.counter("expiry_settled"),
            expiry_left_out: node.counter("expiry_left_out"),
            late_renewals: node.counter("late_renewals"),
            parts,
            node,
            events,
            applied_stamp_ms,
            progressed: AtomicBool::new(false),
            clock,
            waiting: Mutex::default(),
            endpoint,
        };
        status.phase(Phase::Starting);
        status
    }

    /// Notes for which partitions of other lanes tracks of this one wait.
    pub(crate) fn waits_for(&self, partitions: &[u16]) {
        match partitions.is_empty() {
            true => self.node.unset("waits_for_partitions"),
            false => {
                let shown: Vec<String> = partitions.iter().map(u16::to_string).collect();
                self.node.set("waits_for_partitions", shown.join(","));
            }
        }
    }

    /// Notes what the lane does now.
    pub(crate) fn phase(&self, phase: Phase) {
        self.node.set("phase", phase.name());
        if phase != Phase::Waiting {
            self.node.unset("waiting_for");
            self.node.unset("advice");
        }
        match phase {
            Phase::Snapshot | Phase::Stream => self.passed(false),
            Phase::Starting | Phase::Waiting | Phase::Stopped => self.held_by(None),
            Phase::Sweep => {}
        }
    }

    /// Notes what keeps the lane from taking more, besides the destination.
    pub(crate) fn held_by(&self, hold: Option<Hold>) {
        match hold {
            Some(hold) => self.node.set("held_by", hold.word()),
            None => self.node.unset("held_by"),
        }
    }

    /// Says that what the lane waited for has passed; `executed`: since a batch was executed, not only since the
    /// destination was reached.
    fn passed(&self, executed: bool) {
        let (trouble, ends_when_reached) = &mut *self.waiting.lock();
        if (executed || *ends_when_reached)
            && let Some(after) = trouble.end(self.clock.monotonic())
        {
            let what = if *ends_when_reached { "reachable" } else { "taking writes" };
            tracing::info!(destination = self.endpoint, after, "the destination is {what} again");
        }
    }

    /// Notes that the lane waits, and for what.
    pub(crate) fn waits(&self, error: &Error) {
        {
            let (trouble, ends_when_reached) = &mut *self.waiting.lock();
            trouble.begin(self.clock.monotonic());
            *ends_when_reached = matches!(error, Error::Connection(_));
        }
        self.phase(Phase::Waiting);
        self.node.set("waiting_for", error.to_string());
        self.node.set("advice", error.advice());
    }

    /// Notes that the lane has stopped as it was asked to, and where it stands.
    pub(crate) fn stopped(&self, progress: &Progress) {
        self.phase(Phase::Stopped);
        if !progress.applied.is_empty() {
            self.applied(progress);
        }
    }

    /// Notes that the lane has ended, and why.
    pub(crate) fn ended(&self, error: &Error) {
        self.phase(Phase::Stopped);
        self.node.set("error", error.to_string());
        self.node.set("advice", error.advice());
    }

    /// Counts a batch that was executed.
    pub(crate) fn executed(&self, counts: Executed) {
        self.events.mark(counts.events);
        self.commands.add(counts.commands);
        self.bytes.add(counts.bytes);
        self.batches.add(1);
        self.letters.add(counts.letters);
        self.expiry_settled.add(counts.settled);
        self.progressed.store(true, Ordering::Relaxed);
        self.passed(true);
    }

    /// Shows how far the lane has come.
    pub(crate) fn applied(&self, progress: &Progress) {
        let positions = progress.applied.iter().map(|point| point.position.to_string());
        let shown: Vec<String> = positions.collect();
        self.node.set("applied", shown.join(" "));
    }

    /// Notes a record that is about to be applied, of the partition with this index.
    pub(crate) fn took(&self, index: usize, entry: &Entry) {
        self.applied_stamp_ms.store(entry.timestamp_ms, Ordering::Relaxed);
        self.parts.took(index, entry);
    }

    /// Shows where the partition with this index stands.
    pub(crate) fn stands(&self, index: usize, standing: Standing) {
        self.parts.stands(index, standing);
    }

    /// Notes how many keys are set aside.
    pub(crate) fn quarantined(&self, keys: usize) {
        self.quarantined.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// Notes how many deadlines are held back, and counts those that will not be settled since they did not fit.
    pub(crate) fn held_back(&self, held: usize, left_out: u64) {
        self.expiry_held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.expiry_left_out.add(left_out);
    }

    /// Counts changes of when keys expire that came after these were gone.
    pub(crate) fn late_renewals(&self, count: u64) {
        self.late_renewals.add(count);
    }

    /// Counts what planning left out, since the last call.
    pub(crate) fn left_out(&self, counts: &Counts) {
        self.repeated.add(counts.repeated);
        self.filtered.add(counts.filtered);
    }

    /// Counts a change that the destination cannot hold, by reason.
    pub(crate) fn dropped(&self, why: &str) {
        self.node.child("dropped_changes").counter(why).add(1);
    }

    /// Shows whether the destination is in import mode for us.
    pub(crate) fn imports(&self, imports: bool) {
        match imports {
            true => self.node.set("import_mode", "on"),
            false => self.node.unset("import_mode"),
        }
    }

    /// Shows which keys cannot be judged.
    pub(crate) fn suspects(&self, suspects: &Suspects) {
        self.suspects.set(i64::try_from(suspects.count()).unwrap_or(i64::MAX));
        match suspects.is_empty() {
            true => self.node.unset("suspects"),
            false => self.node.set("suspects", suspects.shown()),
        }
    }

    /// Counts keys that a sweep removed, or that lost their value early.
    pub(crate) fn removed(&self, keys: u64) {
        self.removed.add(keys);
    }

    /// Whether a batch was executed since the last call.
    pub(crate) fn take_progressed(&self) -> bool {
        self.progressed.swap(false, Ordering::Relaxed)
    }
}

/// What one batch did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Executed {
    /// Events.
    pub(crate) events: u64,
    /// Commands.
    pub(crate) commands: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Dead letters.
    pub(crate) letters: u64,
    /// Deadlines that were settled.
    pub(crate) settled: u64,
}

/// What the node of a lane is called.
pub(super) fn name_of(scope: &Scope) -> String {
    match scope.numbers.len() {
        1 => format!("partition-{}", scope.shown()),
        _ => format!("partitions-{}", scope.shown()),
    }
}

fn lag(clock: &dyn Clock, stamp_ms: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "a lag is shown to a millisecond at most")]
    let seconds = |ms: i64| ms.max(0) as f64 / 1_000.0;
    match stamp_ms {
        0 => Value::Text("unknown".to_owned()),
        stamp_ms => Value::Float(seconds(clock.now_ms().saturating_sub(stamp_ms))),
    }
}

// === impl Phase ===

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Snapshot => "snapshot",
            Self::Sweep => "sweep",
            Self::Stream => "stream",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}
