//! Hash slots: which slot a key has, which partition a slot has, and a name that lands in a given
//! slot.
//!
//! Slots are computed as a cluster does, for standalone servers as well. The mapping from slots to
//! partitions and the tags of [`Slot::tag`] are part of formats that outlive a process and never
//! change.

mod crc16;
mod set;
mod tag;

use std::ops::Range;

use self::crc16::crc16;
pub use self::set::Slots;

/// One of the 16384 hash slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

// === impl Slot ===

impl Slot {
    /// How many slots there are.
    pub const COUNT: u16 = 16384;

    /// The slot of that number, if there is one.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of a key: of its hash tag where it has one.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % Self::COUNT)
    }

    /// The number, below [`COUNT`](Self::COUNT).
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Every slot, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (0..Self::COUNT).map(Self)
    }

    /// A short text of lower-case letters and digits that hashes to this slot, so that `any:{tag}`
    /// is a key there. The same for ever.
    #[must_use]
    pub fn tag(self) -> &'static str {
        tag::of(self)
    }
}

/// The part of a key that is hashed: what stands between the first `{` and the next `}`, unless
/// that is nothing; else the whole key.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let inside = key.get(open + 1..)?;
        inside.get(..memchr::memchr(b'}', inside)?)
    });
    match tag {
        Some(tag) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// The partition of a slot in a stream of `partitions` (1 to 16384): contiguous ranges, as even as
/// can be.
#[must_use]
pub fn partition_of(slot: Slot, partitions: u32) -> u32 {
    let partition = u64::from(slot.0) * u64::from(partitions) / u64::from(Slot::COUNT);
    u32::try_from(partition).unwrap_or(u32::MAX)
}

/// The numbers of the slots of a partition; empty for one that does not exist.
#[must_use]
pub fn slots_of(partition: u32, partitions: u32) -> Range<u16> {
    let first_slot = |partition: u64| {
        let slot = (partition * u64::from(Slot::COUNT)).div_ceil(u64::from(partitions.max(1)));
        u16::try_from(slot).unwrap_or(Slot::COUNT).min(Slot::COUNT)
    };
    first_slot(u64::from(partition))..first_slot(u64::from(partition) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_a_cluster_does() {
        let slots = [("", 0), ("a", 15495), ("foo", 12182), ("123456789", 12739), ("k1", 12706)];
        for (key, slot) in slots {
            assert_eq!(Slot::of_key(key.as_bytes()).get(), slot, "{key}");
        }
    }

    #[test]
    fn hashes_only_the_tag() {
        let tags: [(&str, &str); 8] = [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("}foo{bar}", "bar"),
            ("{}", "{}"),
            ("", ""),
        ];
        for (key, tag) in tags {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    #[test]
    fn partitions_and_their_slots_are_inverse() {
        for partitions in [1, 2, 3, 7, 16, 100, 1000, 16383, 16384] {
            let mut expected = 0;
            for partition in 0..partitions {
                let range = slots_of(partition, partitions);
                assert_eq!(range.start, expected);
                expected = range.end;
                for slot in range.filter_map(Slot::new) {
                    assert_eq!(partition_of(slot, partitions), partition);
                }
            }
            assert_eq!(expected, Slot::COUNT);
        }
    }

    #[test]
    fn has_no_slots_in_a_partition_that_does_not_exist() {
        assert!(slots_of(4, 4).is_empty());
        assert!(slots_of(u32::MAX, 4).is_empty());
        assert!(slots_of(1, 0).is_empty());
    }

    #[test]
    fn knows_no_slot_past_the_last() {
        assert_eq!(Slot::new(16383).map(Slot::get), Some(16383));
        assert_eq!(Slot::new(16384), None);
    }
}
