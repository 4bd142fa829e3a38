//! Class and advice of every error, in one table: nothing else decides on retries.

use runtime::{Class, Classified};

use super::{AuthKind, ConnectKind, Error, GIVE_PASSWORD, TLS_HANDSHAKE};
use crate::refusal::Code;

// === impl Error ===

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Connect { kind, .. } => kind.class(),
            Self::Tls { kind, .. } => kind.class(),
            Self::TlsSettings { .. } | Self::NotRedis { .. } | Self::Unexpected { .. } => {
                Class::Operator
            }
            Self::Auth { .. } | Self::Password { .. } => Class::Operator,
            Self::Timeout { .. } | Self::Closed { .. } | Self::Protocol { .. } => Class::Retry,
            Self::Server { refusal, .. } | Self::Psync { refusal, .. } => refusal.class(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Connect { kind, .. } => kind.advice().to_owned(),
            Self::TlsSettings { .. } => {
                "Check the certificates and the key in the TLS settings; they must be PEM."
                    .to_owned()
            }
            Self::Tls { kind, .. } => kind.advice().to_owned(),
            Self::Auth { kind: AuthKind::NoPermission, said, .. } => said.advice(self.endpoint()),
            Self::Auth { kind, .. } => kind.advice().to_owned(),
            Self::Password { .. } => {
                "Check that the password file is there and may be read by this account.".to_owned()
            }
            Self::NotRedis { came, .. } if looks_like_tls(came) => {
                "The port speaks TLS: use rediss://.".to_owned()
            }
            Self::NotRedis { .. } => "Check host and port.".to_owned(),
            Self::Timeout { doing, .. } if *doing == TLS_HANDSHAKE => {
                "The port may not speak TLS: use redis:// for a plain one.".to_owned()
            }
            Self::Timeout { .. } => {
                "The server or the network is too slow or has stopped; a longer timeout may help."
                    .to_owned()
            }
            Self::Closed { .. } => {
                "The server ended the connection: its log says why (a limit, CLIENT KILL, a \
                 restart). If it never answers, the port may want TLS (rediss://)."
                    .to_owned()
            }
            Self::Protocol { .. } => {
                "The connection carried something else than replies, or one beyond the size limit."
                    .to_owned()
            }
            Self::Server { refusal, .. } => refusal.advice(self.endpoint()),
            Self::Psync { refusal, .. } if refusal.code == Code::UnknownCommand => {
                "The server does not know PSYNC: the provider has blocked or renamed it. Without \
                 it there is no replication (SYNC gives no position to resume from)."
                    .to_owned()
            }
            Self::Psync { refusal, .. } => refusal.advice(self.endpoint()),
            Self::Unexpected { .. } => {
                "Something between us and the server may change commands or replies.".to_owned()
            }
        }
    }
}

/// A TLS alert or handshake record starts like this when it is escaped.
fn looks_like_tls(came: &str) -> bool {
    came.starts_with("\"\\x15\\x03") || came.starts_with("\"\\x16\\x03")
}

// === impl ConnectKind ===

impl ConnectKind {
    /// Servers and networks come back; permissions do not by themselves.
    #[must_use]
    pub fn class(self) -> Class {
        if self == Self::Denied { Class::Operator } else { Class::Retry }
    }

    /// What happened.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::UnknownHost => "the host name is unknown",
            Self::Refused => "nobody listens there",
            Self::Unreachable => "the network does not reach it",
            Self::TimedOut => "no answer in time",
            Self::NoSocket => "there is no such socket",
            Self::Denied => "access to the socket was denied",
            Self::Other => "the connection failed",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::UnknownHost => "Check the host name, and that this machine can resolve it.",
            Self::Refused => {
                "Check that the server runs and listens on that address and port (`bind`, `port`, \
                 `tls-port`)."
            }
            Self::Unreachable => "Check routes and firewalls between this machine and the server.",
            Self::TimedOut => "A firewall may drop the packets, or the server is stopped.",
            Self::NoSocket => "Check the path, and `unixsocket` at the server.",
            Self::Denied => "Check who may open the socket: `unixsocketperm` at the server.",
            Self::Other => "The cause below says more.",
        }
    }
}

// === impl AuthKind ===

impl AuthKind {
    /// What happened.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong user or password",
            Self::NoPassword => "it wants a password and none was given",
            Self::NotNeeded => "a password was given and it has none",
            Self::NoUsers => "a user was given and it knows no users",
            Self::NoPermission => "the user lacks a permission",
            Self::Other => "authentication failed",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::WrongPassword => "Check user and password, and that the user is on.",
            Self::NoPassword => GIVE_PASSWORD,
            Self::NotNeeded => "Leave the password out, or set one at the server.",
            Self::NoUsers => "Servers before 6.0 have a password only: leave the user out.",
            Self::NoPermission => "Extend the user's ACL at the server.",
            Self::Other => "The server's log may say more.",
        }
    }
}
