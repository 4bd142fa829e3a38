//! The binary end to end: real sources, real destinations, kills, stalls and wrong use.

#![expect(
    clippy::print_stdout,
    reason = "what a test prints is shown when it fails, and how to replay it"
)]

mod asking;
mod bridge;
mod choice;
mod commands;
mod crash;
mod disk;
mod endings;
mod expiry;
mod flush;
mod long_keys;
mod matrix;
mod memory;
mod modules;
mod operate;
mod origin;
mod pause;
mod quarantine;
mod refusals;
mod replay;
mod resnapshot;
mod resync;
mod scripts;
mod secure;
mod single;
mod standstill;
mod status;
mod tail;
