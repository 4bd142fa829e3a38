//! A relay between a client and a server, which breaks or holds a connection in the middle of what flows, or when the
//! client says something.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use anyhow::{Context, Result};
use parking_lot::{Condvar, Mutex};

/// What happens to a connection over which the server has sent as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is closed.
    Cut,
    /// It stays, and nothing more comes.
    Hold,
}

/// What happens when a client has said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// From then on nothing passes that the server says. What the client has said does.
    Mute,
    /// It passes again, and first what has come meanwhile.
    Unmute,
    /// The connection is closed, and what the client has said does not arrive.
    Cut,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where new connections lead.
    port: AtomicU16,
    limit_bytes: AtomicU64,
    then: Then,
    broken: AtomicU64,
    ended: AtomicBool,
    /// What clients have still to say, and what happens then.
    cues: Mutex<VecDeque<(Vec<u8>, Turn)>>,
    muted: Mutex<bool>,
    unmuted: Condvar,
}

const NO_LIMIT: u64 = u64::MAX;

// === impl Relay ===

impl Relay {
    /// Passes on what the server at a local port says, per connection up to so many bytes.
    ///
    /// # Errors
    /// If there is no port to listen on.
    pub fn start(port: u16, limit_bytes: u64, then: Then) -> Result<Self> {
        Self::listen(port, (limit_bytes, then), VecDeque::new())
    }

    /// Passes everything on until a client says what the first of these cues is, and then the next, each once.
    ///
    /// # Errors
    /// If there is no port to listen on.
    pub fn with_cues(port: u16, cues: &[(&str, Turn)]) -> Result<Self> {
        let cues = cues.iter().map(|(words, turn)| (words.as_bytes().to_vec(), *turn));
        Self::listen(port, (NO_LIMIT, Then::Cut), cues.collect())
    }

    fn listen(
        port: u16,
        (limit_bytes, then): (u64, Then),
        cues: VecDeque<(Vec<u8>, Turn)>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let address = listener.local_addr().context("the address of a listener")?;
        let shared = Arc::new(Shared {
            port: AtomicU16::new(port),
            limit_bytes: AtomicU64::new(limit_bytes),
            then,
            broken: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            cues: Mutex::new(cues),
            muted: Mutex::new(false),
            unmuted: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let port = of_thread.port.load(Ordering::Relaxed);
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

    /// New connections lead to the server at another port from now on.
    pub fn lead_to(&self, port: u16) {
        self.shared.port.store(port, Ordering::Relaxed);
    }

    /// From now on everything passes, over connections that are not at their limit.
    pub fn lift(&self) {
        self.shared.limit_bytes.store(NO_LIMIT, Ordering::Relaxed);
    }

    /// How many cues have not come.
    pub fn cues_left(&self) -> usize {
        self.shared.cues.lock().len()
    }

    /// How many connections have come to their limit.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.take_turn(Turn::Unmute);
        // The listener looks up; if it does not, it has ended.
        TcpStream::connect(self.address).ok();
    }
}

// === impl Shared ===

impl Shared {
    fn relay(self: &Arc<Self>, mut client: TcpStream, mut server: TcpStream) -> Result<()> {
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            this.hear(&mut from_client, &mut to_server).ok();
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

    /// Passes on what a client says until it has no more to say, or is cut off.
    fn hear(&self, from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut said = Vec::new();
        loop {
            let read = from.read(&mut buffer)?;
            let bytes = buffer.get(..read).unwrap_or_default();
            said.extend_from_slice(bytes);
            if read == 0 || self.cue(&mut said) {
                return Ok(());
            }
            to.write_all(bytes)?;
        }
    }

    /// Looks for cues in what was said, and keeps of it what may be the beginning of one. Whether it is one to cut.
    fn cue(&self, said: &mut Vec<u8>) -> bool {
        let mut cues = self.cues.lock();
        while let Some((words, turn)) = cues.front() {
            let Some(at) = said.windows(words.len()).position(|part| part == words) else {
                said.drain(..said.len().saturating_sub(words.len()));
                return false;
            };
            said.drain(..at + words.len());
            let turn = *turn;
            cues.pop_front();
            self.take_turn(turn);
            if turn == Turn::Cut {
                return true;
            }
        }
        said.clear();
        false
    }

    fn take_turn(&self, turn: Turn) {
        if turn != Turn::Cut {
            *self.muted.lock() = turn == Turn::Mute;
            self.unmuted.notify_all();
        }
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
            self.unmuted.wait_while(&mut self.muted.lock(), |muted| *muted);
            to.write_all(buffer.get(..read).unwrap_or_default())?;
            passed += read as u64;
        }
    }
}
