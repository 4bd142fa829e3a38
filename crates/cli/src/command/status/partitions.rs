//! Per partition of a shared journal: how far the source's history is in it, where it ends, and what each destination
//! has still to apply.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Position, codec};
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
    events: u64,
    /// By the size of the records that come first.
    bytes: u64,
    /// The age of the first.
    seconds: f64,
}

/// Records that are read to tell how large they are.
const SAMPLE: ReadLimit = ReadLimit { records: 500, bytes: 4 << 20 };
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
        let tails = first_of_each(journal, clock, tails).await.map_err(failed)?;
        let parts = ranges.map(|(of, range)| {
            let last = tails.get(&of).and_then(|found| found.first.clone());
            let event = last.and_then(|entry| codec::decode(entry.payload).ok());
            Part { end: range.end, position: event.map(|event| event.position) }
        });
        let parts: Vec<Part> = parts.collect();
        let mut groups = Vec::new();
        for reader in &description.readers {
            let end =
                |of: Partition| parts.get(usize::from(of.0)).map_or(Offset(0), |part| part.end);
            let behind = reader.released.iter().copied().filter(|(of, at)| *at < end(*of));
            let found = first_of_each(journal, clock, behind.collect()).await;
            // What has left retention cannot be looked at; how much it is can be told all the same.
            let found = found.unwrap_or_default();
            let lags = reader.released.iter().map(|&(partition, at)| {
                let events = end(partition).0.saturating_sub(at.0);
                let sample = found.get(&partition);
                let seconds =
                    sample.and_then(|sample| sample.first.as_ref()).map_or(0.0, |first| {
                        let ms = clock.now_ms().saturating_sub(first.timestamp_ms).max(0);
                        Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
                    });
                let bytes = sample.map_or(0, |sample| sample.mean_bytes().saturating_mul(events));
                Lag { partition, at, events, bytes, seconds }
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
    first: Option<Entry>,
    records: u64,
    bytes: u64,
}

// === impl Sample ===

impl Sample {
    fn add(&mut self, entry: Entry) {
        self.records += 1;
        self.bytes += entry.payload.len() as u64;
        self.first.get_or_insert(entry);
    }

    fn mean_bytes(&self) -> u64 {
        self.bytes.checked_div(self.records).unwrap_or(0)
    }
}

/// Some records of each place, at least one of those that have any in time.
async fn first_of_each(
    journal: &dyn Journal,
    clock: &dyn Clock,
    places: Vec<(Partition, Offset)>,
) -> Result<BTreeMap<Partition, Sample>, ReadError> {
    let mut found: BTreeMap<Partition, Sample> = BTreeMap::new();
    let count = places.len();
    if count == 0 {
        return Ok(found);
    }
    let mut reader = journal.reader(places).await?;
    while found.len() < count {
        let Ok(entries) = timeout(clock, ANSWER_LIMIT, reader.next(SAMPLE)).await else { break };
        for entry in entries? {
            found.entry(entry.partition).or_default().add(entry);
        }
    }
    Ok(found)
}
