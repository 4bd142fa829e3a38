//! The sides of a process at work: capture, apply, or both.

use std::future::pending;

use runtime::{OnFailure, TaskError, Tasks};
use tokio::sync::{oneshot, watch};

use super::Shared;
use super::asking::Asking;
use super::capturing::Capturing;
use super::ending::Ending;
use crate::exit::{self, Exit, Failure};

/// How a side that was started will tell its end.
type Told<T> = oneshot::Receiver<Result<T, Failure>>;

const NOBODY_TO_ASK: &str = "the destination needs a new snapshot of the source, which is not asked for: start it with \
    --resnapshot heal, or have one made by keyferry resnapshot";

// === impl Shared ===

impl Shared {
    /// Runs the sides, each on threads of its own, until one fails or a stop is asked for. The first failure is
    /// the outcome.
    pub(super) async fn run_sides(
        &self,
        tasks: &Tasks,
        capturing: Option<Capturing>,
        apply: Option<apply::Apply>,
        asking: Option<Asking>,
    ) -> Result<Ending, Failure> {
        let wanted = apply.as_ref().map(apply::Apply::snapshots_wanted);
        let needs = apply.as_ref().map(apply::Apply::needs_snapshot);
        let capturing = match capturing {
            Some(capturing) => {
                Some(side(tasks, "capture", capturing.run(wanted, self.stop.clone())))
            }
            None => {
                match (asking, needs) {
                    (Some(asking), Some(needs)) => {
                        tasks.spawn("requests", OnFailure::Report, asking.ask(needs));
                    }
                    (_, Some(needs)) => {
                        tasks.spawn("requests", OnFailure::Report, complain(needs));
                    }
                    (_, None) => {}
                }
                None
            }
        };
        let stop = self.stop.clone();
        let applying = apply.map(|apply| {
            side(tasks, "apply", async move {
                apply.run(stop).await.map_err(|error| Failure::of(exit::of_apply(&error), &error))
            })
        });
        let (captured, applied) = tokio::join!(ended(capturing), ended(applying));
        let (captured, applied) = (captured?.flatten(), applied?);
        Ok(Ending::of(captured.as_ref(), applied))
    }
}

/// Says each time that nobody hears what is wanted.
async fn complain(mut needs: watch::Receiver<Option<u64>>) -> Result<(), TaskError> {
    while needs.wait_for(Option::is_some).await.is_ok() {
        tracing::warn!("{NOBODY_TO_ASK}");
        // It ends with the side that needs.
        if needs.wait_for(Option::is_none).await.is_err() {
            break;
        }
    }
    pending().await
}

/// Starts one side; its end, however it comes, stops the other.
fn side<T: Send + 'static>(
    tasks: &Tasks,
    name: &'static str,
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Told<T> {
    let (tell, told) = oneshot::channel();
    let stop = tasks.stop_token();
    tasks.spawn(name, OnFailure::StopAll, async move {
        let result = future.await;
        stop.cancel();
        tell.send(result).map_err(|_| TaskError::from("nobody waits for the end of this side"))
    });
    told
}

/// How a side ended, if there is one; a side that panicked has told nobody.
async fn ended<T>(told: Option<Told<T>>) -> Result<Option<T>, Failure> {
    let Some(told) = told else { return Ok(None) };
    let told = told.await.unwrap_or_else(|_| {
        Err(Failure {
            exit: Exit::Defect,
            what: "a task panicked; the log above has its message".to_owned(),
            advice: "this is a defect of keyferry: please report it with the log".to_owned(),
        })
    });
    told.map(Some)
}
