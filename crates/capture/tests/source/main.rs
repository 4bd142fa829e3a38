//! Capture on real sources: what stands in the journal afterwards, and what the source sees of us.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test panics where something is not as it should be"
)]

mod access;
mod applier;
mod aside;
mod beside;
mod follow;
mod large;
mod link;
mod resume;
mod running;
mod same;
mod scripts;
mod snapshot;
mod stall;
mod throttle;
