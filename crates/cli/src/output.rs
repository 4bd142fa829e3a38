//! The one place that writes to the standard streams.

use std::io::{self, Write};

use crate::exit::Failure;

/// Prints a line of a command's result. A reader that has gone away ends the output, not the process.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// Tells a person what went wrong and what to do.
pub(crate) fn error(failure: &Failure) {
    let mut out = io::stderr().lock();
    let text = format!("keyferry: {}\n  what to do: {}\n", failure.what, failure.advice);
    // There is nowhere left to say that standard error is closed; the exit code still tells.
    drop(out.write_all(text.as_bytes()));
}
