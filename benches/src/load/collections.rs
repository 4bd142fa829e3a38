//! Collections: hashes, lists, sets and sorted sets in turn, of 10 to 60 elements each.

use anyhow::Result;

use super::Pen;
use super::strings::{Values, named};

/// Elements of a collection, at the least and at the most.
const ELEMENTS: [u64; 2] = [10, 60];
/// Bytes of a field, a member, an element.
const ELEMENT_BYTES: usize = 12;

/// Writes so many collections.
///
/// # Errors
/// If the connection breaks.
pub(crate) fn write(pen: &mut Pen, count: u64) -> Result<()> {
    let [least, most] = ELEMENTS;
    let mut values = Values::new(2);
    for n in 0..count {
        let elements = least + values.below(most - least + 1);
        let (command, paired): (&[u8], bool) = match n % 4 {
            0 => (b"HSET", true),
            1 => (b"RPUSH", false),
            2 => (b"SADD", false),
            _ => (b"ZADD", true),
        };
        let words = usize::try_from(elements).expect("a few elements") * (1 + usize::from(paired));
        pen.begin(2 + words);
        pen.word(command);
        pen.word(&key(n));
        for _ in 0..elements {
            if command == b"ZADD" {
                pen.word(values.below(1_000_000).to_string().as_bytes());
                pen.word(values.next(ELEMENT_BYTES));
                continue;
            }
            pen.word(values.next(ELEMENT_BYTES));
            if paired {
                pen.word(values.next(ELEMENT_BYTES));
            }
        }
        pen.end()?;
    }
    Ok(())
}

/// The name of collection `n`, 16 bytes.
pub(crate) fn key(n: u64) -> [u8; 16] {
    named(*b"col:", n)
}
