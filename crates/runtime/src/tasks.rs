//! Every task has a name, an owner and a declared consequence of failing.
//!
//! Guarantees: a failure or panic is acted on the moment it happens, not when somebody joins; a
//! panic becomes an error that names the task; [`Tasks::join`] returns only when every task has
//! left or the grace period is over, and says which did not. Dropping `Tasks` aborts what runs.
//! The only user of `tokio::spawn` in the project.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::policy::chain;

/// What a task may fail with.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// What tasks are called: fixed for most, made for one per shard or partition.
pub type TaskName = Cow<'static, str>;

/// What a failing task means for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The others are asked to stop; the failure is the outcome of [`Tasks::join`].
    StopAll,
    /// The failure is logged and kept for the outcome; the others go on.
    Report,
    /// The failure is kept for the outcome, and told by whoever joins; the others go on.
    Keep,
}

/// A set of running tasks with one stop token. Share it as `Arc<Tasks>` to spawn from within.
#[derive(Debug)]
pub struct Tasks {
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    running: Mutex<Running>,
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It returned an error.
    #[error("task {task} failed")]
    Error {
        /// The task.
        task: TaskName,
        /// What it returned.
        #[source]
        source: TaskError,
    },
    /// It panicked.
    #[error("task {task} panicked: {message}")]
    Panic {
        /// The task.
        task: TaskName,
        /// The panic's message.
        message: String,
    },
}

/// How a set of tasks ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The failure that stopped the set: the first of a [`OnFailure::StopAll`] task.
    pub first: Option<Failure>,
    /// All others, in the order they happened.
    pub others: Vec<Failure>,
    /// Tasks that had not left when the grace period was over; they were aborted.
    pub stuck: Vec<TaskName>,
}

#[derive(Debug, Default)]
struct Running {
    set: JoinSet<Result<(), (OnFailure, Failure)>>,
    names: HashMap<Id, TaskName>,
    outcome: Outcome,
}

// === impl Tasks ===

impl Tasks {
    /// An empty set with a stop token of its own.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_token(clock, CancellationToken::new())
    }

    /// An empty set that also stops when `parent` does, but does not stop its parent.
    #[must_use]
    pub fn under(clock: Arc<dyn Clock>, parent: &CancellationToken) -> Self {
        Self::with_token(clock, parent.child_token())
    }

    /// Cancelled when the set is to stop. Tasks watch it; cancelling it stops the set.
    #[must_use]
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task.
    pub fn spawn<F>(&self, name: impl Into<TaskName>, on_failure: OnFailure, future: F)
    where
        F: Future<Output = Result<(), TaskError>> + Send + 'static,
    {
        let name = name.into();
        let guarded = guard(name.clone(), on_failure, self.stop.clone(), future);
        self.add(name, |set| set.spawn(guarded).id());
    }

    /// Starts a task that blocks, on a thread of its own. It cannot be aborted, so it must watch
    /// the stop token itself.
    pub fn spawn_blocking<F>(&self, name: impl Into<TaskName>, on_failure: OnFailure, work: F)
    where
        F: FnOnce() -> Result<(), TaskError> + Send + 'static,
    {
        let name = name.into();
        let (task, stop) = (name.clone(), self.stop.clone());
        let guarded = move || {
            let result = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(source)) => Failure::Error { task, source },
                Err(payload) => Failure::Panic { task, message: panic_message(&*payload) },
            };
            Err(act_on(result, on_failure, &stop))
        };
        self.add(name, |set| set.spawn_blocking(guarded).id());
    }

    /// The names of the tasks that have not ended, sorted.
    #[must_use]
    pub fn running(&self) -> Vec<TaskName> {
        let mut running = self.running.lock();
        running.reap();
        running.sorted_names()
    }

    /// Waits until every task has ended, or until `grace` after the stop token was cancelled.
    /// What has not left by then is aborted and named in the outcome.
    pub async fn join(&self, grace: Duration) -> Outcome {
        let deadline = async {
            self.stop.cancelled().await;
            self.clock.sleep(grace).await;
        };
        let stuck = tokio::select! {
            biased;
            () = self.all_ended() => Vec::new(),
            () = deadline => self.abort_all().await,
        };
        let mut outcome = std::mem::take(&mut self.running.lock().outcome);
        outcome.stuck = stuck;
        outcome
    }

    fn with_token(clock: Arc<dyn Clock>, stop: CancellationToken) -> Self {
        Self { clock, stop, running: Mutex::new(Running::default()) }
    }

    fn add(&self, name: TaskName, start: impl FnOnce(&mut JoinSet<TaskResult>) -> Id) {
        let mut running = self.running.lock();
        // Ended tasks leave their results behind: without this a set that lives long would grow.
        running.reap();
        let id = start(&mut running.set);
        running.names.insert(id, name);
    }

    async fn all_ended(&self) {
        std::future::poll_fn(|cx| {
            let mut running = self.running.lock();
            loop {
                match running.set.poll_join_next_with_id(cx) {
                    Poll::Ready(Some(ended)) => running.on_ended(ended),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    async fn abort_all(&self) -> Vec<TaskName> {
        let stuck = {
            let mut running = self.running.lock();
            running.reap();
            running.set.abort_all();
            running.sorted_names()
        };
        tracing::warn!(tasks = ?stuck, "tasks did not leave in the grace period");
        // An abort takes effect at the next await; one turn lets those drop what they hold.
        tokio::task::yield_now().await;
        stuck
    }
}

type TaskResult = Result<(), (OnFailure, Failure)>;

// === impl Running ===

impl Running {
    fn reap(&mut self) {
        while let Some(ended) = self.set.try_join_next_with_id() {
            self.on_ended(ended);
        }
    }

    fn on_ended(&mut self, ended: Result<(Id, TaskResult), JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            // Panics are caught inside, so this is an abort: it was asked for.
            Err(aborted) => (aborted.id(), Ok(())),
        };
        self.names.remove(&id);
        match result {
            Ok(()) => {}
            Err((OnFailure::StopAll, failure)) if self.outcome.first.is_none() => {
                self.outcome.first = Some(failure);
            }
            Err((_, failure)) => self.outcome.others.push(failure),
        }
    }

    fn sorted_names(&self) -> Vec<TaskName> {
        let mut names: Vec<_> = self.names.values().cloned().collect();
        names.sort();
        names
    }
}

// === impl Failure ===

impl Failure {
    /// The task that failed.
    #[must_use]
    pub fn task(&self) -> &str {
        match self {
            Self::Error { task, .. } | Self::Panic { task, .. } => task,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Whether every task ended well and in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.first.is_none() && self.others.is_empty() && self.stuck.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.first {
            Some(failure) => write!(f, "{failure}")?,
            None => f.write_str("all tasks ended")?,
        }
        if !self.others.is_empty() {
            write!(f, "; {} other failures", self.others.len())?;
        }
        if !self.stuck.is_empty() {
            write!(f, "; did not leave in time: {}", self.stuck.join(", "))?;
        }
        Ok(())
    }
}

/// Runs a task's future; turns a panic into a failure and acts on either at once.
async fn guard<F>(
    task: TaskName,
    on_failure: OnFailure,
    stop: CancellationToken,
    future: F,
) -> TaskResult
where
    F: Future<Output = Result<(), TaskError>> + Send + 'static,
{
    let mut future = Box::pin(future);
    let caught = std::future::poll_fn(|cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => Poll::Ready(Ok(result)),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    });
    let failure = match caught.await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(source)) => Failure::Error { task, source },
        Err(payload) => Failure::Panic { task, message: panic_message(&*payload) },
    };
    Err(act_on(failure, on_failure, &stop))
}

fn act_on(
    failure: Failure,
    on_failure: OnFailure,
    stop: &CancellationToken,
) -> (OnFailure, Failure) {
    match on_failure {
        OnFailure::StopAll => stop.cancel(),
        OnFailure::Report => {
            tracing::error!(error = %chain(&failure), "a task failed, the others go on");
        }
        OnFailure::Keep => {}
    }
    (on_failure, failure)
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests;
