//! Commands written as text: words between spaces, commands between ` ; `.
//!
//! A word is taken as it is but for `\s` (space), `\n` (line feed), `\e` (nothing at all: the empty
//! word) and `\xHH` (any byte).

/// The words of every command of a line.
pub(crate) fn commands(line: &str) -> impl Iterator<Item = Vec<&str>> {
    line.split(" ; ").map(|command| command.split(' ').collect())
}

/// The bytes that a word stands for.
pub(crate) fn unescape(word: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let mut after = escape.chars();
        match after.next() {
            Some('s') => bytes.push(b' '),
            Some('n') => bytes.push(b'\n'),
            Some('e') => {}
            Some('x') => {
                let hex = escape.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(hex.expect("two hexadecimal digits after \\x"));
                after.nth(1);
            }
            other => unreachable!("the tables use \\s, \\n, \\e and \\xHH, not \\{other:?}"),
        }
        rest = after.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_their_bytes() {
        assert_eq!(unescape(r"a\sb\n\x00\xffc"), b"a b\n\x00\xffc");
        assert_eq!(unescape(r"\e"), b"");
    }

    #[test]
    fn a_line_is_commands_of_words() {
        let commands: Vec<_> = commands("SET k v ; GET k").collect();
        assert_eq!(commands, [vec!["SET", "k", "v"], vec!["GET", "k"]]);
    }
}
