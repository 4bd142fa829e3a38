//! The demo: real data in one server, a writer that never stops, a bridge that is killed, and the
//! proof that another server holds the same.
//!
//! `run` is the whole of it; `load`, `write` and `compare` are its parts, for servers of one's own.
//! `./demo` at the root installs what is needed, builds, and calls `run`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use testkit::{Client, Deadline, Kind, eventually};

use crate::data::Data;
use crate::screen::{Screen, grouped, seconds};
use crate::verdict::Verdict;
use crate::write::{Abilities, Plan, Writer};

mod bridge;
mod data;
mod keys;
mod load;
mod plant;
mod run;
mod screen;
mod stage;
mod verdict;
mod words;
mod write;

/// Real data, a writer that never stops, a bridge that is killed, and the proof that nothing is
/// lost.
#[derive(Debug, Parser)]
#[command(name = "keyferry-demo", version)]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The whole demo, with servers of its own.
    Run(run::Options),
    /// Load the data into a server.
    Load {
        /// The server, as redis://host:port
        server: String,
        #[command(flatten)]
        pair: Pair,
        #[command(flatten)]
        source: DataArgs,
    },
    /// Keep changing the data in a server for a while.
    Write {
        /// The server, as redis://host:port
        server: String,
        /// For how long
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        #[command(flatten)]
        pair: Pair,
        #[command(flatten)]
        source: DataArgs,
        #[command(flatten)]
        pen: PenArgs,
    },
    /// Compare everything that two servers hold; exit code 1 if it differs.
    Compare {
        /// The source, as redis://host:port
        source_server: String,
        /// The destination, as redis://host:port
        destination_server: String,
        #[command(flatten)]
        pair: Pair,
    },
}

/// Which servers source and destination are.
#[derive(Debug, Clone, Copy, Args)]
struct Pair {
    /// Source: redis-6.2, redis-7.0, redis-8.2 or valkey-9.1
    #[arg(long, value_parser = kind, default_value = "redis-7.0")]
    source: Kind,
    /// Destination: one of the same
    #[arg(long, value_parser = kind, default_value = "redis-7.0")]
    destination: Kind,
}

/// Where the data is.
#[derive(Debug, Clone, Args)]
struct DataArgs {
    /// A directory of scripts/demo-data
    #[arg(long, default_value = ".cache/demo-data")]
    data: PathBuf,
}

/// How the writer writes.
#[derive(Debug, Clone, Copy, Args)]
struct PenArgs {
    /// What the writer draws from: the same seed writes the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often a second the writer acts; an act is a few commands
    #[arg(long, default_value_t = 3000)]
    rate: u32,
}

fn main() -> ExitCode {
    let mut screen = Screen::stdout();
    let outcome = match Cli::parse().part {
        Part::Run(options) => run::run(&options, &mut screen),
        Part::Load { server, pair, source } => load(&screen, &server, pair, &source),
        Part::Write { server, seconds, pair, source, pen } => {
            let time = Duration::from_secs(seconds);
            address(&server).and_then(|addr| write(&screen, plan(addr, pair, &source, pen)?, time))
        }
        Part::Compare { source_server, destination_server, pair } => {
            compare(&screen, &source_server, &destination_server, pair)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell if the terminal is gone.
            screen.wrong(format!("{error:#}")).ok();
            ExitCode::FAILURE
        }
    }
}

fn load(screen: &Screen, server: &str, pair: Pair, source: &DataArgs) -> Result<bool> {
    let data = Data::read(&source.data)?;
    let mut client = Client::tcp(address(server)?)?;
    stage::load(screen, &mut client, &data, Abilities::of(pair.source, pair.destination))?;
    Ok(true)
}

fn plan(addr: SocketAddr, pair: Pair, source: &DataArgs, pen: PenArgs) -> Result<Plan> {
    Ok(Plan {
        addr,
        data: Arc::new(Data::read(&source.data)?),
        abilities: Abilities::of(pair.source, pair.destination),
        seed: pen.seed,
        acts_per_second: pen.rate,
    })
}

fn write(screen: &Screen, plan: Plan, time: Duration) -> Result<bool> {
    let writer = Writer::start(plan)?;
    let until = Deadline::after(time);
    let mut moving = screen.moving();
    eventually(time * 2, "the time is up", || {
        moving.say(&format!("{} commands", grouped(writer.tally().commands())))?;
        Ok((until.has_passed() || writer.check().is_err()).then_some(()))
    })?;
    drop(moving);
    let tally = writer.stop()?;
    let refused = format!("{} refused", grouped(tally.refused()));
    screen.done(format!("{} commands", grouped(tally.commands())), refused)?;
    Ok(true)
}

fn compare(screen: &Screen, source: &str, destination: &str, pair: Pair) -> Result<bool> {
    let took = Deadline::after(Duration::ZERO);
    let both = verdict::read_both(address(source)?, address(destination)?)?;
    let tolerance = verdict::tolerance(pair.source, pair.destination);
    let verdict = Verdict::of(both, &tolerance);
    verdict.tell(screen, &tolerance)?;
    let text = if verdict.is_same() { "the same" } else { "NOT the same" };
    screen.verdict(verdict.is_same(), &format!("{text}, after {}", seconds(took.elapsed())))?;
    Ok(verdict.is_same())
}

fn address(server: &str) -> Result<SocketAddr> {
    let host = server.strip_prefix("redis://").unwrap_or(server);
    let mut found = host.to_socket_addrs().with_context(|| format!("not an address: {server}"))?;
    found.next().with_context(|| format!("no such host: {server}"))
}

fn kind(name: &str) -> Result<Kind> {
    let names = Kind::ALL.map(Kind::name).join(", ");
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| anyhow!("there are: {names}"))
}
