//! The listener: connections within bounds, one request each.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use runtime::{Clock, OnFailure, Secret, StatusNode, Tasks, clock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::answer::Answers;
use crate::control::Control;

/// Whether a service works; if not, why.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the HTTP side works with.
#[derive(Clone)]
pub struct Parts {
    /// What is shown.
    pub status: StatusNode,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Which version of the program this is.
    pub version: &'static str,
    /// What may be ordered; an order that names no part means the first.
    pub controls: Vec<Control>,
    /// Whoever has it may give orders; without one nobody may.
    pub token: Option<Secret>,
    /// Whether the service works.
    pub readiness: Readiness,
}

/// A bound listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    answers: Arc<Answers>,
    clock: Arc<dyn Clock>,
}

/// The address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("listen for HTTP at {listen}")]
pub struct BindError {
    /// Which.
    pub listen: String,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

/// Connections at one time; more wait to be accepted. A person, a scraper or two and a probe need four.
const CONNECTIONS: usize = 16;

/// From its first byte to its last a connection may take this long.
const CONNECTION_TIME: Duration = Duration::from_secs(10);

/// A request's head may be this long.
const HEAD_BYTES: usize = 16 << 10;

/// After a connection could not be accepted, which is for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections may take to end at a stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

// === impl Admin ===

impl Admin {
    /// Takes the address (`host:port`; port 0: any that is free) and answers nothing yet.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn bind(listen: &str, parts: Parts) -> Result<Self, BindError> {
        let failed = |source| BindError { listen: listen.to_owned(), source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let clock = Arc::clone(&parts.clock);
        Ok(Self { listener, address, answers: Arc::new(Answers::new(parts)), clock })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = Tasks::under(Arc::clone(&self.clock), &stop);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = async {
            loop {
                let slot = Arc::clone(&slots).acquire_owned().await;
                let stream = match self.listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "a connection could not be accepted");
                        self.clock.sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let served = serve(stream, Arc::clone(&self.answers), Arc::clone(&self.clock));
                let stop = tasks.stop_token();
                tasks.spawn("http", OnFailure::Keep, async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = served => {}
                    }
                    drop(slot);
                    Ok(())
                });
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = accepting => {}
        }
        tasks.join(STOP_GRACE).await;
    }
}

/// One connection.
async fn serve(stream: TcpStream, answers: Arc<Answers>, clock: Arc<dyn Clock>) {
    let service = service_fn(move |request| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.to(request).await) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(HEAD_BYTES);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    match clock::timeout(clock.as_ref(), CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        // Whoever asks may go away, or speak nonsense, at any time.
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection broke"),
        Err(late) => tracing::debug!(%late, "an HTTP connection took too long"),
    }
}

// === impl Parts ===

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("controls", &self.controls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
