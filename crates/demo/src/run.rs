//! The whole demo, step by step.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use testkit::{Client, Dataset, Deadline, Server, compare};

use crate::bridge::{Bridge, Carrier};
use crate::data::Data;
use crate::load::SHORT_LIVED;
use crate::plant;
use crate::screen::{Screen, grouped, seconds};
use crate::stage::{self, Clients};
use crate::verdict::{self, Verdict};
use crate::write::{Abilities, FAMILIES, Tally, Writer};
use crate::{DataArgs, Pair, PenArgs};

/// How long a killed bridge stays dead, while the writer goes on.
const DEAD: Duration = Duration::from_secs(2);

/// What the demo can be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pair: Pair,
    #[command(flatten)]
    source_data: DataArgs,
    #[command(flatten)]
    pen: PenArgs,
    /// What carries the changes: keyferry, or the servers' own replication to check the demo itself
    #[arg(long, value_enum, default_value_t = Carrier::Keyferry)]
    bridge: Carrier,
    /// The keyferry binary; the one beside this program unless another is named
    #[arg(long)]
    keyferry: Option<PathBuf>,
    /// How often the bridge is killed with -9 while the writer writes
    #[arg(long, default_value_t = 1)]
    kills: u32,
    /// How long the writer writes before each kill and after the last, in seconds
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Fail if the data comes to fewer keys
    #[arg(long, default_value_t = 300_000)]
    least_keys: u64,
    /// In the end change one thing of each kind at the destination: the comparison must find them all
    #[arg(long)]
    plant: bool,
}

/// What came of the writing.
struct Written {
    tally: Arc<Tally>,
    kills: u32,
}

/// Runs the demo; true if source and destination are equal in the end.
///
/// # Errors
/// If something fails before that can be said.
pub(crate) fn run(options: &Options, screen: &mut Screen) -> Result<bool> {
    let took = Deadline::after(Duration::ZERO);
    let Pair { source: from, destination: to } = options.pair;
    screen.title(&format!("keyferry demo: {from} → {to} by {}", options.bridge))?;

    screen.step("Two servers of our own")?;
    let servers = [stage::server(from)?, stage::server(to)?];
    let [source, destination] = &servers;
    screen.fact("source", format!("{from} at {}", source.uri()))?;
    screen.fact("destination", format!("{to} at {}", destination.uri()))?;
    let mut clients = Clients::of(source, destination)?;

    screen.step("Real public data into the source")?;
    let data = Arc::new(Data::read(&options.source_data.data)?);
    let abilities = Abilities::of(from, to);
    let keys = stage::load(screen, &mut clients.source, &data, abilities)?;
    if keys < options.least_keys {
        bail!("the data came to {keys} keys only; wanted: {}", options.least_keys);
    }
    screen.fact("together", format!("{} keys", grouped(keys)))?;

    screen.step("A writer that changes all of it, and the bridge")?;
    let written = write(options, screen, &servers, &mut clients, &data)?;

    screen.step("The proof")?;
    clients.until_expired(screen)?;
    let fleeting = format!("{} and more that lived for seconds", grouped(SHORT_LIVED as u64));
    screen.done("short-lived keys: none is left on either side", fleeting)?;
    let verdict = prove(options, screen, &servers)?;
    let good = verdict.is_same();
    screen.fact(
        "written",
        format!("{} commands while the bridge ran", grouped(written.tally.commands())),
    )?;
    screen.fact("kills", written.kills)?;
    if good && options.plant {
        planted(options, screen, destination, &verdict)?;
    }
    let equal = if good { "are equal" } else { "DIFFER" };
    let text = format!("Source and destination {equal}. {} in all.", seconds(took.elapsed()));
    screen.verdict(good, &text)?;
    Ok(good)
}

/// Writes while the bridge starts, runs, is killed and starts again; returns when all is home.
fn write(
    options: &Options,
    screen: &Screen,
    servers: &[Server; 2],
    clients: &mut Clients,
    data: &Arc<Data>,
) -> Result<Written> {
    let [source, destination] = servers;
    let plan = crate::write::Plan {
        addr: source.addr(),
        data: Arc::clone(data),
        abilities: Abilities::of(source.kind(), destination.kind()),
        seed: options.pen.seed,
        acts_per_second: options.pen.rate,
    };
    let writer = Writer::start(plan)?;
    screen.done("the writer writes", format!("seed {}", options.pen.seed))?;
    let outcome = carry(options, screen, servers, clients, &writer);
    // The writer's own error is the cause, and the bridge's a consequence.
    let stopped = writer.stop().context("the writer");
    let (mut bridge, kills) = match (stopped.is_ok(), outcome) {
        (true, outcome) => outcome?,
        (false, _) => return stopped.map(|tally| Written { tally, kills: 0 }),
    };
    let tally = stopped?;
    tell_written(screen, &tally)?;
    let home = clients.until_home(screen, &mut bridge)?;
    screen.done("what was written last has arrived", format!("after {}", seconds(home)))?;
    let [full, partial] = clients.syncs()?;
    let took = Deadline::after(Duration::ZERO);
    bridge.stop()?;
    screen.done("the bridge has ended as asked", seconds(took.elapsed()))?;
    screen.fact("resyncs", format!("{full} full, {partial} partial, as the source counts them"))?;
    Ok(Written { tally, kills })
}

/// Everything that happens to the bridge while the writer writes.
fn carry(
    options: &Options,
    screen: &Screen,
    servers: &[Server; 2],
    clients: &mut Clients,
    writer: &Writer,
) -> Result<(Bridge, u32)> {
    let keyferry = match &options.keyferry {
        Some(named) => named.clone(),
        None => std::env::current_exe().context("find this program")?.with_file_name("keyferry"),
    };
    let mut bridge = Bridge::start(options.bridge, &keyferry, servers)?;
    screen.done("the bridge has started", bridge.command())?;
    let took = clients.until_in_step(screen, writer, &mut bridge)?;
    screen
        .done("the destination is in step with the writer", format!("after {}", seconds(took)))?;
    let time = Duration::from_secs(options.seconds);
    clients.go_on(screen, writer, Some(&mut bridge), time)?;
    let mut kills = 0;
    while kills < options.kills && bridge.kill()? {
        kills += 1;
        screen.done("the bridge is killed with -9", "the writer goes on")?;
        clients.go_on(screen, writer, None, DEAD)?;
        bridge.start_again()?;
        let took = clients.until_in_step(screen, writer, &mut bridge)?;
        let text = "the bridge has started again, and the destination is in step";
        screen.done(text, format!("after {}", seconds(took)))?;
        clients.go_on(screen, writer, Some(&mut bridge), time)?;
    }
    Ok((bridge, kills))
}

fn tell_written(screen: &Screen, tally: &Tally) -> Result<()> {
    let commands = grouped(tally.commands());
    let refused = format!("{} found nothing to change", grouped(tally.refused()));
    screen.done(format!("the writer has stopped after {commands} commands"), refused)?;
    let of = |(family, acts)| format!("{} {}", family, grouped(acts));
    let names = FAMILIES.iter().map(|family| family.name);
    let acts: Vec<String> = names.zip(tally.acts()).map(of).collect();
    for line in acts.chunks(5) {
        screen.fact("", line.join(" · "))?;
    }
    Ok(())
}

fn prove(
    options: &Options,
    screen: &Screen,
    [source, destination]: &[Server; 2],
) -> Result<Verdict> {
    let took = Deadline::after(Duration::ZERO);
    let mut moving = screen.moving();
    moving.say("reading both servers whole")?;
    let both = verdict::read_both(source.addr(), destination.addr())?;
    moving.say("comparing")?;
    let tolerance = verdict::tolerance(options.pair.source, options.pair.destination);
    let verdict = Verdict::of(both, &tolerance);
    drop(moving);
    screen.done("every key, type, value and deadline was compared", seconds(took.elapsed()))?;
    verdict.tell(screen, &tolerance)?;
    Ok(verdict)
}

/// Checks that the comparison can fail.
fn planted(
    options: &Options,
    screen: &mut Screen,
    destination: &Server,
    verdict: &Verdict,
) -> Result<()> {
    screen.step("The check of the check")?;
    let mut client = Client::tcp(destination.addr())?;
    let tolerance = verdict::tolerance(options.pair.source, options.pair.destination);
    let planted = plant::plant(&mut client, verdict.source(), tolerance.ttl_slack_ms)?;
    let changed = Dataset::read(&mut client)?;
    let found = compare(verdict.source(), &changed, &tolerance);
    let keys = found.iter().map(|one| (one.db, one.key.clone())).collect();
    for difference in &found {
        screen.fact("", difference)?;
    }
    plant::check(&planted, &keys)?;
    let text = format!("{} things were changed at the destination: all were found", planted.len());
    screen.done(text, "")
}
