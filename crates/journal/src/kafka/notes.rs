//! What is noted about a stream beside it: what it is, who writes it, where its writers began.
//!
//! Notes are JSON records of a compacted topic of one partition, so their order is the same for everybody. The newest
//! note of a key replaces the older ones, but for `stream`, where the first counts: two that make a stream at the
//! same moment agree on it that way. Each of the writers side by side has a lease and fences of its own. [`State`] is what
//! follows from reading them in order. Pure; no I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fences::{Fence, Fences, Verdict, writer_of};
use crate::Writer;

/// The form of the notes and of the records' headers. Raised when older builds would misread them.
pub(super) const FORMAT: u32 = 1;

/// The key of [`StreamNote`].
pub(super) const STREAM_KEY: &str = "stream";
/// The key of a [`LeaseNote`] of the first writer.
const LEASE_KEY: &str = "lease";
/// What keys of a [`LeaseNote`] of another one begin with; which one follows.
const LEASES_KEY: &str = "lease/";
/// What keys of a [`FenceNote`] of the first writer begin with; its holder's number follows.
const FENCE_KEY: &str = "fence/";
/// What those of another one begin with; which one follows, and its holder's number. A build that knows of one writer only
/// takes all keys of the former kind for its own: it would void the first writer's records by them.
const FENCES_KEY: &str = "fences/";

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
    writers: BTreeMap<Writer, Seat>,
    /// Notes that could not be understood.
    pub(super) strange: u64,
}

/// What follows for one of the writers side by side.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub(super) lease: Option<LeaseNote>,
    pub(super) fences: Fences,
}

/// The key of the note about the lease of a writer.
pub(super) fn lease_key(writer: Writer) -> String {
    match writer {
        Writer::FIRST => LEASE_KEY.to_owned(),
        Writer(other) => format!("{LEASES_KEY}{other}"),
    }
}

/// The key of the note about the fence of a holder.
pub(super) fn fence_key(lease: u64) -> String {
    match writer_of(lease) {
        Some(Writer(other)) if other > 0 => format!("{FENCES_KEY}{other}/{lease}"),
        _ => format!("{FENCE_KEY}{lease}"),
    }
}

// === impl State ===

impl State {
    /// Takes in the next note. Gives the writer of which it tells that its holder lives.
    pub(super) fn note(&mut self, key: &[u8], value: &[u8]) -> Option<Writer> {
        let key = std::str::from_utf8(key).unwrap_or_default();
        let noted = if key == STREAM_KEY {
            parse(value).map(|note| {
                self.stream.get_or_insert(note);
                None
            })
        } else if key == LEASE_KEY || key.starts_with(LEASES_KEY) {
            parse(value).and_then(|note: LeaseNote| {
                let writer = writer_of(note.number)?;
                Some(self.seat_of(writer).lease_note(note).then_some(writer))
            })
        } else if key.starts_with(FENCE_KEY) || key.starts_with(FENCES_KEY) {
            parse(value).and_then(|note: FenceNote| {
                self.seat_of(writer_of(note.fence.lease)?).fence_note(note);
                Some(None)
            })
        } else {
            None
        };
        if noted.is_none() {
            self.strange += 1;
        }
        noted.flatten()
    }

    fn seat_of(&mut self, writer: Writer) -> &mut Seat {
        self.writers.entry(writer).or_default()
    }

    /// One of the writers, if anybody ever was.
    pub(super) fn seat(&self, writer: Writer) -> Option<&Seat> {
        self.writers.get(&writer)
    }

    /// All of them that ever were.
    pub(super) fn seats(&self) -> impl Iterator<Item = (Writer, &Seat)> {
        self.writers.iter().map(|(writer, seat)| (*writer, seat))
    }

    /// The seat that a number is of.
    fn seat_with(&self, lease: u64) -> Option<&Seat> {
        writer_of(lease).and_then(|writer| self.seat(writer))
    }

    /// What becomes of a record of a holder at a place.
    pub(super) fn verdict(&self, partition: usize, offset: u64, lease: u64) -> Verdict {
        match self.seat_with(lease) {
            Some(seat) => seat.fences.verdict(partition, offset, lease),
            None => Fences::default().verdict(partition, offset, lease),
        }
    }

    /// Whether anybody's fence stands at this place.
    pub(super) fn fence_stands_at(&self, partition: usize, offset: u64) -> bool {
        self.writers.values().any(|seat| seat.fences.stands_at(partition, offset))
    }

    /// Whether a holder with this number, or a later one of the same writer, has begun.
    pub(super) fn has_begun(&self, lease: u64) -> bool {
        self.seat_with(lease).is_some_and(|seat| seat.fences.newest() >= lease)
    }

    /// Whether the lease is that of the given claim.
    pub(super) fn is_held_by(&self, number: u64, token: u64) -> bool {
        let lease = self.seat_with(number).and_then(|seat| seat.lease.as_ref());
        lease.is_some_and(|lease| (lease.number, lease.token) == (number, token))
    }

    /// Whether somebody with a higher number has claimed the same writer.
    pub(super) fn is_overtaken(&self, number: u64) -> bool {
        let lease = self.seat_with(number).and_then(|seat| seat.lease.as_ref());
        lease.is_some_and(|lease| lease.number > number)
    }

    /// The writers that somebody has claimed and not begun with yet.
    pub(super) fn beginning(&self) -> impl Iterator<Item = Writer> {
        self.seats().filter(|(_, seat)| seat.beginning().is_some()).map(|(writer, _)| writer)
    }
}

// === impl Seat ===

impl Seat {
    /// Takes in a note about the lease. Says whether it counts.
    fn lease_note(&mut self, note: LeaseNote) -> bool {
        let counts = match &self.lease {
            None => true,
            Some(lease) if note.number != lease.number => note.number > lease.number,
            // Of two that claim a number the first has it; but only who has it goes on to beat.
            Some(lease) => note.token == lease.token || note.says != Says::Claim,
        };
        if counts {
            self.lease = Some(note);
        }
        counts
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

    /// The number of a holder that has claimed the writer and not begun yet.
    fn beginning(&self) -> Option<u64> {
        let lease = self.lease.as_ref().filter(|lease| lease.says != Says::Release)?;
        (lease.number > self.fences.newest()).then_some(lease.number)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::super::fences::before_first_of;
    use super::*;

    fn lease(number: u64, token: u64, says: Says) -> Vec<u8> {
        serde_json::to_vec(&LeaseNote { number, token, holder: format!("h{token}"), says }).unwrap()
    }

    fn fence(lease: u64, at: u64, before: Fences) -> Vec<u8> {
        serde_json::to_vec(&FenceNote { fence: Fence { lease, at: vec![at] }, before }).unwrap()
    }

    fn first_seat(state: &State) -> Seat {
        state.seat(Writer::FIRST).cloned().unwrap()
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
        assert_eq!(first_seat(&after(&notes)).beginning(), Some(2));
        notes.push(("lease", lease(3, 3, Says::Claim)));
        notes.push(("fence/2", fence(2, 5, first.clone())));
        let seat = first_seat(&after(&notes));
        assert_eq!((seat.fences.clone(), seat.beginning()), (first.clone(), Some(3)));
        notes.push(("fence/3", fence(3, 7, first)));
        let seat = first_seat(&after(&notes));
        assert_eq!((seat.fences.newest(), seat.beginning()), (3, None));
    }

    #[test]
    fn writers_side_by_side_have_leases_and_fences_of_their_own() {
        let other = Writer(3);
        let number = |n: u64| before_first_of(other) + n;
        let (mine, next) = (fence_key(number(1)), fence_key(number(2)));
        let mut before = Fences::default();
        before.add(Fence { lease: number(1), at: vec![4] });
        let mut notes = vec![
            ("lease", lease(1, 1, Says::Claim)),
            ("fence/1", fence(1, 2, Fences::default())),
            ("lease/3", lease(number(1), 8, Says::Claim)),
        ];
        let state = after(&notes);
        assert!(state.is_held_by(1, 1) && state.is_held_by(number(1), 8));
        assert_eq!(state.beginning().collect::<Vec<_>>(), [other]);
        assert_eq!(state.verdict(0, 9, number(1)), Verdict::Unknown);
        notes.push((&mine, fence(number(1), 4, Fences::default())));
        notes.push(("lease/3", lease(number(2), 9, Says::Claim)));
        notes.push((&next, fence(number(2), 7, before)));
        let state = after(&notes);
        assert!(!state.is_overtaken(1) && state.is_overtaken(number(1)));
        assert_eq!(state.beginning().count(), 0);
        for (offset, lease, verdict) in [
            (3, 1, Verdict::Counts),
            (9, 1, Verdict::Counts),
            (5, number(1), Verdict::Counts),
            (9, number(1), Verdict::Void),
            (9, number(2), Verdict::Counts),
            (9, number(3), Verdict::Unknown),
            (9, before_first_of(Writer(4)) + 1, Verdict::Unknown),
            (9, 2, Verdict::Unknown),
        ] {
            assert_eq!(state.verdict(0, offset, lease), verdict, "{offset} of {lease}");
        }
        let stands = [2, 4, 7, 8].map(|offset| state.fence_stands_at(0, offset));
        assert_eq!(stands, [true, true, true, false]);
    }

    /// What a build made of notes that knows of one writer only.
    #[test]
    fn who_knows_of_one_writer_only_takes_nothing_of_another_for_its_own() {
        let number = before_first_of(Writer(3)) + 1;
        let keys = [lease_key(Writer(3)), fence_key(number)];
        let is_taken =
            |key: &String| key == "stream" || key == "lease" || key.starts_with("fence/");
        assert_eq!(keys.iter().filter(|key| is_taken(key)).count(), 0, "{keys:?}");
        let own = [lease_key(Writer::FIRST), fence_key(7)];
        assert_eq!(own, ["lease", "fence/7"], "what is on topics that exist");
        // So it waits for what it never hears of, and stops with its number.
        let mut fences = Fences::default();
        fences.add(Fence { lease: 7, at: vec![0] });
        assert_eq!(fences.verdict(0, 5, number), Verdict::Unknown);
    }

    #[test]
    fn a_sign_of_life_is_of_one_writer() {
        let mut state = State::default();
        let number = before_first_of(Writer(3)) + 1;
        let claim = lease(number, 8, Says::Claim);
        assert_eq!(state.note(b"lease/3", &claim), Some(Writer(3)));
        assert_eq!(state.note(b"lease", &lease(1, 1, Says::Claim)), Some(Writer::FIRST));
        assert_eq!(state.note(b"lease/3", &lease(number, 9, Says::Claim)), None, "it came later");
        let key = fence_key(number);
        assert_eq!(state.note(key.as_bytes(), &fence(number, 0, Fences::default())), None);
        assert_eq!(state.strange, 0);
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
