//! Which keys a snapshot has named, told from records that were applied before. Pure.
//!
//! Guarantees: a process that reads a snapshot again marks what the one before it has marked, of values that come in
//! fragments too, or stops. No more is held of such a value than its key.

use std::collections::HashMap;

use event::codec::Beginning;
use event::control::Control;
use event::fragment::{Assembler, Fragment};
use event::image::ImageHead;
use event::{Body, Event};

use super::Planner;
use crate::error::Error;
use crate::limits;
use crate::scope::Line;

/// Values in fragments of which not all has come again, by line and the partition's index in the lane.
pub(super) type Passing = HashMap<(Line, usize), Assembler>;

// === impl Planner ===

impl Planner {
    /// Marks what a record that has been applied is of, if it is of the snapshot that its line applies.
    ///
    /// # Errors
    /// When it is a fragment that does not follow those before it: its key could not be told from one that is gone.
    pub(super) fn name_again(&mut self, event: &Event) -> Result<(), Error> {
        let line = self.line(event.position);
        if let Body::Control(Control::EpochBegin(_)) = &event.body {
            // A capture that died while it wrote a large value writes another snapshot.
            self.passing.remove(&(line, self.at.0));
        }
        let resync = self.progress.resyncs.get(&line);
        if resync.is_none_or(|of| !of.sweep || of.epoch != event.position.epoch) {
            return Ok(());
        }
        match &event.body {
            Body::Image(image) => self.mark_taken(line, (event.db, &event.key), &image.head),
            Body::ImagePart(part) => self.mark_taken(line, (event.db, &event.key), &part.head),
            Body::Fragment(fragment) => self.name_of_fragments(line, event, fragment),
            Body::Command(_) | Body::Group(_) | Body::Control(_) => Ok(()),
        }
    }

    /// A line has come to what was not applied before.
    pub(super) fn forget_passing(&mut self, line: Line) {
        if !self.passing.is_empty() {
            self.passing.retain(|(of, _), _| *of != line);
        }
    }

    /// Takes the next fragment of a value, and marks its key with the last.
    fn name_of_fragments(
        &mut self,
        line: Line,
        event: &Event,
        fragment: &Fragment,
    ) -> Result<(), Error> {
        // Where all marks are there, reading may begin in the middle of a value.
        if !self.marks_of_line(line).is_some_and(|marks| marks.rebuilding.contains(&line.track)) {
            return Ok(());
        }
        let whose = (line, self.at.0);
        let open = self.passing.entry(whose);
        let open = open.or_insert_with(|| Assembler::beginning(limits::EVENT_BYTES));
        let pushed = open.push(fragment.clone(), event.position);
        let Some(encoding) = pushed.map_err(|error| lost(event, &error.to_string()))? else {
            return Ok(());
        };
        self.passing.remove(&whose);
        let beginning = Beginning::of(&encoding);
        let beginning = beginning.ok_or_else(|| lost(event, "it is no encoding of an event"))?;
        match &beginning.image {
            Some(head) => self.mark_taken(line, (beginning.db, beginning.key), head),
            None => Ok(()),
        }
    }

    fn mark_taken(
        &mut self,
        line: Line,
        (db, key): (u32, &[u8]),
        head: &ImageHead,
    ) -> Result<(), Error> {
        match self.rules.takes_image((db, key), head) {
            true => self.mark_key(line, (db, key)),
            false => Ok(()),
        }
    }
}

fn lost(event: &Event, why: &str) -> Error {
    let what = format!(
        "a value that the snapshot has named cannot be put together again, and its key would be removed as one that is \
         gone: {why}"
    );
    Planner::contradiction(event, &what)
}
