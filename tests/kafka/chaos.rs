//! One capture, three applies of one destination, two destinations more with filters of their own: under load, while any
//! of them is killed at random.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use testkit::{Client, Dataset, Deadline, Kind, Process, Server, Tolerance, compare, seed};

use crate::apart::{PATIENCE, Stage, stop};
use crate::load::{Load, assert_counted, assert_one_full_transfer};

/// Processes that share the first destination.
const SHARING: usize = 3;
/// Units of writes between two accidents.
const WRITES: usize = 400;
/// Accidents between two comparisons.
const ROUNDS: usize = 12;
/// Rounds of the load behind the last accident.
const LAST_ROUNDS: u64 = 100;
/// What the source keeps for a replica that is away: more than it is written in minutes.
const BACKLOG: &str = "256mb";
/// Keys of either kind.
const KEYS: usize = 40;

/// A destination that takes some of the keys.
struct Branch {
    server: Server,
    name: &'static str,
    filter: [&'static str; 2],
    takes: fn(&[u8]) -> bool,
}

/// All that runs.
struct Fleet {
    stage: Stage,
    branches: [Branch; 2],
    /// The capture, the applies that share a destination, one for each branch.
    processes: Vec<Process>,
}

impl Fleet {
    fn start() -> Result<Self> {
        let kind = Kind::Redis7_0;
        let branches = [
            Branch {
                server: Server::start(kind, &[])?,
                name: "reports",
                filter: ["--include-prefixes", "a:,test:"],
                takes: |key| key.starts_with(b"a:") || key.starts_with(b"test:"),
            },
            Branch {
                server: Server::start(kind, &[])?,
                name: "search",
                filter: ["--exclude-prefixes", "a:"],
                takes: |key| !key.starts_with(b"a:"),
            },
        ];
        let mut fleet = Self { stage: Stage::start(kind)?, branches, processes: Vec::new() };
        for number in 0..=SHARING + 2 {
            let process = fleet.process(number)?;
            fleet.processes.push(process);
        }
        // However long a capture is away, what it has missed is still there: one full transfer is enough.
        fleet.stage.source_client()?.cmd(&["CONFIG", "SET", "repl-backlog-size", BACKLOG])?;
        // One that is killed in the middle of the snapshot would rightly ask for another.
        fleet.assert_same()?;
        Ok(fleet)
    }

    fn process(&self, number: usize) -> Result<Process> {
        let dir = format!("process-{number}");
        match number {
            0 => self.stage.capture(&dir),
            1..=SHARING => self.stage.process(&["apply", &self.stage.destination.uri()], &dir, &[]),
            _ => {
                let branch = self.branches.get(number - SHARING - 1);
                let Branch { server, name, filter, .. } = branch.context("no such process")?;
                let more = ["--destination-name", *name, filter[0], filter[1]];
                self.stage.process(&["apply", &server.uri()], &dir, &more)
            }
        }
    }

    /// Kills one of them and starts it again, with writes in between.
    fn accident(&mut self, rng: &mut Rng, mut write: impl FnMut() -> Result<()>) -> Result<()> {
        let which = rng.usize(0..self.processes.len());
        self.processes.get_mut(which).context("a process")?.kill()?;
        write()?;
        let again = self.process(which)?;
        self.processes.splice(which..=which, [again]);
        Ok(())
    }

    fn assert_same(&mut self) -> Result<()> {
        let mut processes: Vec<_> = self.processes.iter_mut().collect();
        let others: Vec<_> = self.branches.iter().map(|branch| &branch.server).collect();
        self.stage.caught_up_at(&others, &mut processes)?;
        self.stage.assert_same()?;
        for Branch { server, name, takes, .. } in &self.branches {
            let mut expected = Dataset::read(&mut self.stage.source_client()?)?;
            for keys in expected.dbs.values_mut() {
                keys.retain(|key, _| takes(key));
            }
            expected.dbs.retain(|_, keys| !keys.is_empty());
            let found = Dataset::read(&mut server.client()?)?;
            let tolerance = Tolerance::native(Kind::Redis7_0, Kind::Redis7_0);
            let differences = compare(&expected, &found, &tolerance);
            let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
            ensure!(differences.is_empty(), "{name}: {}", shown.join("\n"));
        }
        Ok(())
    }
}

/// Single commands and transactions, each on keys of one kind, in any partitions.
fn write(client: &mut Client, rng: &mut Rng, units: usize) -> Result<()> {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for _ in 0..units {
        let kind = *rng.choice(&["a", "b"]).expect("there are two");
        let mut key = || format!("{kind}:{}", rng.usize(0..KEYS));
        let (one, other, third) = (key(), key(), key());
        match rng.u8(0..10) {
            0 => commands.extend([
                words("MULTI".to_owned()),
                words(format!("INCR {one}")),
                words(format!("RPUSH {other}:list x")),
                words(format!("HINCRBY {third}:hash field 3")),
                words("EXEC".to_owned()),
            ]),
            1 => commands.push(words(format!("MSET {one} 1 {other} 2 {third} 3"))),
            2 => commands.push(words(format!("LMOVE {one}:list {other}:list LEFT RIGHT"))),
            3 => commands.push(words(format!("DEL {other}"))),
            4 => commands.push(words(format!("RPUSH {other}:list {}", rng.u16(..)))),
            _ => commands.push(words(format!("INCR {one}"))),
        }
    }
    client.all(&commands)?;
    Ok(())
}

/// Accidents for so long, with a load behind them that never pauses; in the end, and now and then before, all is equal.
pub(crate) fn survive(lasting: Duration) -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut fleet = Fleet::start()?;
    let mut client = fleet.stage.source_client()?;
    let deadline = Deadline::after(lasting);
    let (mut accidents, mut counted) = (0, 0);
    while !deadline.has_passed() {
        let load = Load::start(&fleet.stage.source)?;
        for _ in 0..ROUNDS {
            let (units, more) = (rng.usize(1..WRITES), rng.usize(1..WRITES));
            write(&mut client, &mut rng, units)?;
            let mut of_writes = rng.fork();
            fleet.accident(&mut rng, || write(&mut client, &mut of_writes, more))?;
            accidents += 1;
            if deadline.has_passed() {
                break;
            }
        }
        // The last one, too, happened under load.
        load.goes_on(LAST_ROUNDS)?;
        counted += load.stop()?;
        fleet.assert_same()?;
        assert_counted(&fleet.stage, counted)?;
        assert_one_full_transfer(&fleet.stage)?;
    }
    println!(
        "{accidents} accidents, {counted} counted, one full transfer; in the end, all is equal"
    );
    for process in &mut fleet.processes {
        process.until(PATIENCE, "it listens", |_, said| {
            said.contains("metrics and status").then_some(())
        })?;
        stop(process)?;
    }
    Ok(())
}
