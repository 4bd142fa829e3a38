//! Changes that the destination refused to queue. Pure.
//!
//! Guarantees: such a change is not sent again: it is set aside, or ends the lane. If what is planned in its place is
//! refused as well, the lane ends, too: nothing is planned, refused and planned again for ever.

use std::collections::HashMap;

use bytes::Bytes;
use event::{Body, Change, Event, Position};

use super::{Failure, Place, Planner};
use crate::batch::Batch;
use crate::error::Error;

/// Where a change stands in the source's history, and its number in a group.
type Identity = (Position, u32);

/// Changes that the destination refused to queue: their tracks, and why.
pub(crate) type Refused = HashMap<Identity, (usize, String)>;

// === impl Planner ===

impl Planner {
    /// Takes note of the changes of a batch that the destination refused to queue.
    ///
    /// # Errors
    /// When one of them had been refused before.
    pub(crate) fn note_refused(
        &mut self,
        batch: &Batch,
        failures: &[Failure],
    ) -> Result<(), Error> {
        let mut refused: Vec<(Identity, (usize, String))> = Vec::new();
        for failure in failures {
            let said = failure.said.clone().unwrap_or_default();
            let record = batch.record(failure.sent.record);
            let event = record.and_then(|record| event::codec::decode_lean(record.clone()).ok());
            let Some(event) = event else {
                let position = self.progress.somewhere();
                let what = format!("a command of no change was refused: {said}");
                return Err(Error::Contradiction { position, what });
            };
            let identity = (event.position, failure.sent.change);
            if self.refused.contains_key(&identity) {
                let command = name_of(&event, failure.sent.change);
                return Err(Error::RefusedAgain { command, position: event.position, said });
            }
            refused.push((identity, (self.point_of(&event).track, said)));
        }
        // Of several commands of one change the first says why.
        self.refused.extend(refused.into_iter().rev());
        Ok(())
    }

    /// Why a change for that database cannot be written: the destination has no such database, or refused this very
    /// change before.
    pub(super) fn refusal(&self, place: &Place<'_>, db: u32) -> Option<String> {
        if db >= self.rules.databases {
            return Some(format!("the destination has no database {db}"));
        }
        if self.refused.is_empty() {
            return None;
        }
        let refused = self.refused.get(&(place.position, place.change));
        refused.map(|(_, said)| said.clone())
    }
}

/// What a change of a record is called.
pub(crate) fn name_of_change(record: &Bytes, number: u32) -> String {
    event::codec::decode(record.clone())
        .map_or_else(|_| "a change".to_owned(), |event| name_of(&event, number))
}

/// What a change is called.
fn name_of(event: &Event, number: u32) -> String {
    let command = match &event.body {
        Body::Command(command) => Some(command),
        Body::Group(group) => {
            let change = usize::try_from(number).ok().and_then(|number| group.changes.get(number));
            change.and_then(|change| match &change.change {
                Change::Command(command) => Some(command),
                _ => None,
            })
        }
        _ => None,
    };
    let name = command.and_then(|command| command.args.first());
    name.map_or_else(|| event.kind().to_owned(), |name| event::text::Quoted(name).to_string())
}
