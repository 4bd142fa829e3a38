//! The `keyferry` binary: the only reader of files, arguments and the environment.

mod args;
mod command;
mod exit;
mod logging;
mod options;
mod output;
mod show;

use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::exit::{Exit, Failure};
use crate::options::layers::{CONFIG_VARIABLE, ConfigError, Values};

fn main() -> ExitCode {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return show_usage(&error).into(),
    };
    match dispatch(&matches) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            output::error(&failure);
            failure.exit.into()
        }
    }
}

fn dispatch(matches: &ArgMatches) -> Result<(), Failure> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::usage("no command given"));
    };
    match name {
        "run" => command::run::run(&values(matches)?),
        "tail" => command::tail::run(matches, &values(matches)?),
        "status" => command::status::run(matches, &values(matches)?),
        "config" => command::config::run(matches, &values(matches)?),
        "quarantine" => command::quarantine::run(matches),
        other => Err(Failure::usage(format!("there is no command {other}"))),
    }
}

/// The configuration in force: defaults, file, environment, flags.
pub(crate) fn values(matches: &ArgMatches) -> Result<Values, Failure> {
    let mut values = Values::defaults();
    let mut problems = Vec::new();
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let named =
        environment.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, path)| path.clone());
    let file = matches.get_one::<String>("config").cloned().or(named);
    if let Some(file) = file {
        match std::fs::read_to_string(&file) {
            Ok(text) => values.add_file(Path::new(&file), &text, &mut problems),
            Err(error) => {
                problems.push(format!("cannot read the configuration file {file}: {error}"));
            }
        }
    }
    values.add_environment(environment, &mut problems);
    args::add_flags(matches, &mut values, &mut problems);
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(Failure::usage(ConfigError(problems).to_string()))
    }
}

fn show_usage(error: &clap::Error) -> Exit {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Where even this cannot be printed, the exit code still tells.
    error.print().map_or(Exit::Usage, |()| if wanted { Exit::Done } else { Exit::Usage })
}
