//! What a command of a replication stream has to become so that it means the same later and
//! elsewhere.
//!
//! A command stands in the stream because it succeeded and changed something at the source. So
//! conditions (`NX`, `GT`, `IFEQ`, the `NX` in a name) are dropped where they would only be asked
//! again, commands that fail on an existing key are told to replace it, and times relative to the
//! moment of execution become absolute against the moment at which our receiver got the bytes.
//! Servers from 7.0 on do most of that themselves; older ones do not. The functions here are pure.

mod expiry;
mod stream;
mod string;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use thiserror::Error;

use super::{CommandSpec, Effect, lookup};
use crate::args::{Args, integer, is_word};
use crate::resp::encode::Decimal;

/// Which generation of servers a stream comes from, by the first version of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Era {
    /// 2.8 before 2.8.23, and 3.0 before 3.0.5: as the next, and MOVE forgets the deadline of the key.
    V2_6,
    /// Up to 4.0: times are relative, scripts travel as such.
    V2_8,
    /// 5.0 to 6.2, and `KeyDB`: times are relative, of scripts only the effects travel.
    V5_0,
    /// 7.0 on, and every Valkey: times are absolute.
    V7_0,
}

/// What a rewrite depends on besides the command.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The source's generation.
    pub source: Era,
    /// When the bytes of the command arrived at our receiver, in milliseconds since 1970.
    pub received_at_ms: i64,
}

/// What a command becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Normalised {
    /// It is fine as it is.
    Verbatim,
    /// It is replaced by another.
    Rewritten {
        /// The spec of the new command.
        spec: &'static CommandSpec,
        /// Its arguments, the name first.
        args: Vec<Bytes>,
    },
    /// It is left out.
    Drop(DropReason),
    /// It steers the stream or the topology: for whoever reads the stream.
    Control,
    /// It is a script, or a script for later: the caller decides. [`Scripts`](super::script::Scripts)
    /// gives its text.
    Script,
}

/// Why a command is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A message, and not data.
    Message,
    /// It changes only what a server caches or shows when debugged.
    NoData,
    /// It fills a cache of scripts, and this source never refers to that.
    ScriptCache,
}

/// Why a command cannot be rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{command}: {problem}")]
pub struct NormaliseError {
    /// The name of the command.
    pub command: String,
    /// What is the matter with it.
    pub problem: NormaliseProblem,
}

/// What is the matter with a command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NormaliseProblem {
    /// There are too few arguments.
    #[error("argument {0} is missing")]
    Missing(usize),
    /// An argument should be a number.
    #[error("argument {0} is not a number")]
    NotANumber(usize),
    /// A deadline is beyond what 64 bits of milliseconds hold.
    #[error("the time in argument {0} is out of range")]
    TimeOutOfRange(usize),
    /// An option that may well change the meaning.
    #[error("argument {0} is an unknown option")]
    UnknownOption(usize),
    /// An id that every server would make up anew.
    #[error("argument {0} is not an explicit id")]
    NotExplicit(usize),
    /// The source always replaces this command by its effect.
    #[error("servers never replicate it under this name")]
    NeverReplicated,
}

/// Which rule rewrites a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rewrite {
    Verbatim,
    Never,
    ScriptCache,
    Set,
    SetEx,
    PSetEx,
    ToSet,
    MSetNx,
    MSetEx,
    ToDel,
    Expire,
    PExpire,
    ExpireAt,
    PExpireAt,
    HExpire,
    HPExpire,
    HExpireAt,
    HSetEx,
    HSetNx,
    HGetDel,
    ExpireMember,
    ExpireMemberAt,
    Restore,
    MvccRestore,
    BRPopLPush,
    BLMove,
    Copy,
    RenameNx,
    XAdd,
    XTrim,
    ZAdd,
    FunctionLoad,
}

/// Judges one command of a stream, and rewrites it where needed.
///
/// # Errors
/// When the arguments are not those of the command, or what it says cannot be made independent of
/// time and place.
pub fn normalise<A: Args + ?Sized>(
    spec: &CommandSpec,
    args: &A,
    context: &Context,
) -> Result<Normalised, NormaliseError> {
    let outcome = match spec.effect {
        Effect::Control => Ok(Normalised::Control),
        Effect::Publish => Ok(Normalised::Drop(DropReason::Message)),
        Effect::None => Ok(Normalised::Drop(DropReason::NoData)),
        Effect::Script if spec.rewrite == Rewrite::Verbatim => Ok(Normalised::Script),
        _ => rewrite(spec.rewrite, args, context),
    };
    outcome.map_err(|problem| NormaliseError { command: spec.name.clone().into_owned(), problem })
}

/// What has to be done before a command, in the same database, for it to mean elsewhere what it did at the source: where
/// MOVE forgets the key's deadline, that is taken off before.
#[must_use]
pub fn before<A: Args + ?Sized>(spec: &CommandSpec, args: &A, source: Era) -> Option<Vec<Bytes>> {
    let forgets = spec.name == "MOVE" && source == Era::V2_6;
    let key = args.bytes(1).filter(|_| forgets)?;
    Some(vec![Bytes::from_static(b"PERSIST"), key])
}

/// The first word that a command has once it is normalised; none: nothing of it is left as a command.
#[must_use]
pub fn carried_as(spec: &CommandSpec) -> Option<&str> {
    match (spec.effect, spec.rewrite) {
        (Effect::Control | Effect::Publish | Effect::None | Effect::Script, _)
        | (_, Rewrite::Never | Rewrite::ScriptCache) => None,
        (_, Rewrite::SetEx | Rewrite::PSetEx | Rewrite::ToSet) => Some("SET"),
        (_, Rewrite::MSetNx) => Some("MSET"),
        (_, Rewrite::ToDel) => Some("DEL"),
        (_, Rewrite::Expire | Rewrite::PExpire | Rewrite::ExpireAt) => Some("PEXPIREAT"),
        (_, Rewrite::HExpire | Rewrite::HPExpire | Rewrite::HExpireAt) => Some("HPEXPIREAT"),
        (_, Rewrite::HSetNx) => Some("HSET"),
        (_, Rewrite::HGetDel) => Some("HDEL"),
        (_, Rewrite::ExpireMember | Rewrite::ExpireMemberAt) => Some("PEXPIREMEMBERAT"),
        (_, Rewrite::Restore | Rewrite::MvccRestore) => Some("RESTORE"),
        (_, Rewrite::BRPopLPush) => Some("RPOPLPUSH"),
        (_, Rewrite::BLMove) => Some("LMOVE"),
        (_, Rewrite::RenameNx) => Some("RENAME"),
        _ => spec.name.split(' ').next(),
    }
}

type Outcome = Result<Normalised, NormaliseProblem>;

fn rewrite<A: Args + ?Sized>(rule: Rewrite, args: &A, context: &Context) -> Outcome {
    match rule {
        Rewrite::Verbatim => Ok(Normalised::Verbatim),
        Rewrite::Never => Err(NormaliseProblem::NeverReplicated),
        Rewrite::ScriptCache if context.source <= Era::V2_8 => Ok(Normalised::Script),
        Rewrite::ScriptCache => Ok(Normalised::Drop(DropReason::ScriptCache)),
        Rewrite::Set => string::set(args, context),
        Rewrite::SetEx => string::setex(args, context, Time::EX),
        Rewrite::PSetEx => string::setex(args, context, Time::PX),
        Rewrite::ToSet => Words::of(args).text("SET").copy(1)?.copy(2)?.finish(),
        Rewrite::MSetNx => Words::of(args).text("MSET").copy_from(1)?.finish(),
        Rewrite::MSetEx => string::msetex(args, context),
        Rewrite::ToDel => Words::of(args).text("DEL").copy(1)?.finish(),
        Rewrite::Expire => expiry::expire(args, context, Time::EX),
        Rewrite::PExpire => expiry::expire(args, context, Time::PX),
        Rewrite::ExpireAt => expiry::expire(args, context, Time::EXAT),
        Rewrite::PExpireAt if args.len() == 3 => Ok(Normalised::Verbatim),
        Rewrite::PExpireAt => expiry::expire(args, context, Time::PXAT),
        Rewrite::HExpire => expiry::hexpire(args, context, Time::EX),
        Rewrite::HPExpire => expiry::hexpire(args, context, Time::PX),
        Rewrite::HExpireAt => expiry::hexpire(args, context, Time::EXAT),
        Rewrite::HSetEx => expiry::hsetex(args, context),
        Rewrite::HSetNx => Words::of(args).text("HSET").copy(1)?.copy(2)?.copy(3)?.finish(),
        Rewrite::HGetDel => expiry::hgetdel(args),
        Rewrite::ExpireMember => expiry::expire_member(args, context),
        Rewrite::ExpireMemberAt => expiry::expire_member_at(args, context, Time::EXAT),
        Rewrite::Restore => expiry::restore(args, context),
        Rewrite::MvccRestore => expiry::mvcc_restore(args),
        Rewrite::BRPopLPush => Words::of(args).text("RPOPLPUSH").copy(1)?.copy(2)?.finish(),
        Rewrite::BLMove => {
            Words::of(args).text("LMOVE").copy(1)?.copy(2)?.copy(3)?.copy(4)?.finish()
        }
        Rewrite::Copy => copy(args),
        Rewrite::RenameNx => Words::of(args).text("RENAME").copy(1)?.copy(2)?.finish(),
        Rewrite::XAdd => stream::xadd(args),
        Rewrite::XTrim => stream::xtrim(args),
        Rewrite::ZAdd => zadd(args),
        Rewrite::FunctionLoad => function_load(args),
    }
}

/// The copy was made, so the destination key did not exist or was to be replaced.
fn copy<A: Args + ?Sized>(args: &A) -> Outcome {
    if (3..args.len()).any(|index| is_word(args, index, "REPLACE")) {
        return Ok(Normalised::Verbatim);
    }
    Words::of(args).text("COPY").copy(1)?.copy_from(2)?.text("REPLACE").finish()
}

/// Of one member it is known that its flags let it pass; of several, not of which.
fn zadd<A: Args + ?Sized>(args: &A) -> Outcome {
    let mut increment = false;
    let mut pairs = 2;
    while pairs < args.len() {
        if is_word(args, pairs, "INCR") {
            increment = true;
        } else if !["NX", "XX", "GT", "LT", "CH"].iter().any(|flag| is_word(args, pairs, flag)) {
            break;
        }
        pairs += 1;
    }
    if pairs == 2 || args.len() - pairs != 2 {
        return Ok(Normalised::Verbatim);
    }
    let name = if increment { "ZINCRBY" } else { "ZADD" };
    Words::of(args).text(name).copy(1)?.copy(pairs)?.copy(pairs + 1)?.finish()
}

/// The library was loaded, so it did not exist or was to be replaced.
fn function_load<A: Args + ?Sized>(args: &A) -> Outcome {
    if args.len() > 3 && is_word(args, 2, "REPLACE") {
        return Ok(Normalised::Verbatim);
    }
    Words::of(args).text("FUNCTION").text("LOAD").text("REPLACE").copy_from(2)?.finish()
}

/// How a time is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    relative: bool,
    unit_ms: i64,
}

// === impl Time ===

impl Time {
    const EX: Self = Self { relative: true, unit_ms: 1000 };
    const PX: Self = Self { relative: true, unit_ms: 1 };
    const EXAT: Self = Self { relative: false, unit_ms: 1000 };
    const PXAT: Self = Self { relative: false, unit_ms: 1 };

    /// The time that the option at `index` introduces.
    fn of_option<A: Args + ?Sized>(args: &A, index: usize) -> Option<Self> {
        let options =
            [("EX", Self::EX), ("PX", Self::PX), ("EXAT", Self::EXAT), ("PXAT", Self::PXAT)];
        options.into_iter().find(|(word, _)| is_word(args, index, word)).map(|(_, time)| time)
    }

    /// The time at `index` as milliseconds since 1970.
    fn deadline_ms<A: Args + ?Sized>(
        self,
        args: &A,
        index: usize,
        context: &Context,
    ) -> Result<i64, NormaliseProblem> {
        let start = if self.relative { context.received_at_ms } else { 0 };
        number(args, index)?
            .checked_mul(self.unit_ms)
            .and_then(|time| time.checked_add(start))
            .ok_or(NormaliseProblem::TimeOutOfRange(index))
    }
}

fn number<A: Args + ?Sized>(args: &A, index: usize) -> Result<i64, NormaliseProblem> {
    let argument = args.get(index).ok_or(NormaliseProblem::Missing(index))?;
    integer(argument).ok_or(NormaliseProblem::NotANumber(index))
}

/// A command being put together from words of ours and arguments of the one it replaces.
struct Words<'a, A: ?Sized> {
    args: &'a A,
    words: Vec<Bytes>,
}

// === impl Words ===

impl<'a, A: Args + ?Sized> Words<'a, A> {
    fn of(args: &'a A) -> Self {
        Self { args, words: Vec::with_capacity(args.len() + 2) }
    }

    fn text(mut self, word: &'static str) -> Self {
        self.words.push(Bytes::from_static(word.as_bytes()));
        self
    }

    fn number(mut self, number: i64) -> Self {
        self.words.push(Decimal::from(number).to_bytes());
        self
    }

    fn word(mut self, word: Bytes) -> Self {
        self.words.push(word);
        self
    }

    fn copy(mut self, index: usize) -> Result<Self, NormaliseProblem> {
        self.words.push(self.args.bytes(index).ok_or(NormaliseProblem::Missing(index))?);
        Ok(self)
    }

    /// Copies the argument at `first`, which must exist, and all after it.
    fn copy_from(self, first: usize) -> Result<Self, NormaliseProblem> {
        let end = self.args.len();
        (first + 1..end).try_fold(self.copy(first)?, Self::copy)
    }

    fn finish(self) -> Outcome {
        let spec = lookup(&self.words).expect("every rewritten command is in the table");
        Ok(Normalised::Rewritten { spec, args: self.words })
    }
}

// === impl Rewrite ===

impl Rewrite {
    /// Parses a cell of the table.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "-" => Self::Verbatim,
            "never" => Self::Never,
            "script-cache" => Self::ScriptCache,
            "set" => Self::Set,
            "setex" => Self::SetEx,
            "psetex" => Self::PSetEx,
            "setnx" | "getset" => Self::ToSet,
            "msetnx" => Self::MSetNx,
            "msetex" => Self::MSetEx,
            "del" => Self::ToDel,
            "expire" => Self::Expire,
            "pexpire" => Self::PExpire,
            "expireat" => Self::ExpireAt,
            "pexpireat" => Self::PExpireAt,
            "hexpire" => Self::HExpire,
            "hpexpire" => Self::HPExpire,
            "hexpireat" => Self::HExpireAt,
            "hsetex" => Self::HSetEx,
            "hsetnx" => Self::HSetNx,
            "hgetdel" => Self::HGetDel,
            "expiremember" => Self::ExpireMember,
            "expirememberat" => Self::ExpireMemberAt,
            "restore" => Self::Restore,
            "mvccrestore" => Self::MvccRestore,
            "brpoplpush" => Self::BRPopLPush,
            "blmove" => Self::BLMove,
            "copy" => Self::Copy,
            "renamenx" => Self::RenameNx,
            "xadd" => Self::XAdd,
            "xtrim" => Self::XTrim,
            "zadd" => Self::ZAdd,
            "function-load" => Self::FunctionLoad,
            _ => return None,
        })
    }
}
