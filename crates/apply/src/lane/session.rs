//! The beginning of a session: connect, look who is there, take over, find out where to go on.

use std::sync::Arc;

use journal::{Description, ReadError, Reader};
use redis_io::facts::Role;
use redis_io::{Connection, ServerFacts};
use tokio_util::sync::CancellationToken;
use wire::resp::encode::Decimal;

use super::begin::Begin;
use super::pump::{Pump, Standing};
use super::start::{Start, start};
use super::status::Phase;
use super::{Lane, claim};
use crate::checkpoint::{self, Checkpoints};
use crate::config::{Config, Existing};
use crate::error::Error;
use crate::import;
use crate::names::Names;
use crate::plan::{Planner, Rules};
use crate::progress::Progress;
use crate::quarantine::set::Spot;
use crate::quarantine::shelf::pairs;
use crate::replay::Cut;
use crate::scope::Scope;
use crate::survey::Survey;
use crate::target::{self, Target};

/// A connection that may be written, and who is at the other end.
#[derive(Debug)]
pub(crate) struct Link {
    /// The connection, in the database of the checkpoint.
    pub(crate) connection: Connection,
    /// Facts about the server.
    pub(crate) facts: ServerFacts,
}

// === impl Link ===

impl Link {
    /// Connects and checks that the server takes writes.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) async fn open(
        connector: &redis_io::Connector,
        config: &Config,
    ) -> Result<Self, Error> {
        let mut connection = connector.connect().await?;
        let mut facts = ServerFacts::gather(&mut connection).await?;
        facts.ask_again(&mut connection).await?;
        let unfit = |what| Error::Unfit { endpoint: connector.endpoint().to_string(), what };
        let untold = |what: &str| Error::untold(connector.endpoint().to_string(), what.to_owned());
        match &facts.role {
            Some(Role::Replica { .. }) => return Err(unfit("is a replica")),
            Some(Role::Sentinel) => return Err(unfit("is a sentinel")),
            Some(Role::Primary { .. }) => {}
            None => return Err(untold("whether it is a primary")),
        }
        let Some(version) = facts.version else { return Err(untold("its version")) };
        if !Target::of(&facts).can(target::ABSTTL) {
            return Err(Error::TooOld { endpoint: connector.endpoint().to_string(), version });
        }
        match facts.cluster_enabled {
            Some(false) => {}
            Some(true) => {
                return Err(unfit("is a node of a cluster, which this version does not write to"));
            }
            None => return Err(untold("whether it is a node of a cluster")),
        }
        let db = Decimal::from(u64::from(config.checkpoint_db));
        connection.call([b"SELECT".as_slice(), db.as_ref()]).await?;
        Ok(Self { connection, facts })
    }
}

// === impl Lane ===

impl Lane {
    /// One session: from connecting to stopping, or to what makes it fail.
    pub(super) async fn session(&mut self, stop: &CancellationToken) -> Result<Progress, Error> {
        self.status.phase(Phase::Starting);
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(self.memory.stood.first().cloned().unwrap_or_default()),
            opened = self.open() => opened?,
        };
        let Self { scope, names, tools, status, memory, .. } = self;
        memory.opened = true;
        tools.needs.send_if_modified(|needs| needs.take().is_some());
        let pump = Pump::new(scope, names, tools, status, (memory, opened, stop.clone()));
        let ended = Box::pin(pump.run()).await;
        tools.letters.forget_trouble();
        ended
    }

    async fn open(&mut self) -> Result<Standing, Error> {
        let Self { scope, names, tools, memory, random, .. } = self;
        let mut link = Link::open(&tools.connector, &tools.config).await?;
        let config = &tools.config;
        let before = checkpoint::read(&mut link.connection, scope, names, config).await?;
        if memory.had_checkpoint.iter().any(|track| !before.has(*track)) {
            let endpoint = link.connection.endpoint().to_string();
            return Err(Error::CheckpointGone { endpoint });
        }
        let owner =
            claim::claim(&mut link.connection, (scope, names), &mut memory.claim, random).await?;
        let mut known = checkpoint::read(&mut link.connection, scope, names, config).await?;
        if config.replay.is_some() {
            let begun = tools.begun.lock();
            known.forget(|track| !begun.contains(&scope.span(track).0));
        }
        let description = tools.journal.describe().await?;
        let mut start = start(tools, &description, (scope, &known), memory).await?;
        let imports =
            import::begin(&mut link.connection, (config, &link.facts), &tools.presence).await?;
        self.status.imports(imports);
        let existing = known.lasting(tools.config.existing);
        let mut planner = self.planner(&link, &mut start, existing);
        if imports {
            planner.rules.trust_import_mode();
        }
        planner.held.load(load_held(&mut link.connection, (&self.names, &known)).await?);
        let reader = self.reader(&mut planner, &description).await?;
        self.memory.had_checkpoint.extend(known.iter().map(|(track, _)| track));
        let cut = self.cut(&planner, &description);
        let mut stored_from = planner.progress.needed.clone();
        let stored = known.progress(&self.scope, &stored_from).needed;
        stored_from.iter_mut().zip(stored).for_each(|(from, stored)| *from = stored.min(*from));
        Ok(Standing {
            connection: link.connection,
            owner,
            executed: planner.progress.clone(),
            planner,
            reader,
            judged: start.judged,
            anew: start.fresh,
            durable: durable(&description, &self.scope),
            stored_from,
            stored: known,
            cut,
        })
    }

    /// Up to where a replay takes records: the journal's end is where it was when that began.
    fn cut(&mut self, planner: &Planner, description: &Description) -> Option<Cut> {
        let until = self.tools.config.replay.as_ref()?.until();
        let range = |number: &u16| description.partitions.get(usize::from(*number));
        let ends = self.scope.numbers.iter().map(|number| range(number).map_or(0, |of| of.end.0));
        let ends = self.memory.ends.get_or_insert_with(|| ends.collect());
        Some(Cut::new(until, ends.clone(), planner.next()))
    }

    fn planner(&mut self, link: &Link, start: &mut Start, existing: Existing) -> Planner {
        let config = &self.tools.config;
        let mut rules = Rules::new(config, self.names.clone(), &link.facts);
        rules.take_existing(existing);
        let marks = std::mem::take(&mut self.memory.marks);
        let mut planner = Planner::new(rules, &self.scope, start.progress.clone(), marks);
        planner.floor.clone_from(&start.floor);
        planner.from_nothing = start.from_nothing;
        planner.doubt = std::mem::take(&mut start.doubt);
        planner.deadlines = std::mem::take(&mut self.memory.deadlines);
        planner.refused = std::mem::take(&mut self.memory.refused);
        for (shard, slots) in std::mem::take(&mut start.slots) {
            planner.know_slots(shard, slots);
        }
        planner
    }

    /// Opens the journal where the session begins; at its newest snapshot, if what is needed has left it, or if the
    /// source's history goes on without what was applied.
    async fn reader(
        &mut self,
        planner: &mut Planner,
        description: &Description,
    ) -> Result<Box<dyn Reader>, Error> {
        let journal = Arc::clone(&self.tools.journal);
        let progress = &planner.progress;
        let had_begun = !progress.applied.is_empty() || !progress.resyncs.is_empty();
        let opened = journal.reader(self.scope.offsets(&planner.progress.needed)).await;
        let (beyond, behind) = (self.memory.beyond.take(), self.memory.left_behind.take());
        let why = match (opened, beyond) {
            (Ok(reader), None) => match behind {
                Some(position) => Error::LeftBehind { position },
                None => return Ok(reader),
            },
            (Err(lost @ ReadError::OutOfRetention { .. }), _) if had_begun => {
                if !self.tools.config.heal || self.tools.config.replay.is_some() {
                    let endpoint = self.tools.connector.endpoint().to_string();
                    return Err(Error::PlaceGone { endpoint, why: lost });
                }
                Error::from(lost)
            }
            (Err(error), _) => return Err(error.into()),
            (Ok(_), Some((applied, branch_offset))) => {
                Error::ResyncNeeded { applied, branch_offset }
            }
        };
        let begin =
            Begin::newest(&mut self.memory.survey, (&*journal, description), &self.scope).await;
        // Which shard's history goes on without what was applied.
        let beyond = match &why {
            Error::ResyncNeeded { applied, .. } => Some(applied.shard),
            _ => None,
        };
        let applied = &planner.progress.applied;
        let leads_on = |begin: &Begin| begin.leads_on(applied, beyond);
        let Some(begin) = begin.ok().filter(leads_on) else { return Err(why) };
        tracing::warn!(%why, "resync from the journal's newest snapshot");
        self.memory.has_asked = false;
        self.memory.survey = Survey::default();
        planner.skip_to(begin);
        Ok(journal.reader(self.scope.offsets(&planner.progress.needed)).await?)
    }
}

async fn load_held(
    connection: &mut Connection,
    (names, known): (&Names, &Checkpoints),
) -> Result<Vec<(Spot, bytes::Bytes)>, Error> {
    let tracks = names.tracks().iter().enumerate().filter(|(track, _)| known.has(*track));
    let asked = tracks.map(|(_, names)| [b"HGETALL".as_slice(), &names.quarantine]);
    let replies = connection.call_each(&asked.collect::<Vec<_>>()).await?;
    let found = replies.iter().flat_map(pairs);
    Ok(found.filter_map(|(field, why)| Some((Spot::parse(&field)?, why))).collect())
}

/// Per partition of the lane, up to where records survive a crash.
pub(super) fn durable(description: &Description, scope: &Scope) -> Vec<u64> {
    let range = |number: u16| description.partitions.get(usize::from(number));
    let durable = scope.numbers.iter().map(|number| range(*number));
    durable.map(|range| range.map_or(0, |range| range.durable.0)).collect()
}
