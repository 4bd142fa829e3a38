//! Reading what was opened: of a sealed segment comes all that it had, or an error.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::super::catalogue::Sealed;
use super::super::disk::Disk;
use super::super::log::{Log, Visible};
use super::super::new_log;
use super::super::reader::LocalReader;
use super::super::recover::Opened;
use super::super::segment::Mark;
use super::super::torn::{self, Walked};
use super::disk::MemoryDisk;
use super::script;
use crate::{Entry, Offset, Partition, ReadError, ReadLimit, Reader};

/// A reader that neither reads nor fails is found out after this time.
const DEADLINE: Duration = Duration::from_secs(10);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread().enable_time().build().expect("a runtime without sockets")
});

/// Damage of a sealed segment is for its readers to find. They do where its frames do not lead up
/// to what follows it; otherwise they read all.
pub(super) fn check_sealed(disk: &MemoryDisk, opened: Opened) {
    let all: Vec<Sealed> = opened.catalogue.sealed().iter().cloned().collect();
    if all.is_empty() {
        return;
    }
    let disk: Arc<dyn Disk> = Arc::new(disk.copy());
    let dir = Path::new(script::DIR);
    let log = Arc::new(new_log(Arc::clone(&disk), 0, dir, &opened.meta, opened.catalogue));
    for sealed in &all {
        let file = disk.open(&sealed.segment.path).expect("a segment");
        let walked = torn::walk(&file, sealed.segment.clone(), script::salt());
        let end = walked.ok().map(|Walked { active, .. }| active.end);
        let leads_up = |end: &Mark| (end.seq, &end.next) == (sealed.end.seq, &sealed.end.next);
        match RUNTIME.block_on(read(&log, sealed)) {
            Ok(entries) => {
                assert!(end.as_ref().is_some_and(leads_up), "{entries:?} of {sealed:?}: {end:?}");
                check_all(sealed, &entries);
            }
            Err(error) => {
                let is_named = matches!(
                    &error,
                    ReadError::Corrupt { place, .. } if place.starts_with(script::DIR)
                );
                assert!(is_named, "{error:?}");
                let is_whole =
                    end.is_some_and(|end| leads_up(&end) && end.position == sealed.end.position);
                assert!(!is_whole, "{sealed:?} is whole: {error:?}");
            }
        }
    }
}

/// Reads all records of a segment.
async fn read(log: &Arc<Log>, sealed: &Sealed) -> Result<Vec<Entry>, ReadError> {
    let first = sealed.segment.header.first_mark();
    log.visible.send_replace(Visible { seq: sealed.end.seq, closed: true });
    let from: Vec<_> =
        (0..).map(Partition).zip(first.next.iter().map(|offset| Offset(*offset))).collect();
    let mut reader = LocalReader::new(Arc::clone(log), None, &from, &first, first.seq);
    let limit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
    let mut entries = Vec::new();
    loop {
        let next = tokio::time::timeout(DEADLINE, reader.next(limit)).await;
        match next.expect("a reader reads or fails") {
            Ok(more) => entries.extend(more),
            // As far as is visible.
            Err(ReadError::Failed(what)) if what.contains("closed") => return Ok(entries),
            Err(error) => return Err(error),
        }
    }
}

/// Of each partition, the records are those from where the segment begins to where it ends.
fn check_all(sealed: &Sealed, entries: &[Entry]) {
    let Sealed { segment, end, .. } = sealed;
    for (partition, (base, end)) in (0..).zip(segment.header.base.iter().zip(end.next.iter())) {
        let own = entries.iter().filter(|entry| entry.partition == Partition(partition));
        assert!(own.map(|entry| entry.offset.0).eq(*base..*end), "{entries:?} of {sealed:?}");
    }
    let count = end.seq - segment.header.base_seq;
    assert_eq!(u64::try_from(entries.len()), Ok(count));
}
