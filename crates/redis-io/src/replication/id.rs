//! The name of a replication history: 40 characters that a primary makes up.

use std::fmt;
use std::str::FromStr;

/// A replication id, compared byte by byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicationId([u8; ReplicationId::LENGTH]);

/// Not 40 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a replication id")]
pub struct BadReplicationId(String);

impl ReplicationId {
    /// Characters of an id.
    pub const LENGTH: usize = 40;

    /// The id as it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII is accepted")
    }
}

impl FromStr for ReplicationId {
    type Err = BadReplicationId;

    fn from_str(text: &str) -> Result<Self, BadReplicationId> {
        let id: Option<[u8; Self::LENGTH]> = text.as_bytes().try_into().ok();
        id.filter(|id| id.iter().all(u8::is_ascii_alphanumeric))
            .map(Self)
            .ok_or_else(|| BadReplicationId(text.to_owned()))
    }
}

impl fmt::Display for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_forty_letters_and_digits_only() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(text.parse::<ReplicationId>().unwrap().to_string(), text);
        let bad = ["", "?", &text[1..], "0123456789abcdef 123456789abcdef01234567"];
        for bad in bad {
            assert!(bad.parse::<ReplicationId>().is_err(), "{bad}");
        }
    }
}
