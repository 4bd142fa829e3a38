//! The keys of a lane that are set aside: in memory, with what a batch has changed, so that it can be undone.

use std::collections::HashMap;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use event::Position;
use event::quarantine::LIBRARIES_DB;
use event::text::Shortened;

use crate::error::Error;
use crate::limits;

/// A key of the destination, or a function library there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Spot {
    /// Database of the destination; [`Spot::LIBRARIES`]: it is a library.
    pub(crate) db: u32,
    /// The key, or the name of the library.
    pub(crate) key: Bytes,
}

/// A change of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which key.
    pub(crate) spot: Spot,
    /// Why it was set aside, as it is stored.
    pub(crate) why: Bytes,
    /// Whether it is in the set from now on.
    pub(crate) held: bool,
}

/// The keys that are set aside.
#[derive(Debug, Default)]
pub(crate) struct Held {
    spots: HashMap<Spot, Bytes>,
    /// Of how many of them nothing is kept.
    left_out: usize,
    /// How many of them are libraries.
    libraries: usize,
    changes: Vec<Change>,
}

/// Keys of one lane of which changes may be left out (`--unsupported drop`). Each is remembered, here and at the
/// destination, so that its later changes do not make a part of a value: some 300 bytes a key at either place.
pub(crate) const LEFT_OUT_KEYS: usize = 1_000_000;

// === impl Spot ===

impl Spot {
    /// In place of a database: function libraries belong to none.
    pub(crate) const LIBRARIES: u32 = LIBRARIES_DB;

    /// A function library.
    pub(crate) fn library(name: Bytes) -> Self {
        Self { db: Self::LIBRARIES, key: name }
    }

    /// Whether it is a function library.
    pub(crate) fn is_library(&self) -> bool {
        self.db == Self::LIBRARIES
    }

    /// The name of the field in the hash at the destination: database, colon, key; of a library: `functions`, colon,
    /// name.
    pub(crate) fn field(&self) -> Bytes {
        let db = if self.is_library() { FUNCTIONS.to_owned() } else { self.db.to_string() };
        let mut field = BytesMut::with_capacity(db.len() + 1 + self.key.len());
        field.put_slice(db.as_bytes());
        field.put_u8(b':');
        field.put_slice(&self.key);
        field.freeze()
    }

    /// Reads the name of a field.
    pub(crate) fn parse(field: &Bytes) -> Option<Self> {
        let colon = field.iter().position(|byte| *byte == b':')?;
        let key = field.slice(colon + 1..);
        match std::str::from_utf8(field.get(..colon)?).ok()? {
            FUNCTIONS => Some(Self::library(key)),
            db => Some(Self { db: db.parse().ok().filter(|db| *db != Self::LIBRARIES)?, key }),
        }
    }
}

/// For the log: as `keyferry quarantine list` shows it and `--key` takes it, but for a long key, which is cut.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_library() {
            true if self.key.is_empty() => write!(f, "function libraries of a FUNCTION RESTORE"),
            true => write!(f, "function library {}", Shortened(&self.key)),
            false => write!(f, "db {} {}", self.db, Shortened(&self.key)),
        }
    }
}

/// What stands in place of a database in the field of a library.
const FUNCTIONS: &str = "functions";

// === impl Held ===

impl Held {
    /// What is stored at the destination.
    pub(crate) fn load(&mut self, spots: impl IntoIterator<Item = (Spot, Bytes)>) {
        self.spots = spots.into_iter().collect();
        self.left_out = self.spots.values().filter(|why| is_left_out(why)).count();
        self.libraries = self.spots.keys().filter(|spot| spot.is_library()).count();
        self.changes.clear();
    }

    /// Whether nothing is set aside, as is usual.
    pub(crate) fn is_empty(&self) -> bool {
        self.spots.is_empty()
    }

    /// Whether a key is set aside. Libraries are in the way of none.
    pub(crate) fn has_keys(&self) -> bool {
        self.spots.len() > self.libraries
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.spots.len()
    }

    /// Whether a key is set aside.
    pub(crate) fn contains(&self, db: u32, key: &Bytes) -> bool {
        !self.spots.is_empty() && self.spots.contains_key(&Spot { db, key: key.clone() })
    }

    /// Sets a key aside.
    ///
    /// # Errors
    /// When there are too many of its kind: quarantined, or left out.
    pub(crate) fn hold(&mut self, db: u32, key: &Bytes, why: &Bytes) -> Result<(), Error> {
        let spot = Spot { db, key: key.clone() };
        if self.spots.contains_key(&spot) {
            return Ok(());
        }
        let quarantined = self.spots.len() - self.left_out;
        match is_left_out(why) {
            true if self.left_out >= LEFT_OUT_KEYS => {
                return Err(Error::LeftOutFull { keys: self.left_out });
            }
            false if quarantined >= limits::QUARANTINED_KEYS => {
                return Err(Error::QuarantineFull { keys: quarantined });
            }
            _ => self.insert(spot.clone(), why.clone()),
        }
        self.changes.push(Change { spot, why: why.clone(), held: true });
        Ok(())
    }

    /// Releases a key.
    pub(crate) fn release(&mut self, db: u32, key: &Bytes) {
        if self.spots.is_empty() {
            return;
        }
        if let Some((spot, why)) = self.remove(&Spot { db, key: key.clone() }) {
            self.changes.push(Change { spot, why, held: false });
        }
    }

    /// Releases every key that `which` names, and gives them.
    pub(crate) fn release_where(&mut self, which: impl Fn(&Spot) -> bool) -> Vec<(Spot, Bytes)> {
        let gone: Vec<_> = self.spots.extract_if(|spot, _| which(spot)).collect();
        self.left_out -= gone.iter().filter(|(_, why)| is_left_out(why)).count();
        self.libraries -= gone.iter().filter(|(spot, _)| spot.is_library()).count();
        let released = gone.iter().cloned();
        self.changes.extend(released.map(|(spot, why)| Change { spot, why, held: false }));
        gone
    }

    /// Replaces the keys that `which` names by those of them that were found: no change of a batch.
    pub(crate) fn reload(
        &mut self,
        which: impl Fn(&Spot) -> bool,
        found: impl Iterator<Item = (Spot, Bytes)>,
    ) {
        let known: Vec<Spot> = self.spots.keys().filter(|spot| which(spot)).cloned().collect();
        known.iter().for_each(|spot| drop(self.remove(spot)));
        found.filter(|(spot, _)| which(spot)).for_each(|(spot, why)| self.insert(spot, why));
    }

    /// What has changed since the last call: it belongs to the batch that is being put together.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Puts changes that were taken ahead of those since.
    pub(crate) fn put_back(&mut self, mut earlier: Vec<Change>) {
        earlier.append(&mut self.changes);
        self.changes = earlier;
    }

    /// Takes changes back, the latest of a batch that will not be executed first.
    pub(crate) fn undo(&mut self, changes: &[Change]) {
        for change in changes.iter().rev() {
            if change.held {
                self.remove(&change.spot);
            } else {
                self.insert(change.spot.clone(), change.why.clone());
            }
        }
    }

    /// Why nothing is kept of the changes of a key, if that is so.
    pub(crate) fn left_out(&self, db: u32, key: &Bytes) -> Option<&str> {
        super::left_out(self.spots.get(&Spot { db, key: key.clone() })?)
    }

    /// Where in the source's history a key was set aside.
    pub(crate) fn since(&self, spot: &Spot) -> Option<Position> {
        super::place_in(self.spots.get(spot)?)
    }

    /// Whether a key that is set aside has gone to another database since.
    pub(crate) fn was_moved(&self, spot: &Spot) -> bool {
        self.spots.get(spot).is_some_and(|note| super::was_moved(note))
    }

    /// Every key that is set aside, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Spot, &Bytes)> {
        self.spots.iter()
    }

    fn insert(&mut self, spot: Spot, why: Bytes) {
        // Counted as what it is now.
        self.remove(&spot);
        self.left_out += usize::from(is_left_out(&why));
        self.libraries += usize::from(spot.is_library());
        self.spots.insert(spot, why);
    }

    fn remove(&mut self, spot: &Spot) -> Option<(Spot, Bytes)> {
        let (spot, why) = self.spots.remove_entry(spot)?;
        self.left_out -= usize::from(is_left_out(&why));
        self.libraries -= usize::from(spot.is_library());
        Some((spot, why))
    }
}

fn is_left_out(why: &[u8]) -> bool {
    super::left_out(why).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_field_reads_back_whatever_the_key_holds() {
        for bytes in [b"".as_slice(), b"a:b", b"\xff\0"] {
            let spot = Spot { db: 12, key: Bytes::copy_from_slice(bytes) };
            assert_eq!(Spot::parse(&spot.field()), Some(spot));
            let library = Spot::library(Bytes::copy_from_slice(bytes));
            assert_eq!(Spot::parse(&library.field()), Some(library));
        }
        assert_eq!(Spot::parse(&key("nothing")), None);
        assert_eq!(Spot::parse(&key("4294967295:a")), None);
        assert_eq!(Spot::library(key("l")).field(), "functions:l");
        assert_eq!(Spot::parse(&key("x:a")), None);
    }

    #[test]
    fn a_key_in_the_log_is_printable_and_not_long() {
        let spot = |key| Spot { db: 3, key };
        assert_eq!(spot(key("a b\n\u{1b}")).to_string(), r#"db 3 "a b\n\x1b""#);
        assert_eq!(spot(key("")).to_string(), r#"db 3 """#);
        assert_eq!(spot(key("plain")).to_string(), "db 3 plain");
        assert_eq!(Spot::library(key("l")).to_string(), "function library l");
        let long = spot(Bytes::from(vec![b'k'; 10_000])).to_string();
        assert!(long.ends_with("k…") && long.len() < 200);
    }

    #[test]
    fn undoing_changes_in_reverse_restores_the_set() {
        let mut held = Held::default();
        held.hold(0, &key("a"), &key("x")).unwrap();
        held.take_changes();
        held.hold(0, &key("b"), &key("x")).unwrap();
        held.release(0, &key("a"));
        held.release(0, &key("b"));
        held.hold(0, &key("a"), &key("x")).unwrap();
        let changes = held.take_changes();
        assert_eq!(changes.len(), 4);
        held.undo(&changes);
        assert!(held.contains(0, &key("a")) && !held.contains(0, &key("b")));
    }

    #[test]
    fn keys_that_are_left_out_have_a_bound_of_their_own() {
        let left_out = Bytes::from("0:1:2:3 left out: a test");
        let number = |number: usize| Bytes::from(number.to_string());
        let mut held = Held::default();
        for at in 0..=limits::QUARANTINED_KEYS {
            held.hold(0, &number(at), &left_out).unwrap();
        }
        let quarantined = key("0:1:2:3 a test");
        held.hold(1, &key("a"), &quarantined).unwrap();
        let changes = held.take_changes();
        for at in limits::QUARANTINED_KEYS + 1..LEFT_OUT_KEYS {
            held.hold(0, &number(at), &left_out).unwrap();
        }
        let error = held.hold(0, &key("more"), &left_out).unwrap_err();
        assert!(matches!(error, Error::LeftOutFull { keys: LEFT_OUT_KEYS }), "{error}");
        held.hold(0, &number(0), &left_out).unwrap();
        for at in 1..limits::QUARANTINED_KEYS {
            held.hold(1, &number(at), &quarantined).unwrap();
        }
        let error = held.hold(1, &key("more"), &quarantined).unwrap_err();
        assert!(matches!(error, Error::QuarantineFull { keys: limits::QUARANTINED_KEYS }));
        // Whatever way they go, there is room again.
        let later = held.take_changes();
        held.release(0, &number(7));
        held.hold(0, &key("more"), &left_out).unwrap();
        held.undo(&held.changes.clone());
        held.take_changes();
        held.undo(&later);
        assert_eq!((held.len(), held.left_out), (changes.len(), changes.len() - 1));
        let stored: Vec<_> = held.iter().map(|(spot, why)| (spot.clone(), why.clone())).collect();
        held.release_where(|spot| spot.db == 0);
        assert_eq!((held.len(), held.left_out), (1, 0));
        held.load(stored);
        assert_eq!(held.left_out, changes.len() - 1);
    }

    #[test]
    fn libraries_are_counted_apart_from_keys() {
        let (mut held, library) = (Held::default(), Spot::LIBRARIES);
        held.load([(Spot::library(key("a")), key("x"))]);
        held.hold(library, &key("b"), &key("x")).unwrap();
        assert!(!held.is_empty() && !held.has_keys());
        held.hold(0, &key("b"), &key("x")).unwrap();
        assert!(held.has_keys());
        held.release(library, &key("a"));
        held.release_where(Spot::is_library);
        assert!(held.has_keys());
        let changes = held.take_changes();
        held.undo(&changes);
        assert!(!held.has_keys() && held.contains(library, &key("a")));
    }

    #[test]
    fn databases_are_told_apart() {
        let mut held = Held::default();
        held.hold(1, &key("a"), &key("x")).unwrap();
        assert!(!held.contains(0, &key("a")) && held.contains(1, &key("a")));
        held.release_where(|spot| spot.db == 1);
        assert!(held.is_empty());
    }
}
