//! Commands on streams, of which every version brought new words.

use bytes::Bytes;

use super::{Out, Unfit, Written, find};
use crate::target;

/// `XTRIM key MINID id`, by the last id that goes.
const TRIM_TO: &[u8] = b"local n=0 \
while true do \
local found=redis.call('XRANGE',KEYS[1],'-',ARGV[1],'COUNT',500) \
if #found==0 then return n end \
local ids={} for i,e in ipairs(found) do ids[i]=e[1] end \
n=n+redis.call('XDEL',KEYS[1],unpack(ids)) \
end";

/// `XDELEX key DELREF …`, by the ids: they are no longer pending anywhere.
const DELETE_WITH_REFERENCES: &[u8] =
    b"for _,g in ipairs(redis.call('XINFO','GROUPS',KEYS[1])) do \
redis.call('XACK',KEYS[1],g[2],unpack(ARGV)) \
end return redis.call('XDEL',KEYS[1],unpack(ARGV))";

/// History of a consumer from here on is empty: reading it makes the consumer and nothing else. The largest id itself
/// stands for `>`, what was never delivered.
const BEHIND_EVERYTHING: &[u8] = b"18446744073709551615-18446744073709551614";

/// What a destination without references would do otherwise than the source.
const NO_REFERENCES: Unfit = Unfit("it cannot delete by what groups have acknowledged");

// === impl Out ===

impl Out<'_> {
    /// `XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [IDMP producer id|IDMPAUTO producer] [MAXLEN|MINID [=] n] id field
    /// value…`.
    pub(super) fn xadd(&mut self, args: &[Bytes]) -> Written {
        let target = self.rules.target;
        if target.can(target::IDEMPOTENT_XADD) {
            return self.put(args);
        }
        let mut kept: Vec<&Bytes> = args.iter().take(2).collect();
        let (mut at, mut trim) = (2, None);
        while let Some((option, length)) = option(args, at) {
            let words = args.get(at..at + length).unwrap_or_default();
            at += length;
            match option {
                Trim::Idempotence => {}
                Trim::References if target.can(target::REFERENCES) => kept.extend(words),
                Trim::References if is(words.first(), "KEEPREF") => {}
                Trim::References => return Err(NO_REFERENCES),
                Trim::NoStream if !target.can(target::PXAT) => {}
                Trim::MinId if !target.can(target::PXAT) => trim = words.last(),
                Trim::NoStream | Trim::MinId | Trim::MaxLen => kept.extend(words),
            }
        }
        kept.extend(args.iter().skip(at));
        self.put(kept)?;
        match (args.get(1), trim) {
            (Some(key), Some(id)) => self.trim_to(key, id),
            _ => Ok(()),
        }
    }

    /// `XTRIM key MAXLEN|MINID [=] n [KEEPREF|DELREF|ACKED]`.
    pub(super) fn xtrim(&mut self, args: &[Bytes]) -> Written {
        let target = self.rules.target;
        let references = ["KEEPREF", "DELREF", "ACKED"];
        let Some((last, rest)) = args.split_last() else { return Ok(()) };
        let refers = references.iter().any(|word| is(Some(last), word));
        let rest = if refers && !target.can(target::REFERENCES) {
            if !is(Some(last), "KEEPREF") {
                return Err(NO_REFERENCES);
            }
            rest
        } else {
            args
        };
        match (rest, rest.last()) {
            ([_, key, word, ..], Some(id))
                if is(Some(word), "MINID") && !target.can(target::PXAT) =>
            {
                self.trim_to(key, id)
            }
            _ => self.put(rest),
        }
    }

    /// Deletes all entries below an id.
    fn trim_to(&mut self, key: &Bytes, id: &Bytes) -> Written {
        match before(id) {
            Some(last) => self.script(TRIM_TO, &[key], &[last.as_bytes()]),
            None => Ok(()),
        }
    }

    /// `XGROUP CREATE key group id [MKSTREAM] [ENTRIESREAD n]`, `XGROUP SETID …`, `XGROUP CREATECONSUMER key group
    /// consumer`, and others.
    pub(super) fn xgroup(&mut self, args: &[Bytes]) -> Written {
        match args {
            [_, word, key, group, consumer]
                if is(Some(word), "CREATECONSUMER") && !self.rules.target.can(target::PXAT) =>
            {
                self.put(consumer_by_reading(key, group, consumer))
            }
            _ => self.without(args, 5, &["ENTRIESREAD"]),
        }
    }

    /// `XDELEX key [KEEPREF|DELREF|ACKED] IDS n id…`.
    pub(super) fn xdelex(&mut self, args: &[Bytes]) -> Written {
        if self.rules.target.can(target::REFERENCES) {
            return self.put(args);
        }
        let (Some(key), Some(ids)) = (args.get(1), ids(args, 2)) else { return self.put(args) };
        self.delete(args, key, ids)
    }

    /// `XACKDEL key group [KEEPREF|DELREF|ACKED] IDS n id…`.
    pub(super) fn xackdel(&mut self, args: &[Bytes]) -> Written {
        if self.rules.target.can(target::REFERENCES) {
            return self.put(args);
        }
        let ([_, key, group, ..], Some(ids)) = (args, ids(args, 3)) else { return self.put(args) };
        let head: [&[u8]; 3] = [b"XACK", key, group];
        if find(args, 2, "ACKED").is_none() {
            self.put(head.into_iter().chain(ids.iter().map(|id| &id[..])))?;
        }
        self.delete(args, key, ids)
    }

    fn delete(&mut self, args: &[Bytes], key: &Bytes, ids: &[Bytes]) -> Written {
        let words = args.len() - ids.len();
        let option = |word| args.iter().take(words).skip(2).any(|one| is(Some(one), word));
        if option("ACKED") {
            return Err(NO_REFERENCES);
        }
        let ids: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
        if option("DELREF") {
            return self.script(DELETE_WITH_REFERENCES, &[key], &ids);
        }
        let head: [&[u8]; 2] = [b"XDEL", key];
        self.put(head.into_iter().chain(ids))
    }
}

/// What an option of `XADD` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trim {
    NoStream,
    References,
    Idempotence,
    MaxLen,
    MinId,
}

/// Makes a consumer where there is no command for it.
pub(in crate::plan) fn consumer_by_reading<'a>(
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
) -> [&'a [u8]; 7] {
    [b"XREADGROUP", b"GROUP", group, consumer, b"STREAMS", key, BEHIND_EVERYTHING]
}

/// The option of an `XADD` at that place, and how many words it has.
fn option(args: &[Bytes], at: usize) -> Option<(Trim, usize)> {
    let word = args.get(at);
    let any = |words: &[&str]| words.iter().any(|one| is(word, one));
    if any(&["NOMKSTREAM"]) {
        Some((Trim::NoStream, 1))
    } else if any(&["KEEPREF", "DELREF", "ACKED"]) {
        Some((Trim::References, 1))
    } else if any(&["IDMP"]) {
        Some((Trim::Idempotence, 3))
    } else if any(&["IDMPAUTO"]) {
        Some((Trim::Idempotence, 2))
    } else if any(&["MAXLEN", "MINID"]) {
        let trim = if any(&["MAXLEN"]) { Trim::MaxLen } else { Trim::MinId };
        let exact = is(args.get(at + 1), "=") || is(args.get(at + 1), "~");
        Some((trim, if exact { 3 } else { 2 }))
    } else {
        None
    }
}

/// The ids behind `IDS n`, a word at `first` or later.
fn ids(args: &[Bytes], first: usize) -> Option<&[Bytes]> {
    let at = find(args, first, "IDS")?;
    args.get(at + 2..)
}

/// The largest id below one that is given as `ms-seq` or `ms`; `None` if there is none.
fn before(id: &[u8]) -> Option<String> {
    let mut parts = id.splitn(2, |byte| *byte == b'-');
    let mut part = || parts.next().map(number).unwrap_or(Some(0));
    let (ms, seq) = (part()?, part()?);
    match (ms, seq) {
        (0, 0) => None,
        (ms, 0) => Some(format!("{}-{}", ms - 1, u64::MAX)),
        (ms, seq) => Some(format!("{ms}-{}", seq - 1)),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is(word: Option<&Bytes>, name: &str) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn knows_the_id_before_another() {
        for (id, expected) in [
            ("5-3", Some("5-2")),
            ("5-0", Some("4-18446744073709551615")),
            ("5", Some("4-18446744073709551615")),
            ("0-1", Some("0-0")),
            ("0-0", None),
            ("0", None),
            ("x", None),
        ] {
            assert_eq!(before(id.as_bytes()).as_deref(), expected, "{id}");
        }
    }
}
