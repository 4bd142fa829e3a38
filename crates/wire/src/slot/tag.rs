//! For every slot the first short text that hashes to it.
//!
//! The texts are tried in a fixed order: by length, then by [`ALPHABET`]. The order is frozen,
//! because the names of bookkeeping keys at destinations are made of the result.

use std::sync::OnceLock;

use super::Slot;
use super::crc16::crc16;

const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Four characters reach every slot; a test proves it.
const MAX_TAG_BYTES: usize = 4;

/// The tag of a slot.
pub(super) fn of(slot: Slot) -> &'static str {
    static TAGS: OnceLock<Vec<String>> = OnceLock::new();
    TAGS.get_or_init(search).get(usize::from(slot.get())).map_or("", String::as_str)
}

fn search() -> Vec<String> {
    let mut tags = vec![String::new(); usize::from(Slot::COUNT)];
    let mut missing = tags.len();
    for length in 1..=MAX_TAG_BYTES {
        let mut text = [0; MAX_TAG_BYTES];
        for number in 0..ALPHABET.len().pow(u32::try_from(length).unwrap_or_default()) {
            let text = text.get_mut(..length).unwrap_or_default();
            write_base36(text, number);
            let slot = crc16(text) % Slot::COUNT;
            if let Some(tag) = tags.get_mut(usize::from(slot)).filter(|tag| tag.is_empty()) {
                tag.extend(text.iter().copied().map(char::from));
                missing -= 1;
            }
            if missing == 0 {
                return tags;
            }
        }
    }
    tags
}

/// Fills `text` with the digits of `number`.
fn write_base36(text: &mut [u8], mut number: usize) {
    for character in text.iter_mut().rev() {
        *character = ALPHABET.get(number % ALPHABET.len()).copied().unwrap_or_default();
        number /= ALPHABET.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_a_tag_that_hashes_to_it() {
        for slot in Slot::all() {
            let tag = slot.tag();
            assert!(!tag.is_empty(), "{slot:?} has none");
            assert_eq!(Slot::of_key(format!("keyferry:{{{tag}}}:s").as_bytes()), slot);
        }
    }

    #[test]
    fn tags_never_change() {
        for (slot, tag) in FROZEN {
            assert_eq!(Slot::new(slot).map(Slot::tag), Some(tag), "slot {slot}");
        }
    }

    /// Bookkeeping keys with these names exist at destinations.
    const FROZEN: [(u16, &str); 8] = [
        (0, "1bz"),
        (1, "emj"),
        (2, "7lw"),
        (8191, "7ho"),
        (8192, "fjl"),
        (12182, "foo"),
        (15495, "a"),
        (16383, "hia"),
    ];
}
