//! What the operating system asks of a process.
//!
//! SIGINT and SIGTERM mean the same. From [`Signals::install`] on, neither ends the process by
//! itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

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
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Kind, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn every_signal_is_told_by_its_name() {
        let mut signals = Signals::install().unwrap();
        kill_process(getpid(), Kind::TERM).unwrap();
        assert_eq!(signals.next().await, "SIGTERM");
        kill_process(getpid(), Kind::INT).unwrap();
        assert_eq!(signals.next().await, "SIGINT");
    }
}
