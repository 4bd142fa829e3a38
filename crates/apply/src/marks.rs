//! Which keys a snapshot has named: what a sweep leaves alone.
//!
//! A mark is a 128-bit hash of database and key. Up to a bound they stay in memory; more go to
//! files by hash, and the sweep then compares file by file: so memory stays small however many keys there are, and the
//! disk holds 16 bytes a key. The files are gone with the value.

use std::collections::{BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use event::Shard;
use event::checkpoint::Resync;
use tempfile::TempDir;
use wire::slot::Slots;

use crate::limits;

/// A mark of one key.
pub(crate) type Mark = u128;

/// The marks of one snapshot.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Which snapshot.
    pub(crate) of: Snapshot,
    /// Tracks whose records that were applied before are being read again for them: until that is done, they are not
    /// all.
    pub(crate) rebuilding: BTreeSet<usize>,
    /// The slots that the shard has, once they are known; none: all.
    pub(crate) slots: Option<Option<Slots>>,
    memory: HashSet<Mark>,
    files: Option<Buckets>,
    dir: PathBuf,
    most: usize,
}

/// A snapshot: the shard and the epoch it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Whose.
    pub(crate) shard: Shard,
    /// Which.
    pub(crate) epoch: u64,
}

/// Marks in files, by the first bits of the hash.
#[derive(Debug)]
struct Buckets {
    dir: TempDir,
    name: &'static str,
    /// What has not been written yet.
    open: Vec<Vec<Mark>>,
    held: usize,
}

/// The marks of the keys that a destination holds, to be compared with those of the snapshot.
#[derive(Debug)]
pub(crate) struct Census<'a> {
    marks: &'a Buckets,
    found: Buckets,
    bucket: usize,
    most: usize,
}

/// The mark of a key of the destination.
pub(crate) fn mark(db: u32, key: &[u8]) -> Mark {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, db, key).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}

// === impl Snapshot ===

impl Snapshot {
    /// The snapshot that is being applied.
    pub(crate) fn of(resync: &Resync) -> Self {
        Self { shard: resync.shard, epoch: resync.epoch }
    }
}

// === impl Marks ===

impl Marks {
    /// No marks; those beyond `most` go to a directory of their own in `dir`.
    pub(crate) fn new(of: Snapshot, dir: &Path, most: usize) -> Self {
        let (memory, dir) = (HashSet::new(), dir.to_owned());
        Self { of, rebuilding: BTreeSet::new(), slots: None, memory, files: None, dir, most }
    }

    /// Where they spill to.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Marks a key.
    pub(crate) fn add(&mut self, mark: Mark) -> io::Result<()> {
        if let Some(files) = &mut self.files {
            return files.add(mark);
        }
        self.memory.insert(mark);
        if self.memory.len() >= self.most {
            let mut files = Buckets::new(tempfile::tempdir_in(&self.dir)?, "marks");
            for mark in self.memory.drain() {
                files.add(mark)?;
            }
            self.files = Some(files);
        }
        Ok(())
    }

    /// Whether all marks are in memory, so that [`Marks::has`] answers.
    pub(crate) fn in_memory(&self) -> bool {
        self.files.is_none()
    }

    /// Whether a key is marked; false for every key when the marks are in files.
    pub(crate) fn has(&self, mark: Mark) -> bool {
        self.memory.contains(&mark)
    }

    /// Begins a comparison with what is at the destination; none when all marks are in memory.
    pub(crate) fn census(&self) -> io::Result<Option<Census<'_>>> {
        let Some(marks) = &self.files else { return Ok(None) };
        let found = Buckets::new(tempfile::tempdir_in(&self.dir)?, "found");
        Ok(Some(Census { marks, found, bucket: 0, most: self.most }))
    }
}

// === impl Census ===

impl Census<'_> {
    /// Notes a key that is at the destination.
    pub(crate) fn add(&mut self, mark: Mark) -> io::Result<()> {
        self.found.add(mark)
    }

    /// The next marks of keys that are at the destination and were not named; none when there are no more. As many at
    /// once as memory holds, give or take a file.
    pub(crate) fn strangers(&mut self) -> io::Result<Option<HashSet<Mark>>> {
        let mut strangers = HashSet::new();
        while self.bucket < limits::MARK_FILES && strangers.len() < self.most {
            let named: HashSet<Mark> = self.marks.all(self.bucket)?.into_iter().collect();
            let found = self.found.all(self.bucket)?;
            strangers.extend(found.into_iter().filter(|mark| !named.contains(mark)));
            self.bucket += 1;
        }
        Ok((!strangers.is_empty()).then_some(strangers))
    }
}

// === impl Buckets ===

impl Buckets {
    /// Marks collected before they are written: a megabyte.
    const BUFFERED: usize = 1 << 16;

    fn new(dir: TempDir, name: &'static str) -> Self {
        Self { dir, name, open: vec![Vec::new(); limits::MARK_FILES], held: 0 }
    }

    fn add(&mut self, mark: Mark) -> io::Result<()> {
        let bucket = usize::from((mark >> 120) as u8) % limits::MARK_FILES;
        if let Some(open) = self.open.get_mut(bucket) {
            open.push(mark);
            self.held += 1;
        }
        if self.held >= Self::BUFFERED { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        for (bucket, marks) in
            self.open.iter_mut().enumerate().filter(|(_, marks)| !marks.is_empty())
        {
            let path = self.dir.path().join(format!("{}-{bucket:03}", self.name));
            let mut file = BufWriter::new(OpenOptions::new().create(true).append(true).open(path)?);
            for mark in marks.drain(..) {
                file.write_all(&mark.to_le_bytes())?;
            }
            file.flush()?;
        }
        self.held = 0;
        Ok(())
    }

    /// All marks of one bucket.
    fn all(&self, bucket: usize) -> io::Result<Vec<Mark>> {
        let mut marks = self.open.get(bucket).cloned().unwrap_or_default();
        let path = self.dir.path().join(format!("{}-{bucket:03}", self.name));
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let (whole, _) = bytes.as_chunks::<16>();
        marks.extend(whole.iter().map(|bytes| Mark::from_le_bytes(*bytes)));
        Ok(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Snapshot = Snapshot { shard: Shard(0), epoch: 1 };

    fn keys(range: std::ops::Range<u32>) -> impl Iterator<Item = Mark> {
        range.map(|number| mark(0, format!("key:{number}").as_bytes()))
    }

    #[test]
    fn a_few_marks_stay_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut marks = Marks::new(OF, dir.path(), 1_000);
        keys(0..100).for_each(|mark| marks.add(mark).unwrap());
        assert!(marks.in_memory() && keys(0..100).all(|mark| marks.has(mark)));
        assert!(!marks.has(mark(1, b"key:1")) && !marks.has(mark(0, b"other")));
        assert!(marks.census().unwrap().is_none());
    }

    #[test]
    fn many_marks_find_exactly_the_strangers_with_little_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut marks = Marks::new(OF, dir.path(), 1_000);
        keys(0..200_000).for_each(|mark| marks.add(mark).unwrap());
        assert!(!marks.in_memory());
        let mut census = marks.census().unwrap().unwrap();
        keys(100_000..203_000).for_each(|mark| census.add(mark).unwrap());
        let (mut strangers, mut rounds) = (HashSet::new(), 0);
        while let Some(some) = census.strangers().unwrap() {
            assert!(some.len() < 2_000);
            strangers.extend(some);
            rounds += 1;
        }
        assert_eq!(strangers, keys(200_000..203_000).collect());
        assert!(rounds > 1);
        drop(census);
        drop(marks);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
