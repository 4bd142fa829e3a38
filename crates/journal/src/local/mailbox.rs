//! Requests of a local journal: files in its directory, put there by other processes of the machine.
//!
//! A request is written under a name that nobody looks at, synced, and renamed. Guarantees: who listens sees whole ones
//! only; each is removed before it is handed on, so that it is heard once; however many are put there, so many are read at
//! once, and so many stay where nobody listens. The journal's lock has nothing to do with it.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use runtime::{Clock, Random};
use tokio::task::JoinHandle;

use crate::mailbox::{Listener, MAX_REQUEST_BYTES, Mailbox, check};
use crate::{AppendError, ReadError};

/// Their directory, within the journal's.
const DIRECTORY: &str = "requests";
/// What the names of whole ones end with.
const EXTENSION: &str = "request";
/// What the names of those end with that are being written.
const UNFINISHED: &str = "unfinished";
/// How often who listens looks: a request is answered by something that takes longer.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// So many stay: where nobody listens, who asks again every ten seconds would fill the disk one day.
const KEPT: usize = 256;

/// Counts what this process has posted.
static POSTED: AtomicU64 = AtomicU64::new(0);

/// The requests of one journal.
#[derive(Clone, Debug)]
pub(super) struct LocalMailbox {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    /// Directories that were told of: they are met at every look.
    strangers: Arc<Mutex<BTreeSet<String>>>,
}

/// What is in the directory.
#[derive(Debug, Default)]
struct Listing {
    /// Names of requests, in order.
    names: Vec<String>,
    /// Directories of such names, which somebody else has made.
    strangers: BTreeSet<String>,
}

struct LocalListener {
    mailbox: LocalMailbox,
    /// A look that is under way: what it takes is not lost with whoever waits for it.
    looking: Option<JoinHandle<io::Result<Vec<Bytes>>>>,
    /// Heard, and not handed on yet.
    heard: VecDeque<Bytes>,
}

// === impl LocalMailbox ===

impl LocalMailbox {
    pub(super) fn new(journal_dir: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { dir: journal_dir.join(DIRECTORY), clock, strangers: Arc::default() }
    }

    fn put(&self, request: &[u8], now_ms: i64) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        self.make_room()?;
        // Names are in the order of posting; of several processes, as their clock has it.
        let number = POSTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{now_ms:016}-{number:016}-{:016x}", Random::from_entropy().next_u64());
        let unfinished = self.dir.join(&name).with_extension(UNFINISHED);
        let written = File::create_new(&unfinished).and_then(|mut file| {
            file.write_all(request)?;
            file.sync_all()
        });
        let whole = self.dir.join(&name).with_extension(EXTENSION);
        if let Err(error) = written.and_then(|()| fs::rename(&unfinished, whole)) {
            // What stays is removed by who posts many.
            fs::remove_file(&unfinished).ok();
            return Err(error);
        }
        File::open(&self.dir)?.sync_all()
    }

    /// Removes the oldest, where there are many.
    fn make_room(&self) -> io::Result<()> {
        let names = self.list(&[EXTENSION, UNFINISHED])?.names;
        let excess = names.len().saturating_sub(KEPT - 1);
        names.iter().take(excess).try_for_each(|name| remove(&self.dir.join(name)))
    }

    /// What has a name that ends so.
    fn list(&self, extensions: &[&str]) -> io::Result<Listing> {
        let listed = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            listed => listed?,
        };
        let mut listing = Listing::default();
        for entry in listed {
            let entry = entry?;
            // A name that is no text is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
            if !extension.is_some_and(|extension| extensions.contains(&extension)) {
                continue;
            }
            // It may be gone by now, if somebody has made room.
            match entry.file_type().is_ok_and(|file| file.is_dir()) {
                true => drop(listing.strangers.insert(name)),
                false => listing.names.push(name),
            }
        }
        listing.names.sort_unstable();
        Ok(listing)
    }

    /// Which of these directories have not been told of since they are there.
    fn new_strangers(&self, found: BTreeSet<String>) -> Vec<String> {
        let mut known = self.strangers.lock();
        let new = found.difference(&known).cloned().collect();
        *known = found;
        new
    }

    /// Takes those that are there, the first of many.
    fn take(&self) -> io::Result<Vec<Bytes>> {
        let mut taken = Vec::new();
        let Listing { names, strangers } = self.list(&[EXTENSION])?;
        for name in self.new_strangers(strangers) {
            let path = self.dir.join(name);
            tracing::warn!(path = %path.display(), "a directory has the name of a request: it is passed over");
        }
        for name in names.into_iter().take(KEPT) {
            let path = self.dir.join(name);
            let read = read(&path);
            remove(&path)?;
            match read {
                Ok(request) => taken.push(request),
                // Another process may have made room.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "what was put there as a request is removed");
                }
            }
        }
        Ok(taken)
    }

    fn failed(&self, what: &str, error: &io::Error) -> String {
        format!("{what} {}: {error}", self.dir.display())
    }
}

impl Mailbox for LocalMailbox {
    fn post(&self, request: Bytes) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            check(&request)?;
            let (mailbox, now_ms) = (self.clone(), self.clock.now_ms());
            let put = tokio::task::spawn_blocking(move || mailbox.put(&request, now_ms)).await;
            let put = put.map_err(|error| AppendError::Failed(error.to_string()))?;
            put.map_err(|error| AppendError::Failed(self.failed("put a request into", &error)))
        })
    }

    fn listen(&self) -> BoxFuture<'_, Result<Box<dyn Listener>, ReadError>> {
        Box::pin(async move {
            let (mailbox, heard) = (self.clone(), VecDeque::new());
            let mut listener = LocalListener { mailbox, looking: None, heard };
            // What was asked before is nobody's.
            while !listener.look().await?.is_empty() {}
            Ok(Box::new(listener) as Box<dyn Listener>)
        })
    }
}

fn read(path: &Path) -> io::Result<Bytes> {
    let limit = u64::try_from(MAX_REQUEST_BYTES).unwrap_or(u64::MAX);
    let mut request = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut request)?;
    match request.len() <= MAX_REQUEST_BYTES {
        true => Ok(request.into()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large")),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

// === impl LocalListener ===

impl LocalListener {
    /// Takes what is there. Cancel-safe.
    async fn look(&mut self) -> Result<Vec<Bytes>, ReadError> {
        let mailbox = &self.mailbox;
        let look = || {
            let mailbox = mailbox.clone();
            tokio::task::spawn_blocking(move || mailbox.take())
        };
        let taken = self.looking.get_or_insert_with(look).await;
        self.looking = None;
        let taken = taken.map_err(|error| ReadError::Failed(error.to_string()))?;
        taken.map_err(|error| ReadError::Failed(self.mailbox.failed("read requests in", &error)))
    }
}

impl Listener for LocalListener {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, ReadError>> {
        Box::pin(async move {
            loop {
                if let Some(request) = self.heard.pop_front() {
                    return Ok(request);
                }
                self.heard = self.look().await?.into();
                if self.heard.is_empty() {
                    self.mailbox.clock.sleep(LOOK_EVERY).await;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use runtime::SystemClock;

    use super::*;

    fn mailbox() -> (tempfile::TempDir, LocalMailbox) {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = LocalMailbox::new(dir.path(), Arc::new(SystemClock::new()));
        (dir, mailbox)
    }

    #[tokio::test]
    async fn garbage_is_passed_over() {
        let (_dir, mailbox) = mailbox();
        let mut listener = mailbox.listen().await.unwrap();
        mailbox.put(b"one", 1).unwrap();
        fs::write(mailbox.dir.join("2.request"), vec![b'x'; MAX_REQUEST_BYTES + 1]).unwrap();
        fs::write(mailbox.dir.join("3.unfinished"), "half").unwrap();
        fs::write(mailbox.dir.join("notes.txt"), "somebody's").unwrap();
        fs::create_dir(mailbox.dir.join("4.request")).unwrap();
        mailbox.put(b"two", 5).unwrap();
        assert_eq!(listener.next().await.unwrap(), "one");
        assert_eq!(listener.next().await.unwrap(), "two");
        let left: Vec<_> =
            fs::read_dir(&mailbox.dir).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[test]
    fn directories_are_told_of_once_and_are_in_nobodys_way() {
        let (_dir, mailbox) = mailbox();
        let stranger = |number: usize| mailbox.dir.join(format!("{number:016}.request"));
        (0..KEPT + 1).for_each(|number| fs::create_dir_all(stranger(number)).unwrap());
        mailbox.put(b"one", i64::MAX).unwrap();
        let found = || mailbox.list(&[EXTENSION]).unwrap().strangers;
        assert_eq!(mailbox.new_strangers(found()).len(), KEPT + 1);
        assert_eq!(mailbox.take().unwrap(), ["one"]);
        assert_eq!(mailbox.new_strangers(found()), [""; 0]);
        // One that is made again is another.
        fs::remove_dir(stranger(7)).unwrap();
        assert_eq!(mailbox.take().unwrap(), [""; 0]);
        fs::create_dir(stranger(7)).unwrap();
        assert_eq!(mailbox.new_strangers(found()), ["0000000000000007.request"]);
    }

    #[test]
    fn where_nobody_listens_the_last_stay() {
        let (_dir, mailbox) = mailbox();
        for number in 0..KEPT + 10 {
            mailbox.put(number.to_string().as_bytes(), i64::try_from(number).unwrap()).unwrap();
        }
        let left = mailbox.take().unwrap();
        assert_eq!((left.len(), &left[0][..]), (KEPT, b"10".as_slice()));
    }

    #[tokio::test]
    async fn what_cannot_be_put_there_is_said_with_the_place() {
        let (dir, mailbox) = mailbox();
        fs::write(dir.path().join(DIRECTORY), "a file").unwrap();
        let error = mailbox.post(Bytes::from_static(b"x")).await.unwrap_err().to_string();
        assert!(error.contains(DIRECTORY), "{error}");
    }
}
