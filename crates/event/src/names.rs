//! The names of the keys that keyferry itself keeps in servers, and how they are told from data.
//!
//! Part of the format: never changed. A key is ours only if it has exactly one of these forms; any
//! other key with the prefix is data.

use bytes::Bytes;
use wire::slot::Slot;

use crate::limits::RECORD_KEY_BYTES;

/// Every key of ours begins with this.
pub const PREFIX: &str = "keyferry:";

const HEARTBEAT: &str = "keyferry:heartbeat:";

/// What stands behind a checkpoint's name in that of its owner.
pub const OWNER: &str = ":owner";
/// The same for the keys that are set aside.
pub const QUARANTINE: &str = ":quarantine";
/// The same for large values that are put together.
pub const STAGE: &str = ":stage:";

/// The key that capture writes at its source once a second.
#[must_use]
pub fn heartbeat(stream: &str) -> String {
    format!("{HEARTBEAT}{stream}")
}

/// The same at a shard of a cluster, in a slot that it has.
#[must_use]
pub fn heartbeat_in(slot: Slot, stream: &str) -> String {
    format!("{HEARTBEAT}{{{}}}:{stream}", slot.tag())
}

/// The checkpoint of a stream in the slot.
#[must_use]
pub fn checkpoint(slot: Slot, stream: &str) -> String {
    format!("{PREFIX}{{{}}}:{stream}", slot.tag())
}

/// The owner epoch beside a checkpoint.
#[must_use]
pub fn owner(slot: Slot, stream: &str) -> String {
    checkpoint(slot, stream) + OWNER
}

/// The quarantined keys beside a checkpoint.
#[must_use]
pub fn quarantine(slot: Slot, stream: &str) -> String {
    checkpoint(slot, stream) + QUARANTINE
}

/// Where the parts of a large value are put together, in the slot of its key.
#[must_use]
pub fn stage(key: &[u8], stream: &str, epoch: u64, db: u32) -> Bytes {
    let name = checkpoint(Slot::of_key(key), stream);
    Bytes::from(format!("{name}{STAGE}{epoch}:{db}:{:016x}", wire::crc64::crc64(key)))
}

/// The key of a record that is about that key: the key itself, or for one that is too long a stand-in of fixed size.
#[must_use]
pub fn record_key(key: &Bytes) -> Bytes {
    if key.len() <= RECORD_KEY_BYTES {
        return key.clone();
    }
    Bytes::from(format!("crc64:{:016x}:{}", wire::crc64::crc64(key), key.len()))
}

/// Whether a key has one of the forms above.
#[must_use]
pub fn is_ours(key: &[u8]) -> bool {
    let Some(rest) = key.strip_prefix(PREFIX.as_bytes()) else { return false };
    if key.starts_with(HEARTBEAT.as_bytes()) {
        return true;
    }
    // `{tag}:stream…`, where the tag is the one that we would use for its slot.
    let Some(tagged) = rest.strip_prefix(b"{") else { return false };
    let Some(end) = tagged.iter().position(|byte| *byte == b'}') else { return false };
    let (tag, behind) = tagged.split_at(end);
    Slot::of_key(tag).tag().as_bytes() == tag && behind.starts_with(b"}:") && behind.len() > 2
}

/// Whether a key of ours is one where a large value is put together.
#[must_use]
pub fn is_stage(key: &[u8]) -> bool {
    let mut parts = key.rsplitn(4, |byte| *byte == b':');
    let mut is_made_of = |is_part: fn(&u8) -> bool| {
        parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(is_part))
    };
    let ends = is_made_of(u8::is_ascii_hexdigit)
        && is_made_of(u8::is_ascii_digit)
        && is_made_of(u8::is_ascii_digit);
    let stage = STAGE.trim_end_matches(':').as_bytes();
    ends && parts.next().is_some_and(|rest| rest.ends_with(stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot::of_key(b"some key")
    }

    #[test]
    fn knows_its_own_names() {
        let names = [
            heartbeat("shop"),
            heartbeat_in(slot(), "shop"),
            checkpoint(slot(), "shop"),
            owner(slot(), "shop"),
            quarantine(slot(), "shop"),
        ];
        for name in &names {
            assert!(is_ours(name.as_bytes()), "{name}");
        }
        assert!(is_ours(&stage(b"a\xff}b", "shop", 7, 3)));
        assert!(names.iter().all(|name| !is_stage(name.as_bytes())));
        assert!(is_stage(&stage(b"a\xff}b", "a:stage:b", 7, 3)));
        assert!(!is_stage(checkpoint(slot(), "a:stage:b").as_bytes()));
    }

    #[test]
    fn leaves_data_with_the_prefix_alone() {
        for key in
            ["keyferry", "keyferry:", "keyferry:x", "keyferry:{}:x", "keyferry:{user}:x", "{a}"]
        {
            assert!(!is_ours(key.as_bytes()), "{key}");
        }
    }

    #[test]
    fn names_lie_in_the_slot_asked_for() {
        assert_eq!(Slot::of_key(checkpoint(slot(), "shop").as_bytes()), slot());
        assert_eq!(Slot::of_key(heartbeat_in(slot(), "shop").as_bytes()), slot());
        let staged = stage(b"some key", "shop", 1, 0);
        assert_eq!(Slot::of_key(&staged), slot());
    }
}
