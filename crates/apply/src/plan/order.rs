//! Whether an event comes next in the history of its shard, or has been dealt with already. Pure.

use event::control::{Control, EpochCause};
use event::{Body, Event};

use super::Planner;
use crate::error::Error;

// === impl Planner ===

impl Planner {
    /// Whether an event needs nothing any more: it has been applied, or only concerns others.
    pub(super) fn settled(&self, event: &Event) -> bool {
        if matches!(event.body, Body::Control(Control::Barrier(_))) && self.scope.one_order {
            return true;
        }
        let position = &event.position;
        let line = self.line(*position);
        match self.progress.of(line) {
            Some(applied) => !position.is_after(applied),
            None => self.floor.get(&line).is_some_and(|first| first.is_after(position)),
        }
    }

    /// Whether an event may come next in its shard.
    pub(super) fn check_order(&self, event: &Event) -> Result<(), Error> {
        let shard = event.position.shard;
        let begins = match &event.body {
            Body::Control(Control::EpochBegin(begin)) => Some(begin.cause),
            _ => None,
        };
        match (self.progress.of(self.line(event.position)), begins) {
            _ if self.is_on_demand(event.position) => Ok(()),
            (None, Some(EpochCause::FullResync)) | (Some(_), Some(_)) => Ok(()),
            (None, _) => Err(self.no_snapshot(shard)),
            (Some(applied), None) if applied.epoch == event.position.epoch => Ok(()),
            (Some(_), None) => Err(Self::contradiction(event, "its epoch has not begun")),
        }
    }
}
