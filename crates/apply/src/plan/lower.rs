//! Writing a command of the source so that this destination understands it: databases mapped, expiries extended, words
//! that an older server does not know left out where the meaning stays. Pure.

mod before_6_2;
mod stream;

use std::borrow::Cow;

use bytes::Bytes;
use wire::args::integer;
use wire::rdb::lower::Misfit;
use wire::resp::encode::Decimal;

use super::change::number;
use super::rules::Rules;
use crate::batch::{Batch, Judge, Sent};
use crate::target;

pub(super) use stream::consumer_by_reading;

/// Why a change cannot be written to this destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has no form for it, whatever its settings.
    Lacks(&'static str),
    /// A setting of it bounds sizes: with another it could be held.
    TooLarge(String),
}

/// Commands that are not simply passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Set,
    Deadline,
    Persist,
    FieldDeadline,
    FieldPersist,
    HSetEx,
    MSetEx,
    Restore,
    Unlink,
    Copy,
    Move,
    LMove,
    PopMany,
    ZAdd,
    ZDiffStore,
    ZRangeStore,
    GeoRadius,
    GeoSearchStore,
    Vectors,
    XAdd,
    XTrim,
    XSetId,
    XGroup,
    XDelEx,
    XAckDel,
    XIdempotence,
}

/// A deadline that no key meets, Unix milliseconds: in the year 2100.
const FAR_MS: &[u8] = b"4102444800000";

/// Commands that are not plain.
const NAMES: [(&str, Kind); 31] = [
    ("SET", Kind::Set),
    ("PEXPIREAT", Kind::Deadline),
    ("PERSIST", Kind::Persist),
    ("HPEXPIREAT", Kind::FieldDeadline),
    ("HSETEX", Kind::HSetEx),
    ("HPERSIST", Kind::FieldPersist),
    ("MSETEX", Kind::MSetEx),
    ("RESTORE", Kind::Restore),
    ("UNLINK", Kind::Unlink),
    ("COPY", Kind::Copy),
    ("MOVE", Kind::Move),
    ("LMOVE", Kind::LMove),
    ("LPOP", Kind::PopMany),
    ("RPOP", Kind::PopMany),
    ("ZADD", Kind::ZAdd),
    ("ZDIFFSTORE", Kind::ZDiffStore),
    ("ZRANGESTORE", Kind::ZRangeStore),
    ("GEORADIUS", Kind::GeoRadius),
    ("GEORADIUSBYMEMBER", Kind::GeoRadius),
    ("GEOSEARCHSTORE", Kind::GeoSearchStore),
    ("VADD", Kind::Vectors),
    ("VREM", Kind::Vectors),
    ("VSETATTR", Kind::Vectors),
    ("XADD", Kind::XAdd),
    ("XTRIM", Kind::XTrim),
    ("XSETID", Kind::XSetId),
    ("XGROUP", Kind::XGroup),
    ("XDELEX", Kind::XDelEx),
    ("XACKDEL", Kind::XAckDel),
    ("XCFGSET", Kind::XIdempotence),
    ("XIDMPRECORD", Kind::XIdempotence),
];

/// The result of writing a command.
type Written = Result<(), Unfit>;

/// Whether a command names a second database.
pub(super) fn has_other_db(name: &[u8]) -> bool {
    name.len() == 4 && matches!(Kind::of(name), Kind::Copy | Kind::Move)
}

/// Whether a command with one key, of so many words, is written as it is, and does nothing to deadlines that were put
/// off.
pub(super) fn passes_on(name: &[u8], words: usize) -> bool {
    match Kind::of(name) {
        Kind::Plain => !name.eq_ignore_ascii_case(b"EVAL"),
        Kind::Set => words == 3,
        _ => false,
    }
}

/// Writes a command of the source into the batch.
pub(super) fn write(
    rules: &Rules,
    batch: &mut Batch,
    db: u32,
    sent: Sent,
    args: &[Bytes],
) -> Written {
    let name = args.first().map_or(b"".as_slice(), |name| name);
    let mut out = Out { rules, batch, db, sent };
    match Kind::of(name) {
        Kind::Plain => out.put(args),
        Kind::Set => out.set(args),
        Kind::Deadline => out.deadline(args),
        Kind::Persist => out.persist(args),
        Kind::FieldDeadline => out.field_deadline(args),
        Kind::HSetEx => out.hsetex(args),
        Kind::MSetEx => out.msetex(args),
        Kind::Restore => out.restore(args),
        Kind::Unlink => out.unlink(args),
        Kind::Copy => out.copy(args),
        Kind::Move => out.move_key(args),
        Kind::LMove => out.lmove(args),
        Kind::PopMany => out.pop_many(args),
        Kind::ZAdd => out.zadd(args),
        Kind::ZDiffStore => out.zdiffstore(args),
        Kind::ZRangeStore => out.zrangestore(args),
        Kind::GeoRadius => out.georadius(args),
        Kind::GeoSearchStore => out.geosearchstore(args),
        // Where no field expires, it has nothing to do.
        Kind::FieldPersist if !rules.target.can(target::FIELD_EXPIRY) => Ok(()),
        Kind::FieldPersist => out.renews_fields(args).put(args),
        Kind::Vectors if !rules.target.can(target::VECTORS) => Err(Misfit::VectorSet.into()),
        Kind::Vectors => out.put(args),
        Kind::XAdd => out.xadd(args),
        Kind::XTrim => out.xtrim(args),
        Kind::XSetId => out.without(args, 3, &["ENTRIESADDED", "MAXDELETEDID"]),
        Kind::XGroup => out.xgroup(args),
        Kind::XDelEx => out.xdelex(args),
        Kind::XAckDel => out.xackdel(args),
        Kind::XIdempotence if !rules.target.can(target::IDEMPOTENT_XADD) => Ok(()),
        Kind::XIdempotence => out.put(args),
    }
}

/// Where commands of one change go.
struct Out<'a> {
    rules: &'a Rules,
    batch: &'a mut Batch,
    db: u32,
    sent: Sent,
}

// === impl Unfit ===

impl Unfit {
    /// What the destination lacks.
    pub(super) const fn new(why: &'static str) -> Self {
        Self::Lacks(why)
    }

    /// The reason, for people.
    pub(crate) fn why(self) -> String {
        format!("the destination cannot hold it: {}", self.lacks())
    }

    /// What the destination lacks, or bounds.
    pub(super) fn lacks(self) -> Cow<'static, str> {
        match self {
            Self::Lacks(why) => why.into(),
            Self::TooLarge(why) => why.into(),
        }
    }
}

impl From<Misfit> for Unfit {
    fn from(misfit: Misfit) -> Self {
        Self::new(match misfit {
            Misfit::FieldExpiry => "it knows no expiry of hash fields",
            Misfit::Stream => "it knows no streams",
            Misfit::Module => "it does not survive values of modules that it has not",
            Misfit::VectorSet => "it knows no vector sets",
            Misfit::Empty => "the collection is empty, and an empty one is no key",
            _ => "a value that cannot be read",
        })
    }
}

// === impl Kind ===

impl Kind {
    fn of(name: &[u8]) -> Self {
        let mut known = NAMES.iter();
        let known = known.find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        known.map_or(Self::Plain, |(_, kind)| *kind)
    }
}

// === impl Out ===

impl Out<'_> {
    fn put<I>(&mut self, args: I) -> Written
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        self.batch.command(self.db, self.sent, args);
        Ok(())
    }

    /// The command with the deadline after `PXAT` put off, where that is asked for.
    fn put_off(&mut self, args: &[Bytes], option: usize) -> Written {
        let deadline = args.get(option + 1).and_then(|ms| integer(ms));
        let Some(ms) = deadline.filter(|ms| self.rules.expiry(*ms) != *ms) else {
            return self.put(args);
        };
        let later = Decimal::from(self.rules.expiry(ms)).to_bytes();
        let replaced = args.iter().enumerate().map(
            |(index, word)| {
                if index == option + 1 { &later } else { word }
            },
        );
        self.put(replaced)
    }

    /// `SET key value [PXAT ms | KEEPTTL]`.
    fn set(&mut self, args: &[Bytes]) -> Written {
        if let [_, key, value] = args {
            self.rules.set(self.batch, (self.db, self.sent), (key, value));
            return Ok(());
        }
        let keeps = args.len() > 3 && find(args, 3, "KEEPTTL").is_some();
        if keeps && !self.rules.target.can(target::KEEPTTL) {
            return self.set_keeping_ttl(args);
        }
        let Some(option) = find(args, 3, "PXAT") else { return self.put(args) };
        if self.rules.target.can(target::PXAT) {
            return self.put_off(args, option);
        }
        let [_, key, value, ..] = args else { return self.put(args) };
        let deadline = args.get(option + 1).and_then(|ms| integer(ms)).unwrap_or(0);
        let ms = Decimal::from(self.rules.expiry(deadline));
        self.put([b"SET".as_slice(), key, value])?;
        self.put([b"PEXPIREAT".as_slice(), key, ms.as_ref()])
    }

    /// Where an absent key says something, the reply is judged so.
    fn judged(&mut self, judge: Judge) -> &mut Self {
        if self.rules.complete {
            self.sent.judge = judge;
        }
        self
    }

    /// `PEXPIREAT key ms [condition]`. The condition was met at the source; here it would be about a deadline that may
    /// have been put off.
    fn deadline(&mut self, args: &[Bytes]) -> Written {
        self.judged(Judge::Renews).put_off(args.get(..3).unwrap_or(args), 1)
    }

    /// `PERSIST key`. Its reply does not tell a key that is not there from one without a deadline: a deadline for a
    /// moment does.
    fn persist(&mut self, args: &[Bytes]) -> Written {
        if let (Some(key), true) = (args.get(1), self.rules.complete) {
            let sent = Sent { judge: Judge::Renews, ..self.sent };
            self.batch.command(self.db, sent, [b"PEXPIREAT".as_slice(), key, FAR_MS]);
        }
        self.put(args)
    }

    /// `HPEXPIREAT key ms FIELDS n field…`.
    fn field_deadline(&mut self, args: &[Bytes]) -> Written {
        if !self.rules.target.can(target::FIELD_EXPIRY) {
            return Err(Unfit::new("it knows no expiry of hash fields"));
        }
        self.renews_fields(args).put_off(args, 1)
    }

    /// The reply about fields does not tell whether the hash is there at all, with others than these: a rename to the
    /// name that it has does, which an account that may only write is allowed.
    fn renews_fields(&mut self, args: &[Bytes]) -> &mut Self {
        if let (Some(key), true) = (args.get(1), self.rules.complete) {
            let sent = Sent { judge: Judge::IsThere, ..self.sent };
            self.batch.command(self.db, sent, [b"RENAME".as_slice(), key, key]);
        }
        self.judged(Judge::RenewsFields)
    }

    /// `HSETEX key [PXAT ms | KEEPTTL] FIELDS n field value…`.
    fn hsetex(&mut self, args: &[Bytes]) -> Written {
        let fields = find(args, 2, "FIELDS").unwrap_or(args.len());
        let deadline = find(args.get(..fields).unwrap_or(args), 2, "PXAT");
        let target = self.rules.target;
        if target.can(target::HSETEX) {
            return match deadline {
                Some(option) => self.put_off(args, option),
                None => self.put(args),
            };
        }
        if deadline.is_some() && !target.can(target::FIELD_EXPIRY) {
            return Err(Unfit::new("it knows no expiry of hash fields"));
        }
        let (Some(key), Some(pairs)) = (args.get(1), args.get(fields + 2..)) else {
            return self.put(args);
        };
        let head: [&[u8]; 2] = [b"HSET", key];
        self.put(head.into_iter().chain(pairs.iter().map(|word| &word[..])))?;
        let Some(option) = deadline else { return Ok(()) };
        let ms = args.get(option + 1).and_then(|ms| integer(ms)).unwrap_or(0);
        let ms = Decimal::from(self.rules.expiry(ms));
        let count = Decimal::from((pairs.len() / 2) as u64);
        let head: [&[u8]; 5] = [b"HPEXPIREAT", key, ms.as_ref(), b"FIELDS", count.as_ref()];
        self.put(head.into_iter().chain(pairs.iter().step_by(2).map(|word| &word[..])))
    }

    /// `MSETEX n key value… [PXAT ms | KEEPTTL]`.
    fn msetex(&mut self, args: &[Bytes]) -> Written {
        let count = args.get(1).and_then(|count| integer(count)).unwrap_or(0);
        let pairs_end =
            usize::try_from(count).map_or(2, |count| count.saturating_mul(2).saturating_add(2));
        if self.rules.target.can(target::MSETEX) {
            return match find(args, pairs_end, "PXAT") {
                Some(option) => self.put_off(args, option),
                None => self.put(args),
            };
        }
        let pairs = args.get(2..pairs_end).unwrap_or_default();
        let options = args.get(pairs_end..).unwrap_or_default();
        for pair in pairs.chunks_exact(2) {
            let mut single = vec![Bytes::from_static(b"SET")];
            single.extend(pair.iter().chain(options).cloned());
            self.set(&single)?;
        }
        Ok(())
    }

    /// `RESTORE key ms payload …`: the payload is taken apart, since another version may have made it.
    fn restore(&mut self, args: &[Bytes]) -> Written {
        super::image::restore_command(self.rules, self.batch, (self.db, self.sent), args)
    }

    fn unlink(&mut self, args: &[Bytes]) -> Written {
        if self.rules.target.can(target::UNLINK) {
            return self.put(args);
        }
        let del = Bytes::from_static(b"DEL");
        self.put(std::iter::once(&del).chain(args.iter().skip(1)))
    }

    /// `COPY source destination [DB n] REPLACE`.
    fn copy(&mut self, args: &[Bytes]) -> Written {
        let is_old = !self.rules.target.can(target::PXAT);
        let Some(option) = find(args, 3, "DB") else {
            return if is_old { self.copy_by_dump(args, None) } else { self.put(args) };
        };
        let other = args.get(option + 1).and_then(|db| integer(db));
        let other = other.and_then(|db| u32::try_from(db).ok());
        let other = other.map_or(self.db, |db| self.rules.mapping.target(db));
        let other = number(other).to_bytes();
        if is_old {
            return self.copy_by_dump(args, Some(&other));
        }
        self.put(args.iter().enumerate().map(
            |(index, word)| {
                if index == option + 1 { &other } else { word }
            },
        ))
    }

    /// `MOVE key n`. It was moved at the source, so nothing was in its way there.
    fn move_key(&mut self, args: &[Bytes]) -> Written {
        let [_, key, other] = args else { return self.put(args) };
        let other = integer(other).and_then(|db| u32::try_from(db).ok());
        let Some(other) = other.map(|db| self.rules.mapping.target(db)) else {
            return self.put(args);
        };
        if other == self.db {
            // Two databases of the source are one here: the key stays.
            return Ok(());
        }
        let sent = Sent { judge: Judge::Data, ..self.sent };
        self.batch.command(other, sent, [b"DEL".as_slice(), key]);
        let other = number(other);
        self.put([b"MOVE".as_slice(), key, other.as_ref()])
    }

    /// The command without those options from `first` on, each with one value: servers before 7.0 do not know them.
    fn without(&mut self, args: &[Bytes], first: usize, options: &[&str]) -> Written {
        if self.rules.target.can(target::SEVEN) {
            return self.put(args);
        }
        let (mut kept, mut rest) = (Vec::with_capacity(args.len()), args.iter().enumerate());
        while let Some((index, word)) = rest.next() {
            let known = |option: &&str| word.eq_ignore_ascii_case(option.as_bytes());
            if index >= first && options.iter().any(known) {
                rest.next();
            } else {
                kept.push(word);
            }
        }
        self.put(kept)
    }
}

/// Where a word stands, from `first` on.
pub(super) fn find(args: &[Bytes], first: usize, word: &str) -> Option<usize> {
    let rest = args.get(first..)?;
    rest.iter().position(|one| one.eq_ignore_ascii_case(word.as_bytes())).map(|at| at + first)
}
