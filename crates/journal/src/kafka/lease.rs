//! How a process becomes the holder of a writer: of the only one of a stream, or of one of those side by side.
//!
//! Holders are numbered, those of each writer for themselves. Whoever wants to be the next waits until the present one has released the stream or has not
//! been heard of for [`LEASE_TIMEOUT`], claims the next number, and is it when its claim is the first of that number
//! in the notes. It then sets a fence in every partition and notes where: records of its predecessors behind their
//! fence are void, for every reader, so that nobody has to be sure that the predecessor is dead.

use std::sync::Arc;
use std::time::Duration;

use runtime::clock::timeout;
use runtime::{Clock, Random};

use super::config::KafkaConfig;
use super::fences::{Fence, before_first_of};
use super::follow::{Follower, Following};
use super::notary::Written;
use super::notes::{FenceNote, LeaseNote, Says, Seat, fence_key, lease_key};
use super::ranges::Ranges;
use super::rights::{of_reader, of_writer};
use super::session::{Hold, Session};
use crate::{OpenError, Writer};

/// A writer of which nothing has been heard for so long, while the brokers could be asked, is taken for dead.
pub(super) const LEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often one that waits for the lease looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the steps from the claim on may take; brokers that are slower are tried again later.
const STEPS_LIMIT: Duration = Duration::from_secs(30);

/// What it takes to become the writer.
pub(super) struct Candidate<'a> {
    pub(super) config: &'a KafkaConfig,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) following: &'a Arc<Following>,
    pub(super) ranges: &'a Arc<Ranges>,
    /// Which of the writers side by side.
    pub(super) writer: Writer,
}

// === impl Candidate ===

impl Candidate<'_> {
    /// Becomes the writer, or says who is.
    pub(super) async fn take(&self) -> Result<Hold, OpenError> {
        let number = self.vacancy().await?;
        let lease = LeaseNote {
            number,
            token: random_number(),
            holder: format!("{} (process {})", self.config.client_id, std::process::id()),
            says: Says::Claim,
        };
        let (clock, following) = (Arc::clone(self.clock), Arc::clone(self.following));
        let hold = Session::start(self.config, clock, following, (self.writer, lease))?;
        let steps = timeout(&**self.clock, STEPS_LIMIT, self.begin(&hold.0)).await;
        let late = |_| self.unreachable("becoming the writer took too long".to_owned());
        steps.map_err(late)??;
        Ok(hold)
    }

    /// The number to claim, once nobody lives who has the one before.
    async fn vacancy(&self) -> Result<u64, OpenError> {
        let began = self.clock.monotonic();
        let mut cut_off = Duration::ZERO;
        loop {
            if let Err(error) = catch_up(self.follower(), self.ranges).await {
                // While the brokers do not answer, nobody can be heard of.
                cut_off = self.clock.monotonic();
                if cut_off - began >= STEPS_LIMIT {
                    return Err(of_reader(error, &self.config.place()));
                }
            }
            let (lease, heard) = self.follower().look(|known| {
                let lease = known.state.seat(self.writer).and_then(|seat| seat.lease.clone());
                (lease, known.heard(self.writer).at)
            });
            let Some(lease) = lease else { return Ok(before_first_of(self.writer) + 1) };
            let now = self.clock.monotonic();
            let is_silent = now.saturating_sub(heard.max(cut_off)) >= LEASE_TIMEOUT;
            if lease.says == Says::Release || is_silent {
                return Ok(lease.number + 1);
            }
            if now.saturating_sub(began) >= LEASE_TIMEOUT + LOOK_EVERY {
                return Err(self.led_by(lease.holder));
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// From the claim to the first record.
    async fn begin(&self, session: &Session) -> Result<(), OpenError> {
        let lease = session.lease();
        let claim =
            self.written(session, session.notary.write(&lease_key(self.writer), lease)?).await?;
        self.read_notes_to(claim).await?;
        let (won, holder, before) = self.follower().look(|known| {
            let Seat { lease: held, fences } =
                known.state.seat(self.writer).cloned().unwrap_or_default();
            let won = known.state.is_held_by(lease.number, lease.token);
            (won, held.map(|held| held.holder), fences)
        });
        if !won {
            return Err(self.led_by(holder.unwrap_or_default()));
        }
        session.hold();
        let at = self.fence(session).await?;
        let fence = Fence { lease: lease.number, at };
        let key = fence_key(lease.number);
        let note = FenceNote { fence, before };
        let noted = self.written(session, session.notary.write(&key, &note)?).await?;
        self.read_notes_to(noted).await?;
        let newest = |seat: &Seat| seat.fences.newest();
        match self.follower().look(|known| known.state.seat(self.writer).map(newest)) {
            Some(newest) if newest == lease.number => Ok(()),
            _ => Err(self.led_by("a newer one".to_owned())),
        }
    }

    async fn fence(&self, session: &Session) -> Result<Vec<u64>, OpenError> {
        let place = self.config.place();
        for partition in 0..self.config.partitions {
            session.send_fence(partition).map_err(|error| of_writer(error, &place))?;
        }
        loop {
            let moved = session.deliveries().moved.notified();
            if let Some(failure) = session.deliveries().failure() {
                return Err(of_writer(failure, &place));
            }
            if let Some(at) = session.deliveries().fences() {
                return Ok(at);
            }
            moved.await;
        }
    }

    async fn written(&self, session: &Session, mut written: Written) -> Result<u64, OpenError> {
        loop {
            let Ok(outcome) = timeout(&**self.clock, LOOK_EVERY, &mut written).await else {
                match session.notary.fatal() {
                    Some(refused) => return Err(refused),
                    None => continue,
                }
            };
            let outcome = outcome.map_err(|_| self.unreachable("the note is gone".to_owned()))?;
            return outcome.map_err(|error| session.notary.refused(&error));
        }
    }

    async fn read_notes_to(&self, offset: u64) -> Result<(), OpenError> {
        let read = self.follower().until(|known| (known.next > offset).then_some(())).await;
        read.map_err(|error| of_reader(error, &self.config.place()))
    }

    fn follower(&self) -> &Arc<Follower> {
        self.following.follower()
    }

    fn led_by(&self, holder: String) -> OpenError {
        OpenError::Led { stream: self.config.stream.clone(), holder }
    }

    fn unreachable(&self, why: String) -> OpenError {
        OpenError::Unreachable { place: self.config.place(), why }
    }
}

/// Reads the notes up to where they end now.
pub(super) async fn catch_up(
    follower: &Arc<Follower>,
    ranges: &Arc<Ranges>,
) -> Result<(), crate::ReadError> {
    let asking = Arc::clone(ranges);
    let asked = tokio::task::spawn_blocking(move || asking.end_of_notes()).await;
    let end = asked.expect("asking does not panic")?;
    follower.until(|known| (known.next >= end).then_some(())).await
}

/// Whole numbers up to 2^53, which every reader of JSON has.
pub(super) fn random_number() -> u64 {
    Random::from_entropy().next_u64() >> 11
}
