//! One file for each command.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod quarantine;
mod reading;
pub(crate) mod resnapshot;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod tail;
#[cfg(feature = "kafka")]
pub(crate) mod topics;

use crate::exit::{Exit, Failure};

/// Runs a command's future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure {
        exit: Exit::Defect,
        what: format!("start the threads: {error}"),
        advice: "check the limits of the account (ulimit -u)".to_owned(),
    })?;
    let result = runtime.block_on(future);
    // What was given up must not hold the process.
    runtime.shutdown_background();
    result
}
