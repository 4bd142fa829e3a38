//! What the log says of keys that are set aside: a line for each, a count where there are many.
//!
//! Guarantees: every setting aside is told, by a line of its own or by being counted in a later one; no more than
//! [`limits::LOGGED_KEYS`] lines in [`INTERVAL`].

use std::fmt;
use std::time::Duration;

use crate::limits;

/// What has been told lately.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// When the interval at hand began, by the monotonic clock.
    since: Option<Duration>,
    lines: usize,
    untold: u64,
    /// The reason of the last that was only counted.
    last: String,
}

/// Over which lines are counted.
const INTERVAL: Duration = Duration::from_secs(10);

// === impl Notices ===

impl Notices {
    /// Whether something that happens now has a line of its own. Where it has not, it is counted with `why`.
    pub(crate) fn has_a_line(&mut self, now: Duration, why: impl fmt::Display) -> bool {
        if self.since.is_none_or(|since| now.saturating_sub(since) >= INTERVAL) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines < limits::LOGGED_KEYS {
            self.lines += 1;
            return true;
        }
        self.untold += 1;
        self.last = why.to_string();
        false
    }

    /// How many have only been counted, and why the last of them, once the interval is over.
    pub(crate) fn take_untold(&mut self, now: Duration) -> Option<(u64, String)> {
        let over = self.since.is_none_or(|since| now.saturating_sub(since) >= INTERVAL);
        if !over || self.untold == 0 {
            return None;
        }
        Some((std::mem::take(&mut self.untold), std::mem::take(&mut self.last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_at_once_are_counted_and_told_later() {
        let (mut notices, mut lines) = (Notices::default(), 0);
        for number in 0..1_000 {
            lines += usize::from(notices.has_a_line(Duration::from_millis(number), number));
        }
        assert_eq!(lines, limits::LOGGED_KEYS);
        assert_eq!(notices.take_untold(Duration::from_secs(9)), None);
        let untold = 1_000 - limits::LOGGED_KEYS as u64;
        let later = Duration::from_secs(10);
        assert_eq!(notices.take_untold(later), Some((untold, "999".to_owned())));
        assert_eq!(notices.take_untold(later), None);
        assert!(notices.has_a_line(later, ""));
    }
}
