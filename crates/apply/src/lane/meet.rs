//! Meetings with lanes of other processes: looks at their checkpoints, takes in what is set aside of their keys while a
//! change of several lanes is executed here, and lets tracks go on that waited for one executed there.
//!
//! Guarantees: nothing is read of other lanes but over a connection of its own, so that a lane that waits with one track
//! goes on with the others; what a flush takes of other lanes' own keys is written again in the same step, or nothing
//! of it is executed.

use std::time::Duration;

use bytes::Bytes;
use event::checkpoint::Checkpoint;
use event::{Position, codec};
use futures::future::BoxFuture;
use redis_io::Connection;
use runtime::Clock;
use runtime::clock::Sleep;
use wire::resp::encode::Decimal;
use wire::resp::reply::Reply;

use super::pump::Pump;
use crate::batch::Batch;
use crate::error::Error;
use crate::limits::{MEETING_LOOKS, MEETING_PAUSE, MEETING_PAUSE_MAX};
use crate::plan::{Barrier, Need};
use crate::quarantine::set::Spot;
use crate::quarantine::shelf::pairs;
use crate::scope::Line;
use crate::swap::Swap;

/// Looks at the checkpoints of other lanes.
pub(super) struct Scout {
    connection: Option<Connection>,
    /// The look that is under way.
    pub(super) asking: Option<Asking>,
    /// Until when nothing is looked at.
    pub(super) rest: Option<Sleep>,
    pause: Duration,
    /// Looks since something was found.
    vain: usize,
}

/// A look that is under way.
pub(super) type Asking = BoxFuture<'static, Result<Heard, Error>>;

/// What a look has found.
pub(super) struct Heard {
    connection: Connection,
    found: Vec<(u16, Bytes)>,
}

/// A change of several lanes that was executed here, until the others know that it was judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    line: Line,
    /// Behind all of it.
    end: Position,
}

/// The own keys of a partition that another lane has, as they were before a flush.
#[derive(Debug)]
pub(super) struct Bystander {
    partition: u16,
    checkpoint: Reply,
    owner: Reply,
    requests: Vec<(Bytes, Bytes)>,
    suspects: Vec<(Bytes, Bytes)>,
}

/// What a look has found; never where there is none. Cancel-safe.
pub(super) async fn heard(asking: Option<&mut Asking>) -> Result<Heard, Error> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

/// The field of a key whose database was exchanged with another.
fn moved(field: &Bytes, exchanged: &[(u32, u32)]) -> Bytes {
    let Some(spot) = Spot::parse(field).filter(|spot| !spot.is_library()) else {
        return field.clone();
    };
    let follow = |db, (first, second): &(u32, u32)| Swap::between(*first, *second).follow(db);
    Spot { db: exchanged.iter().fold(spot.db, follow), ..spot }.field()
}

// === impl Bystander ===

impl Bystander {
    pub(super) fn partition(&self) -> u16 {
        self.partition
    }
}

// === impl Scout ===

impl Default for Scout {
    fn default() -> Self {
        Self { connection: None, asking: None, rest: None, pause: MEETING_PAUSE, vain: 0 }
    }
}

impl Scout {
    fn is_idle(&self) -> bool {
        self.asking.is_none() && self.rest.is_none()
    }

    /// Something was found: others are near, and what comes next is looked for at once.
    fn hurry(&mut self) {
        (self.vain, self.pause, self.rest) = (0, MEETING_PAUSE, None);
    }

    /// Nothing was found: rests before the next look, the longer the more often that was so.
    fn rest(&mut self, clock: &dyn Clock) {
        self.vain += 1;
        if self.vain > MEETING_LOOKS {
            self.rest = Some(clock.sleep(self.pause));
            self.pause = (self.pause * 2).min(MEETING_PAUSE_MAX);
        }
    }
}

// === impl Pump ===

impl Pump<'_> {
    /// Passes on to a change for which all have come; else begins to look at the checkpoints of those who have not, if
    /// it is time to.
    pub(super) fn look_at_others(&mut self) -> Result<(), Error> {
        if !self.planner.any_waits() || self.stopping {
            return Ok(());
        }
        if self.barrier.is_none() {
            self.barrier = self.planner.met()?;
            if let Some(barrier) = &self.barrier {
                self.asked |= barrier.need == Need::Alone;
                self.scout.hurry();
            }
        }
        if self.scout.is_idle() {
            self.send_scout();
        }
        Ok(())
    }

    fn send_scout(&mut self) {
        let named =
            |partition: u16| Some((partition, self.names.elsewhere(partition)?.checkpoint.clone()));
        let asked: Vec<_> = self.planner.asks_about().into_iter().filter_map(named).collect();
        if asked.is_empty() {
            return;
        }
        let (connector, db) = (self.tools.connector.clone(), self.tools.config.checkpoint_db);
        let known = self.scout.connection.take();
        self.scout.asking = Some(Box::pin(async move {
            let mut connection = match known {
                Some(connection) => connection,
                None => {
                    let mut connection = connector.connect().await?;
                    let db = Decimal::from(u64::from(db));
                    connection.call([b"SELECT".as_slice(), db.as_ref()]).await?;
                    connection
                }
            };
            let gets: Vec<_> = asked.iter().map(|(_, key)| [b"GET".as_slice(), key]).collect();
            let replies = connection.call_each(&gets).await?.into_iter();
            let found =
                asked.iter().zip(replies).filter_map(|((partition, _), reply)| match reply {
                    Reply::Bulk(bytes) => Some((*partition, bytes)),
                    _ => None,
                });
            Ok(Heard { connection, found: found.collect() })
        }));
    }

    /// Takes in what a look has found.
    pub(super) async fn take_word(&mut self, heard: Result<Heard, Error>) -> Result<(), Error> {
        self.scout.asking = None;
        let Heard { mut connection, found } = heard?;
        for (partition, bytes) in found {
            if let Some(checkpoint) = self.fitting(&bytes, partition) {
                self.planner.hear(partition, checkpoint);
            }
        }
        let released = self.planner.released()?;
        // The change may have set keys of these tracks aside, or released some.
        let names = released.iter().filter_map(|track| self.names.track(*track));
        let asked = names.map(|names| [b"HGETALL".as_slice(), &names.quarantine]);
        let noted = connection.call_each(&asked.collect::<Vec<_>>()).await?;
        for (track, noted) in released.iter().zip(noted) {
            self.reload_held(noted, |of| of == Some(*track));
            self.planner.release(*track, &mut self.open);
        }
        self.scout.connection = Some(connection);
        if released.is_empty() {
            self.scout.rest(self.tools.clock.as_ref());
            return Ok(());
        }
        self.scout.hurry();
        Ok(())
    }

    /// A checkpoint of another lane of this very stream.
    fn fitting(&self, bytes: &[u8], partition: u16) -> Option<Checkpoint> {
        let checkpoint = codec::checkpoint::decode(bytes).ok()?;
        let of = (&checkpoint.stream, checkpoint.incarnation, checkpoint.first_partition);
        (of == (&self.scope.stream, self.scope.incarnation, partition)).then_some(checkpoint)
    }

    /// Replaces what is known to be set aside of the keys of some tracks by what is noted at the destination.
    fn reload_held(&mut self, noted: Reply, of_track: impl Fn(Option<usize>) -> bool) {
        let names = self.names;
        let found = pairs(&noted).into_iter();
        let found = found.filter_map(|(field, why)| Some((Spot::parse(&field)?, why)));
        self.planner.held.reload(|spot| of_track(names.track_of(spot)), found);
    }

    /// Makes sure that all lanes are still there that a change concerns, and takes in what is set aside of their keys,
    /// for as long as it is executed here. If anything of that changes before, nothing of it is. Says whether it can
    /// be executed now.
    pub(super) async fn receive_guests(&mut self, barrier: &mut Barrier) -> Result<bool, Error> {
        let guests: Vec<_> = barrier
            .guests
            .iter()
            .filter_map(|of| Some((*of, self.names.elsewhere(*of)?)))
            .collect();
        if guests.is_empty() {
            return Ok(true);
        }
        let mut watch = vec![b"WATCH".as_slice()];
        watch.extend(guests.iter().flat_map(|(_, of)| [&of.checkpoint[..], &of.quarantine[..]]));
        self.connection.call(watch).await?;
        let mut noted = Vec::new();
        let asked = guests.iter().flat_map(|(_, names)| {
            [[b"GET".as_slice(), &names.checkpoint], [b"HGETALL".as_slice(), &names.quarantine]]
        });
        let mut replies = self.connection.call_each(&asked.collect::<Vec<_>>()).await?.into_iter();
        for (partition, _) in guests {
            let (Some(checkpoint), Some(held)) = (replies.next(), replies.next()) else { break };
            if let Reply::Bulk(bytes) = checkpoint
                && let Some(checkpoint) = self.fitting(&bytes, partition)
            {
                self.planner.hear(partition, checkpoint);
            }
            noted.extend(pairs(&held).into_iter().flat_map(|(field, why)| [field, why]));
        }
        if !self.planner.are_there(barrier)? || self.planner.is_superseded(barrier) {
            self.connection.call(["UNWATCH"]).await?;
            return Ok(false);
        }
        let noted = noted.into_iter().map(Reply::Bulk).collect();
        self.reload_held(Reply::Array(noted), |of| of.is_none());
        if barrier.need == Need::Together && self.planner.obstacle_to(&barrier.event).is_some() {
            barrier.need = Need::Script;
        }
        let position = barrier.event.position;
        let line = Line { track: barrier.track, shard: position.shard };
        self.met = Some(Met { line, end: position.at_index(Position::LAST_INDEX) });
        Ok(true)
    }

    /// Reads other lanes' own keys, which a flush may take. If they change meanwhile, nothing of it is executed.
    pub(super) async fn remember_bystanders(&mut self, guests: &[u16]) -> Result<(), Error> {
        self.bystanders.clear();
        if guests.is_empty() {
            return Ok(());
        }
        let watched = [b"WATCH".as_slice()].into_iter().chain(self.names.all_of(guests));
        self.connection.call(watched.collect::<Vec<_>>()).await?;
        for partition in guests.iter().copied() {
            let Some(names) = self.names.elsewhere(partition) else { continue };
            let asked = [
                [b"GET".as_slice(), &names.checkpoint],
                [b"GET".as_slice(), &names.owner],
                [b"HGETALL".as_slice(), &names.requests],
                [b"HGETALL".as_slice(), &names.suspects],
            ];
            let replies = self.connection.call_each(&asked).await?;
            let Ok([checkpoint, owner, requests, suspects]) = <[Reply; 4]>::try_from(replies)
            else {
                continue;
            };
            let (requests, suspects) = (pairs(&requests), pairs(&suspects));
            let bystander = Bystander { partition, checkpoint, owner, requests, suspects };
            self.bystanders.push(bystander);
        }
        Ok(())
    }

    /// Writes other lanes' own keys again, which the batch removes.
    pub(super) fn write_bystanders(&self, batch: &mut Batch) {
        for bystander in &self.bystanders {
            let Some(names) = self.names.elsewhere(bystander.partition) else { continue };
            batch.own([b"DEL".as_slice(), &names.quarantine, &names.requests, &names.suspects]);
            let values =
                [(&names.checkpoint, &bystander.checkpoint), (&names.owner, &bystander.owner)];
            for (key, value) in values {
                if let Reply::Bulk(value) = value {
                    batch.own([b"SET".as_slice(), key, value]);
                }
            }
            let hashes =
                [(&names.requests, &bystander.requests), (&names.suspects, &bystander.suspects)];
            for (key, pairs) in hashes {
                for (field, value) in pairs {
                    let field = moved(field, &batch.exchanged);
                    batch.own([b"HSET".as_slice(), key, &field, value]);
                }
            }
        }
        let elsewhere = |spot: &Spot| {
            let names = self.names.track_of(spot).is_none().then(|| self.names.of(spot))?;
            names.map(|names| names.quarantine.clone())
        };
        for (spot, why) in self.planner.held.iter().filter(|_| !self.bystanders.is_empty()) {
            if let Some(key) = elsewhere(spot) {
                batch.own([b"HSET".as_slice(), &key, &spot.field(), why]);
            }
        }
    }

    /// A batch has been executed: sees to it that others are told what they wait for, and parts with what was taken in
    /// of theirs once they know.
    pub(super) fn tell_others(&mut self) {
        let mut waits = self.executed.waits.iter();
        let unsaid = waits.any(|(track, at)| self.stored.waits_at(*track) != Some(*at));
        self.open.urgent |= unsaid;
        let Some(Met { line, end }) = self.met else { return };
        let is_behind = |at: &Position| *at == end || at.is_after(&end);
        if !self.executed.of(line).is_some_and(is_behind) {
            return;
        }
        let told = self.stored.judged().into_iter().find(|point| point.line() == line);
        if told.is_some_and(|point| is_behind(&point.position)) {
            let names = self.names;
            self.planner.held.reload(|spot| names.track_of(spot).is_none(), std::iter::empty());
            self.met = None;
            self.bystanders.clear();
        } else {
            self.open.urgent = true;
        }
    }
}
