//! Durations as text: parse, format, and `#[serde(with = "runtime::units::duration")]`.
//!
//! Units are `ns`, `us`, `ms`, `s`, `m` (or `min`), `h`, `d`; parts may follow each other, largest
//! first: `1h30m`. Formatting is exact and reads back as the same value.

use std::fmt::Write as _;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use super::{BadUnit, scaled};

/// Largest first; `min` is read but not written.
const UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const HINT: &str = "duration such as 10ms, 1.5s, 12h or 1h30m";

/// Reads a duration.
///
/// # Errors
/// When a unit is missing or unknown, when units are not in falling order, or beyond 584 years.
pub fn parse(text: &str) -> Result<Duration, BadUnit> {
    let bad = || BadUnit { text: text.to_owned(), wanted: HINT };
    let mut rest = text.trim();
    let mut total = 0_u64;
    let mut below = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, left) = after.split_at(letters);
        let unit = UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, unit) = unit.filter(|(_, unit)| *unit < below).ok_or_else(bad)?;
        let part = scaled(number, *unit).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        below = *unit;
        rest = left.trim_start();
    }
    if below == u64::MAX { Err(bad()) } else { Ok(Duration::from_nanos(total)) }
}

/// Writes a duration exactly, in as few parts as it takes.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    let mut text = String::new();
    for (name, unit) in UNITS.iter().filter(|(name, _)| *name != "min") {
        let unit = u128::from(*unit);
        if left >= unit {
            write!(text, "{}{name}", left / unit).expect("a String takes every write");
            left %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// For `#[serde(with = …)]`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For `#[serde(with = …)]`.
///
/// # Errors
/// Those of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("10ms", 10_000_000),
            ("1.5s", 1_500_000_000),
            ("90 s", 90_000_000_000),
            ("720min", 43_200_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1d 2h", 93_600_000_000_000),
            ("0s", 0),
            ("7us3ns", 7_003),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_told_apart() {
        for text in ["", "10", "ms", "1m2h", "1s1s", "1 parsec", "-1s", "1.s", "99999999d", "0.1ns"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_value() {
        let mut random = crate::Random::from_seed(4);
        for shift in 0..64 {
            let duration = Duration::from_nanos(random.next_u64() >> shift);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(format(Duration::from_secs(5_400)), "1h30m");
        assert_eq!(format(Duration::ZERO), "0s");
    }

    #[test]
    fn serde_uses_the_text() {
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
        struct Config {
            #[serde(with = "super")]
            wait: Duration,
        }
        let config: Config = serde_json::from_str(r#"{"wait":"250ms"}"#).unwrap();
        assert_eq!(config, Config { wait: Duration::from_millis(250) });
        assert_eq!(serde_json::to_string(&config).unwrap(), r#"{"wait":"250ms"}"#);
    }
}
