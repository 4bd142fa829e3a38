//! Applying to real servers, from a journal in memory.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that indexes past the end fails, as it should"
)]

mod access;
mod apart;
mod basics;
mod conditions;
mod crash;
mod crowd;
mod databases;
mod expiry;
mod feed;
mod functions;
mod harness;
mod images;
mod imports;
mod modules;
mod neighbours;
mod quarantine;
mod refusals;
mod replay;
mod resync;
mod retry;
mod retry_many;
mod shards;
mod sizes;
mod standing;
mod throttle;
mod tracks;
mod unordered;
