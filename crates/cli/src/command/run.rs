//! `keyferry run`: capture, journal and apply in one process.

mod admin;
mod ending;
mod origin;
mod steps;

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

use self::ending::{Asked, Ending};
use self::origin::Origin;
use crate::exit::{self, Exit, Failure};
use crate::life::Process;
use crate::options::layers::Values;
use crate::options::typed::{AdminSettings, DataDir, Reader};
use crate::show::{Screen, Show, StatusFile, Terminal};
use crate::{logging, output};

/// Everything that `run` needs, read and checked.
struct Settings {
    dir: DataDir,
    stream: String,
    source: capture::Config,
    destination: apply::Config,
    journal: LocalConfig,
    letters: LocalConfig,
    admin: AdminSettings,
    level: String,
    json: bool,
    log_interval: Duration,
    warnings: Vec<String>,
}

/// What the parts of one process share.
struct Shared {
    clock: Arc<dyn Clock>,
    status: StatusNode,
    stop: CancellationToken,
    /// Who asked to stop.
    asked: Asked,
    file: StatusFile,
}

/// What is there once everything has been opened and checked.
struct Started {
    /// First and last to be closed: the journal, and the letters of the quarantine.
    journals: [Arc<LocalJournal>; 2],
    capture: capture::Capture,
    apply: apply::Apply,
}

/// Letters of the quarantine are few; one partition keeps them in order.
const LETTER_PARTITIONS: u16 = 1;

/// How long the two sides may take to finish what is under way. The journal's own drain is within.
const STOP_GRACE: Duration = Duration::from_secs(30);

pub(crate) fn run(values: &Values) -> Result<(), Failure> {
    let settings = Settings::read(values)?;
    let screen = Screen::new(settings.json, Terminal::of_the_environment());
    logging::start(&settings.level, settings.json, screen.clone())?;
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    super::block_on(bridge(settings, screen))
}

async fn bridge(settings: Settings, screen: Screen) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let tasks = Tasks::new(Arc::clone(&clock));
    tracing::info!(
        source = %settings.source.source, destination = %settings.destination.destination,
        stream = settings.stream, data_dir = %settings.dir.0.display(),
        "starting"
    );
    let file = StatusFile::new(settings.dir.status(&settings.stream));
    let shared = Shared {
        clock,
        status: StatusNode::root(),
        stop: tasks.stop_token(),
        asked: Asked::default(),
        file,
    };
    shared.begin(&settings.stream);
    shared.watch_signals(&tasks, &screen)?;
    make_dir(&settings.dir.0)?;
    let admin = shared.admin(settings.admin.clone(), settings.controls()).await?;
    let (showing, until) = (Tasks::new(Arc::clone(&shared.clock)), CancellationToken::new());
    let (shown, shown_until) = (shared.show(screen, settings.log_interval), until.clone());
    showing.spawn("show", OnFailure::Report, async move {
        shown.run(shown_until).await;
        Ok(())
    });
    if let Some(admin) = admin {
        let until = until.clone();
        showing.spawn("admin", OnFailure::Report, async move {
            admin.run(until).await;
            Ok(())
        });
    }
    let result = Box::pin(shared.live(settings, &tasks)).await;
    shared.end(&result);
    until.cancel();
    showing.join(STOP_GRACE).await;
    result.map(|ending| ending.log(&shared.asked))
}

/// Read, write and enter for the owner, nothing for others.
const PRIVATE: u32 = 0o700;

/// What shells give a process that a SIGINT ended.
const SECOND_SIGNAL_CODE: i32 = 130;

/// A signal may come twice for one wish: from the terminal and from a shell or a supervisor that hands it on.
const SECOND_SIGNAL_GRACE: Duration = Duration::from_secs(1);

const SECOND_SIGNAL: &str = "ended at once by a second signal, with what was under way unfinished. \
    Nothing is lost: start again to go on";

/// Makes the data directory, for this account alone: it holds every value of the source.
fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(dir);
    made.map_err(|error| Failure {
        exit: Exit::Journal,
        what: format!("make the data directory {}: {error}", dir.display()),
        advice: "name a directory that this account may write by --data-dir".to_owned(),
    })
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
        reader.check_all();
        let source = reader.source(&stream, &dir);
        let destination = reader.destination(&stream, &dir);
        let journal = reader.journal(&stream, &dir);
        let letters = LocalConfig::new(dir.quarantine(&stream), &stream, LETTER_PARTITIONS);
        let (json, level) = (reader.flag("log.json"), reader.log_level());
        let log_interval = reader.duration("log.progress_interval");
        let admin = reader.admin();
        let warnings = reader.finish()?;
        let (Some(source), Some(destination)) = (source, destination) else {
            return Err(Failure::usage("source and destination are not both named"));
        };
        Ok(Self {
            dir,
            stream,
            source,
            destination,
            journal,
            letters,
            admin,
            level,
            json,
            log_interval,
            warnings,
        })
    }
}

impl Settings {
    /// What can be ordered while it runs. To pause a bridge means to write nothing more to the destination: the source
    /// is read on, and the journal has room.
    fn controls(&self) -> Vec<::admin::Control> {
        let apply = self.destination.throttle.clone();
        let capture = self.source.throttle.clone();
        vec![
            ::admin::Control { name: "apply", reads_source: false, throttle: apply },
            ::admin::Control { name: "capture", reads_source: true, throttle: capture },
        ]
    }
}

// === impl Shared ===

impl Shared {
    /// What a server says of itself, where it can be asked, and whether it has answered at all.
    async fn facts(&self, endpoint: &Endpoint) -> (Option<ServerFacts>, bool) {
        let connector = Connector::new(
            endpoint.clone(),
            connector::Settings::default(),
            Arc::clone(&self.clock),
        );
        let Ok(connector) = connector else { return (None, false) };
        let facts = async {
            let mut connection = connector.connect().await.ok()?;
            ServerFacts::gather(&mut connection).await.ok()
        };
        (facts.await, connector.has_answered())
    }

    async fn build_apply(
        &self,
        config: apply::Config,
        journal: &Arc<LocalJournal>,
        letters: &Arc<LocalJournal>,
        answered: bool,
    ) -> Result<apply::Apply, Failure> {
        let parts = apply::Parts {
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(journal) as Arc<dyn Journal>,
            letters: Arc::clone(letters) as Arc<dyn Journal>,
            random: Random::from_entropy(),
            status: self.status.child("apply"),
            answered,
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
        answered: bool,
    ) -> Result<capture::Capture, Failure> {
        let parts = capture::Parts {
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(journal) as Arc<dyn Journal>,
            status: self.status.child("capture"),
            answered,
        };
        let built = capture::Capture::build(config, parts).await;
        built.map_err(|error| Failure::at_start(exit::of_capture_build(&error), &error))
    }

    fn show(&self, screen: Screen, log_interval: Duration) -> Show {
        Show {
            status: self.status.clone(),
            clock: Arc::clone(&self.clock),
            screen,
            file: self.file.clone(),
            log_interval,
        }
    }

    /// Says who runs here.
    fn begin(&self, stream: &str) {
        self.status.set("state", "starting");
        self.status.set("stream", stream);
        let process = self.status.child("process");
        Process::own().show(&process);
        process.set("started_at_ms", runtime::status::Value::Timestamp(self.clock.now_ms()));
    }

    fn watch_signals(&self, tasks: &Tasks, screen: &Screen) -> Result<(), Failure> {
        let mut signals = Signals::install().map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("take over SIGINT, SIGTERM and SIGHUP: {error}"),
            advice: "this is a defect of keyferry: please report it".to_owned(),
        })?;
        let (stop, status, asked) = (self.stop.clone(), self.status.clone(), self.asked.clone());
        let (screen, clock) = (screen.clone(), Arc::clone(&self.clock));
        tasks.spawn("signals", OnFailure::Report, async move {
            let first = signals.next().await;
            tracing::info!(
                signal = first,
                "finishing what is under way; another signal, a second from now or later, ends at once"
            );
            asked.by(first);
            status.set("state", "stopping");
            stop.cancel();
            signals.next_after(SECOND_SIGNAL_GRACE, clock.as_ref()).await;
            // Whatever is under way is as safe as after a crash.
            screen.clear();
            output::note(SECOND_SIGNAL);
            std::process::exit(SECOND_SIGNAL_CODE)
        });
        Ok(())
    }

    /// From opening the journal to having closed it.
    async fn live(&self, settings: Settings, tasks: &Tasks) -> Result<Ending, Failure> {
        let started = tokio::select! {
            biased;
            // What is under way has changed nothing that a crash could not leave as well.
            () = self.stop.cancelled() => return Ok(Ending::default()),
            started = self.start(settings) => started?,
        };
        self.status.set("state", "running");
        let ending = self.run_both(tasks, started.capture, started.apply).await;
        self.status.child("capture").set("phase", "stopped");
        let ending = match ending {
            Ok(ending) => Ok(ending.beside(&*started.journals[0]).await),
            Err(failure) => Err(failure),
        };
        // Dropping them writes and syncs what was accepted.
        let closed = tokio::task::spawn_blocking(|| drop(started.journals));
        self.step("closing the journal", async { closed.await.ok() }).await;
        ending
    }

    async fn start(&self, settings: Settings) -> Result<Started, Failure> {
        let journal = self.step("opening the journal", self.open(settings.journal)).await?;
        self.file.take();
        forget_others(&journal, &settings.destination.name).await?;
        let letters = self.step("opening the quarantine", self.open(settings.letters)).await?;
        let (source, destination) = (&settings.source.source, &settings.destination.destination);
        let existing = settings.destination.existing;
        let connecting = self.refuse_a_loop(source, destination, existing);
        let answered = self.step("connecting to both servers", connecting).await?;
        let apply = self.build_apply(settings.destination, &journal, &letters, answered.1);
        let apply = self.step("checking the destination", apply).await?;
        let origin = Origin::of(settings.dir.origin(&settings.stream));
        let address = settings.source.source.address().to_string();
        let config = capture::Config { recorded_from: origin.read()?, ..settings.source };
        let capture = self.build_capture(config, &journal, answered.0);
        let capture = self.step("finding the place in the source's history", capture).await?;
        origin.write(&address)?;
        Ok(Started { journals: [journal, letters], capture, apply })
    }

    async fn open(&self, config: LocalConfig) -> Result<Arc<LocalJournal>, Failure> {
        let dir = config.dir.clone();
        let parts = LocalParts { clock: Arc::clone(&self.clock) };
        let journal = LocalJournal::open(config, parts).await;
        let journal = journal.map_err(|error| Failure::of(Exit::Journal, &error))?;
        if let Some(cut) = &journal.open_report().cut {
            tracing::warn!(journal = %dir.display(), ?cut, "a torn end was cut off: it is read from the source again");
        }
        Ok(Arc::new(journal))
    }

    /// What is written to a server that is the source, or that the source replicates from, comes back from the source
    /// for ever. Servers that cannot be asked are for the two sides to complain about: tells which have answered.
    async fn refuse_a_loop(
        &self,
        source: &Endpoint,
        destination: &Endpoint,
        existing: apply::Existing,
    ) -> Result<(bool, bool), Failure> {
        let (of_source, source_answered) = self.facts(source).await;
        let (of_destination, destination_answered) = self.facts(destination).await;
        let answered = (source_answered, destination_answered);
        let (Some(of_source), Some(of_destination)) = (of_source, of_destination) else {
            return Ok(answered);
        };
        if let Some(said) = of_destination.refusal_of("INFO") {
            // A server that has to be empty is at least not one whose data is copied.
            if existing != apply::Existing::Fail {
                return Err(untold_loop(source, destination, said));
            }
            tracing::warn!(
                said,
                "the destination does not answer INFO: whether it is the source, or replicates with it, is not known"
            );
        }
        let run_id = |facts: &ServerFacts| facts.run_id.clone();
        let history = |facts: &ServerFacts| Some(facts.replication.as_ref()?.replid.clone());
        let same = |what: &dyn Fn(&ServerFacts) -> Option<String>| {
            what(&of_source).is_some_and(|one| Some(one) == what(&of_destination))
        };
        let refused = |what: &str, advice: &str| {
            let what = format!("{source} and {destination} {what}");
            Err(Failure { exit: Exit::Usage, what, advice: advice.to_owned() })
        };
        if same(&run_id) {
            let advice =
                "name two servers: one that is copied to itself would hear its own writes for ever";
            return refused("are the same server", advice);
        }
        if same(&history) {
            let advice = "end the replication between them (REPLICAOF NO ONE at the replica) first: what is written \
                          to the one would come back from the other for ever";
            return refused(
                "have one replication history: one is a replica of the other, or both of a third",
                advice,
            );
        }
        Ok(answered)
    }

    /// Runs both sides, each on threads of its own, until one fails or a stop is asked for. The first failure is
    /// the outcome.
    async fn run_both(
        &self,
        tasks: &Tasks,
        capture: capture::Capture,
        apply: apply::Apply,
    ) -> Result<Ending, Failure> {
        let (mut wanted, order) = (apply.snapshots_wanted(), capture.transfer_order());
        tasks.spawn("orders", OnFailure::Report, async move {
            // Ends with the side that wants.
            while wanted.changed().await.is_ok() {
                order.give();
            }
            Ok(())
        });
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
        Ok(Ending::of(&captured, applied))
    }
}

/// Whether what is written comes back is not known, and nothing else would show it before data is overwritten.
fn untold_loop(source: &Endpoint, destination: &Endpoint, said: &str) -> Failure {
    let what = format!(
        "{destination} does not tell whether it is {source} itself, or replicates with it: INFO was answered with {said}"
    );
    let user = redis_io::refusal::user_of(&destination.to_string()).to_owned();
    Failure {
        exit: Exit::Destination,
        what,
        advice: format!("Allow it to be asked: ACL SETUSER {user} +info."),
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
