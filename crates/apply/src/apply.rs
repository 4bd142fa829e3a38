//! The apply service of one destination: built, run, drained.

use std::sync::Arc;
use std::time::Duration;

use journal::{Description, Journal, Partition};
use redis_io::{Connector, Settings};
use runtime::{Clock, OnFailure, Random, StatusNode, Tasks, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{BuildError, Error};
use crate::lane::{Lane, Link, Stopped, Tools};
use crate::names::Names;
use crate::quarantine::store::Letters;
use crate::scope::Scope;
use crate::{checkpoint, existing, import, limits, policy, rights};

/// What an apply service is made of, besides its settings.
pub struct Parts {
    /// The stream to apply.
    pub journal: Arc<dyn Journal>,
    /// Where dead letters go: a stream of its own with at least one partition. The service becomes its writer.
    pub letters: Arc<dyn Journal>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub random: Random,
    /// What the service says about itself.
    pub status: StatusNode,
    /// Whether the destination has answered this process already: it is waited for then, where the connection breaks
    /// at the start.
    pub answered: bool,
}

/// The apply service of one destination.
pub struct Apply {
    lanes: Vec<Lane>,
    config: Arc<Config>,
    connector: Connector,
    clock: Arc<dyn Clock>,
    wanted: watch::Receiver<u64>,
}

/// Where a service stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Each lane.
    pub lanes: Vec<Stopped>,
}

/// How long lanes may take to finish what is under way when one of several has failed.
const GRACE: Duration = Duration::from_secs(30);

// === impl Apply ===

impl Apply {
    /// Connects and checks; starts nothing and writes nothing at the destination.
    ///
    /// # Errors
    /// Settings that cannot be, a destination or a journal that cannot be used, data that is there already.
    pub async fn build(config: Config, parts: Parts) -> Result<Self, BuildError> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(BuildError::Settings(problems));
        }
        let Parts { journal, letters, clock, mut random, status, answered } = parts;
        let connector = connector(&config, Arc::clone(&clock))?;
        let description = journal.describe().await.map_err(Error::from)?;
        let scopes = vec![Scope::all(&description)];
        let mut reaching =
            Reaching { config: &config, clock: clock.as_ref(), status: &status, answered };
        reaching.reach(&connector, &scopes, &mut random).await?;
        enter(&*journal, &description, &config.name).await;
        status.set("destination", config.name.clone());
        status.set("stream", description.stream.clone());
        let letters = Arc::new(Letters::open(letters).await?);
        let config = Arc::new(config);
        let (ask, wanted) = watch::channel(0);
        let clock_of_lanes = Arc::clone(&clock);
        let tools = Tools {
            config: Arc::clone(&config),
            connector: connector.clone(),
            journal,
            letters,
            clock: clock_of_lanes,
            wanted: ask,
        };
        let lanes = scopes
            .into_iter()
            .map(|scope| Lane::new(scope, tools.clone(), random.fork(), &status))
            .collect();
        Ok(Self { lanes, config, connector, clock, wanted })
    }

    /// Counts how often a new snapshot of the source was wanted: where its history goes on without what was applied,
    /// nothing else leads on. Whoever runs the capture too hands that on; until a snapshot comes, lanes wait.
    #[must_use]
    pub fn snapshots_wanted(&self) -> watch::Receiver<u64> {
        self.wanted.clone()
    }

    /// Applies until `stop` is cancelled, then finishes the batches under way and says where it stopped.
    ///
    /// # Errors
    /// What no lane can wait for: the first that failed. The others are stopped in good order.
    pub async fn run(self, stop: CancellationToken) -> Result<Summary, Error> {
        let tasks = Tasks::under(Arc::clone(&self.clock), &stop);
        let (results, mut ended) = tokio::sync::mpsc::channel(self.lanes.len().max(1));
        for lane in self.lanes {
            let (results, stop) = (results.clone(), tasks.stop_token());
            tasks.spawn(lane.name(), OnFailure::StopAll, async move {
                let result = Box::pin(lane.run(stop)).await;
                let failed = result.is_err();
                // The receiver lives until every lane has ended.
                results.send(result).await.ok();
                if failed { Err("the lane has failed".into()) } else { Ok(()) }
            });
        }
        drop(results);
        let outcome = tasks.join(GRACE).await;
        if self.config.import_mode {
            end_import(&self.connector).await;
        }
        let (mut summary, mut first) = (Summary::default(), None);
        while let Some(result) = ended.recv().await {
            match result {
                Ok(stopped) => summary.lanes.push(stopped),
                Err(error) => first = first.or(Some(error)),
            }
        }
        if let Some(panicked) = outcome.first.filter(|_| first.is_none()) {
            return Err(Error::Lane { what: panicked.to_string() });
        }
        match first {
            Some(error) => Err(error),
            None if !outcome.stuck.is_empty() => Err(Error::Unanswered),
            None => Ok(summary),
        }
    }
}

/// Has the journal keep everything for a reader that it does not know: what this one needs is released later, with its
/// checkpoints.
async fn enter(journal: &dyn Journal, description: &Description, name: &str) {
    if description.readers.iter().any(|reader| reader.name == name) {
        return;
    }
    let starts = (0..).map(Partition).zip(description.partitions.iter().map(|range| range.start));
    if let Err(error) = journal.release(name, starts.collect()).await {
        tracing::warn!(
            error = %chain(&error),
            "the journal did not take note of its reader: it may forget records before they are read"
        );
    }
}

/// Ends the import mode of a destination that knows it.
async fn end_import(connector: &Connector) {
    if let Err(error) = import::end(connector).await {
        tracing::warn!(
            error = %chain(&error),
            "the destination may still be in import mode, where nothing expires: CONFIG SET import-mode no ends it"
        );
    }
}

/// Opens connections to a destination.
pub(crate) fn connector(config: &Config, clock: Arc<dyn Clock>) -> Result<Connector, Error> {
    let settings = Settings {
        connect_timeout: limits::CONNECT_TIMEOUT,
        patience: config.reply_timeout,
        ..Settings::default()
    };
    Ok(Connector::new(config.destination.clone(), settings, clock)?)
}

/// What is needed to wait for a destination that has answered.
struct Reaching<'a> {
    config: &'a Config,
    clock: &'a dyn Clock,
    status: &'a StatusNode,
    answered: bool,
}

// === impl Reaching ===

impl Reaching<'_> {
    /// Looks whether the lanes could begin. A destination that has never answered is not waited for, since a mistake in
    /// the settings looks just so; one that has answered is, like later, when the connection breaks.
    async fn reach(
        &mut self,
        connector: &Connector,
        scopes: &[Scope],
        random: &mut Random,
    ) -> Result<(), Error> {
        let mut backoff = policy::backoff();
        loop {
            let begun = self.clock.monotonic();
            let Err(error) = check_destination(connector, self.config, scopes).await else {
                self.status.unset("trouble");
                return Ok(());
            };
            backoff.charge(self.clock.monotonic().saturating_sub(begun));
            self.answered |= connector.has_answered();
            // Who is there and what it holds is for people to put right.
            if !self.answered || !matches!(error, Error::Connection(_)) {
                return Err(error);
            }
            let wait = policy::wait((&error, false), &self.config.windows, &mut backoff, random);
            let Some(wait) = wait else {
                return Err(policy::given_up((error, false), &backoff));
            };
            tracing::warn!(error = %chain(&error), ?wait, "the destination has answered and does not any more");
            self.status.set("trouble", chain(&error));
            self.clock.sleep(wait).await;
        }
    }
}

/// Looks whether the lanes could begin. Data that is there is in order once one of them has been at work.
async fn check_destination(
    connector: &Connector,
    config: &Config,
    scopes: &[Scope],
) -> Result<(), Error> {
    let mut link = Link::open(connector, config).await?;
    if let Some(scope) = scopes.first() {
        rights::check(&mut link.connection, &Names::new(scope)).await?;
    }
    existing::check_mapping(&link, config)?;
    let mut begun = false;
    for scope in scopes {
        let connection = &mut link.connection;
        let known = checkpoint::read(connection, scope, &Names::new(scope), config).await?;
        begun |= known.iter().next().is_some();
    }
    match scopes.first() {
        Some(scope) if !begun => existing::check(&mut link, config, &Names::new(scope)).await,
        _ => Ok(()),
    }
}
