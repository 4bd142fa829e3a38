//! `keyferry run`, `capture` and `apply`: the sides of the way from a source to a destination, in one process or two.

mod admin;
mod asking;
mod capturing;
mod ending;
mod leftovers;
mod opening;
mod origin;
mod place;
mod replay;
mod servers;
mod settings;
mod sides;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use apply::DeadLetters;
use futures::future::OptionFuture;
use journal::Journal;
use runtime::{Clock, OnFailure, Random, StatusNode, SystemClock, Tasks, signal::Signals};
use tokio_util::sync::CancellationToken;

use self::asking::Asking;
use self::capturing::Capturing;
use self::ending::{Asked, Ending};
use self::opening::{Lock, make_dir};
use self::origin::Origin;
use self::settings::Settings;
use super::reading;
use crate::exit::{self, Exit, Failure};
use crate::life::Process;
use crate::options::layers::Values;
use crate::role::Role;
use crate::show::{Screen, Show, StatusFile, Terminal};
use crate::{logging, output};

pub(crate) use self::replay::run as replay;

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
    journal: Arc<dyn Journal>,
    /// Of the quarantine.
    letters: Option<DeadLetters>,
    capturing: Option<Capturing>,
    apply: Option<apply::Apply>,
    asking: Option<Asking>,
    /// What no other process may use, or remove, meanwhile.
    locks: Vec<Lock>,
}

/// How long the two sides may take to finish what is under way. The journal's own drain is within.
const STOP_GRACE: Duration = Duration::from_secs(30);

pub(crate) fn run(values: &Values, role: Role) -> Result<(), Failure> {
    begin(Settings::read(values, role)?)
}

fn begin(settings: Settings) -> Result<(), Failure> {
    let screen = Screen::new(settings.json, Terminal::of_the_environment());
    logging::start(&settings.level, settings.json, screen.clone())?;
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    super::block_on(bridge(settings, screen))
}

async fn bridge(settings: Settings, screen: Screen) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let tasks = Tasks::new(Arc::clone(&clock));
    let file = StatusFile::new(settings.dir.status(&settings.stream, settings.role));
    let shared = Shared {
        clock,
        status: StatusNode::root(),
        stop: tasks.stop_token(),
        asked: Asked::default(),
        file,
    };
    shared.begin(&settings);
    shared.watch_signals(&tasks, &screen)?;
    tracing::info!(
        source = settings.source.as_ref().map(|config| display(&config.source)),
        destination = settings.destination.as_ref().map(|config| display(&config.destination)),
        journal = settings.journal.place(),
        stream = settings.stream, data_dir = %settings.dir.0.display(),
        "starting"
    );
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

// === impl Shared ===

impl Shared {
    async fn build_apply(
        &self,
        config: apply::Config,
        journal: &Arc<dyn Journal>,
        letters: &DeadLetters,
        answered: bool,
    ) -> Result<apply::Apply, Failure> {
        let parts = apply::Parts {
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(journal),
            letters: letters.clone(),
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

    async fn begin_capture(
        &self,
        config: capture::Config,
        journal: &Arc<dyn Journal>,
        origin: Origin,
        answered: bool,
    ) -> Result<Capturing, Failure> {
        let parts = capture::Parts {
            clock: Arc::clone(&self.clock),
            journal: Arc::clone(journal),
            status: self.status.child(capturing::SIDE),
            answered,
        };
        Capturing::begin(config, parts, self.status.clone(), origin).await
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
    fn begin(&self, settings: &Settings) {
        self.status.set("state", "starting");
        self.status.set("stream", settings.stream.as_str());
        self.status.set("role", settings.role.name());
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
        let Started { journal, letters, capturing, apply, asking, locks } = started;
        let captures = capturing.is_some();
        let ending = self.run_sides(tasks, capturing, apply, asking).await;
        if captures {
            self.status.child(capturing::SIDE).set("phase", "stopped");
        }
        let ending = match ending {
            Ok(ending) => Ok(ending.beside(&*journal, &*self.clock).await),
            Err(failure) => Err(failure),
        };
        // Dropping them writes and syncs what was accepted.
        let closed = tokio::task::spawn_blocking(|| drop((journal, letters, locks)));
        self.step("closing the journal", async { closed.await.ok() }).await;
        ending
    }

    async fn start(&self, settings: Settings) -> Result<Started, Failure> {
        let name = settings.destination.as_ref().map(|config| config.name.as_str());
        let is_shared = settings.journal.is_shared();
        let letters = settings.journal.letters(settings.letters);
        let replays = settings.replay.is_some();
        let opening = async {
            match replays {
                true => reading::open(settings.journal, Arc::clone(&self.clock)).await,
                false if settings.role.captures() => self.open(settings.journal, name).await,
                false => self.open(settings.journal.of_a_reader(), name).await,
            }
        };
        let journal = self.step("opening the journal", opening).await?;
        let lock = settings.dir.lock(&settings.stream, settings.role);
        let lock = (is_shared && !replays).then(|| Lock::take(&lock, settings.role)).transpose()?;
        let mut locks = Vec::from_iter(lock);
        if settings.role.captures() {
            self.file.take();
        }
        let (letters, offered) = match name {
            Some(name) => {
                let opening = self.open_letters(letters, name, settings.replay.as_ref());
                (Some(self.step("opening the quarantine", opening).await?), None)
            }
            None => (None, Some(letters)),
        };
        // Whoever has the letters, or the lock where these are shared, is the only apply here.
        self.file.take();
        if settings.role.applies() {
            let clearing = leftovers::clear_marks(&settings.dir, &settings.stream);
            locks.push(self.step("clearing the data directory", clearing).await?);
        }
        let mut answered = (false, false);
        if let (Some(from), Some(to)) = (&settings.source, &settings.destination) {
            let connecting = self.refuse_a_loop(&from.source, &to.destination, to.existing);
            answered = self.step("connecting to both servers", connecting).await?;
        }
        let asking = name.filter(|_| settings.asks).map(|name| Asking {
            journal: Arc::clone(&journal),
            clock: Arc::clone(&self.clock),
            destination: name.to_owned(),
        });
        let apply = match settings.destination.zip(letters.as_ref()) {
            Some((mut config, letters)) => {
                if let Some(wanted) = &settings.replay {
                    let planning = wanted.plan(&*journal);
                    let step = "finding the snapshot to begin with";
                    config.replay = Some(self.step(step, planning).await?);
                }
                let apply = self.build_apply(config, &journal, letters, answered.1);
                Some(self.step("checking the destination", apply).await?)
            }
            None => None,
        };
        let beginning = settings.source.map(|config| {
            let origin = Origin::of(settings.dir.origin(&settings.stream));
            let capture = self.begin_capture(config, &journal, origin, answered.0);
            self.step("finding the place in the source's history", capture)
        });
        let offering = offered.map(|letters| self.offer_letters(letters));
        let (capturing, _) =
            tokio::join!(OptionFuture::from(beginning), OptionFuture::from(offering));
        let capturing = capturing.transpose()?;
        Ok(Started { journal, letters, capturing, apply, asking, locks })
    }
}
