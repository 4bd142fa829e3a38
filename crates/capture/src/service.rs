//! One capture: checks at the start, its tasks while it runs, an orderly end.

use std::sync::Arc;

use event::{Shard, names};
use journal::Journal;
use redis_io::facts::{Flavour, Role};
use redis_io::replication::Announcement;
use redis_io::{Connector, ServerFacts, connector};
use runtime::tasks::Failure;
use runtime::{Clock, OnFailure, Random, StatusNode, Tasks};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use wire::command::normalise::Era;

use crate::config::Config;
use crate::describe::CommandDescriber;
use crate::error::{BuildError, Error, IntakeError};
use crate::heartbeat::Heartbeater;
use crate::intake::{Intake, Place};
use crate::limits::DRAIN_GRACE;
use crate::outlet::Outlet;
use crate::progress::Progress;
use crate::resume::{Tail, read_tail};
use crate::session::{Session, SessionConfig, SessionParts};
use crate::spool::{SpoolReader, SpoolWriter, spool};

/// The one shard of a source that is not a cluster.
const ONLY_SHARD: Shard = Shard(0);
const ONLY_SHARD_NAME: &str = "0";

/// What capture works with.
#[derive(Clone)]
pub struct Parts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where events go.
    pub journal: Arc<dyn Journal>,
    /// Where it shows itself.
    pub status: StatusNode,
}

/// A capture that has been set up and not yet started.
pub struct Capture {
    config: Config,
    parts: Parts,
    connector: Connector,
    server: Server,
    tail: Tail,
    outlet: Outlet,
    spool: (SpoolWriter, SpoolReader),
    progress: Arc<Progress>,
}

/// Where a capture stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The offset of the source's history up to which the journal holds everything durably.
    pub durable_offset: u64,
    /// Records appended by this run.
    pub records: u64,
}

/// What is known of the source from the start.
#[derive(Clone, Debug)]
struct Server {
    /// Family and version, for people.
    shown: String,
    era: Era,
    /// What to say of ourselves: Valkey chooses the snapshot's format by it.
    announcement: Announcement,
}

// === impl Capture ===

impl Capture {
    /// Connects, checks the source, finds where to resume and becomes the journal's writer. Starts nothing.
    ///
    /// # Errors
    /// What stands in the way; nothing is retried here.
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
        let mut connection = connector.connect().await?;
        let facts = ServerFacts::gather(&mut connection).await?;
        let server = Server::judge(&facts, &config)?;
        let description = parts.journal.describe().await?;
        let tail = read_tail(parts.journal.as_ref(), ONLY_SHARD).await?;
        let appender = parts.journal.appender().await?;
        let partitions = u16::try_from(description.partitions.len()).unwrap_or(u16::MAX);
        let outlet = Outlet::new(appender, partitions, tail.held.clone());
        let spool = spool(config.spool.clone())?;
        let progress = Arc::new(Progress::new(&parts.status, spool.0.gauge()));
        parts.status.set("source", connector.endpoint().to_string());
        parts.status.set("server", server.shown.clone());
        Ok(Self { config, parts, connector, server, tail, outlet, spool, progress })
    }

    /// Runs until `stop` is cancelled, then finishes what has been read; ends early only on an error that no
    /// retry helps with.
    ///
    /// # Errors
    /// The first failure of one of its tasks.
    pub async fn run(self, stop: CancellationToken) -> Result<Summary, Error> {
        let tasks = Tasks::under(Arc::clone(&self.parts.clock), &stop);
        let session = self.start(&tasks);
        let result = session.run(tasks.stop_token()).await;
        tasks.stop_token().cancel();
        let outcome = tasks.join(DRAIN_GRACE).await;
        match (result, outcome.first) {
            (Err(error), _) => Err(Error::Session(error)),
            (Ok(_), Some(failure)) => Err(error_of(failure)),
            (Ok(summary), None) => Ok(summary),
        }
    }

    /// Starts the tasks around the session: the link, which drains the socket, and the heartbeat.
    fn start(self, tasks: &Tasks) -> Session {
        let stop = tasks.stop_token();
        let (skew_out, skew_ms) = watch::channel(None);
        let (durable_out, durable_offset) = watch::channel(0);
        let ack_wanted = Arc::new(Notify::new());
        let (spool_in, spool_out) = self.spool;
        let clock = &self.parts.clock;
        let heartbeater = Heartbeater {
            connector: self.connector.clone(),
            clock: Arc::clone(clock),
            key: names::heartbeat(&self.config.stream),
            interval: self.config.heartbeat_interval,
            write: self.config.heartbeat,
            skew_ms: skew_out,
            progress: Arc::clone(&self.progress),
        };
        tasks.spawn("heartbeat", OnFailure::Report, heartbeater.run(stop.clone()));
        let intake = Intake {
            connector: self.connector.clone(),
            clock: Arc::clone(clock),
            random: Random::from_entropy(),
            spool: spool_in,
            place: place_of(&self.tail),
            held_offset: self.tail.held_offset(),
            announcement: self.server.announcement,
            window: self.config.reconnect_window,
            durable_offset,
            ack_wanted: Arc::clone(&ack_wanted),
            progress: Arc::clone(&self.progress),
        };
        tasks.spawn("intake", OnFailure::StopAll, intake.run(stop));
        let config = SessionConfig {
            shard: ONLY_SHARD,
            shard_name: ONLY_SHARD_NAME.to_owned(),
            server: self.server.shown,
            era: self.server.era,
            heartbeat_key: names::heartbeat(&self.config.stream),
            heartbeat_interval: self.config.heartbeat_interval,
            heartbeats: self.config.heartbeat,
        };
        let parts = SessionParts {
            clock: self.parts.clock,
            spool: spool_out,
            outlet: self.outlet,
            describer: CommandDescriber::new(self.connector),
            progress: self.progress,
            skew_ms,
            durable_offset: durable_out,
            ack_wanted,
        };
        Session::new(config, parts, &self.tail)
    }
}

/// Where the link takes up the stream; none: from a full transfer on.
fn place_of(tail: &Tail) -> Option<Place> {
    let point = tail.point.as_ref()?;
    let replication_id = point.replication_id.parse().ok()?;
    Some(Place { replication_id, offset: point.offset })
}

/// A task's failure as the error it stands for.
fn error_of(failure: Failure) -> Error {
    match failure {
        Failure::Error { task, source } => match source.downcast::<IntakeError>() {
            Ok(error) => Error::Intake(*error),
            Err(other) => Error::Task(format!("task {task} failed: {other}")),
        },
        panic @ Failure::Panic { .. } => Error::Task(panic.to_string()),
    }
}

// === impl Server ===

impl Server {
    /// What the source is, if it is one that can be read.
    fn judge(facts: &ServerFacts, config: &Config) -> Result<Self, BuildError> {
        let unfit =
            |what: String| Err(BuildError::Unfit { endpoint: config.source.to_string(), what });
        let flavour = match &facts.flavour {
            Some(Flavour::Valkey) => "valkey",
            Some(Flavour::Other(name)) => name,
            Some(Flavour::Redis) | None => "redis",
        };
        match &facts.role {
            Some(Role::Sentinel) => {
                return unfit("it is a sentinel, which holds no data".to_owned());
            }
            Some(Role::Replica { .. }) if facts.replica_read_only == Some(false) => {
                return unfit(
                    "it is a replica that takes writes of its own, which it does not replicate"
                        .to_owned(),
                );
            }
            _ => {}
        }
        if facts.cluster_enabled == Some(true) {
            return unfit("it is a node of a cluster, which this version does not read".to_owned());
        }
        let Some(version) = facts.version else {
            return unfit("it does not tell its version: allow INFO to the account".to_owned());
        };
        let is_valkey = facts.flavour == Some(Flavour::Valkey);
        let era = match version.major {
            _ if is_valkey => Era::V7_0,
            0..=4 => Era::V2_8,
            5 | 6 => Era::V5_0,
            _ => Era::V7_0,
        };
        let announcement = Announcement::for_server(facts);
        Ok(Self { shown: format!("{flavour} {version}"), era, announcement })
    }
}
