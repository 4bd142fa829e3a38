//! Which server knows which command: what the tables of commands are narrowed by.
//!
//! Only what came after Redis 2.8 is listed, and only up to 6.2: for what came later the tables have
//! parts of their own. Tests check the outcome against the servers: none meets a command that it does
//! not understand, and every write command of each has its example.

use crate::kind::Kind;
use crate::words::commands;

/// The first major and minor version.
type Version = (u32, u32);

/// Commands by the first version that knows them.
const COMMANDS: &[(Version, &[&str])] = &[
    ((3, 0), &["RESTORE-ASKING"]),
    ((3, 2), &["BITFIELD", "GEOADD", "GEORADIUS", "GEORADIUSBYMEMBER"]),
    ((4, 0), &["UNLINK", "SWAPDB"]),
    ((5, 0), &["ZPOPMIN", "ZPOPMAX", "BZPOPMIN", "BZPOPMAX"]),
    ((5, 0), &["XADD", "XTRIM", "XDEL", "XGROUP", "XREADGROUP", "XACK", "XCLAIM", "XSETID"]),
    ((6, 2), &["COPY", "LMOVE", "BLMOVE", "GETDEL", "GETEX", "XAUTOCLAIM"]),
    ((6, 2), &["ZDIFFSTORE", "ZRANGESTORE", "GEOSEARCHSTORE"]),
];

/// Words of a command by the first version that knows them there.
const OPTIONS: &[(Version, &str, &[&str])] = &[
    ((3, 0), "ZADD", &["NX", "XX", "CH", "INCR"]),
    ((3, 0), "RESTORE", &["REPLACE"]),
    ((4, 0), "FLUSHALL", &["ASYNC"]),
    ((4, 0), "FLUSHDB", &["ASYNC"]),
    ((5, 0), "RESTORE", &["ABSTTL", "IDLETIME", "FREQ"]),
    ((6, 0), "SET", &["KEEPTTL"]),
    ((6, 2), "SET", &["GET", "EXAT", "PXAT"]),
    ((6, 2), "ZADD", &["GT", "LT"]),
    ((6, 2), "GEOADD", &["NX", "XX", "CH"]),
    ((6, 2), "XADD", &["NOMKSTREAM", "MINID"]),
    ((6, 2), "XTRIM", &["MINID"]),
    ((6, 2), "XGROUP", &["CREATECONSUMER"]),
    ((6, 2), "FLUSHALL", &["SYNC"]),
];

/// Commands that take more than so many words only from some version on.
const LONGER: &[(Version, &str, usize)] = &[
    ((3, 2), "SPOP", 2),
    ((4, 0), "LPUSHX", 3),
    ((4, 0), "RPUSHX", 3),
    ((4, 0), "HSET", 4),
    ((6, 2), "LPOP", 2),
    ((6, 2), "RPOP", 2),
];

/// Parts of words, as they are written in the tables: the version of a DUMP, a function in a script.
const PARTS: &[(Version, &str, &str)] =
    &[((5, 0), "RESTORE", r"\x09\x00"), ((3, 2), "EVAL", "redis.replicate_commands()")];

/// Whether a server of this kind understands every command of a line.
pub(crate) fn knows(kind: Kind, line: &str) -> bool {
    commands(line).all(|words| {
        let (major, minor) = since(&words);
        kind.at_least(major, minor)
    })
}

fn since(words: &[&str]) -> Version {
    let Some((name, rest)) = words.split_first() else { return (0, 0) };
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    let has = |options: &[&str]| {
        rest.iter().any(|word| options.iter().any(|option| option.eq_ignore_ascii_case(word)))
    };
    let by_name = COMMANDS.iter().filter(|(_, names)| names.iter().any(is)).map(|(at, _)| *at);
    let by_option =
        OPTIONS.iter().filter(|(_, name, options)| is(name) && has(options)).map(|(at, ..)| *at);
    let by_length = LONGER
        .iter()
        .filter(|(_, name, words_up_to)| is(name) && words.len() > *words_up_to)
        .map(|(at, ..)| *at);
    let by_part = PARTS
        .iter()
        .filter(|(_, name, part)| is(name) && rest.iter().any(|word| word.contains(part)))
        .map(|(at, ..)| *at);
    by_name.chain(by_option).chain(by_length).chain(by_part).max().unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_where_all_its_words_are() {
        for (line, from) in [
            ("SET $str $value", Kind::Redis2_8),
            ("hset $hash a b", Kind::Redis2_8),
            ("HSET $hash a b c d", Kind::Redis5_0),
            ("SPOP $set", Kind::Redis2_8),
            ("SPOP $set $count", Kind::Redis3_2),
            ("SET $str v KEEPTTL", Kind::Redis6_2),
            ("SET KEEPTTL v ; RPUSH $list a ; BLMOVE %list $list LEFT RIGHT 1", Kind::Redis6_2),
            (r"RESTORE $str 0 \x00\x05value\x09\x00Q\x04\x90\xf4\x95,\xf8\xdf", Kind::Redis5_0),
        ] {
            let knowing: Vec<Kind> =
                Kind::EVERY.into_iter().filter(|kind| knows(*kind, line)).collect();
            let wanted: Vec<Kind> = Kind::EVERY.into_iter().filter(|kind| *kind >= from).collect();
            assert_eq!(knowing, wanted, "{line}");
        }
    }
}
