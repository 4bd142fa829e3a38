//! Applying to real servers, from a journal in memory.

mod basics;
mod feed;
mod harness;
