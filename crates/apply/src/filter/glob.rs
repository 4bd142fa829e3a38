//! Patterns of keys as `KEYS` and `SCAN … MATCH` understand them.
//!
//! `*`, `?`, `[a-c]`, `[^a]`, and `\` before any byte to take it as it is. A class without its end runs to the end
//! of the pattern, as it does in the servers. Matching takes at most pattern × key steps, whatever the pattern.

use bytes::Bytes;

/// A pattern over the bytes of a key, ready to match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Bytes,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Any bytes, also none.
    Many,
    /// Any one byte.
    One,
    /// This byte.
    Byte(u8),
    /// One byte that is (or, negated, is not) in one of the ranges.
    Class { negated: bool, ranges: Vec<(u8, u8)> },
}

// === impl Glob ===

impl Glob {
    /// Reads a pattern. Every text is one.
    #[must_use]
    pub fn new(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let mut rest: &[u8] = &text;
        let mut pieces = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'*' if pieces.last() == Some(&Piece::Many) => {}
                b'*' => pieces.push(Piece::Many),
                b'?' => pieces.push(Piece::One),
                b'[' => pieces.push(class(&mut rest)),
                byte => pieces.push(Piece::Byte(escaped(byte, &mut rest))),
            }
        }
        Self { text, pieces }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// Whether the whole key fits.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        let (mut at, mut piece) = (0, 0);
        // Where to go on when what follows the last `*` does not fit: one byte later.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.pieces.get(piece), key.get(at)) {
                (Some(Piece::Many), _) => {
                    retry = Some((at, piece + 1));
                    piece += 1;
                }
                (Some(wanted), Some(&byte)) if wanted.takes(byte) => {
                    at += 1;
                    piece += 1;
                }
                (None, None) => return true,
                _ => match retry {
                    Some((from, then)) if from < key.len() => {
                        retry = Some((from + 1, then));
                        (at, piece) = (from + 1, then);
                    }
                    _ => return false,
                },
            }
        }
    }
}

/// The byte itself, or the one after a backslash.
fn escaped(byte: u8, rest: &mut &[u8]) -> u8 {
    match rest.split_first() {
        Some((&next, after)) if byte == b'\\' => {
            *rest = after;
            next
        }
        _ => byte,
    }
}

fn class(rest: &mut &[u8]) -> Piece {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = rest.get(1..).unwrap_or_default();
    }
    let mut ranges = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        *rest = after;
        match (byte, *rest) {
            (b'\\', [next, tail @ ..]) => {
                *rest = tail;
                ranges.push((*next, *next));
            }
            (b']', _) => break,
            // As in the servers, `]` may be the end of a range.
            (_, [b'-', to, tail @ ..]) => {
                *rest = tail;
                ranges.push((byte.min(*to), byte.max(*to)));
            }
            _ => ranges.push((byte, byte)),
        }
    }
    Piece::Class { negated, ranges }
}

// === impl Piece ===

impl Piece {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Many => false,
            Self::One => true,
            Self::Byte(wanted) => *wanted == byte,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&byte)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, key: &str) -> bool {
        Glob::new(pattern.to_owned()).matches(key.as_bytes())
    }

    #[test]
    fn matches_as_the_servers_do() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("user:*", "user:1", true),
            ("user:*", "users", false),
            ("*:name", "user:1:name", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("[a", "a", true),
            ("[]", "]", false),
            ("[a-]x]", "b", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("a\\", "a\\", true),
            ("**", "anything", true),
            ("*.*.*", "a.b", false),
        ];
        for (pattern, key, wanted) in cases {
            assert_eq!(fits(pattern, key), wanted, "{pattern} {key}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_does_not_take_for_ever() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!fits(&pattern, &"a".repeat(5_000)));
    }
}
