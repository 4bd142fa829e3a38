//! Keys that are set aside: one that cannot be written never stops the rest, and is never dropped silently.
//!
//! A key whose change the destination refused is *held*: its later changes become dead letters too, in order, as do
//! changes that need its value, until one replaces it as a whole. The set of held keys is kept at the destination
//! beside the checkpoint and changes in the same atomic step; a letter is durable before the checkpoint that passes it.

pub(crate) mod letters;
pub(crate) mod notices;
pub(crate) mod set;
pub(crate) mod shelf;
pub(crate) mod store;
pub(crate) mod suspects;

use bytes::Bytes;
use event::{Position, Shard};

pub use self::letters::Reading;
pub use self::shelf::{Answer, Ask, HeldKey, Lanes, Shelf, Suspect};

/// A change that was not applied, on its way to the journal of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// Where it stands in the source's history.
    pub position: Position,
    /// The encoded event.
    pub record: Bytes,
    /// Which change of a group; 0 otherwise.
    pub change: u32,
    /// Database of the destination; [`set::Spot::LIBRARIES`]: the keys are names of libraries.
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
        let Position { shard, epoch, offset, index } = self.position;
        format!("{}:{epoch}:{offset}:{index} {}", shard.0, self.why).into()
    }
}

/// What the note of a key ends with once databases were exchanged.
const MOVED: &[u8] = b" (moved by SWAPDB since)";

/// The note of a key that goes to another database: the changes that are kept for it are filed under more than one from
/// here on.
pub(crate) fn moved(note: &Bytes) -> Bytes {
    if was_moved(note) { note.clone() } else { Bytes::from([note, MOVED].concat()) }
}

/// Whether a key has gone to another database since it was set aside.
pub(crate) fn was_moved(note: &[u8]) -> bool {
    note.ends_with(MOVED)
}

/// What the reason begins with where nothing is kept of the changes of a key.
pub(crate) const LEFT_OUT: &str = "left out: ";

/// Why nothing is kept of the changes of a key, if its note says so.
pub(crate) fn left_out(note: &[u8]) -> Option<&str> {
    let note = note.strip_suffix(MOVED).unwrap_or(note);
    let (_, why) = std::str::from_utf8(note).ok()?.split_once(' ')?;
    why.strip_prefix(LEFT_OUT)
}

/// The place in a note.
pub(crate) fn place_in(note: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(note.split(|byte| *byte == b' ').next()?).ok()?;
    let mut numbers = text.split(':').map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    Some(Position {
        shard: Shard(u32::try_from(number()?).ok()?),
        epoch: number()?,
        offset: number()?,
        index: number()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_tells_where_a_key_was_set_aside() {
        let position =
            Position { shard: Shard(3), epoch: 4, offset: 5, index: Position::LAST_INDEX };
        let draft = Draft {
            position,
            record: Bytes::new(),
            change: 0,
            db: 0,
            keys: Vec::new(),
            why: "WRONGTYPE a b".into(),
        };
        assert_eq!(place_in(&draft.note()), Some(position));
        assert!(draft.note().ends_with(b" WRONGTYPE a b"));
        assert_eq!(place_in(b"nonsense"), None);
        assert_eq!(place_in(b"1:2:3"), None);
    }
}
