//! What is noted about a stream beside it: what it is, who writes it, where its writers began.
//!
//! Notes are JSON records of a compacted topic of one partition, so their order is the same for everybody. The newest
//! note of a key replaces the older ones, but for `stream`, where the first counts: two that make a stream at the
//! same moment agree on it that way. [`State`] is what follows from reading them in order. Pure; no I/O.

use serde::{Deserialize, Serialize};

use super::fences::{Fence, Fences};

/// The form of the notes and of the records' headers. Raised when older builds would misread them.
pub(super) const FORMAT: u32 = 1;

/// The key of [`StreamNote`].
pub(super) const STREAM_KEY: &str = "stream";
/// The key of [`LeaseNote`].
pub(super) const LEASE_KEY: &str = "lease";
/// What keys of a [`FenceNote`] begin with; its writer's number follows.
pub(super) const FENCE_KEY: &str = "fence/";

/// What the stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamNote {
    pub(super) format: u32,
    #[serde(default)]
    pub(super) stream: String,
    #[serde(default)]
    pub(super) partitions: u16,
    #[serde(default)]
    pub(super) incarnation: u64,
    #[serde(default)]
    pub(super) placement: String,
}

/// What a writer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Says {
    /// It would like to be the one with this number: the first to say so is.
    Claim,
    /// It lives.
    Beat,
    /// It has left, with everything written.
    Release,
}

/// Who writes the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseNote {
    /// Grows with every writer.
    pub(super) number: u64,
    /// Drawn at random: tells two that claim the same number.
    pub(super) token: u64,
    /// A name for people.
    pub(super) holder: String,
    pub(super) says: Says,
}

/// Where a writer begins, and where those before it did, as it knew them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FenceNote {
    #[serde(flatten)]
    pub(super) fence: Fence,
    pub(super) before: Fences,
}

/// What follows from the notes so far.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) stream: Option<StreamNote>,
    pub(super) lease: Option<LeaseNote>,
    pub(super) fences: Fences,
    /// Notes about the lease that count, so far: a new one means that somebody lives.
    pub(super) signs: u64,
    /// Notes that could not be understood.
    pub(super) strange: u64,
}

// === impl State ===

impl State {
    /// Takes in the next note.
    pub(super) fn note(&mut self, key: &[u8], value: &[u8]) {
        let understood = match std::str::from_utf8(key) {
            Ok(STREAM_KEY) => parse(value).map(|note| {
                self.stream.get_or_insert(note);
            }),
            Ok(LEASE_KEY) => parse(value).map(|note| self.lease_note(note)),
            Ok(key) if key.starts_with(FENCE_KEY) => parse(value).map(|note| self.fence_note(note)),
            _ => None,
        };
        if understood.is_none() {
            self.strange += 1;
        }
    }

    fn lease_note(&mut self, note: LeaseNote) {
        let counts = match &self.lease {
            None => true,
            Some(lease) if note.number != lease.number => note.number > lease.number,
            // Of two that claim a number the first has it; but only who has it goes on to beat.
            Some(lease) => note.token == lease.token || note.says != Says::Claim,
        };
        if counts {
            self.signs += 1;
            self.lease = Some(note);
        }
    }

    fn fence_note(&mut self, note: FenceNote) {
        let claimed = self.lease.as_ref().map_or(0, |lease| lease.number);
        let FenceNote { fence, before } = note;
        // A writer that was overtaken before it had begun has not begun.
        if fence.lease >= claimed && fence.lease > self.fences.newest() {
            self.fences = before;
            self.fences.add(fence);
        }
    }

    /// Whether the lease is that of the given claim.
    pub(super) fn is_held_by(&self, number: u64, token: u64) -> bool {
        let held = self.lease.as_ref().map(|lease| (lease.number, lease.token));
        held == Some((number, token))
    }

    /// Whether somebody with a higher number has claimed the stream.
    pub(super) fn is_overtaken(&self, number: u64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.number > number)
    }

    /// The number of a writer that has claimed the stream and not begun yet.
    pub(super) fn beginning(&self) -> Option<u64> {
        let lease = self.lease.as_ref().filter(|lease| lease.says != Says::Release)?;
        (lease.number > self.fences.newest()).then_some(lease.number)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: u64, token: u64, says: Says) -> Vec<u8> {
        serde_json::to_vec(&LeaseNote { number, token, holder: format!("h{token}"), says }).unwrap()
    }

    fn fence(lease: u64, at: u64, before: Fences) -> Vec<u8> {
        serde_json::to_vec(&FenceNote { fence: Fence { lease, at: vec![at] }, before }).unwrap()
    }

    fn after(notes: &[(&str, Vec<u8>)]) -> State {
        let mut state = State::default();
        for (key, value) in notes {
            state.note(key.as_bytes(), value);
        }
        assert_eq!(state.strange, 0);
        state
    }

    #[test]
    fn the_first_claim_of_a_number_wins() {
        let mut notes =
            vec![("lease", lease(1, 10, Says::Claim)), ("lease", lease(1, 11, Says::Claim))];
        assert!(after(&notes).is_held_by(1, 10));
        notes.push(("lease", lease(2, 11, Says::Claim)));
        let state = after(&notes);
        assert!(state.is_held_by(2, 11) && state.is_overtaken(1) && !state.is_overtaken(2));
        notes.push(("lease", lease(1, 10, Says::Beat)));
        assert!(after(&notes).is_held_by(2, 11), "who was overtaken is not heard");
    }

    #[test]
    fn a_beat_shows_who_had_won_where_the_claim_is_compacted_away() {
        let notes = [("lease", lease(1, 11, Says::Claim)), ("lease", lease(1, 10, Says::Beat))];
        assert!(after(&notes).is_held_by(1, 10));
    }

    #[test]
    fn a_writer_that_was_overtaken_before_it_began_has_not_begun() {
        let mut first = Fences::default();
        first.add(Fence { lease: 1, at: vec![0] });
        let mut notes = vec![
            ("lease", lease(1, 1, Says::Claim)),
            ("fence/1", fence(1, 0, Fences::default())),
            ("lease", lease(2, 2, Says::Claim)),
        ];
        assert_eq!(after(&notes).beginning(), Some(2));
        notes.push(("lease", lease(3, 3, Says::Claim)));
        notes.push(("fence/2", fence(2, 5, first.clone())));
        let state = after(&notes);
        assert_eq!((state.fences.clone(), state.beginning()), (first.clone(), Some(3)));
        notes.push(("fence/3", fence(3, 7, first)));
        let state = after(&notes);
        assert_eq!((state.fences.newest(), state.beginning()), (3, None));
    }

    #[test]
    fn what_is_not_understood_is_counted() {
        let mut state = State::default();
        state.note(b"stream", b"{");
        state.note(b"weather", b"{}");
        assert_eq!(state.strange, 2);
        state.note(b"stream", b"{\"format\":2,\"of\":\"a newer build\"}");
        assert_eq!(state.stream.map(|note| note.format), Some(2));
    }
}
