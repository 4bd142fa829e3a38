//! Commands from words of any kind: `words!["HSET", key, "population", 1418]`.

/// What can stand in a command.
pub(crate) trait Word {
    /// Its bytes.
    fn word(&self) -> Vec<u8>;
}

/// Makes a [`testkit::Command`] of anything that is a [`Word`].
macro_rules! words {
    ($($word:expr),+ $(,)?) => { vec![$($crate::words::Word::word(&$word)),+] };
}
pub(crate) use words;

impl Word for Vec<u8> {
    fn word(&self) -> Vec<u8> {
        self.clone()
    }
}

impl Word for str {
    fn word(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl<T: Word + ?Sized> Word for &T {
    fn word(&self) -> Vec<u8> {
        (*self).word()
    }
}

/// Words that are written as a person would.
macro_rules! spelled {
    ($($kind:ty)+) => { $(impl Word for $kind {
        fn word(&self) -> Vec<u8> {
            self.to_string().into_bytes()
        }
    })+ };
}
spelled!(String u32 u64 i64 usize f64);
