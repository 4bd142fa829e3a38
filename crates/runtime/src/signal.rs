//! What the operating system asks of a process.
//!
//! SIGINT and SIGTERM mean the same. From [`Signals::install`] on, neither ends the process by
//! itself.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock::Clock;

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

    /// The name of the first signal that arrives after a grace: what comes within it belongs to the
    /// one before, which may reach a process more than once.
    pub async fn next_after(&mut self, grace: Duration, clock: &dyn Clock) -> &'static str {
        let mut over = clock.sleep(grace);
        loop {
            tokio::select! {
                biased;
                // What arrived meanwhile is heard before the grace is over.
                _ = self.next() => {}
                () = &mut over => break,
            }
        }
        self.next().await
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Kind, getpid, kill_process};

    use super::*;
    use crate::ManualClock;

    /// Signals are the process's, and so every test's.
    static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[tokio::test]
    async fn what_comes_within_the_grace_belongs_to_the_signal_before() {
        let _alone = ONE_AT_A_TIME.lock().await;
        let mut signals = Signals::install().unwrap();
        let clock = ManualClock::new(0);
        kill_process(getpid(), Kind::INT).unwrap();
        signals.next().await;
        let grace = Duration::from_secs(1);
        let mut second = Box::pin(signals.next_after(grace, &clock));
        // Both are waited for by another handler too, so that they have arrived.
        let mut seen = Signals::install().unwrap();
        for kind in [Kind::INT, Kind::TERM] {
            kill_process(getpid(), kind).unwrap();
            tokio::select! {
                biased;
                _ = &mut second => panic!("{kind:?} counts"),
                _ = seen.next() => {}
            }
        }
        assert!(is_pending_now(&mut second).await, "both are heard");
        clock.advance(grace);
        assert!(is_pending_now(&mut second).await, "none has come since");
        kill_process(getpid(), Kind::TERM).unwrap();
        assert_eq!(second.await, "SIGTERM");
    }

    async fn is_pending_now(future: &mut (impl Future + Unpin)) -> bool {
        let mut future = std::pin::Pin::new(future);
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending()))
            .await
    }

    #[tokio::test]
    async fn every_signal_is_told_by_its_name() {
        let _alone = ONE_AT_A_TIME.lock().await;
        let mut signals = Signals::install().unwrap();
        kill_process(getpid(), Kind::TERM).unwrap();
        assert_eq!(signals.next().await, "SIGTERM");
        kill_process(getpid(), Kind::INT).unwrap();
        assert_eq!(signals.next().await, "SIGINT");
    }
}
