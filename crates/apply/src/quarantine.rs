//! Keys that are set aside: one that cannot be written never stops the rest, and is never dropped silently.
//!
//! A key whose change the destination refused is *held*: its later changes become dead letters too, in order, as do
//! changes that need its value, until one replaces it as a whole. The set of held keys is kept at the destination
//! beside the checkpoint and changes in the same atomic step; a letter is durable before the checkpoint that passes it.

pub(crate) mod letters;
pub(crate) mod set;

use bytes::Bytes;
use event::Position;

/// A change that was not applied, on its way to the journal of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Where it stands in the source's history.
    pub position: Position,
    /// The encoded event.
    pub record: Bytes,
    /// Which change of a group; 0 otherwise.
    pub change: u32,
    /// Database of the destination.
    pub db: u32,
    /// The keys that it leaves in an unknown state.
    pub keys: Vec<Bytes>,
    /// Why it was not applied.
    pub why: String,
}

// === impl Draft ===

impl Draft {
    /// What is stored beside a held key: where it began and why.
    pub(crate) fn note(&self) -> Bytes {
        format!("{} {}", self.position, self.why).into()
    }
}
