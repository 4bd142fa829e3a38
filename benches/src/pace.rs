//! Time for the works: a stopwatch, and a beat that writers keep.

use std::time::Duration;

use testkit::Deadline;

/// Runs from its making.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Deadline);

/// So many beats a second. A beat that is missed is made up for: the mean is kept.
pub(crate) struct Beat {
    watch: Stopwatch,
    nanos: u64,
    beats: u64,
}

// === impl Stopwatch ===

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Deadline::after(Duration::ZERO))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

// === impl Beat ===

impl Beat {
    pub(crate) fn per_second(beats: u64) -> Self {
        Self { watch: Stopwatch::start(), nanos: 1_000_000_000 / beats, beats: 0 }
    }

    /// Returns when the next beat is due; at once if that was before now.
    pub(crate) fn wait(&mut self) {
        self.beats += 1;
        let due = Duration::from_nanos(self.nanos * self.beats);
        if let Some(left) = due.checked_sub(self.watch.elapsed()) {
            rest(left);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a writer at a given pace waits for the time itself")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_keep_their_mean() {
        let watch = Stopwatch::start();
        let mut beat = Beat::per_second(1000);
        for _ in 0..50 {
            beat.wait();
        }
        assert!(watch.elapsed() >= Duration::from_millis(50));
    }
}
