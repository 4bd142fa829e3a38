//! How a run ended: for the log, and as the last word in the status.

use std::sync::{Arc, OnceLock};

use event::Position;
use journal::Journal;
use journal::local::LocalJournal;
use runtime::status::Value;

use super::Shared;
use crate::exit::{Exit, Failure};

/// Who asked to stop. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<OnceLock<&'static str>>);

/// Where everything stood when it stopped; by default: nothing had begun.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The source's history up to which the journal has everything, and records written.
    captured: Option<(u64, u64)>,
    /// Where each lane stopped.
    applied: Vec<apply::Stopped>,
    /// Records that the destination has not had.
    behind: Option<u64>,
}

// === impl Asked ===

impl Asked {
    /// Notes the first who asks.
    pub(super) fn by(&self, signal: &'static str) {
        // Who asked first has been heard.
        self.0.set(signal).ok();
    }

    fn who(&self) -> &'static str {
        self.0.get().copied().unwrap_or("the end of its work")
    }
}

// === impl Ending ===

impl Ending {
    pub(super) fn of(captured: &capture::Summary, applied: apply::Summary) -> Self {
        Self {
            captured: Some((captured.durable_offset, captured.records)),
            applied: applied.lanes,
            behind: None,
        }
    }

    /// Counts what the journal holds beyond.
    pub(super) async fn beside(self, journal: &LocalJournal) -> Self {
        // Only a figure for people is lost if the journal does not tell.
        let Ok(description) = journal.describe().await else { return self };
        let mut behind = 0;
        for lane in &self.applied {
            let ends = description.partitions.iter().skip(usize::from(lane.partitions.0));
            let pairs = ends.zip(&lane.next);
            behind += pairs.map(|(range, next)| range.end.0.saturating_sub(*next)).sum::<u64>();
        }
        Self { behind: Some(behind), ..self }
    }

    /// Says in the log where it stopped.
    pub(super) fn log(&self, asked: &Asked) {
        let Some((captured_to, records)) = self.captured else {
            tracing::info!(by = asked.who(), "stopped before anything was read");
            return;
        };
        tracing::info!(
            by = asked.who(),
            captured_to,
            records,
            applied_to = self.places(),
            records_behind = self.behind,
            "stopped: everything read is durable; start again to go on from here"
        );
    }

    fn places(&self) -> String {
        let places = self.applied.iter().map(|lane| match lane.applied.as_slice() {
            [] => "nothing yet".to_owned(),
            positions => words(positions),
        });
        places.collect::<Vec<_>>().join(" ")
    }
}

fn words(positions: &[Position]) -> String {
    positions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

// === impl Shared ===

impl Shared {
    /// Puts the last word into the status.
    pub(super) fn end(&self, result: &Result<Ending, Failure>) {
        let ended = self.status.child("ended");
        ended.set("at_ms", Value::Timestamp(self.clock.now_ms()));
        let exit = match result {
            Ok(ending) => {
                ended.set("why", format!("stopped by {}", self.asked.who()));
                if let Some((offset, _)) = ending.captured {
                    ended.set("captured_to", Value::Count(offset));
                    ended.set("applied_to", ending.places());
                }
                if let Some(behind) = ending.behind {
                    ended.set("records_behind", Value::Count(behind));
                }
                Exit::Done
            }
            Err(failure) => {
                ended.set("why", failure.what.as_str());
                ended.set("advice", failure.advice.as_str());
                failure.exit
            }
        };
        ended.set("exit_code", Value::Integer(exit.code().into()));
        self.status.set("state", "stopped");
    }
}
