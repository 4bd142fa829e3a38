//! Names of the keys and connections of one lane at its destination.
//!
//! The forms of the keys belong to the format and stand in [`event::names`]; all of a lane lie in the first slot of
//! the first partition that its checkpoint covers.

use bytes::Bytes;
use event::names;
use wire::slot::{Slot, slots_of};

/// The keys of one lane, and what its connections are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// The checkpoint.
    pub(crate) checkpoint: Bytes,
    /// The number of the lane's latest worker.
    pub(crate) owner: Bytes,
    /// The hash of the keys that are set aside.
    pub(crate) quarantine: Bytes,
    /// The hash of what an operator asks to be done about them.
    pub(crate) requests: Bytes,
    /// The hash of the keys of which nobody knows whether a change was executed.
    pub(crate) suspects: Bytes,
    /// What every connection of the lane is called, up to the number of its worker.
    pub(crate) connection: String,
    stream: Box<str>,
}

// === impl Names ===

impl Names {
    /// The names of the lane that covers partitions `first` to `last` of `partitions`.
    #[must_use]
    pub(crate) fn new(stream: &str, (first, last): (u16, u16), partitions: u32) -> Self {
        let slot = Slot::new(slots_of(u32::from(first), partitions).start);
        let slot = slot.unwrap_or_else(|| Slot::of_key(stream.as_bytes()));
        let printable: String =
            stream.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        let quarantine = names::quarantine(slot, stream);
        Self {
            checkpoint: names::checkpoint(slot, stream).into(),
            owner: names::owner(slot, stream).into(),
            requests: format!("{quarantine}:requests").into(),
            suspects: format!("{quarantine}:suspects").into(),
            quarantine: quarantine.into(),
            connection: format!("keyferry:{printable}:{first}-{last}:"),
            stream: stream.into(),
        }
    }

    /// The keys that live beside one another, the checkpoint first.
    #[must_use]
    pub(crate) fn all(&self) -> [&Bytes; 5] {
        [&self.checkpoint, &self.owner, &self.quarantine, &self.requests, &self.suspects]
    }

    /// Whether a key is one of the lane's own: nothing from the source may touch it.
    #[must_use]
    pub(crate) fn is_own(&self, key: &[u8]) -> bool {
        key.starts_with(names::PREFIX.as_bytes())
            && (self.all().iter().any(|own| *own == key) || self.stage_epoch(key).is_some())
    }

    /// The temporary key under which a large value of `key` is put together, in the same slot.
    #[must_use]
    pub(crate) fn stage(&self, key: &[u8], epoch: u64, db: u32) -> Bytes {
        names::stage(key, &self.stream, epoch, db)
    }

    /// The epoch in the name of a temporary key of this stream; none for every other key.
    #[must_use]
    pub(crate) fn stage_epoch(&self, key: &[u8]) -> Option<u64> {
        let end = key.iter().position(|byte| *byte == b'}').filter(|_| names::is_ours(key))?;
        let rest = key.get(end + 1..)?.strip_prefix(b":")?;
        let rest = rest.strip_prefix(self.stream.as_bytes())?.strip_prefix(b":stage:")?;
        let (epoch, rest) = std::str::from_utf8(rest).ok()?.split_once(':')?;
        rest.contains(':').then(|| epoch.parse().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_lie_in_the_first_slot_of_the_first_partition() {
        for (first, partitions) in [(0, 16), (3, 16), (15, 16), (0, 1), (16383, 16384)] {
            let names = Names::new("shop", (first, first), partitions);
            let slot = slots_of(u32::from(first), partitions).start;
            for name in names.all() {
                assert_eq!(Slot::of_key(name).get(), slot);
                assert!(names.is_own(name) && names::is_ours(name));
            }
        }
    }

    #[test]
    fn a_temporary_key_lies_in_the_slot_of_its_key_and_tells_its_epoch() {
        let names = Names::new("shop", (0, 15), 16);
        let stage = names.stage(b"{user}:1", 7, 3);
        assert_eq!(Slot::of_key(&stage), Slot::of_key(b"user"));
        assert_eq!(names.stage_epoch(&stage), Some(7));
        assert!(names.is_own(&stage) && !Names::new("sho", (0, 15), 16).is_own(&stage));
    }

    #[test]
    fn keys_of_other_streams_and_of_users_are_not_its_own() {
        let names = Names::new("shop", (0, 15), 16);
        assert!(!names.is_own(&Names::new("other", (0, 15), 16).checkpoint));
        assert!(!names.is_own(b"keyferry:mine") && !names.is_own(b"x"));
    }

    #[test]
    fn the_name_of_a_connection_has_no_blank() {
        let names = Names::new("my shop\n", (0, 3), 4);
        assert_eq!(names.connection, "keyferry:my_shop_:0-3:");
    }
}
