//! How much may pass in a second, and a switch that holds everything: both can be changed at any time.
//!
//! Guarantees: in any stretch of time no more passes than its rate gives for that time, a [`BURST`] of it, and the item
//! that passed last: that is paid for afterwards. What several gates of one [`Throttle`] let pass counts together; each
//! may have let pass a burst that another took since it looked, which is paid for as well. Whoever waits wakes as soon as
//! a change lets it. Where nothing is limited, a look costs next to nothing.

mod bucket;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use self::bucket::Bucket;
pub use self::sign::HoldSign;
use crate::clock::Clock;

/// Limits and a switch. Clones are the same one: whoever has one may change it.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    shared: Arc<Shared>,
}

/// What may pass in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of a snapshot.
    pub full: Rate,
    /// Of the stream of changes.
    pub incremental: Rate,
    /// Bytes that are read from the source while it sends a snapshot; 0: no limit.
    pub source_read_bytes: u64,
}

/// Things and bytes in a second; 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Things.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// A snapshot.
    Full,
    /// The stream of changes.
    Incremental,
    /// Bytes of a snapshot from the source's socket. The switch does not hold them.
    SourceRead,
}

/// What holds a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The switch.
    Pause,
    /// A limit.
    Limit,
}

/// The side of a throttle that lets pass.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    settings: watch::Receiver<Settings>,
    clock: Arc<dyn Clock>,
}

/// So much of a second's rate may pass at once after a time in which less passed.
pub const BURST: Duration = Duration::from_millis(100);

/// A source gives up whoever takes nothing of its snapshot for a minute: one who reads slower than this comes near that,
/// since what is read at once has to be paid for.
pub const SOURCE_READ_BYTES_MIN: u64 = 64 << 10;

#[derive(Debug, Default)]
struct Shared {
    settings: watch::Sender<Settings>,
    meters: Mutex<Meters>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Settings {
    limits: Limits,
    paused: bool,
}

#[derive(Debug, Default)]
struct Meters {
    full: Meter,
    incremental: Meter,
    source_read: Meter,
}

/// What one flow may take.
#[derive(Debug, Default)]
struct Meter {
    rows: Bucket,
    bytes: Bucket,
}

// === impl Throttle ===

impl Throttle {
    /// One with these limits, which lets pass.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let throttle = Self::default();
        throttle.set_limits(limits);
        throttle
    }

    /// Puts other limits in force. What is owed is paid at the new rate; without a limit nothing is.
    pub fn set_limits(&self, limits: Limits) {
        {
            let mut meters = self.shared.meters.lock();
            for flow in [Flow::Full, Flow::Incremental, Flow::SourceRead] {
                if limits.of(flow) == Rate::default() {
                    *meters.of(flow) = Meter::default();
                }
            }
        }
        self.change(|settings| settings.limits = limits);
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.settings.borrow().limits
    }

    /// Holds everything but what is read from the source, until [`Throttle::resume`]. Tells whether it passed before.
    pub fn pause(&self) -> bool {
        self.change(|settings| settings.paused = true)
    }

    /// Lets pass again. Tells whether it was held.
    pub fn resume(&self) -> bool {
        self.change(|settings| settings.paused = false)
    }

    /// Whether everything is held.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.settings.borrow().paused
    }

    /// A gate of it. All gates of a throttle go by clocks of one origin.
    #[must_use]
    pub fn gate(&self, clock: Arc<dyn Clock>) -> Gate {
        let settings = self.shared.settings.subscribe();
        Gate { shared: Arc::clone(&self.shared), settings, clock }
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) -> bool {
        self.shared.settings.send_if_modified(|settings| {
            let before = *settings;
            change(settings);
            *settings != before
        })
    }
}

// === impl Gate ===

impl Gate {
    /// What holds a flow at the moment; none: something may pass.
    #[must_use]
    pub fn hold(&self, flow: Flow) -> Option<Hold> {
        let settings = *self.settings.borrow();
        if settings.holds(flow) {
            return Some(Hold::Pause);
        }
        (!self.wait(flow, settings.limits).is_zero()).then_some(Hold::Limit)
    }

    /// What a flow is limited to; 0: no limit.
    #[must_use]
    pub fn rate(&self, flow: Flow) -> Rate {
        self.settings.borrow().limits.of(flow)
    }

    /// Whether the switch holds everything.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.settings.borrow().paused
    }

    /// How much of a flow may pass at once now, at least one of each; the largest number: no limit.
    #[must_use]
    pub fn room(&self, flow: Flow) -> Rate {
        let limits = self.settings.borrow().limits;
        if limits.of(flow) == Rate::default() {
            return Rate { rows: u64::MAX, bytes: u64::MAX };
        }
        self.metered(flow, limits, |meter| Rate {
            rows: meter.rows.room(),
            bytes: meter.bytes.room(),
        })
    }

    /// Says what has passed.
    pub fn took(&self, flow: Flow, amount: Rate) {
        let limits = self.settings.borrow().limits;
        if limits.of(flow) != Rate::default() {
            self.metered(flow, limits, |meter| {
                meter.rows.take(amount.rows);
                meter.bytes.take(amount.bytes);
            });
        }
    }

    /// Completes when something of a flow may pass. Cancel-safe.
    pub async fn opened(&mut self, flow: Flow) {
        loop {
            let settings = *self.settings.borrow_and_update();
            let wait = match settings.holds(flow) {
                true => Duration::MAX,
                false => self.wait(flow, settings.limits),
            };
            if wait.is_zero() {
                return;
            }
            // The sender lives as long as the gate.
            if wait == Duration::MAX {
                self.settings.changed().await.ok();
                continue;
            }
            tokio::select! {
                changed = self.settings.changed() => changed.unwrap_or_default(),
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    fn wait(&self, flow: Flow, limits: Limits) -> Duration {
        if limits.of(flow) == Rate::default() {
            return Duration::ZERO;
        }
        self.metered(flow, limits, |meter| meter.rows.wait().max(meter.bytes.wait()))
    }

    fn metered<T>(&self, flow: Flow, limits: Limits, act: impl FnOnce(&mut Meter) -> T) -> T {
        let (now, rate) = (self.clock.monotonic(), limits.of(flow));
        let mut meters = self.shared.meters.lock();
        let meter = meters.of(flow);
        meter.rows.go_on(rate.rows, now);
        meter.bytes.go_on(rate.bytes, now);
        act(meter)
    }
}

// === impl Meters ===

impl Meters {
    fn of(&mut self, flow: Flow) -> &mut Meter {
        match flow {
            Flow::Full => &mut self.full,
            Flow::Incremental => &mut self.incremental,
            Flow::SourceRead => &mut self.source_read,
        }
    }
}

// === impl Settings ===

impl Settings {
    fn holds(&self, flow: Flow) -> bool {
        self.paused && flow != Flow::SourceRead
    }
}

// === impl Limits ===

impl Limits {
    /// What of a flow may pass.
    #[must_use]
    pub fn of(&self, flow: Flow) -> Rate {
        match flow {
            Flow::Full => self.full,
            Flow::Incremental => self.incremental,
            Flow::SourceRead => Rate { rows: 0, bytes: self.source_read_bytes },
        }
    }
}

// === impl Hold ===

impl Hold {
    /// One word for the status.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Limit => "throttle",
        }
    }
}
