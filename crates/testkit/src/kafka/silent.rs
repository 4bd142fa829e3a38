//! A relay in front of a broker that lets writes through and swallows confirmations.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};
use parking_lot::Mutex;

/// The number of Kafka's request for writing records.
const PRODUCE: i16 = 0;

/// Listens until it is dropped. Clients reach the broker through it where its port is the broker's
/// `advertised.listeners`; it knows frames, and nothing of passwords or TLS.
#[derive(Debug)]
pub struct SilentRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    broker: Mutex<Option<SocketAddr>>,
    /// Every so many writes; 0: none.
    every: AtomicU64,
    writes: AtomicU64,
    swallowed: AtomicU64,
    ended: AtomicBool,
}

/// The writes of one connection whose confirmations are not to arrive, by the number that the client gave them.
type Marked = Arc<Mutex<HashSet<[u8; 4]>>>;

// === impl SilentRelay ===

impl SilentRelay {
    /// Listens; what is connected before [`SilentRelay::pass_to`] is closed at once.
    ///
    /// # Errors
    /// If there is no port to listen on.
    pub fn listen() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let address = listener.local_addr().context("the address of a listener")?;
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let broker = *of_thread.broker.lock();
                // A broker that is down closes what was begun.
                if let (Ok(client), Some(broker)) = (client, broker)
                    && let Ok(broker) = TcpStream::connect(broker)
                {
                    of_thread.relay(client, broker).ok();
                }
            }
        });
        Ok(Self { address, shared })
    }

    /// `host:port`, where clients are to come.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Who is behind it: `host:port`.
    ///
    /// # Errors
    /// If that is no address.
    pub fn pass_to(&self, broker: &str) -> Result<()> {
        *self.shared.broker.lock() = Some(broker.parse().context("the address of a broker")?);
        Ok(())
    }

    /// From now on every so many writes are written and not confirmed: the connection is cut when the broker's answer
    /// comes. 0 is none.
    pub fn swallow_every(&self, writes: u64) {
        self.shared.every.store(writes, Ordering::Relaxed);
    }

    /// How many confirmations have been swallowed.
    pub fn swallowed(&self) -> u64 {
        self.shared.swallowed.load(Ordering::Relaxed)
    }
}

impl Drop for SilentRelay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The listener looks up; if it does not, it has ended.
        TcpStream::connect(self.address).ok();
    }
}

// === impl Shared ===

impl Shared {
    fn relay(self: &Arc<Self>, client: TcpStream, broker: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let marked = Marked::default();
        let streams = (client.try_clone()?, broker.try_clone()?);
        let (this, of_requests) = (Arc::clone(self), Arc::clone(&marked));
        std::thread::spawn(move || {
            let (mut from, mut to) = streams;
            this.requests(&mut from, &mut to, &of_requests).ok();
            close(&from, &to);
        });
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let (mut from, mut to) = (broker, client);
            this.answers(&mut from, &mut to, &marked).ok();
            close(&from, &to);
        });
        Ok(())
    }

    fn requests(
        &self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        marked: &Marked,
    ) -> std::io::Result<()> {
        loop {
            let frame = frame(from)?;
            // Length, what is asked, its version, the client's number.
            if let [_, _, _, _, a, b, _, _, n @ ..] = frame.as_slice()
                && i16::from_be_bytes([*a, *b]) == PRODUCE
                && let Some(number) = n.first_chunk()
                && self.is_unlucky()
            {
                marked.lock().insert(*number);
            }
            to.write_all(&frame)?;
        }
    }

    /// Whether the next write is one that is not to be confirmed.
    fn is_unlucky(&self) -> bool {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        let every = self.every.load(Ordering::Relaxed);
        every > 0 && number.is_multiple_of(every)
    }

    /// Passes answers on until one that is to be swallowed.
    fn answers(
        &self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        marked: &Marked,
    ) -> std::io::Result<()> {
        loop {
            let frame = frame(from)?;
            if let [_, _, _, _, n @ ..] = frame.as_slice()
                && n.first_chunk().is_some_and(|number| marked.lock().contains(number))
            {
                self.swallowed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            to.write_all(&frame)?;
        }
    }
}

/// The next frame, its length included.
fn frame(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let rest = usize::try_from(u32::from_be_bytes(length)).expect("as wide as a pointer");
    let mut frame = length.to_vec();
    frame.resize(length.len() + rest, 0);
    from.read_exact(frame.get_mut(length.len()..).unwrap_or_default())?;
    Ok(frame)
}

fn close(one: &TcpStream, other: &TcpStream) {
    one.shutdown(Shutdown::Both).ok();
    other.shutdown(Shutdown::Both).ok();
}
