//! A relay between capture and its source, which breaks or holds a link in the middle of what flows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use testkit::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf};
use tokio::task::AbortHandle;

/// What happens to a connection over which the source has sent as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is closed.
    Cut,
    /// It stays, and nothing more comes.
    Hold,
}

/// Listens until it is dropped.
pub(crate) struct Relay {
    pub(crate) uri: String,
    limit_bytes: Arc<AtomicU64>,
    broken: Arc<AtomicU64>,
    task: AbortHandle,
}

const NO_LIMIT: u64 = u64::MAX;

// === impl Relay ===

impl Relay {
    /// Passes on what the source says, per connection up to so many bytes.
    #[expect(clippy::disallowed_methods, reason = "a test owns its task by the handle")]
    pub(crate) async fn start(server: &Server, limit_bytes: u64, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("redis://{}", listener.local_addr().unwrap());
        let (limit_bytes, broken) =
            (Arc::new(AtomicU64::new(limit_bytes)), Arc::<AtomicU64>::default());
        let (source, limit, count) = (server.port(), Arc::clone(&limit_bytes), Arc::clone(&broken));
        let task = tokio::spawn(async move {
            while let Ok((ours, _)) = listener.accept().await {
                let theirs = TcpStream::connect(("127.0.0.1", source)).await.unwrap();
                let (limit, count) = (Arc::clone(&limit), Arc::clone(&count));
                tokio::spawn(async move {
                    let (our_reader, our_writer) = ours.into_split();
                    let (their_reader, their_writer) = theirs.into_split();
                    let unlimited = AtomicU64::new(NO_LIMIT);
                    tokio::select! {
                        () = pass(our_reader, their_writer, &unlimited) => return,
                        () = pass(their_reader, our_writer, &limit) => {}
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    if then == Then::Hold {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { uri, limit_bytes, broken, task: task.abort_handle() }
    }

    /// From now on everything passes.
    pub(crate) fn lift(&self) {
        self.limit_bytes.store(NO_LIMIT, Ordering::Relaxed);
    }

    /// How many connections have come to an end at the source's side, or at the limit.
    pub(crate) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes on until one end is gone or the limit is reached.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, limit_bytes: &AtomicU64) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    while passed < limit_bytes.load(Ordering::Relaxed) {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        passed += u64::try_from(read).unwrap();
    }
}
