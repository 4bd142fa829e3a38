//! Bytes as redis-cli shows them, quoted only where that is needed to tell them apart, and back.

use std::fmt::{self, Write};

/// Displays bytes in printable ASCII: as they are if they are one plain word, else in double quotes
/// with `\n \r \t \a \b \" \\` and `\xhh`. [`unquoted`] reads it back.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a [u8]);

/// Displays bytes for a message: as [`Quoted`], but of a long value the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Shortened<'a>(pub &'a [u8]);

/// Why a text is not the quoted form of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuote {
    /// A backslash before something that makes no escape of it.
    #[error(
        "a backslash stands for itself only as \\\\; before a character it means \\n \\r \\t \\a \\b \\\" or \\xhh"
    )]
    Escape,
    /// A quote at the beginning and none at the end, or one within.
    #[error("a text that begins with a double quote ends with one, and has \\\" within")]
    Unbalanced,
}

/// The bytes that a text stands for: what [`Quoted`] displays, also without the quotes around it (which a shell
/// may have taken). A text without a backslash that does not begin with a double quote stands for itself.
///
/// # Errors
/// What is wrong with its quotes or escapes.
pub fn unquoted(text: &str) -> Result<Vec<u8>, BadQuote> {
    let quoted = text.starts_with('"');
    let mut bytes = text.bytes().skip(usize::from(quoted));
    let mut read = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted => {
                return bytes.next().map_or(Ok(read), |_| Err(BadQuote::Unbalanced));
            }
            b'\\' => read.push(escaped(&mut bytes).ok_or(BadQuote::Escape)?),
            other => read.push(other),
        }
    }
    if quoted { Err(BadQuote::Unbalanced) } else { Ok(read) }
}

/// The byte that stands behind a backslash.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let byte = match bytes.next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'x' => {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        }
        itself @ (b'"' | b'\\') => itself,
        _ => return None,
    };
    Some(byte)
}

// === impl Quoted ===

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'\'');
        // How long a word may be is bounded, so that what does not fit a line is not read through.
        let is_word = !self.0.is_empty() && self.0.len() <= WORD_BYTES && self.0.iter().all(plain);
        if is_word {
            return self.0.iter().try_for_each(|byte| f.write_char(char::from(*byte)));
        }
        f.write_char('"')?;
        for byte in self.0 {
            match byte {
                b'\\' | b'"' => write!(f, "\\{}", char::from(*byte))?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                0x07 => f.write_str("\\a")?,
                0x08 => f.write_str("\\b")?,
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_char('"')
    }
}

// === impl Shortened ===

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN_BYTES).unwrap_or(self.0);
        let more = if shown.len() < self.0.len() { "…" } else { "" };
        write!(f, "{}{more}", Quoted(shown))
    }
}

/// So much of a long value is shown in a message.
const SHOWN_BYTES: usize = 128;

/// The longest word that goes without quotes, bytes.
const WORD_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_reads_back_with_and_without_its_quotes(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                proptest::collection::vec(prop::sample::select(&b"\\\"'xn0a \0\xff"[..]), 0..12),
            ],
        ) {
            let shown = Quoted(&bytes).to_string();
            prop_assert!(shown.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{shown}");
            let bare = shown.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            prop_assert_eq!(unquoted(bare.unwrap_or(&shown)), Ok(bytes.clone()), "{}", &shown);
            prop_assert_eq!(unquoted(&shown), Ok(bytes), "{}", &shown);
        }
    }

    #[test]
    fn text_without_escapes_stands_for_itself() {
        for text in ["", "user:{42}", "two words", "it's \"quoted\"", "käse"] {
            assert_eq!(unquoted(text), Ok(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn refuses_what_could_mean_two_things() {
        for text in ["a\\q", "a\\", "\\x0", "\\xg0", "a\\'"] {
            assert_eq!(unquoted(text), Err(BadQuote::Escape), "{text}");
        }
        for text in ["\"", "\"a", "\"a\"b", "\"a\\\""] {
            assert_eq!(unquoted(text), Err(BadQuote::Unbalanced), "{text}");
        }
    }

    #[test]
    fn quotes_what_is_no_plain_word() {
        let cases: [(&[u8], &str); 8] = [
            (b"user:{42}", "user:{42}"),
            (b"", r#""""#),
            (b"two words", r#""two words""#),
            (b"a\"b\\c'", r#""a\"b\\c'""#),
            (b"\n\r\t\x07\x08", r#""\n\r\t\a\b""#),
            (b"\x00\x1b[2J\x7f\xff", r#""\x00\x1b[2J\x7f\xff""#),
            ("käse".as_bytes(), r#""k\xc3\xa4se""#),
            (b"it's", r#""it's""#),
        ];
        for (bytes, text) in cases {
            assert_eq!(Quoted(bytes).to_string(), text);
        }
    }
}
