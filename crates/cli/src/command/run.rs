//! `keyferry run`: capture, journal and apply in one process.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::Journal;
use journal::local::{LocalConfig, LocalJournal, LocalParts};
use redis_io::{Connector, Endpoint, ServerFacts, connector};
use runtime::{
    Clock, OnFailure, Random, StatusNode, SystemClock, TaskError, Tasks, signal::Signals,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::exit::{self, Exit, Failure};
use crate::logging;
use crate::options::layers::Values;
use crate::options::typed::{DataDir, Reader};
use crate::show::{Screen, Show};

/// Everything that `run` needs, read and checked.
struct Settings {
    dir: DataDir,
    source: capture::Config,
    destination: apply::Config,
    journal: LocalConfig,
    letters: LocalConfig,
    level: String,
    json: bool,
}

/// What the parts of one process share.
struct Shared {
    clock: Arc<dyn Clock>,
    status: StatusNode,
    stop: CancellationToken,
}

/// Letters of the quarantine are few; one partition keeps them in order.
const LETTER_PARTITIONS: u16 = 1;

/// How long the two sides may take to finish what is under way. The journal's own drain is within.
const STOP_GRACE: Duration = Duration::from_secs(30);

pub(crate) fn run(values: &Values) -> Result<(), Failure> {
    let settings = Settings::read(values)?;
    let screen = Screen::new(settings.json);
    logging::start(&settings.level, settings.json, screen.clone())?;
    super::block_on(bridge(settings, screen))
}

async fn bridge(settings: Settings, screen: Screen) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let status = StatusNode::root();
    let tasks = Tasks::new(Arc::clone(&clock));
    let shared = Shared { clock, status, stop: tasks.stop_token() };
    watch_signals(&tasks, &shared)?;
    make_dir(&settings.dir.0)?;
    let journal = open(settings.journal, &shared).await?;
    forget_others(&journal, &settings.destination.name).await?;
    let letters = open(settings.letters, &shared).await?;
    refuse_a_loop(&settings.source.source, &settings.destination.destination, &shared).await?;
    let apply = shared.build_apply(settings.destination, &journal, &letters).await?;
    let capture = shared.build_capture(settings.source, &journal).await?;
    let shown = shared.show(screen, &settings.dir);
    let shown_stop = CancellationToken::new();
    let showing = Tasks::new(Arc::clone(&shared.clock));
    let until = shown_stop.clone();
    showing.spawn("show", OnFailure::Report, async move {
        shown.run(until).await;
        Ok(())
    });
    let result = shared.run_both(&tasks, capture, apply).await;
    shown_stop.cancel();
    showing.join(STOP_GRACE).await;
    // Dropping them writes and syncs what was accepted.
    drop((journal, letters));
    result
}

fn watch_signals(tasks: &Tasks, shared: &Shared) -> Result<(), Failure> {
    let signals = Signals::install().map_err(|error| Failure {
        exit: Exit::Defect,
        what: format!("take over SIGINT and SIGTERM: {error}"),
        advice: "this is a defect of keyferry: please report it".to_owned(),
    })?;
    let (stop, now) = (shared.stop.clone(), CancellationToken::new());
    tasks.spawn("signals", OnFailure::Report, async move {
        signals.watch(&stop, &now).await;
        // The second signal: whatever is under way is as safe as after a crash.
        std::process::exit(SECOND_SIGNAL_CODE)
    });
    Ok(())
}

/// Read, write and enter for the owner, nothing for others.
const PRIVATE: u32 = 0o700;

/// What shells give a process that a SIGINT ended.
const SECOND_SIGNAL_CODE: i32 = 130;

/// Makes the data directory, for this account alone: it holds every value of the source.
fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(dir);
    made.map_err(|error| Failure {
        exit: Exit::Journal,
        what: format!("make the data directory {}: {error}", dir.display()),
        advice: "name a directory that this account may write by --data-dir".to_owned(),
    })
}

async fn open(config: LocalConfig, shared: &Shared) -> Result<Arc<LocalJournal>, Failure> {
    let dir = config.dir.clone();
    let parts = LocalParts { clock: Arc::clone(&shared.clock) };
    let journal = LocalJournal::open(config, parts).await;
    let journal = journal.map_err(|error| Failure::of(Exit::Journal, &error))?;
    if let Some(cut) = &journal.open_report().cut {
        tracing::warn!(journal = %dir.display(), ?cut, "a torn end was cut off: it is read from the source again");
    }
    Ok(Arc::new(journal))
}

/// A server that is copied to itself hears its own writes for ever. Servers that cannot be asked are for the two
/// sides to complain about.
async fn refuse_a_loop(
    source: &Endpoint,
    destination: &Endpoint,
    shared: &Shared,
) -> Result<(), Failure> {
    let (source_run, destination_run) =
        (shared.run_id(source).await, shared.run_id(destination).await);
    match source_run.zip(destination_run) {
        Some((one, other)) if one == other => Err(Failure {
            exit: Exit::Usage,
            what: format!("{source} and {destination} are the same server"),
            advice:
                "name two servers: one that is copied to itself would hear its own writes for ever"
                    .to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A run has one destination: what another address of it had not released would hold the journal for ever.
async fn forget_others(journal: &LocalJournal, name: &str) -> Result<(), Failure> {
    let description =
        journal.describe().await.map_err(|error| Failure::of(Exit::Journal, &error))?;
    for reader in description.readers.iter().filter(|reader| reader.name != name) {
        tracing::info!(reader = reader.name, "the journal no longer waits for this destination");
        let forgotten = journal.forget_reader(&reader.name).await;
        forgotten.map_err(|error| Failure::of(Exit::Journal, &error))?;
    }
    Ok(())
}

// === impl Settings ===

impl Settings {
    fn read(values: &Values) -> Result<Self, Failure> {
        let mut reader = Reader::new(values);
        let dir = reader.data_dir();
        let stream = reader.stream();
        let source = reader.source(&stream, &dir);
        let destination = reader.destination(&dir);
        let journal = reader.journal(&stream, &dir);
        let letters = LocalConfig::new(dir.quarantine(&stream), &stream, LETTER_PARTITIONS);
        let json = reader.flag("log.json");
        let problems = reader.finish();
        let (Some(source), Some(destination), true) = (source, destination, problems.is_empty())
        else {
            return Err(Failure::usage(problems.join("\n  ")));
        };
        let level = values.get("log.level").unwrap_or("info").to_owned();
        Ok(Self { dir, source, destination, journal, letters, level, json })
    }
}

// === impl Shared ===

impl Shared {
    /// What tells one running server from another, where it can be asked.
    async fn run_id(&self, endpoint: &Endpoint) -> Option<String> {
        let connector = Connector::new(
            endpoint.clone(),
            connector::Settings::default(),
            Arc::clone(&self.clock),
        );
        let mut connection = connector.ok()?.connect().await.ok()?;
        ServerFacts::gather(&mut connection).await.ok()?.run_id
    }

    async fn build_apply(
        &self,
        config: apply::Config,
        journal: &Arc<LocalJournal>,
        letters: &Arc<LocalJournal>,
    ) -> Result<apply::Apply, Failure> {
        let parts = apply::Parts {
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(journal) as Arc<dyn Journal>,
            letters: Arc::clone(letters) as Arc<dyn Journal>,
            random: Random::from_entropy(),
            status: self.status.child("apply"),
        };
        let built = apply::Apply::build(config, parts).await;
        built.map_err(|error| match error {
            apply::BuildError::Start(error) => Failure::at_start(exit::of_apply(&error), &error),
            error => Failure::at_start(Exit::Usage, &error),
        })
    }

    async fn build_capture(
        &self,
        config: capture::Config,
        journal: &Arc<LocalJournal>,
    ) -> Result<capture::Capture, Failure> {
        let parts = capture::Parts {
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(journal) as Arc<dyn Journal>,
            status: self.status.child("capture"),
        };
        let built = capture::Capture::build(config, parts).await;
        built.map_err(|error| Failure::at_start(exit::of_capture_build(&error), &error))
    }

    fn show(&self, screen: Screen, dir: &DataDir) -> Show {
        Show {
            status: self.status.clone(),
            clock: Arc::clone(&self.clock),
            screen,
            file: dir.status(),
        }
    }

    /// Runs both sides, each on threads of its own, until one fails or a stop is asked for. The first failure is
    /// the outcome.
    async fn run_both(
        &self,
        tasks: &Tasks,
        capture: capture::Capture,
        apply: apply::Apply,
    ) -> Result<(), Failure> {
        let stop = self.stop.clone();
        let capturing = side(tasks, "capture", async move {
            capture.run(stop).await.map_err(|error| Failure::of(exit::of_capture(&error), &error))
        });
        let stop = self.stop.clone();
        let applying = side(tasks, "apply", async move {
            apply.run(stop).await.map_err(|error| Failure::of(exit::of_apply(&error), &error))
        });
        let (captured, applied) = tokio::join!(capturing, applying);
        let (captured, applied) = (ended(captured)?, ended(applied)?);
        tracing::info!(
            captured_to = captured.durable_offset,
            records = captured.records,
            applied_to = %places(&applied),
            "stopped: everything read is durable; start again to go on from here"
        );
        Ok(())
    }
}

/// Starts one side; its end, however it comes, stops the other.
fn side<T: Send + 'static>(
    tasks: &Tasks,
    name: &'static str,
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> oneshot::Receiver<Result<T, Failure>> {
    let (tell, told) = oneshot::channel();
    let stop = tasks.stop_token();
    tasks.spawn(name, OnFailure::StopAll, async move {
        let result = future.await;
        stop.cancel();
        tell.send(result).map_err(|_| TaskError::from("nobody waits for the end of this side"))
    });
    told
}

/// Where each lane stopped.
fn places(summary: &apply::Summary) -> String {
    let lanes = summary.lanes.iter().map(|lane| {
        let positions: Vec<_> = lane.applied.iter().map(ToString::to_string).collect();
        if positions.is_empty() { "nothing yet".to_owned() } else { positions.join(",") }
    });
    lanes.collect::<Vec<_>>().join(" ")
}

/// How a side ended; a side that panicked has told nobody.
fn ended<T>(told: Result<Result<T, Failure>, oneshot::error::RecvError>) -> Result<T, Failure> {
    told.unwrap_or_else(|_| {
        Err(Failure {
            exit: Exit::Defect,
            what: "a task panicked; the log above has its message".to_owned(),
            advice: "this is a defect of keyferry: please report it with the log".to_owned(),
        })
    })
}
