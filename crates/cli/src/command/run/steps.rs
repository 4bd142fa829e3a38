//! The steps of a start: what takes long is named while it lasts.

use std::sync::Arc;
use std::time::Duration;

use runtime::status::Value;

use super::Shared;

/// After this long a person begins to wonder.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// And after this long again.
const NEXT_WORD: Duration = Duration::from_secs(10);

// === impl Shared ===

impl Shared {
    /// Runs a step, shows it in the status while it lasts, and logs it when it takes longer than a second.
    pub(super) async fn step<T>(&self, name: &'static str, step: impl Future<Output = T>) -> T {
        let mut step = std::pin::pin!(step);
        let begun = self.clock.monotonic();
        self.status.set("step", name);
        let clock = Arc::clone(&self.clock);
        self.status.computed("step_seconds", move || {
            let seconds = clock.monotonic().saturating_sub(begun).as_secs();
            Value::Integer(i64::try_from(seconds).unwrap_or(i64::MAX))
        });
        let mut pause = FIRST_WORD;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut step => break result,
                () = self.clock.sleep(pause) => {}
            }
            let seconds = self.clock.monotonic().saturating_sub(begun).as_secs();
            tracing::info!(step = name, seconds, "this takes a while");
            pause = NEXT_WORD;
        };
        self.status.unset("step");
        self.status.unset("step_seconds");
        result
    }
}
