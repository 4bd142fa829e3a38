//! Rules for streams: explicit ids, exact trimming, and no `LIMIT`.
//!
//! A source that trimmed approximately replicates the exact result, `= n LIMIT m`, which servers
//! accept from their primary only.

use super::{NormaliseProblem, Normalised, Outcome, Words};
use crate::args::{Args, is_word};

/// `XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [IDMP producer id|IDMPAUTO producer]
/// [MAXLEN|MINID [=|~] n [LIMIT n]] id field value …`.
pub(super) fn xadd<A: Args + ?Sized>(args: &A) -> Outcome {
    let mut limited = false;
    let mut index = 2;
    while let Some(length) = option_length(args, index) {
        limited |= is_limit(args, index);
        index += length;
    }
    let id = args.get(index).ok_or(NormaliseProblem::Missing(index))?;
    if id.contains(&b'*') {
        return Err(NormaliseProblem::NotExplicit(index));
    }
    if limited { strip_limits("XADD", args, index) } else { Ok(Normalised::Verbatim) }
}

/// `XTRIM key MAXLEN|MINID [=|~] n [LIMIT n] [KEEPREF|DELREF|ACKED]`.
pub(super) fn xtrim<A: Args + ?Sized>(args: &A) -> Outcome {
    let mut limited = false;
    let mut index = 2;
    while index < args.len() {
        limited |= is_limit(args, index);
        index += option_length(args, index).ok_or(NormaliseProblem::UnknownOption(index))?;
    }
    if limited { strip_limits("XTRIM", args, index) } else { Ok(Normalised::Verbatim) }
}

/// How many arguments the option at `index` takes up, if it is one.
fn option_length<A: Args + ?Sized>(args: &A, index: usize) -> Option<usize> {
    let is_any = |words: &[&str]| words.iter().any(|word| is_word(args, index, word));
    if is_any(&["NOMKSTREAM", "KEEPREF", "DELREF", "ACKED"]) {
        Some(1)
    } else if is_any(&["LIMIT", "IDMPAUTO"]) {
        Some(2)
    } else if is_any(&["IDMP"]) {
        Some(3)
    } else if is_any(&["MAXLEN", "MINID"]) {
        let exactness = is_word(args, index + 1, "=") || is_word(args, index + 1, "~");
        Some(if exactness { 3 } else { 2 })
    } else {
        None
    }
}

fn is_limit<A: Args + ?Sized>(args: &A, index: usize) -> bool {
    is_word(args, index, "LIMIT")
}

/// The command without any `LIMIT` among its options, which end at `end`.
fn strip_limits<A: Args + ?Sized>(name: &'static str, args: &A, end: usize) -> Outcome {
    let mut words = Words::of(args).text(name).copy(1)?;
    let mut index = 2;
    while let Some(length) = option_length(args, index).filter(|_| index < end) {
        if !is_limit(args, index) {
            words = (index..index + length).try_fold(words, Words::copy)?;
        }
        index += length;
    }
    (index..args.len()).try_fold(words, Words::copy)?.finish()
}
