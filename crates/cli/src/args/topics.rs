//! The arguments of `keyferry topics`.

use clap::Command;

use super::{OPTIONS_ELSEWHERE, exit_codes, is_about_the_journal, is_about_topics, with_options};

pub(super) const EXAMPLES: &str = "\
Examples:
  keyferry topics create --journal kafka://broker-1:9092 --stream shop --partitions 16 --kafka-replication-factor 3
      Make the topics of a stream, with an account that may: those of capture and apply need not.
  keyferry topics describe --journal kafka://broker-1:9092 --stream shop
      What the stream is, who writes it, and how far each destination is.";

pub(super) fn topics() -> Command {
    let part = |name, about| with_options(Command::new(name).about(about), is_about_topics);
    let describe = Command::new("describe")
        .about("Show the topics, what is noted about the stream, its writer, and its groups");
    Command::new("topics")
        .about("The topics of a stream on Kafka: make them, compare them with what is wanted, look at them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(part("create", "Make the topics that are missing, and compare the others"))
        .subcommand(part("check", "Name everything in which the topics are other than wanted"))
        .subcommand(with_options(describe, |option| {
            is_about_the_journal(option)
                || matches!(option.path, "stream.name" | "log.json" | "log.level")
        }))
        .after_help(format!("{EXAMPLES}\n\n{}\n\n{OPTIONS_ELSEWHERE}", exit_codes()))
}
