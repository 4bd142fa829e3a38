//! Commands on streams, of which every version brought new words.

use bytes::Bytes;

use super::{Out, Written, find};
use crate::target;

/// Deletes entries as servers from Redis 8.2 on do: `KEEPREF` whoever refers to them, `DELREF` with what refers to them,
/// `ACKED` only those that every group has read and acknowledged. Then which: `IDS id…`; `ACK group id…`, those of them
/// that were pending in the group, which are acknowledged; `MAXLEN n`, the oldest until so many are left; `MINID id`, all
/// up to that one. Trimming leaves the largest deleted id as it was: the oldest entry is trimmed, since a largest id of
/// zero cannot be set again.
const DELETE: &[u8] = b"local k,how,what,n=KEYS[1],ARGV[1],ARGV[2],0 \
if redis.call('EXISTS',k)==0 then return 0 end \
local function get(flat,name) \
for i=1,#flat,2 do if flat[i]==name then return flat[i+1] end end end \
local function pad(s) return string.rep('0',20-#s)..s end \
local function num(id) local m,s=string.match(id,'^(%d+)%-?(%d*)$') return pad(m)..pad(s) end \
local groups=redis.call('XINFO','GROUPS',k) \
local function remove(id) \
if what~='IDS' and what~='ACK' and redis.call('XRANGE',k,'-','+','COUNT',1)[1][1]==id then \
return redis.call('XTRIM',k,'MAXLEN',redis.call('XLEN',k)-1) end \
return redis.call('XDEL',k,id) end \
local function drop(id) \
for _,g in ipairs(groups) do \
local name=get(g,'name') \
if how=='ACKED' and (num(id)>num(get(g,'last-delivered-id')) \
or #redis.call('XPENDING',k,name,id,id,1)>0) then return 0 end \
if how=='DELREF' then redis.call('XACK',k,name,id) end \
end return remove(id) end \
if what=='IDS' then for i=3,#ARGV do n=n+drop(ARGV[i]) end return n end \
if what=='ACK' then for i=4,#ARGV do \
if redis.call('XACK',k,ARGV[3],ARGV[i])==1 then n=n+drop(ARGV[i]) end end return n end \
local info=redis.call('XINFO','STREAM',k) \
local from,last,over='-',ARGV[3],math.huge \
if what=='MAXLEN' then last='+' over=redis.call('XLEN',k)-tonumber(ARGV[3]) end \
local more=true \
while more and n<over do more=false \
for _,e in ipairs(redis.call('XRANGE',k,from,last,'COUNT',500)) do \
if e[1]~=from and n<over then more=true n=n+drop(e[1]) from=e[1] end end end \
local deleted=get(info,'max-deleted-entry-id') \
if deleted then redis.call('XSETID',k,get(info,'last-generated-id'),\
'ENTRIESADDED',get(info,'entries-added'),'MAXDELETEDID',deleted) end \
return n";

/// What becomes of groups that refer to a deleted entry, as servers from 8.2 on name it, the usual first.
const REFERENCES: [&str; 3] = ["KEEPREF", "DELREF", "ACKED"];

/// History of a consumer from here on is empty: reading it makes the consumer and nothing else. The largest id itself
/// stands for `>`, what was never delivered.
const BEHIND_EVERYTHING: &[u8] = b"18446744073709551615-18446744073709551614";

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
        let (mut at, mut how, mut trim) = (2, REFERENCES[0], None);
        while let Some((option, length)) = option(args, at) {
            let words = args.get(at..at + length).unwrap_or_default();
            at += length;
            match option {
                Trim::Idempotence => {}
                Trim::References if !target.can(target::REFERENCES) => how = reference(words),
                Trim::NoStream if !target.can(target::PXAT) => {}
                Trim::MaxLen | Trim::MinId => trim = Some(words),
                Trim::References | Trim::NoStream => kept.extend(words),
            }
        }
        let by_script = trim.filter(|words| self.needs_script(how, words));
        if by_script.is_none() {
            kept.extend(trim.unwrap_or_default());
        }
        kept.extend(args.iter().skip(at));
        self.put(kept)?;
        match (args.get(1), by_script) {
            (Some(key), Some(words)) => self.trim(key, how, words),
            _ => Ok(()),
        }
    }

    /// `XTRIM key MAXLEN|MINID [=] n [KEEPREF|DELREF|ACKED]`.
    pub(super) fn xtrim(&mut self, args: &[Bytes]) -> Written {
        let ([_, key, options @ ..], false) = (args, self.rules.target.can(target::REFERENCES))
        else {
            return self.put(args);
        };
        let refers = |word: &Bytes| REFERENCES.iter().any(|known| is(Some(word), known));
        let words = options.split_last().filter(|(last, _)| refers(last));
        let words = words.map_or(options, |(_, words)| words);
        let how = reference(options.get(words.len()..).unwrap_or_default());
        if self.needs_script(how, words) {
            return self.trim(key, how, words);
        }
        self.put(args.iter().take(2 + words.len()))
    }

    /// Whether `MAXLEN|MINID [=] n` is nothing that the destination knows.
    fn needs_script(&self, how: &str, words: &[Bytes]) -> bool {
        let is_new = is(words.first(), "MINID") && !self.rules.target.can(target::PXAT);
        is_new || how != REFERENCES[0]
    }

    /// Trims by a script, to `MAXLEN|MINID [=] n`.
    fn trim(&mut self, key: &Bytes, how: &str, words: &[Bytes]) -> Written {
        let Some(limit) = words.last() else { return Ok(()) };
        if is(words.first(), "MAXLEN") {
            return self.script(DELETE, &[key], &[how.as_bytes(), b"MAXLEN", limit]);
        }
        match before(limit) {
            Some(last) => self.script(DELETE, &[key], &[how.as_bytes(), b"MINID", last.as_bytes()]),
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
        let (Some(key), Some((words, ids)), false) =
            (args.get(1), ids(args, 2), self.rules.target.can(target::REFERENCES))
        else {
            return self.put(args);
        };
        let how = reference(words);
        if how == REFERENCES[0] {
            return self.put([&Bytes::from_static(b"XDEL"), key].into_iter().chain(ids));
        }
        let head: [&[u8]; 2] = [how.as_bytes(), b"IDS"];
        let words: Vec<&[u8]> = head.into_iter().chain(ids.iter().map(|id| &id[..])).collect();
        self.script(DELETE, &[key], &words)
    }

    /// `XACKDEL key group [KEEPREF|DELREF|ACKED] IDS n id…`.
    pub(super) fn xackdel(&mut self, args: &[Bytes]) -> Written {
        let ([_, key, group, ..], Some((words, ids)), false) =
            (args, ids(args, 3), self.rules.target.can(target::REFERENCES))
        else {
            return self.put(args);
        };
        let head: [&[u8]; 3] = [reference(words).as_bytes(), b"ACK", group];
        let words: Vec<&[u8]> = head.into_iter().chain(ids.iter().map(|id| &id[..])).collect();
        self.script(DELETE, &[key], &words)
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

/// The words from `first` on before `IDS n`, and the ids behind it.
fn ids(args: &[Bytes], first: usize) -> Option<(&[Bytes], &[Bytes])> {
    let at = find(args, first, "IDS")?;
    Some((args.get(first..at)?, args.get(at + 2..)?))
}

/// What becomes of references, told by one of these words or by none.
fn reference(words: &[Bytes]) -> &'static str {
    let told = |known: &&str| words.iter().any(|word| is(Some(word), known));
    REFERENCES.into_iter().find(told).unwrap_or(REFERENCES[0])
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
