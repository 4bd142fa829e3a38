//! What tests stand on: real servers, a client, a judge that compares data sets, a source of writes,
//! and the keyferry binary as a child process.
//!
//! It uses no other crate of the project: what judges must not share code with what is judged.
//! Everything here may block, and everything it starts ends with the test.

mod client;
mod cluster;
pub mod dataset;
mod deadline;
pub mod examples;
pub mod http;
pub mod kafka;
mod kind;
mod port;
mod process;
mod relay;
mod seed;
mod server;
mod since;
mod spawn;
mod tls;
mod value;
mod words;
pub mod workload;

pub use client::{Client, Command, abridged, command};
pub use cluster::Cluster;
pub use dataset::{Dataset, Difference, Tolerance, assert_same, compare};
pub use deadline::{Deadline, eventually, now_ms};
pub use kind::Kind;
pub use port::free as free_port;
pub use process::{Process, binary as keyferry_binary};
pub use relay::{Relay, Then, Turn};
pub use seed::{seed, seed_or};
pub use server::Server;
pub use tls::{ServerCert, TlsFiles};
pub use value::Value;
pub use workload::Workload;

/// Signals for [`Process::signal`].
pub use rustix::process::Signal;
