//! Rules for strings: what was set is set, whatever the conditions were, and its deadline is
//! absolute.

use super::{Context, NormaliseProblem, Normalised, Outcome, Time, Words, number};
use crate::args::{Args, is_word};

/// What the options of a `SET` or `MSETEX` come to.
struct Options {
    deadline_ms: Option<i64>,
    keep_ttl: bool,
    /// Whether there is anything that has to go or be replaced.
    verbatim: bool,
}

pub(super) fn set<A: Args + ?Sized>(args: &A, context: &Context) -> Outcome {
    if args.len() == 3 {
        return Ok(Normalised::Verbatim);
    }
    let options = Options::read(args, 3, context)?;
    if options.verbatim {
        return Ok(Normalised::Verbatim);
    }
    options.write(Words::of(args).text("SET").copy(1)?.copy(2)?).finish()
}

pub(super) fn setex<A: Args + ?Sized>(args: &A, context: &Context, time: Time) -> Outcome {
    let deadline_ms = time.deadline_ms(args, 2, context)?;
    Words::of(args).text("SET").copy(1)?.copy(3)?.text("PXAT").number(deadline_ms).finish()
}

pub(super) fn msetex<A: Args + ?Sized>(args: &A, context: &Context) -> Outcome {
    let pairs = usize::try_from(number(args, 1)?).map_err(|_| NormaliseProblem::NotANumber(1))?;
    let end = pairs.saturating_mul(2).saturating_add(2);
    if end > args.len() {
        return Err(NormaliseProblem::Missing(args.len()));
    }
    let options = Options::read(args, end, context)?;
    if options.verbatim {
        return Ok(Normalised::Verbatim);
    }
    let words = (1..end).try_fold(Words::of(args).text("MSETEX"), Words::copy)?;
    options.write(words).finish()
}

// === impl Options ===

impl Options {
    fn read<A: Args + ?Sized>(
        args: &A,
        first: usize,
        context: &Context,
    ) -> Result<Self, NormaliseProblem> {
        let mut options = Self { deadline_ms: None, keep_ttl: false, verbatim: true };
        let is_any = |index, words: &[&str]| words.iter().any(|word| is_word(args, index, word));
        let mut index = first;
        while index < args.len() {
            if let Some(time) = Time::of_option(args, index) {
                options.deadline_ms = Some(time.deadline_ms(args, index + 1, context)?);
                options.verbatim &= time == Time::PXAT;
                index += 2;
            } else if is_word(args, index, "KEEPTTL") {
                options.keep_ttl = true;
                index += 1;
            } else if is_any(index, &["NX", "XX", "GET"]) {
                options.verbatim = false;
                index += 1;
            } else if is_any(index, &["IFEQ", "IFNE", "IFDEQ", "IFDNE"]) {
                options.verbatim = false;
                index += 2;
            } else {
                return Err(NormaliseProblem::UnknownOption(index));
            }
        }
        Ok(options)
    }

    fn write<'a, A: Args + ?Sized>(&self, mut words: Words<'a, A>) -> Words<'a, A> {
        if let Some(deadline_ms) = self.deadline_ms {
            words = words.text("PXAT").number(deadline_ms);
        }
        if self.keep_ttl {
            words = words.text("KEEPTTL");
        }
        words
    }
}
