//! Exit codes, and how an error is told to a person.

use std::process::ExitCode;

use runtime::{Class, Classified, chain};

/// What the process ends with. Scripts may rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or stopped and drained as asked.
    Done,
    /// A defect of keyferry, or something that nobody foresaw.
    Defect,
    /// Arguments or configuration.
    Usage,
    /// The source: unreachable, refuses, or sends what is not understood.
    Source,
    /// The destination: unreachable, refuses, or is not what it must be.
    Destination,
    /// The destination holds keys and nothing says what to do about them.
    NotEmpty,
    /// The journal: in use, damaged, or its disk.
    Journal,
    /// Tried again for as long as was allowed.
    GaveUp,
    /// Asked whether it runs: it does not, or has said nothing for too long.
    NotRunning,
}

/// An error on its way to a person.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) advice: String,
}

// === impl Exit ===

impl Exit {
    /// Every one, with what it means in a few words.
    pub(crate) const ALL: [(Self, &str); 9] = [
        (Self::Done, "done, or stopped as asked"),
        (Self::Defect, "a defect of keyferry, or what nobody foresaw"),
        (Self::Usage, "arguments or configuration"),
        (Self::Source, "the source"),
        (Self::Destination, "the destination"),
        (Self::NotEmpty, "the destination holds keys: see --existing"),
        (Self::Journal, "the journal"),
        (Self::GaveUp, "tried again for as long as was allowed"),
        (Self::NotRunning, "status --max-age: nobody runs, or said nothing for longer"),
    ];

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Defect => 1,
            Self::Usage => 2,
            Self::Source => 3,
            Self::Destination => 4,
            Self::NotEmpty => 5,
            Self::Journal => 6,
            Self::GaveUp => 7,
            Self::NotRunning => 8,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

// === impl Failure ===

impl Failure {
    /// An error of a component, with every cause behind it. Its class decides before its place does.
    pub(crate) fn of(exit: Exit, error: &dyn Classified) -> Self {
        let exit = match error.class() {
            Class::Retry => Exit::GaveUp,
            Class::Fatal => Exit::Defect,
            Class::Operator | Class::Quarantine => exit,
        };
        Self { exit, what: chain(error), advice: error.advice() }
    }

    /// An error before anything ran: nothing was tried again, so its place decides.
    pub(crate) fn at_start(exit: Exit, error: &dyn Classified) -> Self {
        Self { exit, what: chain(error), advice: error.advice() }
    }

    /// Everything that is wrong with the configuration.
    pub(crate) fn configuration(problems: &[String]) -> Self {
        let what = match problems {
            [problem] => problem.clone(),
            problems => format!(
                "the configuration has {} problems:\n  {}",
                problems.len(),
                problems.join("\n  ")
            ),
        };
        let advice = "see docs/configuration.md for every option, \
            or `keyferry config` with the same flags for what is in force";
        Self { exit: Exit::Usage, what, advice: advice.to_owned() }
    }

    /// Something wrong with arguments or configuration.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            what: what.into(),
            advice: "see `keyferry help`, or docs/configuration.md for every option".to_owned(),
        }
    }
}

/// Which side of apply an error is of: the destination, its contents, or the journal it reads.
pub(crate) fn of_apply(error: &apply::Error) -> Exit {
    match error {
        apply::Error::Existing { .. } | apply::Error::HasBegun { .. } => Exit::NotEmpty,
        apply::Error::Journal(_)
        | apply::Error::Letters(_)
        | apply::Error::Letter(_)
        | apply::Error::Record { .. }
        | apply::Error::NoSnapshot { .. }
        | apply::Error::NoReplay { .. }
        | apply::Error::PlaceGone { .. }
        | apply::Error::Contradiction { .. }
        | apply::Error::Marks { .. } => Exit::Journal,
        apply::Error::GaveUp { .. } if !error.is_denied() => Exit::GaveUp,
        _ => Exit::Destination,
    }
}

/// Which part of capture's beginning failed.
pub(crate) fn of_capture_build(error: &capture::BuildError) -> Exit {
    match error {
        capture::BuildError::Settings(_) => Exit::Usage,
        capture::BuildError::GaveUp { .. } => Exit::GaveUp,
        capture::BuildError::Resume(_)
        | capture::BuildError::Journal(_)
        | capture::BuildError::Appender(_)
        | capture::BuildError::Spool(_) => Exit::Journal,
        _ => Exit::Source,
    }
}

/// Which side of a running capture failed.
pub(crate) fn of_capture(error: &capture::Error) -> Exit {
    match error {
        capture::Error::Session(
            capture::SessionError::Outlet(_) | capture::SessionError::Spool(_),
        )
        | capture::Error::Intake(capture::IntakeError::Spool(_)) => Exit::Journal,
        _ => Exit::Source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_documented() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (number, (exit, _)) in (0_u8..).zip(Exit::ALL) {
            assert_eq!(exit.code(), number);
            assert!(page.contains(&format!("\n| {number} | ")), "{number} is not in docs/run.md");
        }
    }
}
