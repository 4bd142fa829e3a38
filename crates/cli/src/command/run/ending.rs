//! How a run ended: for the log, and as the last word in the status.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event::text::Utc;
use event::{Body, Event, Position};
use journal::{Journal, Offset, Partition, ReadError, ReadLimit};
use runtime::Clock;
use runtime::clock::timeout;
use runtime::status::Value;

use super::Shared;
use crate::exit::{Exit, Failure};

/// Who asked to stop. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<OnceLock<&'static str>>);

/// Where everything stood when it stopped; by default: nothing had begun.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The source's history up to which the journal has everything, if there is such a place, and records written.
    captured: Option<(Option<u64>, u64)>,
    /// Something had come that the journal has not.
    cut_short: bool,
    /// Where each lane stopped.
    applied: Vec<apply::Stopped>,
    /// Records of changes that the destination has not had.
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
    /// Of the sides that there were, and had begun.
    pub(super) fn of(captured: Option<&capture::Summary>, applied: Option<apply::Summary>) -> Self {
        Self {
            captured: captured.map(|captured| (captured.durable_offset, captured.records)),
            cut_short: captured.is_some_and(|captured| !captured.complete),
            applied: applied.and_then(|applied| applied.lane).into_iter().collect(),
            behind: None,
        }
    }

    /// Counts what the journal holds beyond, if it tells soon; not where a lane never came to know its place.
    pub(super) async fn beside(self, journal: &dyn Journal, clock: &dyn Clock) -> Self {
        let counted = timeout(clock, COUNT_LIMIT, self.count_behind(journal)).await;
        Self { behind: counted.ok().flatten(), ..self }
    }

    async fn count_behind(&self, journal: &dyn Journal) -> Option<u64> {
        let mut behind = (!self.applied.is_empty()).then_some(0);
        for lane in &self.applied {
            // Only a figure for people is lost if the journal does not tell.
            let of_lane = match has_begun(lane) {
                true => changes_behind(journal, lane).await.ok(),
                false => None,
            };
            behind = behind.zip(of_lane).map(|(behind, more)| behind + more);
        }
        behind
    }

    /// Says in the log where it stopped.
    pub(super) fn log(&self, asked: &Asked) {
        let applied_to = (!self.applied.is_empty()).then(|| self.places());
        let by = asked.who();
        if let Some(reached) = self.applied.iter().find_map(|lane| lane.reached) {
            return log_replay(reached, &applied_to.unwrap_or_default());
        }
        let Some((captured_to, records)) = self.captured else {
            match applied_to {
                None => tracing::info!(by, "stopped before anything was read"),
                Some(applied_to) => tracing::info!(
                    by,
                    applied_to,
                    records_behind = self.behind,
                    "stopped; start again to go on from here"
                ),
            }
            return;
        };
        tracing::info!(
            by,
            captured_to,
            records,
            applied_to,
            records_behind = self.behind,
            "stopped: {}; start again to go on from here",
            match (captured_to, self.cut_short) {
                (None, false) => "nothing new was read",
                (None, true) => "what was read does not count yet, and is read again",
                (Some(_), false) => "everything read is durable",
                (Some(_), true) => "what was read beyond that is not in the journal",
            }
        );
    }

    fn places(&self) -> String {
        let places = self.applied.iter().map(|lane| match lane.applied.as_slice() {
            _ if !has_begun(lane) => "not known".to_owned(),
            [] => "nothing yet".to_owned(),
            positions => words(positions),
        });
        places.collect::<Vec<_>>().join(" ")
    }
}

/// Says where a replay came to its end.
fn log_replay(reached: apply::Reached, applied_to: &str) {
    let last_change = Utc(reached.time_ms);
    match reached.passed {
        true => tracing::info!(
            applied_to,
            %last_change,
            "replayed: the destination holds what the source held there; `keyferry apply` goes on from here"
        ),
        false => tracing::warn!(
            applied_to,
            %last_change,
            "replayed to the journal's end, which is before the place where it should end: the destination holds what \
             the source held at its last record; `keyferry apply` goes on from here"
        ),
    }
}

/// Whether a lane has learned where the destination stands.
fn has_begun(lane: &apply::Stopped) -> bool {
    !lane.next.is_empty()
}

/// How many durable records of changes the journal has that a lane has not applied: others may never come to be read, as
/// where the disk is full. Where very many records follow they are not looked at one by one, and notes of place count
/// with them.
async fn changes_behind(journal: &dyn Journal, lane: &apply::Stopped) -> Result<u64, ReadError> {
    let ranges = journal.describe().await?.partitions;
    let range = |at: u16| ranges.get(usize::from(at)).copied().unwrap_or_default();
    let places = lane.partitions.iter().zip(&lane.next);
    let pairs: Vec<_> = places.map(|(at, next)| (*at, range(*at), *next)).collect();
    let records: u64 =
        pairs.iter().map(|(_, range, next)| range.durable.0.saturating_sub(*next)).sum();
    if records > COUNTED_RECORDS || records == 0 {
        return Ok(records);
    }
    let from = pairs.iter().filter(|(_, range, next)| *next < range.durable.0);
    let from = from.map(|(at, _, next)| (Partition(*at), Offset(*next))).collect();
    let mut reader = journal.reader(from).await?;
    let (mut seen, mut behind) = (0, 0);
    while seen < records {
        let limit = ReadLimit { records: PAGE_RECORDS, bytes: PAGE_BYTES };
        for entry in reader.next(limit).await? {
            seen += 1;
            // What cannot be read is no note of place that this version wrote.
            let event = event::codec::decode(entry.payload);
            behind += u64::from(event.map_or(true, |event| is_ahead(&event, &lane.applied)));
        }
    }
    Ok(behind)
}

/// Whether an event changes something that is not applied yet.
fn is_ahead(event: &Event, applied: &[Position]) -> bool {
    let changes = !matches!(&event.body, Body::Control(control) if control.is_note());
    let passed = |applied: &&Position| applied.shard == event.position.shard;
    // A snapshot made on demand is passed over.
    let changes = changes && event.snapshot_id() == 0;
    changes && applied.iter().find(passed).is_none_or(|at| event.position.is_after(at))
}

/// More records than this are not looked at one by one: a stop is to be quick.
const COUNTED_RECORDS: u64 = 100_000;

/// For how long that is counted: brokers may be away, and a figure for people is not worth a wait.
const COUNT_LIMIT: Duration = Duration::from_secs(2);

/// What is read at once to count.
const PAGE_RECORDS: usize = 1_000;
const PAGE_BYTES: usize = 4 << 20;

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
                if let Some((Some(offset), _)) = ending.captured {
                    ended.set("captured_to", Value::Count(offset));
                }
                if !ending.applied.is_empty() {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::{Append, MemoryJournal};
    use runtime::SystemClock;

    use super::*;

    async fn last_word(journal: &MemoryJournal, next: &[u64]) -> (Option<u64>, String) {
        let lane = apply::Stopped {
            partitions: vec![0],
            applied: vec![],
            next: next.to_vec(),
            reached: None,
        };
        let ending = Ending { applied: vec![lane], ..Ending::default() };
        let ending = ending.beside(journal, &SystemClock::new()).await;
        (ending.behind, ending.places())
    }

    #[tokio::test]
    async fn a_lane_that_never_opened_is_not_said_to_have_everything() {
        let journal = MemoryJournal::new("test", 1);
        let mut appender = journal.appender().await.unwrap();
        let record = Append {
            partition: Partition(0),
            key: Bytes::new(),
            timestamp_ms: 0,
            kind: "test",
            db: 0,
            payload: Bytes::from_static(b"one"),
        };
        appender.append(&mut vec![record]).await.unwrap();
        appender.flush().await.unwrap();
        assert_eq!(last_word(&journal, &[]).await, (None, "not known".to_owned()));
        assert_eq!(last_word(&journal, &[0]).await, (Some(1), "nothing yet".to_owned()));
        assert_eq!(last_word(&journal, &[1]).await, (Some(0), "nothing yet".to_owned()));
    }
}
