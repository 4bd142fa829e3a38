//! Every option of keyferry, as data: its path in the configuration file, its flag, its default and what it means.
//!
//! The path is the one name: the flag is the path with `-` for `.` and `_`, unless a shorter one is given; the
//! environment variable is `KEYFERRY_` and the path in capitals with `_` for `.`. The documentation of the options
//! is generated from this table, and a test compares the two.

mod file;
pub(crate) mod layers;
pub(crate) mod near;
pub(crate) mod reference;
pub(crate) mod sample;
mod table;
pub(crate) mod typed;

pub(crate) use self::table::{KAFKA_PROPERTIES, OPTIONS};

/// One option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionSpec {
    /// Where it stands in the file: `section.name`, or `name`.
    pub(crate) path: &'static str,
    /// Its flag, without the dashes, where it is not the path's.
    pub(crate) short_flag: Option<&'static str>,
    /// What its value looks like.
    pub(crate) kind: Kind,
    /// Its value when nothing is said; none: it is not set.
    pub(crate) default: Option<&'static str>,
    /// What it does, in one or two sentences.
    pub(crate) help: &'static str,
}

/// What the value of an option looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// `redis://host:port` and its like. A password in it is refused in arguments.
    Uri,
    /// A text that is never shown, and that arguments may not hold.
    Secret,
    /// The name of a file or directory.
    Path,
    /// A whole number.
    Number,
    /// `true` or `false`; as a flag alone it means `true`.
    Flag,
    /// `64MB`, `1GiB`, `4096`.
    Bytes,
    /// `10ms`, `30s`, `12h`, `7d`.
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several texts, separated by commas; in the file a list.
    List,
}

// === impl OptionSpec ===

impl OptionSpec {
    /// The flag, without the dashes.
    pub(crate) fn flag(&self) -> String {
        self.short_flag.map_or_else(|| self.path.replace(['.', '_'], "-"), str::to_owned)
    }

    /// The environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("KEYFERRY_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// The section of the file, and the name in it.
    pub(crate) fn section(&self) -> (Option<&'static str>, &'static str) {
        match self.path.split_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, self.path),
        }
    }
}

// === impl Kind ===

impl Kind {
    /// How a value is spoken of in help texts.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Uri => "URI",
            Self::Secret => "SECRET",
            Self::Path => "PATH",
            Self::Number => "NUMBER",
            Self::Flag => "BOOL",
            Self::Bytes => "BYTES",
            Self::Duration => "DURATION",
            Self::Word(_) => "WORD",
            Self::List => "LIST",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_options_share_a_name() {
        let flags: BTreeSet<_> = OPTIONS.iter().map(OptionSpec::flag).collect();
        let variables: BTreeSet<_> = OPTIONS.iter().map(OptionSpec::variable).collect();
        assert_eq!((flags.len(), variables.len()), (OPTIONS.len(), OPTIONS.len()));
    }

    #[test]
    fn every_option_says_what_it_does() {
        for option in OPTIONS {
            assert!(option.help.ends_with('.') && option.help.len() > 20, "{}", option.path);
        }
    }
}
