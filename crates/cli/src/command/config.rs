//! `keyferry config`: what is in force, and where each value comes from.

use clap::ArgMatches;

use crate::exit::Failure;
use crate::options::layers::Values;
use crate::options::{reference, sample, typed};
use crate::output;

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    if matches.get_flag("reference") {
        return output::print(reference::markdown().trim_end());
    }
    if matches.get_flag("sample") {
        return output::print(sample::toml().trim_end());
    }
    output::print(values.to_toml().trim_start())?;
    output::warn(&typed::check(values)?);
    Ok(())
}
