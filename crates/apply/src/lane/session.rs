//! The beginning of a session: connect, look who is there, take over, find out where to go on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use event::Position;
use journal::{Description, ReadError, Reader};
use redis_io::facts::Role;
use redis_io::{Connection, ServerFacts};
use tokio_util::sync::CancellationToken;
use wire::resp::encode::Decimal;

use super::place::Places;
use super::pump::{Pump, Standing};
use super::status::Phase;
use super::{Lane, Memory, Tools, begin, claim};
use crate::checkpoint::{self, Checkpoints};
use crate::config::Config;
use crate::deadlines::Deadlines;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::import;
use crate::names::Names;
use crate::plan::{Planner, Rules};
use crate::progress::Progress;
use crate::quarantine::set::Spot;
use crate::quarantine::shelf::pairs;
use crate::scope::{Line, Point, Scope};
use crate::target::{self, Target};

/// A connection that may be written, and who is at the other end.
#[derive(Debug)]
pub(crate) struct Link {
    /// The connection, in the database of the checkpoint.
    pub(crate) connection: Connection,
    /// Facts about the server.
    pub(crate) facts: ServerFacts,
}

/// Where a session begins.
struct Start {
    progress: Progress,
    judged: Vec<Point>,
    doubt: Doubt,
    floor: HashMap<Line, Position>,
    /// Tracks that have no checkpoint of this history.
    fresh: BTreeSet<usize>,
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
        let pump = Pump::new(scope, names, tools, status, (memory, opened, stop.clone()));
        Box::pin(pump.run()).await
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
        let known = checkpoint::read(&mut link.connection, scope, names, config).await?;
        let description = tools.journal.describe().await?;
        let mut start = start(tools, &description, (scope, &known), memory).await?;
        let imports = import::begin(&mut link.connection, &tools.config, &link.facts).await?;
        self.status.imports(imports);
        let mut planner = self.planner(&link, &mut start);
        if imports {
            planner.rules.trust_import_mode();
        }
        planner.held.load(load_held(&mut link.connection, (&self.names, &known)).await?);
        let reader = self.reader(&mut planner, &description).await?;
        self.memory.had_checkpoint.extend(known.iter().map(|(track, _)| track));
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
        })
    }

    fn planner(&mut self, link: &Link, start: &mut Start) -> Planner {
        let config = &self.tools.config;
        let rules = Rules::new(config, self.names.clone(), &link.facts);
        let marks = std::mem::take(&mut self.memory.marks);
        let mut planner = Planner::new(rules, &self.scope, start.progress.clone(), marks);
        planner.floor.clone_from(&start.floor);
        planner.doubt = std::mem::take(&mut start.doubt);
        planner.deadlines = std::mem::take(&mut self.memory.deadlines);
        planner.refused = std::mem::take(&mut self.memory.refused);
        planner.expect_existing(config.existing);
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
        let opened = journal.reader(self.scope.offsets(&planner.progress.needed)).await;
        let why = match (opened, self.memory.beyond.take()) {
            (Ok(reader), None) => return Ok(reader),
            (Err(lost @ ReadError::OutOfRetention { .. }), _)
                if !planner.progress.applied.is_empty() =>
            {
                Error::from(lost)
            }
            (Err(error), _) => return Err(error.into()),
            (Ok(_), Some((applied, branch_offset))) => {
                Error::ResyncNeeded { applied, branch_offset }
            }
        };
        let begin = self.memory.search.find(&*journal, description, &self.scope).await.ok();
        let newer = |begin: &begin::Begin| {
            planner.progress.applied.iter().all(|applied| {
                let snapshot = begin.snapshots.get(&applied.line());
                snapshot.is_some_and(|snapshot| snapshot.is_after(&applied.position))
            })
        };
        let Some(begin) = begin.filter(newer) else { return Err(why) };
        tracing::warn!(%why, "resync from the journal's newest snapshot");
        self.memory.has_asked = false;
        self.memory.search = begin::Search::default();
        planner.skip_to(begin.offsets);
        Ok(journal.reader(self.scope.offsets(&planner.progress.needed)).await?)
    }
}

/// Finds out where to begin.
async fn start(
    tools: &Tools,
    description: &Description,
    (scope, known): (&Scope, &Checkpoints),
    memory: &mut Memory,
) -> Result<Start, Error> {
    let journal = &*tools.journal;
    let fresh: BTreeSet<usize> = (0..scope.tracks()).filter(|track| !known.has(*track)).collect();
    let begin = match fresh.is_empty() {
        true => begin::Begin::default(),
        false => begin::Search::default().find(journal, description, scope).await?,
    };
    let stored = known.progress(scope, &begin.offsets);
    let mut start = match known.written_ms() {
        Some(written_ms) => {
            if memory.had_checkpoint.is_empty() {
                let age_ms = tools.clock.now_ms().saturating_sub(written_ms);
                warn_of_expiry(&tools.config, age_ms);
            }
            let start = resume(stored, known.judged(), memory);
            start.in_journal(tools, description, scope).await?
        }
        None => {
            memory.deadlines = Deadlines::default();
            memory.aftermath = None;
            Start::at(stored, Vec::new())
        }
    };
    start.floor =
        begin.snapshots.into_iter().filter(|(line, _)| fresh.contains(&line.track)).collect();
    start.fresh = fresh;
    Ok(start)
}

/// Goes on where checkpoints end, or where this process knows it to be.
fn resume(stored: Progress, judged: Vec<Point>, memory: &mut Memory) -> Start {
    let same =
        |known: &Progress| (&known.applied, &known.resyncs) == (&stored.applied, &stored.resyncs);
    let known = memory.stood.iter().position(same);
    let mut stood = std::mem::take(&mut memory.stood).into_iter().map(|mut progress| {
        progress.stay_before(&memory.durable);
        progress
    });
    let unsure = std::mem::take(&mut memory.unsure_deadlines);
    match (known, stood.next(), stood.next()) {
        (Some(0), Some(judged), _) => {
            memory.deadlines.undo(unsure);
            memory.deadlines.drop_questions();
            let applied = judged.applied.clone();
            Start::at(judged, applied)
        }
        // The batch that was under way has been executed, and its replies are lost.
        (Some(1), Some(judged), Some(executed)) => {
            memory.aftermath = None;
            let progress = Progress { needed: judged.needed, ..executed };
            Start::at(progress, judged.applied)
        }
        _ => {
            memory.marks = Vec::new();
            memory.aftermath = None;
            memory.deadlines = Deadlines::default();
            Start::at(stored, judged)
        }
    }
}

/// Says what may have gone wrong while nobody wrote: it cannot be told afterwards in every case.
fn warn_of_expiry(config: &Config, age_ms: i64) {
    if u128::try_from(age_ms).is_ok_and(|age_ms| age_ms > config.hold_expiry.as_millis()) {
        tracing::warn!(
            seconds = age_ms / 1_000,
            "the last checkpoint is older than destination.hold_expiry: keys that expired here since then, and \
             lived on at the source, are set aside where that shows; compare counters and lists with such short \
             lives (docs/limits.md, Expiry)"
        );
    }
}

async fn load_held(
    connection: &mut Connection,
    (names, known): (&Names, &Checkpoints),
) -> Result<Vec<(Spot, bytes::Bytes)>, Error> {
    let mut held = Vec::new();
    for (track, names) in names.tracks().iter().enumerate() {
        if !known.has(track) {
            continue;
        }
        let reply = connection.call([b"HGETALL".as_slice(), &names.quarantine]).await?;
        let found = pairs(&reply).into_iter();
        held.extend(found.filter_map(|(field, why)| Some((Spot::parse(&field)?, why))));
    }
    Ok(held)
}

/// Per partition of the lane, up to where records survive a crash.
pub(super) fn durable(description: &Description, scope: &Scope) -> Vec<u64> {
    let range = |number: u16| description.partitions.get(usize::from(number));
    let durable = scope.numbers.iter().map(|number| range(*number));
    durable.map(|range| range.map_or(0, |range| range.durable.0)).collect()
}

// === impl Start ===

impl Start {
    /// The same, reading on from where this journal has what comes next.
    async fn in_journal(
        self,
        tools: &Tools,
        description: &Description,
        scope: &Scope,
    ) -> Result<Self, Error> {
        let (journal, clock) = (&*tools.journal, &*tools.clock);
        let places = Places { journal, judged: &self.judged, scope, clock };
        let found = places.find(description, &self.progress.needed).await?;
        let Some(found) = found else { return Ok(self) };
        tracing::warn!(
            checkpoint = ?self.progress.needed,
            journal = ?found,
            "the journal is not as the checkpoint knows it (was it put back from a copy?): reading on from \
             before that, by the source's positions"
        );
        let mut snapshot_from = self.progress.snapshot_from.clone();
        for (index, from) in &mut snapshot_from {
            *from = found.get(*index).map_or(*from, |found| *found.min(from));
        }
        let progress = Progress { needed: found, snapshot_from, ..self.progress };
        Ok(Self::at(progress, self.judged))
    }

    fn at(progress: Progress, judged: Vec<Point>) -> Self {
        let pairs = progress.applied.iter().map(|applied| {
            let judged = judged.iter().find(|judged| judged.line() == applied.line());
            (judged.map(|judged| judged.position).unwrap_or_default(), *applied)
        });
        let doubt = Doubt::new(pairs, progress.needed.clone());
        Self { progress, judged, doubt, floor: HashMap::new(), fresh: BTreeSet::new() }
    }
}
