//! Flushes and exchanges of databases that the destination refused while it executed them.
//!
//! `EXEC` does not roll back, and the checkpoint in it has passed the change. Nothing may be skipped, and a database
//! cannot be set aside: so such a change has a batch of its own, and where it fails the checkpoint goes back to before
//! it, and the lane stops. The next start meets the change again.

use event::{Body, Event};
use runtime::chain;
use wire::resp::reply::Reply;

use super::meet::Bystander;
use super::pump::{Flight, Pump};
use crate::batch::Batch;
use crate::error::Error;
use crate::plan::{Barrier, Failure, Need};

// === impl Pump ===

impl Pump<'_> {
    /// Executes what a barrier has planned with nothing behind it. Nothing is under way.
    pub(super) async fn execute_alone(&mut self) -> Result<(), Error> {
        if self.open.urgent {
            self.clear_of_suspicion().await?;
            let batch = self.seal();
            self.execute(Flight::of(batch)).await?;
        }
        Ok(())
    }

    /// Puts the checkpoint back to before the batch, in which a change of whole databases failed, and says so. Where it
    /// cannot be put back, the change would be skipped: that is said, and it is not tried again. The lane ends either
    /// way, so nothing but the destination is asked.
    pub(super) async fn stand_before(
        &mut self,
        batch: Batch,
        failure: Failure,
    ) -> Result<(), Error> {
        let mut back = Batch::new(self.tools.config.checkpoint_db);
        let error = self.not_allowed(&batch, &failure, &mut back);
        let Err(lost) = self.put_back(batch, back).await else { return Err(error) };
        let said = format!("{}, after: {error}", chain(&lost));
        Err(Error::Torn { endpoint: self.connection.endpoint().to_string(), said })
    }

    async fn put_back(&mut self, batch: Batch, mut back: Batch) -> Result<(), Error> {
        for exchanged in batch.exchanged.iter().rev() {
            self.suspects.exchange(*exchanged);
        }
        self.take_back(Some(batch)).await?;
        back.after = self.executed.clone();
        // Its own keys may be gone, or elsewhere, and those of others.
        let bystanders: Vec<u16> = self.bystanders.iter().map(Bystander::partition).collect();
        self.remember_bystanders(&bystanders).await?;
        back.loses_own = true;
        self.execute(Flight::of(back)).await?;
        let Some(flight) = self.running.take() else { return Ok(()) };
        let mut last = Reply::Null;
        // To MULTI, to each command, to EXEC.
        for _ in 0..flight.batch.commands() + 2 {
            last = self.connection.recv().await?;
        }
        match last.as_array() {
            Some(items) if items.iter().all(|item| !matches!(item, Reply::Error(_))) => Ok(()),
            _ => {
                let endpoint = self.connection.endpoint().to_string();
                Err(Error::Torn { endpoint, said: format!("{last:?}") })
            }
        }
    }

    /// What has failed. Of a transaction the rest has been executed, and will be again: its keys are suspects.
    fn not_allowed(&self, batch: &Batch, failure: &Failure, back: &mut Batch) -> Error {
        let said = failure.said.clone().unwrap_or_default();
        let record = batch.record(failure.sent.record);
        let event = record.and_then(|record| event::codec::decode_lean(record.clone()).ok());
        let (Some(record), Some(event)) = (record, event) else {
            return Error::Torn { endpoint: self.connection.endpoint().to_string(), said };
        };
        back.suspects = (0..changes(&event))
            .flat_map(|change| self.planner.concerned(record, change))
            .collect();
        let position = event.position;
        let (record, guests) = (record.clone(), Vec::new());
        let barrier = Barrier { track: 0, event, record, need: Need::Alone, guests };
        Error::NotAllowed { command: barrier.command(), position, said }
    }
}

/// How many changes a transaction has.
fn changes(event: &Event) -> u32 {
    match &event.body {
        Body::Group(group) => u32::try_from(group.changes.len()).unwrap_or(u32::MAX),
        _ => 0,
    }
}
