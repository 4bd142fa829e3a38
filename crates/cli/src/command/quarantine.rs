//! `keyferry quarantine`: keys whose changes could not be applied.

use clap::ArgMatches;

use crate::exit::Failure;

pub(crate) fn run(_matches: &ArgMatches) -> Result<(), Failure> {
    Err(Failure::usage("not wired"))
}
