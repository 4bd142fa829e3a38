//! Sizes and durations as people write them: `64MB`, `4KiB`, `10ms`, `1h30m`.
//!
//! Guarantees: what is printed reads back as the same value. `kB`, `MB`, … are powers of 1000 and
//! `KiB`, `MiB`, … of 1024; letters may be of either case. A number alone is bytes, or for a
//! duration an error, since nobody can tell seconds from milliseconds.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod duration;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// Text that is not a size or a duration, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {wanted}")]
pub struct BadUnit {
    text: String,
    wanted: &'static str,
}

/// Largest first, so that printing finds the shortest exact form.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

const SIZE_HINT: &str = "size such as 512, 900kB, 64MB or 4GiB";

// === impl ByteSize ===

impl ByteSize {
    /// The number.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// About this much, with one decimal, for logs and tables: `1.2 GB`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "rounded to one decimal anyway")]
    pub fn approximate(self) -> String {
        let decimal = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
        let bytes = self.0 as f64;
        match decimal.iter().find(|(_, unit)| bytes >= *unit) {
            Some((name, unit)) => format!("{:.1} {name}", bytes / unit),
            None => format!("{} B", self.0),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZES.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = exact.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for ByteSize {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let bad = || BadUnit { text: text.to_owned(), wanted: SIZE_HINT };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = trimmed.split_at(split.unwrap_or(trimmed.len()));
        let unit = size_unit(unit.trim()).ok_or_else(bad)?;
        scaled(number, unit).map(Self).ok_or_else(bad)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a ")?;
                f.write_str(SIZE_HINT)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size below zero"))
            }
        }
        deserializer.deserialize_any(Size).map_err(D::Error::custom)
    }
}

fn size_unit(name: &str) -> Option<u64> {
    if name.is_empty() {
        return Some(1);
    }
    let bare = ["k", "m", "g", "t"].iter().position(|bare| bare.eq_ignore_ascii_case(name));
    let name = bare.and_then(|at| ["kB", "MB", "GB", "TB"].get(at).copied()).unwrap_or(name);
    SIZES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
}

/// `number` times `unit`, exactly; `None` if it is no decimal number, too large, or has a
/// fraction that the unit cannot express.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let has_point = number.len() != whole.len();
    if whole.is_empty() || (has_point && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let parts = fraction.parse::<u128>().ok()?.checked_mul(u128::from(unit))?;
        if parts % scale != 0 {
            return None;
        }
        total = total.checked_add(u64::try_from(parts / scale).ok()?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("0", 0),
            ("512", 512),
            ("512 B", 512),
            ("900kB", 900_000),
            ("64MB", 64_000_000),
            ("64mb", 64_000_000),
            ("4k", 4_000),
            ("1.5GB", 1_500_000_000),
            ("4KiB", 4_096),
            ("0.5GiB", 536_870_912),
            ("1TiB", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_size() {
        for text in ["", "MB", "-1", "1.MB", ".5MB", "1..5MB", "12XB", "0.3B", "99999999TB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        let error = "12XB".parse::<ByteSize>().unwrap_err();
        assert_eq!(error.to_string(), "\"12XB\" is not a size such as 512, 900kB, 64MB or 4GiB");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_value() {
        let mut random = crate::Random::from_seed(9);
        for shift in 0..64 {
            let size = ByteSize(random.next_u64() >> shift);
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(ByteSize(64_000_000).to_string(), "64MB");
        assert_eq!(ByteSize(1 << 20).to_string(), "1MiB");
        assert_eq!(ByteSize(0).to_string(), "0B");
        assert_eq!(ByteSize(1_234_567_890).approximate(), "1.2 GB");
    }

    #[test]
    fn serde_takes_texts_and_numbers() {
        assert_eq!(serde_json::from_str::<ByteSize>("\"1kB\"").unwrap(), ByteSize(1_000));
        assert_eq!(serde_json::from_str::<ByteSize>("77").unwrap(), ByteSize(77));
        assert!(serde_json::from_str::<ByteSize>("-1").is_err());
        assert_eq!(serde_json::to_string(&ByteSize(1_000)).unwrap(), "\"1kB\"");
    }
}
