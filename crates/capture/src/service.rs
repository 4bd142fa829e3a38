//! One capture: checks at the start, its tasks while it runs, an orderly end.
//!
//! Guarantees: becomes the journal's writer before it reads where to go on, so that nobody writes
//! in between; after a stop, or after the link has failed for good, what has come is finished,
//! unless the journal takes nothing for [`DRAIN_GRACE`], or says that it cannot.

use std::borrow::Cow;
use std::sync::Arc;

use event::limits;
use journal::{Health, Journal, Writer};
use redis_io::{Connector, connector};
use runtime::tasks::{Failure, Outcome};
use runtime::{Backoff, Clock, OnFailure, Random, StatusNode, Tasks, Trouble, backoff};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wire::rdb;

use crate::beside::{Port, SecondLink, spool_beside};
use crate::config::Config;
use crate::describe::CommandDescriber;
use crate::error::{BuildError, Error, IntakeError};
use crate::heartbeat::{Heartbeater, SourceClock};
use crate::inflow::Inflow;
use crate::intake::{Intake, Place, Reading};
use crate::limits::{DRAIN_GRACE, STALL_GRACE, TRANSACTION_BYTES};
use crate::looks::Looks;
use crate::orders::{
    SnapshotOrder, SnapshotOrders, TransferOrder, TransferOrders, snapshot_orders, transfer_orders,
};
use crate::outlet::{Holdings, Outlet};
use crate::owned::{Owned, SlotsWatch};
use crate::parts;
use crate::piece::{Durable, History};
use crate::progress::Progress;
use crate::reach::reach;
use crate::requests::{Known, Requests};
use crate::resume::{Tail, read_tail};
use crate::session::{Session, SessionConfig, SessionParts};
use crate::source::Source;
use crate::spool::{SpoolReader, SpoolWriter, spool};

/// The task that keeps the link.
const INTAKE: &str = "intake";

/// Why what had come was not recorded before the end.
const NOT_IN_TIME: &str = "the journal did not take in time what had come";
const NO_ROOM: &str =
    "there is no room for what had come (a full disk, or a journal that takes nothing)";

/// What capture works with.
#[derive(Clone)]
pub struct Parts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where events go.
    pub journal: Arc<dyn Journal>,
    /// Where it shows itself.
    pub status: StatusNode,
    /// Whether the source has answered this process already: it is waited for then, where the connection
    /// breaks at the start.
    pub answered: bool,
}

/// A capture that has been set up and not yet started.
pub struct Capture {
    config: Config,
    parts: Parts,
    connector: Connector,
    source: Source,
    owned: Owned,
    tail: Tail,
    outlet: Outlet,
    spool: (SpoolWriter, SpoolReader),
    looks: Looks,
    progress: Arc<Progress>,
    orders: (TransferOrder, TransferOrders),
    snapshots: SnapshotOrder,
    /// Until it starts.
    snapshot_orders: Option<SnapshotOrders>,
}

/// Where a capture stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The offset of the source's history up to which the journal holds everything durably; none: there is no
    /// such place yet, as before the end of a snapshot that is new.
    pub durable_offset: Option<u64>,
    /// Records appended by this run.
    pub records: u64,
    /// Whether everything that had come is in the journal; else it is read from the source again.
    pub complete: bool,
}

// === impl Capture ===

impl Capture {
    /// Connects, checks the source, becomes the journal's writer and finds where to resume. Starts
    /// nothing.
    ///
    /// # Errors
    /// What stands in the way. Only a source that has answered is waited for.
    pub async fn build(config: Config, parts: Parts) -> Result<Self, BuildError> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(BuildError::Settings(problems));
        }
        let settings = connector::Settings {
            client_name: Some(format!("keyferry:capture:{}", config.stream)),
            ..connector::Settings::default()
        };
        let connector = Connector::new(config.source.clone(), settings, Arc::clone(&parts.clock))?;
        let source = reach(&connector, &config, &parts).await?;
        let endpoint = connector.endpoint().to_string();
        let owned = Owned::of(config.shard, &source);
        let writer = Writer(config.shard.unwrap_or_default());
        let appender = parts.journal.appender_of(writer).await?;
        let limit = parts.journal.describe().await?.max_record_bytes;
        if limit < limits::MAX_EVENT_BYTES {
            return Err(BuildError::SmallRecords { limit, needed: limits::MAX_EVENT_BYTES });
        }
        let tail = read_tail(parts.journal.as_ref(), owned.shard).await?;
        owned.fits(&tail, source.node.as_ref())?;
        refuse_another(&config, &source, &tail)?;
        let looks = if owned.is_shard() { Looks::needed() } else { Looks::default() };
        let spool = spool(config.spool.clone(), parts.clock.as_ref(), looks.clone()).await?;
        let outlet = Outlet::new(appender, Holdings::of(&tail)).with_asides(spool.1.asides());
        let progress = Arc::new(Progress::new(&parts.status, spool.0.gauge()));
        parts.status.set("source", endpoint);
        show(&parts.status, &owned);
        progress.set_server(&source.peer.shown);
        let (snapshots, snapshot_orders) = snapshot_orders();
        Ok(Self {
            config,
            parts,
            connector,
            source,
            owned,
            tail,
            outlet,
            spool,
            looks,
            progress,
            orders: transfer_orders(),
            snapshots,
            snapshot_orders: Some(snapshot_orders),
        })
    }

    /// By which a full transfer can be ordered while it runs.
    #[must_use]
    pub fn transfer_order(&self) -> TransferOrder {
        self.orders.0.clone()
    }

    /// By which a snapshot beside the stream can be ordered while it runs, for whoever wants to begin with one.
    #[must_use]
    pub fn snapshot_order(&self) -> SnapshotOrder {
        self.snapshots.clone()
    }

    /// Runs until `stop` is cancelled, then finishes what has been read; ends early only on an
    /// error that no retry helps with.
    ///
    /// # Errors
    /// The first failure of one of its tasks.
    pub async fn run(self, stop: CancellationToken) -> Result<Summary, Error> {
        let clock = Arc::clone(&self.parts.clock);
        let progress = Arc::clone(&self.progress);
        let tasks = Tasks::under(Arc::clone(&clock), &stop);
        let slots = self.slots_watch();
        let (session, link_ended) = self.start(&tasks);
        let health = session.journal_health();
        let given_up = async {
            tokio::select! {
                () = stalled_after(&link_ended, clock.as_ref(), &progress) => NOT_IN_TIME.into(),
                () = overdue(&stop, clock.as_ref()) => NOT_IN_TIME.into(),
                why = stuck(&stop, clock.as_ref(), &progress, &health) => why,
            }
        };
        let result = tokio::select! {
            biased;
            result = session.run(tasks.stop_token()) => Ok(result.map_err(Error::Session)),
            why = given_up => Err(why),
            error = slots.moved() => Ok(Err(Error::Slots(error))),
        };
        tasks.stop_token().cancel();
        let outcome = tasks.join(DRAIN_GRACE).await;
        match (result, failure_of(outcome)) {
            (Ok(Err(error)), _) => Err(error),
            (_, Some(failure)) => Err(failure),
            (Ok(Ok(summary)), None) => Ok(summary),
            (Err(why), None) => {
                tracing::warn!("{why}: what is not recorded is read from the source again");
                let (durable_offset, records) = progress.totals();
                Ok(Summary { durable_offset, records, complete: false })
            }
        }
    }

    /// Starts the tasks around the session: the link, which drains the socket, the heartbeat, and the one that makes
    /// snapshots on demand.
    /// The token is cancelled when the link has ended.
    fn start(mut self, tasks: &Tasks) -> (Session, CancellationToken) {
        let stop = tasks.stop_token();
        let (clock_out, source_clock) = watch::channel(SourceClock::default());
        let (durable_out, durable) = watch::channel(Durable::default());
        let ack_wanted = Arc::new(Notify::new());
        tasks.spawn("heartbeat", OnFailure::Report, self.heartbeater(clock_out).run(stop.clone()));
        let beside = self.start_beside(tasks);
        let clock = &self.parts.clock;
        let shown = (Arc::clone(&self.parts.journal), Arc::clone(clock));
        let shown = parts::Parts::new(&self.parts.status, &self.outlet.recorded(), shown);
        tasks.spawn("partitions", OnFailure::Report, shown.run(stop.clone()));
        let (spool_in, spool_out) = self.spool;
        let intake = Intake {
            connector: self.connector.clone(),
            clock: Arc::clone(clock),
            random: Random::from_entropy(),
            spool: spool_in,
            place: place_of(&self.tail),
            held_offset: self.tail.held_offset(),
            history: History::default(),
            reading: Reading::new(self.config.throttle.gate(Arc::clone(clock))),
            windows: (self.config.reconnect_window, self.config.refused_window),
            was_linked: false,
            down: Trouble::default(),
            durable,
            ack_wanted: Arc::clone(&ack_wanted),
            orders: self.orders.1,
            progress: Arc::clone(&self.progress),
            owned: self.owned.clone(),
        };
        let link_ended = CancellationToken::new();
        let ends = link_ended.clone().drop_guard();
        // A failure stops nothing at once: what is in the spool is finished first.
        tasks.spawn(INTAKE, OnFailure::Keep, async move {
            let result = intake.run(stop).await;
            drop(ends);
            result
        });
        let asking = (self.connector, Arc::clone(clock));
        let describer = describer(asking, &self.config, Arc::clone(&self.progress));
        let inflow = Inflow::new(
            spool_out,
            &self.config.throttle,
            Arc::clone(clock),
            Arc::clone(&self.progress),
        );
        let parts = SessionParts {
            clock: Arc::clone(clock),
            inflow,
            outlet: self.outlet,
            describer,
            progress: self.progress,
            source_clock,
            durable: durable_out,
            ack_wanted,
            order: self.orders.0,
            beside,
        };
        let config = session_config(&self.config, self.owned);
        (Session::new(config, parts, &self.tail, self.source.peer), link_ended)
    }

    /// Starts what makes snapshots on demand, and what hears of readers that want one.
    fn start_beside(&mut self, tasks: &Tasks) -> Port {
        let (stop, clock) = (tasks.stop_token(), &self.parts.clock);
        let gate = || self.config.throttle.gate(Arc::clone(clock));
        let (offers, beside) = Port::new(gate());
        let second_link = SecondLink {
            connector: self.connector.clone(),
            clock: Arc::clone(clock),
            random: Random::from_entropy(),
            orders: self.snapshot_orders.take().expect("it starts once"),
            offers,
            reading: Reading::new(gate()),
            spool: spool_beside(&self.config.spool),
            progress: Arc::clone(&self.progress),
            last_id: 0,
            owned: self.owned.clone(),
            looks: self.looks.clone(),
        };
        tasks.spawn("snapshots-on-demand", OnFailure::Report, second_link.run(stop.clone()));
        let requests = Requests {
            journal: Arc::clone(&self.parts.journal),
            clock: Arc::clone(clock),
            order: self.snapshots.clone(),
            known: Known::default(),
        };
        tasks.spawn("requests", OnFailure::Report, requests.run(stop));
        beside
    }

    fn slots_watch(&self) -> SlotsWatch {
        SlotsWatch {
            connector: self.connector.clone(),
            clock: Arc::clone(&self.parts.clock),
            owned: self.owned.clone(),
            looks: self.looks.clone(),
            progress: Arc::clone(&self.progress),
            windows: (self.config.reconnect_window, self.config.refused_window),
        }
    }

    fn heartbeater(&self, source_clock: watch::Sender<SourceClock>) -> Heartbeater {
        Heartbeater {
            connector: self.connector.clone(),
            clock: Arc::clone(&self.parts.clock),
            key: self.owned.heartbeat_key(&self.config.stream),
            interval: self.config.heartbeat_interval,
            write: self.config.heartbeat,
            source_clock,
            progress: Arc::clone(&self.progress),
        }
    }
}

/// A source at another address that does not go on with what the journal holds would replace it all, at every
/// destination.
fn refuse_another(config: &Config, source: &Source, tail: &Tail) -> Result<(), BuildError> {
    let address = config.source.address().to_string();
    let before = config.recorded_from.as_deref().filter(|before| *before != address);
    let (Some(before), Some(last_id)) = (before, &tail.last_id) else { return Ok(()) };
    if source.ids.contains(last_id) {
        tracing::info!(
            before,
            address,
            "the source has another address, and goes on with its history"
        );
        return Ok(());
    }
    if config.accept_new {
        tracing::warn!(
            before,
            address,
            "another source takes the place of the one before: everything is copied from it"
        );
        return Ok(());
    }
    let (stream, before) = (config.stream.clone(), before.to_owned());
    Err(BuildError::OtherSource { stream, before, address })
}

/// Says which part it is, where it is not all.
fn show(status: &StatusNode, owned: &Owned) {
    if let Some(slots) = &owned.slots {
        status.set("shard", owned.shard.0.to_string());
        status.set("slots", slots.to_string());
    }
}

fn session_config(config: &Config, owned: Owned) -> SessionConfig {
    SessionConfig {
        heartbeat_key: owned.heartbeat_key(&config.stream),
        owned,
        heartbeat_interval: config.heartbeat_interval,
        unsupported: config.unsupported,
        snapshot_limits: rdb::Limits {
            raw_value_bytes: limits::IMAGE_BYTES,
            part_bytes: limits::PART_BYTES,
            ..rdb::Limits::default()
        },
        transaction_bytes: TRANSACTION_BYTES,
    }
}

fn describer(
    asking: (Connector, Arc<dyn Clock>),
    config: &Config,
    progress: Arc<Progress>,
) -> CommandDescriber {
    let window = Some(config.reconnect_window);
    let backoff = Backoff::new(backoff::Settings { window, ..backoff::Settings::default() });
    let backoff = backoff.expect("the defaults are valid");
    CommandDescriber::new(asking, (backoff, config.refused_window), progress)
}

/// Where the link takes up the stream; none: from a full transfer on.
fn place_of(tail: &Tail) -> Option<Place> {
    let point = tail.point.as_ref()?;
    let replication_id = point.replication_id.parse().ok()?;
    Some(Place { replication_id, offset: point.offset })
}

/// Completes when a stop was asked for and the time to finish is over.
async fn overdue(stop: &CancellationToken, clock: &dyn Clock) {
    stop.cancelled().await;
    clock.sleep(DRAIN_GRACE).await;
}

/// Completes when a stop was asked for and nothing can be finished: the disk is full and stays so, the journal takes
/// nothing, or the source does not tell what a command is. Says which.
async fn stuck(
    stop: &CancellationToken,
    clock: &dyn Clock,
    progress: &Progress,
    health: &watch::Receiver<Health>,
) -> Cow<'static, str> {
    stop.cancelled().await;
    let has_no_room = || progress.waits_for_room() || *health.borrow() != Health::Accepting;
    loop {
        let (had_no_room, asked_about) = (has_no_room(), progress.asked_about());
        clock.sleep(STALL_GRACE).await;
        if had_no_room && has_no_room() {
            return NO_ROOM.into();
        }
        if let Some(command) = progress.asked_about().filter(|it| Some(it) == asked_about.as_ref())
        {
            return format!(
                "{command} and what came after it are not recorded, since the source does not tell what the keys of \
                 {command} are"
            )
            .into();
        }
    }
}

/// Completes when the link has ended and what it left is not being recorded any more.
async fn stalled_after(link_ended: &CancellationToken, clock: &dyn Clock, progress: &Progress) {
    link_ended.cancelled().await;
    loop {
        let before = progress.pieces();
        clock.sleep(DRAIN_GRACE).await;
        if progress.pieces() == before {
            return;
        }
    }
}

/// The failure that ended the capture, if one did.
fn failure_of(outcome: Outcome) -> Option<Error> {
    let Outcome { first, others, .. } = outcome;
    let mut failures = first.into_iter().chain(others);
    let failure = failures.find(|failure| failure.task() == INTAKE)?;
    Some(match failure {
        Failure::Error { task, source } => match source.downcast::<IntakeError>() {
            Ok(error) => Error::Intake(*error),
            Err(other) => Error::Task(format!("task {task} failed: {other}")),
        },
        panic @ Failure::Panic { .. } => Error::Task(panic.to_string()),
    })
}
