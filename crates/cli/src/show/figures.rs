//! The few figures that a person follows, read out of the status tree.

use std::time::Duration;

use serde_json::{Map, Value};

/// How it goes at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    at: Duration,
    pub(super) phase: String,
    pub(super) apply_phase: String,
    pub(super) trouble: String,
    pub(super) snapshot_keys: u64,
    pub(super) snapshot_keys_expected: u64,
    pub(super) snapshot_bytes: u64,
    pub(super) snapshot_bytes_expected: u64,
    pub(super) applied_events: u64,
    /// Events applied per second, smoothed.
    pub(super) rate: f64,
    pub(super) lag_events: u64,
    /// Bytes of the source's stream that have been recorded and not yet applied.
    pub(super) lag_bytes: u64,
    pub(super) lag_seconds: f64,
    pub(super) quarantined: u64,
}

/// Weight of the newest interval in the smoothed rate: follows a change within a few intervals.
const NEWEST: f64 = 0.3;

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
        let mut figures = Self {
            at: now,
            phase: text("/capture/phase"),
            apply_phase: lanes.text("phase"),
            trouble: trouble.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
            snapshot_keys: number("/capture/snapshot_keys"),
            snapshot_keys_expected: number("/capture/snapshot_keys_expected"),
            snapshot_bytes: number("/capture/snapshot_bytes"),
            snapshot_bytes_expected: number("/capture/snapshot_bytes_expected"),
            applied_events: lanes.sum("events"),
            rate: 0.0,
            lag_events: lanes.sum("lag_records"),
            lag_bytes: lanes
                .offset()
                .map_or(0, |applied| number("/capture/offset").saturating_sub(applied)),
            lag_seconds: lanes.largest("lag_seconds"),
            quarantined: lanes.sum("quarantined_keys"),
        };
        // Without anything to read, the time since the last record is no lag.
        if figures.lag_events == 0 {
            figures.lag_seconds = 0.0;
        }
        if let Some(before) = before {
            figures.rate = figures.rate_since(before);
        }
        figures
    }

    pub(super) fn log(&self) {
        if self.phase == "snapshot" {
            tracing::info!(
                keys = self.snapshot_keys,
                keys_expected = self.snapshot_keys_expected,
                bytes = self.snapshot_bytes,
                applied = self.applied_events,
                "snapshot"
            );
        } else {
            tracing::info!(
                phase = self.phase,
                applied = self.applied_events,
                per_second = self.rate.round(),
                lag_events = self.lag_events,
                lag_bytes = self.lag_bytes,
                lag_seconds = self.lag_seconds,
                quarantined = self.quarantined,
                trouble = self.trouble,
                "progress"
            );
        }
    }

    fn rate_since(&self, before: &Self) -> f64 {
        let seconds = self.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return before.rate;
        }
        let events = self.applied_events.saturating_sub(before.applied_events);
        let events = f64::from(u32::try_from(events).unwrap_or(u32::MAX));
        before.rate.mul_add(1.0 - NEWEST, NEWEST * events / seconds)
    }
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

    /// What the first lane with such a value says.
    fn text(&self, name: &str) -> String {
        let texts = self.0.iter().filter_map(|lane| lane.get(name)?.as_str());
        texts.into_iter().next().unwrap_or_default().to_owned()
    }
}

fn journal_trouble(status: &Value) -> String {
    match status.pointer("/capture/journal").and_then(Value::as_str) {
        None | Some("accepting") => String::new(),
        Some(why) => why.to_owned(),
    }
}
