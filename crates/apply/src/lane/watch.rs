//! What a session writes about itself: our own keys beside the checkpoint, where to read from, its lag.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use event::Position;
use futures::future::BoxFuture;
use journal::{Description, ReadError};
use wire::resp::encode::Decimal;

use super::parts::Standing;
use super::pump::Pump;
use super::session::durable;
use super::{Lane, LaneStatus};
use crate::batch::Batch;
use crate::error::Error;
use crate::limits;
use crate::names::TrackNames;
use crate::progress::Progress;
use crate::quarantine::left_out;
use crate::quarantine::set::{Change, Spot};
use crate::quarantine::shelf::Word;
use crate::scope::{Line, Scope};

/// A look at how far the journal reaches.
pub(super) type Look = BoxFuture<'static, Result<Description, ReadError>>;

/// What a look has seen; never where there is none. Cancel-safe.
pub(super) async fn seen(look: Option<&mut Look>) -> Result<Description, ReadError> {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

// === impl Pump ===

impl Pump<'_> {
    /// What the batch does to the set of held keys at the destination, or all of our keys where it removes them.
    pub(super) fn write_held(&mut self, batch: &mut Batch) {
        self.write_suspects(batch);
        self.tell_set_aside(batch);
        let anew = self.write_anew(batch);
        for change in std::mem::take(&mut batch.changes) {
            let names = self.names.of(&change.spot);
            if let Some(names) = names.filter(|_| !self.is_anew(&change.spot, &anew)) {
                let (key, field) = (&names.quarantine, change.spot.field());
                if change.held {
                    batch.own([b"HSET".as_slice(), key, &field, &change.why]);
                } else {
                    batch.own([b"HDEL".as_slice(), key, &field]);
                    self.write_request(batch, &change.spot, &field);
                }
            }
            batch.changes.push(change);
        }
    }

    /// Writes our own keys of tracks that have none, or where the batch removes them. Gives these tracks.
    fn write_anew(&self, batch: &mut Batch) -> BTreeSet<usize> {
        let anew = match batch.loses_own {
            true => (0..self.scope.tracks()).collect(),
            false => self.anew.clone(),
        };
        if batch.loses_own {
            self.write_bystanders(batch);
        }
        let owner = Decimal::from(self.owner);
        for names in anew.iter().filter_map(|track| self.names.track(*track)) {
            batch.own([b"SET".as_slice(), &names.owner, owner.as_ref()]);
            batch.own([b"DEL".as_slice(), &names.quarantine, &names.requests]);
        }
        for (spot, why) in self.planner.held.iter().filter(|_| !anew.is_empty()) {
            if let Some(names) = self.names.of(spot).filter(|_| self.is_anew(spot, &anew)) {
                batch.own([b"HSET".as_slice(), &names.quarantine, &spot.field(), why]);
            }
        }
        anew
    }

    fn is_anew(&self, spot: &Spot, anew: &BTreeSet<usize>) -> bool {
        self.names.track_of(spot).is_some_and(|track| anew.contains(&track))
    }

    /// Says what the batch sets aside: each key, and each change that has none.
    fn tell_set_aside(&mut self, batch: &Batch) {
        let (now, notices) = (self.tools.clock.monotonic(), &mut self.memory.notices);
        let kept = |change: &&Change| change.held && left_out(&change.why).is_none();
        for change in batch.changes.iter().filter(kept) {
            let why = String::from_utf8_lossy(&change.why);
            // Its first word is the place.
            let (position, why) = why.split_once(' ').unwrap_or(("", &why));
            if notices.has_a_line(now, why) {
                tracing::warn!(key = %change.spot, position, why, "set a key aside");
            }
        }
        for draft in batch.letters.iter().filter(|draft| draft.keys.is_empty()) {
            if notices.has_a_line(now, &draft.why) {
                tracing::warn!(position = %draft.position, why = draft.why, "set a change aside");
            }
        }
    }

    /// Counts what an executed batch has left out, and says so of the first for each reason.
    pub(super) fn tell_left_out(&mut self, batch: &Batch) {
        for why in &batch.left_out {
            self.status.dropped(why);
            if self.memory.left_out.count(why) {
                let until = batch.after.somewhere().to_string();
                tracing::warn!(
                    why,
                    until,
                    "a change is left out, and those after it of its key, since the destination cannot hold it"
                );
            }
        }
    }

    /// Says how many there were of which nothing was said.
    fn tell_of_more(&mut self) {
        let now = self.tools.clock.monotonic();
        for (why, changes) in self.memory.left_out.take_untold(now) {
            tracing::warn!(changes, why, "changes left out so far");
        }
        if let Some((keys, last)) = self.memory.notices.take_untold(now) {
            tracing::warn!(
                keys,
                why_the_last = last,
                "more keys were set aside: `keyferry quarantine list` names all that still are"
            );
        }
    }

    /// The suspects that the batch has found, or all of them where it removes the list.
    fn write_suspects(&mut self, batch: &mut Batch) {
        for names in self.anew.iter().filter_map(|track| self.names.track(*track)) {
            batch.own([b"DEL".as_slice(), &names.suspects]);
        }
        if !self.anew.is_empty() {
            let (names, anew) = (self.names, &self.anew);
            let is_anew = |spot: &Spot| names.track_of(spot).is_some_and(|of| anew.contains(&of));
            self.suspects.retain(|spot| !is_anew(spot));
        }
        self.exchange_suspects(batch);
        let found = std::mem::take(&mut batch.suspects);
        let position = batch.after.somewhere();
        let why = Bytes::from(format!("nobody has read what became of a change before {position}"));
        let found_now = found.len();
        found.iter().for_each(|spot| tracing::debug!(key = %spot, "suspect"));
        let news: Vec<_> =
            found.into_iter().filter_map(|spot| self.suspects.add(spot, &why)).collect();
        if !news.is_empty() {
            self.tell_suspects(found_now);
        }
        if batch.loses_own {
            self.names.tracks().iter().for_each(|names| {
                batch.own([b"DEL".as_slice(), &names.suspects]);
            });
        }
        let all = batch.loses_own.then(|| self.suspects.fields());
        for (field, why) in all.into_iter().flatten().chain(news) {
            self.write_suspect(batch, (&field, &why));
        }
        self.status.suspects(&self.suspects);
    }

    /// A field of the list: in the track of its key; what is counted only, in the first.
    fn write_suspect(&self, batch: &mut Batch, (field, why): (&Bytes, &Bytes)) {
        let names = match Spot::parse(field) {
            Some(spot) => self.names.of(&spot),
            None => self.names.track(0),
        };
        if let Some(names) = names {
            batch.own([b"HSET".as_slice(), &names.suspects, field, why]);
        }
    }

    /// Those of databases that the batch exchanges go along.
    fn exchange_suspects(&mut self, batch: &mut Batch) {
        let mut moved = Vec::new();
        for exchanged in batch.exchanged.clone() {
            moved.extend(self.suspects.exchange(exchanged));
        }
        if moved.is_empty() {
            return;
        }
        for spot in moved {
            if let Some(names) = self.names.of(&spot) {
                batch.own([b"HDEL".as_slice(), &names.suspects, &spot.field()]);
            }
        }
        for (field, why) in self.suspects.fields() {
            self.write_suspect(batch, (&field, &why));
        }
    }

    fn tell_suspects(&self, found: usize) {
        let (destination, stream) = (self.connection.endpoint(), &self.scope.stream);
        tracing::warn!(
            keys = found,
            see = format!("keyferry quarantine list {destination} --stream {stream} --data-dir …"),
            "suspects: these keys were changed when the last process or connection ended, before the replies were \
             read, and nothing shows that each change was executed; most likely all were: compare them with the source"
        );
    }

    /// Every key of these lines has been written anew.
    pub(super) fn clear_suspects(&mut self, lines: &[Line]) {
        if lines.is_empty() || self.suspects.is_empty() {
            return;
        }
        let names = self.names;
        let known: Vec<_> =
            lines.iter().map(|line| (*line, self.planner.slots_of(*line))).collect();
        let planner = &self.planner;
        let is_anew = |spot: &Spot| {
            let of = names.track_of(spot);
            let mut known = known.iter().filter(|(line, _)| of == Some(line.track));
            known.any(|(line, slots)| planner.is_of((*line, slots), spot))
        };
        let anew: Vec<Spot> =
            self.suspects.iter().map(|(spot, _)| spot.clone()).filter(is_anew).collect();
        self.suspects.retain(|spot| !is_anew(spot));
        self.status.suspects(&self.suspects);
        let whole = known.iter().filter(|(_, slots)| slots.others().is_empty());
        for names in whole.filter_map(|(line, _)| names.track(line.track)) {
            self.open.own([b"DEL".as_slice(), &names.suspects]);
        }
        // Those of other shards stay.
        for spot in anew {
            if let Some(TrackNames { suspects, .. }) = names.of(&spot) {
                self.open.own([b"HDEL".as_slice(), suspects, &spot.field()]);
            }
        }
        self.open.urgent = true;
    }

    /// A key that is released needs nothing more; one that is tried again is not out of sight before that is judged.
    fn write_request(&self, batch: &mut Batch, spot: &Spot, field: &[u8]) {
        let Some(TrackNames { requests, .. }) = self.names.of(spot) else { return };
        match self.tried.contains(spot) {
            true => {
                let word = Word::Tried.text();
                batch.own([b"HSET".as_slice(), requests, field, word.as_bytes()]);
            }
            false => batch.own([b"HDEL".as_slice(), requests, field]),
        }
    }

    /// Per partition, the offset from which a later session has to read.
    pub(super) fn read_from(&self, after: &Progress) -> Vec<u64> {
        let sources = [Some(&self.executed.needed), self.doubt_from.as_ref(), Some(&self.durable)];
        let least = |index: usize| {
            let snapshot = after.snapshot_from(index);
            let places = sources.iter().flatten().filter_map(|offsets| offsets.get(index));
            places.copied().chain(snapshot).min()
        };
        (0..self.executed.needed.len()).map(|index| least(index).unwrap_or_default()).collect()
    }

    /// Once in a while: tells the journal what it may forget, and asks how far it reaches. Brokers take their time for
    /// it, so the lane goes on meanwhile.
    pub(super) fn begin_look(&mut self) {
        let (journal, name) = (Arc::clone(&self.tools.journal), self.tools.config.name.clone());
        // Not what is known meanwhile: after a crash the checkpoint decides.
        let released = self.scope.offsets(&self.stored_from);
        // It may be one that another process keeps, and takes no notes in it.
        let takes_note = self.tools.config.replay.is_none();
        self.look = Some(Box::pin(async move {
            if takes_note && let Err(error) = journal.release(&name, released).await {
                tracing::warn!(error = %error, "the journal did not take note of what it may forget");
            }
            journal.describe().await
        }));
    }

    /// What follows from that: the checkpoint of an idle lane, its lag, what an operator asks.
    pub(super) fn end_look(&mut self, seen: Result<Description, ReadError>) -> Result<(), Error> {
        self.look = None;
        self.tick = self.tools.clock.sleep(limits::TICK);
        self.asked = true;
        match seen {
            Ok(description) => {
                self.note_reach(&description);
            }
            // What is read tells whether that passes.
            Err(ReadError::Failed(what)) => {
                tracing::warn!(what, "the journal does not tell how far it reaches");
            }
            Err(error) => return Err(error.into()),
        }
        self.look_at_deadlines();
        self.status.waits_for(&self.planner.asks_about());
        self.tell_of_more();
        self.status.left_out(&std::mem::take(&mut self.planner.counts));
        self.status.applied(&self.executed);
        if self.running.is_none() && self.waiting.is_none() {
            self.open.urgent |= self.lags || self.planner.now() != self.executed;
        }
        Ok(())
    }

    fn note_reach(&mut self, description: &Description) {
        self.durable = durable(description, self.scope);
        self.memory.durable.clone_from(&self.durable);
        // What was read and needs nothing done is no lag, although no checkpoint says so yet.
        let mut under_way = self.running.iter().chain(&self.waiting);
        let idle = under_way.all(|flight| !flight.works) && !self.open.has_work();
        let planned = self.planner.now();
        let done = if idle { &planned } else { &self.executed };
        let waits_at = |track| self.planner.waits_at(track);
        let seen = (description, done, &planned.needed[..]);
        show_standing(self.status, self.scope, seen, waits_at);
        self.status.quarantined(self.planner.held.len());
    }
}

// === impl Lane ===

impl Lane {
    /// While the destination does not take writes, what the journal holds for it grows: shows that.
    pub(super) async fn watch_from_afar(&self) -> Infallible {
        loop {
            if let Some(stood) = self.memory.stood.first()
                && let Ok(description) = self.tools.journal.describe().await
            {
                let waits_at = |track| stood.waits.get(&track).copied();
                let seen = (&description, stood, &stood.needed[..]);
                show_standing(&self.status, &self.scope, seen, waits_at);
            }
            self.tools.clock.sleep(limits::TICK).await;
        }
    }
}

/// Shows where each partition stands: what has been applied, and per partition the next record to read.
fn show_standing(
    status: &LaneStatus,
    scope: &Scope,
    (description, done, read): (&Description, &Progress, &[u64]),
    waits_at: impl Fn(usize) -> Option<Position>,
) {
    let ends = scope.ends(description).into_iter();
    for (index, (end, applied)) in ends.zip(done.needed.iter().copied()).enumerate() {
        let track = scope.track(index);
        let positions = done.of_track(track).iter().map(|point| point.position).collect();
        let read = read.get(index).copied().unwrap_or_default().max(applied);
        let waits_at = waits_at(track);
        status.stands(index, Standing { positions, applied, read, end, waits_at });
    }
}
