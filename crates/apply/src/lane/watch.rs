//! What a session writes about itself: our own keys beside the checkpoint, where to read from, its lag.

use wire::resp::encode::Decimal;

use super::pump::Pump;
use super::session::{durable, offsets};
use crate::batch::Batch;
use crate::error::Error;
use crate::limits;
use crate::progress::Progress;

// === impl Pump ===

impl Pump<'_> {
    /// What the batch does to the set of held keys at the destination, or all of our keys where it removes them.
    pub(super) fn write_held(&self, batch: &mut Batch) {
        let key = &self.names.quarantine;
        if batch.loses_own || self.anew {
            let owner = Decimal::from(self.owner);
            batch.own([b"SET".as_slice(), &self.names.owner, owner.as_ref()]);
            batch.own([b"DEL".as_slice(), key]);
            for (spot, why) in self.planner.held.iter() {
                batch.own([b"HSET".as_slice(), key, &spot.field(), why]);
            }
            return;
        }
        for change in std::mem::take(&mut batch.changes) {
            let field = change.spot.field();
            match change.held {
                true => batch.own([b"HSET".as_slice(), key, &field, &change.why]),
                false => batch.own([b"HDEL".as_slice(), key, &field]),
            }
            batch.changes.push(change);
        }
    }

    /// Per partition, the offset from which a later session has to read.
    pub(super) fn read_from(&self, after: &Progress) -> Vec<u64> {
        let sources = [
            Some(&self.executed.needed),
            after.snapshot_from.as_ref(),
            self.doubt_from.as_ref(),
            Some(&self.durable),
        ];
        let least = |index: usize| {
            sources.iter().flatten().filter_map(|offsets| offsets.get(index)).copied().min()
        };
        (0..self.executed.needed.len()).map(|index| least(index).unwrap_or_default()).collect()
    }

    /// Once in a while: the checkpoint of an idle lane, its lag, and what the journal may forget.
    pub(super) async fn look_around(&mut self) -> Result<(), Error> {
        self.tick = self.tools.clock.sleep(limits::TICK);
        self.asked = true;
        let description = self.tools.journal.describe().await?;
        self.durable = durable(&description, self.scope);
        self.memory.durable.clone_from(&self.durable);
        let ends = description.partitions.iter().skip(usize::from(self.scope.first));
        // What was read and needs nothing done is no lag, although no checkpoint says so yet.
        let idle = self.running.is_none() && self.waiting.is_none() && !self.open.has_work();
        let done = if idle { self.planner.now() } else { self.executed.clone() };
        let lag = ends.zip(&done.needed).map(|(range, next)| range.end.0.saturating_sub(*next));
        self.status.observed(lag.sum(), self.planner.held.len());
        self.look_at_deadlines();
        self.status.left_out(&std::mem::take(&mut self.planner.counts));
        self.status.applied(&self.executed);
        let suspects = std::mem::take(&mut self.planner.suspects);
        if !suspects.is_empty() {
            tracing::warn!(
                keys = suspects.len(),
                "keys are suspect after a crash: compare them with the source"
            );
            self.status.suspects(suspects.len() as u64);
        }
        if self.running.is_none() && self.waiting.is_none() {
            self.open.urgent |= self.lags || self.planner.now() != self.executed;
        }
        let released = offsets(self.scope, &self.read_from(&self.executed));
        if let Err(error) = self.tools.journal.release(&self.tools.config.name, released).await {
            tracing::warn!(error = %error, "the journal did not take note of what it may forget");
        }
        Ok(())
    }
}
