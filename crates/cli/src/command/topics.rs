//! `keyferry topics`: the topics of a stream on Kafka, made, compared and shown.

use std::sync::Arc;

use clap::ArgMatches;
use journal::kafka::{
    KafkaConfig, KafkaJournal, LeaseFacts, StreamTopics, TopicFacts, WriterFacts,
};
use journal::{Description, Journal, OpenError, Writer};
use runtime::{Clock, SystemClock, units};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::options::layers::Values;
use crate::options::typed::{JournalSettings, Reader};
use crate::output;

/// Settings that are shown; the others are the brokers' affair.
const SHOWN: [&str; 6] = [
    "cleanup.policy",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
];

/// Of which stream, and how it is to be told.
struct Place {
    config: KafkaConfig,
    json: bool,
    clock: Arc<dyn Clock>,
}

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let Some((name, _)) = matches.subcommand() else {
        return Err(Failure::usage("say what to do: create, check or describe"));
    };
    let place = Place::read(values)?;
    super::block_on(async {
        match name {
            "create" => place.create().await,
            "check" => place.check().await,
            _ => place.describe().await,
        }
    })
}

fn failed(error: OpenError) -> Failure {
    Failure::at_start(Exit::Journal, &error)
}

// === impl Place ===

impl Place {
    fn read(values: &Values) -> Result<Self, Failure> {
        let mut reader = Reader::new(values);
        let dir = reader.data_dir();
        let stream = reader.stream();
        let json = reader.flag("log.json");
        let journal = reader.journal(&stream, &dir);
        output::warn(&reader.finish()?);
        match journal {
            JournalSettings::Kafka(config) => {
                Ok(Self { config: *config, json, clock: Arc::new(SystemClock::new()) })
            }
            JournalSettings::Local(_) => Err(Failure::usage(
                "journal.uri is local, the embedded journal: topics are on Kafka, --journal kafka://host:port",
            )),
        }
    }

    fn topics(&self) -> Result<StreamTopics, Failure> {
        StreamTopics::new(self.config.clone(), Arc::clone(&self.clock)).map_err(failed)
    }

    async fn create(&self) -> Result<(), Failure> {
        for (topic, is_made) in self.topics()?.create().await.map_err(failed)? {
            let what = if is_made { "made" } else { "was there" };
            output::print(&match self.json {
                true => json!({ "topic": topic, "made": is_made }).to_string(),
                false => format!("{topic}: {what}"),
            })?;
        }
        self.check().await
    }

    async fn check(&self) -> Result<(), Failure> {
        let differences = self.topics()?.differences().await.map_err(failed)?;
        if differences.is_empty() {
            let (stream, brokers) = (&self.config.stream, &self.config.brokers);
            return output::print(&match self.json {
                true => json!({ "stream": stream, "differences": [] }).to_string(),
                false => format!("the topics of stream {stream} at {brokers} are as wanted"),
            });
        }
        if self.json {
            let shown = json!({ "stream": self.config.stream, "differences": differences });
            output::print(&shown.to_string())?;
        }
        Err(Failure {
            exit: Exit::Journal,
            what: differences.join("\n  "),
            advice: "change the topics, or ask for what is there, as said of each".to_owned(),
        })
    }

    async fn describe(&self) -> Result<(), Failure> {
        let (topics, journal) = self.topics()?.describe().await.map_err(failed)?;
        let description = journal.describe().await;
        let description = description.map_err(|error| Failure::at_start(Exit::Journal, &error))?;
        let shown = Shown { topics: &topics, journal: &journal, description: &description };
        match self.json {
            true => output::print(&format!("{:#}", shown.json())),
            false => output::print(&shown.lines().join("\n")),
        }
    }
}

/// What is shown of a stream.
struct Shown<'a> {
    topics: &'a [TopicFacts],
    journal: &'a KafkaJournal,
    description: &'a Description,
}

/// What a destination has still to apply of a partition.
struct Lag {
    partition: u16,
    /// The offset it needs next.
    at: u64,
    events: u64,
}

// === impl Shown ===

impl Shown<'_> {
    fn json(&self) -> Value {
        let facts = self.journal.facts();
        let topics = self.topics.iter().map(|topic| {
            json!({
                "topic": topic.topic,
                "partitions": topic.partitions,
                "replicas": topic.replicas,
                "settings": topic.settings,
            })
        });
        let ranges = self.description.partitions.iter();
        let partitions = ranges.map(|range| json!({ "start": range.start.0, "end": range.end.0 }));
        let groups = self.groups().map(|(name, lags)| {
            let of = lags.into_iter().map(|Lag { partition, at, events }| {
                json!({ "partition": partition, "offset": at, "lag_events": events })
            });
            json!({ "destination": name, "partitions": of.collect::<Vec<_>>() })
        });
        let first = facts.writers.iter().find(|facts| facts.writer == Writer::FIRST);
        let shards = facts.writers.iter().map(|facts| {
            json!({
                "shard": facts.writer.0,
                "lease": facts.lease.as_ref().map(lease_json),
                "fences": fences_json(facts),
            })
        });
        json!({
            "stream": self.description.stream,
            "format": facts.format,
            "incarnation": facts.incarnation.to_string(),
            "placement": facts.placement,
            "lease": first.and_then(|facts| facts.lease.as_ref()).map(lease_json),
            "fences": first.map_or_else(|| json!([]), fences_json),
            "shards": shards.collect::<Vec<_>>(),
            "topics": topics.collect::<Vec<_>>(),
            "partitions": partitions.collect::<Vec<_>>(),
            "groups": groups.collect::<Vec<_>>(),
        })
    }

    fn lines(&self) -> Vec<String> {
        let facts = self.journal.facts();
        let mut lines = vec![format!(
            "stream {}: format {}, {} partitions ({}), incarnation {:016x}",
            self.description.stream,
            facts.format,
            facts.partitions,
            facts.placement,
            facts.incarnation
        )];
        if facts.writers.is_empty() {
            lines.push("writer: none so far".to_owned());
        }
        lines.extend(facts.writers.iter().flat_map(writer_lines));
        for topic in self.topics {
            lines.push(format!(
                "topic {}: {} partition(s), {} copies",
                topic.topic, topic.partitions, topic.replicas
            ));
            let shown = SHOWN.iter().filter_map(|name| Some((name, topic.settings.get(*name)?)));
            lines.extend(shown.map(|(name, value)| format!("  {name}={value}")));
        }
        for (number, range) in self.description.partitions.iter().enumerate() {
            let (start, end) = (range.start.0, range.end.0);
            lines.push(format!("partition {number}: offsets {start} to {end}"));
        }
        for (name, lags) in self.groups() {
            let all: u64 = lags.iter().map(|lag| lag.events).sum();
            lines.push(format!("destination {name}: {all} events to go"));
            lines.extend(lags.into_iter().map(|Lag { partition, at, events }| {
                format!("  partition {partition}: offset {at}, {events} to go")
            }));
        }
        lines
    }

    /// Each destination.
    fn groups(&self) -> impl Iterator<Item = (&str, Vec<Lag>)> {
        self.description.readers.iter().map(|reader| {
            let released = reader.released.iter().map(|(partition, at)| {
                let range = self.description.partitions.get(usize::from(partition.0));
                let end = range.map_or(0, |range| range.end.0);
                Lag { partition: partition.0, at: at.0, events: end.saturating_sub(at.0) }
            });
            (reader.name.as_str(), released.collect())
        })
    }
}

/// Of one writer, each of which is for one shard of the source.
fn writer_lines(facts: &WriterFacts) -> Vec<String> {
    let shard = match facts.writer {
        Writer::FIRST => String::new(),
        Writer(shard) => format!("shard {shard}: "),
    };
    let lease = facts.lease.as_ref();
    let mut lines = vec![match lease {
        None => format!("{shard}writer: none so far"),
        Some(lease) => format!("{shard}{}", lease_line(lease)),
    }];
    lines.push(format!("{shard}fences: {}", facts.fences.len()));
    for (lease, at) in &facts.fences {
        let at: Vec<String> = at.iter().map(ToString::to_string).collect();
        lines.push(format!("  writer {lease} begins at offsets {}", at.join(" ")));
    }
    lines
}

fn fences_json(facts: &WriterFacts) -> Value {
    let fences = facts.fences.iter();
    fences.map(|(lease, at)| json!({ "lease": lease, "at": at })).collect()
}

fn lease_line(lease: &LeaseFacts) -> String {
    let LeaseFacts { number, holder, is_released, age } = lease;
    let age = units::duration::format(*age);
    match is_released {
        true => format!("writer: none; number {number}, {holder}, has left {age} ago"),
        false => format!("writer: number {number}, {holder}, heard of {age} ago"),
    }
}

fn lease_json(lease: &LeaseFacts) -> Value {
    json!({
        "number": lease.number,
        "holder": lease.holder,
        "released": lease.is_released,
        "age_ms": u64::try_from(lease.age.as_millis()).unwrap_or(u64::MAX),
    })
}
