//! Trying again what is kept for keys that are set aside.
//!
//! The letters are read twice, since there may be more of them than memory holds: once for which keys hang together, and
//! once for what is due for as many keys as go into one batch. What comes meanwhile is read when the next batch is
//! chosen. A letter that cannot be read or planned refuses its request, and changes nothing; so does one that would come
//! out of the order of another key: of one that another lane has, or that has not been set aside since.

use std::collections::HashSet;

use bytes::Bytes;
use event::quarantine::Letter;
use redis_io::facts::SizeFacts;
use runtime::chain;

use super::asked::Refused;
use super::attempt::{Attempt, Attempts, Due, NOTHING_KEPT};
use super::pump::Pump;
use super::ties::{Lot, Ties};
use crate::batch::Batch;
use crate::error::Error;
use crate::limits;
use crate::plan::Failure;
use crate::quarantine::letters::Reading;
use crate::quarantine::set::Spot;

/// What became of requests to try again.
#[derive(Debug, Default)]
pub(super) struct Retried {
    /// Those that cannot be done, and why.
    pub(super) refused: Vec<(Spot, Refused)>,
    /// Whether others are left for later.
    pub(super) more: bool,
}

/// What comes next of the letters.
enum Next {
    /// One that is due.
    Due(Box<Due>),
    /// There is no more.
    End,
    /// The lane is to stop, or they cannot be read for the moment.
    NotNow,
}

// === impl Pump ===

impl Pump<'_> {
    /// Plans the dead letters of as many of these keys as go into one batch, and of all keys that they concern.
    pub(super) async fn retry(&mut self, asked: Vec<Spot>) -> Result<Retried, Error> {
        if asked.is_empty() {
            // Whatever kept them from being read, nobody wants it any more.
            self.tools.letters.forget_trouble();
            return Ok(Retried::default());
        }
        let mut ties = self.ties.take().unwrap_or_default();
        match self.look_through(&mut ties).await {
            Ok(true) => {}
            Ok(false) => {
                self.ties = Some(ties);
                return Ok(Retried { more: true, ..Retried::default() });
            }
            Err(why) => return Ok(Retried::refused(asked, &why)),
        }
        let limit = limits::RETRIED_BYTES.min(self.planner.rules.sizes.group);
        let mut attempts = Attempts::choose(asked, &ties, &self.planner.held, limit);
        self.ties = Some(ties);
        match self.read_due(&mut attempts).await {
            Ok(true) => self.make(attempts).await,
            Ok(false) => Ok(Retried { more: true, ..Retried::default() }),
            Err(why) => {
                let asked = attempts.list.into_iter().flat_map(|attempt| attempt.asked);
                let refused = Retried::refused(asked, &why);
                Ok(Retried { more: attempts.more, ..refused })
            }
        }
    }

    /// Plans what was read.
    async fn make(&mut self, attempts: Attempts) -> Result<Retried, Error> {
        let mut retried = Retried::refused(attempts.unknown, NOTHING_KEPT);
        retried.more = attempts.more;
        self.look_at_sizes().await?;
        self.planner.rules.hold_expiry_anew(self.tools.clock.now_ms());
        let (mut letters, mut keys) = (0, 0);
        for mut attempt in attempts.list {
            // One before it may have touched its keys.
            if !attempt.stands(&self.planner.held) {
                retried.more = true;
                continue;
            }
            match self.attempt(&mut attempt)? {
                Ok((some_letters, some_keys)) => {
                    (letters, keys) = (letters + some_letters, keys + some_keys);
                }
                Err(why) => {
                    let asked = attempt.asked.into_iter();
                    retried.refused.extend(asked.map(|spot| (spot, why.clone())));
                }
            }
        }
        if keys > 0 {
            tracing::info!(letters, keys, "try dead letters again, on request");
        }
        Ok(retried)
    }

    /// Plans one attempt. Says how many letters, and how many keys, that was.
    fn attempt(&mut self, attempt: &mut Attempt) -> Result<Result<(usize, usize), Refused>, Error> {
        let (spots, due) = match attempt.due() {
            Ok(due) => due,
            Err(why) => return Ok(Err(why)),
        };
        let can = self.can_make_good(&spots, &due);
        if let Err(why) = can.and_then(|()| attempt.lacks().map_or(Ok(()), Err)) {
            return Ok(Err(why));
        }
        if let Err(why) = self.rehearse(&spots, &due)? {
            return Ok(Err(why));
        }
        self.planner.plan_letters(&spots, &due, &mut self.open)?;
        self.open.urgent = true;
        let made = (due.len(), spots.len());
        self.tried.extend(spots);
        Ok(Ok(made))
    }

    /// What was too large may fit by now.
    async fn look_at_sizes(&mut self) -> Result<(), Error> {
        let facts = SizeFacts::ask(&mut self.connection).await?;
        self.planner.rules.take_sizes(facts, &self.tools.config);
        Ok(())
    }

    /// Whether the keys would have the source's values after these letters, if nothing else is wrong with them.
    fn can_make_good(&self, spots: &HashSet<Spot>, due: &[Letter]) -> Result<(), Refused> {
        if due.iter().any(|letter| letter.why == Failure::RENEWED_TOO_LATE) {
            return Err("its value is gone here, and what is kept are only the changes after that: write it anew \
                        at the source (for example RESTORE … REPLACE of its DUMP)"
                .to_owned());
        }
        match spots.iter().find(|spot| self.planner.held.was_moved(spot)) {
            None => Ok(()),
            Some(spot) => Err(format!(
                "some changes of {spot} are kept under another database, since databases were exchanged: write it \
                 anew at the source"
            )),
        }
    }

    /// Plans letters as if, and takes it back: what one of them cannot do concerns its request, and not the lane.
    fn rehearse(
        &mut self,
        spots: &HashSet<Spot>,
        due: &[Letter],
    ) -> Result<Result<(), Refused>, Error> {
        let planner = &mut self.planner;
        let (held, deadlines) = (planner.held.take_changes(), planner.deadlines.take_changes());
        let counts = planner.counts;
        let mut rehearsal = Batch::new(self.tools.config.checkpoint_db);
        let planned = planner.plan_letters(spots, due, &mut rehearsal);
        let changes = planner.held.take_changes();
        planner.held.undo(&changes);
        planner.held.put_back(held);
        let changes = planner.deadlines.take_changes();
        planner.deadlines.undo(changes);
        planner.deadlines.put_back(deadlines);
        planner.counts = counts;
        match planned {
            Ok(()) => Ok(Ok(())),
            // Not about the letter, but about the directory.
            Err(error @ Error::Marks { .. }) => Err(error),
            Err(error) => Ok(Err(chain(&error))),
        }
    }

    /// Finds out which held keys hang together, from where that was known before. Says whether it is known now: there
    /// may be more letters than are looked through at once.
    async fn look_through(&mut self, ties: &mut Ties) -> Result<bool, Refused> {
        let tools = self.tools;
        let journal = &*tools.letters.journal;
        let known = ties.reading.take();
        let read = self.read_letters(async {
            match known {
                None => Reading::open(journal).await,
                Some(mut reading) => reading.go_on(journal).await.map(|()| reading),
            }
        });
        let Some(mut reading) = read.await? else {
            // From the beginning, once it is possible.
            *ties = Ties::default();
            return Ok(false);
        };
        let mut looked_through = 0;
        loop {
            let Due { letter, spots, .. } = match self.next_letter(&mut reading).await? {
                Next::Due(due) => *due,
                Next::End => break,
                Next::NotNow => {
                    *ties = Ties::default();
                    return Ok(false);
                }
            };
            let weight = letter.event.len() + limits::LETTER_BYTES;
            ties.tie(&spots, &Lot { weight, part: reading.part() });
            looked_through += weight;
            if looked_through > limits::LOOKED_THROUGH_BYTES {
                ties.reading = Some(reading);
                return Ok(false);
            }
        }
        ties.reading = Some(reading);
        Ok(true)
    }

    /// Reads what is due for some keys. Says whether it came to the end.
    async fn read_due(&mut self, attempts: &mut Attempts) -> Result<bool, Refused> {
        let limit = limits::GROUP_BYTES.min(self.planner.rules.sizes.group);
        let (tools, part) = (self.tools, attempts.lot.part.clone());
        let read = self.read_letters(Reading::of(&*tools.letters.journal, part));
        let Some(mut reading) = read.await? else { return Ok(false) };
        loop {
            match self.next_letter(&mut reading).await? {
                Next::Due(due) => attempts.take(*due, limit),
                Next::End => return Ok(true),
                Next::NotNow => return Ok(false),
            }
        }
    }

    /// The next letter of this stream, and the held keys that it is due for.
    async fn next_letter(&mut self, reading: &mut Reading) -> Result<Next, Refused> {
        loop {
            let letter = match self.read_letters(reading.next()).await? {
                Some(Some(letter)) => letter,
                Some(None) => return Ok(Next::End),
                None => return Ok(Next::NotNow),
            };
            if !self.tools.letters.concerns(&letter, self.scope) {
                continue;
            }
            let spot = |key: &Bytes| Spot { db: letter.db, key: key.clone() };
            let concerned = self.planner.concerned(&letter.event, letter.change);
            let obstacle = self.obstacle_to(&letter, &concerned);
            let mut spots: Vec<Spot> = letter.keys.iter().map(spot).collect();
            spots.extend(concerned);
            spots.retain(|spot| self.is_due(spot, &letter));
            return Ok(Next::Due(Box::new(Due { letter, spots, obstacle })));
        }
    }

    /// Why a letter cannot be tried again, if it would come out of the order of a key that its change concerns.
    fn obstacle_to(&self, letter: &Letter, concerned: &[Spot]) -> Option<Refused> {
        let at = letter.position;
        if let Some(spot) = concerned.iter().find(|spot| self.names.track_of(spot).is_none()) {
            return Some(format!(
                "the change at {at} that is kept for it also concerns {spot}, of a partition that another apply process \
                 has: tried here alone it would come out of the order of that key. Stop the other apply processes of \
                 this destination, so that one has all partitions, and ask again"
            ));
        }
        let spot = concerned.iter().find(|spot| !self.is_due(spot, letter))?;
        Some(format!(
            "the change at {at} that is kept for it also concerns {spot}, which is not in quarantine since then and may \
             have another value by now: write what is in quarantine anew at the source (for example RESTORE … REPLACE \
             of its DUMP)"
        ))
    }

    /// Whether a letter is part of what has come for a held key since it was set aside.
    fn is_due(&self, spot: &Spot, letter: &Letter) -> bool {
        // Those of other lanes are known here for as long as a change is executed that they have in common.
        if self.names.track_of(spot).is_none() {
            return false;
        }
        let since = self.planner.held.since(spot);
        since.is_some_and(|since| !since.is_after(&letter.position))
    }
}

// === impl Retried ===

impl Retried {
    /// All for the same reason.
    fn refused(asked: impl IntoIterator<Item = Spot>, why: &str) -> Self {
        let refused = asked.into_iter().map(|spot| (spot, why.to_owned())).collect();
        Self { refused, more: false }
    }
}
