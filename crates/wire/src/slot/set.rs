//! Sets of slots, as a node of a cluster owns them: mostly a few ranges.

use std::fmt;

use super::Slot;

/// A set of slots. As text its ranges: `0-5460,10923`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slots {
    /// First and last of each range, in ascending order; none touches the next.
    ranges: Vec<(u16, u16)>,
}

// === impl Slots ===

impl Slots {
    /// All slots.
    #[must_use]
    pub fn all() -> Self {
        Self { ranges: vec![(0, Slot::COUNT - 1)] }
    }

    /// The slots of some ranges, each from its first to its last; one that ends before it begins has none.
    pub fn of(ranges: impl IntoIterator<Item = (Slot, Slot)>) -> Self {
        let ranges = ranges.into_iter().map(|(first, last)| (first.0, last.0));
        let mut ranges: Vec<(u16, u16)> = ranges.filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut set = Self::default();
        for (first, last) in ranges {
            match set.ranges.last_mut() {
                Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
                _ => set.ranges.push((first, last)),
            }
        }
        set
    }

    /// Its ranges, in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = (Slot, Slot)> + Clone {
        self.ranges.iter().map(|(first, last)| (Slot(*first), Slot(*last)))
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The smallest.
    #[must_use]
    pub fn first(&self) -> Option<Slot> {
        self.ranges.first().map(|(first, _)| Slot(*first))
    }

    /// Whether it has that slot.
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        let behind = self.ranges.partition_point(|(first, _)| *first <= slot.0);
        let range = behind.checked_sub(1).and_then(|index| self.ranges.get(index));
        range.is_some_and(|(_, last)| slot.0 <= *last)
    }

    /// All slots that it has not.
    #[must_use]
    pub fn others(&self) -> Self {
        let mut others = Self::default();
        let mut next = 0;
        for (first, last) in &self.ranges {
            if next < *first {
                others.ranges.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < Slot::COUNT {
            others.ranges.push((next, Slot::COUNT - 1));
        }
        others
    }

    /// The slots that it or the other has.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self::of(self.ranges().chain(other.ranges()))
    }

    /// The slots that both have.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.others().or(&other.others()).others()
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn set(ranges: &[(u16, u16)]) -> Slots {
        Slots::of(ranges.iter().map(|(first, last)| (Slot(*first), Slot(*last))))
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let slots = set(&[(10, 20), (0, 3), (21, 30), (15, 17), (4, 4), (9, 8)]);
        assert_eq!(slots.to_string(), "0-4,10-30");
        assert_eq!(slots.first(), Some(Slot(0)));
        assert_eq!(slots.others().to_string(), "5-9,31-16383");
        assert_eq!(set(&[(16383, 16383)]).others().to_string(), "0-16382");
    }

    #[test]
    fn all_and_none_are_the_others_of_one_another() {
        assert_eq!(
            (Slots::all().others(), Slots::default().others()),
            (Slots::default(), Slots::all())
        );
        assert!(Slots::default().is_empty() && Slots::default().first().is_none());
    }

    #[test]
    fn sets_are_as_those_of_single_slots() {
        let sets = [&[(0, 5), (7, 9), (100, 120)][..], &[(3, 8), (110, 16383)], &[], &[(5, 5)]];
        let single = |slots: &Slots| -> BTreeSet<Slot> {
            Slot::all().filter(|slot| slots.contains(*slot)).collect()
        };
        for one in sets.map(set) {
            assert_eq!(single(&one).len() + single(&one.others()).len(), 16384);
            for other in sets.map(set) {
                let (left, right) = (single(&one), single(&other));
                assert!(single(&one.or(&other)).iter().eq(left.union(&right)));
                assert!(single(&one.and(&other)).iter().eq(left.intersection(&right)));
            }
        }
    }
}
