//! What a server's error reply means: its code, whether it passes, what to do.
//!
//! Written for any command; a caller that knows more about its command (a key to set aside, a
//! slot that moved) decides for itself on the [`Code`].

use std::fmt;

use runtime::Class;

/// An error reply, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind it is.
    pub code: Code,
    /// The whole text as it came, what is not UTF-8 replaced.
    pub text: String,
}

/// What kind of error reply it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Authentication was not given.
    NoAuth,
    /// Wrong password, or user unknown or disabled.
    WrongPassword,
    /// The ACL forbids the command, a key or a channel.
    NoPermission,
    /// The server loads its data set.
    Loading,
    /// A replica without its primary that serves no stale data.
    MasterDown,
    /// A replica without its primary, asked to replicate; or a failover under way.
    NoMasterLink,
    /// A write at a read-only replica.
    ReadOnly,
    /// Above `maxmemory`.
    OutOfMemory,
    /// A script or module holds the server, or a save is under way.
    Busy,
    /// Persistence fails, so writes are refused.
    Misconf,
    /// Not enough replicas for `min-replicas-to-write`.
    NotEnoughReplicas,
    /// Keys of the command are on the move between cluster nodes.
    TryAgain,
    /// The cluster does not cover all slots, or this node has lost it.
    ClusterDown,
    /// The slot lives elsewhere.
    Moved,
    /// The key may have moved already.
    Ask,
    /// Keys of several slots.
    CrossSlot,
    /// The key exists already.
    BusyKey,
    /// The key holds another type.
    WrongType,
    /// The script is not loaded.
    NoScript,
    /// The transaction was not run, since a command in it was refused.
    ExecAborted,
    /// `maxclients` is reached.
    TooManyClients,
    /// Protected mode: no password and not from this machine.
    ProtectedMode,
    /// The server does not know the command (or it was renamed).
    UnknownCommand,
    /// No such database, or no databases here.
    BadDatabase,
    /// Anything else.
    Other,
}

// === impl Refusal ===

impl Refusal {
    /// Reads the text of an error reply, without its leading `-`.
    #[must_use]
    pub fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        Self { code: Code::of(&text), text }
    }

    /// The command that the ACL forbids, if this is about one.
    #[must_use]
    pub fn forbidden_command(&self) -> Option<&str> {
        let after = self.text.split_once("run the '")?.1;
        Some(after.split_once('\'')?.0).filter(|_| self.code == Code::NoPermission)
    }

    /// Whether the command is allowed, and a key of it is not. Servers do not say which.
    #[must_use]
    pub fn is_about_keys(&self) -> bool {
        self.code == Code::NoPermission
            && self.forbidden_command().is_none()
            && (self.text.contains("a key") || self.text.contains("the keys"))
    }

    /// What it means for a command that should have worked.
    #[must_use]
    pub fn class(&self) -> Class {
        self.code.class()
    }

    /// What to do about it at this endpoint, which may name a user.
    #[must_use]
    pub fn advice(&self, endpoint: &str) -> String {
        match self.forbidden_command() {
            Some(command) => {
                let right = command.replace(' ', "|");
                format!("Allow it: ACL SETUSER {} +{right}.", user_of(endpoint))
            }
            None if self.is_about_keys() => format!(
                "Allow the keys: ACL SETUSER {} ~PATTERN; keyferry's own need ~keyferry:*.",
                user_of(endpoint)
            ),
            None => self.code.advice().to_owned(),
        }
    }
}

/// The user that an endpoint names, as it stands there.
#[must_use]
pub fn user_of(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    let user = rest.split_once('@').map(|(user, _)| user);
    user.and_then(|user| user.split(':').next())
        .filter(|user| !user.is_empty())
        .unwrap_or("default")
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Code ===

impl Code {
    fn of(text: &str) -> Self {
        match text.split(' ').next().unwrap_or_default() {
            "NOAUTH" => Self::NoAuth,
            "WRONGPASS" => Self::WrongPassword,
            "NOPERM" => Self::NoPermission,
            "LOADING" => Self::Loading,
            "MASTERDOWN" => Self::MasterDown,
            "NOMASTERLINK" => Self::NoMasterLink,
            "READONLY" => Self::ReadOnly,
            "OOM" => Self::OutOfMemory,
            "BUSY" => Self::Busy,
            "MISCONF" => Self::Misconf,
            "NOREPLICAS" => Self::NotEnoughReplicas,
            "TRYAGAIN" => Self::TryAgain,
            "CLUSTERDOWN" => Self::ClusterDown,
            "MOVED" => Self::Moved,
            "ASK" => Self::Ask,
            "CROSSSLOT" => Self::CrossSlot,
            "BUSYKEY" => Self::BusyKey,
            "WRONGTYPE" => Self::WrongType,
            "NOSCRIPT" => Self::NoScript,
            // Newer servers say why.
            "EXECABORT" => {
                match text.strip_prefix("EXECABORT Transaction discarded because of: ") {
                    Some(why) => Self::of(why),
                    None => Self::ExecAborted,
                }
            }
            "DENIED" => Self::ProtectedMode,
            "ERR" => Self::of_plain(text.get(4..).unwrap_or_default()),
            _ => Self::Other,
        }
    }

    /// Errors without a code of their own are told apart by their beginning.
    fn of_plain(text: &str) -> Self {
        const KNOWN: [(&str, Code); 10] = [
            ("operation not permitted", Code::NoAuth),
            ("invalid password", Code::WrongPassword),
            ("invalid username-password pair", Code::WrongPassword),
            ("max number of clients reached", Code::TooManyClients),
            ("max number of clients + cluster connections reached", Code::TooManyClients),
            ("unknown command", Code::UnknownCommand),
            ("Can't SYNC while not connected", Code::NoMasterLink),
            ("DB index is out of range", Code::BadDatabase),
            ("invalid DB index", Code::BadDatabase),
            ("SELECT is not allowed", Code::BadDatabase),
        ];
        let known = KNOWN.iter().find(|(start, _)| text.starts_with(start));
        known.map_or(Self::Other, |(_, code)| *code)
    }

    /// Whether it is about who we are and what we may.
    #[must_use]
    pub fn is_denial(self) -> bool {
        matches!(self, Self::NoAuth | Self::WrongPassword | Self::NoPermission)
    }

    /// What it means for a command that should have worked.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::Loading
            | Self::MasterDown
            | Self::NoMasterLink
            | Self::ReadOnly
            | Self::OutOfMemory
            | Self::Busy
            | Self::Misconf
            | Self::NotEnoughReplicas
            | Self::TryAgain
            | Self::ClusterDown
            | Self::Moved
            | Self::Ask
            | Self::NoScript
            | Self::TooManyClients => Class::Retry,
            Self::WrongType | Self::BusyKey => Class::Quarantine,
            Self::NoAuth
            | Self::WrongPassword
            | Self::NoPermission
            | Self::CrossSlot
            | Self::ExecAborted
            | Self::ProtectedMode
            | Self::UnknownCommand
            | Self::BadDatabase
            | Self::Other => Class::Operator,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NoAuth => crate::error::GIVE_PASSWORD,
            Self::WrongPassword => "Check user and password, and that the user is on.",
            Self::NoPermission => "Extend the user's ACL at the server.",
            Self::Loading => "The server is loading its data; this passes by itself.",
            Self::MasterDown | Self::NoMasterLink => {
                "The replica has lost its primary: check that link, or name the primary instead."
            }
            Self::ReadOnly => {
                "This is a read-only replica: name the primary, or wait for failover."
            }
            Self::OutOfMemory => {
                "The server is at maxmemory: raise it or make room; work goes on by itself then."
            }
            Self::Busy => "A script, a module or a save holds the server; this usually passes.",
            Self::Misconf => "The server cannot save to its disk: see its log.",
            Self::NotEnoughReplicas => "The server wants more replicas connected before it writes.",
            Self::TryAgain => "Slots are moving between nodes; this passes by itself.",
            Self::ClusterDown => "The cluster is incomplete: see CLUSTER INFO.",
            Self::Moved | Self::Ask => {
                "The slot moved to another node; the topology is read again."
            }
            Self::CrossSlot => "The keys lie in several slots of the cluster.",
            Self::BusyKey => "The key exists already at the destination.",
            Self::WrongType => "The key holds a value of another type at the destination.",
            Self::NoScript => "The script is loaded again.",
            Self::ExecAborted => "A command of the transaction was refused: see the one before.",
            Self::TooManyClients => "The server is at maxclients: raise it or close connections.",
            Self::ProtectedMode => {
                "Set a password at the server, bind it to a trusted network, or turn protected-mode \
                 off."
            }
            Self::UnknownCommand => "The server is too old for the command, or it was renamed.",
            Self::BadDatabase => "Name a database that exists at the server (see its `databases`).",
            Self::Other => "The server's log may say more.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_codes_of_all_generations() {
        let cases = [
            ("NOAUTH Authentication required.", Code::NoAuth),
            ("ERR operation not permitted", Code::NoAuth),
            ("ERR invalid password", Code::WrongPassword),
            ("WRONGPASS invalid username-password pair or user is disabled.", Code::WrongPassword),
            ("ERR Can't SYNC while not connected with my master", Code::NoMasterLink),
            ("NOMASTERLINK Can't SYNC while not connected with my master", Code::NoMasterLink),
            ("LOADING Redis is loading the dataset in memory", Code::Loading),
            ("OOM command not allowed when used memory > 'maxmemory'.", Code::OutOfMemory),
            ("ERR unknown command 'PSYNC'", Code::UnknownCommand),
            ("ERR unknown command `PSYNC`, with args beginning with: ", Code::UnknownCommand),
            ("ERR DB index is out of range", Code::BadDatabase),
            ("ERR something", Code::Other),
            ("ERR", Code::Other),
            ("", Code::Other),
        ];
        for (text, code) in cases {
            assert_eq!(Refusal::read(text.as_bytes()).code, code, "{text}");
        }
        assert_eq!(Refusal::read(b"OOM \xff").text, "OOM \u{fffd}");
    }

    #[test]
    fn names_the_command_that_the_acl_forbids() {
        let texts = [
            "NOPERM this user has no permissions to run the 'psync' command or its subcommand",
            "NOPERM User u has no permissions to run the 'psync' command",
        ];
        for text in texts {
            let refusal = Refusal::read(text.as_bytes());
            assert_eq!(refusal.forbidden_command(), Some("psync"));
            let advice = refusal.advice("redis://app@host:6379");
            assert_eq!(advice, "Allow it: ACL SETUSER app +psync.");
        }
        let config =
            Refusal::read(b"NOPERM User u has no permissions to run the 'config|get' command");
        assert!(config.advice("redis://host").contains("SETUSER default +config|get"));
        let exec = "EXECABORT Transaction discarded because of: NOPERM User u has no permissions to run the \
                    'exec' command";
        let exec = Refusal::read(exec.as_bytes());
        assert_eq!(exec.code, Code::NoPermission);
        assert!(exec.advice("redis://u@host").contains("SETUSER u +exec"));
        let key = Refusal::read(b"NOPERM No permissions to access a key");
        assert_eq!(key.forbidden_command(), None);
        assert!(key.is_about_keys() && key.advice("redis://u@host").contains("SETUSER u ~PATTERN"));
        let older =
            "NOPERM this user has no permissions to access one of the keys used as arguments";
        assert!(Refusal::read(older.as_bytes()).is_about_keys());
        let channel = Refusal::read(b"NOPERM No permissions to access a channel");
        assert!(!channel.is_about_keys());
    }

    #[test]
    fn what_passes_is_retried_and_what_does_not_is_left_to_people() {
        assert_eq!(Refusal::read(b"OOM x").class(), Class::Retry);
        assert_eq!(Refusal::read(b"NOPERM x").class(), Class::Operator);
        assert_eq!(Refusal::read(b"WRONGTYPE x").class(), Class::Quarantine);
    }
}
