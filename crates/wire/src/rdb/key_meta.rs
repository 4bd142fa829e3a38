//! The names of what modules keep beside a key (Redis 8.6 and later): enough to say what it is, not to carry it.

use super::EntryHead;
use super::reader::{Reader, Stop};
use super::walk::module_values;

/// The letters of a name, by their numbers.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Letters of a name. They stand in the upper 24 bits of a spec, above version and flags.
const NAME_LETTERS: u32 = 4;

// === impl EntryHead ===

impl EntryHead {
    /// The names of the classes of metadata that modules keep on the key, in order. None where there is no metadata;
    /// from the first that cannot be read on they are missing.
    #[must_use]
    pub fn metadata_classes(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(raw) = &self.key_meta {
            // The parser has read it before.
            names_in(raw, &mut names).ok();
        }
        names
    }
}

fn names_in(raw: &[u8], names: &mut Vec<String>) -> Result<(), Stop> {
    let mut reader = Reader::new(raw, 0, 0, raw.len());
    for _ in 0..reader.len()? {
        let spec = u32::from_le_bytes(reader.array()?);
        module_values(&mut reader)?;
        names.push(name(spec));
    }
    Ok(())
}

fn name(spec: u32) -> String {
    let letter = |index: u32| {
        let code = usize::try_from((spec >> (26 - 6 * index)) & 63).unwrap_or_default();
        LETTERS.get(code).copied().map_or('?', char::from)
    };
    (0..NAME_LETTERS).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::rdb::ValueType;

    fn classes(raw: &[u8]) -> Vec<String> {
        let key_meta = Some(Bytes::copy_from_slice(raw));
        let (key, kind) = (Bytes::new(), ValueType::String);
        let head = EntryHead { key, kind, expire_at_ms: None, idle_s: None, freq: None, key_meta };
        head.metadata_classes()
    }

    fn spec(name: &str, version: u32, flags: u32) -> [u8; 4] {
        let code = |letter| LETTERS.iter().position(|known| *known == letter).unwrap();
        let name =
            name.bytes().fold(0, |name, letter| name << 6 | u32::try_from(code(letter)).unwrap());
        (name << 8 | version << 3 | flags).to_le_bytes()
    }

    #[test]
    fn names_the_classes_of_metadata() {
        let one = [&[1][..], &spec("KMT1", 3, 1), &[2, 9, 0]].concat();
        assert_eq!(classes(&one), ["KMT1"]);
        let two =
            [&[2][..], &spec("a_-9", 31, 7), &[5, 1, b'x', 0], &spec("AAAA", 0, 0), &[0]].concat();
        assert_eq!(classes(&two), ["a_-9", "AAAA"]);
        assert_eq!(classes(&[0]), [""; 0]);
        assert_eq!(classes(&[&[2][..], &spec("KMT1", 0, 0), &[0, 1]].concat()), ["KMT1"]);
    }
}
