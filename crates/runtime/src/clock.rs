//! Time as a dependency: wall time for stamps, monotonic time for waiting, and sleep.
//!
//! Guarantees: [`SystemClock`] is the only reader of real time in the project. [`ManualClock`]
//! moves only when told to, and wakes exactly the sleepers that are due, earliest first.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

/// A sleep that owns what it needs, so that it may outlive the borrow of its clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where a component gets its time. Cheap to share as `Arc<dyn Clock>`.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970 (UTC). May step in either direction.
    fn now_ms(&self) -> i64;

    /// Time since some fixed point of this clock. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Completes once `duration` has passed on the monotonic time. Cancel-safe.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: tokio::time::Instant,
}

/// A clock that a test moves by hand. Clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

/// The wait ended before the future did; holds how long was waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("gave up after {0:?}")]
pub struct Elapsed(pub Duration);

/// Completes when a sleep is over; never where there is none. Cancel-safe.
pub async fn over(sleep: Option<&mut Sleep>) {
    match sleep {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

/// Runs `future` for at most `limit` on `clock`; the future wins a tie. Cancel-safe if it is.
/// A future that is ready at once costs no timer.
pub async fn timeout<F: Future>(
    clock: &dyn Clock,
    limit: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = std::pin::pin!(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx)));
    if let Poll::Ready(output) = first.await {
        return Ok(output);
    }
    let sleep = clock.sleep(limit);
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = sleep => Err(Elapsed(limit)),
    }
}

// === impl SystemClock ===

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

// === impl ManualClock ===

#[derive(Debug)]
struct Shared {
    state: Mutex<ManualState>,
    /// Bumped when a sleeper arrives, for [`ManualClock::wait_for_sleepers`].
    arrivals: watch::Sender<u64>,
}

#[derive(Debug)]
struct ManualState {
    wall_ms: i64,
    monotonic: Duration,
    next_id: u64,
    /// By deadline, then arrival: the order in which they wake.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

impl ManualClock {
    /// A clock that stands at `wall_ms` (since 1970), monotonic time zero.
    #[must_use]
    pub fn new(wall_ms: i64) -> Self {
        let state = ManualState {
            wall_ms,
            monotonic: Duration::ZERO,
            next_id: 0,
            sleepers: BTreeMap::new(),
        };
        let shared = Shared { state: Mutex::new(state), arrivals: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Moves wall and monotonic time forward and wakes every sleeper that is due.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut state = self.shared.state.lock();
            state.monotonic += by;
            let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            state.wall_ms = state.wall_ms.saturating_add(ms);
            let now = state.monotonic;
            let later = state.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut state.sleepers, later)
        };
        for wake in due.into_values() {
            // A sleeper that was dropped no longer listens, which is its right.
            wake.send(()).ok();
        }
    }

    /// Steps the wall time only, as an administrator or a time daemon would.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        self.shared.state.lock().wall_ms = wall_ms;
    }

    /// How many sleeps are waiting now; dropped ones do not count.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        let mut state = self.shared.state.lock();
        state.sleepers.retain(|_, wake| !wake.is_closed());
        state.sleepers.len()
    }

    /// Completes once at least `count` sleeps are waiting: then it is safe to advance.
    pub async fn wait_for_sleepers(&self, count: usize) {
        let mut arrivals = self.shared.arrivals.subscribe();
        while self.sleepers() < count {
            arrivals.changed().await.expect("the sender lives in this clock");
        }
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.shared.state.lock().wall_ms
    }

    fn monotonic(&self) -> Duration {
        self.shared.state.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        {
            let mut state = self.shared.state.lock();
            let key = (state.monotonic + duration, state.next_id);
            state.next_id += 1;
            state.sleepers.insert(key, wake);
        }
        self.shared.arrivals.send_modify(|count| *count += 1);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if woken.await.is_err() {
                unreachable!("a sleeper is only removed to be woken");
            }
            // Held so that the clock outlives its sleepers.
            drop(shared);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_deadline_is_reached_and_not_before() {
        let clock = ManualClock::new(1_000);
        let mut sleep = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_millis(1_999));
        assert!(futures_poll(&mut sleep).await.is_none());
        clock.advance(Duration::from_millis(1));
        sleep.await;
        assert_eq!(clock.now_ms(), 3_000);
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_not_counted() {
        let clock = ManualClock::new(0);
        let kept = clock.sleep(Duration::from_secs(1));
        drop(clock.sleep(Duration::from_secs(1)));
        clock.wait_for_sleepers(1).await;
        assert_eq!(clock.sleepers(), 1);
        clock.advance(Duration::from_secs(1));
        kept.await;
    }

    #[tokio::test]
    async fn a_timeout_gives_up_on_time_and_lets_the_future_win_a_tie() {
        let clock = ManualClock::new(0);
        let never = timeout(&clock, Duration::from_secs(1), std::future::pending::<()>());
        let (outcome, ()) = tokio::join!(never, async {
            clock.wait_for_sleepers(1).await;
            clock.advance(Duration::from_secs(1));
        });
        assert_eq!(outcome, Err(Elapsed(Duration::from_secs(1))));
        assert_eq!(timeout(&clock, Duration::ZERO, async { 7 }).await, Ok(7));
    }

    #[test]
    fn the_wall_may_step_back_while_monotonic_time_does_not() {
        let clock = ManualClock::new(5_000);
        clock.advance(Duration::from_secs(1));
        clock.set_wall_ms(10);
        assert_eq!((clock.now_ms(), clock.monotonic()), (10, Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn the_system_clock_moves_while_it_sleeps() {
        let clock = SystemClock::new();
        let before = clock.monotonic();
        clock.sleep(Duration::from_millis(2)).await;
        assert!(clock.monotonic() >= before + Duration::from_millis(2));
        assert!(clock.now_ms() > 1_600_000_000_000);
    }

    /// Polls once.
    async fn futures_poll(sleep: &mut Sleep) -> Option<()> {
        std::future::poll_fn(|cx| match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(())),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
