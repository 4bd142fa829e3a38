//! What a process opens before it begins: its directory, the journal, the letters of the quarantine.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use apply::DeadLetters;
use journal::Journal;
#[cfg(feature = "kafka")]
use journal::kafka::{KafkaJournal, SharedLog};
use journal::local::{LocalConfig, LocalJournal, LocalParts};

#[cfg(feature = "kafka")]
use runtime::chain;

use super::replay::Wanted;
use super::{PRIVATE, Shared};
use crate::exit::{Exit, Failure};
#[cfg(feature = "kafka")]
use crate::options::typed::DEAD_LETTERS;
use crate::options::typed::JournalSettings;
use crate::role::Role;

/// Keeps other processes from files that this one uses; given up when dropped, and by the system.
pub(super) struct Lock(#[expect(dead_code, reason = "open it is locked")] pub(super) File);

/// Makes the data directory, for this account alone: it holds every value of the source.
pub(super) fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(dir);
    made.map_err(|error| Failure {
        exit: Exit::Journal,
        what: format!("make the data directory {}: {error}", dir.display()),
        advice: "name a directory that this account may write by --data-dir".to_owned(),
    })
}

/// A run has one destination: what another address of it had not released would hold the journal for ever.
async fn forget_others(journal: &dyn Journal, name: &str) -> Result<(), Failure> {
    let description =
        journal.describe().await.map_err(|error| Failure::of(Exit::Journal, &error))?;
    for reader in description.readers.iter().filter(|reader| reader.name != name) {
        tracing::info!(reader = reader.name, "the journal no longer waits for this destination");
        let forgotten = journal.forget_reader(&reader.name).await;
        forgotten.map_err(|error| Failure::of(Exit::Journal, &error))?;
    }
    Ok(())
}

// === impl Shared ===

impl Shared {
    /// Opens the journal for the reader of this name; the embedded one knows no other.
    pub(super) async fn open(
        &self,
        settings: JournalSettings,
        name: Option<&str>,
    ) -> Result<Arc<dyn Journal>, Failure> {
        match settings {
            JournalSettings::Local(config) => {
                let journal = self.open_local(config).await?;
                if let Some(name) = name {
                    forget_others(&*journal, name).await?;
                }
                Ok(journal)
            }
            #[cfg(feature = "kafka")]
            JournalSettings::Kafka(config) => {
                let journal = KafkaJournal::open(*config, Arc::clone(&self.clock)).await;
                let journal = journal.map_err(|error| Failure::at_start(Exit::Journal, &error))?;
                Ok(Arc::new(journal))
            }
        }
    }

    /// Opens the journal of dead letters for the destination of this name.
    pub(super) async fn open_letters(
        &self,
        settings: JournalSettings,
        name: &str,
        replay: Option<&Wanted>,
    ) -> Result<DeadLetters, Failure> {
        match settings {
            // One process and one destination have them for themselves.
            JournalSettings::Local(config) => {
                tracing::debug!(name, "the quarantine is in files");
                let journal = match replay {
                    Some(wanted) => self.open_beside(config, wanted).await?,
                    None => self.open_local(config).await?,
                };
                Ok(DeadLetters { journal, is_shared: false })
            }
            #[cfg(feature = "kafka")]
            JournalSettings::Kafka(config) => {
                let clock = Arc::clone(&self.clock);
                let log = SharedLog::open(&config, DEAD_LETTERS, name, clock).await;
                let log = log.map_err(|error| Failure::at_start(Exit::Journal, &error))?;
                Ok(DeadLetters { journal: Arc::new(log), is_shared: true })
            }
        }
    }

    /// An apply that may make no topic finds the one of its letters: whoever captures makes it.
    #[cfg_attr(
        not(feature = "kafka"),
        expect(clippy::unused_async, reason = "there is nobody to wait for without it")
    )]
    pub(super) async fn offer_letters(&self, settings: JournalSettings) {
        #[cfg(feature = "kafka")]
        if let JournalSettings::Kafka(config) = settings
            && config.create
        {
            let clock = Arc::clone(&self.clock);
            let made = SharedLog::make_for_others(&config, DEAD_LETTERS, clock).await;
            if let Err(error) = made {
                tracing::warn!(
                    error = %chain(&error),
                    "the topic of dead letters could not be made for applies: one that may make none ends until it is there"
                );
            }
        }
        #[cfg(not(feature = "kafka"))]
        drop(settings);
    }

    pub(super) async fn open_local(
        &self,
        config: LocalConfig,
    ) -> Result<Arc<dyn Journal>, Failure> {
        let dir = config.dir.clone();
        let parts = LocalParts { clock: Arc::clone(&self.clock) };
        let journal = LocalJournal::open(config, parts).await;
        let journal = journal.map_err(|error| Failure::of(Exit::Journal, &error))?;
        if let Some(cut) = &journal.open_report().cut {
            tracing::warn!(journal = %dir.display(), ?cut, "a torn end was cut off: it is read from the source again");
        }
        Ok(Arc::new(journal))
    }
}

// === impl Lock ===

impl Lock {
    /// Becomes the only capture with this file.
    pub(super) fn take(path: &Path, role: Role) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure {
            exit: Exit::Journal,
            what: format!("lock {}: {error}", path.display()),
            advice: "let this account write to the data directory".to_owned(),
        };
        let file = open(path).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::Error(error)) => Err(failed(&error)),
            Err(TryLockError::WouldBlock) => Err(Failure {
                exit: Exit::Journal,
                what: format!(
                    "another process ({}) works on this stream with {}",
                    role.name(),
                    path.display()
                ),
                advice: "give each process a --data-dir of its own".to_owned(),
            }),
        }
    }
}

/// Opens a file to be locked.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)?;
    }
    File::options().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_with_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("locks/main");
        let first = Lock::take(&path, Role::Capture).unwrap();
        let Err(failure) = Lock::take(&path, Role::Capture) else { panic!("two have it") };
        assert!(failure.advice.contains("--data-dir"), "{failure:?}");
        drop(first);
        assert!(Lock::take(&path, Role::Capture).is_ok());
    }
}
