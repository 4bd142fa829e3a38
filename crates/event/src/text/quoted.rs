//! Bytes as redis-cli shows them, quoted only where that is needed to tell them apart.

use std::fmt::{self, Write};

/// Displays bytes in printable ASCII: as they are if they are one plain word, else in double quotes
/// with `\n \r \t \a \b \" \\` and `\xhh`.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

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

/// The longest word that goes without quotes, bytes.
const WORD_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

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
