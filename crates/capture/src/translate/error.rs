//! Why a command of the stream cannot be recorded.

use runtime::policy::{Class, Classified};
use wire::command::keys::KeyError;
use wire::command::normalise::NormaliseError;

/// Why a command of the stream cannot be recorded. None of these is skipped: the stream stops
/// there.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// Neither the table nor, so far, the source has described it.
    #[error("the command {command} is not known")]
    Unknown {
        /// Its name.
        command: String,
    },
    /// The source describes it in a way that does not tell its keys.
    #[error("the command {command} is not known, and its keys cannot be told: {why}")]
    Undescribed {
        /// Its name.
        command: String,
        /// What the source said.
        why: String,
    },
    /// The digest of a script whose text was sent before this process listened.
    #[error("the script with the digest {digest} was sent before this process listened")]
    UnknownScript {
        /// The digest, as it came.
        digest: String,
    },
    /// A script itself, not its effects.
    #[error("the source replicates scripts, not their effects: {command}")]
    Script {
        /// Its name.
        command: String,
    },
    /// It changes data in a way that this version does not carry.
    #[error("the command {command} is not carried by this version")]
    Refused {
        /// Its name.
        command: String,
    },
    /// A shard of a cluster cannot have it.
    #[error(
        "the command {command} of one shard of a cluster is not carried: it would concern the others as well"
    )]
    OfShard {
        /// Its name.
        command: String,
    },
    /// An argument is not what it should be.
    #[error("{command}: the {what} is not a number")]
    BadArgument {
        /// Its name.
        command: String,
        /// Which argument.
        what: &'static str,
    },
    /// Its arguments do not fit each other.
    #[error("{command}: {what}")]
    Malformed {
        /// Its name.
        command: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A write without a key that it writes cannot be put in order.
    #[error("{command} writes, but names no key that it writes")]
    NoKeys {
        /// Its name.
        command: String,
    },
    /// Its keys cannot be told.
    #[error("tell the keys of a command")]
    Keys(#[from] KeyError),
    /// It cannot be made independent of when and where it is applied.
    #[error("make a command absolute")]
    Normalise(#[from] NormaliseError),
}

// === impl TranslateError ===

impl TranslateError {
    pub(super) fn unknown(name: &[u8]) -> Self {
        Self::Unknown { command: super::lossy(name).to_uppercase() }
    }
}

impl Classified for TranslateError {
    fn class(&self) -> Class {
        Class::Operator
    }

    fn advice(&self) -> String {
        match self {
            Self::Unknown { .. } | Self::Undescribed { .. } => {
                "allow COMMAND to the account at the source (ACL SETUSER <user> +command), and check \
                 which module made this command; then start again: it goes on with it"
            }
            Self::Script { .. } => {
                "set lua-replicate-commands yes at the source; then start with a new snapshot"
            }
            Self::UnknownScript { .. } => {
                "the source named a script that it had not sent since its snapshot: have the scripts \
                 call redis.replicate_commands() (3.2 to 4.0), or use a newer source; \
                 then start with a new snapshot"
            }
            Self::Refused { command } if command == "RREPLAY" => {
                "switch active-replica off at the source, or use one where it is off"
            }
            Self::OfShard { .. } => {
                "begin a stream of another name (--stream) and do without this command at the source"
            }
            Self::Refused { command } if command.starts_with("CLUSTER ") => {
                "slots are being moved between shards, or emptied: when that is done, begin a stream of another name \
                 (--stream) with a capture of each primary"
            }
            Self::Refused { .. } => "use a source that does without this command",
            Self::BadArgument { .. }
            | Self::Malformed { .. }
            | Self::NoKeys { .. }
            | Self::Keys(_)
            | Self::Normalise(_) => {
                "the source sent what this version does not understand: please report the command"
            }
        }
        .to_owned()
    }
}
