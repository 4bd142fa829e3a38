//! Applying to real servers, from a journal in memory.

mod basics;
mod crash;
mod databases;
mod feed;
mod harness;
mod images;
mod quarantine;
mod refusals;
mod resync;
