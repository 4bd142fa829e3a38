//! A writer that keeps changing everything, at a steady rate, until it is told to stop.
//!
//! What it does is drawn from a seed: acts of many families (strings to functions), each a few
//! commands in one database. It never gives a new deadline to a key that is about to expire, and
//! never touches a key that lives for seconds a second time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use testkit::{Client, Command, Deadline, Kind, Value, now_ms};

use crate::data::Data;
use crate::keys;
use crate::load::delivered_ids;
use crate::words::words;

mod collections;
mod dice;
pub(crate) mod functions;
mod keyspace;
mod scripts;
mod sorted;
mod streams;
mod strings;

use dice::Dice;

/// Acts that go into one pipeline: enough to be quick, few enough to be steady.
const BATCH_ACTS: u32 = 20;
/// Errors that an honest writer meets: what it wanted to change has expired or was moved away.
const EXPECTED: &[&str] = &[
    "ERR no such key",
    "BUSYGROUP",
    "NOGROUP",
    "ERR index out of range",
    "ERR source and destination",
];

/// What both servers can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// The source sends absolute deadlines, whatever the client said, and knows LMPOP and ZMPOP.
    pub(crate) seven: bool,
    /// Both drop a pending entry that was deleted when it is claimed, as all do since 7.0.
    pub(crate) claims: bool,
    /// Both know functions.
    pub(crate) functions: bool,
    /// Both know fields that expire.
    pub(crate) field_expiry: bool,
}

/// A few commands in one database.
pub(crate) struct Act {
    db: u32,
    commands: Vec<Command>,
}

/// A family of acts.
pub(crate) struct Family {
    /// For the reader of the output.
    pub(crate) name: &'static str,
    /// How often it is drawn, beside the others.
    weight: u32,
    act: fn(&mut Dice) -> Act,
}

/// All families.
pub(crate) const FAMILIES: &[Family] = &[
    Family { name: "strings", weight: 20, act: strings::strings },
    Family { name: "bitmaps", weight: 4, act: strings::bitmaps },
    Family { name: "HyperLogLogs", weight: 4, act: strings::hyperloglogs },
    Family { name: "lists", weight: 12, act: collections::lists },
    Family { name: "sets", weight: 10, act: collections::sets },
    Family { name: "hashes", weight: 14, act: collections::hashes },
    Family { name: "sorted sets", weight: 10, act: sorted::sorted_sets },
    Family { name: "GEO sets", weight: 4, act: sorted::places },
    Family { name: "streams", weight: 14, act: streams::streams },
    Family { name: "keys", weight: 12, act: keyspace::keys },
    Family { name: "databases", weight: 1, act: keyspace::databases },
    Family { name: "transactions", weight: 5, act: scripts::transactions },
    Family { name: "Lua scripts", weight: 5, act: scripts::scripts },
    Family { name: "functions", weight: 5, act: functions::functions },
];

/// What was written so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    commands: AtomicU64,
    refused: AtomicU64,
    acts: [AtomicU64; FAMILIES.len()],
}

/// What a writer needs to know.
pub(crate) struct Plan {
    /// Where to write.
    pub(crate) addr: SocketAddr,
    /// What is there.
    pub(crate) data: Arc<Data>,
    /// What may be used.
    pub(crate) abilities: Abilities,
    /// What is drawn.
    pub(crate) seed: u64,
    /// Acts in a second.
    pub(crate) acts_per_second: u32,
}

/// A running writer.
pub(crate) struct Writer {
    tally: Arc<Tally>,
    stop: mpsc::SyncSender<()>,
    thread: JoinHandle<Result<()>>,
}

// === impl Abilities ===

impl Abilities {
    /// Of a pair of servers.
    pub(crate) fn of(source: Kind, destination: Kind) -> Self {
        Self {
            seven: source.at_least(7, 0),
            claims: source.at_least(7, 0) && destination.at_least(7, 0),
            functions: source.has_functions() && destination.has_functions(),
            field_expiry: source.has_field_expiry() && destination.has_field_expiry(),
        }
    }
}

// === impl Act ===

impl Act {
    fn one(db: u32, command: Command) -> Self {
        Self { db, commands: vec![command] }
    }
}

// === impl Tally ===

impl Tally {
    /// Commands that were answered.
    pub(crate) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Commands that were answered with an error that was expected.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Acts of each family, in the order of [`FAMILIES`].
    pub(crate) fn acts(&self) -> impl Iterator<Item = u64> + '_ {
        self.acts.iter().map(|acts| acts.load(Ordering::Relaxed))
    }
}

// === impl Writer ===

impl Writer {
    /// Starts one.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub(crate) fn start(plan: Plan) -> Result<Self> {
        let client = Client::tcp(plan.addr)?;
        let tally = Arc::new(Tally::default());
        let (stop, stopped) = mpsc::sync_channel(1);
        let counted = Arc::clone(&tally);
        let thread = std::thread::spawn(move || {
            Pen {
                client,
                dice: Dice::new(plan.data, plan.abilities, plan.seed),
                tally: &counted,
                db: 0,
            }
            .write(plan.acts_per_second, &stopped)
        });
        Ok(Self { tally, stop, thread })
    }

    /// What it has written so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Fails if the writer has ended, which it does only when something went wrong.
    ///
    /// # Errors
    /// If it has ended; why, [`Writer::stop`] says.
    pub(crate) fn check(&self) -> Result<()> {
        if self.thread.is_finished() {
            bail!("the writer ended by itself");
        }
        Ok(())
    }

    /// Lets it finish what it has begun, and returns what it wrote.
    ///
    /// # Errors
    /// Why the writer ended before.
    pub(crate) fn stop(self) -> Result<Arc<Tally>> {
        // A writer that has ended already does not listen; its own error says more.
        self.stop.try_send(()).ok();
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))??;
        Ok(self.tally)
    }
}

/// The writer's side of its thread.
struct Pen<'a> {
    client: Client,
    dice: Dice,
    tally: &'a Tally,
    /// The database that is selected.
    db: u32,
}

// === impl Pen ===

impl Pen<'_> {
    fn write(mut self, acts_per_second: u32, stopped: &mpsc::Receiver<()>) -> Result<()> {
        let interval = Duration::from_secs(1) * BATCH_ACTS / acts_per_second.max(1);
        let started = Deadline::after(Duration::ZERO);
        let mut due = Duration::ZERO;
        loop {
            self.batch()?;
            due += interval;
            match stopped.recv_timeout(due.saturating_sub(started.elapsed())) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn batch(&mut self) -> Result<()> {
        let mut commands = Vec::new();
        for _ in 0..BATCH_ACTS {
            let family = self.dice.family();
            let Some(Family { act, .. }) = FAMILIES.get(family) else { continue };
            let act = act(&mut self.dice);
            if let Some(acts) = self.tally.acts.get(family) {
                acts.fetch_add(1, Ordering::Relaxed);
            }
            self.select(act.db, &mut commands);
            commands.extend(act.commands);
        }
        self.select(keys::PLACES, &mut commands);
        commands.push(words!["SET", keys::PULSE, now_ms()]);
        let replies = self.client.batch(&commands)?;
        for (command, reply) in commands.iter().zip(&replies) {
            self.judge(command, reply)?;
        }
        self.tally.commands.fetch_add(replies.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn select(&mut self, db: u32, commands: &mut Vec<Command>) {
        if self.db != db {
            commands.push(words!["SELECT", db]);
            self.db = db;
        }
    }

    /// Counts errors that are expected, and fails on others: the demo itself would be wrong.
    fn judge(&mut self, command: &Command, reply: &Value) -> Result<()> {
        let name = command.first().map(Vec::as_slice);
        match reply {
            Value::Error(text) if EXPECTED.iter().any(|start| text.starts_with(start)) => {
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
            }
            Value::Error(text) => {
                let words: Vec<_> = command.iter().map(|word| testkit::abridged(word)).collect();
                bail!("the writer's {} was answered {text}", words.join(" "));
            }
            Value::Array(members) if name == Some(b"EXEC") => {
                let inner = words!["(inside EXEC)"];
                members.iter().try_for_each(|member| self.judge(&inner, member))?;
            }
            Value::Array(_) if name == Some(b"XREADGROUP") => {
                let stream = command.get(7).context("XREADGROUP without a stream")?;
                self.dice.delivered(stream, delivered_ids(reply));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
