//! What stands in the way for a while: whoever waits for it to pass can say, once, when it has and how long it took.

use std::time::Duration;

use crate::units;

/// A trouble that there is, or is not, at the moment.
#[derive(Debug, Default)]
pub struct Trouble {
    /// When it began, by the monotonic clock.
    since: Option<Duration>,
}

// === impl Trouble ===

impl Trouble {
    /// It is there; says whether it was not before.
    pub fn begin(&mut self, now: Duration) -> bool {
        let is_new = self.since.is_none();
        self.since.get_or_insert(now);
        is_new
    }

    /// It is over: gives for how long it was there, for people; none where it was not.
    pub fn end(&mut self, now: Duration) -> Option<String> {
        let lasted = now.saturating_sub(self.since.take()?);
        let shown = match lasted.as_secs() {
            0 => Duration::from_millis(u64::from(lasted.subsec_millis())),
            seconds => Duration::from_secs(seconds),
        };
        Some(units::duration::format(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_once_with_how_long_it_took() {
        let mut trouble = Trouble::default();
        let at = Duration::from_millis;
        assert_eq!(trouble.end(at(1)), None);
        assert!(trouble.begin(at(1_000)) && !trouble.begin(at(5_000)));
        assert_eq!(trouble.end(at(13_900)).as_deref(), Some("12s"));
        assert_eq!(trouble.end(at(14_000)), None);
        trouble.begin(at(0));
        assert_eq!(trouble.end(at(70)).as_deref(), Some("70ms"));
    }
}
