//! What is on the stage: two servers, the writer, the bridge; and the ways to wait for them.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::{Client, Command, Deadline, Kind, Server, Value, eventually, now_ms};

use crate::bridge::Bridge;
use crate::data::Data;
use crate::keys;
use crate::load::SHELVES;
use crate::screen::{Screen, grouped, seconds};
use crate::words::words;
use crate::write::{Abilities, Writer, functions};

/// The destination is in step when it is this little behind, for at least as long: one pulse may
/// come early, with the snapshot, and grows old then.
const IN_STEP: Duration = Duration::from_secs(1);
/// How long it may take until it is: a snapshot of half a million keys on two busy cores.
const IN_STEP_LIMIT: Duration = Duration::from_secs(180);
/// How long what is short-lived may take to go, from the end of the writing: it lives 20 s at most.
const EXPIRY_LIMIT: Duration = Duration::from_secs(60);
/// Keys that are written last, spread over all slots: once all are at the destination, all is.
const LAST_KEYS: u32 = 1024;

/// A connection to either server.
pub(crate) struct Clients {
    pub(crate) source: Client,
    pub(crate) destination: Client,
}

/// Starts a server of the demo.
///
/// # Errors
/// If it does not start.
pub(crate) fn server(kind: Kind) -> Result<Server> {
    // Room for what is written while the bridge is dead, so that it can go on where it was.
    Server::start(kind, &["repl-backlog-size 64mb"])
}

/// Loads all shelves and, where both servers know functions, a library; returns how many keys there
/// are.
///
/// # Errors
/// If the server refuses something.
pub(crate) fn load(
    screen: &Screen,
    client: &mut Client,
    data: &Data,
    abilities: Abilities,
) -> Result<u64> {
    let mut keys = 0;
    for shelf in SHELVES {
        let mut moving = screen.moving();
        moving.say(shelf.name)?;
        let filled = shelf.load(client, data)?;
        drop(moving);
        keys += filled.keys;
        let version = data.version(shelf.package);
        let text = format!(
            "{:<13}{:>9} keys {:>7}",
            shelf.name,
            grouped(filled.keys),
            seconds(filled.took)
        );
        screen.done(text, format!("{} {version} ({})", shelf.package, shelf.credit))?;
    }
    if abilities.functions {
        client.cmd(&functions::library(0))?;
        screen.done("1 function library", "")?;
    }
    Ok(keys)
}

// === impl Clients ===

impl Clients {
    /// Connects to both.
    ///
    /// # Errors
    /// If one of them does not answer.
    pub(crate) fn of(source: &Server, destination: &Server) -> Result<Self> {
        Ok(Self { source: source.client()?, destination: destination.client()? })
    }

    /// How far the destination is behind the writer; none while it has nothing.
    fn behind(&mut self) -> Result<Option<Duration>> {
        // A replica that is loading refuses to answer; so nothing is known.
        match self.destination.ask(&["GET", keys::PULSE])? {
            Value::Bulk(pulse) => {
                let written: u64 = String::from_utf8_lossy(&pulse).parse().context("the pulse")?;
                Ok(Some(Duration::from_millis(now_ms().saturating_sub(written))))
            }
            _ => Ok(None),
        }
    }

    /// Waits until the destination is in step with the writer, and returns how long that took.
    ///
    /// # Errors
    /// If it never is, or the bridge or the writer ends.
    pub(crate) fn until_in_step(
        &mut self,
        screen: &Screen,
        writer: &Writer,
        bridge: &mut Bridge,
    ) -> Result<Duration> {
        let took = Deadline::after(Duration::ZERO);
        let mut moving = screen.moving();
        let mut since: Option<Deadline> = None;
        eventually(IN_STEP_LIMIT, "the destination is in step with the writer", || {
            writer.check()?;
            bridge.check()?;
            let behind = self.behind()?;
            moving.say(&going(writer, behind))?;
            if behind.is_none_or(|behind| behind >= IN_STEP) {
                since = None;
                return Ok(None);
            }
            let held = since.get_or_insert_with(|| Deadline::after(IN_STEP));
            Ok(held.has_passed().then_some(()))
        })
        .map_err(|error| bridge.explain(&error))?;
        Ok(took.elapsed())
    }

    /// Lets the writer go on for a while.
    ///
    /// # Errors
    /// If the writer or, where there is one, the bridge ends.
    pub(crate) fn go_on(
        &mut self,
        screen: &Screen,
        writer: &Writer,
        mut bridge: Option<&mut Bridge>,
        time: Duration,
    ) -> Result<()> {
        let until = Deadline::after(time);
        let mut moving = screen.moving();
        eventually(time * 2, "the time is up", || {
            writer.check()?;
            if let Some(bridge) = &mut bridge {
                bridge.check()?;
            }
            moving.say(&going(writer, self.behind()?))?;
            Ok(until.has_passed().then_some(()))
        })
        .map_err(|error| match bridge {
            Some(bridge) => bridge.explain(&error),
            None => error,
        })
    }

    /// Writes the last keys, and waits until all of them are at the destination.
    ///
    /// # Errors
    /// If they do not arrive.
    pub(crate) fn until_home(&mut self, screen: &Screen, bridge: &mut Bridge) -> Result<Duration> {
        let took = Deadline::after(Duration::ZERO);
        let last = |n: u32| format!("demo:last:{n}");
        let writes: Vec<Command> =
            (0..LAST_KEYS).map(|n| words!["SET", last(n), now_ms()]).collect();
        self.source.select(keys::PLACES)?;
        self.source.all(&writes)?;
        let mut question = words!["EXISTS"];
        question.extend((0..LAST_KEYS).map(|n| last(n).into_bytes()));
        let mut moving = screen.moving();
        eventually(IN_STEP_LIMIT, "what was written last is at the destination", || {
            bridge.check()?;
            let arrived = self.destination.cmd(&question)?.int()?;
            moving.say(&format!("{arrived} of {LAST_KEYS} last keys have arrived"))?;
            Ok((arrived == i64::from(LAST_KEYS)).then_some(()))
        })
        .map_err(|error| bridge.explain(&error))?;
        Ok(took.elapsed())
    }

    /// Waits until nothing that is short-lived is left on either side.
    ///
    /// # Errors
    /// If something stays; with one of the keys.
    pub(crate) fn until_expired(&mut self, screen: &Screen) -> Result<()> {
        let mut moving = screen.moving();
        for (side, client) in [("source", &mut self.source), ("destination", &mut self.destination)]
        {
            client.select(keys::FLEETING)?;
            let gone = eventually(EXPIRY_LIMIT, "all short-lived keys are gone", || {
                let left = client.cmd(&["DBSIZE"])?.int()?;
                moving.say(&format!("{left} short-lived keys are left at the {side}"))?;
                Ok((left == 0).then_some(()))
            });
            if let Err(error) = gone {
                let key = client.cmd(&["RANDOMKEY"])?;
                bail!("{error}; the {side} still has {key}");
            }
            client.select(keys::PLACES)?;
        }
        Ok(())
    }

    /// How many snapshots and how many partial resyncs the source has given.
    ///
    /// # Errors
    /// If it does not tell.
    pub(crate) fn syncs(&mut self) -> Result<[String; 2]> {
        let mut field = |name: &str| -> Result<String> {
            self.source.info_field("stats", name)?.with_context(|| format!("INFO without {name}"))
        };
        Ok([field("sync_full")?, field("sync_partial_ok")?])
    }
}

fn going(writer: &Writer, behind: Option<Duration>) -> String {
    let behind = match behind {
        None => "nothing of it at the destination yet".to_owned(),
        Some(behind) => format!("destination {} behind", seconds(behind)),
    };
    format!("{} commands written · {behind}", grouped(writer.tally().commands()))
}
