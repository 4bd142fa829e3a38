//! What stands between the magic and the checksum of a file: opcodes with their payloads, and keys
//! with their type, as far as the value.

use super::error::Fault;
use super::kind::{Flavour, ValueType};
use super::reader::{Reader, Stop, Text};
use super::walk::module_values;

/// Slots of a cluster: an import cannot name more ranges than that.
const SLOTS: u64 = 16384;

/// The opcode of a key's metadata in files of Redis.
pub(super) const KEY_META: u8 = 243;

/// The version that brought it.
pub(super) const KEY_META_VERSION: u16 = 13;

/// The type of a job that `KeyDB` runs by the clock.
const KEYDB_CRON: u8 = 64;

/// From here on bytes are opcodes; types come nowhere near.
const OPCODES_FROM: u8 = 200;

/// A key behind a type that is not known is only waited for if it has no more bytes than this.
const NAMED_KEY_BYTES: usize = 1024;

/// One opcode with its payload, or a key. Texts are positions in the record's bytes.
#[derive(Debug)]
pub(super) enum Record {
    /// The next key expires, unix ms.
    Expire(i64),
    /// The next key was idle for so many seconds.
    Idle(u64),
    /// The next key has this access counter.
    Freq(u8),
    /// The next key has metadata of modules; it begins here.
    KeyMeta {
        start: usize,
    },
    Aux(Text, Text),
    SelectDb(u32),
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    SlotInfo {
        slot: u16,
        keys: u64,
        expires: u64,
    },
    SlotImport {
        job: Text,
        ranges: Vec<(u16, u16)>,
    },
    Function(Text),
    /// Values of a module that belong to no key: id and values follow, laid out like a value.
    ModuleAux,
    /// A key; its value follows.
    Key(ValueType, Text),
    /// A key whose value was passed over, and what it is.
    Skipped(Text, &'static str),
    /// A type or opcode that cannot be read on from, and the key that follows a type.
    Unreadable(Fault, Option<Text>),
    /// Only the checksum follows.
    End,
}

/// Reads one record of a file of this flavour and version.
pub(super) fn record(
    reader: &mut Reader<'_>,
    flavour: Flavour,
    version: u16,
) -> Result<Record, Stop> {
    let byte = reader.byte()?;
    Ok(match byte {
        255 => Record::End,
        254 => Record::SelectDb(reader.small("database number")?),
        253 => Record::Expire(i64::from(i32::from_le_bytes(reader.array()?)) * 1000),
        252 => Record::Expire(reader.i64()?),
        251 => Record::ResizeDb { keys: reader.len()?, expires: reader.len()? },
        250 => Record::Aux(reader.text()?, reader.text()?),
        249 => Record::Freq(reader.byte()?),
        248 => Record::Idle(reader.len()?),
        247 => Record::ModuleAux,
        245 => Record::Function(reader.text()?),
        244 => Record::SlotInfo {
            slot: reader.small("slot")?,
            keys: reader.len()?,
            expires: reader.len()?,
        },
        243 if flavour == Flavour::Valkey => slot_import(reader)?,
        KEY_META if version >= KEY_META_VERSION => key_meta(reader)?,
        KEYDB_CRON if flavour == Flavour::Redis => cron(reader)?,
        _ => match ValueType::from_byte(byte, flavour) {
            Ok(kind) => Record::Key(kind, reader.text()?),
            Err(fault) if byte < OPCODES_FROM => Record::Unreadable(fault, named_key(reader)?),
            Err(fault) => Record::Unreadable(fault, None),
        },
    })
}

/// A job of `KeyDB`: script, first time and interval, keys, arguments. No other server has any.
fn cron(reader: &mut Reader<'_>) -> Result<Record, Stop> {
    let key = reader.text()?;
    reader.text()?;
    reader.array::<16>()?;
    for _ in 0..2 {
        for _ in 0..reader.len()? {
            reader.text()?;
        }
    }
    Ok(Record::Skipped(key, "cron job of KeyDB"))
}

/// The key behind a type that is not known, so that the refusal can name it; `None` if what stands
/// there is no key, or one that is too long to be worth waiting for.
fn named_key(reader: &mut Reader<'_>) -> Result<Option<Text>, Stop> {
    let text = match reader.text_head() {
        Ok(text) => text,
        Err(Stop::Bad(_)) => return Ok(None),
        Err(more @ Stop::More(_)) => return Err(more),
    };
    match text {
        Text::Plain { len, .. } | Text::Lzf { compressed: len, .. } if len <= NAMED_KEY_BYTES => {
            reader.bytes(len)?;
            Ok(Some(text))
        }
        Text::Int(_) => Ok(Some(text)),
        _ => Ok(None),
    }
}

fn slot_import(reader: &mut Reader<'_>) -> Result<Record, Stop> {
    let job = reader.text()?;
    let at = reader.position();
    let promised = reader.len()?;
    if promised > SLOTS {
        let what = "number of slot ranges";
        return Err(reader.bad_at(at, Fault::TooLong { what, promised, limit: SLOTS }));
    }
    let mut ranges = Vec::new();
    for _ in 0..promised {
        ranges.push((reader.small("slot")?, reader.small("slot")?));
    }
    Ok(Record::SlotImport { job, ranges })
}

/// Metadata of modules: a number of classes, each with a spec of four bytes and values.
pub(super) fn key_meta(reader: &mut Reader<'_>) -> Result<Record, Stop> {
    let start = reader.position();
    for _ in 0..reader.len()? {
        reader.array::<4>()?;
        module_values(reader)?;
    }
    Ok(Record::KeyMeta { start })
}
