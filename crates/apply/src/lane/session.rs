//! The beginning of a session: connect, look who is there, take over, find out where to go on.

use std::collections::HashMap;
use std::sync::Arc;

use event::{Position, Shard};
use journal::{Description, Offset, Partition, ReadError, Reader};
use redis_io::facts::Role;
use redis_io::{Connection, ServerFacts};
use tokio_util::sync::CancellationToken;
use wire::resp::encode::Decimal;

use super::Tools;
use super::place::Places;
use super::pump::{Pump, Standing};
use super::status::Phase;
use super::{Lane, Memory, Scope, begin, claim};
use crate::checkpoint;
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
    judged: Vec<Position>,
    doubt: Doubt,
    floor: HashMap<Shard, Position>,
    /// Whether there is no checkpoint of this history.
    fresh: bool,
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
        Pump::new(scope, names, tools, status, (memory, opened, stop.clone())).run().await
    }

    async fn open(&mut self) -> Result<Standing, Error> {
        let Self { scope, names, tools, memory, random, .. } = self;
        let mut link = Link::open(&tools.connector, &tools.config).await?;
        let before = checkpoint::usable(&mut link.connection, scope, names, &tools.config).await?;
        if before.is_none() && memory.had_checkpoint {
            let endpoint = link.connection.endpoint().to_string();
            return Err(Error::CheckpointGone { endpoint });
        }
        let owner =
            claim::claim(&mut link.connection, names, &scope.stream, &mut memory.claim, random)
                .await?;
        let checkpoint =
            checkpoint::usable(&mut link.connection, scope, names, &tools.config).await?;
        let description = tools.journal.describe().await?;
        let mut start = match &checkpoint {
            Some(checkpoint) => {
                if !memory.had_checkpoint {
                    let age_ms = tools.clock.now_ms().saturating_sub(checkpoint.written_ms);
                    warn_of_expiry(&tools.config, age_ms);
                }
                let start = resume(checkpoint, scope, memory);
                start.in_journal(tools, &description, scope).await?
            }
            None => {
                memory.deadlines = Deadlines::default();
                memory.aftermath = None;
                fresh(&*tools.journal, &description, scope).await?
            }
        };
        let imports = import::begin(&mut link.connection, &tools.config, &link.facts).await?;
        self.status.imports(imports);
        let mut planner = self.planner(&link, &mut start);
        if imports {
            planner.rules.trust_import_mode();
        }
        if checkpoint.is_some() {
            planner.held.load(load_held(&mut link.connection, &self.names).await?);
        }
        let reader = self.reader(&mut planner, &description).await?;
        self.memory.had_checkpoint |= checkpoint.is_some();
        let mut stored_from = planner.progress.needed.clone();
        if let Some(checkpoint) = &checkpoint {
            let stored = checkpoint::progress(checkpoint, &self.scope).needed;
            stored_from.iter_mut().zip(stored).for_each(|(from, stored)| *from = stored.min(*from));
        }
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
        })
    }

    fn planner(&mut self, link: &Link, start: &mut Start) -> Planner {
        let config = &self.tools.config;
        let rules = Rules::new(config, self.names.clone(), &link.facts);
        let marks = self.memory.marks.take();
        let mut planner = Planner::new(rules, &self.scope, start.progress.clone(), marks);
        planner.floor.clone_from(&start.floor);
        planner.doubt = std::mem::take(&mut start.doubt);
        planner.deadlines = std::mem::take(&mut self.memory.deadlines);
        planner.refused = std::mem::take(&mut self.memory.refused);
        planner.expect_existing(config.existing, start.fresh);
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
        let opened = journal.reader(offsets(&self.scope, &planner.progress.needed)).await;
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
                let snapshot = begin.snapshots.get(&applied.shard);
                snapshot.is_some_and(|snapshot| snapshot.is_after(applied))
            })
        };
        let Some(begin) = begin.filter(newer) else { return Err(why) };
        tracing::warn!(%why, "resync from the journal's newest snapshot");
        self.memory.has_asked = false;
        self.memory.search = begin::Search::default();
        planner.skip_to(begin.offsets);
        Ok(journal.reader(offsets(&self.scope, &planner.progress.needed)).await?)
    }
}

/// Goes on where a checkpoint ends, or where this process knows it to be.
fn resume(checkpoint: &event::checkpoint::Checkpoint, scope: &Scope, memory: &mut Memory) -> Start {
    let stored = checkpoint::progress(checkpoint, scope);
    let same =
        |known: &Progress| (&known.applied, known.resync) == (&stored.applied, stored.resync);
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
            memory.marks = None;
            memory.aftermath = None;
            memory.deadlines = Deadlines::default();
            let judged = checkpoint.applied.iter().map(|applied| applied.judged).collect();
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

async fn fresh(
    journal: &dyn journal::Journal,
    description: &Description,
    scope: &Scope,
) -> Result<Start, Error> {
    let begin = begin::Search::default().find(journal, description, scope).await?;
    let progress = Progress { needed: begin.offsets, ..Progress::default() };
    let mut start = Start::at(progress, Vec::new());
    (start.floor, start.fresh) = (begin.snapshots, true);
    Ok(start)
}

async fn load_held(
    connection: &mut Connection,
    names: &Names,
) -> Result<Vec<(Spot, bytes::Bytes)>, Error> {
    let reply = connection.call([b"HGETALL".as_slice(), &names.quarantine]).await?;
    let held = pairs(&reply).into_iter();
    Ok(held.filter_map(|(field, why)| Some((Spot::parse(&field)?, why))).collect())
}

/// Per partition of the lane, up to where records survive a crash.
pub(super) fn durable(description: &Description, scope: &Scope) -> Vec<u64> {
    let range = |number: u16| description.partitions.get(usize::from(number));
    (scope.first..=scope.last)
        .map(|number| range(number).map_or(0, |range| range.durable.0))
        .collect()
}

/// The offsets to open a reader with.
pub(super) fn offsets(scope: &Scope, needed: &[u64]) -> Vec<(Partition, Offset)> {
    (scope.first..=scope.last)
        .enumerate()
        .map(|(index, number)| {
            (Partition(number), Offset(needed.get(index).copied().unwrap_or_default()))
        })
        .collect()
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
        let places = Places { journal, judged: &self.judged, clock };
        let found = places.find(description, scope, &self.progress.needed).await?;
        let Some(found) = found else { return Ok(self) };
        tracing::warn!(
            checkpoint = ?self.progress.needed,
            journal = ?found,
            "the journal is not as the checkpoint knows it (was it put back from a copy?): reading on from \
             before that, by the source's positions"
        );
        let snapshot_from =
            self.progress.snapshot_from.clone().map(|from| {
                from.iter().zip(&found).map(|(from, found)| *from.min(found)).collect()
            });
        let progress = Progress { needed: found, snapshot_from, ..self.progress };
        Ok(Self { floor: self.floor, fresh: self.fresh, ..Self::at(progress, self.judged) })
    }

    fn at(progress: Progress, judged: Vec<Position>) -> Self {
        let pairs = progress.applied.iter().map(|applied| {
            let judged = judged.iter().find(|judged| judged.shard == applied.shard);
            (judged.copied().unwrap_or_default(), *applied)
        });
        let doubt = Doubt::new(pairs, progress.needed.clone());
        Self { progress, judged, doubt, floor: HashMap::new(), fresh: false }
    }
}
