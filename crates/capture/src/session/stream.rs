//! The stream part of a session: bytes to commands to records, each at its position.

use bytes::Bytes;
use event::control::{Barrier, Control};
use event::{Body, Event, Position, Stamp};
use journal::Partition;
use wire::resp::scan::{RawCommand, ScanLimits, StreamScanner};

use super::{Session, SessionPhase};
use crate::error::SessionError;
use crate::limits::BATCH_BYTES;
use crate::translate::{Record, TranslateError, Translated, Translator};
use wire::command::normalise::Era;

/// Where the stream stands.
#[derive(Debug)]
pub(super) struct StreamReader {
    scanner: StreamScanner,
    translator: Translator,
    /// Offset after the last whole command.
    offset: u64,
}

// === impl StreamReader ===

impl StreamReader {
    pub(super) fn new(
        era: Era,
        partitions: u16,
        selected_db: u32,
        offset: u64,
        heartbeat_key: &str,
    ) -> Self {
        Self {
            scanner: StreamScanner::new(ScanLimits::default()),
            translator: Translator::new(era, partitions, selected_db, heartbeat_key),
            offset,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.translator.in_transaction()
    }

    pub(super) fn selected_db(&self) -> u32 {
        self.translator.selected_db()
    }

    fn next(&mut self) -> Result<Option<RawCommand>, SessionError> {
        let at = self.offset;
        let command =
            self.scanner.next_command().map_err(|source| SessionError::Stream { at, source })?;
        if let Some(command) = &command {
            self.offset += u64::try_from(command.frame().len()).unwrap_or(u64::MAX);
        }
        Ok(command)
    }
}

// === impl Session ===

impl Session {
    /// Takes bytes of the stream: every whole command in them is appended when this returns.
    pub(super) async fn stream(
        &mut self,
        bytes: Bytes,
        arrived_ms: i64,
    ) -> Result<(), SessionError> {
        self.stream_reader()?.scanner.feed(bytes);
        loop {
            let before = self.stream_reader()?.offset;
            self.enter_epochs(before)?;
            let Some(raw) = self.stream_reader()?.next()? else { break };
            let translated = self.translate(&raw, arrived_ms).await?;
            self.record(translated, arrived_ms)?;
            if self.parts.outlet.batch_bytes() >= BATCH_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let stream = self.stream_reader()?;
        // Inside a transaction the offset is not one that the journal could be said to hold.
        let (offset, whole) = (stream.offset, !stream.in_transaction());
        if whole {
            self.parts.outlet.flush(offset).await?;
            self.report_durable();
        }
        self.parts.progress.stream(offset, self.parts.outlet.counts());
        Ok(())
    }

    fn enter_epochs(&mut self, offset: u64) -> Result<(), SessionError> {
        while let Some((position, begin)) = self.epochs.enter(offset) {
            let stamp = self.stamp_now();
            let event = self.event(position, stamp, Control::EpochBegin(begin));
            self.parts.outlet.push_everywhere(&event)?;
        }
        Ok(())
    }

    async fn translate(
        &mut self,
        raw: &RawCommand,
        arrived_ms: i64,
    ) -> Result<Translated, SessionError> {
        let now_ms = self.stamps.source_time(arrived_ms);
        let offset = self.stream_reader()?.offset;
        let failed = |source| SessionError::Command { offset, source };
        let taken = self.stream_reader()?.translator.take(raw, now_ms);
        let Err(TranslateError::Unknown { command }) = taken else { return taken.map_err(failed) };
        let spec = self.parts.describer.describe(&command).await.map_err(failed)?;
        let translator = &mut self.stream_reader()?.translator;
        translator.learn(command.as_bytes(), spec);
        translator.take(raw, now_ms).map_err(failed)
    }

    fn record(&mut self, translated: Translated, arrived_ms: i64) -> Result<(), SessionError> {
        match translated {
            Translated::Nothing => {}
            Translated::AckWanted => self.parts.ack_wanted.notify_one(),
            Translated::Heartbeat(source_ms) => self.stamps.heartbeat(source_ms),
            Translated::Changes(records) => {
                if let Some(skew_ms) = *self.parts.skew_ms.borrow() {
                    self.stamps.measured(skew_ms);
                }
                let offset = self.stream_reader()?.offset;
                let first = self.epochs.position(offset);
                for (index, record) in (0u64..).zip(records) {
                    let stamp = self.stamps.next(arrived_ms);
                    self.append(record, first.at_index(index), stamp)?;
                }
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        record: Record,
        position: Position,
        stamp: Stamp,
    ) -> Result<(), SessionError> {
        match record {
            Record::Everywhere { db, control } => {
                let event = Event { db, ..self.event(position, stamp, control) };
                self.parts.outlet.push_everywhere(&event)?;
            }
            Record::Keyed { db, slot, key, body, others } => {
                let home = self.parts.outlet.partition_of(slot);
                let partitions = match &body {
                    Body::Group(group) => group.partitions.clone(),
                    _ => Vec::new(),
                };
                let event =
                    Event { position, stamp: stamp.clone(), db, slot, key, body, seen: Vec::new() };
                self.parts.outlet.push(&event)?;
                for other in others {
                    let barrier =
                        Barrier { home_partition: home.0, partitions: partitions.clone() };
                    let event = self.event(position, stamp.clone(), Control::Barrier(barrier));
                    self.parts.outlet.push_to(Partition(other), &event)?;
                }
            }
        }
        Ok(())
    }

    fn stream_reader(&mut self) -> Result<&mut StreamReader, SessionError> {
        match &mut self.phase {
            SessionPhase::Stream(stream) => Ok(stream),
            _ => Err(SessionError::OutOfPlace { what: "bytes of the stream" }),
        }
    }
}
