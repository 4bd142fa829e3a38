//! Up to which record everything is confirmed, when confirmations come in any order. Pure.

use std::collections::VecDeque;

/// Numbers from 0 on, each to be confirmed once.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// All below are confirmed.
    low: u64,
    /// Of `low` and those after it, which are confirmed. As long as what is under way, which is bounded.
    confirmed: VecDeque<bool>,
}

// === impl Watermark ===

impl Watermark {
    /// Notes one; true when the low end has moved.
    pub(super) fn confirm(&mut self, number: u64) -> bool {
        let Some(place) = number.checked_sub(self.low) else { return false };
        let place = usize::try_from(place).expect("as many as are under way");
        if self.confirmed.len() <= place {
            self.confirmed.resize(place + 1, false);
        }
        if let Some(confirmed) = self.confirmed.get_mut(place) {
            *confirmed = true;
        }
        let before = self.low;
        while self.confirmed.front() == Some(&true) {
            self.confirmed.pop_front();
            self.low += 1;
        }
        self.low > before
    }

    /// How many are confirmed without a gap.
    pub(super) fn low(&self) -> u64 {
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_when_the_gap_is_closed() {
        let mut watermark = Watermark::default();
        assert!(!watermark.confirm(2));
        assert!(!watermark.confirm(1));
        assert_eq!(watermark.low(), 0);
        assert!(watermark.confirm(0));
        assert_eq!(watermark.low(), 3);
        assert!(!watermark.confirm(1), "once more changes nothing");
        assert!(watermark.confirm(3));
    }
}
