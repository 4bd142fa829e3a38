//! Per partition of a shared journal: how far the source's history is in it, where it ends, and what each destination
//! has still to apply.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Body, Event, Position, codec};
use indicatif::HumanBytes;
use journal::{Entry, Journal, Offset, Partition, ReadError, ReadLimit};
use runtime::Clock;
use runtime::clock::timeout;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};

/// All partitions.
pub(super) struct Partitions {
    parts: Vec<Part>,
    groups: Vec<Group>,
}

/// One partition.
struct Part {
    end: Offset,
    /// Of its last record.
    position: Option<Position>,
}

/// One destination.
struct Group {
    name: String,
    lags: Vec<Lag>,
}

/// What is behind a destination's checkpoint in one partition.
struct Lag {
    partition: Partition,
    /// The first record that it still needs.
    at: Offset,
    /// Without notes of place, such as heartbeats, where so few are behind that they were counted.
    events: u64,
    /// By the size of the records that come first.
    bytes: u64,
    /// The age of the first.
    seconds: f64,
}

/// Records that are read at once to tell what they are, and how large.
const SAMPLE: ReadLimit = ReadLimit { records: 500, bytes: 4 << 20 };
/// After how many records, in all, the rest is no longer looked at one by one.
const COUNTED_RECORDS: u64 = 5_000;
/// How long brokers may take to give some records.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

// === impl Partitions ===

impl Partitions {
    /// Asks the brokers.
    pub(super) async fn read(journal: &dyn Journal, clock: &dyn Clock) -> Result<Self, Failure> {
        let failed = |error: ReadError| Failure::at_start(Exit::Journal, &error);
        let description = journal.describe().await.map_err(failed)?;
        let ranges = (0..).map(Partition).zip(&description.partitions);
        let tails = ranges.clone().filter(|(_, range)| range.start < range.end);
        let tails = tails.map(|(of, range)| (of, Offset(range.end.0 - 1))).collect();
        let ends: Vec<Offset> = description.partitions.iter().map(|range| range.end).collect();
        let tails = samples(journal, clock, (tails, &ends)).await.map_err(failed)?;
        let parts = ranges.map(|(of, range)| {
            let position = tails.get(&of).and_then(|found| found.position);
            Part { end: range.end, position }
        });
        let parts: Vec<Part> = parts.collect();
        let mut groups = Vec::new();
        for reader in &description.readers {
            let end = |of: Partition| ends.get(usize::from(of.0)).copied().unwrap_or_default();
            let behind = reader.released.iter().copied().filter(|(of, at)| *at < end(*of));
            let found = samples(journal, clock, (behind.collect(), &ends)).await;
            // What has left retention cannot be looked at; how much it is can be told all the same.
            let found = found.unwrap_or_default();
            let lags = reader.released.iter().map(|&(partition, at)| {
                let records = end(partition).0.saturating_sub(at.0);
                match found.get(&partition) {
                    Some(sample) => sample.lag((partition, at, records), clock.now_ms()),
                    None => Lag { partition, at, events: records, bytes: 0, seconds: 0.0 },
                }
            });
            groups.push(Group { name: reader.name.clone(), lags: lags.collect() });
        }
        Ok(Self { parts, groups })
    }

    pub(super) fn json(&self) -> Value {
        let parts = (0..).zip(&self.parts).map(|(number, part): (u16, _)| {
            let groups = self.of(number).map(|(name, lag)| {
                let lag = json!({
                    "applied_offset": lag.at.0,
                    "lag_events": lag.events,
                    "lag_bytes": lag.bytes,
                    "lag_seconds": lag.seconds,
                });
                (name.to_owned(), lag)
            });
            json!({
                "partition": number,
                "source_position": part.position.map(|position| position.to_string()),
                "journal_end": part.end.0,
                "destinations": Value::Object(groups.collect()),
            })
        });
        parts.collect()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, part) in (0..).zip(&self.parts) {
            let position = part.position.map_or("nothing yet".to_owned(), |at| at.to_string());
            lines.push(format!(
                "partition {number}: source position {position}, journal end {}",
                part.end.0
            ));
            lines.extend(self.of(number).map(|(name, lag)| {
                format!(
                    "  {name}: applied to {}, lag {} events, about {}, {:.1} s",
                    lag.at.0,
                    lag.events,
                    HumanBytes(lag.bytes),
                    lag.seconds
                )
            }));
        }
        lines
    }

    fn of(&self, number: u16) -> impl Iterator<Item = (&str, &Lag)> {
        self.groups.iter().filter_map(move |group| {
            let lag = group.lags.iter().find(|lag| lag.partition.0 == number)?;
            Some((group.name.as_str(), lag))
        })
    }
}

/// The records that come first at a place.
#[derive(Default)]
struct Sample {
    /// Of the last of them.
    position: Option<Position>,
    /// The time of the first that changes something, Unix milliseconds.
    first_ms: Option<i64>,
    records: u64,
    /// Those that change something.
    changes: u64,
    bytes: u64,
    /// Whether there are no more.
    is_whole: bool,
}

// === impl Sample ===

impl Sample {
    fn add(&mut self, entry: Entry, end: Offset) {
        self.records += 1;
        self.is_whole |= entry.offset.after(1) >= end;
        let bytes = entry.payload.len() as u64;
        let event = codec::decode(entry.payload);
        let is_note = |event: &Event| matches!(&event.body, Body::Control(of) if of.is_note());
        // What cannot be read is no note that this version knows.
        if !event.as_ref().is_ok_and(is_note) {
            self.changes += 1;
            self.bytes += bytes;
            self.first_ms.get_or_insert(entry.timestamp_ms);
        }
        self.position = event.ok().map(|event| event.position);
    }

    /// What is behind at a place where so many records come.
    fn lag(&self, (partition, at, records): (Partition, Offset, u64), now_ms: i64) -> Lag {
        let events = if self.is_whole { self.changes } else { records };
        let mean_bytes = self.bytes.checked_div(self.changes).unwrap_or(0);
        let ms = self.first_ms.map_or(0, |first_ms| now_ms.saturating_sub(first_ms));
        let age = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let bytes = mean_bytes.saturating_mul(events);
        Lag { partition, at, events, bytes, seconds: age.as_secs_f64() }
    }
}

/// Records of each place up to the partition's end, of those that have any in time: at least one, and all that there
/// are where these are few.
async fn samples(
    journal: &dyn Journal,
    clock: &dyn Clock,
    (places, ends): (Vec<(Partition, Offset)>, &[Offset]),
) -> Result<BTreeMap<Partition, Sample>, ReadError> {
    let mut found: BTreeMap<Partition, Sample> = BTreeMap::new();
    let (count, mut seen) = (places.len(), 0);
    if count == 0 {
        return Ok(found);
    }
    let mut reader = journal.reader(places).await?;
    let is_done = |found: &BTreeMap<Partition, Sample>, seen: u64| {
        let are_whole = found.values().all(|sample| sample.is_whole);
        found.len() == count && (are_whole || seen >= COUNTED_RECORDS)
    };
    while !is_done(&found, seen) {
        let Ok(entries) = timeout(clock, ANSWER_LIMIT, reader.next(SAMPLE)).await else { break };
        for entry in entries? {
            let end = ends.get(usize::from(entry.partition.0)).copied().unwrap_or_default();
            if entry.offset < end {
                seen += 1;
                found.entry(entry.partition).or_default().add(entry, end);
            }
        }
    }
    Ok(found)
}
