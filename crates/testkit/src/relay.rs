//! A relay between a client and a server, which breaks or holds a connection in the middle of what flows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};

/// What happens to a connection over which the server has sent as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is closed.
    Cut,
    /// It stays, and nothing more comes.
    Hold,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: AtomicU64,
    then: Then,
    broken: AtomicU64,
    ended: AtomicBool,
}

const NO_LIMIT: u64 = u64::MAX;

// === impl Relay ===

impl Relay {
    /// Passes on what the server at a local port says, per connection up to so many bytes.
    ///
    /// # Errors
    /// If there is no port to listen on.
    pub fn start(port: u16, limit_bytes: u64, then: Then) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let address = listener.local_addr().context("the address of a listener")?;
        let shared = Arc::new(Shared {
            limit_bytes: AtomicU64::new(limit_bytes),
            then,
            broken: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                // A server that is down closes what was begun.
                if let (Ok(client), Ok(server)) =
                    (connection, TcpStream::connect((Ipv4Addr::LOCALHOST, port)))
                {
                    of_thread.relay(client, server).ok();
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn uri(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on everything passes, over connections that are not at their limit.
    pub fn lift(&self) {
        self.shared.limit_bytes.store(NO_LIMIT, Ordering::Relaxed);
    }

    /// How many connections have come to their limit.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The listener looks up; if it does not, it has ended.
        TcpStream::connect(self.address).ok();
    }
}

// === impl Shared ===

impl Shared {
    fn relay(self: &Arc<Self>, mut client: TcpStream, mut server: TcpStream) -> Result<()> {
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            std::io::copy(&mut from_client, &mut to_server).ok();
            to_server.shutdown(Shutdown::Both).ok();
        });
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let at_limit = this.pass(&mut server, &mut client).unwrap_or(false);
            this.broken.fetch_add(u64::from(at_limit), Ordering::Relaxed);
            if at_limit && this.then == Then::Hold {
                // Until the client gives it up.
                return;
            }
            client.shutdown(Shutdown::Both).ok();
            server.shutdown(Shutdown::Both).ok();
        });
        Ok(())
    }

    /// Passes bytes on until the server has no more or the limit is reached; whether that is so.
    fn pass(&self, from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<bool> {
        let mut buffer = vec![0; 16 << 10];
        let mut passed = 0;
        loop {
            let left = self.limit_bytes.load(Ordering::Relaxed).saturating_sub(passed);
            if left == 0 {
                return Ok(true);
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = from.read(buffer.get_mut(..most).unwrap_or_default())?;
            if read == 0 {
                return Ok(false);
            }
            to.write_all(buffer.get(..read).unwrap_or_default())?;
            passed += read as u64;
        }
    }
}
