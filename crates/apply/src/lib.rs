//! Journal to destination, exactly once.
//!
//! A *lane* applies a set of partitions in one order over one connection. It plans events (pure), writes them in atomic
//! steps that carry their own checkpoint, and judges every reply. The crate guarantees that whatever is killed and
//! when, every change of the journal takes effect once, in the order of its key; that what cannot be applied is set aside
//! and reported, never dropped; and that it writes nothing outside the databases and keys of its settings.

mod apply;
mod batch;
mod checkpoint;
pub mod config;
mod deadlines;
mod doubt;
pub mod error;
mod existing;
pub mod filter;
mod import;
mod lane;
pub mod limits;
pub mod mapping;
mod marks;
mod names;
mod plan;
mod policy;
mod progress;
pub mod quarantine;
pub mod replay;
mod rights;
mod scope;
mod shift;
mod survey;
mod swap;
mod target;

pub use apply::{Apply, DeadLetters, Parts, Summary};
pub use config::{BatchLimits, Config, Existing, Inexact, Problem, Unsupported, Windows};
pub use error::{BuildError, Error};
pub use lane::{Reached, Stopped};
