//! Opens connections to one endpoint: resolve, connect, TLS, greeting.
//!
//! Guarantees: every address of a host name is tried before giving up; each step has a time limit;
//! a connection that is handed out was authenticated, is in its database and has answered as a
//! Redis does. TLS settings are checked once, when the connector is made.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::Clock;
use runtime::clock::timeout;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use wire::resp::reply::ReplyLimits;

use crate::connection::{Connection, Peer};
use crate::endpoint::{Address, Endpoint};
use crate::error::{ConnectKind, Error, PeerName, TLS_HANDSHAKE};
use crate::greeting::greet;
use crate::tls::{TlsProblem, TlsSettings};
use crate::transport::Transport;

/// Silence after which the kernel asks whether the other side still exists.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between further such questions; the default of nine of them makes two minutes in all.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How to connect, the same for every endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Longest wait for the name to resolve, for each address to answer, and for TLS.
    pub connect_timeout: Duration,
    /// Longest wait without a byte, while a reply is expected or a command is written.
    pub patience: Duration,
    /// Longest reply, in bytes.
    pub max_reply_bytes: usize,
    /// What `CLIENT LIST` shows; a server that refuses it is used without (see
    /// [`Connection::is_named`]). No spaces.
    pub client_name: Option<String>,
}

/// Opens connections to one endpoint. Clones share the TLS session cache.
#[derive(Debug, Clone)]
pub struct Connector {
    endpoint: Arc<Endpoint>,
    name: PeerName,
    tls: Option<Tls>,
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// Whether a server has answered.
    answered: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct Tls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Three retransmissions of a lost first packet.
            connect_timeout: Duration::from_secs(10),
            // The servers' own `repl-timeout`: whoever is silent for so long is gone for them too.
            patience: Duration::from_secs(60),
            max_reply_bytes: ReplyLimits::default().max_bytes,
            client_name: None,
        }
    }
}

// === impl Connector ===

impl Connector {
    /// Checks the endpoint's TLS settings (reading the machine's trusted certificates); connects to
    /// nothing.
    ///
    /// # Errors
    /// [`Error::TlsSettings`].
    pub fn new(
        endpoint: Endpoint,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let name: PeerName = endpoint.to_string().into();
        let tls = endpoint.tls().map(|tls| Tls::new(tls, endpoint.address())).transpose();
        let tls = tls.map_err(|source| {
            let endpoint = Arc::clone(&name);
            Error::TlsSettings { endpoint, source }
        })?;
        let answered = Arc::default();
        Ok(Self { endpoint: Arc::new(endpoint), name, tls, settings, clock, answered })
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether a server has answered this connector, or a clone of it, as it should: what fails later may pass.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Opens a connection: authenticated, named, in its database, proven to be a Redis.
    ///
    /// # Errors
    /// Why not; see [`Error`].
    pub async fn connect(&self) -> Result<Connection, Error> {
        let transport = match self.endpoint.address() {
            Address::Tcp { host, port } => {
                let stream = self.dial(host, *port).await?;
                match &self.tls {
                    Some(tls) => self.secure(tls, stream).await?,
                    None => Transport::Tcp(stream),
                }
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                Transport::Unix(stream.map_err(|source| self.unreached(Vec::new(), source))?)
            }
        };
        let peer = Peer {
            name: Arc::clone(&self.name),
            clock: Arc::clone(&self.clock),
            patience: self.settings.patience,
        };
        let limits =
            ReplyLimits { max_bytes: self.settings.max_reply_bytes, ..ReplyLimits::default() };
        let mut connection = Connection::over(transport, peer, limits);
        let name = self.settings.client_name.as_deref();
        let greeted = greet(&mut connection, &self.endpoint, name).await;
        // Also a server that serves nobody now, as while it loads, has answered as one.
        if matches!(greeted, Ok(()) | Err(Error::Server { .. })) {
            self.answered.store(true, Ordering::Relaxed);
        }
        greeted.map(|()| connection)
    }

    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let addresses = self.resolve(host, port).await?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in &addresses {
            let attempt = TcpStream::connect(address);
            match timeout(&*self.clock, self.settings.connect_timeout, attempt).await {
                Ok(Ok(stream)) => {
                    tune(&stream).map_err(|source| self.unreached(vec![*address], source))?;
                    return Ok(stream);
                }
                Ok(Err(source)) => last = source,
                Err(elapsed) => last = io::Error::new(io::ErrorKind::TimedOut, elapsed),
            }
        }
        Err(self.unreached(addresses, last))
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let lookup = lookup_host((host, port));
        let found = match timeout(&*self.clock, self.settings.connect_timeout, lookup).await {
            Ok(Ok(found)) => Ok(found.collect::<Vec<_>>()),
            Ok(Err(source)) => Err(source),
            Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
        };
        found
            .and_then(|found| {
                let nothing = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                if found.is_empty() { Err(nothing()) } else { Ok(found) }
            })
            .map_err(|source| Error::Connect {
                endpoint: Arc::clone(&self.name),
                kind: ConnectKind::UnknownHost,
                tried: Vec::new(),
                source,
            })
    }

    async fn secure(&self, tls: &Tls, stream: TcpStream) -> Result<Transport, Error> {
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let handshake = connector.connect(tls.server_name.clone(), stream);
        let limit = self.settings.connect_timeout;
        let doing = TLS_HANDSHAKE;
        match timeout(&*self.clock, limit, handshake).await {
            Ok(Ok(stream)) => Ok(Transport::Tls(Box::new(stream))),
            Ok(Err(source)) => Err(Error::io(&self.name, doing, source)),
            Err(_) => {
                let endpoint = Arc::clone(&self.name);
                Err(Error::Timeout { endpoint, doing, after: limit })
            }
        }
    }

    fn unreached(&self, tried: Vec<SocketAddr>, source: io::Error) -> Error {
        let kind = ConnectKind::of(&source);
        Error::Connect { endpoint: Arc::clone(&self.name), kind, tried, source }
    }
}

// === impl Tls ===

impl Tls {
    fn new(settings: &TlsSettings, address: &Address) -> Result<Self, TlsProblem> {
        match address {
            Address::Tcp { host, .. } => {
                Ok(Self { config: settings.build()?, server_name: settings.name_for(host)? })
            }
            Address::Unix(_) => Err(TlsProblem::UnixSocket),
        }
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use runtime::ManualClock;

    use super::*;

    #[test]
    fn tls_settings_that_cannot_work_are_refused_before_connecting() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(0));
        let insecure = TlsSettings { insecure: true, ..TlsSettings::default() };
        for uri in ["unix:///run/redis.sock", "redis://a_b..c"] {
            let endpoint = Endpoint::parse(uri).unwrap().with_tls(insecure.clone());
            let made = Connector::new(endpoint, Settings::default(), Arc::clone(&clock));
            assert!(matches!(made, Err(Error::TlsSettings { .. })), "{uri}");
        }
    }
}
