//! Connections to Redis and Valkey: request and reply, facts about a server, replication.
//!
//! Guarantees: every wait has a limit taken from the settings, except the one for stream bytes,
//! which is the caller's; every error names the endpoint, never a secret, and knows its class and
//! its advice; only RESP2 is spoken; nothing here writes data. What the bytes of a snapshot or a
//! stream mean is left to `wire` and to the callers.

pub mod connection;
pub mod connector;
pub mod endpoint;
pub mod error;
pub mod facts;
pub mod fuzzing;
mod greeting;
pub mod info;
pub mod refusal;
pub mod replication;
pub mod tls;
pub mod transport;

pub use connection::{Connection, Reader, Writer};
pub use connector::{Connector, Settings};
pub use endpoint::{Address, BadUri, Credentials, Endpoint, PasswordSource};
pub use error::Error;
pub use facts::ServerFacts;
pub use refusal::{Code, Refusal};
pub use tls::TlsSettings;
pub use transport::Transport;
