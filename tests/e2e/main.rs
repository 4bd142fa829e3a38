//! The binary end to end: real sources, real destinations, kills, stalls and wrong use.

mod bridge;
mod choice;
mod commands;
mod crash;
mod disk;
mod pause;
mod quarantine;
mod refusals;
mod resync;
mod secure;
mod single;
mod tail;
