//! Records in, batches out: the loop of a session.
//!
//! At most three batches exist: one that is being executed, one whose commands wait at the destination inside a
//! MULTI, one that is being planned. EXEC of the second is sent only after every reply to the first has been judged, so
//! a checkpoint never passes a batch that failed. An idle destination gets a batch at once; a busy one lets it grow.

use std::collections::{BTreeSet, HashSet};

use event::checkpoint::Checkpoint;
use journal::{Entry, ReadLimit, Reader};
use redis_io::{Connection, Refusal};
use runtime::clock::{Sleep, over};
use tokio_util::sync::CancellationToken;
use wire::resp::reply::Reply;

use super::intake::Intake;
use super::meet::{Bystander, Met, Scout, heard};
use super::neighbours::Neighbours;
use super::status::Phase;
use super::throttle::Inflow;
use super::ties::Ties;
use super::watch::{Look, seen};
use super::{LaneStatus, Memory, Tools};
use crate::batch::{Batch, Sent};
use crate::checkpoint::{self, Checkpoints, Written};
use crate::error::Error;
use crate::limits;
use crate::names::Names;
use crate::plan::{Barrier, Need, Planned, Planner};
use crate::progress::Progress;
use crate::quarantine::set::Spot;
use crate::quarantine::suspects::Suspects;
use crate::replay::Cut;
use crate::scope::{Point, Scope};

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
    /// Per line, up to where replies have been read.
    pub(crate) judged: Vec<Point>,
    /// Tracks that have no checkpoint of this history: what another left beside it goes.
    pub(crate) anew: BTreeSet<usize>,
    /// Per partition, up to where records survive a crash.
    pub(crate) durable: Vec<u64>,
    /// Where the checkpoints at the destination say to read from; where there is none, where reading begins.
    pub(crate) stored_from: Vec<u64>,
    /// The checkpoints at the destination.
    pub(crate) stored: Checkpoints,
    /// Up to where records are taken.
    pub(crate) cut: Option<Cut>,
}

/// One session at work.
pub(super) struct Pump<'a> {
    pub(super) scope: &'a Scope,
    pub(super) names: &'a Names,
    pub(super) tools: &'a Tools,
    pub(super) status: &'a LaneStatus,
    pub(super) memory: &'a mut Memory,
    pub(super) connection: Connection,
    pub(super) owner: u64,
    pub(super) planner: Planner,
    pub(super) reader: Box<dyn Reader>,
    pub(super) intake: Intake,
    /// Up to where records are taken.
    pub(super) cut: Option<Cut>,
    /// What may come in.
    pub(super) inflow: Inflow,
    pub(super) open: Batch,
    pub(super) waiting: Option<Flight>,
    pub(super) running: Option<Flight>,
    pub(super) spare: Vec<Batch>,
    pub(super) barrier: Option<Box<Barrier>>,
    /// After the last batch that was executed and judged.
    pub(super) executed: Progress,
    pub(super) judged: Vec<Point>,
    /// Where reading has to begin while something is in doubt.
    pub(super) doubt_from: Option<Vec<u64>>,
    pub(super) anew: BTreeSet<usize>,
    pub(super) durable: Vec<u64>,
    /// Where the checkpoints at the destination say to read from.
    pub(super) stored_from: Vec<u64>,
    /// The checkpoints at the destination.
    pub(super) stored: Checkpoints,
    /// Who looks at the checkpoints of other lanes.
    pub(super) scout: Scout,
    /// A change of several lanes that was executed here, until the others know.
    pub(super) met: Option<Met>,
    /// Other lanes' own keys, where a change may take them.
    pub(super) bystanders: Vec<Bystander>,
    /// Whether the checkpoint at the destination says less than what is known.
    pub(super) lags: bool,
    pub(super) tick: Sleep,
    /// A look at the journal that is under way.
    pub(super) look: Option<Look>,
    /// Until when a busy journal is left to gather.
    pub(super) rest: Option<Sleep>,
    /// Whether it is time to look for what an operator asks.
    pub(super) asked: bool,
    /// Whether an earlier session may have left requests there about keys that are no longer set aside.
    pub(super) unsettled: bool,
    /// Keys whose letters are tried again in the batch that is executed next.
    pub(super) tried: HashSet<Spot>,
    /// What is known of the letters while requests to try some again are left.
    pub(super) ties: Option<Ties>,
    /// Until when these are left, for what has come to be applied meanwhile.
    pub(super) pause: Option<Sleep>,
    /// What the list of suspects at the destination says.
    pub(super) suspects: Suspects,
    pub(super) stop: CancellationToken,
    pub(super) stopping: bool,
    /// What is known of other streams at the destination.
    pub(super) neighbours: Neighbours,
}

/// A batch of which at least the body has been sent.
pub(super) struct Flight {
    pub(super) batch: Batch,
    /// Whether it does more than move the checkpoint, so that there is something to judge.
    pub(super) works: bool,
    /// Replies that have come: to MULTI, to each command, to EXEC.
    pub(super) answered: usize,
    /// Where the command stands whose reply comes next.
    cursor: usize,
    /// Where its checkpoints say to read from.
    pub(super) read_from: Vec<u64>,
    /// The checkpoints that it writes, by track.
    pub(super) written: Vec<(usize, Checkpoint)>,
    /// Commands that were not queued; none: MULTI.
    pub(super) refused: Vec<(Option<Sent>, Refusal)>,
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
        (memory, standing, stop): (&'a mut Memory, Standing, CancellationToken),
    ) -> Self {
        let doubt_from = standing.planner.doubt.from().map(<[u64]>::to_vec);
        let territory = &standing.planner.rules.territory;
        let lags =
            standing.stored.judged() != standing.judged || !standing.stored.all_say(territory);
        memory.stood = vec![standing.executed.clone()];
        memory.judged.clone_from(&standing.judged);
        memory.doubt_from.clone_from(&doubt_from);
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
            intake: Intake::of(scope.tracks()),
            cut: standing.cut,
            inflow: Inflow::new(tools),
            open: Batch::new(tools.config.checkpoint_db),
            waiting: None,
            running: None,
            spare: Vec::new(),
            barrier: None,
            stored_from: standing.stored_from,
            stored: standing.stored,
            scout: Scout::default(),
            met: None,
            bystanders: Vec::new(),
            executed: standing.executed,
            judged: standing.judged,
            doubt_from,
            anew: standing.anew,
            durable: standing.durable,
            lags,
            tick: tools.clock.sleep(limits::TICK),
            look: None,
            rest: None,
            asked: true,
            unsettled: true,
            tried: HashSet::new(),
            ties: None,
            pause: None,
            suspects: Suspects::default(),
            stop,
            stopping: false,
            neighbours: Neighbours::default(),
        }
    }

    /// Pumps until it is asked to stop and everything under way is finished. Gives where it stands then.
    ///
    /// # Errors
    /// What ends the session.
    pub(crate) async fn run(mut self) -> Result<Progress, Error> {
        self.show_phase();
        let result = self.begin().await;
        self.memory.marks = std::mem::take(&mut self.planner.marks);
        self.memory.refused = std::mem::take(&mut self.planner.refused);
        self.keep_deadlines();
        result
    }

    /// Deals with what failed before the connection was lost, and goes on.
    async fn begin(&mut self) -> Result<Progress, Error> {
        self.deal_with_earlier()?;
        self.pump().await
    }

    /// What failed in the last batch that was executed has not been dealt with, or in one that was not executed.
    pub(super) fn deal_with_earlier(&mut self) -> Result<(), Error> {
        self.memory.aftermath.take().map_or(Ok(()), |aftermath| self.deal_with(aftermath))
    }

    async fn pump(&mut self) -> Result<Progress, Error> {
        loop {
            self.look_at_others()?;
            self.read_forgotten().await?;
            self.plan_input()?;
            self.dispatch().await?;
            if self.is_quiet() {
                // Ahead of a barrier: a flush takes requests away with the keys beside them.
                if self.has_question() {
                    self.answer().await?;
                    continue;
                }
                if let Some(barrier) = self.barrier.take() {
                    self.ties = None;
                    self.pass(barrier).await?;
                    self.execute_alone().await?;
                    self.go_on_reading().await?;
                    continue;
                }
                self.stopping |= self.is_at_the_end();
                if self.stopping {
                    if !self.lags && self.planner.now() == self.executed {
                        return Ok(self.executed.clone());
                    }
                    self.open.urgent = true;
                    continue;
                }
            }
            self.wait().await?;
        }
    }

    /// Waits for the next thing to happen.
    async fn wait(&mut self) -> Result<(), Error> {
        let in_flight = self.running.is_some() || self.waiting.is_some();
        let wants_input = self.wants_input();
        let (flow, (limit, held)) = (self.flow(), self.allowance(wants_input));
        tokio::select! {
            biased;
            // Stopping first: intake ends, what is planned is finished.
            () = self.stop.cancelled(), if !self.stopping => self.end_intake(),
            // Replies before new work: they free the way for the next batch.
            reply = self.connection.recv(), if in_flight => {
                self.reply(reply?).await?;
                while let Some(reply) = self.connection.try_recv()? {
                    self.reply(reply).await?;
                }
            }
            () = &mut self.tick, if self.look.is_none() => self.begin_look(),
            seen = seen(self.look.as_mut()) => self.end_look(seen)?,
            told = heard(self.scout.asking.as_mut()) => self.take_word(told).await?,
            () = over(self.scout.rest.as_mut()) => self.scout.rest = None,
            () = over(self.rest.as_mut()) => self.rest = None,
            () = self.inflow.opened(flow), if held => {}
            entries = self.reader.next(limit), if wants_input && !held => {
                let entries = entries?;
                if is_busy(&entries, limit) {
                    self.rest = Some(self.tools.clock.sleep(limits::BUSY_REST));
                }
                self.take_in(entries)?;
            }
            // After the input: what there is to apply goes between two parts of what is tried again.
            () = over(self.pause.as_mut()) => (self.pause, self.asked) = (None, true),
        }
        Ok(())
    }

    fn wants_input(&self) -> bool {
        self.is_out_of_input()
            && !self.lacks_input()
            && self.rest.is_none()
            && self.barrier.is_none()
            && !self.has_question()
            && !self.stopping
            && !self.open.is_full(self.planner.rules.sizes.batch)
            && !self.holds_much()
    }

    /// Whether what is under way takes so much memory that nothing is read beside it.
    fn holds_much(&self) -> bool {
        let under_way = self.running.iter().chain(&self.waiting).map(|flight| &flight.batch);
        let cost = |batch: &Batch| batch.bytes() + batch.commands() * limits::CHANGE_BYTES;
        under_way.map(cost).sum::<usize>() > limits::UNDER_WAY_BYTES
    }

    fn plan_input(&mut self) -> Result<(), Error> {
        let (now_ms, counts) = (self.tools.clock.now_ms(), self.inflow.counts());
        while self.barrier.is_none()
            && !self.has_question()
            && !self.open.is_full(self.planner.rules.sizes.batch)
        {
            let Some(entry) = self.next_input() else {
                self.bound_intake();
                self.settle_deadlines(now_ms);
                return Ok(());
            };
            if self.planner.is_early(&entry)? {
                self.intake.put_back(self.track_of(&entry), entry);
                continue;
            }
            self.count_taken(counts, &entry);
            self.planner.rules.hold_expiry(now_ms, entry.timestamp_ms);
            if let Planned::Barrier(barrier) = self.planner.plan(entry, &mut self.open)? {
                // A flush takes requests away with the keys beside them.
                self.asked |= barrier.need == Need::Alone;
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
                self.clear_of_suspicion().await?;
                let batch = self.seal();
                self.execute(Flight::of(batch)).await?;
            }
        }
        if self.waiting.is_none()
            && self.running.is_some()
            && self.open.is_full(self.planner.rules.sizes.batch)
        {
            let mut batch = self.seal();
            let sent = self.send(&mut batch).await;
            self.waiting = Some(Flight::of(batch));
            sent?;
        }
        Ok(())
    }

    fn is_open_due(&self) -> bool {
        self.open.has_work()
            || self.open.urgent
            || self.open.is_full(self.planner.rules.sizes.batch)
    }

    /// Whether nothing is under way or about to be.
    fn is_quiet(&self) -> bool {
        self.running.is_none() && self.waiting.is_none() && !self.is_open_due()
    }

    /// Ends planning of the open batch and begins another.
    pub(super) fn seal(&mut self) -> Batch {
        let next = self.spare.pop().unwrap_or_else(|| Batch::new(self.tools.config.checkpoint_db));
        let mut batch = std::mem::replace(&mut self.open, next);
        batch.close_run();
        batch.changes = self.planner.held.take_changes();
        batch.deadlines = self.planner.deadlines.take_changes();
        let suspects = std::mem::take(&mut self.planner.suspects);
        batch.suspects = suspects.into_iter().map(|suspected| suspected.spot).collect();
        batch.after = self.planner.now();
        batch.in_doubt = self.planner.doubt.lines();
        batch
    }

    /// Writes the tail of a batch and has it executed. It counts as under way from here on, whatever fails.
    pub(super) async fn execute(&mut self, mut flight: Flight) -> Result<(), Error> {
        let sent = self.send_whole(&mut flight).await;
        self.running = Some(flight);
        sent
    }

    async fn send_whole(&mut self, flight: &mut Flight) -> Result<(), Error> {
        let batch = &mut flight.batch;
        if !batch.letters.is_empty() {
            self.store(&batch.letters).await?;
        }
        self.write_held(batch);
        // Where nothing was done there is nothing to judge.
        let nothing_to_judge = !flight.works && batch.in_doubt.is_empty();
        let judged = if nothing_to_judge { &batch.after.applied } else { &self.judged };
        flight.read_from = self.read_from(&batch.after);
        let written = Written {
            judged,
            read_from: &flight.read_from,
            owner: self.owner,
            now_ms: self.tools.clock.now_ms(),
            says_waits: self.tried.is_empty(),
            territory: &self.planner.rules.territory,
        };
        flight.written = self.stored.news((self.scope, &batch.after), &written, batch.loses_own);
        for (track, checkpoint) in &flight.written {
            let Some(names) = self.names.track(*track) else { continue };
            let bytes = checkpoint::encode(checkpoint, batch.after.somewhere())?;
            let is_first = batch.loses_own || !self.stored.has(*track);
            batch.checkpoint(&names.checkpoint, &bytes, is_first);
        }
        batch.finish();
        self.memory.stood = vec![self.executed.clone(), batch.after.clone()];
        self.send(batch).await
    }

    async fn send(&mut self, batch: &mut Batch) -> Result<(), Error> {
        for segment in batch.unsent() {
            self.connection.send(segment).await?;
        }
        self.connection.flush().await?;
        batch.mark_sent();
        Ok(())
    }

    /// Takes the next reply.
    async fn reply(&mut self, reply: Reply) -> Result<(), Error> {
        let Some(flight) = self.running.as_mut().or(self.waiting.as_mut()) else {
            let position = self.executed.somewhere();
            let what = format!("a reply that nobody asked for: {reply:?}");
            return Err(Error::Contradiction { position, what });
        };
        let number = flight.answered;
        flight.answered += 1;
        if number <= flight.batch.commands() {
            let is_of_multi = number == 0;
            let cursor = &mut flight.cursor;
            let sent = (!is_of_multi).then(|| flight.batch.next_command(cursor)).flatten();
            if let Reply::Error(text) = &reply {
                flight.refused.push((sent, Refusal::read(text)));
            }
            return Ok(());
        }
        match self.running.take() {
            Some(flight) => self.finish(flight, &reply).await,
            None => Ok(()),
        }
    }

    pub(super) fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() < SPARE_BATCHES {
            batch.reset();
            self.spare.push(batch);
        }
    }

    pub(super) fn show_phase(&self) {
        let phase = match self.executed.resyncs.is_empty() {
            false => Phase::Snapshot,
            true => Phase::Stream,
        };
        self.status.phase(phase);
    }
}

/// Whether a journal gave many records, and has no more at the moment: neither of the limits was near.
fn is_busy(entries: &[Entry], limit: ReadLimit) -> bool {
    (limits::BUSY_RECORDS..limit.records).contains(&entries.len())
        && entries.iter().map(|entry| entry.payload.len()).sum::<usize>() < limit.bytes / 2
}

// === impl Flight ===

impl Flight {
    pub(super) fn of(batch: Batch) -> Self {
        Self {
            works: batch.has_work(),
            batch,
            answered: 0,
            cursor: 0,
            read_from: Vec::new(),
            written: Vec::new(),
            refused: Vec::new(),
        }
    }
}
