//! What the operating system asks of a process.
//!
//! SIGINT, SIGTERM and SIGHUP mean the same. From [`Signals::install`] on, none ends the process by
//! itself. A SIGHUP that was ignored before (`nohup`) stays so.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::clock::Clock;

/// SIGINT, SIGTERM and SIGHUP, from the moment of [`Signals::install`].
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None: it is ignored.
    hang_up: Option<Signal>,
}

impl Signals {
    /// Takes over these signals. Call it inside the runtime, once, before work begins.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: match hang_up_is_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// The name of the next signal to arrive. Cancel-safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = hung_up(self.hang_up.as_mut()) => "SIGHUP",
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

/// Completes with the signal, if it is heard at all.
async fn hung_up(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether whoever started the process wants it to outlive the terminal. Where this cannot be seen (elsewhere than on
/// Linux), it is heard.
fn hang_up_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hang_up(&status))
}

fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Kind, getpid, kill_process};

    use super::*;
    use crate::ManualClock;

    #[test]
    fn a_hang_up_that_is_ignored_is_seen() {
        let status = |mask: &str| format!("Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores_hang_up(&status("0000000000001001")));
        assert!(!ignores_hang_up(&status("0000000000001000")));
        assert!(!ignores_hang_up("") && !ignores_hang_up(&status("no number")));
    }

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
