//! `keyferry config`: what is in force, and where each value comes from.

use clap::ArgMatches;

use crate::exit::Failure;
use crate::options::layers::Values;
use crate::options::{reference, sample, typed};
use crate::output;

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    if matches.get_flag("reference") {
        return printed(output::line(reference::markdown().trim_end()));
    }
    if matches.get_flag("sample") {
        return printed(output::line(sample::toml().trim_end()));
    }
    printed(output::line(values.to_toml().trim_start()))?;
    let problems = typed::problems(values);
    if problems.is_empty() { Ok(()) } else { Err(Failure::usage(problems.join("\n  "))) }
}

/// A closed pipe is the reader's decision, not an error.
fn printed(result: std::io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
