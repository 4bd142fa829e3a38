//! Whole values: strings by SET, everything else by RESTORE in a form that the destination reads. Pure.

use bytes::Bytes;
use event::image::{Image, ImageHead, ImageValue};
use wire::args::integer;
use wire::rdb::lower::lower;
use wire::rdb::value::{self, Value};
use wire::rdb::{Flavour, HashField, ValueType, dump, encode};
use wire::resp::encode::Decimal;

use super::lower::Unfit;
use super::rebuild::Dest;
use super::rules::Rules;
use super::{Place, Planner};
use crate::batch::{Batch, Sent};
use crate::error::Error;
use crate::marks::mark;
use crate::scope::Line;
use crate::target::{self, Target};

/// What RESTORE is told of a key besides its value.
#[derive(Clone, Copy, Debug, Default)]
struct About {
    expire_at_ms: Option<i64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

/// A value as it stands in an RDB file.
#[derive(Clone, Copy, Debug)]
struct Raw<'a> {
    kind: ValueType,
    bytes: &'a Bytes,
}

// === impl Planner ===

impl Planner {
    /// Plans a whole value.
    pub(super) fn image(
        &mut self,
        place: &Place<'_>,
        image: &Image,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if !self.takes_image(place, &image.head)? {
            return Ok(());
        }
        let db = self.rules.mapping.target(place.db);
        if let Some(why) = self.refusal(place, db) {
            return self.set_aside(place, (db, &[place.key]), why, batch);
        }
        self.held.release(db, place.key);
        let dest = Dest { db, sent: Self::sent(place), key: place.key };
        batch.mark();
        let written = write(&self.rules, batch, dest, image);
        match self.fitting(batch, written) {
            Ok(()) => {
                self.replaced(db, place.key, image.head.expire_at_ms);
                if let Some(fields) = fields_of_image(image) {
                    self.fields_expire(db, place.key, expiries(&fields));
                }
                Ok(())
            }
            Err(unfit) => {
                let why = self.cannot_hold(place, unfit)?;
                self.set_aside(place, (db, &[place.key]), why, batch)
            }
        }
    }

    /// Whether an image, or a part of one, is taken. Notes that the snapshot has named the key.
    pub(super) fn takes_image(
        &mut self,
        place: &Place<'_>,
        head: &ImageHead,
    ) -> Result<bool, Error> {
        if self.rules.is_own(place.key) {
            self.counts.own += 1;
            return Ok(false);
        }
        if !self.rules.takes_image((place.db, place.key), head) {
            self.counts.filtered += 1;
            return Ok(false);
        }
        self.mark_key(self.line(place.position), (place.db, place.key))?;
        Ok(true)
    }

    /// Notes that the snapshot under way has named a key of the source.
    pub(super) fn mark_key(&mut self, line: Line, (db, key): (u32, &[u8])) -> Result<(), Error> {
        let mark = mark(self.rules.mapping.target(db), key);
        let Some(marks) = self.marks_of_line(line) else { return Ok(()) };
        let added = marks.add(mark);
        added.map_err(|source| Error::Marks { dir: marks.dir().to_owned(), source })
    }
}

/// Writes an image.
fn write(rules: &Rules, batch: &mut Batch, dest: Dest<'_>, image: &Image) -> Result<(), Unfit> {
    let head = &image.head;
    let about = About {
        expire_at_ms: head.expire_at_ms.map(|ms| rules.expiry(ms)),
        idle_s: head.idle_s,
        freq: head.freq,
    };
    match &image.value {
        ImageValue::Text(text) => {
            set(rules, batch, dest, (text, about.expire_at_ms));
            Ok(())
        }
        ImageValue::Rdb(bytes) => {
            let kind = ValueType::from_byte(head.type_byte, head.flavour)
                .map_err(|_| Unfit::new("a type that this version does not know"))?;
            restore(rules, batch, dest, (Raw { kind, bytes }, about))
        }
    }
}

/// Writes a `RESTORE` of the source: `RESTORE key ms payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`.
pub(super) fn restore_command(
    rules: &Rules,
    batch: &mut Batch,
    (db, sent): (u32, Sent),
    args: &[Bytes],
) -> Result<(), Unfit> {
    let [_, key, ms, payload, options @ ..] = args else {
        return Err(Unfit::new("a RESTORE without a payload"));
    };
    let number = |word: &str| {
        let at = options.iter().position(|option| option.eq_ignore_ascii_case(word.as_bytes()))?;
        integer(options.get(at + 1)?)
    };
    let about = About {
        expire_at_ms: integer(ms).filter(|ms| *ms != 0).map(|ms| rules.expiry(ms)),
        idle_s: number("IDLETIME").and_then(|idle| u64::try_from(idle).ok()),
        freq: number("FREQ").and_then(|freq| u8::try_from(freq).ok()),
    };
    let payload = dump::parse(payload).and_then(dump::Payload::without_notes);
    let payload = payload.map_err(|_| Unfit::new("a payload that cannot be read"))?;
    let kind =
        payload.value_type().map_err(|_| Unfit::new("a type that this version does not know"))?;
    let dest = Dest { db, sent, key };
    restore(rules, batch, dest, (Raw { kind, bytes: &payload.raw }, about))
}

fn set(rules: &Rules, batch: &mut Batch, dest: Dest<'_>, (text, expire): (&Bytes, Option<i64>)) {
    let Dest { db, sent, key } = dest;
    let ms = Decimal::from(expire.unwrap_or_default());
    match expire {
        None => rules.set(batch, (db, sent), (key, text)),
        Some(_) if rules.target.can(target::PXAT) => {
            batch.command(db, sent, [b"SET".as_slice(), key, text, b"PXAT", ms.as_ref()]);
        }
        Some(_) => {
            batch.command(db, sent, [b"SET".as_slice(), key, text]);
            batch.command(db, sent, [b"PEXPIREAT".as_slice(), key, ms.as_ref()]);
        }
    }
}

fn restore(
    rules: &Rules,
    batch: &mut Batch,
    dest: Dest<'_>,
    (raw, about): (Raw<'_>, About),
) -> Result<(), Unfit> {
    let later = with_later_fields(rules, raw);
    let (kind, bytes) = later.as_ref().map_or((raw.kind, raw.bytes), |(kind, raw)| (*kind, raw));
    let form = lower(kind, bytes, rules.target.dialect())?;
    send(rules.target, batch, dest, (&form.payload(), about))
}

/// A hash in which fields expire when they are to expire here; none, where that is when they expire at the source.
fn with_later_fields(rules: &Rules, raw: Raw<'_>) -> Option<(ValueType, Bytes)> {
    let mut fields = expiring_fields(raw.kind, raw.bytes)?;
    let mut is_later = false;
    for ms in fields.iter_mut().filter_map(|field| field.expire_at_ms.as_mut()) {
        let here_ms = rules.expiry(*ms);
        is_later |= here_ms != *ms;
        *ms = here_ms;
    }
    is_later.then(|| encode::expiring_hash(&fields, raw.kind.flavour().unwrap_or(Flavour::Redis)))
}

/// The fields of a hash whose type has deadlines of fields; one that cannot be read is for others to refuse.
fn expiring_fields(kind: ValueType, raw: &Bytes) -> Option<Vec<HashField>> {
    use ValueType::{HashExpiryListpack, HashExpiryRedis, HashExpiryValkey};
    if !matches!(kind, HashExpiryListpack | HashExpiryRedis | HashExpiryValkey) {
        return None;
    }
    match value::decode(kind, raw) {
        Ok(Value::Hash(fields)) => Some(fields),
        _ => None,
    }
}

/// The fields of an image whose type has deadlines of fields.
pub(super) fn fields_of_image(image: &Image) -> Option<Vec<HashField>> {
    let ImageValue::Rdb(raw) = &image.value else { return None };
    expiring_fields(ValueType::from_byte(image.head.type_byte, image.head.flavour).ok()?, raw)
}

/// The same of the payload of a RESTORE.
pub(super) fn fields_of_payload(payload: &Bytes) -> Option<Vec<HashField>> {
    let payload = dump::parse(payload).and_then(dump::Payload::without_notes).ok()?;
    expiring_fields(payload.value_type().ok()?, &payload.raw)
}

/// The fields that expire, and when.
pub(super) fn expiries(fields: &[HashField]) -> impl Iterator<Item = (&Bytes, i64)> {
    fields.iter().filter_map(|field| Some((&field.field, field.expire_at_ms?)))
}

fn send(
    target: Target,
    batch: &mut Batch,
    Dest { db, sent, key }: Dest<'_>,
    (payload, about): (&Bytes, About),
) -> Result<(), Unfit> {
    let ms = Decimal::from(about.expire_at_ms.unwrap_or_default());
    if !target.can(target::ABSTTL) {
        batch.command(db, sent, [b"RESTORE".as_slice(), key, b"0", payload, b"REPLACE"]);
        if about.expire_at_ms.is_some() {
            batch.command(db, sent, [b"PEXPIREAT".as_slice(), key, ms.as_ref()]);
        }
        return Ok(());
    }
    let (idle, freq) =
        (about.idle_s.map(Decimal::from), about.freq.map(|n| Decimal::from(u64::from(n))));
    let mut args: [&[u8]; 8] =
        [b"RESTORE", key, ms.as_ref(), payload, b"REPLACE", b"ABSTTL", b"", b""];
    let mut count = 6;
    match (&idle, &freq) {
        (_, Some(freq)) => (args[6], args[7], count) = (b"FREQ", freq.as_ref(), 8),
        (Some(idle), None) => (args[6], args[7], count) = (b"IDLETIME", idle.as_ref(), 8),
        (None, None) => {}
    }
    batch.command(db, sent, args.into_iter().take(count));
    Ok(())
}
