//! Keys of which nobody knows whether a change of theirs was executed, listed at the destination until an operator
//! has looked at them, or a resync has written them anew. Pure.
//!
//! The list is bounded; what does not fit is counted. It changes in the same atomic step as the checkpoint that passes
//! the doubt.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::set::Spot;
use crate::doubt::evidence::Evidence;
use crate::limits;
use crate::swap::Swap;

/// What the list at the destination says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suspects {
    keys: BTreeMap<Spot, Bytes>,
    more: u64,
}

/// A key that a batch is going to put on the list, unless the destination shows that nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspected {
    /// Which.
    pub(crate) spot: Spot,
    /// What it shows then; none: there is nothing that would.
    pub(crate) evidence: Option<Evidence>,
}

/// The field that counts what is not listed. No key has it: those begin with a number.
pub(crate) const MORE: &[u8] = b"more";

/// How many keys the status and the log name.
const SHOWN: usize = 10;

// === impl Suspects ===

impl Suspects {
    /// Reads the fields of the list.
    pub(crate) fn read(fields: impl IntoIterator<Item = (Bytes, Bytes)>) -> Self {
        let mut suspects = Self::default();
        for (field, value) in fields {
            if let Some(spot) = Spot::parse(&field) {
                suspects.keys.insert(spot, value);
            } else if field == MORE {
                let count = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                suspects.more += count.unwrap_or(0u64);
            }
        }
        suspects
    }

    /// The fields as they are stored.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        let more = (self.more > 0).then(|| (MORE.into(), self.more.to_string().into()));
        self.keys.iter().map(|(spot, why)| (spot.field(), why.clone())).chain(more)
    }

    /// Adds a key. Gives the field that has to be stored for it, if any.
    pub(crate) fn add(&mut self, spot: Spot, why: &Bytes) -> Option<(Bytes, Bytes)> {
        if self.keys.contains_key(&spot) {
            return None;
        }
        if self.keys.len() >= limits::SUSPECT_KEYS {
            self.more += 1;
            return Some((MORE.into(), self.more.to_string().into()));
        }
        let field = spot.field();
        self.keys.insert(spot, why.clone());
        Some((field, why.clone()))
    }

    /// Two databases are exchanged. Gives the keys of both that are listed, as they stood before.
    pub(crate) fn exchange(&mut self, (first, second): (u32, u32)) -> Vec<Spot> {
        let swap = Swap::between(first, second);
        let moved: Vec<_> = self.keys.extract_if(.., |spot, _| swap.moves(spot.db)).collect();
        for (spot, why) in &moved {
            let spot = Spot { db: swap.follow(spot.db), key: spot.key.clone() };
            self.keys.insert(spot, why.clone());
        }
        moved.into_iter().map(|(spot, _)| spot).collect()
    }

    /// Keeps only these; with the last key those go, too, that are only counted.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&Spot) -> bool) {
        self.keys.retain(|spot, _| keeps(spot));
        if self.keys.is_empty() {
            self.more = 0;
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.more == 0
    }

    /// How many there are, also those that are not listed.
    pub(crate) fn count(&self) -> u64 {
        self.more.saturating_add(self.keys.len() as u64)
    }

    /// How many are not listed.
    pub(crate) fn more(&self) -> u64 {
        self.more
    }

    /// Those that are listed, by database and key, and why.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Spot, &Bytes)> {
        self.keys.iter()
    }

    /// The first of them for a person, and how many follow.
    pub(crate) fn shown(&self) -> String {
        let names: Vec<String> = self.keys.keys().take(SHOWN).map(Spot::to_string).collect();
        let rest = self.count().saturating_sub(names.len() as u64);
        match rest {
            0 => names.join(", "),
            rest => format!("{} and {rest} more", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(number: usize) -> Spot {
        Spot { db: 3, key: format!("key {number:05}").into() }
    }

    #[test]
    fn suspects_go_along_when_databases_are_exchanged() {
        let (mut suspects, why) = (Suspects::default(), Bytes::from_static(b"at 0:1:2"));
        let at = |db| Spot { db, ..spot(1) };
        for db in [0, 3, 5] {
            suspects.add(at(db), &why);
        }
        assert_eq!(suspects.exchange((3, 7)), [at(3)]);
        assert_eq!(suspects.exchange((7, 5)), [at(5), at(7)]);
        assert_eq!(suspects.exchange((1, 2)), []);
        assert_eq!(suspects.iter().map(|(spot, _)| spot.db).collect::<Vec<_>>(), [0, 5, 7]);
        assert_eq!(suspects.exchange((0, 9)), [at(0)]);
    }

    #[test]
    fn what_is_stored_reads_back_and_is_bounded() {
        let (mut suspects, why) = (Suspects::default(), Bytes::from_static(b"at 0:1:2"));
        assert!(suspects.is_empty());
        for number in 0..limits::SUSPECT_KEYS {
            let stored = suspects.add(spot(number), &why);
            assert_eq!(stored, Some((spot(number).field(), why.clone())));
            assert_eq!(suspects.add(spot(number), &why), None);
        }
        assert_eq!(suspects.add(spot(50_000), &why).map(|(field, _)| field), Some(MORE.into()));
        assert_eq!(suspects.add(spot(50_001), &why).map(|(_, count)| count), Some("2".into()));
        assert_eq!(Suspects::read(suspects.fields()), suspects);
        assert_eq!(suspects.count(), limits::SUSPECT_KEYS as u64 + 2);
        let shown = suspects.shown();
        assert!(shown.starts_with("db 3 \"key 00000\", ") && shown.ends_with(" more"), "{shown}");
    }
}
