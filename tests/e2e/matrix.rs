//! Every source with every destination: all that the source can hold by snapshot, each of its write
//! commands by stream, then a mixture of them with a kill -9 in between.
//!
//! After each step the destination equals the source, but for keys in quarantine; and what is in
//! quarantine is there for a reason that [`gaps`] lists for the pair. What is listed does happen.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use serde_json::Value as Json;
use testkit::examples::every_command;
use testkit::{Client, Dataset, Deadline, Kind, Process, Tolerance, Workload, compare, seed_or};

use crate::bridge::{PATIENCE, Pair, SETTLING, stop};

mod gaps;
mod page;
mod values;

/// Servers that are written to; to older ones there are no forms for most of what is newer.
const DESTINATIONS: [Kind; 5] =
    [Kind::Redis5_0, Kind::Redis6_2, Kind::Redis7_0, Kind::Redis8_2, Kind::Valkey9_1];
/// Units of random commands before the kill, and after it.
const UNITS: usize = 600;
/// Of the random commands; `KEYFERRY_TEST_SEED` is another.
const SEED: u64 = 7;
/// How many differences and letters a failure names.
const NAMED: usize = 12;

/// Reasons that follow from an earlier one.
const DERIVED: [&str; 2] = [
    "an earlier change of the key, or of one that it needs, is in quarantine",
    "it was executed on a value that the source never had",
];

/// A pair of servers under test.
struct Case {
    pair: Pair,
    client: Client,
    source: Kind,
    destination: Kind,
}

// === impl Case ===

impl Case {
    fn start(source: Kind, destination: Kind) -> Result<Self> {
        let pair = Pair::start(source, destination)?;
        Ok(Self { client: pair.source_client()?, pair, source, destination })
    }

    /// Everything is there by snapshot, deadlines as exact as the servers tell them.
    fn snapshot(&mut self) -> Result<Process> {
        // What has expired is to be in the snapshot, too.
        self.client.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"])?;
        values::fill(&mut self.client, self.source)?;
        let mut bridge = self.pair.run(&[])?;
        self.pair.caught_up(&mut bridge)?;
        self.check("snapshot", 0)?;
        self.client.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"])?;
        Ok(bridge)
    }

    /// Every write command that the source knows, once or more.
    fn commands(&mut self, bridge: &mut Process) -> Result<()> {
        let since = Deadline::after(PATIENCE);
        for example in every_command(self.source) {
            self.client.all(&example.setup)?;
            self.client.all(&example.run)?;
        }
        self.pair.caught_up(bridge)?;
        self.check("commands", lag_ms(&since))
    }

    /// A mixture of all of them, in the middle of which the bridge is killed.
    fn mixture(&mut self, mut bridge: Process) -> Result<()> {
        let since = Deadline::after(PATIENCE);
        let mut workload = Workload::new(seed_or(SEED), self.source);
        workload.run(&mut self.client, UNITS)?;
        bridge.kill()?;
        workload.run(&mut self.client, UNITS)?;
        let mut bridge = self.pair.run(&[])?;
        self.pair.caught_up(&mut bridge)?;
        self.check("mixture", lag_ms(&since))?;
        stop(&mut bridge)
    }

    /// Nothing differs but what is in quarantine, and nothing is there without an expected reason.
    fn check(&self, step: &str, lag_ms: u64) -> Result<()> {
        let tolerance = Tolerance::native(self.source, self.destination);
        let tolerance = tolerance.with_lag(self.source, lag_ms);
        let deadline = Deadline::after(SETTLING);
        loop {
            let left = Dataset::read(&mut self.pair.source_client()?)?;
            let right = Dataset::read(&mut self.pair.destination_client()?)?;
            let held = self.held()?;
            let mut lines: Vec<String> = compare(&left, &right, &tolerance)
                .iter()
                .filter(|one| !held.contains(&(one.db.unwrap_or(u32::MAX), one.key.clone())))
                .map(ToString::to_string)
                .collect();
            if lines.is_empty() {
                return Ok(());
            }
            if deadline.has_passed() {
                let count = lines.len();
                lines.truncate(NAMED);
                bail!("after the {step} {count} differences:\n{}", lines.join("\n"));
            }
        }
    }

    /// Whatever was set aside was for a reason of this pair, and each of its reasons has occurred.
    fn check_reasons(&self) -> Result<()> {
        let expected: Vec<_> = gaps::between(self.source, self.destination).collect();
        let mut seen = vec![false; expected.len()];
        let mut strange = BTreeSet::new();
        for letter in self.quarantine(&["list", "--letters"])? {
            let why = text(&letter, "why");
            let event = change_of(&letter).unwrap_or(&letter).to_string();
            let mut known = DERIVED.iter().any(|derived| why.contains(derived));
            for (gap, seen) in expected.iter().zip(&mut seen) {
                if gap.explains(why, &event) {
                    (known, *seen) = (true, true);
                }
            }
            if !known {
                strange.insert(format!("{why}\n    {event:.300}"));
            }
        }
        let strange: Vec<_> = strange.into_iter().take(NAMED).collect();
        ensure!(strange.is_empty(), "set aside without a listed reason:\n{}", strange.join("\n"));
        for (gap, seen) in expected.iter().zip(seen) {
            ensure!(seen, "nothing was set aside for {}", gap.what);
        }
        Ok(())
    }

    /// The keys that are in quarantine. Suspects are not: they have to be right.
    fn held(&self) -> Result<BTreeSet<(u32, Vec<u8>)>> {
        let mut keys = BTreeSet::new();
        for line in self.quarantine(&["list"])? {
            let named = line.get("db").and_then(Json::as_u64).zip(line.get("key"));
            let (Some((db, Json::String(key))), None) = (named, line.get("suspect")) else {
                continue;
            };
            keys.insert((u32::try_from(db)?, event::text::unquoted(key)?.to_vec()));
        }
        Ok(keys)
    }

    fn quarantine(&self, words: &[&str]) -> Result<Vec<Json>> {
        let (dir, destination) = (self.pair.data_dir(), self.pair.destination.uri());
        let args = [&["quarantine"], words, &["--json", "--data-dir", &dir, &destination]].concat();
        let mut process = Process::start(&args)?;
        ensure!(process.wait(PATIENCE)?.success(), "{args:?}: {}", process.stderr());
        process.stdout().lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// The change of a dead letter: its event, or one of a group.
fn change_of(letter: &Json) -> Option<&Json> {
    let event = letter.get("event")?;
    let body = event.get("body")?;
    if text(event, "kind") != "group" {
        return Some(body);
    }
    let number = usize::try_from(letter.get("change")?.as_u64()?).ok()?;
    body.get("changes")?.get(number)
}

fn text<'a>(value: &'a Json, name: &str) -> &'a str {
    value.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// No change can have come later than this after it was made.
fn lag_ms(since: &Deadline) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn arrives(source: Kind, destination: Kind) -> Result<()> {
    let mut case = Case::start(source, destination)?;
    let mut bridge = case.snapshot()?;
    case.commands(&mut bridge)?;
    case.mixture(bridge)?;
    case.check_reasons()
}

/// The tests from one source.
macro_rules! from {
    ($module:ident, $source:ident) => {
        mod $module {
            use super::{Kind, Result, arrives};

            #[test]
            fn to_redis_5_0() -> Result<()> {
                arrives(Kind::$source, Kind::Redis5_0)
            }

            #[test]
            fn to_redis_6_2() -> Result<()> {
                arrives(Kind::$source, Kind::Redis6_2)
            }

            #[test]
            fn to_redis_7_0() -> Result<()> {
                arrives(Kind::$source, Kind::Redis7_0)
            }

            #[test]
            fn to_redis_8_2() -> Result<()> {
                arrives(Kind::$source, Kind::Redis8_2)
            }

            #[test]
            fn to_valkey_9_1() -> Result<()> {
                arrives(Kind::$source, Kind::Valkey9_1)
            }
        }
    };
}

from!(from_redis_2_8, Redis2_8);
from!(from_redis_3_2, Redis3_2);
from!(from_redis_5_0, Redis5_0);
from!(from_redis_6_2, Redis6_2);
from!(from_redis_7_0, Redis7_0);
from!(from_redis_8_2, Redis8_2);
from!(from_valkey_9_1, Valkey9_1);
