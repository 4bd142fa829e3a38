//! A disk in memory that fills up, fails, writes half, and at a power cut keeps what it likes of
//! what was not synced.

#![expect(clippy::cast_possible_truncation, reason = "sizes in tests are small")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use runtime::Random;

use super::super::disk::{Disk, DiskFile};

/// What the disk writes at once: a power cut keeps or loses each whole.
const SECTOR_BYTES: usize = 512;

/// A disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub(super) struct SimDisk {
    state: Arc<Mutex<State>>,
    syncs: Arc<Syncs>,
}

/// A gate before every sync.
#[derive(Debug, Default)]
struct Syncs {
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<u64, Inode>,
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    /// What happened to names since their directory was synced; `None` is removal.
    pending: Vec<(PathBuf, Option<u64>)>,
    capacity_bytes: u64,
    sync_fails: bool,
    /// Writes are cut at random places.
    short_writes: Option<Random>,
    bytes_read: u64,
    next_inode: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

#[derive(Debug)]
struct SimFile {
    state: Arc<Mutex<State>>,
    syncs: Arc<Syncs>,
    inode: u64,
}

// === impl SimDisk ===

impl SimDisk {
    pub(super) fn new() -> Self {
        let state = State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            pending: Vec::new(),
            capacity_bytes: u64::MAX,
            sync_fails: false,
            short_writes: None,
            bytes_read: 0,
            next_inode: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), syncs: Arc::default() }
    }

    /// Writes beyond so many bytes in all files find no room.
    pub(super) fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// The bytes of all files.
    pub(super) fn used(&self) -> u64 {
        self.state.lock().used()
    }

    pub(super) fn fail_syncs(&self) {
        self.state.lock().sync_fails = true;
    }

    /// From now on a sync waits until [`SimDisk::release_syncs`].
    pub(super) fn hold_syncs(&self) {
        self.syncs.gate.lock().closed = true;
    }

    pub(super) fn release_syncs(&self) {
        self.syncs.gate.lock().closed = false;
        self.syncs.changed.notify_all();
    }

    /// Blocks until a sync waits.
    pub(super) fn until_a_sync_waits(&self) {
        let mut gate = self.syncs.gate.lock();
        self.syncs.changed.wait_while(&mut gate, |gate| gate.waiting == 0);
    }

    pub(super) fn write_short(&self, random: Random) {
        self.state.lock().short_writes = Some(random);
    }

    /// How many bytes have been read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.state.lock().bytes_read
    }

    /// The content of a file.
    pub(super) fn content(&self, path: &Path) -> Vec<u8> {
        let state = self.state.lock();
        state.files[&state.names[path]].now.clone()
    }

    /// Puts a file in place, synced.
    pub(super) fn put(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.state.lock();
        state.next_inode += 1;
        let inode = state.next_inode;
        let file = Inode { now: content.clone(), synced: content, dirty: BTreeSet::new() };
        state.files.insert(inode, file);
        state.names.insert(path.to_owned(), inode);
        state.synced_names.insert(path.to_owned(), inode);
    }

    /// The names in the directory, sorted.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }

    /// A disk with the same files, as they are.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new();
        for path in self.paths() {
            copy.put(&path, self.content(&path));
        }
        copy
    }

    /// The disk as a power cut at this moment may leave it. This one goes on, for those who have
    /// files open, in a world that is no more.
    pub(super) fn power_cut(&self, random: &mut Random) -> Self {
        let state = self.state.lock();
        let mut names = state.synced_names.clone();
        for (path, inode) in &state.pending {
            match inode {
                _ if random.chance(0.5) => {}
                Some(inode) => drop(names.insert(path.clone(), *inode)),
                None => drop(names.remove(path)),
            }
        }
        let left = Self::new();
        for (path, inode) in names {
            left.put(&path, state.files[&inode].after_power_cut(random));
        }
        left
    }

    fn file(&self, inode: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { state: Arc::clone(&self.state), syncs: Arc::clone(&self.syncs), inode })
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let names = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.next_inode += 1;
        let inode = state.next_inode;
        state.files.insert(inode, Inode::default());
        state.names.insert(path.to_owned(), inode);
        state.pending.push((path.to_owned(), Some(inode)));
        drop(state);
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.state.lock().names.get(path).copied();
        inode.map(|inode| self.file(inode)).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.pending.push((to.to_owned(), Some(inode)));
        state.pending.push((from.to_owned(), None));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.names.remove(path).ok_or(ErrorKind::NotFound)?;
        state.pending.push((path.to_owned(), None));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.synced_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }
}

// === impl Syncs ===

impl Syncs {
    /// Waits while the gate is closed.
    fn pass(&self) {
        let mut gate = self.gate.lock();
        gate.waiting += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut gate, |gate| gate.closed);
        gate.waiting -= 1;
    }
}

// === impl State ===

impl State {
    fn used(&self) -> u64 {
        let named = self.names.values().map(|inode| self.files[inode].now.len() as u64);
        named.sum()
    }
}

// === impl Inode ===

impl Inode {
    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES));
    }

    /// Sectors that were not synced are there or not, each by itself; the length is any between
    /// the old and the new one; what it covers and was not written is zero.
    fn after_power_cut(&self, random: &mut Random) -> Vec<u8> {
        let (old, new) = (self.synced.len(), self.now.len());
        let span = old.abs_diff(new) as u64;
        let length = match random.below(3) {
            0 => old,
            1 => new,
            _ => old.min(new) + random.below(span + 1) as usize,
        };
        let mut left = self.synced.clone();
        left.resize(length, 0);
        for sector in &self.dirty {
            let begin = sector * SECTOR_BYTES;
            let end = (begin + SECTOR_BYTES).min(length).min(new);
            if begin < end && random.chance(0.6) {
                left[begin..end].copy_from_slice(&self.now[begin..end]);
            }
        }
        left
    }
}

// === impl SimFile ===

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().files[&self.inode].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let content = &state.files[&self.inode].now;
        let rest = content.get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        state.bytes_read += count as u64;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let mut state = self.state.lock();
        let mut count = bytes.len();
        if let Some(random) = &mut state.short_writes {
            count = 1 + random.below(count as u64) as usize;
        }
        let begin = position as usize;
        let grows = (begin + count).saturating_sub(state.files[&self.inode].now.len());
        let room = state.capacity_bytes.saturating_sub(state.used()) as usize;
        count -= grows.saturating_sub(room).min(count);
        if count == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = state.files.get_mut(&self.inode).unwrap();
        let end = begin + count;
        let length = file.now.len().max(end);
        file.now.resize(length, 0);
        file.now[begin..end].copy_from_slice(&bytes[..count]);
        file.touch(begin, end);
        Ok(count)
    }

    fn set_bytes(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.files.get_mut(&self.inode).unwrap();
        let before = file.now.len();
        file.now.resize(length as usize, 0);
        file.touch(before.min(length as usize), before.max(length as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.pass();
        let mut state = self.state.lock();
        if state.sync_fails {
            return Err(ErrorKind::Other.into());
        }
        let file = state.files.get_mut(&self.inode).unwrap();
        file.synced = file.now.clone();
        file.dirty.clear();
        Ok(())
    }
}
