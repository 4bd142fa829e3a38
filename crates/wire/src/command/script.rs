//! Scripts that travel as such, from servers up to 4.0.
//!
//! Such a server sends the text of a script once to each replica, and after that only its digest.
//! So whoever reads the stream has to know, beginning with the notes of a snapshot (`lua`), every
//! script that was ever sent, also over its own restarts: what was forgotten cannot be asked for.
//! [`Scripts`] follows that and puts the text back, so that what goes on needs no memory of its own.

use std::collections::HashMap;

use bytes::Bytes;
use thiserror::Error;

use crate::args::{Args, is_word};
use crate::sha1::sha1;

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 40;

/// The digest that names a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 20]);

/// The scripts that a source's replicas know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scripts {
    known: HashMap<Digest, Bytes>,
}

/// What following a command of the stream came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Run this, an `EVAL` with the text of the script: what it does nobody else knows. Which keys it
    /// writes is up to it, and its declared ones are those that [`keys`](super::keys) tells.
    Run(Vec<Bytes>),
    /// Only the memory of scripts has changed.
    Noted,
}

/// Why a command cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// The text was sent before we listened, or was forgotten since.
    #[error("the script with the digest {0} was never sent to this replica")]
    Unknown(String),
    /// The arguments are not those of a command about scripts.
    #[error("not a command about scripts that travels")]
    Malformed,
}

// === impl Scripts ===

impl Scripts {
    /// Notes a script, and gives its name. Known ones are noted once. The text is copied: a slice
    /// would keep the buffer that it came in for as long as the script is known.
    pub fn learn(&mut self, text: &[u8]) -> Digest {
        let digest = Digest::of(text);
        self.known.entry(digest).or_insert_with(|| Bytes::copy_from_slice(text));
        digest
    }

    /// The text of a script.
    #[must_use]
    pub fn get(&self, digest: Digest) -> Option<&Bytes> {
        self.known.get(&digest)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Follows a command for which [`normalise`](super::normalise) says
    /// [`Script`](super::normalise::Normalised::Script).
    ///
    /// # Errors
    /// It names a script that is not known, or is no such command.
    pub fn follow<A: Args + ?Sized>(&mut self, args: &A) -> Result<Followed, ScriptError> {
        if is_word(args, 0, "SCRIPT") {
            return self.manage(args);
        }
        let script = args.bytes(1).ok_or(ScriptError::Malformed)?;
        let text = if is_word(args, 0, "EVAL") {
            self.learn(&script);
            script
        } else if is_word(args, 0, "EVALSHA") {
            let digest = Digest::parse(&script);
            let text = digest.and_then(|digest| self.known.get(&digest)).cloned();
            let shown = script.get(..DIGEST_DIGITS).unwrap_or(&script);
            text.ok_or_else(|| ScriptError::Unknown(shown.escape_ascii().to_string()))?
        } else {
            return Err(ScriptError::Malformed);
        };
        let rest = (2..args.len()).filter_map(|index| args.bytes(index));
        Ok(Followed::Run([Bytes::from_static(b"EVAL"), text].into_iter().chain(rest).collect()))
    }

    fn manage<A: Args + ?Sized>(&mut self, args: &A) -> Result<Followed, ScriptError> {
        if is_word(args, 1, "LOAD") {
            self.learn(args.get(2).ok_or(ScriptError::Malformed)?);
        } else if is_word(args, 1, "FLUSH") {
            self.clear();
        } else {
            return Err(ScriptError::Malformed);
        }
        Ok(Followed::Noted)
    }
}

// === impl Digest ===

impl Digest {
    /// Of a script's text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self(sha1(text))
    }

    /// From 40 hexadecimal digits in any case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (pairs, []) = text.as_chunks::<2>() else { return None };
        let mut digest = [0; 20];
        if pairs.len() != digest.len() {
            return None;
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(digest))
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "return redis.call('incr','n1')";

    fn follow(scripts: &mut Scripts, words: &[&str]) -> Result<Followed, ScriptError> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        scripts.follow(words.as_slice())
    }

    fn run(words: &[&'static str]) -> Result<Followed, ScriptError> {
        Ok(Followed::Run(words.iter().map(|word| Bytes::from(*word)).collect()))
    }

    fn hex(digest: Digest) -> String {
        digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn puts_the_text_in_the_place_of_a_digest() {
        let mut scripts = Scripts::default();
        let digest = hex(Digest::of(TEXT.as_bytes()));
        assert_eq!(follow(&mut scripts, &["eval", TEXT, "1", "k", "a"]), {
            run(&["EVAL", TEXT, "1", "k", "a"])
        });
        for digest in [digest.clone(), digest.to_uppercase()] {
            let words = ["EVALSHA", &digest, "2", "k", "l"];
            assert_eq!(follow(&mut scripts, &words), run(&["EVAL", TEXT, "2", "k", "l"]));
        }
        assert_eq!(scripts.known.values().collect::<Vec<_>>(), [TEXT]);
    }

    #[test]
    fn knows_what_was_loaded_until_it_is_flushed() {
        let mut scripts = Scripts::default();
        let digest = hex(scripts.learn(TEXT.as_bytes()));
        assert_eq!(follow(&mut scripts, &["script", "load", TEXT]), Ok(Followed::Noted));
        assert_eq!(scripts.known.len(), 1, "a known one is held once");
        assert!(follow(&mut scripts, &["EVALSHA", &digest, "0"]).is_ok());
        assert_eq!(follow(&mut scripts, &["SCRIPT", "FLUSH"]), Ok(Followed::Noted));
        let error = follow(&mut scripts, &["EVALSHA", &digest, "0"]).unwrap_err();
        assert_eq!(error, ScriptError::Unknown(digest));
        assert_eq!(scripts, Scripts::default());
    }

    #[test]
    fn refuses_what_is_no_script() {
        let mut scripts = Scripts::default();
        for words in [
            &["EVAL"][..],
            &["SCRIPT"],
            &["SCRIPT", "LOAD"],
            &["SCRIPT", "KILL"],
            &["SET", "a", "b"],
        ] {
            assert_eq!(follow(&mut scripts, words), Err(ScriptError::Malformed), "{words:?}");
        }
        for digest in ["", "zz", &"g".repeat(40), &"a".repeat(39), &"a".repeat(38)] {
            assert!(Digest::parse(digest.as_bytes()).is_none(), "{digest}");
            let error = follow(&mut scripts, &["EVALSHA", digest, "0"]);
            assert_eq!(error, Err(ScriptError::Unknown(digest.to_owned())));
        }
    }
}
