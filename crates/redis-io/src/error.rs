//! What can go wrong with a connection, each with its class and its advice.
//!
//! Every message names the endpoint and never a secret; sources are attached, not printed.

mod advice;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wire::resp::reply::ReplyError;

use crate::refusal::Refusal;
use crate::tls::{TlsKind, TlsProblem};

/// An endpoint as messages name it: its URI without the password.
pub type PeerName = Arc<str>;

/// What a [`Error::Timeout`] says of a handshake that stands still.
pub(crate) const TLS_HANDSHAKE: &str = "the TLS handshake";

/// What to do where a password is wanted and none was given.
pub(crate) const GIVE_PASSWORD: &str = "Give the password by the environment (KEYFERRY_SOURCE_PASSWORD, \
    KEYFERRY_DESTINATION_PASSWORD), a file (--source-password-file, --destination-password-file) or the \
    configuration file; not in an argument, which everybody on the machine can read.";

/// Why a connection was not made, or was lost, or a command failed.
#[derive(Debug, Error)]
pub enum Error {
    /// No byte stream could be opened.
    #[error("could not connect to {endpoint}: {}{}", .kind.what(), listed(.tried))]
    Connect {
        /// Where.
        endpoint: PeerName,
        /// Why, roughly.
        kind: ConnectKind,
        /// The addresses that the host name stood for, all tried.
        tried: Vec<SocketAddr>,
        /// What the operating system said last.
        #[source]
        source: io::Error,
    },
    /// The TLS settings are not usable.
    #[error("cannot use the TLS settings for {endpoint}")]
    TlsSettings {
        /// Where to.
        endpoint: PeerName,
        /// Which one and why.
        #[source]
        source: TlsProblem,
    },
    /// TLS failed.
    #[error("could not speak TLS with {endpoint}: {}", .kind.what())]
    Tls {
        /// Where.
        endpoint: PeerName,
        /// Why.
        kind: TlsKind,
        /// What the TLS library said.
        #[source]
        source: io::Error,
    },
    /// The server did not let us in.
    #[error("{endpoint} does not let us in: {}: {said}", .kind.what())]
    Auth {
        /// Where.
        endpoint: PeerName,
        /// Why.
        kind: AuthKind,
        /// What the server said.
        said: Refusal,
    },
    /// The password cannot be told at the moment.
    #[error("cannot read the password for {endpoint}")]
    Password {
        /// Where to.
        endpoint: PeerName,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something else than Redis or Valkey answers there.
    #[error("{endpoint} does not speak the Redis protocol: it answered {came}")]
    NotRedis {
        /// Where.
        endpoint: PeerName,
        /// The beginning of what came, escaped.
        came: String,
    },
    /// Nothing happened for too long.
    #[error("gave up on {endpoint} after {after:?} without progress: {doing}")]
    Timeout {
        /// Where.
        endpoint: PeerName,
        /// What was waited for.
        doing: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection ended.
    #[error("{endpoint} closed the connection: {doing}")]
    Closed {
        /// Where.
        endpoint: PeerName,
        /// What was being done.
        doing: &'static str,
        /// How it ended, if not by an orderly close.
        #[source]
        source: Option<io::Error>,
    },
    /// What came is not RESP, or beyond the limits.
    #[error("could not read a reply of {endpoint}")]
    Protocol {
        /// Where.
        endpoint: PeerName,
        /// What was wrong.
        #[source]
        source: ReplyError,
    },
    /// The server answered a command with an error.
    #[error("{endpoint} refused {command}: {refusal}")]
    Server {
        /// Where.
        endpoint: PeerName,
        /// The command, without its arguments.
        command: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The server does not replicate to us (now, or at all).
    #[error("{endpoint} refused to replicate: {refusal}")]
    Psync {
        /// Where.
        endpoint: PeerName,
        /// What it said.
        refusal: Refusal,
    },
    /// The server answered a command with something that is no answer to it.
    #[error("{endpoint} answered {command} with {came}")]
    Unexpected {
        /// Where.
        endpoint: PeerName,
        /// The command, without its arguments.
        command: String,
        /// The beginning of what came, escaped.
        came: String,
    },
}

/// Why no byte stream could be opened, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectKind {
    /// The host name does not resolve.
    UnknownHost,
    /// Nobody listens there.
    Refused,
    /// No route, or the network is down.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// No socket file at that path.
    NoSocket,
    /// The socket file is not ours to use.
    Denied,
    /// Anything else.
    Other,
}

/// Why the server did not let us in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// Wrong password, unknown user, or a user that is off.
    WrongPassword,
    /// The server wants a password and none was given.
    NoPassword,
    /// A password was given and the server has none.
    NotNeeded,
    /// A user was given and the server is older than users (6.0).
    NoUsers,
    /// The ACL forbids it.
    NoPermission,
    /// Anything else.
    Other,
}

// === impl Error ===

impl Error {
    /// The endpoint that the error is about.
    #[must_use]
    pub fn endpoint(&self) -> &PeerName {
        match self {
            Self::Connect { endpoint, .. }
            | Self::TlsSettings { endpoint, .. }
            | Self::Tls { endpoint, .. }
            | Self::Auth { endpoint, .. }
            | Self::Password { endpoint, .. }
            | Self::NotRedis { endpoint, .. }
            | Self::Timeout { endpoint, .. }
            | Self::Closed { endpoint, .. }
            | Self::Protocol { endpoint, .. }
            | Self::Server { endpoint, .. }
            | Self::Psync { endpoint, .. }
            | Self::Unexpected { endpoint, .. } => endpoint,
        }
    }

    /// Whether it is about who we are and what we may: such things are changed by people while everything runs, so
    /// a caller that was let in before may wait for them to be put right.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Auth { .. } | Self::Password { .. } => true,
            Self::Server { refusal, .. } | Self::Psync { refusal, .. } => refusal.code.is_denial(),
            _ => false,
        }
    }

    /// An I/O error on an open connection: TLS may be to blame, else it is closed.
    pub(crate) fn io(endpoint: &PeerName, doing: &'static str, source: io::Error) -> Self {
        let endpoint = Arc::clone(endpoint);
        match TlsKind::of(&source) {
            Some(kind) => Self::Tls { endpoint, kind, source },
            None => Self::Closed { endpoint, doing, source: Some(source) },
        }
    }
}

// === impl ConnectKind ===

impl ConnectKind {
    /// What an error of connecting means.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::NotFound => Self::NoSocket,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Other,
        }
    }
}

/// The addresses, where they say more than the endpoint does.
fn listed(addresses: &[SocketAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if list.is_empty() { String::new() } else { format!(" (tried {})", list.join(", ")) }
}

/// The beginning of what came, as a person can read it.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    /// Enough to tell HTTP from TLS from a bad proxy.
    const SHOWN_BYTES: usize = 48;
    match bytes.get(..SHOWN_BYTES) {
        Some(start) => format!("\"{}…\"", start.escape_ascii()),
        None => format!("\"{}\"", bytes.escape_ascii()),
    }
}
