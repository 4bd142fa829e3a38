//! Which partitions a process works on at the moment: it is one of several that share those of a stream.
//!
//! Guarantees: a lane ends in good order before what it had is handed on; a process that was shut out by another at the
//! destination goes on only when it is its turn; one that leaves tells the others. Brokers that
//! are away are told once, and shown as long as they are.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use journal::{Assignment, Health, Membership, Partition, ReadError};
use runtime::{OnFailure, Random, StatusNode, Tasks};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::lane::{Lane, Stopped, Tools};
use crate::policy;
use crate::scope::Scope;

/// How long a lane may take to finish what is under way.
const GRACE: Duration = Duration::from_secs(30);

/// How long a process that was shut out waits for other partitions before it tries for the same again: longer than it
/// takes the others to notice that one of them is gone.
const SHUT_OUT_REST: Duration = Duration::from_secs(7);

/// What is said when a membership has ended by itself.
const LOST: &str = "this process is no longer one of those that share the stream";

/// What the status calls the reason for which the journal cannot be read.
const JOURNAL: &str = "journal";

/// One process at work on a stream.
pub(crate) struct Shift<'a> {
    tools: &'a Tools,
    /// All of the stream.
    all: &'a Scope,
    random: &'a mut Random,
    status: &'a StatusNode,
    stop: CancellationToken,
    last: Option<Stopped>,
}

/// How a lane came to its end.
enum Ended {
    /// It was asked to.
    Stopped(Stopped),
    /// Another process has taken over.
    ShutOut(Error),
}

// === impl Shift ===

impl<'a> Shift<'a> {
    pub(crate) fn new(
        (tools, all): (&'a Tools, &'a Scope),
        random: &'a mut Random,
        status: &'a StatusNode,
        stop: CancellationToken,
    ) -> Self {
        Self { tools, all, random, status, stop, last: None }
    }

    /// Works until it is asked to stop. Gives where the lane that it had then stands.
    ///
    /// # Errors
    /// What a lane cannot wait for.
    pub(crate) async fn run(mut self) -> Result<Option<Stopped>, Error> {
        let mut backoff = policy::backoff();
        while !self.stop.is_cancelled() {
            let error = match self.tools.journal.join(&self.tools.config.name).await {
                Ok(member) => {
                    backoff.reset();
                    let status = self.status;
                    let worked = tokio::select! {
                        worked = self.work(&*member) => worked,
                        never = tell_of_journal(member.health(), status) => match never {},
                    };
                    if let Err(error) = member.leave().await {
                        tracing::warn!(%error, "the others were not told that this process leaves");
                    }
                    worked?;
                    if self.last.as_ref().is_some_and(|last| last.reached.is_some()) {
                        break;
                    }
                    Error::Journal(ReadError::Failed(LOST.to_owned()))
                }
                Err(error) => Error::Journal(error),
            };
            if self.stop.is_cancelled() {
                break;
            }
            let windows = &self.tools.config.windows;
            let Some(wait) = policy::wait((&error, true), windows, &mut backoff, self.random)
            else {
                return Err(policy::given_up((error, true), &backoff));
            };
            tracing::warn!(%error, again_in = ?wait, "this process cannot share the stream's partitions");
            self.status.set(JOURNAL, error.to_string());
            self.rest(wait).await;
        }
        Ok(self.last)
    }

    /// Works as a member, until it is asked to stop or is none any more.
    async fn work(&mut self, member: &dyn Membership) -> Result<(), Error> {
        let mut assigned = member.assigned();
        while assigned.has_changed().is_ok() {
            let assignment = assigned.borrow_and_update().clone();
            member.settled(assignment.generation);
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if assignment.partitions.is_empty() {
                self.status.set("phase", "waiting for partitions");
                self.changed(&mut assigned).await;
                continue;
            }
            self.status.unset("phase");
            match self.lane(&assignment, &mut assigned).await? {
                Ended::Stopped(stopped) => {
                    let reached = stopped.reached.is_some();
                    self.last = Some(stopped);
                    if reached {
                        return Ok(());
                    }
                }
                Ended::ShutOut(error) => {
                    tracing::warn!(%error, "another process has these partitions now");
                    self.shut_out(&mut assigned).await;
                }
            }
        }
        Ok(())
    }

    /// Runs a lane of these partitions, until it is asked to stop or gets others.
    async fn lane(
        &mut self,
        assignment: &Assignment,
        assigned: &mut watch::Receiver<Assignment>,
    ) -> Result<Ended, Error> {
        let numbers = assignment.partitions.iter().map(|Partition(number)| *number).collect();
        // What a stream is does not change: nobody is asked, who may be away just now.
        let scope = self.all.only(numbers);
        if self.tools.config.replay.is_some() && scope.elsewhere().next().is_some() {
            return Err(Error::ReplayShared { name: self.tools.config.name.clone() });
        }
        let is_shared = !scope.one_order;
        let lane = Lane::new(scope, self.tools.clone(), self.random.fork(), self.status);
        let (name, node) = (lane.name(), lane.node());
        let tasks = Tasks::under(Arc::clone(&self.tools.clock), &self.stop);
        let (tell, told) = oneshot::channel();
        let stop = tasks.stop_token();
        tasks.spawn(name, OnFailure::StopAll, async move {
            let result = Box::pin(lane.run(stop.clone())).await;
            let failed = result.is_err();
            if result.as_ref().is_ok_and(|stopped| stopped.reached.is_some()) {
                stop.cancel();
            }
            // Whoever runs the lane waits for its end.
            tell.send(result).ok();
            if failed { Err("the lane has failed".into()) } else { Ok(()) }
        });
        let stop = tasks.stop_token();
        tokio::select! {
            () = stop.cancelled() => {}
            _ = assigned.changed() => stop.cancel(),
        }
        let outcome = tasks.join(GRACE).await;
        if is_shared && !self.stop.is_cancelled() {
            self.status.remove_child(&node);
        }
        match told.await {
            Ok(Ok(stopped)) => Ok(Ended::Stopped(stopped)),
            Ok(Err(error @ Error::Fenced { .. })) if is_shared => Ok(Ended::ShutOut(error)),
            Ok(Err(error)) => Err(error),
            Err(_) => match outcome.first {
                Some(panicked) => Err(Error::Lane { what: panicked.to_string() }),
                None => Err(Error::Unanswered),
            },
        }
    }

    /// Waits for another assignment, or for the end of the membership.
    async fn changed(&self, assigned: &mut watch::Receiver<Assignment>) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            _ = assigned.changed() => {}
        }
    }

    /// The same, though not for ever.
    async fn shut_out(&self, assigned: &mut watch::Receiver<Assignment>) {
        tokio::select! {
            biased;
            () = self.changed(assigned) => {}
            () = self.tools.clock.sleep(SHUT_OUT_REST) => {}
        }
    }

    async fn rest(&self, wait: Duration) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.tools.clock.sleep(wait) => {}
        }
    }
}

/// Shows what keeps the journal from being read, and tells of its beginning and its end.
async fn tell_of_journal(mut health: watch::Receiver<Health>, status: &StatusNode) -> Infallible {
    let mut is_away = false;
    loop {
        let now = health.borrow_and_update().clone();
        match now {
            Health::Stalled(why) => {
                tracing::warn!(why, "the journal does not answer");
                status.set(JOURNAL, why);
                is_away = true;
            }
            Health::Accepting => {
                status.unset(JOURNAL);
                if std::mem::take(&mut is_away) {
                    tracing::info!("the journal answers again");
                }
            }
        }
        if health.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
