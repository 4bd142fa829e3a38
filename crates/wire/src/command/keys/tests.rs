//! Every way of finding keys, on the commands that need it.

use super::*;
use crate::command::{lookup, table};

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn find(line: &str) -> Result<Keys, KeyError> {
    let args = words(line);
    keys(lookup(args.as_slice()).expect("in the table"), args.as_slice())
}

/// Keys as `w:name`, `r:name`, `x:name`, in the other db with an `@`.
fn describe(line: &str) -> String {
    let args = words(line);
    let describe = |key: KeyAt| {
        let access = match key.access {
            Access::Read => "r",
            Access::Write => "w",
            Access::Take => "x",
        };
        let other = if key.in_other_db { "@" } else { "" };
        format!("{access}:{}{other}", String::from_utf8_lossy(args[key.index]))
    };
    find(line).expect("complete").iter().map(describe).collect::<Vec<_>>().join(" ")
}

#[test]
fn finds_the_keys_of_each_kind_of_command() {
    for (line, expected) in [
        ("SET k v", "w:k"),
        ("del a b c", "w:a w:b w:c"),
        ("MSET a 1 b 2", "w:a w:b"),
        ("MSETEX 2 a 1 b 2 PXAT 5", "w:a w:b"),
        ("RENAME a b", "x:a w:b"),
        ("RENAMENX a b", "x:a w:b"),
        ("COPY a b REPLACE", "r:a w:b"),
        ("COPY a b db 3 REPLACE", "r:a w:b@"),
        ("MOVE k 2", "x:k w:k@"),
        ("SMOVE a b m", "x:a w:b"),
        ("LMOVE a b LEFT RIGHT", "x:a w:b"),
        ("RPOPLPUSH a a", "x:a w:a"),
        ("BLMOVE a b LEFT RIGHT 0", "x:a w:b"),
        ("BITOP AND d a b", "w:d r:a r:b"),
        ("SINTERSTORE d a b", "w:d r:a r:b"),
        ("PFMERGE d", "w:d"),
        ("PFMERGE d a", "w:d r:a"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "w:d r:a r:b"),
        ("ZRANGESTORE d s 0 -1", "w:d r:s"),
        ("GEOSEARCHSTORE d s FROMMEMBER m BYBOX 1 1 m", "w:d r:s"),
        ("GEORADIUS g 1 2 3 m store d", "r:g w:d"),
        ("GEORADIUS g 1 2 3 m STORE c STOREDIST d", "r:g w:d"),
        ("GEORADIUS g 1 2 3 m", "r:g"),
        ("GEORADIUSBYMEMBER g m 3 km STOREDIST d", "r:g w:d"),
        ("SORT l BY nosort GET # LIMIT 0 5 STORE d", "r:l w:d"),
        ("SORT l GET store STORE d", "r:l w:d"),
        ("SORT l STORE c STORE d", "r:l w:d"),
        ("SORT l", "r:l"),
        ("BLPOP a b 0", "w:a w:b"),
        ("LMPOP 2 a b LEFT", "w:a w:b"),
        ("BZMPOP 0 1 z MIN", "w:z"),
        ("XREADGROUP GROUP g c COUNT 2 STREAMS x y > >", "w:x w:y"),
        ("XGROUP CREATE x g 0", "w:x"),
        ("EVAL script 2 a b argument", "x:a x:b"),
        ("EVALSHA digest 0", ""),
        ("EXZUNIONSTORE d 2 a b", "w:d r:a r:b"),
        ("FLUSHALL ASYNC", ""),
        ("SPUBLISH channel message", ""),
        ("SELECT 1", ""),
    ] {
        assert_eq!(describe(line), expected, "{line}");
    }
}

#[test]
fn says_which_command_misses_what() {
    for (line, expected) in [
        ("SET", "SET: a key is missing"),
        ("DEL", "DEL: a key is missing"),
        ("RENAME a", "RENAME: a key is missing"),
        ("MSET a 1 b", "MSET: a value for the last key is missing"),
        ("MSETEX 2 a 1 b", "MSETEX: a key is missing"),
        ("MSETEX x a 1", "MSETEX: the number of keys is not a number in range"),
        ("ZUNIONSTORE d -1 a", "ZUNIONSTORE: the number of keys is not a number in range"),
        ("ZUNIONSTORE d 3 a b", "ZUNIONSTORE: a key is missing"),
        ("ZUNIONSTORE d 9223372036854775807 a b", "ZUNIONSTORE: a key is missing"),
        ("ZUNIONSTORE d", "ZUNIONSTORE: the number of keys is missing"),
        ("BLPOP 0", "BLPOP: a key is missing"),
        ("COPY a b DB", "COPY: the number of the db is missing"),
        ("COPY a b DB x", "COPY: the number of the db is not a number in range"),
        ("MOVE k", "MOVE: the number of the db is missing"),
        ("SORT l STORE", "SORT: a key is missing"),
        ("SORT l BY", "SORT: a pattern is missing"),
        ("XREADGROUP GROUP g c x 0", "XREADGROUP: the word STREAMS is missing"),
        ("XREADGROUP GROUP g c STREAMS x y 0", "XREADGROUP: an id for every stream is missing"),
        ("EVAL script", "EVAL: the number of keys is missing"),
        ("MIGRATE h 1 k 0 5", "MIGRATE: servers never replicate it under this name"),
    ] {
        assert_eq!(find(line).expect_err(line).to_string(), expected);
    }
}

#[test]
fn tells_reads_from_writes() {
    let keys = find("RENAME a b").expect("complete");
    assert_eq!(keys.written().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(keys.read().collect::<Vec<_>>(), [1]);
    let keys = find("SUNIONSTORE d a b").expect("complete");
    assert_eq!(keys.written().collect::<Vec<_>>(), [1]);
    assert_eq!(keys.read().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn knows_the_only_key_and_the_other_db() {
    assert_eq!(find("INCR n").expect("complete").single(), Some(1));
    assert_eq!(find("XGROUP DESTROY x g").expect("complete").single(), Some(2));
    assert_eq!(find("DEL a b").expect("complete").single(), None);
    assert_eq!(find("MOVE k 2").expect("complete").single(), None);
    assert_eq!(find("PFMERGE d").expect("complete").single(), Some(1));
    assert_eq!(find("MOVE k 2").expect("complete").other_db(), Some(2));
    assert_eq!(find("COPY a b").expect("complete").other_db(), None);
    assert!(find("PING").expect("complete").is_empty());
}

#[test]
fn knows_when_keys_are_read_that_are_not_listed() {
    assert!(find("SORT l BY w_* STORE d").expect("complete").reads_unlisted());
    assert!(find("EVAL script 0").expect("complete").reads_unlisted());
    assert!(!find("SORT l GET # STORE d").expect("complete").reads_unlisted());
}

#[test]
fn never_points_past_the_arguments() {
    for spec in table::all() {
        for length in 0..9 {
            for filler in ["1", "2", "STORE", "STREAMS", "DB", "BY"] {
                let name = spec.name.split(' ').map(str::as_bytes);
                let args: Vec<_> =
                    name.chain(std::iter::repeat_n(filler.as_bytes(), length)).collect();
                if let Ok(keys) = keys(spec, args.as_slice()) {
                    assert!(keys.iter().all(|key| key.index < args.len()), "{args:?}");
                }
            }
        }
    }
}
