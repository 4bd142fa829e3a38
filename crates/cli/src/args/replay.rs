//! The arguments of `keyferry replay`.

use clap::{Arg, ArgAction, Command};

use super::{OPTIONS_ELSEWHERE, destination, exit_codes, is_about_replay, with_options};

/// What they are called.
pub(crate) const FROM: &str = "from";
pub(crate) const UNTIL: &str = "until";
pub(crate) const DRY_RUN: &str = "dry-run";

pub(super) const EXAMPLES: &str = "\
Examples:
  keyferry replay redis://restored:6379 --data-dir /var/lib/keyferry --until time:2026-01-31T12:00:00Z
      What the source held at noon, into another server. The bridge on that directory may be running.
  keyferry replay redis://new:6379 --journal kafka://broker-1:9092 --stream shop --from beginning --dry-run
      Which snapshot would be taken, and how much there is to read.";

const PLACE: &str = "A place is offset:EPOCH:OFFSET (as `keyferry tail` shows positions; offset:OFFSET where the journal has \
    one epoch), or time:2026-01-31T12:00:00Z (or Unix milliseconds) by the source's clock.";

pub(super) fn replay() -> Command {
    let command = Command::new("replay")
        .about("Apply a stream anew to a destination, from one of its snapshots up to a place of the past, and end")
        .long_about(format!(
            "Apply a stream anew to a destination, from one of its snapshots up to a place of the past, and end.\n\n\
             It begins at a complete snapshot that the journal holds, and applies the stream from there. {PLACE} \
             `keyferry apply`, or `run`, goes on from where it ended. Nothing else is disturbed: not the source, not \
             other destinations."
        ))
        .arg(destination())
        .arg(
            Arg::new(FROM)
                .long(FROM)
                .value_name("WHERE")
                .default_value("snapshot")
                .help("Where to begin: snapshot (the newest that it can end behind), beginning (the oldest), or the newest that is not after a place"),
        )
        .arg(
            Arg::new(UNTIL)
                .long(UNTIL)
                .value_name("PLACE")
                .help("Where to end: behind everything up to a place [default: the journal's end as it begins]"),
        )
        .arg(
            Arg::new(DRY_RUN)
                .long(DRY_RUN)
                .action(ArgAction::SetTrue)
                .help("Say what would be done, and write nothing"),
        )
        .after_help(format!("{EXAMPLES}\n\n{}\n\n{OPTIONS_ELSEWHERE}", exit_codes()));
    with_options(command, is_about_replay)
}
