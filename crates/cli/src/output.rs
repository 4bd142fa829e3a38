//! The one place that writes to the standard streams.

use std::io::{self, Write};

use crate::exit::Failure;

/// Prints a line of a command's result.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// As [`line()`], for results that end by themselves: a closed pipe is the reader's decision, not an error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match line(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line beside a command's result.
pub(crate) fn note(text: &str) {
    let mut out = io::stderr().lock();
    // There is nowhere left to say that standard error is closed.
    drop(out.write_all(format!("{text}\n").as_bytes()));
}

/// Prints what is doubtful of the configuration.
pub(crate) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| note(&format!("keyferry: warning: {warning}")));
}

/// Tells a person what went wrong and what to do.
pub(crate) fn error(failure: &Failure) {
    let mut out = io::stderr().lock();
    let text = format!("keyferry: {}\n  what to do: {}\n", failure.what, failure.advice);
    // There is nowhere left to say that standard error is closed; the exit code still tells.
    drop(out.write_all(text.as_bytes()));
}
