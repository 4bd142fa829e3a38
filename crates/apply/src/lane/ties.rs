//! Which keys that are set aside hang together, and where in the journal of dead letters theirs lie.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use journal::Offset;

use crate::quarantine::letters::Reading;
use crate::quarantine::set::Spot;

/// Which held keys hang together, since a letter is due for more than one.
#[derive(Default)]
pub(super) struct Ties {
    /// The group of each key.
    of: HashMap<Spot, usize>,
    groups: Vec<Group>,
    /// As far as the letters have been looked through; none: not at all.
    pub(super) reading: Option<Reading>,
}

/// Keys that hang together.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The keys.
    pub(super) spots: Vec<Spot>,
    /// What their letters take.
    pub(super) lot: Lot,
}

/// Letters of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lot {
    /// What they cost, in bytes.
    pub(super) weight: usize,
    /// The part of the journal in which they lie; empty: there are none.
    pub(super) part: Range<Offset>,
}

// === impl Ties ===

impl Ties {
    /// Ties keys together, by a letter that is due for them.
    pub(super) fn tie(&mut self, spots: &[Spot], letter: &Lot) {
        let mut whole: Option<usize> = None;
        for spot in spots {
            let number = self.number(spot);
            whole = Some(whole.map_or(number, |whole| self.merge(whole, number)));
        }
        if let Some(group) = whole.and_then(|whole| self.groups.get_mut(whole)) {
            group.lot.add(letter);
        }
    }

    /// The group of a key, by number; none: no letter is due for it.
    pub(super) fn group(&self, spot: &Spot) -> Option<(usize, &Group)> {
        let number = *self.of.get(spot)?;
        Some((number, self.groups.get(number)?))
    }

    /// The group of a key: a new one, if it has none.
    fn number(&mut self, spot: &Spot) -> usize {
        if let Some(number) = self.of.get(spot) {
            return *number;
        }
        // Not a part of the letter that it was read from, which would stay in memory with it.
        let spot = Spot { db: spot.db, key: Bytes::copy_from_slice(&spot.key) };
        self.of.insert(spot.clone(), self.groups.len());
        self.groups.push(Group { spots: vec![spot], lot: Lot::default() });
        self.groups.len() - 1
    }

    /// Puts the smaller of two groups into the other, and gives that.
    fn merge(&mut self, one: usize, other: usize) -> usize {
        if one == other {
            return one;
        }
        let len = |number: usize| self.groups.get(number).map_or(0, |group| group.spots.len());
        let (small, large) = if len(one) < len(other) { (one, other) } else { (other, one) };
        let moved = self.groups.get_mut(small).map(std::mem::take).unwrap_or_default();
        for spot in &moved.spots {
            self.of.insert(spot.clone(), large);
        }
        if let Some(group) = self.groups.get_mut(large) {
            group.spots.extend(moved.spots);
            group.lot.add(&moved.lot);
        }
        large
    }
}

// === impl Lot ===

impl Lot {
    /// Puts others to these.
    pub(super) fn add(&mut self, other: &Self) {
        self.weight += other.weight;
        self.part = match (self.part.is_empty(), other.part.is_empty()) {
            (true, _) => other.part.clone(),
            (_, true) => return,
            _ => self.part.start.min(other.part.start)..self.part.end.max(other.part.end),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn spots(keys: &[&'static str]) -> Vec<Spot> {
        let spot = |key: &&'static str| Spot { db: 0, key: Bytes::from_static(key.as_bytes()) };
        keys.iter().map(spot).collect()
    }

    #[test]
    fn keys_hang_together_over_any_number_of_letters() {
        let mut ties = Ties::default();
        let letters = [&["a", "b"][..], &["c"], &["d", "e"], &["f"], &["e", "c", "b"], &[]];
        for (keys, at) in letters.into_iter().zip(7..) {
            ties.tie(&spots(keys), &Lot { weight: 10, part: Offset(at)..Offset(at + 1) });
        }
        let tied: HashSet<Spot> = spots(&["a", "b", "c", "d", "e"]).into_iter().collect();
        for spot in &tied {
            let (_, group) = ties.group(spot).unwrap();
            assert_eq!(group.spots.iter().cloned().collect::<HashSet<_>>(), tied);
            assert_eq!(group.lot, Lot { weight: 40, part: Offset(7)..Offset(12) });
        }
        let [alone, unknown] = &spots(&["f", "g"])[..] else { panic!("two keys") };
        let (_, group) = ties.group(alone).unwrap();
        assert_eq!(group.spots, std::slice::from_ref(alone));
        assert_eq!(group.lot, Lot { weight: 10, part: Offset(10)..Offset(11) });
        assert!(ties.group(unknown).is_none());
    }
}
