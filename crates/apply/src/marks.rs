//! Which keys a snapshot has named: what a sweep leaves alone.
//!
//! A mark is a 128-bit hash of database and key. Up to a bound they stay in memory; more go to
//! files by hash, and the sweep then compares file by file: so memory stays small however many keys there are, and the
//! disk holds 16 bytes a key. The files are gone with the value.
//!
//! Guarantees: a mark is not lost when writing fails, whatever the disk has taken by then: it is written again with the
//! next.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
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
    buckets: Vec<Bucket>,
    /// So many marks are in no file yet.
    held: usize,
}

/// Marks whose hash begins alike.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// What has not been written yet.
    open: Vec<Mark>,
    /// So many bytes of the file are marks. What stands behind them is left of a write that failed.
    written: u64,
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
        if self.memory.len() >= self.most { self.spill() } else { Ok(()) }
    }

    /// Moves the marks from memory to files. Where it fails they stay in memory, and the next mark tries again.
    fn spill(&mut self) -> io::Result<()> {
        let mut files = Buckets::new(&self.dir, "marks")?;
        self.memory.iter().try_for_each(|mark| files.add(*mark))?;
        self.files = Some(files);
        self.memory = HashSet::new();
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
        let found = Buckets::new(&self.dir, "found")?;
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

    /// No marks; the files will stand in a directory of their own in `dir`, which is made where it is missing.
    fn new(dir: &Path, name: &'static str) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let (dir, buckets) =
            (tempfile::tempdir_in(dir)?, vec![Bucket::default(); limits::MARK_FILES]);
        Ok(Self { dir, name, buckets, held: 0 })
    }

    fn add(&mut self, mark: Mark) -> io::Result<()> {
        let bucket = usize::from((mark >> 120) as u8) % limits::MARK_FILES;
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.open.push(mark);
            self.held += 1;
        }
        if self.held >= Self::BUFFERED { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        for number in 0..self.buckets.len() {
            let path = self.path(number);
            if let Some(bucket) = self.buckets.get_mut(number) {
                bucket.write(&path)?;
            }
        }
        self.held = 0;
        Ok(())
    }

    fn path(&self, bucket: usize) -> PathBuf {
        self.dir.path().join(format!("{}-{bucket:03}", self.name))
    }

    /// All marks of one bucket.
    fn all(&self, number: usize) -> io::Result<Vec<Mark>> {
        let Some(bucket) = self.buckets.get(number) else { return Ok(Vec::new()) };
        bucket.all(&self.path(number))
    }
}

// === impl Bucket ===

impl Bucket {
    /// Writes what is in no file yet.
    fn write(&mut self, path: &Path) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = self.open.iter().flat_map(|mark| mark.to_le_bytes()).collect();
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.seek(SeekFrom::Start(self.written))?;
        file.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        self.open.clear();
        Ok(())
    }

    /// All marks.
    fn all(&self, path: &Path) -> io::Result<Vec<Mark>> {
        let mut marks = self.open.clone();
        if self.written > 0 {
            let mut bytes = Vec::new();
            File::open(path)?.take(self.written).read_to_end(&mut bytes)?;
            let (whole, _) = bytes.as_chunks::<16>();
            marks.extend(whole.iter().map(|bytes| Mark::from_le_bytes(*bytes)));
        }
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
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_directory_is_made_when_marks_go_to_files() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("marks").join("stream");
        let mut marks = Marks::new(OF, &deep, 10);
        keys(0..20).for_each(|mark| marks.add(mark).unwrap());
        assert!(!marks.in_memory() && deep.is_dir());
    }

    #[test]
    fn marks_that_cannot_be_spilled_stay_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("marks");
        fs::write(&blocked, "a file where the directory is to be").unwrap();
        let mut marks = Marks::new(OF, &blocked, 100);
        let failed = keys(0..200).filter(|mark| marks.add(*mark).is_err()).count();
        assert_eq!(failed, 101);
        assert!(marks.in_memory() && keys(0..200).all(|mark| marks.has(mark)));
        fs::remove_file(&blocked).unwrap();
        marks.add(mark(0, b"another")).unwrap();
        assert_eq!(strangers(&marks, keys(0..200)), HashSet::new());
    }

    #[test]
    fn a_write_that_fails_halfway_loses_no_mark() {
        let dir = tempfile::tempdir().unwrap();
        let mut marks = Marks::new(OF, dir.path(), 100);
        keys(0..70_000).for_each(|mark| marks.add(mark).unwrap());
        let files = marks.files.as_ref().unwrap();
        // A directory stands where one of the files is to be: those before it are written, those behind it are not. And
        // another file has been written in part.
        let (blocked, torn) = (files.path(limits::MARK_FILES / 2), files.path(0));
        let kept = fs::read(&blocked).unwrap();
        fs::remove_file(&blocked).unwrap();
        fs::create_dir(&blocked).unwrap();
        OpenOptions::new().append(true).open(&torn).unwrap().write_all(b"half a mark").unwrap();
        assert!(keys(70_000..140_000).filter(|mark| marks.add(*mark).is_err()).count() > 0);
        fs::remove_dir(&blocked).unwrap();
        fs::write(&blocked, kept).unwrap();
        keys(140_000..150_000).for_each(|mark| marks.add(mark).unwrap());
        let expected = keys(150_000..150_100).collect();
        assert_eq!(strangers(&marks, keys(0..150_100)), expected);
    }

    /// All of `held` that the marks do not name.
    fn strangers(marks: &Marks, held: impl Iterator<Item = Mark>) -> HashSet<Mark> {
        let (mut census, mut strangers) = (marks.census().unwrap().unwrap(), HashSet::new());
        for mark in held {
            census.add(mark).unwrap();
        }
        while let Some(some) = census.strangers().unwrap() {
            strangers.extend(some);
        }
        strangers
    }
}
