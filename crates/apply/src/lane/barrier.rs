//! What needs a look at the destination once everything before it is done: sweeps, flushes, exchanges of databases.

use std::collections::HashSet;

use bytes::Bytes;
use event::control::Control;
use event::{Body, names};
use wire::slot::{Slot, Slots};

use super::neighbours::May;
use super::pump::Pump;
use super::status::Phase;
use crate::config::{Existing, Inexact};
use crate::error::Error;
use crate::existing::{Scan, select};
use crate::limits;
use crate::marks::{Mark, Marks, mark};
use crate::plan::{Barrier, Need, Planned};
use crate::quarantine::set::Spot;

/// The keys that one shard has in a track, of which some go.
struct Part<'a> {
    /// Why they go.
    barrier: &'a Barrier,
    /// None: all of the track.
    slots: Option<Slots>,
    /// How many have gone.
    removed: u64,
    /// Whether the rest stays, since others have come to live there.
    is_spared: bool,
}

// === impl Part ===

impl<'a> Part<'a> {
    fn of(barrier: &'a Barrier, slots: Option<Slots>) -> Self {
        Self { barrier, slots, removed: 0, is_spared: false }
    }

    fn track(&self) -> usize {
        self.barrier.track
    }

    /// The shard's.
    fn epoch(&self) -> u64 {
        self.barrier.event.position.epoch
    }

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
                match self.empty_slots(&barrier).await {
                    Ok(true) => {}
                    Ok(false) => return self.leave_to_next_start(&barrier).await,
                    Err(error) => exact = self.leave_out(error)?,
                }
            }
            Need::Functions => return self.pass_functions(*barrier).await,
            Need::Alone => match self.require_alone(&barrier).await {
                Ok(true) => {}
                Ok(false) => return self.leave_to_next_start(&barrier).await,
                Err(error) => exact = self.leave_out(error)?,
            },
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
        match self.may_sweep((position, begins)).await? {
            May::Go => {}
            May::Stay => return Ok(Some(barrier)),
            May::Stopped => {
                self.leave_to_next_start(&barrier).await?;
                return Ok(None);
            }
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
        self.leave_to_next_start(&barrier).await?;
        Ok(None)
    }

    /// The lane is to stop before it has passed a barrier, and the next start meets that again.
    async fn leave_to_next_start(&mut self, barrier: &Barrier) -> Result<(), Error> {
        self.end_intake();
        if !barrier.guests.is_empty() {
            self.connection.call(["UNWATCH"]).await?;
        }
        Ok(())
    }

    /// Plans an event ahead of which libraries of functions go, if they may.
    async fn pass_functions(&mut self, barrier: Barrier) -> Result<(), Error> {
        let may_go = match self.may_forget_functions().await? {
            May::Go => true,
            May::Stay => false,
            May::Stopped => return self.leave_to_next_start(&barrier).await,
        };
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
        let mut part = Part::of(barrier, slots);
        let swept = match marks.in_memory() {
            true => self.sweep_by_memory(&mut part, &marks).await,
            false => self.sweep_by_file(&mut part, &marks).await,
        };
        self.planner.marks.push(marks);
        self.status.removed(part.removed);
        swept?;
        let keys = part.removed;
        if self.stop.is_cancelled() {
            tracing::info!(keys, "stopped removing keys: a restart goes on with it");
            return Ok(false);
        }
        match part.is_spared {
            true => tracing::info!(keys, "removed keys until another stream came"),
            false => tracing::info!(keys, "removed the keys that the source does not have"),
        }
        Ok(true)
    }

    /// Removes what has none of the marks.
    async fn sweep_by_memory(&mut self, part: &mut Part<'_>, marks: &Marks) -> Result<(), Error> {
        self.release_held(part, |mark| !marks.has(mark));
        self.remove(part, None, |mark| !marks.has(mark)).await
    }

    /// Removes the keys of a shard that was emptied, in its track, if nothing else lives there. Says whether it came to
    /// the end.
    async fn empty_slots(&mut self, barrier: &Barrier) -> Result<bool, Error> {
        if !self.require_alone(barrier).await? {
            return Ok(false);
        }
        let Body::Control(Control::FlushSlots { all, slots }) = &barrier.event.body else {
            return Ok(true);
        };
        let rules = &self.planner.rules;
        let only = (!all).then(|| rules.mapping.target(barrier.event.db));
        if !all && !rules.filters.db(barrier.event.db) {
            return Ok(true);
        }
        let mut part = Part::of(barrier, Some(slots.clone()));
        let emptied = self.remove(&mut part, only, |_| true).await;
        self.status.removed(part.removed);
        emptied?;
        Ok(!self.stop.is_cancelled())
    }

    /// The same with more marks than memory holds: first find out which keys have to go, then remove them.
    async fn sweep_by_file(&mut self, part: &mut Part<'_>, marks: &Marks) -> Result<(), Error> {
        let failed = |source| Error::Marks { dir: marks.dir().to_owned(), source };
        let Some(mut census) = marks.census().map_err(failed)? else { return Ok(()) };
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
        while let Some(strangers) = census.strangers().map_err(failed)? {
            if self.stop.is_cancelled() || part.is_spared {
                break;
            }
            self.release_held(part, |mark| strangers.contains(&mark));
            self.remove(part, None, |mark| strangers.contains(&mark)).await?;
        }
        Ok(())
    }

    /// Keys of a part that are set aside and whose marks `goes` names are gone.
    fn release_held(&mut self, part: &Part<'_>, goes: impl Fn(Mark) -> bool) {
        let names = self.names;
        let is_gone = |spot: &Spot| {
            !spot.is_library()
                && names.track_of(spot) == Some(part.track())
                && part.has(&spot.key)
                && goes(mark(spot.db, &spot.key))
        };
        self.planner.held.release_where(is_gone);
    }

    /// Removes the keys of a part whose marks `goes` names, and temporary keys of earlier epochs; in all databases, or
    /// one. Ends early where others have come to live there, or the lane is to stop.
    async fn remove(
        &mut self,
        part: &mut Part<'_>,
        only: Option<u32>,
        goes: impl Fn(Mark) -> bool,
    ) -> Result<(), Error> {
        'databases: for db in 0..self.planner.rules.databases {
            if !self.planner.is_target(db) || only.is_some_and(|only| only != db) {
                continue;
            }
            select(&mut self.connection, db).await?;
            let mut scan = Scan::default();
            while let Some(keys) = self.scanned(&mut scan).await? {
                let gone = self.going((part, db), keys, &goes);
                if !gone.is_empty() && !self.may_still_go(part, db).await? {
                    break 'databases;
                }
                for some in gone.chunks(limits::SWEEP_KEYS) {
                    let mut args: Vec<&[u8]> = vec![self.planner.rules.remove_command()];
                    args.extend(some.iter().map(|key| &key[..]));
                    let reply = self.connection.call(args).await?;
                    let gone = reply.as_int().and_then(|count| u64::try_from(count).ok());
                    part.removed += gone.unwrap_or(0);
                }
            }
        }
        select(&mut self.connection, self.tools.config.checkpoint_db).await?;
        Ok(())
    }

    /// Those of the keys found in a database that go.
    fn going(
        &self,
        (part, db): (&Part<'_>, u32),
        keys: Vec<Bytes>,
        goes: impl Fn(Mark) -> bool,
    ) -> Vec<Bytes> {
        let goes = |key: &Bytes| {
            if !self.names.is_of(part.track(), key) || !part.has(key) {
                return false;
            }
            let staged = self.names.stage_epoch(key);
            let leftover = staged.is_some_and(|of| of < part.epoch());
            leftover || (!names::is_ours(key) && self.covers(db, key) && goes(mark(db, key)))
        };
        let gone: HashSet<Bytes> = keys.into_iter().filter(goes).collect();
        gone.into_iter().collect()
    }

    /// Whether keys may go on going from a database, which stays selected: others may have come since the last look.
    async fn may_still_go(&mut self, part: &mut Part<'_>, db: u32) -> Result<bool, Error> {
        if !self.has_newcomers().await? {
            return Ok(true);
        }
        let (barrier, position) = (part.barrier, part.barrier.event.position);
        let may = match barrier.need {
            Need::Slots if self.require_alone(barrier).await? => May::Go,
            Need::Slots => May::Stopped,
            _ => self.may_sweep((position, false)).await?,
        };
        select(&mut self.connection, db).await?;
        part.is_spared |= may == May::Stay;
        Ok(may == May::Go)
    }

    /// The next keys of a walk; none at its end, or when the lane is to stop.
    pub(super) async fn scanned(&mut self, scan: &mut Scan) -> Result<Option<Vec<Bytes>>, Error> {
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

    /// Makes sure that nothing but this stream's keys lives where databases are to be emptied or exchanged. Says whether
    /// that was found out: not where the lane is to stop meanwhile.
    async fn require_alone(&mut self, barrier: &Barrier) -> Result<bool, Error> {
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
        let has_looked = self.look_for_others(limits::OTHERS_LOOK_INTERVAL).await?;
        match has_looked && self.neighbours.found {
            true => Err(inexact("another stream keeps its checkpoint at this destination")),
            false => Ok(has_looked),
        }
    }
}
