//! `keyferry quarantine`: keys whose changes could not be applied.
//!
//! What is asked for is stored at the destination and done by the running bridge, or by the next one that starts.

mod known;

use std::sync::Arc;
use std::time::Duration;

use apply::quarantine::{Answer, Ask, HeldKey, Lanes, Reading, Shelf, Suspect};
use bytes::Bytes;
use clap::ArgMatches;
use event::limits::RECORD_KEY_BYTES;
use event::quarantine::{LIBRARIES_DB, Letter};
use event::{codec, text};
#[cfg(feature = "kafka")]
use journal::kafka::{KafkaConfig, SharedLog};
use journal::local::{LocalJournal, LocalParts, ReadOnlyConfig};
use journal::{Description, Journal};
use runtime::{Clock, SystemClock};
use serde_json::json;

use self::known::About;
use super::reading;
use crate::exit::{self, Exit, Failure};
use crate::options::layers::Values;
#[cfg(feature = "kafka")]
use crate::options::typed::DEAD_LETTERS;
use crate::options::typed::{DataDir, JournalSettings, Reader};
use crate::output;

/// What every part of the command works with.
struct Place {
    config: apply::Config,
    stream: String,
    dir: DataDir,
    journal: JournalSettings,
    /// Whether the destination was given a name, and not only an address.
    is_named: bool,
    /// What the journal tells of itself; none: it is not here.
    described: Option<Description>,
    json: bool,
    clock: Arc<dyn Clock>,
}

/// Longest line of an event.
const LINE_WIDTH: usize = 160;

/// Nobody waits for more letters: only those that are there are read.
const POLL_EVERY: Duration = Duration::from_millis(50);

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::usage("say what to do: list, retry or discard"));
    };
    let mut place = Place::read(values)?;
    super::block_on(async {
        place.described = place.describe().await?;
        let letters = name == "list" && matches.get_flag("letters");
        place.refuse_unknown(if letters { About::Letters } else { About::Keys }).await?;
        match name {
            "list" if letters => place.list_letters().await,
            "list" => place.list().await,
            "retry" => place.ask(matches, Ask::Retry).await,
            _ => place.ask(matches, Ask::Discard).await,
        }
    })
}

// === impl Place ===

impl Place {
    fn read(values: &Values) -> Result<Self, Failure> {
        let mut reader = Reader::new(values);
        let dir = reader.data_dir();
        let stream = reader.stream();
        let json = reader.flag("log.json");
        let config = reader.destination(&stream, &dir);
        let journal = reader.journal(&stream, &dir);
        // On Kafka nothing of it is in the directory.
        let absence = reader.absence(&stream, &dir).filter(|_| !journal.is_shared());
        output::warn(&reader.finish()?);
        // What is held is asked of the destination: it may be so on purpose.
        output::warn(absence.as_slice());
        let is_named = values.is_given("destination.name");
        match config {
            Some(config) => {
                let (clock, described) = (Arc::new(SystemClock::new()), None);
                Ok(Self { config, stream, dir, journal, is_named, described, json, clock })
            }
            None => Err(Failure::usage("the destination is not named")),
        }
    }

    /// Asks the journal. What is held is noted at the destination: a local one may be elsewhere.
    async fn describe(&self) -> Result<Option<Description>, Failure> {
        let is_here = self.journal.is_shared() || self.dir.journal(&self.stream).exists();
        if !is_here {
            return Ok(None);
        }
        let journal = reading::open(self.journal.clone(), Arc::clone(&self.clock)).await?;
        let described = journal.describe().await;
        described.map(Some).map_err(|error| Failure::at_start(Exit::Journal, &error))
    }

    async fn shelf(&self) -> Result<Shelf, Failure> {
        let clock = Arc::clone(&self.clock);
        let shelf = Shelf::open(&self.config, &self.stream, self.lanes(), clock).await;
        shelf.map_err(failed)
    }

    /// The embedded journal is totally ordered: one lane applies all of it. On Kafka each partition has keys of its own;
    /// another number of them would look into other places, and find nothing there.
    fn lanes(&self) -> Lanes {
        match &self.described {
            Some(of) if !of.totally_ordered => {
                Lanes::PerPartition(u16::try_from(of.partitions.len()).unwrap_or(u16::MAX))
            }
            _ => Lanes::One,
        }
    }

    /// The journal of dead letters, and whose of them are meant; none: there is one destination.
    async fn letters(&self) -> Result<(Box<dyn Journal>, Option<&str>), Failure> {
        match &self.journal {
            JournalSettings::Local(_) => {
                let dir = self.dir.quarantine(&self.stream);
                let config = ReadOnlyConfig { dir, poll_every: POLL_EVERY };
                let parts = LocalParts { clock: Arc::clone(&self.clock) };
                let journal = LocalJournal::open_read_only(config, parts).await;
                let journal = journal.map_err(|error| Failure::of(Exit::Journal, &error))?;
                Ok((Box::new(journal), None))
            }
            #[cfg(feature = "kafka")]
            JournalSettings::Kafka(config) => {
                let name = self.config.name.as_str();
                let config = KafkaConfig { create: false, ..(**config).clone() };
                let clock = Arc::clone(&self.clock);
                let log = SharedLog::open(&config, DEAD_LETTERS, name, clock).await;
                let log = log.map_err(|error| Failure::at_start(Exit::Journal, &error))?;
                Ok((Box::new(log), Some(name)))
            }
        }
    }

    async fn list(&self) -> Result<(), Failure> {
        let mut shelf = self.shelf().await?;
        let (keys, strays) =
            (shelf.list().await.map_err(failed)?, shelf.strays().await.map_err(failed)?);
        let (suspects, more) = shelf.suspects().await.map_err(failed)?;
        for key in &keys {
            output::print(&if self.json { key_json(key) } else { key_line(key) })?;
        }
        if keys.is_empty() && !self.json {
            output::print("no key and no function library is in quarantine")?;
        }
        for suspect in &suspects {
            let shown = if self.json { suspect_json(suspect) } else { suspect_line(suspect) };
            output::print(&shown)?;
        }
        if more > 0 {
            let line = format!("and {more} more keys are suspect that are not listed");
            output::print(&if self.json {
                json!({ "suspects_not_listed": more }).to_string()
            } else {
                line
            })?;
        }
        for (field, why) in &strays {
            let (field, json) = (shown(field), json!({ "request": shown(field), "refused": why }));
            let line = format!("request about {field}: cannot be done: {why}");
            output::print(&if self.json { json.to_string() } else { line })?;
        }
        Ok(())
    }

    async fn list_letters(&self) -> Result<(), Failure> {
        let (journal, destination) = self.letters().await?;
        let failed = |error: apply::Error| Failure::at_start(Exit::Journal, &error);
        let mut letters = Reading::open(&*journal).await.map_err(failed)?;
        // One after the other: there may be more of them than memory holds.
        while let Some(letter) = letters.next().await.map_err(failed)? {
            if destination.is_none_or(|name| name == letter.destination) {
                output::print(&letter_text(&letter, self.json))?;
            }
        }
        Ok(())
    }

    async fn ask(&self, matches: &ArgMatches, ask: Ask) -> Result<(), Failure> {
        let mut shelf = self.shelf().await?;
        let named = named(matches)?;
        if named.is_none()
            && ask == Ask::Discard
            && shelf.forget_suspects().await.map_err(failed)?
        {
            output::print("forgot which keys are suspect")?;
        }
        let keys = match named {
            Some(named) => vec![named],
            None => {
                let held = shelf.list().await.map_err(failed)?;
                held.into_iter().map(|key| (key.db, key.key)).collect()
            }
        };
        for (db, key) in &keys {
            let suspect =
                ask == Ask::Discard && shelf.forget_suspect(*db, key).await.map_err(failed)?;
            if suspect {
                output::print(&format!("{}: no longer suspect", place_of(*db, key)))?;
            }
            if shelf.ask(*db, key, ask).await.map_err(failed)? {
                output::print(&format!(
                    "{}: asked for; the running bridge does it, or the next to start",
                    place_of(*db, key)
                ))?;
            } else if !suspect {
                let place = place_of(*db, key);
                return Err(Failure::usage(format!("{place} is not in quarantine")));
            }
        }
        Ok(())
    }
}

fn failed(error: apply::Error) -> Failure {
    Failure::at_start(exit::of_apply(&error), &error)
}

/// The key or library that the arguments name, and where it is.
fn named(matches: &ArgMatches) -> Result<Option<(u32, Bytes)>, Failure> {
    if let Some(name) = matches.get_one::<String>("function") {
        return Ok(Some((LIBRARIES_DB, Bytes::copy_from_slice(name.as_bytes()))));
    }
    let Some(text) = matches.get_one::<String>("key") else { return Ok(None) };
    Ok(Some((matches.get_one::<u32>("db").copied().unwrap_or(0), key_named(text)?)))
}

/// The key that an argument names.
fn key_named(text: &str) -> Result<Bytes, Failure> {
    let key = text::unquoted(text);
    key.map(Bytes::from).map_err(|error| Failure::usage(format!("--key {text}: {error}")))
}

fn key_line(key: &HeldKey) -> String {
    let asked = match &key.answer {
        Some(Answer::Waiting(Ask::Retry)) => " (retry asked for)".to_owned(),
        Some(Answer::Waiting(Ask::Discard)) => " (discard asked for)".to_owned(),
        Some(Answer::Refused(why)) => format!(" (what was asked for cannot be done: {why})"),
        None => String::new(),
    };
    format!("{}: set aside at {}{asked}", place_of(key.db, &key.key), key.why)
}

fn key_json(key: &HeldKey) -> String {
    let (asked, refused) = match &key.answer {
        Some(Answer::Waiting(ask)) => (Some(format!("{ask:?}").to_lowercase()), None),
        Some(Answer::Refused(why)) => (None, Some(why)),
        None => (None, None),
    };
    let fields = json!({ "why": key.why, "asked": asked, "refused": refused });
    json_of(key.db, &key.key, fields)
}

fn suspect_line(suspect: &Suspect) -> String {
    format!("{}: suspect: {}", place_of(suspect.db, &suspect.key), suspect.why)
}

fn suspect_json(suspect: &Suspect) -> String {
    json_of(suspect.db, &suspect.key, json!({ "why": suspect.why, "suspect": true }))
}

/// A key or a library, as a line names it.
fn place_of(db: u32, key: &[u8]) -> String {
    match db {
        LIBRARIES_DB if key.is_empty() => "function libraries of a FUNCTION RESTORE".to_owned(),
        LIBRARIES_DB => format!("function library {}", shown_name(key)),
        db => format!("db {db} {}", shown(key)),
    }
}

/// The same as an object, with more.
fn json_of(db: u32, key: &[u8], more: serde_json::Value) -> String {
    match db {
        LIBRARIES_DB => joined(json!({ "function": shown_name(key) }), more),
        db => joined(json!({ "db": db, "key": shown(key) }), more),
    }
}

/// One object with the fields of both.
fn joined(one: serde_json::Value, other: serde_json::Value) -> String {
    let fields = [one, other].into_iter().filter_map(|value| match value {
        serde_json::Value::Object(fields) => Some(fields),
        _ => None,
    });
    serde_json::Value::Object(fields.flatten().collect()).to_string()
}

fn letter_text(letter: &Letter, json: bool) -> String {
    let event = codec::decode(letter.event.clone());
    let shown_event = match &event {
        Ok(event) if json => text::json(event),
        Ok(event) => text::line(event, LINE_WIDTH),
        Err(error) => format!("an event that cannot be read: {error}"),
    };
    let is_library = letter.db == LIBRARIES_DB;
    let show = if is_library { shown_name } else { shown };
    let keys: Vec<_> = letter.keys.iter().map(|key| show(key)).collect();
    if json {
        let event =
            serde_json::from_str(&shown_event).unwrap_or(serde_json::Value::String(shown_event));
        let fields = json!({
            "why": letter.why, "written_ms": letter.written_ms, "change": letter.change, "event": event,
        });
        return match is_library {
            true => joined(json!({ "functions": keys }), fields),
            false => joined(json!({ "db": letter.db, "keys": keys }), fields),
        };
    }
    let place = match is_library {
        true => "functions".to_owned(),
        false => format!("db {}", letter.db),
    };
    format!("{place} {}: {}\n  {shown_event}", keys.join(" "), letter.why)
}

/// The name of a library, as `--function` takes it.
fn shown_name(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// A key as a person can read it, and as `--key` takes it.
fn shown(key: &[u8]) -> String {
    // No argument can hold a longer one.
    match key.len() > RECORD_KEY_BYTES {
        true => format!("{} ({} bytes)", text::Shortened(key), key.len()),
        false => text::Quoted(key).to_string(),
    }
}
