//! A disk in memory that does what it is asked to, at once.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::disk::{Disk, DiskFile};

/// Files by their paths.
#[derive(Debug, Default)]
pub(super) struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
}

#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

// === impl MemoryDisk ===

impl MemoryDisk {
    /// Another disk with the same files.
    pub(super) fn copy(&self) -> Self {
        let files = self.files.lock();
        let copies = files.iter().map(|(path, file)| {
            (path.clone(), Arc::new(MemoryFile(Mutex::new(file.0.lock().clone()))))
        });
        Self { files: Mutex::new(copies.collect()) }
    }

    /// What a file holds; nothing if there is none.
    pub(super) fn content(&self, path: &Path) -> Vec<u8> {
        self.files.lock().get(path).map(|file| file.0.lock().clone()).unwrap_or_default()
    }

    /// Makes a file.
    pub(super) fn put(&self, path: PathBuf, content: Vec<u8>) {
        self.files.lock().insert(path, Arc::new(MemoryFile(content.into())));
    }

    fn find(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        self.files.lock().get(path).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = self.files.lock();
        let names = files.keys().filter_map(|path| path.strip_prefix(dir).ok());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.put(path.to_owned(), Vec::new());
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.find(path)?)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from)?;
        let mut files = self.files.lock();
        files.remove(from);
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

// === impl MemoryFile ===

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = self.0.lock();
        let rest = usize::try_from(position).ok().and_then(|at| content.get(at..));
        let found = rest.unwrap_or_default();
        let count = found.len().min(buffer.len());
        buffer.iter_mut().zip(found).for_each(|(to, from)| *to = *from);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<usize> {
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let mut content = self.0.lock();
        let length = content.len().max(at + bytes.len());
        content.resize(length, 0);
        if let Some(place) = content.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn set_bytes(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.0.lock().resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
