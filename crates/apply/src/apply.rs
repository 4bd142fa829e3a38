//! The apply service of one destination: built, run, drained.

use std::sync::Arc;

use journal::{Description, Journal, Offset, Partition};
use redis_io::{Connector, Settings};
use runtime::{Clock, Random, StatusNode, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Existing};
use crate::error::{BuildError, Error};
use crate::import::Presence;
use crate::lane::{Link, Stopped, Tools};
use crate::names::Names;
use crate::quarantine::store::{Letters, Place};
use crate::scope::Scope;
use crate::shift::Shift;
use crate::target::{self, Target};
use crate::{checkpoint, existing, limits, policy, rights};

/// What an apply service is made of, besides its settings.
pub struct Parts {
    /// The stream to apply.
    pub journal: Arc<dyn Journal>,
    /// Where dead letters go.
    pub letters: DeadLetters,
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

/// The journal of dead letters: a stream of its own with at least one partition.
#[derive(Clone)]
pub struct DeadLetters {
    /// The stream. The service becomes its writer, or one of them.
    pub journal: Arc<dyn Journal>,
    /// Whether other destinations, and other processes of this one, have their letters there, too.
    pub is_shared: bool,
}

/// The apply service of one destination.
pub struct Apply {
    tools: Tools,
    /// All of the stream.
    scope: Scope,
    random: Random,
    status: StatusNode,
    wanted: watch::Receiver<u64>,
    needs: watch::Receiver<Option<u64>>,
}

/// Where a service stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The lane of the partitions that it had at the end, if it had any.
    pub lane: Option<Stopped>,
}

// === impl Apply ===

impl Apply {
    /// Connects and checks; starts nothing and writes nothing at the destination.
    ///
    /// # Errors
    /// Settings that cannot be, a destination or a journal that cannot be used, data that is there already.
    pub async fn build(mut config: Config, parts: Parts) -> Result<Self, BuildError> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(BuildError::Settings(problems));
        }
        let Parts { journal, letters, clock, mut random, status, answered } = parts;
        let connector = connector(&config, Arc::clone(&clock))?;
        let description = journal.describe().await.map_err(Error::from)?;
        let scope = Scope::all(&description);
        let mut reaching =
            Reaching { config: &config, clock: clock.as_ref(), status: &status, answered };
        let begun = reaching.reach(&connector, &scope, &mut random).await?;
        if config.replay.is_none() {
            if begun.is_none() {
                warn_of_a_namesake(&description, &config);
            }
            enter(&*journal, &description, &config.name).await;
        }
        config.existing = begun.unwrap_or(config.existing);
        status.set("destination", config.name.clone());
        status.set("stream", description.stream.clone());
        let addressee = if letters.is_shared { config.name.as_str() } else { "" };
        let place = Place { status: status.clone(), clock: Arc::clone(&clock) };
        let letters = Arc::new(Letters::open(letters.journal, addressee, place).await?);
        let (ask, wanted) = watch::channel(0);
        let config = Arc::new(config);
        let begun = Arc::default();
        let (need, needs) = watch::channel(None);
        let number = random.next_u64();
        let presence = Arc::new(Presence::new(connector.clone(), Arc::clone(&clock), number));
        let tools = Tools {
            config,
            connector,
            journal,
            letters,
            clock,
            wanted: ask,
            needs: need,
            presence,
            begun,
        };
        Ok(Self { tools, scope, random, status, wanted, needs })
    }

    /// Counts how often a new snapshot of the source was wanted: where its history goes on without what was applied,
    /// nothing else leads on. Whoever runs the capture too hands that on; until a snapshot comes, lanes wait.
    #[must_use]
    pub fn snapshots_wanted(&self) -> watch::Receiver<u64> {
        self.wanted.clone()
    }

    /// Whether a snapshot is needed that the journal does not hold: for as long as that is so, whoever runs the service
    /// asks the stream's writer for one, again and again. The number grows where what came of it has gone: then it is
    /// asked for anew.
    #[must_use]
    pub fn needs_snapshot(&self) -> watch::Receiver<Option<u64>> {
        self.needs.clone()
    }

    /// Applies the partitions that it gets until `stop` is cancelled, then finishes what is under way, hands them on
    /// and says where it stopped.
    ///
    /// # Errors
    /// What cannot be waited for.
    pub async fn run(mut self, stop: CancellationToken) -> Result<Summary, Error> {
        let shift = Shift::new((&self.tools, &self.scope), &mut self.random, &self.status, stop);
        if !self.tools.config.import_mode {
            return Ok(Summary { lane: shift.run().await? });
        }
        let (presence, over) = (&self.tools.presence, CancellationToken::new());
        let work = async {
            let result = shift.run().await;
            over.cancel();
            result
        };
        let (result, ()) = tokio::join!(work, presence.show(&over));
        end_import(presence).await;
        Ok(Summary { lane: result? })
    }
}

/// Says so where the destination knows nothing of the stream, and yet who reads the journal under its name has come on.
fn warn_of_a_namesake(description: &Description, config: &Config) {
    let starts: Vec<u64> = description.partitions.iter().map(|range| range.start.0).collect();
    let has_come_on = |(partition, offset): &(Partition, Offset)| {
        starts.get(usize::from(partition.0)).is_some_and(|start| offset.0 > *start)
    };
    let mut namesakes = description.readers.iter().filter(|reader| reader.name == config.name);
    if namesakes.any(|reader| reader.released.iter().any(has_come_on)) {
        tracing::warn!(
            name = config.name,
            "the journal has been read under this name, and the destination has no checkpoint of it: it was emptied, or \
             the name is another destination's, and each then gets only a part of the changes. Give each a name of its \
             own (destination.name)"
        );
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

/// Ends the import mode of the destination, unless others feed it.
async fn end_import(presence: &Presence) {
    if let Err(error) = presence.end().await {
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
    /// Looks whether the lanes could begin; where they have begun, gives what holds of data that is not the stream's. A
    /// destination that has never answered is not waited for, since a mistake in the settings looks just so; one that has
    /// answered is, like later, when the connection breaks.
    async fn reach(
        &mut self,
        connector: &Connector,
        scope: &Scope,
        random: &mut Random,
    ) -> Result<Option<Existing>, Error> {
        let mut backoff = policy::backoff();
        loop {
            let begun = self.clock.monotonic();
            let error = match check_destination(connector, self.config, scope).await {
                Ok(begun) => {
                    self.status.unset("trouble");
                    return Ok(begun);
                }
                Err(error) => error,
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

/// Looks whether a lane could begin. Data that is there is in order once one has been at work: then it says what holds of
/// what is not the stream's.
async fn check_destination(
    connector: &Connector,
    config: &Config,
    scope: &Scope,
) -> Result<Option<Existing>, Error> {
    let mut link = Link::open(connector, config).await?;
    let names = Names::new(scope);
    let imports = config.import_mode && Target::of(&link.facts).can(target::IMPORT_MODE);
    rights::check(&mut link.connection, &names, imports).await?;
    existing::check_mapping(&link, config)?;
    match (has_begun(&mut link, scope, config).await?, &config.replay) {
        (None, _) => {}
        // Over what later changes have left, earlier ones do not give what they gave: only a sweep makes that good.
        (Some(_), Some(_)) if config.existing != Existing::Sweep => {
            let endpoint = link.connection.endpoint().to_string();
            return Err(Error::HasBegun { endpoint, stream: scope.stream.clone() });
        }
        (begun, _) => return Ok(begun),
    }
    let Err(error) = existing::check(&mut link, config, &names).await else {
        return Ok(None);
    };
    if !matches!(error, Error::Existing { .. }) || config.replay.is_some() {
        return Err(error);
    }
    // What is there may have come from another process meanwhile, with its checkpoint.
    has_begun(&mut link, scope, config).await?.ok_or(error).map(Some)
}

/// What holds of data that is not the stream's at a destination that has a checkpoint of it; none: it has not.
async fn has_begun(
    link: &mut Link,
    scope: &Scope,
    config: &Config,
) -> Result<Option<Existing>, Error> {
    let names = Names::new(scope);
    let known = checkpoint::read(&mut link.connection, scope, &names, config).await?;
    Ok(known.iter().next().is_some().then(|| known.lasting(config.existing)))
}
