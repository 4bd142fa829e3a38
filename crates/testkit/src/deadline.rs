//! Real time for tests: the one place that reads the clock and the one that sleeps.
//!
//! A test waits for a state with [`eventually`] and never for a length of time. What it waits for
//! is polled every few milliseconds, because the other side is a process of its own.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests wait for real processes, so real time is what they have"
)]

use std::fmt::Display;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// How often a state is looked at: short beside a server's start (20 ms), long beside a look.
const POLL_MS: u64 = 3;

/// A point in time by which something has to have happened.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    started: Instant,
    limit: Duration,
}

impl Deadline {
    /// A deadline `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self { started: Instant::now(), limit }
    }

    /// Whether the time is up.
    pub fn has_passed(&self) -> bool {
        self.started.elapsed() >= self.limit
    }

    /// The time since the deadline was set.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Calls `look` until it finds something, and returns that.
///
/// # Errors
/// The first error of `look`; or, once `limit` has passed, one that says what was waited for and
/// for how long.
pub fn eventually<T>(
    limit: Duration,
    what: impl Display,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Deadline::after(limit);
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if deadline.has_passed() {
            bail!("waited {:.1} s in vain until {what}", deadline.elapsed().as_secs_f64());
        }
        pause();
    }
}

/// The short rest between two looks at a state.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(POLL_MS));
}

/// Milliseconds since the epoch by this machine's clock, which local servers share.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_was_found() {
        let mut looks = 0;
        let found = eventually(Duration::from_secs(5), "the third look", || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn says_what_it_waited_for() {
        let error = eventually(Duration::ZERO, "pigs fly", || Ok(None::<()>)).unwrap_err();
        assert!(error.to_string().ends_with("until pigs fly"), "{error}");
    }
}
