//! The stream part of a session: bytes to commands to records, each at its position.

use bytes::Bytes;
use event::codec::Head;
use event::control::Control;
use event::{Body, Event, Position, Stamp};
use wire::args::Args;
use wire::command::normalise::Era;
use wire::command::script::Scripts;
use wire::resp::scan::{RawCommand, ScanLimits, StreamScanner};
use wire::slot::Slot;

use super::epochs::Next;
use super::group::AsideChanges;
use super::{Phase, Session, control_event};
use crate::describe::Described;
use crate::error::SessionError;
use crate::limits::BATCH_BYTES;
use crate::orders::TransferCause;
use crate::owned;
use crate::translate::{Record, TranslateError, Translated, Translator};

/// Where the stream stands.
#[derive(Debug)]
pub(super) struct StreamReader {
    scanner: StreamScanner,
    pub(super) translator: Translator,
    /// Offset after the last whole command.
    offset: u64,
    /// Offset after the last command whose effect has been recorded: inside a transaction, before
    /// its MULTI.
    recorded: u64,
    /// The beginning of an open transaction that is too large for the memory.
    pub(super) aside: Option<AsideChanges>,
    /// Whether every script that the source may name was sent to this process.
    knows_scripts: bool,
    /// Whether nothing more of it can be recorded: another full transfer is on its way.
    is_forsaken: bool,
}

// === impl StreamReader ===

impl StreamReader {
    /// A reader of the stream from `offset` on, where `selected_db` is selected.
    pub(super) fn new(
        era: Era,
        partitions: u16,
        heartbeat_key: &str,
        (selected_db, offset): (u32, u64),
    ) -> Self {
        Self {
            scanner: StreamScanner::new(ScanLimits::default()),
            translator: Translator::new(era, partitions, selected_db, heartbeat_key),
            offset,
            recorded: offset,
            aside: None,
            knows_scripts: false,
            is_forsaken: false,
        }
    }

    /// With the scripts that came with the snapshot before it; none: it begins in the middle.
    pub(super) fn knowing(mut self, scripts: Option<Scripts>) -> Self {
        self.knows_scripts = scripts.is_some();
        self.translator = self.translator.knowing(scripts.unwrap_or_default());
        self
    }

    pub(super) fn is_forsaken(&self) -> bool {
        self.is_forsaken
    }

    /// Whether all that came is recorded: no command or transaction is open, and none was left unread.
    pub(super) fn has_recorded_all(&self) -> bool {
        !self.is_forsaken && self.recorded == self.offset && self.scanner.buffered() == 0
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn recorded(&self) -> u64 {
        self.recorded
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.translator.in_transaction()
    }

    pub(super) fn selected_db(&self) -> u32 {
        self.translator.selected_db()
    }

    pub(super) fn set_era(&mut self, era: Era) {
        self.translator.set_era(era);
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

    /// The last command has been dealt with.
    fn settle(&mut self) {
        if !self.in_transaction() {
            self.recorded = self.offset;
        }
    }
}

// === impl Session ===

impl Session {
    /// Takes bytes of the stream: every whole command in them is appended when this returns, but
    /// for a transaction whose end is missing.
    pub(super) async fn stream(
        &mut self,
        bytes: Bytes,
        arrived_ms: i64,
    ) -> Result<(), SessionError> {
        if self.stream_reader()?.is_forsaken {
            return Ok(());
        }
        self.stream_reader()?.scanner.feed(bytes);
        loop {
            self.enter_epochs().await?;
            let Some(raw) = self.stream_reader()?.next()? else { break };
            let translated = match self.translate(&raw, arrived_ms).await {
                Err(SessionError::Command {
                    source: source @ TranslateError::UnknownScript { .. },
                    offset,
                }) if !self.stream_reader()?.knows_scripts => {
                    self.forsake(offset, &source)?;
                    break;
                }
                translated => translated?,
            };
            self.record(translated, raw, arrived_ms).await?;
            self.put_excess_aside().await?;
            self.stream_reader()?.settle();
        }
        self.flush().await
    }

    /// Leaves the rest of the stream unread: the source counts on a script that it has sent to an
    /// earlier process of this capture, and will send it again only behind another snapshot.
    fn forsake(&mut self, offset: u64, why: &TranslateError) -> Result<(), SessionError> {
        tracing::warn!(offset, %why, "the source is asked for a new snapshot: it sends a script once");
        self.stream_reader()?.is_forsaken = true;
        self.parts.order.give_for(TransferCause::Script);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        let stream = self.stream_reader()?;
        let (offset, recorded) = (stream.offset, stream.recorded);
        self.parts.outlet.flush(recorded).await?;
        self.report_durable();
        self.parts.progress.stream(offset);
        self.parts.progress.recorded(self.parts.outlet.counts());
        Ok(())
    }

    pub(super) async fn flush_if_full(&mut self) -> Result<(), SessionError> {
        if self.parts.outlet.batch_bytes() < BATCH_BYTES { Ok(()) } else { self.flush().await }
    }

    async fn enter_epochs(&mut self) -> Result<(), SessionError> {
        let StreamReader { offset, recorded, .. } = *self.stream_reader()?;
        while let Some(next) = self.epochs.next(offset) {
            if next == Next::New {
                self.close_epoch().await?;
            }
            let Some((position, begin)) = self.epochs.enter(offset) else { break };
            self.give_up_beside(super::OTHER_EPOCH);
            let event = control_event(position, self.stamp_now(), Control::EpochBegin(begin));
            self.begin_epoch(&event, recorded).await?;
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
        let described = self.parts.describer.describe(&command, raw).await.map_err(failed)?;
        let translator = &mut self.stream_reader()?.translator;
        let (spec, once) = match described {
            Described::Always(spec) => (spec, false),
            Described::Once(spec) => (spec, true),
        };
        translator.learn(command.as_bytes(), spec);
        let taken = translator.take(raw, now_ms).map_err(failed);
        if once {
            translator.forget(command.as_bytes());
        }
        taken
    }

    async fn record(
        &mut self,
        translated: Translated,
        raw: RawCommand,
        arrived_ms: i64,
    ) -> Result<(), SessionError> {
        match translated {
            Translated::Nothing => {}
            Translated::AckWanted => self.parts.ack_wanted.notify_one(),
            Translated::Heartbeat(source_ms) => self.stamps.heartbeat(source_ms),
            Translated::Itself(effect) => {
                let reader = self.stream_reader()?;
                let (offset, db) = (reader.offset, reader.selected_db());
                let key = raw.get(1).unwrap_or_default();
                let slot = Slot::of_key(key);
                owned::require(self.config.owned.slots.as_ref(), slot, key)?;
                let stamp = &self.stamps.next(arrived_ms);
                let position = self.epochs.position(offset);
                let head = Head { position, stamp, db, slot, key, seen: &[] };
                self.parts.outlet.push_command(&head, effect, &raw)?;
                // A large one is let go before it is written.
                drop(raw);
                self.flush_if_full().await?;
            }
            Translated::Changes(records) => {
                drop(raw);
                self.append_all(records, arrived_ms).await?;
            }
            Translated::Taken => {
                drop(raw);
                let record = self.only_change()?;
                self.append_all(record, arrived_ms).await?;
            }
        }
        Ok(())
    }

    async fn append_all(
        &mut self,
        records: impl IntoIterator<Item = Record>,
        arrived_ms: i64,
    ) -> Result<(), SessionError> {
        let offset = self.stream_reader()?.offset;
        let mut at = self.epochs.position(offset);
        for record in records {
            let stamp = self.stamps.next(arrived_ms);
            at.index += self.append(record, at, stamp).await?;
            self.flush_if_full().await?;
        }
        Ok(())
    }

    /// Appends a record, and tells how many places it took.
    async fn append(
        &mut self,
        record: Record,
        position: Position,
        stamp: Stamp,
    ) -> Result<u64, SessionError> {
        match record {
            Record::Everywhere { db, control } => {
                let control = self.of_shard(control)?;
                let event = Event { db, ..control_event(position, stamp, control) };
                self.parts.outlet.push_everywhere(&event)?;
                Ok(1)
            }
            Record::Change { db, slot, key, command } => {
                owned::require(self.config.owned.slots.as_ref(), slot, &key)?;
                let body = Body::Command(command);
                let event = Event { position, stamp, db, slot, key, body, seen: Vec::new() };
                self.parts.outlet.push(&event)?;
                Ok(1)
            }
            Record::Group { db, slot, key, group, is_key_out } => {
                let head = Head { position, stamp: &stamp, db, slot, key: &[], seen: &[] };
                if self.config.owned.is_shard() {
                    return self.append_apart(&head, group).await;
                }
                self.append_group(&head, (!is_key_out).then_some(key), group).await
            }
        }
    }

    pub(super) fn stream_reader(&mut self) -> Result<&mut StreamReader, SessionError> {
        match &mut self.phase {
            Phase::Stream(stream) => Ok(stream),
            _ => Err(SessionError::OutOfPlace { what: "bytes of the stream" }),
        }
    }
}
