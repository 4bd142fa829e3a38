//! Never more than the rate, a burst and one item; awake at once after a change.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::random::Random;

fn limits(rows: u64, bytes: u64) -> Limits {
    Limits { full: Rate { rows, bytes }, ..Limits::default() }
}

fn gate(throttle: &Throttle, clock: &ManualClock) -> Gate {
    throttle.gate(Arc::new(clock.clone()))
}

fn rows(count: u64) -> Rate {
    Rate { rows: count, bytes: 0 }
}

/// Whether a wait is over.
async fn is_over(wait: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *wait).poll(cx).is_ready())
    })
    .await
}

/// Lets pass what it can at random moments for a while, in pieces of at most `largest`; per moment (ns), what passed.
fn passed(random: &mut Random, rate: u64, largest: u64) -> Vec<(u64, u64)> {
    let clock = ManualClock::new(0);
    let throttle = Throttle::new(limits(rate, 0));
    let gates = [gate(&throttle, &clock), gate(&throttle, &clock)];
    let mut passed = Vec::new();
    for _ in 0..400 {
        let chosen = usize::try_from(random.below(2)).unwrap();
        let gate = &gates[chosen];
        if gate.hold(Flow::Full).is_none() {
            let items = 1 + random.below(gate.room(Flow::Full).rows.min(largest));
            let items = items.max(if random.chance(0.1) { largest } else { 1 });
            gate.took(Flow::Full, rows(items));
            let now = u64::try_from(clock.monotonic().as_nanos()).unwrap();
            passed.push((now, items));
        }
        let most_ns = 3_000_000_000 / rate.clamp(1, 1_000);
        clock.advance(Duration::from_nanos(random.below(most_ns)));
    }
    passed
}

#[test]
fn in_no_stretch_of_time_more_passes_than_rate_burst_and_what_passed_last() {
    for seed in 0..60 {
        let mut random = Random::from_seed(seed);
        let rate = [1, 7, 100, 12_345, 5_000_000][usize::try_from(random.below(5)).unwrap()];
        let largest = 1 + random.below(rate * 2);
        let passed = passed(&mut random, rate, largest);
        let burst = u128::from(rate / 10).max(1);
        for (index, (from, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (at, items) in &passed[index..] {
                let nanos = u128::from(at - from);
                let may = u128::from(rate) * nanos / 1_000_000_000 + burst + 1;
                assert!(sum <= may, "seed {seed}, rate {rate}: {sum} of {may} in {nanos} ns");
                sum += u128::from(*items);
            }
        }
    }
}

#[tokio::test]
async fn whoever_always_takes_what_there_is_room_for_gets_the_rate() {
    for rate in [1, 3, 50, 999, 1_000_000] {
        let clock = ManualClock::new(0);
        let throttle = Throttle::new(limits(rate, 0));
        let mut gate = gate(&throttle, &clock);
        let mut sum = 0;
        while clock.monotonic() < Duration::from_secs(20) {
            let opened = gate.opened(Flow::Full);
            let advance = async {
                // Nobody waits where something may pass.
                loop {
                    tokio::task::yield_now().await;
                    clock.advance(Duration::from_millis(5));
                }
            };
            tokio::select! { biased; () = opened => {}, () = advance => {} }
            let room = gate.room(Flow::Full).rows;
            gate.took(Flow::Full, rows(room));
            sum += room;
        }
        let expected = rate * 20;
        assert!(sum.abs_diff(expected) <= 2 + expected / 50, "{rate}/s: {sum} in 20 s");
    }
}

#[tokio::test]
async fn a_large_item_passes_once_and_is_paid_for_afterwards() {
    let clock = ManualClock::new(0);
    let throttle = Throttle::new(limits(0, 1_000));
    let mut gate = gate(&throttle, &clock);
    assert_eq!(gate.hold(Flow::Full), None);
    gate.took(Flow::Full, Rate { rows: 1, bytes: 10_100 });
    assert_eq!(gate.hold(Flow::Full), Some(Hold::Limit));
    let mut opened = Box::pin(gate.opened(Flow::Full));
    assert!(!is_over(&mut opened).await);
    // A burst of 100 was there; it opens again with half of one.
    clock.advance(Duration::from_millis(10_049));
    assert!(!is_over(&mut opened).await);
    clock.advance(Duration::from_millis(1));
    assert!(is_over(&mut opened).await);
}

#[tokio::test]
async fn a_change_wakes_whoever_waits() {
    let clock = ManualClock::new(0);
    let throttle = Throttle::new(limits(1, 0));
    let mut gate = gate(&throttle, &clock);
    gate.took(Flow::Full, rows(1_000_000));
    let mut opened = Box::pin(gate.opened(Flow::Full));
    assert!(!is_over(&mut opened).await);
    throttle.set_limits(limits(1_000_000, 0));
    assert!(!is_over(&mut opened).await, "what is owed stays owed");
    clock.advance(Duration::from_millis(1_050));
    assert!(is_over(&mut opened).await, "and is paid at the new rate");
    drop(opened);
    gate.took(Flow::Full, rows(1_000_000_000));
    let mut opened = Box::pin(gate.opened(Flow::Full));
    assert!(!is_over(&mut opened).await);
    throttle.set_limits(Limits::default());
    assert!(is_over(&mut opened).await, "without a limit nothing is owed");
    drop(opened);
    throttle.set_limits(limits(10, 0));
    assert_eq!(gate.hold(Flow::Full), None, "nor afterwards");
}

#[tokio::test]
async fn a_pause_holds_all_but_the_reading_and_ends_at_once() {
    let clock = ManualClock::new(0);
    let throttle = Throttle::default();
    let mut gate = gate(&throttle, &clock);
    assert!(throttle.pause() && !throttle.pause() && throttle.is_paused());
    for flow in [Flow::Full, Flow::Incremental] {
        assert_eq!(gate.hold(flow), Some(Hold::Pause));
    }
    assert_eq!(gate.hold(Flow::SourceRead), None);
    let mut opened = Box::pin(gate.opened(Flow::Incremental));
    clock.advance(Duration::from_secs(1_000_000));
    assert!(!is_over(&mut opened).await);
    throttle.set_limits(limits(5, 5));
    assert!(!is_over(&mut opened).await, "another limit does not end it");
    assert!(throttle.resume() && !throttle.resume());
    assert!(is_over(&mut opened).await);
}

#[test]
fn flows_are_limited_each_for_itself() {
    let clock = ManualClock::new(0);
    let throttle = Throttle::new(Limits {
        full: rows(10),
        incremental: Rate { rows: 0, bytes: 10 },
        source_read_bytes: 10,
    });
    let gate = gate(&throttle, &clock);
    gate.took(Flow::Full, rows(10));
    assert_eq!(gate.hold(Flow::Full), Some(Hold::Limit));
    assert_eq!((gate.hold(Flow::Incremental), gate.hold(Flow::SourceRead)), (None, None));
    gate.took(Flow::Incremental, rows(1_000));
    assert_eq!(gate.hold(Flow::Incremental), None, "rows have no limit there");
    gate.took(Flow::SourceRead, Rate { rows: 0, bytes: 11 });
    assert_eq!(gate.hold(Flow::SourceRead), Some(Hold::Limit));
}
