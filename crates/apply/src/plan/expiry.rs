//! Which deadlines were put off, and their settling once the lane has caught up. Pure.
//!
//! Every change that is planned says here what becomes of the deadlines of its keys. Where that does not follow from its
//! words they are forgotten: then they stay late until the source's own delete, whereas one that is settled wrongly
//! would kill a key.

use bytes::Bytes;
use wire::args::integer;
use wire::resp::encode::Decimal;

use super::Planner;
use super::image;
use super::keys::{Role, Roles};
use super::lower::find;
use crate::batch::Batch;
use crate::deadlines::PutOff;
use crate::scope::Line;

/// What a command leaves of the deadlines of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A value with this deadline of the source, or none, takes the place of the one before.
    Replaced(Option<i64>),
    /// The key gets this deadline of the source, or none; its fields keep theirs.
    Deadline(Option<i64>),
    /// The fields named from one argument on, so many arguments apart, get this deadline of the source, or none.
    Fields(Named, Option<i64>),
    /// Fields go, and the key with the last of them.
    FieldsGo(Named),
    /// All stay: the key lives on.
    Kept,
    /// It cannot be told, or they are gone.
    Unknown,
}

/// Where a command names fields: index of the first, and distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    first: usize,
    step: usize,
}

/// How far the newest record of each line lagged when it was planned.
#[derive(Debug, Default)]
pub(super) struct Lags(Vec<(Line, i64)>);

/// Commands after which the key is there, with the deadlines that it had. One that may leave nothing behind is not
/// among them: the key that comes next under this name has no deadline.
const KEEPING: &[&str] = &[
    "APPEND",
    "BITFIELD",
    "DECR",
    "DECRBY",
    "GEOADD",
    "HINCRBY",
    "INCR",
    "INCRBY",
    "LINSERT",
    "LPUSH",
    "LPUSHX",
    "LSET",
    "PFADD",
    "RPUSH",
    "RPUSHX",
    "SADD",
    "SETBIT",
    "SETRANGE",
    "XACK",
    "XADD",
    "XAUTOCLAIM",
    "XCLAIM",
    "XDEL",
    "XGROUP",
    "XSETID",
    "XTRIM",
    "ZADD",
    "ZINCRBY",
];

// === impl Planner ===

impl Planner {
    /// Notes that the record at hand is of that line.
    pub(super) fn note_lag(&mut self, line: Line) {
        let lag_ms = self.rules.lag_ms();
        match self.lags.0.iter_mut().find(|(of, _)| *of == line) {
            Some(known) => known.1 = lag_ms,
            None => self.lags.0.push((line, lag_ms)),
        }
    }

    /// Whether nothing that was put off has to stay so: no line lags, and no snapshot is under way.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.progress.resyncs.is_empty()
            && self.doubt.is_over()
            && !self.lags.0.is_empty()
            && self.lags.0.iter().all(|(_, lag_ms)| *lag_ms <= self.rules.settling_lag_ms())
    }

    /// Gives up to `count` keys their true deadlines, where these are not too near: such keys are left to the source's
    /// own delete, since a change that renews them may be on its way.
    pub(crate) fn settle(&mut self, now_ms: i64, count: usize, batch: &mut Batch) {
        let near_ms = self.rules.near(now_ms);
        for (db, key, of) in self.deadlines.take_some(count) {
            if let Some(ms) = of.key_ms.filter(|ms| *ms > near_ms) {
                let ms = Decimal::from(ms);
                batch.settle(db, 1, [b"PEXPIREAT".as_slice(), &key, ms.as_ref()]);
            }
            let mut fields: Vec<(i64, &Bytes)> =
                of.fields.iter().map(|(field, ms)| (ms, field)).collect();
            fields.retain(|(ms, _)| *ms > near_ms);
            fields.sort_unstable();
            for same in fields.chunk_by(|one, other| one.0 == other.0) {
                let Some((ms, _)) = same.first() else { continue };
                let (ms, number) = (Decimal::from(*ms), Decimal::from(same.len() as u64));
                let head: [&[u8]; 5] =
                    [b"HPEXPIREAT", &key, ms.as_ref(), b"FIELDS", number.as_ref()];
                let fields = same.iter().map(|(_, field)| &field[..]);
                batch.settle(db, same.len() as u64, head.into_iter().chain(fields));
            }
        }
    }

    /// A value has taken the place of a key, to expire at `deadline_ms` of the source.
    pub(super) fn replaced(&mut self, db: u32, key: &[u8], deadline_ms: Option<i64>) {
        let true_ms = deadline_ms.and_then(|ms| self.rules.put_off(ms));
        if true_ms.is_some() || !self.deadlines.is_empty() {
            self.deadlines.set(db, key, PutOff::of_key(true_ms));
        }
    }

    /// Fields of a hash that has come anew, or is being put together, have got deadlines.
    pub(super) fn fields_expire<'a>(
        &mut self,
        db: u32,
        key: &[u8],
        fields: impl Iterator<Item = (&'a Bytes, i64)>,
    ) {
        let rules = &self.rules;
        let mut fields = fields
            .filter_map(|(field, ms)| Some((&field[..], Some(rules.put_off(ms)?))))
            .peekable();
        if fields.peek().is_some() {
            self.deadlines.set_fields(db, key, false, fields);
        }
    }

    /// A value that was put together under another name has taken the place of a key.
    pub(super) fn put_in_place(
        &mut self,
        db: u32,
        (stage, key): (&[u8], &[u8]),
        deadline_ms: Option<i64>,
    ) {
        let fields = self.deadlines.take(db, stage).fields;
        let key_ms = deadline_ms.and_then(|ms| self.rules.put_off(ms));
        self.deadlines.set(db, key, PutOff { key_ms, fields });
    }

    /// Follows a command with one key.
    pub(super) fn follow_command(&mut self, db: u32, key: &[u8], args: &[Bytes]) {
        let fate = match self.deadlines.get(db, key) {
            Some(_) => Fate::of(args),
            None if Fate::may_put_off(args) => Fate::of(args),
            None => return,
        };
        self.meet(db, key, fate, args);
        if let (Fate::Replaced(_), [name, _, _, payload, ..]) = (fate, args)
            && name.eq_ignore_ascii_case(b"RESTORE")
            && let Some(fields) = image::fields_of_payload(payload)
        {
            self.fields_expire(db, key, image::expiries(&fields));
        }
    }

    /// Follows a command with several keys, or with one in several databases.
    pub(super) fn follow_roles(&mut self, roles: &Roles<'_>, args: &[Bytes]) {
        let name = args.first().map_or(b"".as_slice(), |name| name);
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if let [role] = roles.keys.as_slice() {
            self.follow_command(self.rules.mapping.target(role.db), role.key, args);
        } else if is("MSETEX") {
            let fate = Fate::of_msetex(args);
            for role in roles.written() {
                self.meet(self.rules.mapping.target(role.db), role.key, fate, args);
            }
        } else if is("RENAME") || is("RENAMENX") || is("MOVE") || is("COPY") {
            self.goes_along(roles);
        } else {
            self.forget_written(roles);
        }
    }

    /// Forgets what a command writes.
    fn forget_written(&mut self, roles: &Roles<'_>) {
        if !self.deadlines.is_empty() {
            for role in roles.written() {
                self.deadlines.forget(self.rules.mapping.target(role.db), role.key);
            }
        }
    }

    /// A key gets the value of another, with its deadlines.
    fn goes_along(&mut self, roles: &Roles<'_>) {
        if self.deadlines.is_empty() {
            return;
        }
        let spot = |role: &Role<'_>| (self.rules.mapping.target(role.db), role.key.clone());
        let from = roles.keys.iter().find(|role| role.lends());
        let to = roles.written().find(|role| !role.lends());
        let (Some((from, moves)), Some(to)) =
            (from.map(|role| (spot(role), role.access.writes())), to.map(spot))
        else {
            return self.forget_written(roles);
        };
        let of = match moves {
            true => self.deadlines.take(from.0, &from.1),
            false => self.deadlines.get(from.0, &from.1).cloned().unwrap_or_default(),
        };
        self.deadlines.set(to.0, &to.1, of);
    }

    fn meet(&mut self, db: u32, key: &[u8], fate: Fate, args: &[Bytes]) {
        let after = match fate {
            Fate::Kept => return,
            Fate::Unknown => PutOff::default(),
            Fate::Deadline(Some(ms)) if self.rules.had_passed(ms) => PutOff::default(),
            Fate::Replaced(ms) => PutOff::of_key(ms.and_then(|ms| self.rules.put_off(ms))),
            Fate::Deadline(ms) => {
                let before = self.deadlines.get(db, key).cloned().unwrap_or_default();
                PutOff { key_ms: ms.and_then(|ms| self.rules.put_off(ms)), ..before }
            }
            Fate::Fields(named, ms) => {
                // Those that have passed go at once, and maybe the key with them.
                let may_go = ms.is_some_and(|ms| self.rules.had_passed(ms));
                let true_ms = ms.and_then(|ms| self.rules.put_off(ms));
                return self.meet_fields((db, key), may_go, (named, true_ms), args);
            }
            Fate::FieldsGo(named) => {
                return self.meet_fields((db, key), true, (named, None), args);
            }
        };
        self.deadlines.set(db, key, after);
    }

    fn meet_fields(
        &mut self,
        (db, key): (u32, &[u8]),
        may_go: bool,
        (named, ms): (Named, Option<i64>),
        args: &[Bytes],
    ) {
        let fields = named.in_words(args).map(|field| (&field[..], ms));
        self.deadlines.set_fields(db, key, may_go, fields);
    }
}

// === impl Fate ===

impl Fate {
    /// Whether a command may give a deadline to a key that has none.
    fn may_put_off(args: &[Bytes]) -> bool {
        let name = args.first().map_or(b"".as_slice(), |name| name);
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match name.len() {
            3 => args.len() > 3 && is("SET"),
            6 => is("HSETEX"),
            7 => is("RESTORE"),
            9 => is("PEXPIREAT"),
            10 => is("HPEXPIREAT"),
            _ => false,
        }
    }

    /// What a command with one key does.
    fn of(args: &[Bytes]) -> Self {
        let name = args.first().map_or(b"".as_slice(), |name| name);
        let is = |word: &&str| name.eq_ignore_ascii_case(word.as_bytes());
        let ms = |index: usize| args.get(index).and_then(|ms| integer(ms));
        if KEEPING.iter().any(is) {
            return Self::Kept;
        }
        match () {
            () if is(&"SET") => Self::by_options(args, 3).map_or(Self::Kept, Self::Replaced),
            () if is(&"PEXPIREAT") => ms(2).map_or(Self::Unknown, |ms| Self::Deadline(Some(ms))),
            () if is(&"PERSIST") => Self::Deadline(None),
            () if is(&"RESTORE") => match ms(2) {
                Some(ms) => Self::Replaced((ms != 0).then_some(ms)),
                None => Self::Unknown,
            },
            () if is(&"HSET") || is(&"HMSET") || is(&"HSETNX") => {
                Self::Fields(Named { first: 2, step: 2 }, None)
            }
            () if is(&"HDEL") => Self::FieldsGo(Named { first: 2, step: 1 }),
            () if is(&"HPERSIST") => Self::of_fields(args, 1, None),
            () if is(&"HPEXPIREAT") => match ms(2) {
                // Under a condition it may hold for some of the fields only.
                Some(ms) => {
                    Self::of_fields(args, 1, (find(args, 3, "FIELDS") == Some(3)).then_some(ms))
                }
                None => Self::Unknown,
            },
            () if is(&"HSETEX") => Self::of_hsetex(args),
            () => Self::Unknown,
        }
    }

    fn of_hsetex(args: &[Bytes]) -> Self {
        let fields = find(args, 2, "FIELDS").unwrap_or(args.len());
        match Self::by_options(args.get(..fields).unwrap_or(args), 2) {
            None => Self::Kept,
            Some(ms) => Self::of_fields(args, 2, ms),
        }
    }

    /// `MSETEX n key value… [PXAT ms | KEEPTTL]`, for each of its keys.
    fn of_msetex(args: &[Bytes]) -> Self {
        let count = args.get(1).and_then(|count| integer(count));
        let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
            return Self::Unknown;
        };
        let options = count.saturating_mul(2).saturating_add(2);
        Self::by_options(args, options).map_or(Self::Kept, Self::Replaced)
    }

    /// What the words from `first` on say of the deadline: none where it stays.
    fn by_options(args: &[Bytes], first: usize) -> Option<Option<i64>> {
        if find(args, first, "KEEPTTL").is_some() {
            return None;
        }
        let option = find(args, first, "PXAT");
        Some(option.and_then(|option| integer(args.get(option + 1)?)))
    }

    /// Fields that are named behind the word FIELDS and their number.
    fn of_fields(args: &[Bytes], step: usize, ms: Option<i64>) -> Self {
        let named = find(args, 2, "FIELDS").map(|at| Named { first: at + 2, step });
        named.map_or(Self::Unknown, |named| Self::Fields(named, ms))
    }
}

// === impl Named ===

impl Named {
    fn in_words(self, args: &[Bytes]) -> impl Iterator<Item = &Bytes> {
        args.iter().skip(self.first).step_by(self.step)
    }
}
