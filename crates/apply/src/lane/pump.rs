//! Records in, batches out: the loop of a session.
//!
//! At most three batches exist: one that is being executed, one whose commands wait at the destination inside a
//! MULTI, one that is being planned. EXEC of the second is sent only after every reply to the first has been judged, so
//! a checkpoint never passes a batch that failed. An idle destination gets a batch at once; a busy one lets it grow.

use std::collections::VecDeque;

use event::{Position, Shard};
use journal::{Entry, ReadLimit, Reader};
use redis_io::{Connection, Refusal};
use runtime::clock::Sleep;
use tokio_util::sync::CancellationToken;
use wire::resp::reply::Reply;

use super::judge::{Failure, Verdict, judge};
use super::session::{durable, offsets};
use super::status::{Executed, Phase};
use super::{LaneStatus, Memory, Scope, Tools};
use crate::batch::{Batch, Sent};
use crate::checkpoint::{self, Written};
use crate::doubt::Doubt;
use crate::error::Error;
use crate::limits;
use crate::names::Names;
use crate::plan::{Barrier, Planned, Planner, Remedy};
use crate::progress::Progress;

/// Where a session stands when it begins to pump.
pub(super) struct Standing {
    /// The connection, in the database of the checkpoint.
    pub(crate) connection: Connection,
    /// The worker's number.
    pub(crate) owner: u64,
    /// The planner.
    pub(crate) planner: Planner,
    /// The journal, where the planner wants it.
    pub(crate) reader: Box<dyn Reader>,
    /// What the checkpoint says.
    pub(crate) executed: Progress,
    /// Per shard, up to where replies have been read.
    pub(crate) judged: Vec<Position>,
    /// Whether the destination has no checkpoint of this history: what another left beside it goes.
    pub(crate) anew: bool,
    /// Per partition, up to where records survive a crash.
    pub(crate) durable: Vec<u64>,
}

/// One session at work.
pub(super) struct Pump<'a> {
    pub(super) scope: &'a Scope,
    pub(super) names: &'a Names,
    pub(super) tools: &'a Tools,
    pub(super) status: &'a LaneStatus,
    memory: &'a mut Memory,
    pub(super) connection: Connection,
    owner: u64,
    pub(super) planner: Planner,
    reader: Box<dyn Reader>,
    input: VecDeque<Entry>,
    pub(super) open: Batch,
    waiting: Option<Flight>,
    running: Option<Flight>,
    spare: Vec<Batch>,
    barrier: Option<Barrier>,
    /// After the last batch that was executed and judged.
    executed: Progress,
    judged: Vec<Position>,
    /// Where reading has to begin while something is in doubt.
    doubt_from: Option<Vec<u64>>,
    anew: bool,
    durable: Vec<u64>,
    /// Whether the checkpoint at the destination says less than what is known.
    lags: bool,
    tick: Sleep,
    stopping: bool,
}

/// A batch of which at least the body has been sent.
struct Flight {
    batch: Batch,
    /// Whether it does more than move the checkpoint, so that there is something to judge.
    works: bool,
    /// Replies that have come: to MULTI, to each command, to EXEC.
    answered: usize,
    /// Commands that were not queued; none: MULTI.
    refused: Vec<(Option<Sent>, Refusal)>,
}

/// Batches kept for their memory: as many as can be under way at once.
const SPARE_BATCHES: usize = 3;

// === impl Pump ===

impl<'a> Pump<'a> {
    /// A session that begins at `standing`.
    pub(crate) fn new(
        scope: &'a Scope,
        names: &'a Names,
        tools: &'a Tools,
        status: &'a LaneStatus,
        (memory, standing): (&'a mut Memory, Standing),
    ) -> Self {
        let doubt_from = standing.planner.doubt.from().map(<[u64]>::to_vec);
        memory.stood = vec![standing.executed.clone()];
        memory.durable.clone_from(&standing.durable);
        Self {
            scope,
            names,
            tools,
            status,
            memory,
            connection: standing.connection,
            owner: standing.owner,
            planner: standing.planner,
            reader: standing.reader,
            input: VecDeque::new(),
            open: Batch::new(tools.config.checkpoint_db),
            waiting: None,
            running: None,
            spare: Vec::new(),
            barrier: None,
            executed: standing.executed,
            judged: standing.judged,
            doubt_from,
            anew: standing.anew,
            durable: standing.durable,
            lags: false,
            tick: tools.clock.sleep(limits::TICK),
            stopping: false,
        }
    }

    /// Pumps until `stop` is cancelled and everything under way is finished. Gives where it stands then.
    ///
    /// # Errors
    /// What ends the session.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> Result<Progress, Error> {
        self.show_phase();
        let result = self.pump(stop).await;
        self.memory.marks = self.planner.marks.take();
        self.memory.refused = std::mem::take(&mut self.planner.refused);
        result
    }

    async fn pump(&mut self, stop: &CancellationToken) -> Result<Progress, Error> {
        loop {
            self.plan_input()?;
            self.dispatch().await?;
            if self.is_quiet() {
                if let Some(barrier) = self.barrier.take() {
                    self.pass(barrier).await?;
                    continue;
                }
                if self.stopping {
                    if !self.lags && self.planner.now() == self.executed {
                        return Ok(self.executed.clone());
                    }
                    self.open.urgent = true;
                    continue;
                }
            }
            self.wait(stop).await?;
        }
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
        let in_flight = self.running.is_some() || self.waiting.is_some();
        let wants_input = self.wants_input();
        tokio::select! {
            biased;
            // Stopping first: intake ends, what is planned is finished.
            () = stop.cancelled(), if !self.stopping => {
                self.stopping = true;
                self.input.clear();
                self.barrier = None;
            }
            // Replies before new work: they free the way for the next batch.
            reply = self.connection.recv(), if in_flight => {
                self.reply(reply?).await?;
                while let Some(reply) = self.connection.try_recv()? {
                    self.reply(reply).await?;
                }
            }
            () = &mut self.tick => self.look_around().await?,
            entries = self.reader.next(limit), if wants_input => self.input.extend(entries?),
        }
        Ok(())
    }

    fn wants_input(&self) -> bool {
        self.input.is_empty()
            && self.barrier.is_none()
            && !self.stopping
            && !self.open.is_full(self.tools.config.batch)
    }

    fn plan_input(&mut self) -> Result<(), Error> {
        while self.barrier.is_none() && !self.open.is_full(self.tools.config.batch) {
            let Some(entry) = self.input.pop_front() else { return Ok(()) };
            self.status.stamp(entry.timestamp_ms);
            if let Planned::Barrier(barrier) = self.planner.plan(&entry, &mut self.open)? {
                self.barrier = Some(barrier);
            }
        }
        Ok(())
    }

    /// Sends what can be sent now.
    async fn dispatch(&mut self) -> Result<(), Error> {
        if self.running.is_none() {
            if let Some(flight) = self.waiting.take() {
                self.execute(flight).await?;
            } else if self.is_open_due() {
                let batch = self.seal();
                self.execute(Flight::of(batch)).await?;
            }
        }
        if self.waiting.is_none()
            && self.running.is_some()
            && self.open.is_full(self.tools.config.batch)
        {
            let mut batch = self.seal();
            self.send(&mut batch).await?;
            self.waiting = Some(Flight::of(batch));
        }
        Ok(())
    }

    fn is_open_due(&self) -> bool {
        self.open.has_work() || self.open.urgent || self.open.is_full(self.tools.config.batch)
    }

    /// Whether nothing is under way or about to be.
    fn is_quiet(&self) -> bool {
        self.running.is_none() && self.waiting.is_none() && !self.is_open_due()
    }

    /// Ends planning of the open batch and begins another.
    fn seal(&mut self) -> Batch {
        let next = self.spare.pop().unwrap_or_else(|| Batch::new(self.tools.config.checkpoint_db));
        let mut batch = std::mem::replace(&mut self.open, next);
        batch.changes = self.planner.held.take_changes();
        batch.after = self.planner.now();
        batch.in_doubt = self.planner.doubt.shards();
        batch
    }

    /// Writes the tail of a batch and has it executed.
    async fn execute(&mut self, mut flight: Flight) -> Result<(), Error> {
        let batch = &mut flight.batch;
        if !batch.letters.is_empty() {
            let now_ms = self.tools.clock.now_ms();
            self.tools.letters.store(self.scope, &batch.letters, now_ms).await?;
        }
        self.write_held(batch);
        let mut bytes = bytes::BytesMut::new();
        let written = Written {
            judged: &self.judged,
            read_from: &self.read_from(&batch.after),
            owner: self.owner,
            now_ms: self.tools.clock.now_ms(),
        };
        checkpoint::encode(self.scope, &batch.after, &written, &mut bytes).map_err(|error| {
            let position = batch.after.applied.first().copied().unwrap_or_default();
            Error::Contradiction {
                position,
                what: format!("its checkpoint cannot be written: {error}"),
            }
        })?;
        batch.finish(&self.names.checkpoint, &bytes);
        self.memory.stood = vec![self.executed.clone(), batch.after.clone()];
        self.send(&mut flight.batch).await?;
        self.running = Some(flight);
        Ok(())
    }

    async fn send(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.connection.send(batch.unsent()).await?;
        self.connection.flush().await?;
        batch.mark_sent();
        Ok(())
    }

    /// What the batch does to the set of held keys at the destination, or all of our keys where it removes them.
    fn write_held(&self, batch: &mut Batch) {
        let key = &self.names.quarantine;
        if batch.loses_own || self.anew {
            let owner = wire::resp::encode::Decimal::from(self.owner);
            batch.own([b"SET".as_slice(), &self.names.owner, owner.as_ref()]);
            batch.own([b"DEL".as_slice(), key]);
            for (spot, why) in self.planner.held.iter() {
                batch.own([b"HSET".as_slice(), key, &spot.field(), why]);
            }
            return;
        }
        for change in std::mem::take(&mut batch.changes) {
            let field = change.spot.field();
            match change.held {
                true => batch.own([b"HSET".as_slice(), key, &field, &change.why]),
                false => batch.own([b"HDEL".as_slice(), key, &field]),
            }
            batch.changes.push(change);
        }
    }

    /// Per partition, the offset from which a later session has to read.
    fn read_from(&self, after: &Progress) -> Vec<u64> {
        let sources = [
            Some(&self.executed.needed),
            after.snapshot_from.as_ref(),
            self.doubt_from.as_ref(),
            Some(&self.durable),
        ];
        let least = |index: usize| {
            sources.iter().flatten().filter_map(|offsets| offsets.get(index)).copied().min()
        };
        (0..self.executed.needed.len()).map(|index| least(index).unwrap_or_default()).collect()
    }

    /// Takes the next reply.
    async fn reply(&mut self, reply: Reply) -> Result<(), Error> {
        let Some(flight) = self.running.as_mut().or(self.waiting.as_mut()) else {
            let position = self.executed.applied.first().copied().unwrap_or_default();
            let what = format!("a reply that nobody asked for: {reply:?}");
            return Err(Error::Contradiction { position, what });
        };
        let number = flight.answered;
        flight.answered += 1;
        if number <= flight.batch.sent().len() {
            if let Reply::Error(text) = &reply {
                let sent = number.checked_sub(1).and_then(|at| flight.batch.sent().get(at));
                flight.refused.push((sent.copied(), Refusal::read(text)));
            }
            return Ok(());
        }
        match self.running.take() {
            Some(flight) => self.finish(flight, &reply).await,
            None => Ok(()),
        }
    }

    /// Judges a batch that was to be executed.
    async fn finish(&mut self, flight: Flight, exec: &Reply) -> Result<(), Error> {
        let endpoint = || self.connection.endpoint().to_string();
        match judge(&flight.batch, &flight.refused, exec) {
            Verdict::Executed(failures) => self.executed(flight, &failures).await,
            Verdict::Rejected(failures) => {
                for failure in &failures {
                    let record = flight.batch.record(failure.sent.record);
                    let identity =
                        record.and_then(|record| Planner::identity(record, failure.sent));
                    let why = failure.said.clone().unwrap_or_default();
                    self.planner.refused.extend(identity.map(|identity| (identity, why)));
                }
                self.rewind(Some(flight.batch)).await
            }
            Verdict::Refused(refusal) => Err(Error::Refused { endpoint: endpoint(), refusal }),
            Verdict::Torn(said) => Err(Error::Torn { endpoint: endpoint(), said }),
        }
    }

    /// A batch has been executed: notes how far that is, and deals with what failed in it.
    async fn executed(&mut self, flight: Flight, failures: &[Failure]) -> Result<(), Error> {
        let Flight { batch, works, .. } = flight;
        for position in &batch.after.applied {
            if !batch.in_doubt.contains(&position.shard) {
                self.judge_up_to(*position);
            }
        }
        if batch.in_doubt.is_empty() {
            self.doubt_from = None;
        }
        let phase_changed = self.executed.resync != batch.after.resync;
        self.executed.clone_from(&batch.after);
        self.memory.stood = vec![self.executed.clone()];
        (self.memory.had_checkpoint, self.anew, self.lags) = (true, false, works);
        self.status.executed(Executed {
            events: batch.events,
            commands: batch.sent().len() as u64,
            bytes: batch.bytes() as u64,
            letters: batch.letters.len() as u64,
        });
        if phase_changed {
            self.show_phase();
        }
        let remedies: Vec<Remedy> = failures
            .iter()
            .filter_map(|failure| {
                let record = batch.record(failure.sent.record)?;
                self.planner.remedy(record, failure.sent, failure.said.as_deref())
            })
            .collect();
        self.recycle(batch);
        if remedies.is_empty() {
            return Ok(());
        }
        self.rewind(None).await?;
        self.apply_remedies(remedies)
    }

    fn apply_remedies(&mut self, remedies: Vec<Remedy>) -> Result<(), Error> {
        self.open.urgent = true;
        for remedy in remedies {
            match remedy {
                Remedy::SetAside(drafts) => {
                    for draft in drafts {
                        tracing::warn!(position = %draft.position, why = draft.why, "set a key aside");
                        self.planner.hold(draft, &mut self.open)?;
                    }
                }
                Remedy::Remove(spots) => {
                    for spot in spots {
                        tracing::warn!("removed a key whose value had expired early");
                        self.planner.held.release(spot.db, &spot.key);
                        self.open.command(spot.db, Sent::OURS, [b"DEL".as_slice(), &spot.key]);
                        self.status.removed(1);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes back everything that was planned after the last executed batch, and reads it again. `refused` is the batch
    /// that was to be executed and was not.
    async fn rewind(&mut self, refused: Option<Batch>) -> Result<(), Error> {
        let planned = self.planner.held.take_changes();
        self.planner.held.undo(&planned);
        if let Some(flight) = self.waiting.take() {
            self.connection.send(b"*1\r\n$7\r\nDISCARD\r\n").await?;
            self.connection.flush().await?;
            // To MULTI, to each command, to DISCARD.
            for _ in flight.answered..flight.batch.sent().len() + 2 {
                self.connection.recv().await?;
            }
            self.planner.held.undo(&flight.batch.changes);
            self.recycle(flight.batch);
        }
        if let Some(batch) = refused {
            self.planner.held.undo(&batch.changes);
            self.recycle(batch);
        }
        self.open.reset();
        self.barrier = None;
        self.input.clear();
        let mut progress = self.executed.clone();
        if let Some(from) = &self.doubt_from {
            progress.needed.clone_from(from);
            self.planner.doubt = Doubt::new(self.doubtful(), from.clone());
        }
        let description = self.tools.journal.describe().await?;
        self.durable = durable(&description, self.scope);
        progress.stay_before(&self.durable);
        self.planner.rewind(progress);
        let from = offsets(self.scope, &self.planner.progress.needed);
        self.reader = self.tools.journal.reader(from).await?;
        Ok(())
    }

    /// Per shard, up to where it is judged and executed.
    fn doubtful(&self) -> Vec<(Position, Position)> {
        let judged = |shard: Shard| {
            let judged = self.judged.iter().find(|position| position.shard == shard);
            judged.copied().unwrap_or_default()
        };
        self.executed.applied.iter().map(|applied| (judged(applied.shard), *applied)).collect()
    }

    /// Once in a while: the checkpoint of an idle lane, its lag, and what the journal may forget.
    async fn look_around(&mut self) -> Result<(), Error> {
        self.tick = self.tools.clock.sleep(limits::TICK);
        let description = self.tools.journal.describe().await?;
        self.durable = durable(&description, self.scope);
        self.memory.durable.clone_from(&self.durable);
        let ends = description.partitions.iter().skip(usize::from(self.scope.first));
        let lag =
            ends.zip(&self.executed.needed).map(|(range, next)| range.end.0.saturating_sub(*next));
        self.status.observed(lag.sum(), self.planner.held.len());
        self.status.left_out(&std::mem::take(&mut self.planner.counts));
        self.status.applied(&self.executed);
        let suspects = std::mem::take(&mut self.planner.suspects);
        if !suspects.is_empty() {
            tracing::warn!(keys = suspects.len(), "keys are suspect after a crash: run verify");
            self.status.suspects(suspects.len() as u64);
        }
        if self.running.is_none() && self.waiting.is_none() {
            self.open.urgent |= self.lags || self.planner.now() != self.executed;
        }
        let released = offsets(self.scope, &self.read_from(&self.executed));
        if let Err(error) = self.tools.journal.release(&self.tools.config.name, released).await {
            tracing::warn!(error = %error, "the journal did not take note of what it may forget");
        }
        Ok(())
    }

    fn judge_up_to(&mut self, position: Position) {
        match self.judged.iter_mut().find(|judged| judged.shard == position.shard) {
            Some(judged) => *judged = position,
            None => self.judged.push(position),
        }
    }

    fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() < SPARE_BATCHES {
            batch.reset();
            self.spare.push(batch);
        }
    }

    fn show_phase(&self) {
        let phase = match self.executed.resync {
            Some(_) => Phase::Snapshot,
            None => Phase::Stream,
        };
        self.status.phase(phase);
    }
}

// === impl Flight ===

impl Flight {
    fn of(batch: Batch) -> Self {
        Self { works: batch.has_work(), batch, answered: 0, refused: Vec::new() }
    }
}
