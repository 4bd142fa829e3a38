//! What a status says of what holds a flow: steady, though a limit holds and lets go many times a second.

use std::time::Duration;

use super::Hold;

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoldSign {
    /// And when it held last.
    shown: Option<(Hold, Duration)>,
}

/// For so long a limit is said to hold that has let go.
const LINGER: Duration = Duration::from_secs(1);

// === impl HoldSign ===

impl HoldSign {
    /// Takes note of what holds now, by the monotonic clock; gives what is to be shown from now on, where that changes.
    pub fn note(&mut self, hold: Option<Hold>, now: Duration) -> Option<Option<Hold>> {
        let before = self.shown.map(|(hold, _)| hold);
        match (hold, self.shown) {
            (Some(hold), _) => self.shown = Some((hold, now)),
            (None, Some((Hold::Limit, at))) if now < at + LINGER => {}
            (None, _) => self.shown = None,
        }
        let after = self.shown.map(|(hold, _)| hold);
        (after != before).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_lets_go_for_a_moment_goes_on_being_shown() {
        let mut sign = HoldSign::default();
        let mut note = |hold, ms| sign.note(hold, Duration::from_millis(ms));
        assert_eq!(note(None, 0), None);
        assert_eq!(note(Some(Hold::Limit), 10), Some(Some(Hold::Limit)));
        assert_eq!(note(None, 900), None);
        assert_eq!(note(Some(Hold::Limit), 1_000), None);
        assert_eq!(note(None, 1_999), None);
        assert_eq!(note(None, 2_000), Some(None));
        assert_eq!(note(Some(Hold::Pause), 2_001), Some(Some(Hold::Pause)));
        assert_eq!(note(None, 2_002), Some(None));
    }
}
