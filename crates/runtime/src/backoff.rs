//! How long to wait before trying again: exponential, jittered, bounded.
//!
//! Pure: it sleeps for nobody and reads no clock. The caller says how long its attempts took with
//! [`Backoff::charge`], so that the window bounds the whole of trying and waiting.

use std::time::Duration;

use crate::random::Random;

/// The shape of a back-off. Plain data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The first wait, before jitter.
    pub first: Duration,
    /// No wait is longer than this.
    pub longest: Duration,
    /// How much longer each wait is than the one before.
    pub factor: f64,
    /// Share of each wait that is random, 0 to 1: 0.5 waits between half and all of it.
    pub jitter: f64,
    /// After this many waits it gives up; `None` never does.
    pub attempts: Option<u32>,
    /// After this much time it gives up; `None` never does.
    pub window: Option<Duration>,
}

/// The state of one sequence of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    settings: Settings,
    attempt: u32,
    spent: Duration,
}

/// Settings that cannot be waited by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid back-off: {0}")]
pub struct InvalidBackoff(&'static str);

// === impl Settings ===

impl Default for Settings {
    /// 100 ms doubling up to 15 s, half of it random, without an end: quick on a blip, and a dozen
    /// processes that lost one server do not come back at once.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(15),
            factor: 2.0,
            jitter: 0.5,
            attempts: None,
            window: None,
        }
    }
}

// === impl Backoff ===

impl Backoff {
    /// Checks the settings.
    ///
    /// # Errors
    /// When a wait would be zero, would shrink, or would have more chance in it than time.
    pub fn new(settings: Settings) -> Result<Self, InvalidBackoff> {
        if settings.first.is_zero() {
            return Err(InvalidBackoff("the first wait is zero"));
        }
        if settings.longest < settings.first {
            return Err(InvalidBackoff("the longest wait is shorter than the first"));
        }
        if !(settings.factor.is_finite() && settings.factor >= 1.0) {
            return Err(InvalidBackoff("the factor is below 1"));
        }
        if !(0.0..=1.0).contains(&settings.jitter) {
            return Err(InvalidBackoff("the jitter is not between 0 and 1"));
        }
        Ok(Self { settings, attempt: 0, spent: Duration::ZERO })
    }

    /// The next wait, or `None` when attempts or window are used up. The last wait before the end
    /// of the window is cut to what is left of it.
    pub fn next(&mut self, random: &mut Random) -> Option<Duration> {
        if self.settings.attempts.is_some_and(|most| self.attempt >= most) {
            return None;
        }
        let left = self.settings.window.map(|window| window.saturating_sub(self.spent));
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        let full = self.full_wait();
        let jittered = full.mul_f64(1.0 - self.settings.jitter * random.unit());
        let wait = left.map_or(jittered, |left| jittered.min(left));
        self.attempt += 1;
        self.spent += wait;
        Some(wait)
    }

    /// Counts time that an attempt took against the window.
    pub fn charge(&mut self, took: Duration) {
        self.spent = self.spent.saturating_add(took);
    }

    /// Takes what has been waited out of the window: for what may last as long as it likes. The waits grow on.
    pub fn forgive(&mut self) {
        self.spent = Duration::ZERO;
    }

    /// Begins again, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
        self.spent = Duration::ZERO;
    }

    /// Waits handed out since the beginning or the last reset.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Time waited and charged since the beginning or the last reset.
    #[must_use]
    pub fn spent(&self) -> Duration {
        self.spent
    }

    fn full_wait(&self) -> Duration {
        let exponent = i32::try_from(self.attempt).unwrap_or(i32::MAX);
        let seconds = self.settings.first.as_secs_f64() * self.settings.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds)
            .map_or(self.settings.longest, |wait| wait.min(self.settings.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady() -> Settings {
        Settings { jitter: 0.0, ..Settings::default() }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(steady()).unwrap();
        let mut random = Random::from_seed(1);
        let waits: Vec<_> =
            (0..10).map(|_| backoff.next(&mut random).unwrap().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]);
        backoff.reset();
        assert_eq!(backoff.next(&mut random), Some(Duration::from_millis(100)));
    }

    #[test]
    fn jitter_shortens_by_at_most_its_share() {
        let mut backoff = Backoff::new(Settings { factor: 1.0, jitter: 0.25, ..steady() }).unwrap();
        let mut random = Random::from_seed(3);
        for _ in 0..1_000 {
            let wait = backoff.next(&mut random).unwrap();
            assert!((75..=100).contains(&wait.as_millis()), "{wait:?}");
        }
    }

    #[test]
    fn gives_up_after_the_attempts() {
        let mut backoff = Backoff::new(Settings { attempts: Some(2), ..steady() }).unwrap();
        let mut random = Random::from_seed(1);
        assert!(backoff.next(&mut random).is_some());
        assert!(backoff.next(&mut random).is_some());
        assert_eq!(backoff.next(&mut random), None);
    }

    #[test]
    fn the_window_counts_attempts_and_cuts_the_last_wait() {
        let window = Some(Duration::from_millis(350));
        let mut backoff = Backoff::new(Settings { window, ..steady() }).unwrap();
        let mut random = Random::from_seed(1);
        assert_eq!(backoff.next(&mut random), Some(Duration::from_millis(100)));
        backoff.charge(Duration::from_millis(150));
        assert_eq!(backoff.next(&mut random), Some(Duration::from_millis(100)));
        assert_eq!(backoff.next(&mut random), None);
    }

    #[test]
    fn never_overflows_however_long_it_lasts() {
        let mut backoff = Backoff::new(Settings { factor: 1e9, ..steady() }).unwrap();
        let mut random = Random::from_seed(1);
        let last = (0..5_000).map(|_| backoff.next(&mut random)).last().flatten();
        assert_eq!(last, Some(Duration::from_secs(15)));
    }

    #[test]
    fn refuses_settings_that_make_no_sense() {
        let bad = [
            Settings { first: Duration::ZERO, ..steady() },
            Settings { longest: Duration::from_millis(1), ..steady() },
            Settings { factor: 0.5, ..steady() },
            Settings { factor: f64::NAN, ..steady() },
            Settings { jitter: 1.5, ..steady() },
        ];
        for settings in bad {
            assert!(Backoff::new(settings).is_err(), "{settings:?}");
        }
    }
}
