//! The local journal behind the crate's trait.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::appender::LocalAppender;
use super::catalogue::{Sealed, Start};
use super::files::read_footer;
use super::log::{Log, unreadable};
use super::mailbox::LocalMailbox;
use super::reader::LocalReader;
use super::retention::Keeper;
use super::segment::Mark;
use super::{LocalJournal, Role, time};
use crate::{
    AppendError, Appender, Description, Journal, Mailbox, Offset, OpenError, Partition,
    PartitionRange, ReadError, Reader,
};

impl Journal for LocalJournal {
    fn describe(&self) -> BoxFuture<'_, Result<Description, ReadError>> {
        Box::pin(async move {
            let start = match &self.role {
                Role::Writes { .. } => self.start(),
                Role::Follows(follow) => {
                    follow.look(&self.log).await?;
                    self.keeper.read_again().await?;
                    self.start()
                }
            };
            let durable = Arc::clone(&self.log.durable.lock());
            let end = match &self.role {
                Role::Writes { intake, .. } => intake.end(),
                Role::Follows(_) => durable.to_vec(),
            };
            let ranges = start.iter().zip(durable.iter()).zip(end);
            let partitions = ranges.map(|((start, durable), end)| PartitionRange {
                start: Offset(*start),
                durable: Offset(*durable),
                end: Offset(end),
            });
            Ok(Description {
                stream: self.log.stream.clone(),
                incarnation: self.log.incarnation,
                totally_ordered: true,
                max_record_bytes: self.max_record_bytes,
                partitions: partitions.collect(),
                readers: self.keeper.readers(),
            })
        })
    }

    fn appender(&self) -> BoxFuture<'_, Result<Box<dyn Appender>, OpenError>> {
        Box::pin(std::future::ready(self.become_appender()))
    }

    fn reader(
        &self,
        from: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async move {
            from.iter().try_for_each(|(partition, _)| self.log.check_read(*partition))?;
            let start = self.log.catalogue.lock().start_for(&from);
            let mark = match start {
                Start::Mark { mark, segment } => (mark, segment),
                Start::Forgotten(partition, offset, start) => {
                    return Err(ReadError::OutOfRetention { partition, offset, start });
                }
                Start::Within(sealed) => {
                    let segment = sealed.segment.header.base_seq;
                    let (log, wanted) = (Arc::clone(&self.log), from.clone());
                    let found =
                        tokio::task::spawn_blocking(move || mark_in(&log, &sealed, &wanted));
                    let mark = found.await.map_err(|e| ReadError::Failed(e.to_string()))??;
                    (mark, segment)
                }
            };
            let follow = match &self.role {
                Role::Writes { .. } => None,
                Role::Follows(follow) => Some(Arc::clone(follow)),
            };
            let (mark, segment) = mark;
            let reader = LocalReader::new(Arc::clone(&self.log), follow, &from, &mark, segment);
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn offset_at_time(
        &self,
        partition: Partition,
        timestamp_ms: i64,
    ) -> BoxFuture<'_, Result<Offset, ReadError>> {
        Box::pin(async move {
            self.log.check_read(partition)?;
            let log = Arc::clone(&self.log);
            let found =
                tokio::task::spawn_blocking(move || time::offset_at(&log, partition, timestamp_ms));
            found.await.map_err(|error| ReadError::Failed(error.to_string()))?
        })
    }

    fn trim(&self, before: Vec<(Partition, Offset)>) -> BoxFuture<'_, Result<(), AppendError>> {
        self.keep(move |keeper, _| keeper.trim(&before))
    }

    fn release(
        &self,
        name: &str,
        before: Vec<(Partition, Offset)>,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        let name = name.to_owned();
        self.keep(move |keeper, now_ms| keeper.release(&name, before, now_ms))
    }

    fn forget_reader(&self, name: &str) -> BoxFuture<'_, Result<(), AppendError>> {
        let name = name.to_owned();
        self.keep(move |keeper, now_ms| keeper.forget_reader(&name, now_ms))
    }

    fn mailbox(&self) -> Box<dyn Mailbox> {
        Box::new(LocalMailbox::new(&self.log.dir, Arc::clone(&self.clock)))
    }
}

impl LocalJournal {
    fn start(&self) -> Arc<[u64]> {
        Arc::clone(&self.log.catalogue.lock().start().base)
    }

    fn become_appender(&self) -> Result<Box<dyn Appender>, OpenError> {
        let stream = self.log.stream.clone();
        let Role::Writes { intake, .. } = &self.role else {
            let what = "the journal is open for reading only".to_owned();
            return Err(OpenError::Mismatch { stream, what });
        };
        let ticket = intake.enter().ok_or(OpenError::HasWriter { stream })?;
        let (log, intake) = (Arc::clone(&self.log), Arc::clone(intake));
        Ok(Box::new(LocalAppender::new(log, intake, ticket, self.max_record_bytes)))
    }

    /// Changes what is kept, where blocking is allowed.
    fn keep(
        &self,
        change: impl FnOnce(&Keeper, i64) -> Result<(), AppendError> + Send + 'static,
    ) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            if matches!(self.role, Role::Follows(_)) {
                let what = "the journal is open for reading only".to_owned();
                return Err(AppendError::Failed(what));
            }
            let (keeper, now_ms) = (Arc::clone(&self.keeper), self.clock.now_ms());
            let changed = tokio::task::spawn_blocking(move || change(&keeper, now_ms)).await;
            changed.map_err(|error| AppendError::Failed(error.to_string()))?
        })
    }
}

/// The last place in a sealed segment that is before all the given offsets. Blocks.
fn mark_in(log: &Log, sealed: &Sealed, wanted: &[(Partition, Offset)]) -> Result<Mark, ReadError> {
    let Sealed { segment, .. } = sealed;
    let first = segment.header.first_mark();
    let file = match log.disk.open(&segment.path) {
        Ok(file) => file,
        // Forgotten meanwhile: the reader finds that out, and what it means.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(first),
        Err(error) => return Err(unreadable(&segment.path, &error)),
    };
    let footer = read_footer(&*file, log.salt, &segment.header)
        .map_err(|error| unreadable(&segment.path, &error))?;
    // Without marks, which only make it shorter, the way begins at the first frame.
    let marks = footer.map(|footer| footer.marks).unwrap_or_default();
    Ok(marks.into_iter().rfind(|mark| mark.is_before(wanted)).unwrap_or(first))
}
