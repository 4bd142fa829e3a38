//! One limit: what has been saved up, or is owed. Pure.
//!
//! Guarantees: exact whole numbers; over any time not more comes in than the rate gives; never more is saved than a
//! burst.

use std::time::Duration;

use super::BURST;

/// A bucket that fills with its rate. What is taken may be more than is there: that is owed then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// In a second; 0: no limit.
    rate: u64,
    /// Billionths; below zero: owed.
    level: i128,
    /// When it was filled.
    at: Duration,
}

/// Billionths of one.
const ONE: i128 = 1_000_000_000;

// === impl Bucket ===

impl Bucket {
    /// Fills it as of `now`, and goes on with this rate. A limit that is new begins with a burst.
    pub(super) fn go_on(&mut self, rate: u64, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_nanos();
        let more = u128::from(self.rate).saturating_mul(elapsed);
        let more = i128::try_from(more).unwrap_or(i128::MAX);
        if rate != self.rate {
            let is_new = self.rate == 0;
            self.rate = rate;
            self.level = if is_new { i128::MAX } else { self.level };
        }
        self.level = self.level.saturating_add(more).min(self.burst());
        self.at = self.at.max(now);
    }

    /// How long until something may pass; zero: now. It opens at half a burst, so that what passes does so in pieces
    /// that are worth waking up for.
    pub(super) fn wait(&self) -> Duration {
        let lacking = self.burst() / 2 - self.level;
        if self.rate == 0 || lacking <= 0 {
            return Duration::ZERO;
        }
        let nanos = lacking.unsigned_abs().div_ceil(u128::from(self.rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How much may pass at once, at least one.
    pub(super) fn room(&self) -> u64 {
        match self.rate {
            0 => u64::MAX,
            _ => u64::try_from(self.level / ONE).unwrap_or(0).max(1),
        }
    }

    /// Takes so much.
    pub(super) fn take(&mut self, amount: u64) {
        if self.rate > 0 {
            self.level = self.level.saturating_sub(i128::from(amount) * ONE);
        }
    }

    fn burst(&self) -> i128 {
        let burst = u128::from(self.rate).saturating_mul(BURST.as_nanos());
        i128::try_from(burst).unwrap_or(i128::MAX).max(ONE)
    }
}
