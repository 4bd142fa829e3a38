//! The `keyferry` binary: the only reader of files, arguments and the environment.

mod args;
mod command;
mod exit;
mod life;
mod logging;
mod options;
mod output;
mod password_file;
mod role;
mod show;

use std::path::Path;
use std::process::ExitCode;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::exit::{Exit, Failure};
use crate::options::layers::{CONFIG_VARIABLE, Values};
use crate::options::typed;
use crate::role::Role;

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
    if name == "completions" {
        // It has no options, and needs no configuration.
        return command::completions::run(matches);
    }
    let values = values(matches.subcommand().map_or(matches, |(_, inner)| inner));
    if values.get("log.json").is_some_and(typed::is_true) {
        output::speak_json();
    }
    match name {
        "run" => command::run::run(&values, Role::Both),
        "capture" => command::run::run(&values, Role::Capture),
        "apply" => command::run::run(&values, Role::Apply),
        "replay" => command::run::replay(matches, &values),
        "tail" => command::tail::run(matches, &values),
        "status" => command::status::run(matches, &values),
        "config" => command::config::run(matches, &values),
        #[cfg(feature = "kafka")]
        "topics" => command::topics::run(matches, &values),
        #[cfg(not(feature = "kafka"))]
        "topics" => Err(Failure::usage(
            "topics are on Kafka, which this binary was built without: build it with the feature kafka",
        )),
        "quarantine" => command::quarantine::run(matches, &values),
        "resnapshot" => command::resnapshot::run(matches, &values),
        other => Err(Failure::usage(format!("there is no command {other}"))),
    }
}

/// The configuration in force: defaults, file, environment, flags. What is wrong with it is in it.
fn values(matches: &ArgMatches) -> Values {
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
    match error.print() {
        // Whoever closes the pipe has read enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Usage,
        _ if wanted => Exit::Done,
        _ => Exit::Usage,
    }
}
