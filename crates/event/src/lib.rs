//! What a change is: the events that capture writes to a journal and apply reads from it, and their
//! protobuf.
//!
//! Pure data, no I/O. The crate guarantees that an encoded event decodes to an equal one, that what
//! it cannot understand is refused by name instead of guessed, and that no encoded event exceeds
//! [`limits::MAX_EVENT_BYTES`] once it has gone through [`fragment`].

mod change;
pub mod checkpoint;
pub mod codec;
pub mod control;
pub mod fragment;
pub mod fuzzing;
pub mod group;
pub mod image;
pub mod limits;
pub mod names;
mod position;
pub mod quarantine;
pub mod request;
mod schema;
mod stamp;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;
pub mod text;

pub use change::{
    Body, COMMAND_KIND, Change, Command, Effect, Event, Group, GroupedChange, KeyArgs,
};
pub use position::{Position, Shard};
pub use schema::SCHEMA_VERSION;
pub use stamp::{Seen, Stamp};
