//! What the log says of keys that are set aside: a line for each, a count where there are many.
//!
//! Guarantees: every setting aside is told, by a line of its own or by being counted in a later one; no more than
//! [`limits::LOGGED_KEYS`] lines in [`INTERVAL`].

use std::collections::BTreeMap;
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

/// What has been left out, by reason.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    by_reason: BTreeMap<String, Told>,
    /// When counts were told last, by the monotonic clock.
    since: Option<Duration>,
}

/// How much has been left out for one reason.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    count: u64,
    told: u64,
}

/// Over which lines are counted.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often counts of what is left out are told.
const COUNTS_INTERVAL: Duration = Duration::from_secs(60);

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

// === impl LeftOut ===

impl LeftOut {
    /// Counts one more. Says whether it is the first for its reason, which has a line of its own.
    pub(crate) fn count(&mut self, why: &str) -> bool {
        if let Some(known) = self.by_reason.get_mut(why) {
            known.count += 1;
            return false;
        }
        self.by_reason.insert(why.to_owned(), Told { count: 1, told: 1 });
        true
    }

    /// The reasons with more than has been told, and how many there are of each by now, once in a while.
    pub(crate) fn take_untold(&mut self, now: Duration) -> Vec<(String, u64)> {
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < COUNTS_INTERVAL {
            return Vec::new();
        }
        self.since = Some(now);
        let more = self.by_reason.iter_mut().filter(|(_, of)| of.count > of.told);
        more.map(|(why, of)| {
            of.told = of.count;
            (why.clone(), of.count)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_for_leaving_out_is_told_once_and_counted_then() {
        let mut left_out = LeftOut::default();
        let firsts: Vec<bool> = ["a", "b", "a", "a"].map(|why| left_out.count(why)).into();
        assert_eq!(firsts, [true, true, false, false]);
        assert_eq!(left_out.take_untold(Duration::ZERO), []);
        assert_eq!(left_out.take_untold(COUNTS_INTERVAL), [("a".to_owned(), 3)]);
        assert_eq!(left_out.take_untold(COUNTS_INTERVAL * 2), []);
    }

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
