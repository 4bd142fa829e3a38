//! The one place that writes to the standard streams.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use event::text::Utc;
use runtime::{Clock, SystemClock};
use serde_json::json;

use crate::exit::{Exit, Failure};

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Yes,
    /// It was not wanted.
    No,
    /// The reader has gone away: its decision, not an error.
    NobodyReads,
}

/// Prints a line of a command's result.
pub(crate) fn line(text: &str) -> Result<Shown, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Shown::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Shown::NobodyReads),
        Err(error) => Err(Failure {
            exit: Exit::Defect,
            what: format!("write to standard output: {error}"),
            advice: "see where standard output goes".to_owned(),
        }),
    }
}

/// As [`line()`], for results that end by themselves.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    line(text).map(drop)
}

/// Whether what goes to standard error is JSON, one object a line.
static JSON: AtomicBool = AtomicBool::new(false);

/// From now on, what goes to standard error is JSON.
pub(crate) fn speak_json() {
    JSON.store(true, Ordering::Relaxed);
}

/// Tells a person something beside a command's result.
pub(crate) fn note(text: &str) {
    match JSON.load(Ordering::Relaxed) {
        true => object("WARN", json!({ "message": text })),
        false => to_stderr(&format!("keyferry: {text}\n")),
    }
}

/// Prints what is doubtful of the configuration.
pub(crate) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
}

/// Tells a person what went wrong and what to do.
pub(crate) fn error(failure: &Failure) {
    let Failure { exit, what, advice } = failure;
    match JSON.load(Ordering::Relaxed) {
        true => {
            object("ERROR", json!({ "message": what, "advice": advice, "exit_code": exit.code() }));
        }
        false => to_stderr(&format!("keyferry: {what}\n  what to do: {advice}\n")),
    }
}

/// As the log lines are.
fn object(level: &str, mut fields: serde_json::Value) {
    if let Some(fields) = fields.as_object_mut() {
        let now = Utc(SystemClock::new().now_ms()).to_string();
        fields.insert("timestamp".to_owned(), now.into());
        fields.insert("level".to_owned(), level.into());
    }
    to_stderr(&format!("{fields}\n"));
}

fn to_stderr(text: &str) {
    // There is nowhere left to say that standard error is closed; the exit code still tells.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
