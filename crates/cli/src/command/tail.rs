//! `keyferry tail`: the events of a journal, read beside the process that writes it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apply::filter::Glob;
use bytes::Bytes;
use clap::ArgMatches;
use event::{Body, Event, codec, text};
use journal::local::{LocalJournal, LocalParts, ReadOnlyConfig};
use journal::{Description, Entry, Journal, Offset, Partition, ReadLimit};
use runtime::{Clock, SystemClock, units};

use crate::exit::{Exit, Failure};
use crate::options::layers::Values;
use crate::options::typed::Reader;
use crate::output;

/// What the flags ask for.
struct Wanted {
    from: From,
    follow: bool,
    limit: u64,
    partitions: BTreeSet<u16>,
    dbs: BTreeSet<u32>,
    keys: Vec<Glob>,
    kinds: BTreeSet<String>,
    json: bool,
}

/// Where to begin.
enum From {
    Beginning,
    End,
    Offset(u64),
    TimeMs(i64),
    /// So many events before the end of each partition.
    Last(u64),
}

/// Events of each partition that are shown when nothing else is said.
const DEFAULT_LAST: u64 = 10;

/// Without --follow, how far the tail is away is known; one step reads this much of it.
const STEP: ReadLimit = ReadLimit { records: 1024, bytes: 4 << 20 };

/// Longest line of text; JSON lines are whole.
const LINE_WIDTH: usize = 200;

/// Shown only where it is asked for.
const HEARTBEAT: &str = "heartbeat";

/// How often a waiting reader looks for more.
const POLL_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let stream = reader.known_stream(&dir);
    let json = reader.flag("log.json");
    reader.finish()?;
    super::block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let wanted = Wanted::read(matches, json, clock.as_ref())?;
        let config = ReadOnlyConfig { dir: dir.journal(&stream), poll_every: POLL_EVERY };
        let opened = LocalJournal::open_read_only(config, LocalParts { clock }).await;
        let journal = opened.map_err(|error| Failure::of(Exit::Journal, &error))?;
        show(&journal, &wanted).await
    })
}

async fn show(journal: &LocalJournal, wanted: &Wanted) -> Result<(), Failure> {
    let failed = |error: journal::ReadError| Failure::of(Exit::Journal, &error);
    let description = journal.describe().await.map_err(failed)?;
    let mut from = Vec::new();
    let mut missing = 0;
    for (number, range) in (0u16..).zip(&description.partitions) {
        if !wanted.partitions.is_empty() && !wanted.partitions.contains(&number) {
            continue;
        }
        let partition = Partition(number);
        let start = wanted.start(journal, partition, &description).await?;
        if wanted.follow || start < range.end {
            from.push((partition, start));
            missing += u64::from(start < range.end);
        }
    }
    if from.is_empty() || (missing == 0 && !wanted.follow) {
        return Ok(());
    }
    let mut reader = journal.reader(from).await.map_err(failed)?;
    let mut shown = 0;
    while wanted.follow || missing > 0 {
        for entry in reader.next(STEP).await.map_err(failed)? {
            let range = description.partitions.get(usize::from(entry.partition.0));
            if range.is_some_and(|range| entry.offset.after(1) == range.end) {
                missing = missing.saturating_sub(1);
            }
            shown += u64::from(wanted.print(entry)?);
            if shown >= wanted.limit {
                return Ok(());
            }
        }
    }
    Ok(())
}

// === impl Wanted ===

impl Wanted {
    fn read(matches: &ArgMatches, json: bool, clock: &dyn Clock) -> Result<Self, Failure> {
        let since = matches.get_one::<String>("since");
        let from = match (matches.get_one::<String>("from").map(String::as_str), since) {
            (_, Some(since)) => From::TimeMs(time_of(since, clock)?),
            (None, None) => From::Last(DEFAULT_LAST),
            (Some("beginning"), _) => From::Beginning,
            (Some("end"), _) => From::End,
            (Some(offset), _) => From::Offset(offset.parse().map_err(|_| {
                Failure::usage(format!("--from {offset:?} is not beginning, end or an offset"))
            })?),
        };
        Ok(Self {
            from,
            follow: matches.get_flag("follow"),
            limit: matches.get_one::<u64>("limit").copied().unwrap_or(u64::MAX),
            partitions: numbers(matches, "partition")?,
            dbs: numbers(matches, "db")?,
            keys: texts(matches, "key").map(|text| Glob::new(Bytes::from(text))).collect(),
            kinds: texts(matches, "kind").collect(),
            json,
        })
    }

    async fn start(
        &self,
        journal: &LocalJournal,
        partition: Partition,
        description: &Description,
    ) -> Result<Offset, Failure> {
        let range =
            description.partitions.get(usize::from(partition.0)).copied().unwrap_or_default();
        Ok(match self.from {
            From::Beginning => range.start,
            From::End => range.end,
            From::Offset(offset) => Offset(offset).max(range.start),
            From::Last(count) => Offset(range.end.0.saturating_sub(count)).max(range.start),
            From::TimeMs(time_ms) => journal
                .offset_at_time(partition, time_ms)
                .await
                .map_err(|error| Failure::of(Exit::Journal, &error))?,
        })
    }

    /// Prints the entry if it is wanted, and tells whether it was.
    fn print(&self, entry: Entry) -> Result<bool, Failure> {
        let place = (entry.partition.0, entry.offset.0);
        let event = codec::decode(entry.payload).map_err(|error| Failure {
            exit: Exit::Journal,
            what: format!("the record at offset {} of partition {}: {error}", place.1, place.0),
            advice: "use the version of keyferry that wrote this journal".to_owned(),
        })?;
        if !self.takes(&event) {
            return Ok(false);
        }
        let shown = match self.json {
            true => output::line(&text::json(&event)),
            false => {
                output::line(&format!("{}/{} {}", place.0, place.1, text::line(&event, LINE_WIDTH)))
            }
        };
        match shown {
            Ok(()) => Ok(true),
            // The reader has gone away: nobody wants more.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::usage(format!("write to standard output: {error}"))),
        }
    }

    fn takes(&self, event: &Event) -> bool {
        let control = matches!(event.body, Body::Control(_));
        (self.dbs.is_empty() || (!control && self.dbs.contains(&event.db)))
            && (self.keys.is_empty()
                || (!control && self.keys.iter().any(|glob| glob.matches(&event.key))))
            && (self.kinds.contains(event.kind())
                // A place to resume at is nothing that happened to the data.
                || (self.kinds.is_empty() && event.kind() != HEARTBEAT))
    }
}

fn time_of(text: &str, clock: &dyn Clock) -> Result<i64, Failure> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let ago = units::duration::parse(text).map_err(|error| {
        Failure::usage(format!("--since {text:?}: {error}, nor Unix milliseconds"))
    })?;
    Ok(clock.now_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
}

fn texts<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = String> + use<'a> {
    matches.get_many::<String>(name).into_iter().flatten().cloned()
}

fn numbers<T: std::str::FromStr + Ord>(
    matches: &ArgMatches,
    name: &str,
) -> Result<BTreeSet<T>, Failure> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| Failure::usage(format!("--{name} {text:?} is not a number in range")))
    };
    texts(matches, name).map(parse).collect()
}
