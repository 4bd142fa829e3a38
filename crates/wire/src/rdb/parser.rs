//! The push parser of a file: bytes in as they arrive, items out as they are complete.
//!
//! A small value is walked in place and leaves as one slice of what was fed; what was walked is
//! not walked again when more bytes arrive.

use bytes::Bytes;

use super::buffer::Buffer;
use super::error::{Error, Fault};
use super::kind::{Flavour, ValueType};
use super::large::{Large, LargeStep};
use super::reader::{Reader, Stop};
use super::record::{Record, record};
use super::value::module_id;
use super::walk::Walk;
use super::{Entry, EntryHead, Item};

/// Bytes of the magic.
const MAGIC_BYTES: usize = 9;

/// The first version that ends with a checksum.
const CHECKSUM_VERSION: u16 = 5;

/// The newest version in the numbering of Redis that is read.
const REDIS_VERSION_LAST: u16 = 13;

/// The only version in the numbering of Valkey that is read.
const VALKEY_VERSION: u16 = 80;

/// How much may be held at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Values up to this size, as they are encoded in the file, come out whole.
    pub raw_value_bytes: usize,
    /// What a part of a larger value aims at.
    pub part_bytes: usize,
    /// Strings that promise more are refused. Servers keep to 512 MiB by default.
    pub max_string_bytes: usize,
}

/// What [`Parser::next`] came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// The next item.
    Item(Item),
    /// More bytes must be fed; [`Parser::wanted`] says how many at least.
    NeedMore,
    /// The file is complete and its checksum right.
    End,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    buffer: Buffer,
    flavour: Flavour,
    version: u16,
    state: State,
    /// What was said about the next key.
    said: Said,
    /// The key whose large value is being read, or whose type is not known.
    key: Option<Bytes>,
}

#[derive(Debug)]
enum State {
    Magic,
    Record,
    Value {
        target: Target,
        walk: Walk,
        walked: usize,
    },
    Large(Large),
    Checksum,
    End,
    /// Nothing follows an error but the same error.
    Failed(Error),
}

/// What the value being walked belongs to.
#[derive(Debug)]
enum Target {
    Key(EntryHead),
    ModuleAux,
}

/// Prefixes, which apply to the next key only.
#[derive(Debug, Default)]
struct Said {
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
    key_meta: Option<Bytes>,
}

/// One step of the parser.
enum Step {
    Item(Item),
    /// Nothing to show yet.
    Again,
    NeedMore,
    End,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            raw_value_bytes: 256 << 10,
            part_bytes: 256 << 10,
            // What a server allows by default, and room for one that appends to it.
            max_string_bytes: (512 << 20) + (1 << 20),
        }
    }
}

// === impl Parser ===

impl Parser {
    /// A parser at the beginning of a file.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Buffer::default(),
            flavour: Flavour::Redis,
            version: 0,
            state: State::Magic,
            said: Said::default(),
            key: None,
        }
    }

    /// Appends what was read; the chunk is kept as it is, not copied.
    pub fn feed(&mut self, chunk: Bytes) {
        self.buffer.push(chunk);
    }

    /// Bytes of the file consumed.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.buffer.offset()
    }

    /// After [`Progress::NeedMore`]: how many bytes more are needed at least. Feeding less is
    /// allowed, and cheap.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.buffer.missing().max(1)
    }

    /// After [`Progress::End`]: takes the bytes that were fed and lie behind the file.
    pub fn remaining(&mut self) -> Bytes {
        match self.state {
            State::End => self.buffer.drain(),
            _ => Bytes::new(),
        }
    }

    /// The next item.
    ///
    /// # Errors
    /// What is wrong with the file, and where; every later call returns the same.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot say that it needs more")]
    pub fn next(&mut self) -> Result<Progress, Error> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        loop {
            let step = match self.buffer.satisfied() {
                true => self.step().map_err(|error| self.fail(error))?,
                false => Step::NeedMore,
            };
            match step {
                Step::Item(item) => return Ok(Progress::Item(item)),
                Step::Again => {}
                Step::NeedMore => return Ok(Progress::NeedMore),
                Step::End => return Ok(Progress::End),
            }
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        match self.state {
            State::Magic => self.magic(),
            State::Record => self.record(),
            State::Value { .. } => self.value(),
            State::Large(_) => self.large(),
            State::Checksum => self.checksum(),
            State::End => Ok(Step::End),
            State::Failed(ref error) => Err(error.clone()),
        }
    }

    /// From here on there is nothing but this error.
    fn fail(&mut self, error: Error) -> Error {
        let within = |key| error.clone().within(self.flavour, self.version, key);
        let error = match &self.state {
            State::Magic => error,
            State::Value { target: Target::Key(head), .. } => within(Some(head.key.clone())),
            _ => within(self.key.clone()),
        };
        self.state = State::Failed(error.clone());
        error
    }

    fn magic(&mut self) -> Result<Step, Error> {
        let Some(((flavour, version), _)) = self.attempt(magic)? else {
            return Ok(Step::NeedMore);
        };
        (self.flavour, self.version) = (flavour, version);
        self.state = State::Record;
        Ok(Step::Item(Item::Header { flavour, version }))
    }

    fn record(&mut self) -> Result<Step, Error> {
        let (flavour, version) = (self.flavour, self.version);
        let Some((record, bytes)) = self.attempt(|reader| record(reader, flavour, version))? else {
            return Ok(Step::NeedMore);
        };
        let begin = self.buffer.offset().saturating_sub(bytes.len() as u64);
        self.on_record(record, &bytes).map_err(|fault| fault.at(begin))
    }

    fn on_record(&mut self, record: Record, bytes: &Bytes) -> Result<Step, Fault> {
        let item = match record {
            Record::Key(kind, key) => {
                let head = self.said.head(key.bytes(bytes)?, kind);
                self.walk(Target::Key(head), kind);
                return Ok(Step::Again);
            }
            Record::Skipped(key, what) => {
                // What was said about it goes with it.
                self.said = Said::default();
                Item::Skipped { key: key.bytes(bytes)?, what }
            }
            Record::Unreadable(fault, key) => {
                self.key = key.and_then(|key| key.bytes(bytes).ok());
                return Err(fault);
            }
            Record::Expire(at) => return self.said(|said| said.expire_at_ms = Some(at)),
            Record::Idle(idle) => return self.said(|said| said.idle_s = Some(idle)),
            Record::Freq(freq) => return self.said(|said| said.freq = Some(freq)),
            Record::KeyMeta { start } => {
                let meta = bytes.slice(start.min(bytes.len())..);
                return self.said(|said| said.key_meta = Some(meta));
            }
            Record::ModuleAux => {
                self.walk(Target::ModuleAux, ValueType::Module);
                return Ok(Step::Again);
            }
            Record::End => {
                self.state = State::Checksum;
                return Ok(Step::Again);
            }
            Record::Aux(key, value) => {
                Item::Aux { key: key.bytes(bytes)?, value: value.bytes(bytes)? }
            }
            Record::SelectDb(db) => Item::SelectDb(db),
            Record::ResizeDb { keys, expires } => Item::ResizeDb { keys, expires },
            Record::SlotInfo { slot, keys, expires } => Item::SlotInfo { slot, keys, expires },
            Record::SlotImport { job, ranges } => {
                Item::SlotImport { job: job.bytes(bytes)?, ranges }
            }
            Record::Function(source) => Item::Function(source.bytes(bytes)?),
        };
        Ok(Step::Item(item))
    }

    fn said(&mut self, note: impl FnOnce(&mut Said)) -> Result<Step, Fault> {
        note(&mut self.said);
        Ok(Step::Again)
    }

    fn walk(&mut self, target: Target, kind: ValueType) {
        self.state = State::Value { target, walk: Walk::new(kind), walked: 0 };
    }

    /// Walks on to the end of the value and takes it whole, unless it turns out to be large.
    fn value(&mut self) -> Result<Step, Error> {
        let State::Value { target, walk, walked } = &mut self.state else { return Ok(Step::Again) };
        let (base, most) = (self.buffer.offset(), self.limits.max_string_bytes);
        let whole_bytes = target.whole_bytes(&self.limits);
        loop {
            let mut reader = Reader::new(self.buffer.front(), *walked, base, most);
            let read = walk.next(&mut reader);
            // Also when what lies beyond is wrong: whether a value is large depends on its size
            // only, not on how much of it has arrived.
            if reader.position() > whole_bytes {
                return self.begin_large();
            }
            match read {
                Ok(Some(_)) => *walked = reader.position(),
                Ok(None) => return Ok(self.take_whole()),
                Err(Stop::Bad(error)) => return Err(error),
                Err(Stop::More(total)) if total > whole_bytes => return self.begin_large(),
                Err(Stop::More(total)) if !self.buffer.require(total) => return Ok(Step::NeedMore),
                Err(Stop::More(_)) => {}
            }
        }
    }

    fn take_whole(&mut self) -> Step {
        let State::Value { target, walked, .. } = std::mem::replace(&mut self.state, State::Record)
        else {
            return Step::Again;
        };
        let raw = self.buffer.take(walked);
        Step::Item(match target {
            Target::Key(head) => Item::Entry(Entry { head, raw }),
            Target::ModuleAux => Item::ModuleAux { module: module_id(&raw), raw },
        })
    }

    /// The value is above the limit and will not be held whole.
    fn begin_large(&mut self) -> Result<Step, Error> {
        match std::mem::replace(&mut self.state, State::Record) {
            State::Value { target: Target::Key(head), .. } => {
                self.state = State::Large(Large::new(head.kind));
                self.key = Some(head.key.clone());
                Ok(Step::Item(Item::LargeBegin(head)))
            }
            _ => {
                let limit = self.limits.max_string_bytes;
                Err(Fault::ModuleData { limit }.at(self.buffer.offset()))
            }
        }
    }

    fn large(&mut self) -> Result<Step, Error> {
        let State::Large(large) = &mut self.state else { return Ok(Step::Again) };
        Ok(match large.next(&mut self.buffer, self.limits)? {
            LargeStep::Part(part) => Step::Item(Item::LargePart(part)),
            LargeStep::NeedMore => Step::NeedMore,
            LargeStep::End => {
                self.state = State::Record;
                self.key = None;
                Step::Item(Item::LargeEnd)
            }
        })
    }

    fn checksum(&mut self) -> Result<Step, Error> {
        if self.version >= CHECKSUM_VERSION {
            let (offset, computed) = (self.buffer.offset(), self.buffer.checksum());
            let Some((stored, _)) = self.attempt(stored_checksum)? else {
                return Ok(Step::NeedMore);
            };
            // Zero stands where the writer was told not to compute one.
            if stored != 0 && stored != computed {
                return Err(Fault::Checksum { stored, computed }.at(offset));
            }
        }
        self.state = State::End;
        Ok(Step::End)
    }

    /// Reads one thing at the front and takes its bytes; `None` if more must be fed first.
    fn attempt<T>(
        &mut self,
        mut read: impl FnMut(&mut Reader<'_>) -> Result<T, Stop>,
    ) -> Result<Option<(T, Bytes)>, Error> {
        loop {
            let (base, most) = (self.buffer.offset(), self.limits.max_string_bytes);
            let mut reader = Reader::new(self.buffer.front(), 0, base, most);
            match read(&mut reader) {
                Ok(thing) => {
                    let len = reader.position();
                    return Ok(Some((thing, self.buffer.take(len))));
                }
                Err(Stop::Bad(error)) => return Err(error),
                Err(Stop::More(total)) if !self.buffer.require(total) => return Ok(None),
                Err(Stop::More(_)) => {}
            }
        }
    }
}

// === impl Target ===

impl Target {
    /// Up to which size a value is held whole.
    fn whole_bytes(&self, limits: &Limits) -> usize {
        match self {
            Self::Key(_) => limits.raw_value_bytes,
            Self::ModuleAux => limits.max_string_bytes,
        }
    }
}

// === impl Said ===

impl Said {
    fn head(&mut self, key: Bytes, kind: ValueType) -> EntryHead {
        let Self { expire_at_ms, idle_s, freq, key_meta } = std::mem::take(self);
        EntryHead { key, kind, expire_at_ms, idle_s, freq, key_meta }
    }
}

fn magic(reader: &mut Reader<'_>) -> Result<(Flavour, u16), Stop> {
    let magic = reader.array()?;
    parse_magic(&magic).map_err(|fault| reader.bad_at(0, fault))
}

fn stored_checksum(reader: &mut Reader<'_>) -> Result<u64, Stop> {
    Ok(u64::from_le_bytes(reader.array()?))
}

fn parse_magic(magic: &[u8; MAGIC_BYTES]) -> Result<(Flavour, u16), Fault> {
    let (flavour, digits) = if let Some(digits) = magic.strip_prefix(b"REDIS") {
        (Flavour::Redis, digits)
    } else if let Some(digits) = magic.strip_prefix(b"VALKEY") {
        (Flavour::Valkey, digits)
    } else {
        return Err(Fault::Magic(*magic));
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Magic(*magic));
    }
    let version = digits.iter().fold(0, |version, digit| version * 10 + u16::from(digit - b'0'));
    match (flavour, version) {
        (Flavour::Redis, 1..=REDIS_VERSION_LAST) | (Flavour::Valkey, VALKEY_VERSION) => {
            Ok((flavour, version))
        }
        _ => Err(Fault::Version { flavour, version }),
    }
}

#[cfg(test)]
mod tests;
