//! Deadlines that were written later than they are, so that they can be settled. Pure data.
//!
//! Bounded in memory: what does not fit is counted and left to the source's own delete. Every change can be taken back,
//! the latest first, for batches that are not executed.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::limits;

/// The true deadlines of keys and fields of the destination that were written with later ones.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    dbs: HashMap<u32, Keys>,
    /// Deadlines in all.
    len: usize,
    /// What they cost in memory, about.
    bytes: usize,
    changes: Vec<Before>,
    left_out: u64,
    questions: u64,
    /// How many of those that did not fit the log has not told yet.
    pub(crate) untold: u64,
}

/// What was put off of one key: its true deadlines, Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutOff {
    /// That of the key; none: it has none, or the one that was written.
    pub(crate) key_ms: Option<i64>,
    /// Those of fields of a hash.
    pub(crate) fields: Fields,
}

/// The true deadline of a field, Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    ms: i64,
    /// It is the true one if the destination answers this question so; 0: it is.
    question: u64,
}

/// The true deadlines of fields of a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    of: BTreeMap<Bytes, Due>,
    /// What they cost in memory, about.
    bytes: usize,
}

/// How things were before a change.
#[derive(Debug)]
pub(crate) enum Before {
    /// Of one key.
    Key(u32, Bytes, Option<PutOff>),
    /// Of one key's own deadline and of some of its fields, in the order in which they were changed. The others are
    /// not copied: a hash may have many, and commands that change one of them come in thousands.
    Fields(u32, Bytes, Option<i64>, Vec<(Bytes, Option<Due>)>),
    /// Of a database that was emptied.
    Db(u32, Keys),
    /// Two databases were exchanged.
    Exchanged(u32, u32),
}

/// The keys of a database.
type Keys = HashMap<Bytes, PutOff>;

/// What a key costs besides its name: its place in the table, its name's allocation.
const KEY_COST_BYTES: usize = 128;
/// What a field costs besides its name.
const FIELD_COST_BYTES: usize = 64;

// === impl Deadlines ===

impl Deadlines {
    /// Whether there are none, as is usual.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// What was put off of a key.
    pub(crate) fn get(&self, db: u32, key: &[u8]) -> Option<&PutOff> {
        if self.is_empty() {
            return None;
        }
        self.dbs.get(&db)?.get(key)
    }

    /// Notes what is put off of a key from now on.
    pub(crate) fn set(&mut self, db: u32, key: &[u8], mut after: PutOff) {
        let before = self.remove(db, key);
        if before.is_none() && after.is_empty() {
            return;
        }
        self.left_out += after.fields.truncate(limits::DEADLINES_OF_HASH);
        // A name of its own: a slice would keep its whole record.
        let key = Bytes::copy_from_slice(key);
        if self.bytes.saturating_add(after.bytes(&key)) <= limits::DEADLINES_BYTES {
            self.insert(db, key.clone(), after);
        } else {
            self.left_out += after.len() as u64;
        }
        self.changes.push(Before::Key(db, key, before));
    }

    /// Notes what is put off of fields of a hash from now on: nothing of those without a deadline. The key's own deadline
    /// is forgotten if it `may_go` with them.
    pub(crate) fn set_fields<'a>(
        &mut self,
        db: u32,
        key: &[u8],
        may_go: bool,
        fields: impl Iterator<Item = (&'a [u8], Option<i64>)>,
    ) {
        let known = |ms| Due { ms, question: 0 };
        self.set_dues(db, key, may_go, fields.map(|(field, ms)| (field, ms.map(known))));
    }

    /// Notes that some of these fields may have got that deadline, which the destination says. Gives the number of the
    /// question.
    pub(crate) fn ask(&mut self, db: u32, key: &[u8], fields: &[&Bytes], ms: i64) -> u64 {
        self.questions += 1;
        let due = Due { ms, question: self.questions };
        self.set_dues(db, key, false, fields.iter().map(|field| (&field[..], Some(due))));
        self.questions
    }

    /// The answer to a question about a field, unless something has happened to the field since.
    pub(crate) fn answer(&mut self, (db, key): (u32, &[u8]), field: &[u8], answer: (u64, bool)) {
        let (question, got_it) = answer;
        let Some(mut of) = self.remove(db, key) else { return };
        if let Some(due) = of.fields.of.get_mut(field).filter(|due| due.question == question) {
            due.question = 0;
            if !got_it {
                of.fields.set(field, None);
            }
        }
        self.insert(db, Bytes::copy_from_slice(key), of);
    }

    /// Forgets questions: nobody will answer them any more.
    pub(crate) fn drop_questions(&mut self) {
        if self.questions == 0 {
            return;
        }
        for keys in self.dbs.values_mut() {
            for (key, of) in keys.iter_mut().filter(|(_, of)| of.fields.has_questions()) {
                self.len -= of.len();
                self.bytes -= of.bytes(key);
                of.fields.drop_questions();
                if !of.is_empty() {
                    self.len += of.len();
                    self.bytes += of.bytes(key);
                }
            }
            keys.retain(|_, of| !of.is_empty());
        }
        self.dbs.retain(|_, keys| !keys.is_empty());
    }

    fn set_dues<'a>(
        &mut self,
        db: u32,
        key: &[u8],
        may_go: bool,
        fields: impl Iterator<Item = (&'a [u8], Option<Due>)>,
    ) {
        let mut of = self.remove(db, key).unwrap_or_default();
        let key_ms = of.key_ms;
        if may_go {
            of.key_ms = None;
        }
        let mut before = Vec::new();
        for (field, ms) in fields {
            let known = of.fields.of.get(field).copied();
            let has_room = known.is_some()
                || of.fields.len() < limits::DEADLINES_OF_HASH
                    && self.bytes.saturating_add(of.bytes(key)) <= limits::DEADLINES_BYTES;
            match ms {
                Some(_) if !has_room => self.left_out += 1,
                None if known.is_none() => {}
                _ => before.push((of.fields.set(field, ms), known)),
            }
        }
        let key = Bytes::copy_from_slice(key);
        self.insert(db, key.clone(), of);
        if !before.is_empty() || (may_go && key_ms.is_some()) {
            self.changes.push(Before::Fields(db, key, key_ms, before));
        }
    }

    /// Forgets a key.
    pub(crate) fn forget(&mut self, db: u32, key: &[u8]) {
        if !self.is_empty() {
            self.set(db, key, PutOff::default());
        }
    }

    /// Forgets a key, and gives what was put off of it.
    pub(crate) fn take(&mut self, db: u32, key: &[u8]) -> PutOff {
        let taken = self.get(db, key).cloned().unwrap_or_default();
        self.forget(db, key);
        taken
    }

    /// Forgets the keys that `which` names. They count as those that do not fit.
    pub(crate) fn forget_where(&mut self, which: impl Fn(&[u8]) -> bool) {
        let of_db = |(db, keys): (&u32, &Keys)| -> Vec<(u32, Bytes)> {
            let named = keys.keys().filter(|key| which(key));
            named.map(|key| (*db, key.clone())).collect()
        };
        let forgotten: Vec<(u32, Bytes)> = self.dbs.iter().flat_map(of_db).collect();
        for (db, key) in forgotten {
            self.left_out += self.take(db, &key).len() as u64;
        }
    }

    /// Forgets a database.
    pub(crate) fn clear_db(&mut self, db: u32) {
        if let Some(keys) = self.dbs.remove(&db) {
            self.discount(&keys);
            self.changes.push(Before::Db(db, keys));
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        let dbs: Vec<u32> = self.dbs.keys().copied().collect();
        dbs.into_iter().for_each(|db| self.clear_db(db));
    }

    /// Exchanges two databases.
    pub(crate) fn exchange(&mut self, first: u32, second: u32) {
        if !self.is_empty() {
            self.exchange_keys(first, second);
            self.changes.push(Before::Exchanged(first, second));
        }
    }

    /// Takes up to `count` keys out, of any database, each with what was put off of it; none of which something is asked.
    pub(crate) fn take_some(&mut self, count: usize) -> Vec<(u32, Bytes, PutOff)> {
        let mut taken = Vec::new();
        for (db, keys) in &mut self.dbs {
            let room = count - taken.len();
            let some = keys.extract_if(|_, of| !of.fields.has_questions()).take(room);
            taken.extend(some.map(|(key, of)| (*db, key, of)));
        }
        self.dbs.retain(|_, keys| !keys.is_empty());
        for (db, key, of) in &taken {
            self.len -= of.len();
            self.bytes -= of.bytes(key);
            self.changes.push(Before::Key(*db, key.clone(), Some(of.clone())));
        }
        taken
    }

    /// Drops keys of which nothing is later than `ms`: nobody will ask for them again.
    pub(crate) fn drop_until(&mut self, ms: i64) {
        for keys in self.dbs.values_mut() {
            for (key, of) in keys.extract_if(|_, of| !of.reaches_beyond(ms)) {
                self.len -= of.len();
                self.bytes -= of.bytes(&key);
            }
        }
        self.dbs.retain(|_, keys| !keys.is_empty());
    }

    /// How many did not fit, since the last call.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// How things were before each change since the last call: they belong to the batch that is being put together.
    pub(crate) fn take_changes(&mut self) -> Vec<Before> {
        std::mem::take(&mut self.changes)
    }

    /// Puts what was taken ahead of the changes since.
    pub(crate) fn put_back(&mut self, mut earlier: Vec<Before>) {
        earlier.append(&mut self.changes);
        self.changes = earlier;
    }

    /// Takes changes back, the latest of a batch that will not be executed first.
    pub(crate) fn undo(&mut self, changes: Vec<Before>) {
        for change in changes.into_iter().rev() {
            match change {
                Before::Key(db, key, before) => {
                    self.remove(db, &key);
                    self.insert(db, key, before.unwrap_or_default());
                }
                Before::Fields(db, key, key_ms, fields) => {
                    let mut of = self.remove(db, &key).unwrap_or_default();
                    of.key_ms = key_ms;
                    for (field, ms) in fields.into_iter().rev() {
                        of.fields.set(&field, ms);
                    }
                    self.insert(db, key, of);
                }
                Before::Db(db, keys) => {
                    for (key, of) in keys {
                        self.insert(db, key, of);
                    }
                }
                Before::Exchanged(first, second) => self.exchange_keys(first, second),
            }
        }
    }

    fn exchange_keys(&mut self, first: u32, second: u32) {
        let (one, other) = (self.dbs.remove(&first), self.dbs.remove(&second));
        self.dbs.extend(one.map(|keys| (second, keys)));
        self.dbs.extend(other.map(|keys| (first, keys)));
    }

    fn insert(&mut self, db: u32, key: Bytes, of: PutOff) {
        if !of.is_empty() {
            self.len += of.len();
            self.bytes += of.bytes(&key);
            self.dbs.entry(db).or_default().insert(key, of);
        }
    }

    fn remove(&mut self, db: u32, key: &[u8]) -> Option<PutOff> {
        let before = self.dbs.get_mut(&db)?.remove(key)?;
        self.len -= before.len();
        self.bytes -= before.bytes(key);
        Some(before)
    }

    fn discount(&mut self, keys: &Keys) {
        self.len -= keys.values().map(PutOff::len).sum::<usize>();
        self.bytes -= keys.iter().map(|(key, of)| of.bytes(key)).sum::<usize>();
    }
}

// === impl PutOff ===

impl PutOff {
    /// That of a key without fields.
    pub(crate) fn of_key(key_ms: Option<i64>) -> Self {
        Self { key_ms, fields: Fields::default() }
    }

    /// Whether nothing was put off.
    pub(crate) fn is_empty(&self) -> bool {
        self.key_ms.is_none() && self.fields.len() == 0
    }

    fn len(&self) -> usize {
        usize::from(self.key_ms.is_some()) + self.fields.len()
    }

    fn bytes(&self, key: &[u8]) -> usize {
        KEY_COST_BYTES + key.len() + self.fields.bytes
    }

    fn reaches_beyond(&self, ms: i64) -> bool {
        let fields = self.fields.of.values().map(|due| due.ms);
        self.key_ms.into_iter().chain(fields).any(|of| of > ms)
    }
}

// === impl Fields ===

impl Fields {
    /// Each field whose deadline is known, and that, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, i64)> {
        let known = self.of.iter().filter(|(_, due)| due.question == 0);
        known.map(|(field, due)| (field, due.ms))
    }

    /// Notes the deadline of a field, or that it has none. Gives the field's name, which shares no memory with a record.
    fn set(&mut self, field: &[u8], due: Option<Due>) -> Bytes {
        let known = self.of.remove_entry(field);
        if known.is_some() {
            self.bytes -= field.len() + FIELD_COST_BYTES;
        }
        let name = known.map_or_else(|| Bytes::copy_from_slice(field), |(name, _)| name);
        if let Some(due) = due {
            self.bytes += field.len() + FIELD_COST_BYTES;
            self.of.insert(name.clone(), due);
        }
        name
    }

    /// The deadline of a field, if it is known.
    pub(crate) fn get(&self, field: &[u8]) -> Option<i64> {
        self.of.get(field).filter(|due| due.question == 0).map(|due| due.ms)
    }

    fn has_questions(&self) -> bool {
        self.of.values().any(|due| due.question != 0)
    }

    fn drop_questions(&mut self) {
        for (field, _) in self.of.extract_if(.., |_, due| due.question != 0) {
            self.bytes -= field.len() + FIELD_COST_BYTES;
        }
    }

    fn len(&self) -> usize {
        self.of.len()
    }

    /// Forgets the last ones, so that not more than so many stay. Gives how many that were.
    fn truncate(&mut self, most: usize) -> u64 {
        let mut gone = 0;
        while self.of.len() > most
            && let Some((field, _)) = self.of.pop_last()
        {
            self.bytes -= field.len() + FIELD_COST_BYTES;
            gone += 1;
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> PutOff {
        PutOff::of_key(Some(ms))
    }

    fn due(ms: i64) -> Due {
        Due { ms, question: 0 }
    }

    fn found(deadlines: &Deadlines) -> Vec<(u32, Bytes, i64)> {
        let mut found: Vec<_> = deadlines
            .dbs
            .iter()
            .flat_map(|(db, keys)| {
                keys.iter().map(|(key, of)| (*db, key.clone(), of.key_ms.unwrap_or(0)))
            })
            .collect();
        found.sort();
        assert_eq!(found.len(), deadlines.len());
        found
    }

    #[test]
    fn changes_are_taken_back_in_reverse() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, b"a", ms(1));
        deadlines.set(1, b"b", ms(2));
        deadlines.take_changes();
        let (before, bytes) = (found(&deadlines), deadlines.bytes);
        deadlines.set(0, b"a", ms(3));
        deadlines.exchange(0, 1);
        deadlines.clear_db(0);
        deadlines.set(0, b"c", ms(4));
        assert_eq!(deadlines.take(1, b"a"), ms(3));
        assert_eq!(deadlines.take_some(9).len(), 1);
        deadlines.clear();
        assert!(deadlines.is_empty());
        let changes = deadlines.take_changes();
        deadlines.undo(changes);
        assert_eq!((found(&deadlines), deadlines.bytes), (before, bytes));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut deadlines = Deadlines::default();
        let key = vec![b'x'; 1 << 20];
        let fitting = limits::DEADLINES_BYTES / ((1 << 20) + KEY_COST_BYTES);
        for db in 0..u32::try_from(fitting).unwrap() + 3 {
            deadlines.set(db, &key, ms(1));
        }
        assert_eq!((deadlines.len(), deadlines.take_left_out()), (fitting, 3));
        deadlines.clear();
        assert_eq!((deadlines.len(), deadlines.bytes), (0, 0));
        let mut hash = PutOff::default();
        for number in 0..limits::DEADLINES_OF_HASH + 2 {
            hash.fields.set(number.to_string().as_bytes(), Some(due(1)));
        }
        deadlines.set(0, b"hash", hash);
        assert_eq!(deadlines.len(), limits::DEADLINES_OF_HASH);
        assert_eq!(deadlines.take_left_out(), 2);
    }

    #[test]
    fn fields_are_changed_in_place_and_taken_back() {
        let mut deadlines = Deadlines::default();
        let set = |deadlines: &mut Deadlines, may_go, fields: &[(&str, Option<i64>)]| {
            let fields = fields.iter().map(|(field, ms)| (field.as_bytes(), *ms));
            deadlines.set_fields(0, b"h", may_go, fields);
        };
        deadlines.set(0, b"h", ms(1));
        set(&mut deadlines, false, &[("a", Some(2)), ("b", Some(3))]);
        deadlines.take_changes();
        let (before, bytes) = (deadlines.get(0, b"h").cloned(), deadlines.bytes);
        set(&mut deadlines, false, &[("a", Some(4)), ("a", Some(5)), ("c", None)]);
        set(&mut deadlines, true, &[("a", None), ("b", None)]);
        assert!(deadlines.is_empty() && deadlines.bytes == 0);
        set(&mut deadlines, false, &[("d", Some(6))]);
        let changes = deadlines.take_changes();
        let copied = |change: &Before| match change {
            Before::Fields(_, _, _, fields) => fields.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(changes.iter().map(copied).collect::<Vec<_>>(), [2, 2, 1]);
        deadlines.undo(changes);
        assert_eq!((deadlines.get(0, b"h").cloned(), deadlines.bytes), (before, bytes));
        let many: Vec<_> =
            (0..limits::DEADLINES_OF_HASH).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(|field| (field.as_str(), Some(7))).collect();
        set(&mut deadlines, false, &many);
        assert_eq!(deadlines.take_left_out(), 2, "a and b are there already");
    }

    #[test]
    fn what_the_destination_has_to_say_counts_once_it_has_and_nothing_has_happened_since() {
        let mut deadlines = Deadlines::default();
        let fields = ["a", "b", "c", "d"].map(Bytes::from);
        let question = deadlines.ask(0, b"h", &fields.each_ref(), 7);
        let known = |deadlines: &Deadlines| -> Vec<(Bytes, i64)> {
            let of = deadlines.get(0, b"h").map(|of| of.fields.iter());
            of.into_iter().flatten().map(|(field, ms)| (field.clone(), ms)).collect()
        };
        assert_eq!(known(&deadlines), []);
        deadlines.set_fields(0, b"h", false, [(&b"c"[..], None)].into_iter());
        let again = deadlines.ask(0, b"h", &[&fields[3]], 9);
        for (field, got_it) in fields.iter().zip([true, false, true, true]) {
            deadlines.answer((0, b"h"), field, (question, got_it));
        }
        assert_eq!(known(&deadlines), [(fields[0].clone(), 7)]);
        deadlines.answer((0, b"h"), &fields[3], (again, true));
        assert_eq!(known(&deadlines), [(fields[0].clone(), 7), (fields[3].clone(), 9)]);
        deadlines.ask(0, b"h", &[&fields[1]], 9);
        deadlines.ask(0, b"other", &[&fields[1]], 9);
        assert!(deadlines.take_some(9).is_empty(), "there are answers to come");
        deadlines.drop_questions();
        assert_eq!((known(&deadlines).len(), deadlines.len()), (2, 2));
        let changes = deadlines.take_changes();
        deadlines.undo(changes);
        assert!(deadlines.is_empty() && deadlines.bytes == 0);
    }

    #[test]
    fn what_has_passed_is_dropped() {
        let mut deadlines = Deadlines::default();
        deadlines.set(0, b"a", ms(5));
        deadlines.set(0, b"b", ms(6));
        let mut hash = ms(1);
        hash.fields.set(b"f", Some(due(9)));
        deadlines.set(0, b"h", hash);
        deadlines.drop_until(5);
        assert!(deadlines.get(0, b"a").is_none() && deadlines.get(0, b"h").is_some());
        assert_eq!(deadlines.take_some(1).len(), 1);
        assert_eq!(deadlines.dbs.len(), 1);
    }
}
