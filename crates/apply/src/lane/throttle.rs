//! How much a lane takes from its journal in a second, and whether it takes anything: settings that change while it runs.
//!
//! Guarantees: whatever holds it, replies are read, requests of operators are answered, a stop is heard, and what was
//! taken before is applied. Events count, and their bytes in the journal; notes of place and the like do not.

use std::sync::Arc;

use event::{Body, Shard, codec};
use journal::{Entry, ReadLimit};
use runtime::throttle::HoldSign;
use runtime::{Clock, Flow, Gate, Hold, Rate};

use super::pump::Pump;
use super::{LaneStatus, Tools};
use crate::limits;
use crate::scope::Line;

/// What the lane lets in.
pub(super) struct Inflow {
    gate: Gate,
    clock: Arc<dyn Clock>,
    sign: HoldSign,
}

// === impl Inflow ===

impl Inflow {
    pub(super) fn new(tools: &Tools) -> Self {
        let clock = Arc::clone(&tools.clock);
        Self {
            gate: tools.config.throttle.gate(Arc::clone(&clock)),
            clock,
            sign: HoldSign::default(),
        }
    }

    /// Completes when something may come in. Cancel-safe.
    pub(super) async fn opened(&mut self, flow: Flow) {
        self.gate.opened(flow).await;
    }

    /// Whether anything is limited, so that what is taken has to be counted.
    pub(super) fn counts(&self) -> bool {
        [Flow::Full, Flow::Incremental].map(|flow| self.gate.rate(flow)) != [Rate::default(); 2]
    }

    fn show(&mut self, hold: Option<Hold>, status: &LaneStatus) {
        if let Some(shown) = self.sign.note(hold, self.clock.monotonic()) {
            status.held_by(shown);
        }
    }
}

// === impl Pump ===

impl Pump<'_> {
    /// What is taken from the journal now. Every history begins with a snapshot.
    pub(super) fn flow(&self) -> Flow {
        let progress = &self.planner.progress;
        match !progress.resyncs.is_empty() || progress.applied.is_empty() {
            true => Flow::Full,
            false => Flow::Incremental,
        }
    }

    /// Whether something holds what would be taken now.
    pub(super) fn is_held(&self) -> bool {
        self.inflow.gate.hold(self.flow()).is_some()
    }

    /// How much may be taken from the journal now, and whether something holds the lane that `wants` it, which is shown.
    pub(super) fn allowance(&mut self, wants: bool) -> (ReadLimit, bool) {
        let flow = self.flow();
        let hold = self.inflow.gate.hold(flow).filter(|_| wants);
        if wants {
            self.inflow.show(hold, self.status);
        }
        let room = self.inflow.gate.room(flow);
        let least =
            |most: usize, room: u64| usize::try_from(room).map_or(most, |room| room.min(most));
        let limit = ReadLimit {
            records: least(limits::READ_RECORDS, room.rows),
            bytes: least(limits::READ_BYTES, room.bytes),
        };
        (limit, hold.is_some())
    }

    /// Notes what is about to be applied, and counts it where anything [counts](Inflow::counts).
    pub(super) fn count_taken(&self, counts: bool, entry: &Entry) {
        let index = self.scope.index_of(entry.partition.0).unwrap_or_default();
        self.status.took(index, entry);
        if !counts {
            return;
        }
        let flow = self.flow();
        if self.inflow.gate.rate(flow) != Rate::default() {
            let (progress, track) = (&self.planner.progress, self.scope.track(index));
            let of = |shard| progress.on_demand(Line { track, shard }).unwrap_or_default();
            let weight = weight(entry, of);
            self.inflow.gate.took(flow, weight);
        }
    }
}

/// Nothing for what changes no key: such notes come in every partition, however idle the source is; and what is passed
/// over, since it is not of the snapshot of its shard that is applied (0: of the stream).
fn weight(entry: &Entry, snapshot_id: impl Fn(Shard) -> u64) -> Rate {
    let counts = match codec::Glance::at(&entry.payload) {
        Some(of_stream) => snapshot_id(of_stream.position.shard) == 0,
        None => codec::decode(entry.payload.clone()).map_or(true, |event| {
            let wanted = snapshot_id(event.position.shard);
            !matches!(event.body, Body::Control(_)) && event.snapshot_id() == wanted
        }),
    };
    match counts {
        false => Rate::default(),
        true => Rate { rows: 1, bytes: entry.payload.len() as u64 },
    }
}
