//! The one vocabulary of the error policy: what an error means for whoever has to go on.
//!
//! Every error that reaches a loop or the command line implements [`Classified`] at its cause;
//! nothing else decides on retries.

use std::fmt;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Likely to pass: try again with back-off, within the configured window.
    Retry,
    /// Will not pass before a person changes something. Progress is kept; nothing is dropped.
    Operator,
    /// Concerns one key: set it aside, report it, go on with the rest.
    Quarantine,
    /// Going on could lose or corrupt data: stop.
    Fatal,
}

/// An error that knows its class and tells an operator what to do.
pub trait Classified: std::error::Error {
    /// What this error means for the loop that meets it.
    fn class(&self) -> Class;

    /// One or two sentences for a person: what to check or change. Names no secret.
    fn advice(&self) -> String;
}

/// An error with all its causes, outermost first, for a line of status or log. A cause whose words the text ends with
/// already is not said again.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retry => "retry",
            Self::Operator => "operator",
            Self::Quarantine => "quarantine",
            Self::Fatal => "fatal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}")]
    struct Layer {
        what: &'static str,
        #[source]
        cause: Option<Box<Layer>>,
    }

    #[test]
    fn every_cause_is_said_once() {
        let layers = ["read the file: no such file", "no such file", "gone"];
        let error = layers
            .into_iter()
            .rev()
            .fold(None, |cause, what| Some(Box::new(Layer { what, cause })));
        assert_eq!(chain(&*error.unwrap()), "read the file: no such file: gone");
    }
}
