//! The few figures that a person follows, read out of the status tree.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::role::Role;

/// How it goes at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) at: Duration,
    /// Of the whole process: starting, running, stopping, stopped.
    pub(super) state: String,
    /// Which sides the process has: those of `run`, or one.
    pub(super) role: String,
    /// What of the start takes its time, and for how long.
    pub(super) step: Option<(String, u64)>,
    /// Of capture.
    pub(super) phase: String,
    pub(super) recorded: u64,
    pub(super) apply_phase: String,
    pub(super) trouble: String,
    /// What keeps apply from taking more, or capture.
    pub(super) held_by: String,
    pub(super) snapshot_keys: u64,
    pub(super) snapshot_bytes: u64,
    /// How much of the snapshot has been read, and how much there is, in keys or bytes; 0: not known.
    pub(super) done: u64,
    pub(super) expected: u64,
    /// `done` per second, smoothed.
    done_rate: f64,
    pub(super) applied_events: u64,
    /// Events applied per second, smoothed.
    pub(super) rate: f64,
    pub(super) lag_events: u64,
    /// Bytes of the source's stream that have been recorded and not yet applied.
    pub(super) lag_bytes: u64,
    pub(super) lag_seconds: f64,
    pub(super) quarantined: u64,
}

/// A rate forgets with this time constant.
const RATE_MEMORY_SECONDS: f64 = 1.5;

/// Longer is as good as not known.
const LEFT_MAX_SECONDS: f64 = 30.0 * 86_400.0;

// === impl Figures ===

impl Figures {
    pub(super) fn read(status: &Value, now: Duration, before: Option<&Self>) -> Self {
        let text = |path: &str| {
            status.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        let lanes = Lanes::of(status);
        let trouble =
            [lanes.text("waiting_for"), text("/capture/trouble"), journal_trouble(status)];
        let (keys, bytes) = (number("/capture/snapshot_keys"), number("/capture/snapshot_bytes"));
        let (done, expected) = match number("/capture/snapshot_keys_expected") {
            0 => (bytes, number("/capture/snapshot_bytes_expected")),
            expected => (keys, expected),
        };
        let held_by = Some(lanes.text("held_by")).filter(|by| !by.is_empty());
        let step = Some(text("/step")).filter(|step| !step.is_empty());
        let mut figures = Self {
            at: now,
            state: text("/state"),
            role: text("/role"),
            step: step.map(|step| (step, number("/step_seconds"))),
            phase: text("/capture/phase"),
            recorded: number("/capture/records"),
            apply_phase: Some(lanes.text("phase"))
                .filter(|phase| !phase.is_empty())
                .unwrap_or_else(|| text("/apply/phase")),
            trouble: trouble.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
            held_by: held_by.unwrap_or_else(|| text("/capture/held_by")),
            snapshot_keys: keys,
            snapshot_bytes: bytes,
            done,
            // What the source told before may have been exceeded since.
            expected: if expected == 0 { 0 } else { expected.max(done) },
            done_rate: 0.0,
            applied_events: lanes.sum("events"),
            rate: 0.0,
            lag_events: lanes.sum("lag_records"),
            // A process that does not capture knows only about how much it is.
            lag_bytes: match status.pointer("/capture/offset").and_then(Value::as_u64) {
                Some(offset) => lanes.offset().map_or(0, |applied| offset.saturating_sub(applied)),
                None => lanes.lag_bytes(),
            },
            lag_seconds: lanes.largest("lag_seconds"),
            quarantined: lanes.sum("quarantined_keys"),
        };
        // Without anything to read, the time since the last record is no lag.
        if figures.lag_events == 0 {
            figures.lag_seconds = 0.0;
        }
        if let Some(before) = before {
            figures.done_rate =
                figures.smoothed(before, (before.done_rate, before.done), figures.done);
            figures.rate = figures.smoothed(
                before,
                (before.rate, before.applied_events),
                figures.applied_events,
            );
        }
        figures
    }

    /// Whether the process has this side.
    pub(super) fn captures(&self) -> bool {
        Role::named(&self.role).is_none_or(Role::captures)
    }

    pub(super) fn applies(&self) -> bool {
        Role::named(&self.role).is_none_or(Role::applies)
    }

    /// Whether capture reads a snapshot.
    pub(super) fn reads_a_snapshot(&self) -> bool {
        self.phase == "snapshot"
    }

    /// Whether apply is still at the snapshot.
    pub(super) fn applies_a_snapshot(&self) -> bool {
        matches!(self.apply_phase.as_str(), "snapshot" | "sweep")
    }

    /// How much of the snapshot has been read, 0 to 100.
    pub(super) fn percent(&self) -> Option<u64> {
        let hundredfold = u128::from(self.done) * 100;
        hundredfold.checked_div(self.expected.into()).and_then(|percent| percent.try_into().ok())
    }

    /// How long reading the snapshot will take from now on.
    pub(super) fn time_to_read(&self) -> Option<Duration> {
        left(self.expected.saturating_sub(self.done), self.done_rate).filter(|_| self.expected > 0)
    }

    /// How long apply will take for what is recorded.
    pub(super) fn time_to_apply(&self) -> Option<Duration> {
        left(self.lag_events, self.rate)
    }

    /// Says what has been finished since.
    pub(super) fn log_milestones(&self, before: &Self) {
        if before.reads_a_snapshot() && self.phase == "stream" {
            let (keys, bytes) = (self.snapshot_keys, self.snapshot_bytes);
            tracing::info!(keys, bytes, "the snapshot has been read: the stream follows");
        }
        if before.applies_a_snapshot() && self.apply_phase == "stream" {
            tracing::info!(
                applied = self.applied_events,
                "the snapshot has been applied: from now on the destination follows the source"
            );
        }
    }

    pub(super) fn log(&self) {
        if let Some((step, seconds)) = &self.step {
            tracing::info!(step, seconds, "starting");
        } else if self.reads_a_snapshot() {
            tracing::info!(
                keys = self.snapshot_keys,
                bytes = self.snapshot_bytes,
                percent = self.percent(),
                seconds_left = self.time_to_read().map(|left| left.as_secs()),
                applied = self.applied_events,
                held_by = told(&self.held_by),
                trouble = told(&self.trouble),
                "snapshot"
            );
        } else if !self.applies() {
            tracing::info!(
                phase = self.phase,
                recorded = self.recorded,
                held_by = told(&self.held_by),
                trouble = told(&self.trouble),
                "progress"
            );
        } else {
            tracing::info!(
                phase = told(&self.phase),
                apply = self.apply_phase,
                applied = self.applied_events,
                per_second = self.rate.round(),
                lag_events = self.lag_events,
                lag_bytes = self.lag_bytes,
                lag_seconds = self.lag_seconds,
                quarantined = self.quarantined,
                held_by = told(&self.held_by),
                trouble = told(&self.trouble),
                "progress"
            );
        }
    }

    /// The rate of a count that was `before.1` when its rate was `before.0`.
    fn smoothed(&self, then: &Self, (rate, count): (f64, u64), now: u64) -> f64 {
        let seconds = self.at.saturating_sub(then.at).as_secs_f64();
        if seconds <= 0.0 || now < count {
            return 0.0;
        }
        let newest = float(now - count) / seconds;
        // Time spent waiting for the first says nothing about the rest.
        if count == 0 || rate <= 0.0 {
            return newest;
        }
        let keep = (-seconds / RATE_MEMORY_SECONDS).exp();
        rate.mul_add(keep, newest * (1.0 - keep))
    }
}

/// Nothing is not told.
fn told(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn left(amount: u64, per_second: f64) -> Option<Duration> {
    let seconds = float(amount) / per_second;
    (per_second > 0.0 && seconds < LEFT_MAX_SECONDS).then(|| Duration::from_secs_f64(seconds))
}

#[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
fn float(number: u64) -> f64 {
    number as f64
}

/// What the lanes of apply say of themselves.
struct Lanes<'a>(Vec<&'a Map<String, Value>>);

// === impl Lanes ===

impl<'a> Lanes<'a> {
    fn of(status: &'a Value) -> Self {
        let nodes =
            status.get("apply").and_then(Value::as_object).into_iter().flat_map(Map::values);
        Self(nodes.filter_map(Value::as_object).collect())
    }

    fn sum(&self, name: &str) -> u64 {
        self.0.iter().filter_map(|lane| lane.get(name)?.as_u64()).sum()
    }

    fn largest(&self, name: &str) -> f64 {
        self.0.iter().filter_map(|lane| lane.get(name)?.as_f64()).fold(0.0, f64::max)
    }

    /// The smallest offset of the source's stream that a lane has applied, out of `shard:epoch:offset:index`.
    fn offset(&self) -> Option<u64> {
        let positions = self.0.iter().filter_map(|lane| lane.get("applied")?.as_str());
        positions.filter_map(|position| position.split(':').nth(2)?.parse().ok()).min()
    }

    /// What all partitions lack, where that can be estimated.
    fn lag_bytes(&self) -> u64 {
        let parts = self.0.iter().filter_map(|lane| lane.get("partitions")?.as_object());
        parts.flat_map(Map::values).filter_map(|part| part.get("lag_bytes")?.as_u64()).sum()
    }

    /// What the first lane with such a value says.
    fn text(&self, name: &str) -> String {
        let texts = self.0.iter().filter_map(|lane| lane.get(name)?.as_str());
        texts.into_iter().next().unwrap_or_default().to_owned()
    }
}

fn journal_trouble(status: &Value) -> String {
    let said =
        ["/capture/journal", "/apply/journal", "/apply/letters"].map(|path| status.pointer(path));
    let mut said = said.into_iter().flatten().filter_map(Value::as_str);
    said.find(|said| *said != "accepting").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(seconds: u64, keys: u64, before: Option<&Figures>) -> Figures {
        let capture = json!({
            "phase": "snapshot", "snapshot_keys": keys, "snapshot_keys_expected": 1_000,
        });
        Figures::read(&json!({ "capture": capture }), Duration::from_secs(seconds), before)
    }

    #[test]
    fn the_time_left_is_counted_from_the_first_key_on() {
        let waiting = at(60, 0, None);
        assert_eq!((waiting.percent(), waiting.time_to_read()), (Some(0), None));
        let first = at(61, 100, Some(&waiting));
        assert_eq!(first.time_to_read(), Some(Duration::from_secs(9)));
        let second = at(62, 200, Some(&first));
        assert_eq!(
            (second.percent(), second.time_to_read()),
            (Some(20), Some(Duration::from_secs(8)))
        );
        let over = at(63, 2_000, Some(&second));
        assert_eq!(over.percent(), Some(100));
    }

    #[test]
    fn what_is_not_known_is_not_invented() {
        let capture = json!({ "phase": "snapshot", "snapshot_keys": 5, "snapshot_bytes": 50 });
        let figures = Figures::read(&json!({ "capture": capture }), Duration::ZERO, None);
        assert_eq!((figures.percent(), figures.time_to_read()), (None, None));
        assert_eq!((figures.snapshot_keys, figures.snapshot_bytes), (5, 50));
    }

    #[test]
    fn who_does_not_capture_adds_up_what_partitions_lack() {
        let parts = json!({ "0": { "lag_bytes": 30 }, "1": { "lag_bytes": "unknown" }, "2": { "lag_bytes": 12 } });
        let status = json!({ "apply": { "a": { "applied": "0:9:70:+", "partitions": parts } } });
        assert_eq!(Figures::read(&status, Duration::ZERO, None).lag_bytes, 42);
    }

    #[test]
    fn lanes_are_taken_together() {
        let lane = |events, offset| {
            json!({
                "events": events, "lag_records": 2, "lag_seconds": 3.0,
                "applied": format!("0:9:{offset}:+"), "phase": "stream",
            })
        };
        let apply = json!({ "stream": "main", "a": lane(10, 70), "b": lane(20, 50) });
        let status = json!({ "apply": apply, "capture": { "offset": 100, "phase": "stream" } });
        let figures = Figures::read(&status, Duration::ZERO, None);
        assert_eq!((figures.applied_events, figures.lag_events, figures.lag_bytes), (30, 4, 50));
        assert!((figures.lag_seconds - 3.0).abs() < 1e-9);
        let later = Figures { applied_events: 20, at: Duration::ZERO, ..Figures::default() };
        let figures = Figures::read(&status, Duration::from_secs(2), Some(&later));
        assert!((figures.rate - 5.0).abs() < 1e-9);
    }
}
