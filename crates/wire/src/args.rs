//! How the arguments of a command are seen, wherever their bytes live.
//!
//! The replication stream yields ranges into a frame, an event yields owned pieces, a test has
//! string literals: everything that judges a command works on [`Args`] and copies nothing.

use bytes::Bytes;

/// The arguments of one command, the name included at index 0.
pub trait Args {
    /// How many arguments there are, with the name.
    fn len(&self) -> usize;

    /// The argument at `index`, or `None` past the end.
    fn get(&self, index: usize) -> Option<&[u8]>;

    /// Whether there is not even a name.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The argument at `index` as owned bytes; a copy unless the implementor can share its memory.
    fn bytes(&self, index: usize) -> Option<Bytes> {
        self.get(index).map(Bytes::copy_from_slice)
    }
}

impl Args for [Bytes] {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.get(index).map(AsRef::as_ref)
    }

    fn bytes(&self, index: usize) -> Option<Bytes> {
        self.get(index).cloned()
    }
}

impl Args for Vec<Bytes> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        Args::get(self.as_slice(), index)
    }

    fn bytes(&self, index: usize) -> Option<Bytes> {
        Args::bytes(self.as_slice(), index)
    }
}

impl Args for [&[u8]] {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        self.get(index).copied()
    }
}

/// Whether the argument at `index` is `word`, in whatever case the issuer typed it.
#[must_use]
pub fn is_word<A: Args + ?Sized>(args: &A, index: usize, word: &str) -> bool {
    args.get(index).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
}

/// The decimal integer that `argument` is.
#[must_use]
pub fn integer(argument: &[u8]) -> Option<i64> {
    std::str::from_utf8(argument).ok()?.parse().ok()
}
