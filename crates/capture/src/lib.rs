//! Source to journal: the snapshot and the replication stream of one shard as change events.
//!
//! Guarantees: every change of the source from the snapshot on is in the journal, in the source's
//! order, with the position that makes it recognisable; the link's socket is drained whatever
//! happens behind it, within the spool's bounds; the source is told to have delivered only what the
//! journal holds durably; a restart goes on from the journal's own tail. It never reads the journal
//! except to resume, and knows nothing of who reads it.
//!
//! ```text
//!  source ──► intake ──pieces──► spool ──► session ──events──► outlet ──► journal
//!    ▲   ◄─acks─┘ ◄───────── durable offset ──────────────────────┘
//!    └── heartbeat
//! ```

mod beside;
mod config;
mod describe;
mod error;
mod heartbeat;
mod inflow;
mod intake;
mod limits;
mod looks;
mod orders;
mod outlet;
mod owned;
mod parts;
mod piece;
mod progress;
mod reach;
mod requests;
mod resume;
mod room;
mod service;
mod session;
mod snapshot;
mod source;
mod spool;
mod stamps;
#[cfg(test)]
mod testing;
mod translate;

pub use config::{Config, Problem, SHARD_MAX, Unsupported};
pub use error::{
    BuildError, Error, ForeignSlot, IntakeError, OutletError, ResumeError, SessionError,
    SlotsError, SnapshotError,
};
pub use orders::{SnapshotOrder, SnapshotsMade, TransferCause, TransferOrder};
pub use service::{Capture, Parts, Summary};
pub use spool::{SpoolConfig, SpoolError};
pub use translate::TranslateError;
