//! The `keyferry` binary: the only reader of files, arguments and the environment.

mod args;
mod command;
mod exit;
mod life;
mod logging;
mod options;
mod output;
mod show;

use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::exit::{Exit, Failure};
use crate::options::layers::{CONFIG_VARIABLE, Values};

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
        "run" => command::run::run(&values(matches)),
        "tail" => command::tail::run(matches, &values(matches)),
        "status" => command::status::run(matches, &values(matches)),
        "config" => command::config::run(matches, &values(matches)),
        "quarantine" => command::quarantine::run(matches),
        other => Err(Failure::usage(format!("there is no command {other}"))),
    }
}

/// The configuration in force: defaults, file, environment, flags. What is wrong with it is in it.
pub(crate) fn values(matches: &ArgMatches) -> Values {
    let mut values = Values::defaults();
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        // What is no text is told where it is read: as a file that is not there, as a word that is none.
        Some((name, value.to_string_lossy().into_owned()))
    });
    let environment: Vec<(String, String)> = environment.collect();
    let named =
        environment.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, path)| path.clone());
    if let Some(file) = matches.get_one::<String>("config").cloned().or(named) {
        values.add_file_at(Path::new(&file));
    }
    values.add_environment(environment);
    args::add_flags(matches, &mut values);
    values
}

fn show_usage(error: &clap::Error) -> Exit {
    let wanted = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    // Where even this cannot be printed, the exit code still tells.
    error.print().map_or(Exit::Usage, |()| if wanted { Exit::Done } else { Exit::Usage })
}
