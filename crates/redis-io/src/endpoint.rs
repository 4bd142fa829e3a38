//! Where a server is and how to be let in: one endpoint, read from a URI.
//!
//! ```text
//! redis://[user[:password]@]host[:port][/db]
//! rediss://…?insecure=true&min_tls=1.3&server_name=db.example.org
//! unix://[user[:password]@]/path/to/socket[?db=n]
//! ```
//! Users and passwords are percent-decoded; IPv6 hosts stand in brackets. Guarantee: neither
//! `Display` nor `Debug` nor an error of parsing shows a password.

mod password;
mod uri;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use runtime::Secret;

use crate::tls::TlsSettings;

pub use password::PasswordSource;
pub use uri::{BadUri, BadUriKind};

/// The port of a URI that names none.
pub const DEFAULT_PORT: u16 = 6379;

/// One server, with everything needed to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    address: Address,
    credentials: Option<Credentials>,
    passwords: Option<password::Source>,
    tls: Option<TlsSettings>,
    db: u32,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or IP address (IPv6 without brackets) and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port, not 0.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Who to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` is the default user, also before ACLs existed (6.0).
    pub user: Option<String>,
    /// The password. A user without one is tried with an empty password.
    pub password: Option<Secret>,
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint without credentials or TLS, database 0.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self { address, credentials: None, passwords: None, tls: None, db: 0 }
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// What is wrong with it and how it should be written; never a part of the password.
    pub fn parse(uri: &str) -> Result<Self, BadUri> {
        uri::parse(uri)
    }

    /// The same with other credentials.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// The same user with this password, for one that is kept apart from the URI.
    #[must_use]
    pub fn with_password(self, password: Secret) -> Self {
        let user = self.credentials.as_ref().and_then(|credentials| credentials.user.clone());
        self.with_credentials(Credentials { user, password: Some(password) })
    }

    /// The same user, with the password that the source tells whenever a connection is made.
    #[must_use]
    pub fn with_password_source(self, source: Arc<dyn PasswordSource>) -> Self {
        Self { passwords: Some(password::Source(source)), ..self }
    }

    /// The same over TLS.
    #[must_use]
    pub fn with_tls(self, tls: TlsSettings) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// The same in another database.
    #[must_use]
    pub fn with_db(self, db: u32) -> Self {
        Self { db, ..self }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Who to be there, if anyone.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Who to be there now, for a connection that is being made.
    ///
    /// # Errors
    /// When the password cannot be told at the moment.
    pub fn credentials_now(&self) -> io::Result<Option<Credentials>> {
        let Some(password::Source(source)) = &self.passwords else {
            return Ok(self.credentials.clone());
        };
        let user = self.credentials.as_ref().and_then(|credentials| credentials.user.clone());
        Ok(Some(Credentials { user, password: Some(source.password()?) }))
    }

    /// TLS settings; `None` is a plain connection.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsSettings> {
        self.tls.as_ref()
    }

    /// To add certificates and keys to a `rediss://` endpoint; `None` on a plain one.
    pub fn tls_mut(&mut self) -> Option<&mut TlsSettings> {
        self.tls.as_mut()
    }

    /// The database to select.
    #[must_use]
    pub fn db(&self) -> u32 {
        self.db
    }
}

impl FromStr for Endpoint {
    type Err = BadUri;

    fn from_str(uri: &str) -> Result<Self, BadUri> {
        Self::parse(uri)
    }
}

/// The URI without the password.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_ref().and_then(|credentials| credentials.user.as_deref());
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        match &self.address {
            Address::Unix(path) => write!(f, "unix://{user}{}", path.display())?,
            Address::Tcp { .. } if self.tls.is_some() => {
                write!(f, "rediss://{user}{}", self.address)?;
            }
            Address::Tcp { .. } => write!(f, "redis://{user}{}", self.address)?,
        }
        match (&self.address, self.db) {
            (_, 0) => Ok(()),
            (Address::Unix(_), db) => write!(f, "?db={db}"),
            (Address::Tcp { .. }, db) => write!(f, "/{db}"),
        }
    }
}

// === impl Address ===

/// `host:port`, IPv6 in brackets, or the path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
