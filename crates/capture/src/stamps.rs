//! When the events of the stream were written, as well as it can be known.
//!
//! The replication stream carries no times. Guarantees: stamps never go back; while capture keeps
//! up, a stamp is the time of arrival by the source's clock; while it reads a backlog (from a new
//! link until the first heartbeat written after it), a stamp is not earlier than the last
//! heartbeat's source time and not later than the next one's. Where no heartbeat can be written, it
//! is the time of arrival, by the source's clock if that can be read, else by our own.

use event::Stamp;

/// Makes stamps. Pure: times come in with the bytes and the heartbeats.
#[derive(Clone, Debug, Default)]
pub(crate) struct StampClock {
    last: Stamp,
    /// Source clock minus our clock, as last measured.
    skew_ms: i64,
    /// Source time of the last heartbeat read from the stream.
    heartbeat_ms: Option<i64>,
    /// While reading a backlog: our clock when the link was set up.
    backlog_since_ms: Option<i64>,
}

// === impl StampClock ===

impl StampClock {
    /// A clock that goes on from the last stamp in the journal.
    #[must_use]
    pub(crate) fn resume(last: Stamp) -> Self {
        let heartbeat_ms = (last.time_ms > 0).then_some(last.time_ms);
        Self { last, heartbeat_ms, ..Self::default() }
    }

    /// Notes a measurement of the source's clock.
    pub(crate) fn measured(&mut self, skew_ms: i64) {
        self.skew_ms = skew_ms;
    }

    /// The link was set up: what comes first may be old. Only meaningful where heartbeats are
    /// written.
    pub(crate) fn linked(&mut self, now_ms: i64) {
        self.backlog_since_ms = Some(now_ms);
    }

    /// No heartbeats are written: none will end a backlog.
    pub(crate) fn without_heartbeats(&mut self) {
        self.backlog_since_ms = None;
    }

    /// A heartbeat written at `source_ms` was read from the stream.
    pub(crate) fn heartbeat(&mut self, source_ms: i64) {
        self.heartbeat_ms = Some(source_ms.max(self.heartbeat_ms.unwrap_or(source_ms)));
        if self.backlog_since_ms.is_some_and(|since| source_ms >= self.source_time(since)) {
            self.backlog_since_ms = None;
        }
    }

    /// Our clock to the source's.
    #[must_use]
    pub(crate) fn source_time(&self, ours_ms: i64) -> i64 {
        ours_ms.saturating_add(self.skew_ms)
    }

    /// The stamp of the next event, whose bytes arrived at `arrived_ms` by our clock.
    pub(crate) fn next(&mut self, arrived_ms: i64) -> Stamp {
        let time_ms = match self.backlog_since_ms {
            Some(_) => self.heartbeat_ms.unwrap_or(self.last.time_ms),
            None => self.source_time(arrived_ms),
        };
        if time_ms > self.last.time_ms {
            self.last.time_ms = time_ms;
            self.last.counter = 0;
        } else if let Some(counter) = self.last.counter.checked_add(1) {
            self.last.counter = counter;
        } else {
            self.last.time_ms = self.last.time_ms.saturating_add(1);
            self.last.counter = 0;
        }
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back() {
        let mut clock = StampClock::default();
        let mut before = clock.next(1000);
        for arrived in [1000, 999, 1500, 3, 1500, 1501] {
            let stamp = clock.next(arrived);
            assert!(stamp > before, "{stamp:?} after {before:?}");
            before = stamp;
        }
    }

    #[test]
    fn goes_on_from_the_last_stamp_even_when_the_counter_is_used_up() {
        let last = Stamp { time_ms: 5000, counter: u32::MAX, site: String::new() };
        let mut clock = StampClock::resume(last.clone());
        let next = clock.next(10);
        assert!(next > last, "{next:?}");
        assert_eq!((next.time_ms, next.counter), (5001, 0));
    }

    #[test]
    fn stamps_of_a_backlog_lie_between_two_heartbeats() {
        let mut clock = StampClock::default();
        clock.measured(10_000);
        clock.heartbeat(50_000);
        clock.linked(90_000);
        let old = clock.next(90_001);
        assert_eq!(old.time_ms, 50_000);
        clock.heartbeat(51_000);
        assert_eq!(clock.next(90_002).time_ms, 51_000, "still a heartbeat of before");
        clock.heartbeat(100_000);
        assert_eq!(clock.next(90_100).time_ms, 100_100);
    }

    #[test]
    fn a_backlog_before_the_first_heartbeat_stands_at_the_last_stamp() {
        let mut clock = StampClock::default();
        assert_eq!(clock.next(1_000).time_ms, 1_000);
        clock.linked(5_000);
        assert_eq!(clock.next(5_001).time_ms, 1_000);
        clock.heartbeat(5_000);
        assert_eq!(clock.next(5_002).time_ms, 5_002);
    }

    #[test]
    fn without_heartbeats_arrival_is_all_that_is_known() {
        let mut clock = StampClock::resume(Stamp { time_ms: 10, ..Stamp::default() });
        clock.linked(5_000);
        assert_eq!(clock.next(5_001).time_ms, 10);
        clock.without_heartbeats();
        assert_eq!(clock.next(5_002).time_ms, 5_002);
    }

    #[test]
    fn follows_the_clock_of_the_source_when_live() {
        let mut clock = StampClock::default();
        clock.measured(-500);
        assert_eq!(clock.next(2_000).time_ms, 1_500);
    }
}
