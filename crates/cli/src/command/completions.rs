//! `keyferry completions`: what a shell needs to complete commands and flags.

use clap::ArgMatches;
use clap_complete::{Shell, generate};

use crate::exit::Failure;
use crate::{args, output};

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(shell) = matches.get_one::<Shell>(args::SHELL) else {
        return Err(Failure::usage("say which shell"));
    };
    output::print(script(*shell).trim_end())
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut args::command(), "keyferry", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_commands_flags_and_words() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            for word in ["quarantine", "data-dir", "overwrite", "snapshot-begin"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
