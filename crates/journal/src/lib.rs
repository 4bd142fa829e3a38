//! An ordered, durable, partitioned log of opaque records behind one small trait.
//!
//! The crate does not know what a record means. It guarantees, on every backend:
//! - **Order.** Records of one partition are read in the order in which they were appended, each
//!   with an offset greater than the one before. A backend that is `totally_ordered` also returns
//!   records of different partitions in append order when one reader reads them together.
//! - **Accepted, then durable.** [`Appender::append`] returns when the records are accepted: readers
//!   will see them, a crash may still take them. [`Appender::durable`] tells up to which receipt
//!   they survive a crash.
//! - **A crash takes a suffix.** What is lost is always the newest accepted part, never something
//!   in the middle.
//! - **One writer.** A second appender of the same stream is refused, or fences the first; two never
//!   interleave. A backend may let several write side by side ([`Journal::appender_of`]): then this holds of each.
//! - **Nothing vanishes unasked.** Retention stays behind what every named reader has released.
//!
//! ```text
//!   start            durable        end
//!     │ readable        │ readable   │
//!     ▼                 ▼            ▼
//!   [ 17 18 19 20 21 22 23 24 25 26 ]   offsets of one partition; `end` is the next one to be given
//! ```

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod error;
mod journal;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod local;
mod mailbox;
mod member;
mod memory;
mod record;

pub use error::{AppendError, OpenError, ReadError};
pub use journal::{
    Appender, Description, Health, Journal, PartitionRange, ReadLimit, Reader, ReaderProgress,
};
pub use mailbox::{Listener, MAX_REQUEST_BYTES, Mailbox};
pub use member::{Assignment, Membership};
pub use memory::MemoryJournal;
pub use record::{Append, Entry, Offset, Partition, Receipt, Writer};
