//! What needs a look at the destination once everything before it is done: sweeps, flushes, exchanges of databases.

use std::collections::HashSet;

use bytes::Bytes;
use event::control::Control;
use event::{Body, names};
use wire::slot::{Slot, Slots};

use super::pump::Pump;
use super::status::Phase;
use crate::config::{Existing, Inexact};
use crate::error::Error;
use crate::existing::{Scan, select};
use crate::limits;
use crate::marks::{Mark, Marks, mark};
use crate::plan::{Barrier, Need, Planned};
use crate::quarantine::set::Spot;

/// The keys that one shard has in a track.
struct Part {
    track: usize,
    /// The shard's.
    epoch: u64,
    /// None: all of the track.
    slots: Option<Slots>,
}

// === impl Part ===

impl Part {
    fn has(&self, key: &[u8]) -> bool {
        self.slots.as_ref().is_none_or(|slots| slots.contains(Slot::of_key(key)))
    }
}

// === impl Pump ===

impl Pump<'_> {
    /// Passes a barrier, before which everything has been executed; or puts it back, for a little later.
    pub(super) async fn pass(&mut self, mut barrier: Box<Barrier>) -> Result<(), Error> {
        if self.planner.is_superseded(&barrier) {
            let position = barrier.event.position;
            tracing::info!(%position, "a change is passed over: a later snapshot has what it did");
            self.planner.leave_behind(&barrier, &mut self.open);
            return Ok(());
        }
        if !self.receive_guests(&mut barrier).await? {
            self.planner.put_back(barrier);
            return Ok(());
        }
        let position = barrier.event.position;
        let mut exact = true;
        match barrier.need {
            // What was in its way may be gone by now.
            Need::Script => {
                if let Some(why) = self.planner.obstacle_to(&barrier.event) {
                    let error = Error::Inexact { command: barrier.command(), position, why };
                    exact = self.leave_out(error)?;
                }
            }
            Need::Together => {}
            Need::Sweep => {
                let Some(swept) = self.pass_sweep(barrier).await? else { return Ok(()) };
                barrier = swept;
            }
            Need::Slots => {
                if self.lags {
                    // The destination is to say that all before it was judged before anything goes: what is gone would
                    // else look as if changes of it had failed, to whoever comes after a crash.
                    self.open.urgent = true;
                    self.barrier = Some(barrier);
                    return Ok(());
                }
                exact = match self.require_alone(&barrier).await {
                    Ok(()) => true,
                    Err(error) => self.leave_out(error)?,
                };
                if exact && !self.empty_slots(&barrier).await? {
                    self.end_intake();
                    return Ok(());
                }
            }
            Need::Functions => return self.pass_functions(*barrier).await,
            Need::Alone => {
                if let Err(error) = self.require_alone(&barrier).await {
                    exact = self.leave_out(error)?;
                }
            }
        }
        // It may have waited for long.
        self.planner.rules.hold_expiry_anew(self.tools.clock.now_ms());
        self.planner.plan_barrier(&barrier, exact, &mut self.open)?;
        match self.open.loses_own {
            true => self.remember_bystanders(&barrier.guests).await,
            false => Ok(()),
        }
    }

    /// Removes what a snapshot did not name, if that may go. Gives back its end once nothing of that is left; until then
    /// nothing behind it may be done.
    async fn pass_sweep(&mut self, barrier: Box<Barrier>) -> Result<Option<Box<Barrier>>, Error> {
        let (line, position) = (barrier.line(), barrier.event.position);
        let begins = !self.planner.is_sweeping(line);
        if !self.may_sweep((position, begins)).await? {
            return Ok(Some(barrier));
        }
        if self.planner.begin_sweep(line) {
            // Said at the destination before anything goes.
            self.open.urgent = true;
            self.barrier = Some(barrier);
            return Ok(None);
        }
        if self.sweep(&barrier).await? {
            return Ok(Some(barrier));
        }
        self.end_intake();
        Ok(None)
    }

    /// Plans an event ahead of which libraries of functions go, if they may.
    async fn pass_functions(&mut self, barrier: Barrier) -> Result<(), Error> {
        let may_go = self.may_forget_functions().await?;
        self.planner.rules.hold_expiry_anew(self.tools.clock.now_ms());
        if let Planned::Barrier(next) = self.planner.plan_looked(barrier, may_go, &mut self.open)? {
            self.barrier = Some(next);
        }
        Ok(())
    }

    /// Says that what is not exact is left out, where the settings say so.
    fn leave_out(&self, error: Error) -> Result<bool, Error> {
        let is_inexact = matches!(error, Error::Inexact { .. });
        if self.tools.config.inexact == Inexact::Refuse || !is_inexact {
            return Err(error);
        }
        tracing::warn!(error = %error, "left it out, as the settings say");
        Ok(false)
    }

    /// Removes every key that the snapshot did not name. Says whether it came to the end.
    async fn sweep(&mut self, barrier: &Barrier) -> Result<bool, Error> {
        self.status.phase(Phase::Sweep);
        let position = barrier.event.position;
        let Some(marks) = self.planner.take_marks(barrier.line()) else {
            let what = "a snapshot ends whose keys nobody has counted".to_owned();
            return Err(Error::Contradiction { position, what });
        };
        let Some(slots) = marks.slots.clone() else {
            let what = "a snapshot ends of which nobody knows whose slots it is".to_owned();
            return Err(Error::Contradiction { position, what });
        };
        let part = Part { track: barrier.track, epoch: position.epoch, slots };
        let swept = match marks.in_memory() {
            true => self.sweep_by_memory(&part, &marks).await,
            false => self.sweep_by_file(&part, &marks).await,
        };
        self.planner.marks.push(marks);
        let removed = swept?;
        self.status.removed(removed);
        if self.stop.is_cancelled() {
            tracing::info!(keys = removed, "stopped removing keys: a restart goes on with it");
            return Ok(false);
        }
        tracing::info!(keys = removed, "removed the keys that the source does not have");
        Ok(true)
    }

    /// Removes what has none of the marks. Says how many keys that were.
    async fn sweep_by_memory(&mut self, part: &Part, marks: &Marks) -> Result<u64, Error> {
        self.release_held(part, |mark| !marks.has(mark));
        self.remove(part, None, |mark| !marks.has(mark)).await
    }

    /// Removes the keys of a shard that was emptied, in its track. Says whether it came to the end.
    async fn empty_slots(&mut self, barrier: &Barrier) -> Result<bool, Error> {
        let Body::Control(Control::FlushSlots { all, slots }) = &barrier.event.body else {
            return Ok(true);
        };
        let (track, slots) = (barrier.track, Some(slots.clone()));
        let part = Part { track, epoch: barrier.event.position.epoch, slots };
        let rules = &self.planner.rules;
        let only = (!all).then(|| rules.mapping.target(barrier.event.db));
        if !all && !rules.filters.db(barrier.event.db) {
            return Ok(true);
        }
        let removed = self.remove(&part, only, |_| true).await?;
        self.status.removed(removed);
        Ok(!self.stop.is_cancelled())
    }

    /// The same with more marks than memory holds: first find out which keys have to go, then remove them.
    async fn sweep_by_file(&mut self, part: &Part, marks: &Marks) -> Result<u64, Error> {
        let failed = |source| Error::Marks { dir: marks.dir().to_owned(), source };
        let Some(mut census) = marks.census().map_err(failed)? else { return Ok(0) };
        for db in 0..self.planner.rules.databases {
            if !self.planner.is_target(db) {
                continue;
            }
            select(&mut self.connection, db).await?;
            let mut scan = Scan::default();
            while let Some(keys) = self.scanned(&mut scan).await? {
                for key in keys {
                    census.add(mark(db, &key)).map_err(failed)?;
                }
            }
        }
        // A held key that is not at the destination would else never be compared.
        let keys = self.planner.held.iter().filter(|(spot, _)| !spot.is_library());
        let held: Vec<Mark> = keys.map(|(spot, _)| mark(spot.db, &spot.key)).collect();
        for mark in held {
            census.add(mark).map_err(failed)?;
        }
        let mut removed = 0;
        while let Some(strangers) = census.strangers().map_err(failed)? {
            if self.stop.is_cancelled() {
                break;
            }
            self.release_held(part, |mark| strangers.contains(&mark));
            removed += self.remove(part, None, |mark| strangers.contains(&mark)).await?;
        }
        Ok(removed)
    }

    /// Keys of a part that are set aside and whose marks `goes` names are gone.
    fn release_held(&mut self, part: &Part, goes: impl Fn(Mark) -> bool) {
        let names = self.names;
        let is_gone = |spot: &Spot| {
            !spot.is_library()
                && names.track_of(spot) == Some(part.track)
                && part.has(&spot.key)
                && goes(mark(spot.db, &spot.key))
        };
        self.planner.held.release_where(is_gone);
    }

    /// Removes the keys of a part whose marks `goes` names, and temporary keys of earlier epochs; in all databases, or
    /// one.
    async fn remove(
        &mut self,
        part: &Part,
        only: Option<u32>,
        goes: impl Fn(Mark) -> bool,
    ) -> Result<u64, Error> {
        let mut removed = 0;
        for db in 0..self.planner.rules.databases {
            if !self.planner.is_target(db) || only.is_some_and(|only| only != db) {
                continue;
            }
            select(&mut self.connection, db).await?;
            let mut scan = Scan::default();
            while let Some(keys) = self.scanned(&mut scan).await? {
                let mut gone: HashSet<Bytes> = HashSet::new();
                for key in keys {
                    if !self.names.is_of(part.track, &key) || !part.has(&key) {
                        continue;
                    }
                    let staged = self.names.stage_epoch(&key);
                    let leftover = staged.is_some_and(|of| of < part.epoch);
                    let stranger =
                        !names::is_ours(&key) && self.covers(db, &key) && goes(mark(db, &key));
                    if leftover || stranger {
                        gone.insert(key);
                    }
                }
                let gone: Vec<Bytes> = gone.into_iter().collect();
                for some in gone.chunks(limits::SWEEP_KEYS) {
                    let mut args: Vec<&[u8]> = vec![self.planner.rules.remove_command()];
                    args.extend(some.iter().map(|key| &key[..]));
                    let reply = self.connection.call(args).await?;
                    removed +=
                        reply.as_int().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
                }
            }
        }
        select(&mut self.connection, self.tools.config.checkpoint_db).await?;
        Ok(removed)
    }

    /// The next keys of a walk; none at its end, or when the lane is to stop.
    async fn scanned(&mut self, scan: &mut Scan) -> Result<Option<Vec<Bytes>>, Error> {
        if self.stop.is_cancelled() {
            return Ok(None);
        }
        scan.next(&mut self.connection).await
    }

    /// Whether a key of the destination can come from the stream: a database and a name that are taken.
    fn covers(&self, db: u32, key: &[u8]) -> bool {
        let rules = &self.planner.rules;
        rules.filters.key(key)
            && rules.mapping.sources(db, |source| rules.filters.db(source)).next().is_some()
    }

    /// Whether nothing but this stream's keys lives where databases are to be emptied or exchanged.
    async fn require_alone(&mut self, barrier: &Barrier) -> Result<(), Error> {
        let position = barrier.event.position;
        let inexact = |why| Error::Inexact { command: barrier.command(), position, why };
        let config = &self.tools.config;
        if self.planner.rules.existing == Existing::Overwrite {
            return Err(inexact("other data may live there, as the settings allow"));
        }
        if config.filters.split_databases() {
            return Err(inexact("filters take only some of the keys"));
        }
        if barrier.names_single_databases() && !config.mapping.keeps_apart() {
            return Err(inexact("databases of the source are mixed in one"));
        }
        if !config.filters.dbs.is_empty() && barrier.exchanges() {
            return Err(inexact("filters take only some of the databases"));
        }
        self.look_for_others().await?;
        match self.neighbours.found {
            true => Err(inexact("another stream keeps its checkpoint at this destination")),
            false => Ok(()),
        }
    }
}
