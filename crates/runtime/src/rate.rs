//! Events per second, averaged so that the last moments weigh most.
//!
//! Marking is one atomic addition; the average moves when it is read, so nothing ticks. The
//! result does not depend on how often it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// A meter over one kind of event. Share it as `Arc<RateMeter>`.
#[derive(Debug)]
pub struct RateMeter {
    clock: Arc<dyn Clock>,
    /// After this long, what was before weighs 1/e.
    memory: Duration,
    marked: AtomicU64,
    average: Mutex<Average>,
}

#[derive(Debug)]
struct Average {
    at: Duration,
    counted: u64,
    per_second: f64,
    /// Share of the average that rests on observation: corrects the cold start.
    weight: f64,
}

impl RateMeter {
    /// A meter that forgets with the time constant `memory` (at least a millisecond).
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, memory: Duration) -> Self {
        let average = Average { at: clock.monotonic(), counted: 0, per_second: 0.0, weight: 0.0 };
        let memory = memory.max(Duration::from_millis(1));
        Self { clock, memory, marked: AtomicU64::new(0), average: Mutex::new(average) }
    }

    /// Counts `events` now.
    pub fn mark(&self, events: u64) {
        self.marked.fetch_add(events, Ordering::Relaxed);
    }

    /// Events counted since the beginning.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.marked.load(Ordering::Relaxed)
    }

    /// The average rate as of now.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
    pub fn per_second(&self) -> f64 {
        let now = self.clock.monotonic();
        let mut average = self.average.lock();
        let elapsed = now.saturating_sub(average.at).as_secs_f64();
        if elapsed > 0.0 {
            let total = self.total();
            let seen = total.saturating_sub(average.counted) as f64 / elapsed;
            let keep = (-elapsed / self.memory.as_secs_f64()).exp();
            average.per_second = average.per_second * keep + seen * (1.0 - keep);
            average.weight = average.weight * keep + (1.0 - keep);
            average.at = now;
            average.counted = total;
        }
        if average.weight > 0.0 { average.per_second / average.weight } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn meter(clock: &ManualClock) -> RateMeter {
        RateMeter::new(Arc::new(clock.clone()), Duration::from_secs(5))
    }

    #[test]
    fn a_steady_stream_reads_its_rate_from_the_first_second_on() {
        let clock = ManualClock::new(0);
        let meter = meter(&clock);
        for _ in 0..20 {
            meter.mark(100);
            clock.advance(Duration::from_secs(1));
            assert!((meter.per_second() - 100.0).abs() < 1e-6);
        }
        assert_eq!(meter.total(), 2_000);
    }

    #[test]
    fn silence_makes_it_fall_by_the_time_constant() {
        let clock = ManualClock::new(0);
        let meter = meter(&clock);
        for _ in 0..100 {
            meter.mark(100);
            clock.advance(Duration::from_secs(1));
        }
        let before = meter.per_second();
        clock.advance(Duration::from_secs(5));
        let after = meter.per_second();
        assert!((after / before - (-1.0_f64).exp()).abs() < 1e-3, "{before} {after}");
    }

    #[test]
    fn reading_twice_at_one_moment_changes_nothing() {
        let clock = ManualClock::new(0);
        let meter = meter(&clock);
        assert_eq!(meter.per_second(), 0.0);
        meter.mark(10);
        clock.advance(Duration::from_secs(1));
        assert_eq!(meter.per_second(), meter.per_second());
    }
}
