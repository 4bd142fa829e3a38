//! HTTP over the status tree: metrics, health, status, and orders to a service that runs.
//!
//! Guarantees: whatever asks, however slowly and however often, takes a bounded share of memory, time and connections;
//! orders are taken only with the token; no answer holds a secret, since the status tree has none and the token is
//! never said. It knows a service by its status tree, its [`Control`]s and whether it is ready, and nothing else.

mod answer;
mod control;
pub mod metrics;
mod orders;
mod server;

pub use control::Control;
pub use server::{Admin, BindError, Parts, Readiness};
