//! Rules for deadlines of keys, fields and members, and for whole values that carry one.

use bytes::Bytes;

use super::{Context, NormaliseProblem, Normalised, Outcome, Time, Words, number};
use crate::args::{Args, is_word};
use crate::crc64::crc64;

/// Type, version and checksum of the emptiest payload.
const MIN_PAYLOAD_BYTES: usize = 1 + 2 + CHECKSUM_BYTES;
const CHECKSUM_BYTES: usize = 8;

/// `[P]EXPIRE[AT] key time [NX|XX|GT|LT]`.
pub(super) fn expire<A: Args + ?Sized>(args: &A, context: &Context, time: Time) -> Outcome {
    let deadline_ms = time.deadline_ms(args, 2, context)?;
    Words::of(args).text("PEXPIREAT").copy(1)?.number(deadline_ms).finish()
}

/// `H[P]EXPIRE[AT] key time [NX|XX|GT|LT] FIELDS n field …`. A condition stays: it may have held
/// for some of the fields only.
pub(super) fn hexpire<A: Args + ?Sized>(args: &A, context: &Context, time: Time) -> Outcome {
    let deadline_ms = time.deadline_ms(args, 2, context)?;
    Words::of(args).text("HPEXPIREAT").copy(1)?.number(deadline_ms).copy_from(3)?.finish()
}

/// `HSETEX key [FNX|FXX] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL] FIELDS n field value …`, in any order.
/// A condition holds for all fields or the command does nothing, so it held.
pub(super) fn hsetex<A: Args + ?Sized>(args: &A, context: &Context) -> Outcome {
    let mut words = Words::of(args).text("HSETEX").copy(1)?;
    let mut verbatim = true;
    let mut index = 2;
    while index < args.len() {
        if let Some(time) = Time::of_option(args, index) {
            verbatim &= time == Time::PXAT;
            words = words.text("PXAT").number(time.deadline_ms(args, index + 1, context)?);
            index += 2;
        } else if is_word(args, index, "FNX") || is_word(args, index, "FXX") {
            verbatim = false;
            index += 1;
        } else if is_word(args, index, "KEEPTTL") {
            words = words.text("KEEPTTL");
            index += 1;
        } else if is_word(args, index, "FIELDS") {
            let pairs = usize::try_from(number(args, index + 1)?)
                .map_err(|_| NormaliseProblem::NotANumber(index + 1))?;
            let end = pairs.saturating_mul(2).saturating_add(index + 2);
            if end > args.len() {
                return Err(NormaliseProblem::Missing(args.len()));
            }
            words = (index..end).try_fold(words, Words::copy)?;
            index = end;
        } else {
            return Err(NormaliseProblem::UnknownOption(index));
        }
    }
    if verbatim { Ok(Normalised::Verbatim) } else { words.finish() }
}

/// `HGETDEL key FIELDS n field …`: what it deleted is deleted, and older servers know no such
/// command.
pub(super) fn hgetdel<A: Args + ?Sized>(args: &A) -> Outcome {
    if !is_word(args, 2, "FIELDS") {
        return Err(NormaliseProblem::UnknownOption(2));
    }
    Words::of(args).text("HDEL").copy(1)?.copy_from(4)?.finish()
}

/// `EXPIREMEMBER key member time [s|ms]`.
pub(super) fn expire_member<A: Args + ?Sized>(args: &A, context: &Context) -> Outcome {
    let time = match args.get(4) {
        None => Time::EX,
        Some(_) if is_word(args, 4, "s") => Time::EX,
        Some(_) if is_word(args, 4, "ms") => Time::PX,
        Some(_) => return Err(NormaliseProblem::UnknownOption(4)),
    };
    expire_member_at(args, context, time)
}

/// `EXPIREMEMBERAT key member time`.
pub(super) fn expire_member_at<A: Args + ?Sized>(
    args: &A,
    context: &Context,
    time: Time,
) -> Outcome {
    let deadline_ms = time.deadline_ms(args, 3, context)?;
    Words::of(args).text("PEXPIREMEMBERAT").copy(1)?.copy(2)?.number(deadline_ms).finish()
}

/// `RESTORE[-ASKING] key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`.
pub(super) fn restore<A: Args + ?Sized>(args: &A, context: &Context) -> Outcome {
    let (mut replace, mut absolute, mut hints) = (false, false, None);
    let mut index = 4;
    while index < args.len() {
        if is_word(args, index, "REPLACE") {
            replace = true;
        } else if is_word(args, index, "ABSTTL") {
            absolute = true;
        } else if is_word(args, index, "IDLETIME") {
            index += 1;
            hints = Some(("IDLETIME", index));
        } else if is_word(args, index, "FREQ") {
            index += 1;
            hints = Some(("FREQ", index));
        } else {
            return Err(NormaliseProblem::UnknownOption(index));
        }
        index += 1;
    }
    let time = if absolute { Time::PXAT } else { Time::PX };
    let lasting = number(args, 2)? == 0;
    let payload = args.bytes(3).ok_or(NormaliseProblem::Missing(3))?;
    let checksum = missing_checksum(&payload);
    let timeless = lasting || absolute;
    if replace && timeless && checksum.is_none() && is_word(args, 0, "RESTORE") {
        return Ok(Normalised::Verbatim);
    }
    let deadline_ms = if lasting { 0 } else { time.deadline_ms(args, 2, context)? };
    let payload = checksum.unwrap_or(payload);
    let mut words = Words::of(args).text("RESTORE").copy(1)?.number(deadline_ms).word(payload);
    words = words.text("REPLACE");
    if !lasting {
        words = words.text("ABSTTL");
    }
    if let Some((word, value)) = hints {
        words = words.text(word).copy(value)?;
    }
    words.finish()
}

/// `KEYDB.MVCCRESTORE key mvcc ttl payload`, its ttl absolute, and none if not positive.
pub(super) fn mvcc_restore<A: Args + ?Sized>(args: &A) -> Outcome {
    let deadline_ms = number(args, 3)?.max(0);
    let mut words = Words::of(args).text("RESTORE").copy(1)?.number(deadline_ms).copy(4)?;
    words = words.text("REPLACE");
    if deadline_ms > 0 {
        words = words.text("ABSTTL");
    }
    words.finish()
}

/// A payload whose checksum was left out, with its checksum. Servers from Redis 8.4 on send such
/// payloads while slots move, and only they accept them.
fn missing_checksum(payload: &[u8]) -> Option<Bytes> {
    let (value, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    if payload.len() < MIN_PAYLOAD_BYTES || *checksum != [0; CHECKSUM_BYTES] {
        return None;
    }
    match crc64(value) {
        0 => None,
        checksum => Some([value, &checksum.to_le_bytes()].concat().into()),
    }
}
