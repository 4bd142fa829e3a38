//! One lane: a set of partitions in one order, one connection, one checkpoint.
//!
//! [`Lane::run`] opens sessions one after the other. A session claims the lane, reads its checkpoint and pumps records
//! until it is asked to stop or something fails; what fails is classified once, waited for, or given up. Whatever was
//! under way when a session ended is decided by the checkpoint that the next one reads.

mod asked;
mod attempt;
mod barrier;
pub(crate) mod begin;
pub(crate) mod claim;
mod intake;
mod judge;
mod letters;
mod meet;
mod neighbours;
mod outcome;
mod parts;
mod place;
mod proof;
mod pump;
mod reading;
mod retreat;
mod retry;
mod rewind;
mod session;
mod settle;
mod start;
mod status;
mod throttle;
mod ties;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use event::{Position, Shard};
use journal::{Journal, ReadError};
use parking_lot::Mutex;
use redis_io::Connector;
use runtime::{Classified, Clock, Random, StatusNode};
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

pub(crate) use self::session::Link;
pub(crate) use self::status::LaneStatus;
use crate::config::Config;
use crate::deadlines::{Before, Deadlines};
use crate::error::Error;
use crate::import::Presence;
use crate::marks::Marks;
use crate::names::Names;
use crate::plan::{Aftermath, Refused};
use crate::policy;
use crate::progress::Progress;
use crate::quarantine::notices::{LeftOut, Notices};
use crate::quarantine::store::Letters;
use crate::scope::{Point, Scope};
use crate::survey::Survey;

/// What a lane works with, shared by all of an apply service.
#[derive(Clone)]
pub(crate) struct Tools {
    /// The settings.
    pub(crate) config: Arc<Config>,
    /// Opens connections to the destination.
    pub(crate) connector: Connector,
    /// Where the events are.
    pub(crate) journal: Arc<dyn Journal>,
    /// Where dead letters go.
    pub(crate) letters: Arc<Letters>,
    /// Where the time comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// Counts the snapshots that are asked of the source.
    pub(crate) wanted: Sender<u64>,
    /// Whether a snapshot is needed that the journal does not hold: which need it is.
    pub(crate) needs: Sender<Option<u64>>,
    /// Shows others that the service is there, where it uses import mode.
    pub(crate) presence: Arc<Presence>,
    /// Of a replay, the partitions that this process has begun anew.
    pub(crate) begun: Arc<Mutex<BTreeSet<u16>>>,
}

/// One lane.
pub(crate) struct Lane {
    scope: Scope,
    names: Names,
    tools: Tools,
    random: Random,
    status: LaneStatus,
    memory: Memory,
}

/// What a lane keeps from one session to the next.
#[derive(Default)]
pub(crate) struct Memory {
    /// The number that it had as a worker.
    claim: claim::Claim,
    /// Where it stood, and where it may stand if a batch under way was executed.
    stood: Vec<Progress>,
    /// Per line, up to where replies had been read where it stood.
    judged: Vec<Point>,
    /// Where reading had to begin there while something was in doubt.
    doubt_from: Option<Vec<u64>>,
    /// Per partition, up to where records were known to survive a crash of the journal.
    durable: Vec<u64>,
    /// Marks of the snapshot under way.
    marks: Vec<Marks>,
    /// Deadlines that were put off, as of the last batch that may have been executed.
    deadlines: Deadlines,
    /// What to take back of them if it was not.
    unsure_deadlines: Vec<Before>,
    /// What is to be done about failures of the last executed batch, until that has been executed.
    aftermath: Option<Aftermath>,
    /// Changes that the destination refused to queue.
    refused: Refused,
    /// Where it stands and where the source's history branched off before that: only a snapshot leads on.
    beyond: Option<(Position, u64)>,
    /// A change that others have left out, which a newer snapshot has filled: only one as new leads on.
    left_behind: Option<Position>,
    /// How far the journal has been searched for it.
    survey: Survey,
    /// Where the journal ended when a replay began, per partition.
    ends: Option<Vec<u64>>,
    /// Where a replay has come to its end.
    reached: Option<Reached>,
    /// Whether such a snapshot has been asked for.
    has_asked: bool,
    /// The shards with snapshots to begin with, when one was needed last.
    ready: BTreeSet<Shard>,
    /// Tracks that had a checkpoint before.
    had_checkpoint: BTreeSet<usize>,
    /// What the log has said lately of keys that were set aside.
    notices: Notices,
    /// Whether it was said why keys are set one by one.
    told_of_joined: bool,
    left_out: LeftOut,
    /// Whether the session at hand got as far as applying.
    opened: bool,
}

/// Where a lane stood when it stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Its partitions.
    pub partitions: Vec<u16>,
    /// Per shard, the last event applied.
    pub applied: Vec<Position>,
    /// Per partition, the offset of the next record to apply; empty when it had not begun.
    pub next: Vec<u64>,
    /// Where a replay has come to its end.
    pub reached: Option<Reached>,
}

/// The end of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Whether what comes next is behind the place where it was to end; otherwise the journal ends before that.
    pub passed: bool,
    /// When the last record before it was written, Unix milliseconds; 0: there was none.
    pub time_ms: i64,
}

// === impl Lane ===

impl Lane {
    /// A lane that has not begun.
    pub(crate) fn new(scope: Scope, tools: Tools, random: Random, status: &StatusNode) -> Self {
        let names = Names::new(&scope);
        let endpoint = tools.connector.endpoint().to_string();
        let status = LaneStatus::new(status, &scope, (Arc::clone(&tools.clock), endpoint));
        Self { scope, names, tools, random, status, memory: Memory::default() }
    }

    /// What its node of the status is called.
    pub(crate) fn node(&self) -> String {
        status::name_of(&self.scope)
    }

    /// What its task is called.
    pub(crate) fn name(&self) -> String {
        format!("apply {}", self.scope.shown())
    }

    /// Applies until `stop` is cancelled, then finishes what is under way.
    ///
    /// # Errors
    /// What cannot be waited for, or was waited for in vain.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<Stopped, Error> {
        let mut backoff = policy::backoff();
        let mut told = false;
        loop {
            let started = self.tools.clock.monotonic();
            self.memory.opened = false;
            let ended = Box::pin(self.session(&stop)).await;
            let error = match ended {
                Ok(progress) => return Ok(self.stopped(&progress)),
                Err(error) if stop.is_cancelled() && policy::may_pass(&error, self.begun()) => {
                    tracing::warn!(error = %error, "stopped while waiting: {}", obstacle(&error));
                    let progress = self.memory.stood.first().cloned().unwrap_or_default();
                    return Ok(self.stopped(&progress));
                }
                Err(error) => error,
            };
            self.look_for_snapshot(&error);
            let took = self.tools.clock.monotonic().saturating_sub(started);
            if self.status.take_progressed() || (self.memory.opened && took >= STEADY) {
                backoff.reset();
            }
            if !self.memory.opened {
                backoff.charge(took);
            }
            let begun = self.begun();
            let windows = &self.tools.config.windows;
            let wait = policy::wait((&error, begun), windows, &mut backoff, &mut self.random);
            let awaits = matches!(error, Error::AwaitsShards { .. });
            let wait = match awaits || self.tools.needs.borrow().is_some() {
                true => wait.map(|wait| wait.min(SNAPSHOT_LOOK)),
                false => wait,
            };
            let Some(wait) = wait else {
                self.status.ended(&error);
                return Err(policy::given_up((error, begun), &backoff));
            };
            self.status.waits(&error);
            match error {
                Error::AwaitsSnapshot { .. } | Error::AwaitsShards { .. }
                    if std::mem::replace(&mut told, true) => {}
                Error::AwaitsSnapshot { .. } | Error::AwaitsShards { .. } => {
                    tracing::info!(advice = error.advice(), "{error}");
                }
                error => tracing::warn!(
                    error = %error, advice = error.advice(), again_in = ?wait, "{}", obstacle(&error),
                ),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.tools.clock.sleep(wait) => {}
                never = self.watch_from_afar() => match never {},
            }
        }
    }

    /// Where the source's history goes on without what was applied, or the journal has forgotten what comes next, only
    /// a newer snapshot leads on: one that the journal holds, else one that is asked for.
    fn look_for_snapshot(&mut self, error: &Error) {
        match *error {
            Error::ResyncNeeded { applied, branch_offset } => {
                self.memory.beyond = Some((applied, branch_offset));
            }
            Error::LeftBehind { position } => self.memory.left_behind = Some(position),
            Error::Journal(ReadError::OutOfRetention { .. }) | Error::AwaitsSnapshot { .. } => {}
            _ => return,
        }
        // While it could not begin, the journal held none.
        if self.memory.opened {
            return;
        }
        // What was made of the last need and has left the journal has to be made again.
        let ready = self.memory.survey.may_begin();
        let has_gone = !self.memory.ready.is_subset(&ready);
        self.memory.ready = ready;
        self.tools.needs.send_if_modified(|need| {
            let before = *need;
            *need = Some(before.map_or(0, |number| number + u64::from(has_gone)));
            *need != before
        });
        if !std::mem::replace(&mut self.memory.has_asked, true) {
            self.tools.wanted.send_modify(|wanted| *wanted += 1);
        }
    }

    /// Whether the destination has let it take over once.
    fn begun(&self) -> bool {
        self.memory.claim.mine.is_some()
    }

    fn stopped(&self, progress: &Progress) -> Stopped {
        self.status.stopped(progress);
        Stopped {
            partitions: self.scope.numbers.to_vec(),
            applied: progress.applied.iter().map(|point| point.position).collect(),
            next: progress.needed.clone(),
            reached: self.memory.reached,
        }
    }
}

/// What keeps a lane from going on for now.
fn obstacle(error: &Error) -> &'static str {
    match error {
        Error::Journal(_) => "the journal cannot be read",
        Error::Letters(_) | Error::Letter(_) => "dead letters cannot be stored",
        Error::ResyncNeeded { .. } | Error::LeftBehind { .. } => {
            "only a newer snapshot leads on from here"
        }
        _ => "the destination does not take writes",
    }
}

/// How often a lane that waits for a snapshot looks whether the journal holds it.
const SNAPSHOT_LOOK: Duration = Duration::from_secs(2);

/// A session that lasted this long was a success, also if nothing came to be applied.
const STEADY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_cannot_be_read_is_not_laid_to_the_destination() {
        let unread = Error::Journal(ReadError::Failed("no answer".to_owned()));
        assert_eq!(obstacle(&unread), "the journal cannot be read");
        let refusal = redis_io::Refusal::read(b"OOM no room");
        let refused = Error::Refused { endpoint: "e".to_owned(), refusal };
        assert_eq!(obstacle(&refused), "the destination does not take writes");
    }
}
