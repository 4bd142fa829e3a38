//! `keyferry replay`: apply, from one of a stream's snapshots on and up to a place of the past.

use std::path::PathBuf;
use std::sync::Arc;

use apply::replay::{Measured, Origin, Place, Replay, Standing, look};
use clap::ArgMatches;
use event::text::Utc;
use indicatif::{HumanBytes, HumanCount};
use journal::local::{LocalConfig, LocalJournal, LocalParts};
use journal::{Journal, OpenError};
use runtime::{Clock, SystemClock};

use super::super::reading;
use super::settings::Settings;
use super::{Shared, begin, place};
use crate::args::replay::{DRY_RUN, FROM, UNTIL};
use crate::exit::{self, Exit, Failure};
use crate::options::layers::Values;
use crate::options::typed::name_of;
use crate::role::Role;
use crate::{logging, output};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    origin: Origin,
    until: Option<Place>,
    /// Where its letters go while another process has those of the stream.
    letters: PathBuf,
}

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let mut settings = Settings::read(values, Role::Replay)?;
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let problem =
        |name: &'static str| move |what: String| Failure::usage(format!("--{name} {what}"));
    let origin = place::origin(text(FROM).unwrap_or_default()).map_err(problem(FROM))?;
    let until = text(UNTIL).map(place::until).transpose().map_err(problem(UNTIL))?;
    let name = settings.destination.as_ref().map(|config| name_of(config.destination.address()));
    let letters = settings.dir.quarantine_of_replay(&settings.stream, &name.unwrap_or_default());
    let wanted = Wanted { origin, until, letters };
    if matches.get_flag(DRY_RUN) {
        return super::super::block_on(rehearse(settings, wanted));
    }
    settings.replay = Some(wanted);
    begin(settings)
}

/// Says what would be done.
async fn rehearse(settings: Settings, wanted: Wanted) -> Result<(), Failure> {
    let screen =
        crate::show::Screen::new(settings.json, crate::show::Terminal::of_the_environment());
    logging::start(&settings.level, settings.json, screen)?;
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let journal = reading::open(settings.journal, Arc::clone(&clock)).await?;
    let replay = wanted.plan(&*journal).await?;
    let failed = |error: apply::Error| Failure::at_start(exit::of_apply(&error), &error);
    let measured = replay.measure(&*journal).await.map_err(failed)?;
    let mut lines = plan_shown(&settings.stream, &replay, &measured);
    if let Some(config) = &settings.destination {
        let standing = look(config, &*journal, clock).await.map_err(failed)?;
        lines.push(standing_shown(&config.destination.to_string(), &standing));
    }
    output::print(&lines.join("\n"))
}

/// What would be read, in lines.
fn plan_shown(stream: &str, replay: &Replay, measured: &[Measured]) -> Vec<String> {
    let begin = replay.begin();
    let kind = match begin.snapshot_id {
        0 => "part of the stream",
        _ => "made on demand",
    };
    let mut lines = vec![
        format!("stream {stream}: begins with the snapshot at {begin}, {kind}"),
        format!("ends at {}", replay.until()),
    ];
    lines.extend(measured.iter().map(|of| {
        let end = match of.passed {
            true => "",
            false => ", where the journal ends",
        };
        format!(
            "partition {}: records {} to {}{end}: {} records, {}",
            of.partition,
            of.from,
            of.to,
            HumanCount(of.records),
            HumanBytes(of.bytes)
        )
    }));
    let sum = |of: fn(&Measured) -> u64| measured.iter().map(of).sum::<u64>();
    let (records, bytes) = (HumanCount(sum(|of| of.records)), HumanBytes(sum(|of| of.bytes)));
    lines.push(format!("in all about {records} records, {bytes}"));
    lines
}

/// What stands at the destination, in a line.
fn standing_shown(endpoint: &str, standing: &Standing) -> String {
    let keys = match standing.keys.as_deref() {
        None => "does not tell what it holds".to_owned(),
        Some([]) => "holds no keys".to_owned(),
        Some(dbs) => {
            let shown = dbs.iter().map(|(db, keys)| format!("{keys} in database {db}"));
            format!("holds keys: {}", shown.collect::<Vec<_>>().join(", "))
        }
    };
    let applied: Vec<String> = standing.applied.iter().map(ToString::to_string).collect();
    match (standing.has_checkpoint, applied.is_empty()) {
        (false, _) => format!("{endpoint} {keys}, and has no checkpoint of the stream"),
        (true, true) => format!("{endpoint} {keys}, and has a checkpoint of the stream"),
        (true, false) => {
            let applied = applied.join(" ");
            format!("{endpoint} {keys}, and has a checkpoint of the stream at {applied}")
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// Finds the snapshot to begin with.
    pub(super) async fn plan(&self, journal: &dyn Journal) -> Result<Replay, Failure> {
        let planned = Replay::plan(journal, self.origin, self.until).await;
        let replay = planned.map_err(|error| Failure::at_start(exit::of_apply(&error), &error))?;
        let begin = replay.begin();
        tracing::info!(
            snapshot = %begin.position,
            time = %Utc(begin.time_ms),
            until = %replay.until(),
            "applying the stream anew"
        );
        Ok(replay)
    }
}

// === impl Shared ===

impl Shared {
    /// Opens the letters of the quarantine; others, while another process has those.
    pub(super) async fn open_beside(
        &self,
        config: LocalConfig,
        wanted: &Wanted,
    ) -> Result<Arc<dyn Journal>, Failure> {
        let parts = || LocalParts { clock: Arc::clone(&self.clock) };
        let mut beside = config.clone();
        beside.dir.clone_from(&wanted.letters);
        match LocalJournal::open(config, parts()).await {
            Ok(letters) => Ok(Arc::new(letters)),
            Err(OpenError::Locked { .. }) => {
                tracing::info!(
                    dir = %beside.dir.display(),
                    "another process has the stream's quarantine: what cannot be applied is kept here instead"
                );
                self.open_local(beside).await
            }
            Err(error) => Err(Failure::of(Exit::Journal, &error)),
        }
    }
}
