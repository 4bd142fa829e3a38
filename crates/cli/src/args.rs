//! The command line: subcommands, their own flags, and every option of the table as a flag.

pub(crate) mod replay;
mod topics;

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use clap_complete::Shell;
use event::Event;

use crate::exit::Exit;
use crate::options::layers::{Origin, Values};
use crate::options::{Kind, OPTIONS, OptionSpec};

/// The whole command line.
pub(crate) fn command() -> Command {
    Command::new("keyferry")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Change data capture for Redis and Valkey")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(format!("{EXAMPLES}\n\n{}\n\n{OPTIONS_ELSEWHERE}", exit_codes()))
        .subcommands([
            run(),
            capture(),
            apply(),
            replay::replay(),
            tail(),
            status(),
            config(),
            quarantine(),
            resnapshot(),
            topics::topics(),
            completions(),
        ])
}

const EXAMPLES: &str = "\
Examples:
  keyferry run redis://source:6379 redis://destination:6379 --data-dir /var/lib/keyferry
      Copy everything, then every change, until Ctrl-C. The same again goes on from there.
  keyferry status --data-dir /var/lib/keyferry
      Does it run, and how far is it?
  keyferry tail --data-dir /var/lib/keyferry --follow --key 'user:*'
      See the changes of some keys as they come.";

const RUN_EXAMPLES: &str = "\
Examples:
  keyferry run redis://source:6379 redis://destination:6379 --data-dir /var/lib/keyferry
      Copy everything, then every change. The same again goes on from there.
  keyferry run redis://source:6379 redis://destination:6379 --include-prefixes user: --map-dbs 0:5
      Some of the keys, into another database.
  KEYFERRY_SOURCE_PASSWORD=… keyferry run --config /etc/keyferry/run.toml --existing sweep
      From a file (keyferry config --sample prints one), over what the destination holds.";

const CAPTURE_EXAMPLES: &str = "\
Examples:
  keyferry capture redis://source:6379 --journal kafka://broker-1:9092,broker-2:9092 --stream shop
      Everything, then every change, into the topic keyferry.shop.";

const APPLY_EXAMPLES: &str = "\
Examples:
  keyferry apply redis://destination:6379 --journal kafka://broker-1:9092,broker-2:9092 --stream shop
      From the topic keyferry.shop to the destination.";

const OPTIONS_ELSEWHERE: &str = "Every option can also stand in a file (--config) or in the environment: \
    docs/configuration.md lists them, `keyferry config` shows what is in force.";

fn exit_codes() -> String {
    let lines = Exit::ALL.map(|(exit, meaning)| format!("\n  {}  {meaning}", exit.code()));
    format!("Exit codes:{}\n  130  ended at once by a second signal", lines.concat())
}

fn run() -> Command {
    let command = Command::new("run")
        .about("Copy a source to a destination and keep it up to date: capture, journal and apply in one process")
        .long_about(
            "Copy a source to a destination and keep it up to date: capture, journal and apply in one process.\n\n\
             Stopped and started again, it goes on where it was. Ctrl-C finishes what is under way; a second one \
             stops at once, and loses nothing either.",
        )
        .arg(source())
        .arg(destination())
        .after_help(format!("{RUN_EXAMPLES}\n\n{}\n\n{OPTIONS_ELSEWHERE}", exit_codes()));
    with_options(command, |_| true)
}

fn capture() -> Command {
    let command = Command::new("capture")
        .about("Record a source into a journal on Kafka, from where `keyferry apply` takes it")
        .long_about(
            "Record a source into a journal on Kafka, from where `keyferry apply` takes it.\n\n\
             One process records at a time. Others of the same stream stand by, and one of them takes over within \
             seconds when the first ends, is killed, or is not heard of any more.",
        )
        .arg(source())
        .after_help(format!("{CAPTURE_EXAMPLES}\n\n{}\n\n{OPTIONS_ELSEWHERE}", exit_codes()));
    with_options(command, is_about_capture)
}

fn apply() -> Command {
    let command = Command::new("apply")
        .about("Apply a journal on Kafka, which `keyferry capture` writes, to a destination")
        .arg(destination())
        .after_help(format!("{APPLY_EXAMPLES}\n\n{}\n\n{OPTIONS_ELSEWHERE}", exit_codes()));
    with_options(command, is_about_apply)
}

fn source() -> Arg {
    Arg::new(SOURCE).value_name("SOURCE").help("The source: redis://host:port (source.uri)")
}

fn destination() -> Arg {
    Arg::new(DESTINATION)
        .value_name("DESTINATION")
        .help("The destination: redis://host:port (destination.uri)")
}

fn config() -> Command {
    let command = Command::new("config")
        .about("Print the configuration in force, where each value comes from, secrets masked")
        .arg(Arg::new(SOURCE).value_name("SOURCE").hide(true))
        .arg(Arg::new(DESTINATION).value_name("DESTINATION").hide(true))
        .arg(
            Arg::new("reference")
                .long("reference")
                .action(ArgAction::SetTrue)
                .help("Print the page that documents every option instead"),
        )
        .arg(
            Arg::new("sample")
                .long("sample")
                .action(ArgAction::SetTrue)
                .conflicts_with("reference")
                .help("Print a configuration file with every option and its default instead"),
        );
    with_options(command, |_| true)
}

fn tail() -> Command {
    let command = Command::new("tail")
        .about("Show the events of a stream's journal, also while it is being written")
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("PLACE")
                .help("Where to begin: beginning, end, or an offset in every partition [default: the last 10 of each]"),
        )
        .arg(
            Arg::new("since")
                .long("since")
                .value_name("TIME")
                .conflicts_with("from")
                .help("Where to begin: a time, as 5m (ago) or Unix milliseconds"),
        )
        .arg(
            Arg::new("follow")
                .short('f')
                .long("follow")
                .action(ArgAction::SetTrue)
                .help("Wait for more at the end"),
        )
        .arg(
            Arg::new("limit")
                .short('n')
                .long("limit")
                .value_name("NUMBER")
                .value_parser(value_parser!(u64))
                .help("Stop after so many events"),
        )
        .arg(many("partition", "NUMBER", "Only these partitions"))
        .arg(many("db", "NUMBER", "Only events of these databases"))
        .arg(many("key", "PATTERN", "Only events of keys that fit one of these patterns"))
        .arg(
            many("kind", "KIND", "Only events of these kinds; heartbeats are shown only when named")
                .value_parser(Event::KINDS),
        );
    with_options(command, is_about_reading)
}

fn status() -> Command {
    let command =
        Command::new("status").about("Show what the process on a data directory is doing").arg(
            Arg::new("max-age")
                .long("max-age")
                .value_name("DURATION")
                .help("Fail if the process has said nothing for longer: for health checks"),
        );
    with_options(command, is_about_reading)
}

fn quarantine() -> Command {
    let key = |help| {
        [
            Arg::new("key").long("key").value_name("KEY").help(help).long_help(format!(
                "{help}\n\nA key is named as `quarantine list` shows it: in double quotes, or without \
                 them, with \\n \\r \\t \\a \\b \\\" \\\\ and \\xhh (two hexadecimal digits) for what cannot be \
                 typed. Keep the shell from reading it: --key '\"\\x00\\xffkey\"'. A backslash of the key \
                 itself is \\\\; a text without a backslash that does not begin with a double quote \
                 stands for itself."
            )),
            Arg::new("db")
                .long("db")
                .value_name("NUMBER")
                .default_value("0")
                .value_parser(value_parser!(u32))
                .help("Its database at the destination"),
            Arg::new("function")
                .long("function")
                .value_name("NAME")
                .conflicts_with_all(["key", "db"])
                .help("The function library of that name instead; '' for what FUNCTION RESTORE brings"),
        ]
    };
    let part = |name, about| {
        with_options(Command::new(name).about(about).arg(destination()), is_about_a_destination)
    };
    let letters = Arg::new("letters")
        .long("letters")
        .action(ArgAction::SetTrue)
        .help("Show every change that was set aside, not only the keys");
    Command::new("quarantine")
        .about("Keys and function libraries whose changes could not be applied: list them, try again, or give them up")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(part("list", "List them, with what happened").arg(letters))
        .subcommand(
            part("retry", "Apply their changes again, in order, and go on with them")
                .args(key("The key; all of them when left out")),
        )
        .subcommand(
            part("discard", "Forget their changes, and go on with them as they are")
                .args(key("The key; all of them when left out")),
        )
}

fn resnapshot() -> Command {
    let command = Command::new("resnapshot")
        .about("Have whoever captures a stream make a snapshot of the source beside it, and wait for its end")
        .long_about(
            "Have whoever captures a stream make a snapshot of the source beside it, and wait for its end.\n\n\
             The request goes over the journal; neither the source nor the capture is connected to. Whoever applies \
             the stream already takes no notice; a new destination can begin with the snapshot.",
        )
        .arg(
            Arg::new("no-wait")
                .long("no-wait")
                .action(ArgAction::SetTrue)
                .help("Ask once and end, whatever comes of it"),
        )
        .arg(
            Arg::new("answer-within")
                .long("answer-within")
                .value_name("DURATION")
                .default_value("1m")
                .help("Give up if no snapshot has begun by then"),
        );
    with_options(command, |option| is_about_the_place(option) || is_about_the_journal(option))
}

fn completions() -> Command {
    Command::new("completions")
        .about("Print the completions of a shell, to be sourced or installed")
        .after_help(
            "bash: keyferry completions bash > ~/.local/share/bash-completion/completions/keyferry",
        )
        .arg(Arg::new(SHELL).value_name("SHELL").required(true).value_parser(value_parser!(Shell)))
}

/// Which shell is asked for.
pub(crate) const SHELL: &str = "SHELL";
const SOURCE: &str = "SOURCE";
const DESTINATION: &str = "DESTINATION";

fn is_about_the_place(option: &OptionSpec) -> bool {
    matches!(option.path, "data_dir" | "stream.name" | "log.json" | "log.level")
}

fn is_about_sharing(option: &OptionSpec) -> bool {
    let of_the_journal = ["journal.uri", "journal.retention_bytes", "journal.retention_age"];
    let sections = ["stream.", "kafka.", "admin.", "log."];
    option.path == "data_dir"
        || of_the_journal.contains(&option.path)
        || sections.iter().any(|section| option.path.starts_with(section))
}

fn is_about_capture(option: &OptionSpec) -> bool {
    is_about_sharing(option)
        || option.path == "destination.unsupported"
        || ["source.", "spool.", "throttle."].iter().any(|section| option.path.starts_with(section))
}

fn is_about_apply(option: &OptionSpec) -> bool {
    let sections = ["destination.", "filter.", "map.", "throttle."];
    let is_ours = sections.iter().any(|section| option.path.starts_with(section));
    is_about_sharing(option) || (is_ours && option.path != "throttle.source_read_bytes")
}

fn is_about_replay(option: &OptionSpec) -> bool {
    is_about_apply(option) && option.path != "destination.resnapshot"
}

fn is_about_a_destination(option: &OptionSpec) -> bool {
    is_about_the_place(option)
        || is_about_the_journal(option)
        || option.path.starts_with("destination.")
}

/// A journal that is looked at, wherever it is.
fn is_about_reading(option: &OptionSpec) -> bool {
    is_about_the_place(option) || is_about_the_journal(option)
}

/// How topics are to be.
fn is_about_topics(option: &OptionSpec) -> bool {
    let others = ["journal.retention_bytes", "journal.retention_age", "log.json", "log.level"];
    is_about_the_journal(option) || option.path == "stream.name" || others.contains(&option.path)
}

/// Which journal is meant.
fn is_about_the_journal(option: &OptionSpec) -> bool {
    matches!(option.path, "journal.uri" | "stream.partitions") || option.path.starts_with("kafka.")
}

fn many(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .action(ArgAction::Append)
        .value_delimiter(',')
        .help(help)
}

fn with_options(command: Command, wanted: impl Fn(&OptionSpec) -> bool) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Configuration file (TOML); the [words] below are its sections")
        .help_heading(heading(None));
    let flags = OPTIONS.iter().filter(|option| wanted(option)).map(flag_of);
    command.arg(config).args(flags)
}

fn flag_of(option: &OptionSpec) -> Arg {
    let default = option.default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
    let (section, _) = option.section();
    let arg = Arg::new(option.path)
        .long(option.flag())
        .value_name(option.kind.placeholder())
        .help(format!("{}{default}", option.help))
        .help_heading(heading(section))
        .hide(option.kind == Kind::Secret)
        .allow_hyphen_values(option.kind == Kind::List);
    match option.kind {
        Kind::Flag => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Word(words) => arg.value_parser(Words(words)),
        _ => arg,
    }
}

/// The section of the file, with a title for people.
fn heading(section: Option<&str>) -> &'static str {
    match section {
        Some("source") => "Source [source]",
        Some("destination") => "Destination [destination]",
        Some("stream") => "Stream [stream]",
        Some("journal") => "Journal [journal]",
        Some("kafka") => "Journal on Kafka [kafka]",
        Some("spool") => "Spool [spool]",
        Some("filter") => "What to take [filter]",
        Some("map") => "Where it goes [map]",
        Some("throttle") => "How fast [throttle]",
        Some("admin") => "HTTP [admin]",
        Some("log") => "Log [log]",
        _ => "Files",
    }
}

/// Puts the options that were given as flags, and the two endpoints, over the values.
pub(crate) fn add_flags(matches: &ArgMatches, values: &mut Values) {
    for option in OPTIONS {
        let given = |id: &str| matches.try_get_one::<String>(id).ok().flatten();
        let positional = match option.path {
            "source.uri" => Some(SOURCE),
            "destination.uri" => Some(DESTINATION),
            _ => None,
        };
        if let Some(name) = positional
            && let Some(value) = given(name)
        {
            values.add_argument(option, value, Origin::Argument(name));
        }
        if let Some(value) = given(option.path) {
            values.add_argument(option, value, Origin::Flag(format!("--{}", option.flag())));
        }
    }
}

/// Takes every word, so that a wrong one is told together with what else is wrong, and shows those that are right.
#[derive(Clone, Debug)]
struct Words(&'static [&'static str]);

// === impl Words ===

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_option_of_the_table_has_a_heading_of_its_own() {
        for option in OPTIONS {
            let (section, _) = option.section();
            assert!(section.is_none() || heading(section) != "Files", "{}", option.path);
        }
    }

    #[test]
    fn help_shows_examples_that_can_be_parsed() {
        let cases = [
            (EXAMPLES, 3),
            (RUN_EXAMPLES, 3),
            (CAPTURE_EXAMPLES, 1),
            (APPLY_EXAMPLES, 1),
            (replay::EXAMPLES, 2),
        ];
        for (examples, count) in cases {
            let lines = examples.lines().filter_map(|line| line.split_once("keyferry "));
            let commands: Vec<_> = lines.filter(|(before, _)| !before.contains('(')).collect();
            assert_eq!(commands.len(), count, "{examples}");
            for (_, words) in commands {
                let words = words.split(' ').map(|word| word.trim_matches('\''));
                let parsed = command().try_get_matches_from(["keyferry"].into_iter().chain(words));
                assert!(parsed.is_ok(), "{parsed:?}");
            }
        }
    }
}
