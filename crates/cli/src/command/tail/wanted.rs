//! Which events are asked for, from where on, and how they are shown.

use std::collections::BTreeSet;

use apply::filter::Glob;
use apply::mapping::MAPPED_DBS;
use bytes::Bytes;
use clap::ArgMatches;
use event::text::Utc;
use event::{Body, Event, codec, text};
use journal::{Description, Entry};
use runtime::{Clock, units};

use crate::exit::{Exit, Failure};
use crate::options::typed::pattern_problem;
use crate::output::{self, Shown};

/// What the flags ask for.
pub(super) struct Wanted {
    pub(super) from: Place,
    pub(super) follow: bool,
    pub(super) limit: u64,
    pub(super) partitions: BTreeSet<u16>,
    dbs: BTreeSet<u32>,
    keys: Vec<Glob>,
    kinds: BTreeSet<String>,
    json: bool,
}

/// Where to begin.
pub(super) enum Place {
    Beginning,
    End,
    Offset(u64),
    TimeMs(i64),
    /// So many events before the end of each partition.
    Last(u64),
}

/// Events of each partition that are shown when nothing else is said.
const DEFAULT_LAST: u64 = 10;

/// Longest line of text; JSON lines are whole.
const LINE_WIDTH: usize = 200;

/// Shown only where it is asked for.
const HEARTBEAT: &str = "heartbeat";

// === impl Wanted ===

impl Wanted {
    /// Reads the flags.
    ///
    /// # Errors
    /// Everything in them that cannot be.
    pub(super) fn read(
        matches: &ArgMatches,
        json: bool,
        clock: &dyn Clock,
    ) -> Result<Self, Failure> {
        let mut problems = Vec::new();
        let follow = matches.get_flag("follow");
        let from = place(matches, clock, follow).unwrap_or_else(|problem| {
            problems.push(problem);
            Place::End
        });
        let dbs: BTreeSet<u32> = numbers(matches, "db", &mut problems);
        for db in dbs.iter().filter(|db| **db >= MAPPED_DBS) {
            let last = MAPPED_DBS - 1;
            problems.push(format!("--db {db}: only databases 0 to {last} can be named"));
        }
        for pattern in texts(matches, "key") {
            if let Some(what) = pattern_problem(&pattern) {
                problems.push(format!("--key: the pattern {pattern:?} {what}"));
            }
        }
        let wanted = Self {
            from,
            follow,
            limit: matches.get_one::<u64>("limit").copied().unwrap_or(u64::MAX),
            partitions: numbers(matches, "partition", &mut problems),
            dbs,
            keys: texts(matches, "key").map(|text| Glob::new(Bytes::from(text))).collect(),
            kinds: texts(matches, "kind").collect(),
            json,
        };
        if problems.is_empty() { Ok(wanted) } else { Err(Failure::usage(problems.join("\n  "))) }
    }

    /// Whether the stream has what is asked for.
    pub(super) fn fits(&self, description: &Description) -> Result<(), Failure> {
        let count = description.partitions.len();
        let beyond = self.partitions.iter().find(|number| usize::from(**number) >= count);
        match beyond {
            None => Ok(()),
            Some(number) => Err(Failure::usage(format!(
                "--partition {number}: stream {} has {count} partitions, 0 to {}",
                description.stream,
                count.saturating_sub(1)
            ))),
        }
    }

    /// Whether some events are left out on purpose.
    pub(super) fn chooses(&self) -> bool {
        !(self.dbs.is_empty() && self.keys.is_empty() && self.kinds.is_empty())
    }

    /// Prints the entry if it is wanted.
    pub(super) fn print(&self, entry: Entry) -> Result<Shown, Failure> {
        let place = (entry.partition.0, entry.offset.0);
        let event = codec::decode(entry.payload).map_err(|error| Failure {
            exit: Exit::Journal,
            what: format!("the record at offset {} of partition {}: {error}", place.1, place.0),
            advice: "use the version of keyferry that wrote this journal".to_owned(),
        })?;
        if !self.takes(&event) {
            return Ok(Shown::No);
        }
        output::line(&match self.json {
            true => text::json(&event),
            false => format!("{}/{} {}", place.0, place.1, text::line(&event, LINE_WIDTH)),
        })
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

/// Where to begin.
fn place(matches: &ArgMatches, clock: &dyn Clock, follow: bool) -> Result<Place, String> {
    if let Some(since) = matches.get_one::<String>("since") {
        let (time_ms, now_ms) = (time_of(since, clock)?, clock.now_ms());
        if time_ms > now_ms && !follow {
            let (time, now) = (Utc(time_ms), Utc(now_ms));
            return Err(format!("--since {since:?}: {time} is to come, it is {now}"));
        }
        return Ok(Place::TimeMs(time_ms));
    }
    Ok(match matches.get_one::<String>("from").map(String::as_str) {
        None => Place::Last(DEFAULT_LAST),
        Some("beginning") => Place::Beginning,
        Some("end") => Place::End,
        Some(offset) => Place::Offset(offset.parse().map_err(|_| {
            format!("--from {offset:?} is not beginning, end or an offset; times are for --since")
        })?),
    })
}

fn time_of(text: &str, clock: &dyn Clock) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let ago = units::duration::parse(text)
        .map_err(|error| format!("--since: {error} (ago), nor Unix milliseconds"))?;
    Ok(clock.now_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
}

fn texts<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = String> + use<'a> {
    matches.get_many::<String>(name).into_iter().flatten().cloned()
}

fn numbers<T: std::str::FromStr + Ord>(
    matches: &ArgMatches,
    name: &str,
    problems: &mut Vec<String>,
) -> BTreeSet<T> {
    let mut parse = |text: String| match text.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            problems.push(format!("--{name} {text:?} is not a number in range"));
            None
        }
    };
    texts(matches, name).filter_map(&mut parse).collect()
}
