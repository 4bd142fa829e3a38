//! What servers learned with 6.0 and 6.2, for those before: by other commands where there are any, else by scripts.
//!
//! A script is one command of a batch and runs whole, like what it stands for. It answers as that would, so that a
//! reply is judged alike.

use bytes::Bytes;
use wire::args::integer;
use wire::resp::encode::Decimal;

use super::{Out, Unfit, Written, find};
use crate::target;

/// `SET key value KEEPTTL`.
const SET_KEEPING_TTL: &[u8] = b"local t=redis.call('PTTL',KEYS[1]) \
redis.call('SET',KEYS[1],ARGV[1]) \
if t>=0 then redis.call('PEXPIRE',KEYS[1],math.max(t,1)) end \
return redis.status_reply('OK')";

/// `COPY source destination [DB n] REPLACE`. A script leaves the database of its caller selected.
const COPY: &[u8] = b"local v=redis.call('DUMP',KEYS[1]) \
if not v then return 0 end \
local t=redis.call('PTTL',KEYS[1]) \
if t<0 then t=0 else t=math.max(t,1) end \
if ARGV[1] then redis.call('SELECT',ARGV[1]) end \
redis.call('RESTORE',KEYS[2],t,v,'REPLACE') \
return 1";

/// `LMOVE`: the names of a pop and of a push.
const MOVE_ELEMENT: &[u8] = b"local v=redis.call(ARGV[1],KEYS[1]) \
if v then redis.call(ARGV[2],KEYS[2],v) end \
return v";

/// `ZADD key GT|LT [XX] …`: 1 or -1, whether only members that are there, scores and members.
const ZADD_COMPARING: &[u8] = b"local way=tonumber(ARGV[1]) \
for i=3,#ARGV,2 do \
local s=redis.call('ZSCORE',KEYS[1],ARGV[i+1]) \
local better=not s and ARGV[2]=='0' \
if s then better=(tonumber(ARGV[i])-tonumber(s))*way>0 end \
if better then redis.call('ZADD',KEYS[1],ARGV[i],ARGV[i+1]) end \
end return 0";

/// `ZDIFFSTORE`. What is to go is read first: the destination may be one of the sources.
const ZDIFFSTORE: &[u8] = b"local gone={} \
for i=3,#KEYS do \
local set=redis.call('TYPE',KEYS[i]).ok=='set' \
local all=set and redis.call('SMEMBERS',KEYS[i]) or redis.call('ZRANGE',KEYS[i],0,-1) \
for _,m in ipairs(all) do gone[#gone+1]=m end \
end \
redis.call('ZUNIONSTORE',KEYS[1],1,KEYS[2]) \
for _,m in ipairs(gone) do redis.call('ZREM',KEYS[1],m) end \
return redis.call('ZCARD',KEYS[1])";

/// `ZRANGESTORE`: the command that reads the range, without its key, and whether it tells scores.
const ZRANGESTORE: &[u8] = b"local read={ARGV[2],KEYS[2]} \
for i=3,#ARGV do read[i]=ARGV[i] end \
local found=redis.call(unpack(read)) \
local pairs={} \
if ARGV[1]=='1' then for i=1,#found,2 do pairs[#pairs+1]={found[i+1],found[i]} end \
else for _,m in ipairs(found) do pairs[#pairs+1]={redis.call('ZSCORE',KEYS[2],m),m} end end \
redis.call('DEL',KEYS[1]) \
for _,p in ipairs(pairs) do redis.call('ZADD',KEYS[1],p[1],p[2]) end \
return #pairs";

/// Ends of a list, as `LMOVE` names them, with what takes from there and what puts there.
const ENDS: [(&str, &str, &str); 2] = [("LEFT", "LPOP", "LPUSH"), ("RIGHT", "RPOP", "RPUSH")];

// === impl Out ===

impl Out<'_> {
    /// Runs a script.
    pub(super) fn script(&mut self, script: &[u8], keys: &[&Bytes], words: &[&[u8]]) -> Written {
        let count = Decimal::from(keys.len() as u64);
        let head: [&[u8]; 3] = [b"EVAL", script, count.as_ref()];
        let keys = keys.iter().map(|key| &key[..]);
        self.put(head.into_iter().chain(keys).chain(words.iter().copied()))
    }

    fn is_old(&self) -> bool {
        !self.rules.target.can(target::PXAT)
    }

    /// `SET key value KEEPTTL`.
    pub(super) fn set_keeping_ttl(&mut self, args: &[Bytes]) -> Written {
        let [_, key, value, ..] = args else { return self.put(args) };
        self.script(SET_KEEPING_TTL, &[key], &[value])
    }

    /// `COPY source destination REPLACE`, into another database if one is given.
    pub(super) fn copy_by_dump(&mut self, args: &[Bytes], db: Option<&Bytes>) -> Written {
        let [_, source, destination, ..] = args else { return self.put(args) };
        let db: Vec<&[u8]> = db.map(|db| &db[..]).into_iter().collect();
        self.script(COPY, &[source, destination], &db)
    }

    /// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`.
    pub(super) fn lmove(&mut self, args: &[Bytes]) -> Written {
        let [_, source, destination, from, to] = args else { return self.put(args) };
        let end = |word: &Bytes| {
            ENDS.into_iter().find(|(name, _, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        };
        let (Some((_, pop, _)), Some((_, _, push)), true) = (end(from), end(to), self.is_old())
        else {
            return self.put(args);
        };
        if (pop, push) == ("RPOP", "LPUSH") {
            return self.put([b"RPOPLPUSH".as_slice(), source, destination]);
        }
        self.script(MOVE_ELEMENT, &[source, destination], &[pop.as_bytes(), push.as_bytes()])
    }

    /// `LPOP key [n]`, `RPOP key [n]`.
    pub(super) fn pop_many(&mut self, args: &[Bytes]) -> Written {
        let [name, key, count] = args else { return self.put(args) };
        let Some(count) = integer(count).filter(|_| self.is_old()) else { return self.put(args) };
        let from_head = name.eq_ignore_ascii_case(b"LPOP");
        let (first, last) = if from_head { (count, -1) } else { (0, -1 - count) };
        let (first, last) = (Decimal::from(first), Decimal::from(last));
        self.put([b"LTRIM".as_slice(), key, first.as_ref(), last.as_ref()])
    }

    /// `ZADD key [NX|XX] [GT|LT] [CH] score member…`.
    pub(super) fn zadd(&mut self, args: &[Bytes]) -> Written {
        let is = |word: &Bytes, flag: &str| word.eq_ignore_ascii_case(flag.as_bytes());
        let rest = args.get(2..).unwrap_or_default();
        let flags = rest.iter().take_while(|word| {
            ["NX", "XX", "GT", "LT", "CH", "INCR"].iter().any(|flag| is(word, flag))
        });
        let flags: Vec<&Bytes> = flags.collect();
        let has = |flag| flags.iter().any(|word| is(word, flag));
        let (Some(key), true) = (args.get(1), self.is_old() && (has("GT") || has("LT"))) else {
            return self.put(args);
        };
        let way: &[u8] = if has("GT") { b"1" } else { b"-1" };
        let only_known: &[u8] = if has("XX") { b"1" } else { b"0" };
        let pairs = rest.iter().skip(flags.len()).map(|word| &word[..]);
        let words: Vec<&[u8]> = [way, only_known].into_iter().chain(pairs).collect();
        self.script(ZADD_COMPARING, &[key], &words)
    }

    /// `ZDIFFSTORE destination n key…`.
    pub(super) fn zdiffstore(&mut self, args: &[Bytes]) -> Written {
        let ([_, destination, _, sources @ ..], true) = (args, self.is_old()) else {
            return self.put(args);
        };
        let keys: Vec<&Bytes> = std::iter::once(destination).chain(sources).collect();
        self.script(ZDIFFSTORE, &keys, &[])
    }

    /// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`.
    pub(super) fn zrangestore(&mut self, args: &[Bytes]) -> Written {
        let ([_, destination, source, min, max, ..], true) = (args, self.is_old()) else {
            return self.put(args);
        };
        let has = |word| find(args, 5, word).is_some();
        let (by_score, by_lex) = (has("BYSCORE"), has("BYLEX"));
        let read: &[u8] = match (by_score, by_lex, has("REV")) {
            (true, _, false) => b"ZRANGEBYSCORE",
            (true, _, true) => b"ZREVRANGEBYSCORE",
            (_, true, false) => b"ZRANGEBYLEX",
            (_, true, true) => b"ZREVRANGEBYLEX",
            (false, false, false) => b"ZRANGE",
            (false, false, true) => b"ZREVRANGE",
        };
        let tells_scores: &[u8] = if by_lex { b"0" } else { b"1" };
        let mut words: Vec<&[u8]> = vec![tells_scores, read, min, max];
        if !by_lex {
            words.push(b"WITHSCORES");
        }
        if let Some(limit) = find(args, 5, "LIMIT") {
            words.extend(args.iter().skip(limit).take(3).map(|word| &word[..]));
        }
        self.script(ZRANGESTORE, &[destination, source], &words)
    }

    /// `GEORADIUS source lon lat r unit … STORE|STOREDIST destination`, `GEORADIUSBYMEMBER source …`.
    pub(super) fn georadius(&mut self, args: &[Bytes]) -> Written {
        let stored = find(args, 5, "STORE").or_else(|| find(args, 5, "STOREDIST"));
        let destination = stored.and_then(|option| args.get(option + 1));
        if let (Some(source), Some(destination)) = (args.get(1), destination) {
            self.remove_result(source, destination)?;
        }
        self.put(args)
    }

    /// Removes what a search of places will replace: without its source an old server leaves it as it is.
    fn remove_result(&mut self, source: &Bytes, destination: &Bytes) -> Written {
        if source == destination || self.rules.target.can(target::EMPTY_SEARCH) {
            return Ok(());
        }
        self.put([b"DEL".as_slice(), destination])
    }

    /// `GEOSEARCHSTORE destination source FROMMEMBER m|FROMLONLAT lon lat BYRADIUS r unit|BYBOX w h unit [ASC|DESC]
    /// [COUNT n [ANY]] [STOREDIST]`.
    pub(super) fn geosearchstore(&mut self, args: &[Bytes]) -> Written {
        let ([_, destination, source, ..], true) = (args, self.is_old()) else {
            return self.put(args);
        };
        let after = |word: &str, count: usize| -> Option<&[Bytes]> {
            let at = find(args, 3, word)?;
            args.get(at + 1..at + 1 + count)
        };
        let Some(radius) = after("BYRADIUS", 2) else {
            return Err(Unfit::new("it knows no search of places in a box"));
        };
        let (name, center): (&[u8], _) = match (after("FROMMEMBER", 1), after("FROMLONLAT", 2)) {
            (Some(member), _) => (b"GEORADIUSBYMEMBER", member),
            (None, Some(place)) => (b"GEORADIUS", place),
            (None, None) => return self.put(args),
        };
        let mut words: Vec<&[u8]> = vec![name, source];
        words.extend(center.iter().chain(radius).map(|word| &word[..]));
        let sorted = ["ASC", "DESC"].into_iter().filter(|word| find(args, 3, word).is_some());
        words.extend(sorted.map(str::as_bytes));
        if let Some(count) = after("COUNT", 1) {
            words.push(b"COUNT");
            words.extend(count.iter().map(|word| &word[..]));
        }
        let with_distance = find(args, 3, "STOREDIST").is_some();
        words.push(if with_distance { b"STOREDIST" } else { b"STORE" });
        words.push(destination);
        self.remove_result(source, destination)?;
        self.put(words)
    }
}
