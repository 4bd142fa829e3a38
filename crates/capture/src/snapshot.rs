//! The snapshot file to events: images of small values, parts of large ones, function libraries.
//!
//! Guarantees: every key of the file becomes one image, or one run of parts of which only the last
//! says so; all events stand at the snapshot's offset with growing index; begin and end events
//! frame them in every partition; what the file holds and events cannot carry is reported, not
//! dropped in silence.

mod large;
mod left_out;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use event::control::{Control, FunctionChange, SnapshotBegin, SnapshotEnd};
use event::image::{Image, ImageHead, ImageValue};
use event::text::Shortened;
use event::{Body, Event, Position, Stamp, names};
use wire::command::script::Scripts;
use wire::rdb::value::Value;
use wire::rdb::{self, Entry, EntryHead, Flavour, Item, Progress, ValueType};
use wire::slot::{Slot, Slots};

use self::large::LargeValue;
use self::left_out::{Kind, LeftOut};
use crate::config::Unsupported;
use crate::error::SnapshotError;
use crate::outlet::Outlet;
use crate::owned;

/// Version of the files of Redis 4.0. Later servers write their scripts down as well, and never
/// refer to them.
const RDB_OF_4_0: u16 = 8;

/// So much of a key is kept beside it: more than is ever shown.
const LAST_KEY_BYTES: usize = 256;

/// Reads one snapshot. Bytes in, events out; no I/O of its own.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    parser: rdb::Parser,
    place: Place,
    /// Not 0: made on demand.
    id: u64,
    format: Format,
    db: u32,
    /// Database that the stream goes on in, where the file tells.
    stream_db: Option<u32>,
    large: Option<LargeValue>,
    begun: bool,
    slots: Option<Slots>,
    /// Keys that the source announced; 0: it did not.
    keys_expected: u64,
    counts: SnapshotCounts,
    partition_keys: Vec<u64>,
    left_out: LeftOut,
    /// The beginning of the last key: what follows it may be about it. A copy, which keeps no value in memory.
    last_key: Vec<u8>,
    /// Scripts that the stream may name by their digests.
    scripts: Scripts,
}

/// What is known of a snapshot before it is read.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Not 0: made on demand, and its beginning is recorded already.
    pub id: u64,
    /// Where its first event stands.
    pub at: Position,
    /// The stamp of all its events.
    pub stamp: Stamp,
    /// Size of the file; 0: not known.
    pub bytes_expected: u64,
    /// Keys in it, roughly; 0: not known.
    pub keys_expected: u64,
    /// How many partitions there are.
    pub partitions: u16,
    /// What to do about what cannot be carried.
    pub unsupported: Unsupported,
    /// The slots that the source has; none: all.
    pub slots: Option<Slots>,
}

/// Where the next event stands.
#[derive(Clone, Debug)]
struct Place {
    next: Position,
    stamp: Stamp,
}

/// What the type bytes mean.
#[derive(Clone, Copy, Debug)]
struct Format {
    flavour: Flavour,
    version: u16,
}

/// How far a snapshot has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SnapshotCounts {
    /// Bytes of the file that were read.
    pub bytes: u64,
    /// Size of the file; 0: not known.
    pub bytes_expected: u64,
    /// Keys that were read.
    pub keys: u64,
    /// Keys that the source or the file has announced so far.
    pub keys_expected: u64,
}

/// Why reading paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The outlet should be flushed first.
    Full,
    /// More bytes are needed.
    NeedMore,
    /// The file is complete; its end has been written.
    Complete {
        /// Database that the stream goes on in, where the file tells.
        stream_db: Option<u32>,
    },
}

// === impl SnapshotReader ===

impl SnapshotReader {
    /// A reader of a snapshot that holds no more of a value at once than `limits` say.
    #[must_use]
    pub(crate) fn new(start: Start, limits: rdb::Limits) -> Self {
        let Start { id, at, stamp, bytes_expected, keys_expected, partitions, .. } = start;
        let Start { unsupported, slots, .. } = start;
        let counts = SnapshotCounts { bytes_expected, keys_expected, ..SnapshotCounts::default() };
        Self {
            parser: rdb::Parser::new(limits),
            place: Place { next: at, stamp },
            id,
            format: Format { flavour: Flavour::Redis, version: 0 },
            db: 0,
            stream_db: None,
            large: None,
            begun: id != 0,
            slots,
            keys_expected,
            counts,
            partition_keys: vec![0; usize::from(partitions)],
            left_out: LeftOut::new(unsupported),
            last_key: Vec::new(),
            scripts: Scripts::default(),
        }
    }

    /// What comes next is recorded with this stamp.
    pub(crate) fn set_stamp(&mut self, stamp: Stamp) {
        self.place.stamp = stamp;
    }

    /// Takes bytes of the file.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        self.parser.feed(bytes);
    }

    /// How far it has come.
    #[must_use]
    pub(crate) fn counts(&self) -> SnapshotCounts {
        SnapshotCounts { bytes: self.parser.offset(), ..self.counts }
    }

    /// The scripts that the file holds for the stream after it.
    pub(crate) fn take_scripts(&mut self) -> Scripts {
        std::mem::take(&mut self.scripts)
    }

    /// What could not be carried, for people; empty: nothing.
    #[must_use]
    pub(crate) fn left_out(&self) -> String {
        self.left_out.to_string()
    }

    /// Turns what was fed into events, until `outlet` holds about `batch_bytes`, more bytes are
    /// needed, or the file ends.
    ///
    /// # Errors
    /// When the file is not what it should be.
    pub(crate) fn read(
        &mut self,
        outlet: &mut Outlet,
        batch_bytes: usize,
    ) -> Result<Read, SnapshotError> {
        loop {
            if outlet.batch_bytes() >= batch_bytes {
                return Ok(Read::Full);
            }
            let progress = self.parser.next().map_err(SnapshotError::Malformed)?;
            match progress {
                Progress::Item(item) => self.take(item, outlet)?,
                Progress::NeedMore => return Ok(Read::NeedMore),
                Progress::End => {
                    self.end(outlet)?;
                    return Ok(Read::Complete { stream_db: self.stream_db });
                }
            }
        }
    }

    fn take(&mut self, item: Item, outlet: &mut Outlet) -> Result<(), SnapshotError> {
        match item {
            Item::Header { flavour, version } => self.format = Format { flavour, version },
            Item::Aux { key, value } => self.note(&key, &value)?,
            Item::SelectDb(db) => self.db = db,
            Item::ResizeDb { keys, .. } if self.keys_expected == 0 => {
                self.counts.keys_expected += keys;
            }
            Item::ResizeDb { .. } => {}
            Item::SlotInfo { .. } => {}
            Item::SlotImport { job, ranges } => {
                let job = String::from_utf8_lossy(&job).into_owned();
                self.left_out.note(Kind::SlotImport(job), || format!("{ranges:?}"))?;
            }
            Item::Function(source) => self.function(source, outlet)?,
            Item::ModuleAux { module, .. } => {
                self.left_out.note(Kind::ModuleAux(module.name()), String::new)?;
            }
            Item::Skipped { key, what } => {
                self.left_out.note(Kind::Foreign(what), || Shortened(&key).to_string())?;
            }
            Item::Entry(entry) => self.entry(entry, outlet)?,
            Item::LargeBegin(head) => self.large_begin(head, outlet)?,
            Item::LargePart(part) => {
                if let Some(large) = &mut self.large {
                    large.add(part, &mut self.place, outlet)?;
                }
            }
            Item::LargeEnd => {
                if let Some(large) = self.large.take() {
                    if large.has_idempotence() {
                        let (db, key) = (self.db, Shortened(&self.last_key));
                        self.left_out.note(Kind::Idempotence, || format!("db {db} {key}"))?;
                    }
                    large.end(&mut self.place, outlet)?;
                }
            }
            other => return Err(SnapshotError::Unexpected { item: format!("{other:?}") }),
        }
        Ok(())
    }

    fn note(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        if key == b"repl-stream-db" {
            // -1 stands for "none selected yet": the stream then begins with a SELECT.
            self.stream_db = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        } else if key == b"lua" && self.format.version <= RDB_OF_4_0 {
            self.scripts.learn(value);
        } else if key == b"keydb-subexpire-key" {
            let (db, key) = (self.db, Shortened(&self.last_key));
            let first = || format!("{} in db {db} {key}", Shortened(value));
            return self.left_out.note(Kind::MemberExpiry, first);
        }
        Ok(())
    }

    fn function(&mut self, source: Bytes, outlet: &mut Outlet) -> Result<(), SnapshotError> {
        self.begin(outlet)?;
        let [function, load, replace] = ["FUNCTION", "LOAD", "REPLACE"].map(Bytes::from);
        let args = vec![function, load, replace, source];
        let change = FunctionChange { args, snapshot_id: self.id };
        let event = self.place.control(0, Control::Function(change));
        Ok(outlet.push_everywhere(&event)?)
    }

    fn entry(&mut self, entry: Entry, outlet: &mut Outlet) -> Result<(), SnapshotError> {
        self.begin(outlet)?;
        let Entry { head, raw } = entry;
        if names::is_ours(&head.key) {
            return Ok(());
        }
        let value = match head.kind {
            ValueType::String => {
                match rdb::value::decode(head.kind, &raw).map_err(SnapshotError::Malformed)? {
                    Value::Str(text) => ImageValue::Text(text),
                    _ => ImageValue::Rdb(raw),
                }
            }
            _ => ImageValue::Rdb(raw),
        };
        let slot = self.count(&head, outlet)?;
        let image = Image { head: self.format.image_head(&head, self.id), value };
        let event = self.place.event(self.db, slot, head.key, Body::Image(image));
        Ok(outlet.push(&event)?)
    }

    fn large_begin(&mut self, head: EntryHead, outlet: &mut Outlet) -> Result<(), SnapshotError> {
        self.begin(outlet)?;
        if names::is_ours(&head.key) {
            return Ok(());
        }
        self.count(&head, outlet)?;
        let image_head = self.format.image_head(&head, self.id);
        self.large = Some(LargeValue::new(self.db, head.key, head.kind.class(), image_head));
        Ok(())
    }

    fn count(&mut self, head: &EntryHead, outlet: &Outlet) -> Result<Slot, SnapshotError> {
        self.last_key.clear();
        self.last_key.extend_from_slice(head.key.get(..LAST_KEY_BYTES).unwrap_or(&head.key));
        for class in head.metadata_classes() {
            let first = || format!("db {} {}", self.db, Shortened(&head.key));
            self.left_out.note(Kind::KeyMeta(class), first)?;
        }
        let slot = Slot::of_key(&head.key);
        owned::require(self.slots.as_ref(), slot, &head.key)?;
        self.counts.keys += 1;
        let partition = usize::from(outlet.partition_of(slot).0);
        if let Some(keys) = self.partition_keys.get_mut(partition) {
            *keys += 1;
        }
        Ok(slot)
    }

    /// The begin event waits for the first item with content: by then the format is known.
    fn begin(&mut self, outlet: &mut Outlet) -> Result<(), SnapshotError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let begin = SnapshotBegin {
            snapshot_id: 0,
            keys_expected: self.keys_expected,
            bytes_expected: self.counts.bytes_expected,
            rdb_version: u32::from(self.format.version),
            flavour: self.format.flavour,
            slots: self.slots.clone(),
        };
        let event = self.place.control(0, Control::SnapshotBegin(begin));
        Ok(outlet.push_everywhere(&event)?)
    }

    fn end(&mut self, outlet: &mut Outlet) -> Result<(), SnapshotError> {
        self.begin(outlet)?;
        let position = self.place.advance();
        for (number, keys) in (0u16..).zip(&self.partition_keys) {
            let end =
                SnapshotEnd { snapshot_id: self.id, keys: *keys, keys_total: self.counts.keys };
            let body = Body::Control(Control::SnapshotEnd(end));
            let event = Event { body, ..self.place.blank(position) };
            outlet.push_to(journal::Partition(number), &event)?;
        }
        Ok(())
    }
}

// === impl Place ===

impl Place {
    fn advance(&mut self) -> Position {
        let position = self.next;
        self.next.index += 1;
        position
    }

    fn blank(&self, position: Position) -> Event {
        Event {
            position,
            stamp: self.stamp.clone(),
            db: 0,
            slot: Slot::new(0).expect("there is a slot 0"),
            key: Bytes::new(),
            body: Body::Control(Control::Flush { all: false }),
            seen: Vec::new(),
        }
    }

    fn control(&mut self, db: u32, control: Control) -> Event {
        let position = self.advance();
        Event { db, body: Body::Control(control), ..self.blank(position) }
    }

    fn event(&mut self, db: u32, slot: Slot, key: Bytes, body: Body) -> Event {
        let position = self.advance();
        Event { position, stamp: self.stamp.clone(), db, slot, key, body, seen: Vec::new() }
    }
}

// === impl Format ===

impl Format {
    fn image_head(self, head: &EntryHead, snapshot_id: u64) -> ImageHead {
        ImageHead {
            type_byte: head.kind.byte(),
            flavour: self.flavour,
            rdb_version: self.version,
            expire_at_ms: head.expire_at_ms,
            idle_s: head.idle_s,
            freq: head.freq,
            snapshot_id,
        }
    }
}
