//! What the operating system asks of a process: the first request drains, the second is final.
//!
//! SIGINT and SIGTERM mean the same. From [`Signals::install`] on, neither ends the process by
//! itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGINT and SIGTERM, from the moment of [`Signals::install`].
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes over both signals. Call it inside the runtime, once, before work begins.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The name of the next signal to arrive. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Cancels `drain` on the first signal and `now` on the second, then returns.
    pub async fn watch(mut self, drain: &CancellationToken, now: &CancellationToken) {
        let first = self.next().await;
        tracing::info!(signal = first, "draining; a second signal stops at once");
        drain.cancel();
        let second = self.next().await;
        tracing::warn!(signal = second, "stopping at once");
        now.cancel();
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Kind, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_is_final() {
        let (drain, now) = (CancellationToken::new(), CancellationToken::new());
        let signals = Signals::install().unwrap();
        let watching = signals.watch(&drain, &now);
        let asking = async {
            kill_process(getpid(), Kind::TERM).unwrap();
            drain.cancelled().await;
            assert!(!now.is_cancelled());
            kill_process(getpid(), Kind::INT).unwrap();
            now.cancelled().await;
        };
        tokio::join!(watching, asking);
    }
}
