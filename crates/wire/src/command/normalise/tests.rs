//! Each rule, in the forms that old and new servers really send.

use super::*;

const NOW_MS: i64 = 1_700_000_000_000;
const OLD: Context = Context { source: Era::V5_0, received_at_ms: NOW_MS };

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn judge(args: &[&[u8]], context: &Context) -> Result<Normalised, NormaliseError> {
    normalise(lookup(args).expect("in the table"), args, context)
}

fn outcome(line: &str) -> Result<Normalised, NormaliseError> {
    judge(&words(line), &OLD)
}

/// The command that a line becomes, the line itself if it stays.
fn becomes(line: &str) -> String {
    match outcome(line).expect("a valid command") {
        Normalised::Verbatim => line.to_owned(),
        Normalised::Rewritten { spec, args } => {
            assert_eq!(lookup(&args), Some(spec), "{line}");
            let words: Vec<_> = args.iter().map(|word| String::from_utf8_lossy(word)).collect();
            words.join(" ")
        }
        other => format!("{other:?}"),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(becomes(line), *expected, "{line}");
        // ZADD INCR alone is told by its arguments from a ZADD.
        if lookup(words(expected).as_slice()).is_some() && !expected.starts_with("ZINCRBY") {
            let spec = lookup(words(line).as_slice()).expect("in the table");
            let name = expected.split(' ').next().map(str::to_uppercase);
            assert_eq!(carried_as(spec).map(str::to_owned), name, "{line}");
        }
        // What comes out needs no further work, whenever it is looked at again.
        let later = Context { source: Era::V7_0, received_at_ms: NOW_MS + 5000 };
        if lookup(words(expected).as_slice()).is_some() {
            assert_eq!(judge(&words(expected), &later), Ok(Normalised::Verbatim), "{expected}");
        }
    }
}

#[test]
fn sets_absolute_deadlines_and_drops_conditions() {
    check(&[
        ("SET k v", "SET k v"),
        ("set k v", "set k v"),
        ("SET k v EX 100", "SET k v PXAT 1700000100000"),
        ("SET k v px 100000", "SET k v PXAT 1700000100000"),
        ("SET k v XX EX 100", "SET k v PXAT 1700000100000"),
        ("SET k v EXAT 4102444800", "SET k v PXAT 4102444800000"),
        ("SET k v PXAT 1700000100000", "SET k v PXAT 1700000100000"),
        ("SET k v PXAT 5 NX", "SET k v PXAT 5"),
        ("SET k v KEEPTTL", "SET k v KEEPTTL"),
        ("SET k v keepttl xx", "SET k v KEEPTTL"),
        ("SET k v NX", "SET k v"),
        ("SET k v GET", "SET k v"),
        ("SET k v3 IFEQ v2 EX 100", "SET k v3 PXAT 1700000100000"),
        ("SET k v IFNE EX", "SET k v"),
        ("SETEX k 100 v", "SET k v PXAT 1700000100000"),
        ("PSETEX k 100000 v", "SET k v PXAT 1700000100000"),
        ("SETNX k v", "SET k v"),
        ("GETSET k v", "SET k v"),
        ("MSET a 1 b 2", "MSET a 1 b 2"),
        ("MSETNX a 1 b 2", "MSET a 1 b 2"),
        ("MSETEX 2 a 1 b 2 EX 100", "MSETEX 2 a 1 b 2 PXAT 1700000100000"),
        ("MSETEX 2 a 1 b 2 NX KEEPTTL", "MSETEX 2 a 1 b 2 KEEPTTL"),
        ("MSETEX 2 EX 1 NX 2 PXAT 7", "MSETEX 2 EX 1 NX 2 PXAT 7"),
    ]);
}

#[test]
fn deletes_what_a_reading_delete_deleted() {
    check(&[
        ("GETDEL k", "DEL k"),
        ("DELEX k IFEQ v", "DEL k"),
        ("DELIFEQ k v", "DEL k"),
        ("CAD k v", "DEL k"),
        ("DEL a b", "DEL a b"),
        ("UNLINK a b", "UNLINK a b"),
    ]);
}

#[test]
fn makes_deadlines_of_keys_absolute() {
    check(&[
        ("EXPIRE e 100", "PEXPIREAT e 1700000100000"),
        ("expire e 100", "PEXPIREAT e 1700000100000"),
        ("PEXPIRE e 100000", "PEXPIREAT e 1700000100000"),
        ("EXPIREAT e 4102444800", "PEXPIREAT e 4102444800000"),
        ("PEXPIREAT e 4102444800000", "PEXPIREAT e 4102444800000"),
        ("PEXPIREAT e 4102444800000 NX", "PEXPIREAT e 4102444800000"),
        ("PEXPIREAT e 4102444800000 gt", "PEXPIREAT e 4102444800000"),
        ("EXPIRE e -1", "PEXPIREAT e 1699999999000"),
        ("PERSIST e", "PERSIST e"),
    ]);
}

#[test]
fn makes_deadlines_of_fields_and_members_absolute() {
    check(&[
        ("HEXPIRE h 100 FIELDS 2 a b", "HPEXPIREAT h 1700000100000 FIELDS 2 a b"),
        ("HPEXPIRE h 100000 GT FIELDS 1 a", "HPEXPIREAT h 1700000100000 GT FIELDS 1 a"),
        ("HEXPIREAT h 4102444800 FIELDS 1 a", "HPEXPIREAT h 4102444800000 FIELDS 1 a"),
        ("HPEXPIREAT h 5 FIELDS 1 a", "HPEXPIREAT h 5 FIELDS 1 a"),
        ("HSETEX h PXAT 5 FIELDS 2 d 1 x 2", "HSETEX h PXAT 5 FIELDS 2 d 1 x 2"),
        ("HSETEX h FNX PXAT 5 FIELDS 1 new 2", "HSETEX h PXAT 5 FIELDS 1 new 2"),
        ("HSETEX h EX 100 fxx FIELDS 1 f v", "HSETEX h PXAT 1700000100000 FIELDS 1 f v"),
        ("HSETEX h FIELDS 1 FNX EX PX 1", "HSETEX h FIELDS 1 FNX EX PXAT 1700000000001"),
        ("HSETEX h KEEPTTL FIELDS 1 f 3.5", "HSETEX h KEEPTTL FIELDS 1 f 3.5"),
        ("HSETNX h f v", "HSET h f v"),
        ("HGETDEL h FIELDS 2 f FIELDS", "HDEL h f FIELDS"),
        ("EXPIREMEMBER k m 100", "PEXPIREMEMBERAT k m 1700000100000"),
        ("EXPIREMEMBER k m 100 ms", "PEXPIREMEMBERAT k m 1700000000100"),
        ("EXPIREMEMBERAT k m 4102444800", "PEXPIREMEMBERAT k m 4102444800000"),
    ]);
}

#[test]
fn restores_over_what_is_there_until_an_absolute_deadline() {
    check(&[
        ("RESTORE k 0 payload", "RESTORE k 0 payload REPLACE"),
        ("RESTORE k 0 payload REPLACE", "RESTORE k 0 payload REPLACE"),
        ("RESTORE k 100000 payload", "RESTORE k 1700000100000 payload REPLACE ABSTTL"),
        ("RESTORE k 100000 payload replace", "RESTORE k 1700000100000 payload REPLACE ABSTTL"),
        ("RESTORE k 5 payload ABSTTL", "RESTORE k 5 payload REPLACE ABSTTL"),
        ("RESTORE k 5 payload REPLACE ABSTTL", "RESTORE k 5 payload REPLACE ABSTTL"),
        ("RESTORE k 0 payload IDLETIME 7", "RESTORE k 0 payload REPLACE IDLETIME 7"),
        ("RESTORE k 0 payload FREQ 7 REPLACE", "RESTORE k 0 payload FREQ 7 REPLACE"),
        ("RESTORE-ASKING k 0 payload REPLACE", "RESTORE k 0 payload REPLACE"),
        ("KEYDB.MVCCRESTORE k 9 -1 payload", "RESTORE k 0 payload REPLACE"),
        ("KEYDB.MVCCRESTORE k 9 5 payload", "RESTORE k 5 payload REPLACE ABSTTL"),
    ]);
}

#[test]
fn adds_a_checksum_that_was_left_out() {
    let payload = b"\x00\x01a\x0b\x00\0\0\0\0\0\0\0\0";
    let args: [&[u8]; 6] = [b"RESTORE", b"k", b"0", payload, b"REPLACE", b"ABSTTL"];
    let Ok(Normalised::Rewritten { args, .. }) = judge(&args, &OLD) else {
        panic!("the payload stayed");
    };
    let (value, checksum) = args[3].split_at(5);
    assert_eq!(
        (value, checksum),
        (&payload[..5], crate::crc64::crc64(&payload[..5]).to_le_bytes().as_slice())
    );
}

#[test]
fn drops_what_blocks_and_what_can_no_longer_fail() {
    check(&[
        ("BRPOPLPUSH a b 1", "RPOPLPUSH a b"),
        ("BLMOVE a b LEFT right 1", "LMOVE a b LEFT right"),
        ("LMOVE a b left right", "LMOVE a b left right"),
        ("COPY a b", "COPY a b REPLACE"),
        ("COPY a b DB 2", "COPY a b DB 2 REPLACE"),
        ("COPY a b replace DB 2", "COPY a b replace DB 2"),
        ("RENAMENX a b", "RENAME a b"),
        ("FUNCTION LOAD code", "FUNCTION LOAD REPLACE code"),
        ("function load replace code", "function load replace code"),
        ("FUNCTION LOAD REPLACE", "FUNCTION LOAD REPLACE REPLACE"),
        ("FUNCTION RESTORE payload APPEND", "FUNCTION RESTORE payload APPEND"),
        ("FLUSHALL ASYNC", "FLUSHALL ASYNC"),
    ]);
}

#[test]
fn keeps_flags_where_it_is_not_known_which_member_they_held_back() {
    check(&[
        ("ZADD z 1 a", "ZADD z 1 a"),
        ("ZADD z GT CH 1 a", "ZADD z 1 a"),
        ("zadd z nx 1 a", "ZADD z 1 a"),
        ("ZADD z GT 1 a 2 b", "ZADD z GT 1 a 2 b"),
        ("ZADD z XX INCR 1 a", "ZINCRBY z 1 a"),
        ("ZADD z incr 1 a", "ZINCRBY z 1 a"),
    ]);
}

#[test]
fn strips_the_limit_of_an_exact_trim() {
    check(&[
        ("XADD x 1-1 f v", "XADD x 1-1 f v"),
        ("XADD x MAXLEN = 2 1-1 f v", "XADD x MAXLEN = 2 1-1 f v"),
        ("XADD x MAXLEN = 2 LIMIT 100 1-1 f v", "XADD x MAXLEN = 2 1-1 f v"),
        ("XADD x nomkstream minid = 5 limit 1 1-1 f v", "XADD x nomkstream minid = 5 1-1 f v"),
        ("XADD x LIMIT 1 MAXLEN = 2 LIMIT 3 1-1 f v", "XADD x MAXLEN = 2 1-1 f v"),
        ("XADD x IDMP p LIMIT MAXLEN 2 1-1 f v", "XADD x IDMP p LIMIT MAXLEN 2 1-1 f v"),
        ("XADD x IDMPAUTO p 1-1 limit v", "XADD x IDMPAUTO p 1-1 limit v"),
        ("XTRIM x MAXLEN = 0", "XTRIM x MAXLEN = 0"),
        ("XTRIM x MAXLEN = 3 LIMIT 10", "XTRIM x MAXLEN = 3"),
        ("XTRIM x MINID = 3 LIMIT 10 DELREF", "XTRIM x MINID = 3 DELREF"),
    ]);
}

#[test]
fn leaves_effects_as_they_are() {
    for line in [
        "INCR n",
        "SREM s m n",
        "LPOP l 2",
        "zpopmin z",
        "ZPOPMAX z 2",
        "HSET h f 3.5",
        "HDEL h f",
        "ZADD geo 3479076843417631 P 3479446654650844 C",
        "XCLAIM x g c 0 1-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
        "XGROUP SETID x g 1-2 ENTRIESREAD 2",
        "SORT l STORE d",
        "SWAPDB 0 1",
        "MOVE k 2",
        "GEOADD g 1 2 m",
        "CLUSTER FLUSHSLOT 5",
    ] {
        assert_eq!(becomes(line), line);
    }
}

#[test]
fn leaves_out_what_is_no_data() {
    assert_eq!(outcome("PUBLISH c m"), Ok(Normalised::Drop(DropReason::Message)));
    assert_eq!(outcome("SPUBLISH c m"), Ok(Normalised::Drop(DropReason::Message)));
    assert_eq!(outcome("PFCOUNT p"), Ok(Normalised::Drop(DropReason::NoData)));
    assert_eq!(outcome("PFDEBUG GETREG p"), Ok(Normalised::Drop(DropReason::NoData)));
}

#[test]
fn hands_steering_to_the_caller() {
    for line in [
        "MULTI",
        "exec",
        "SELECT 3",
        "ping",
        "replping",
        "REPLCONF GETACK *",
        "CLUSTER SETSLOT 1 NODE x",
        "CLUSTER SYNCSLOTS CONF x",
        "TRIMSLOTS RANGES 1 0 5",
        "RREPLAY uuid frame 0",
    ] {
        assert_eq!(outcome(line), Ok(Normalised::Control), "{line}");
    }
}

#[test]
fn hands_scripts_to_the_caller_where_they_travel() {
    let oldest = Context { source: Era::V2_8, ..OLD };
    for line in ["EVAL code 0", "evalsha digest 1 k", "SCRIPT LOAD code", "SCRIPT FLUSH"] {
        assert_eq!(judge(&words(line), &oldest), Ok(Normalised::Script), "{line}");
    }
    assert_eq!(outcome("SCRIPT LOAD code"), Ok(Normalised::Drop(DropReason::ScriptCache)));
}

#[test]
fn refuses_what_it_cannot_rewrite_and_says_why() {
    for (line, expected) in [
        ("SET k v EX", "SET: argument 4 is missing"),
        ("SET k v EX soon", "SET: argument 4 is not a number"),
        ("SET k v EX 9223372036854775", "SET: the time in argument 4 is out of range"),
        ("SET k v PX 9223372036854775807", "SET: the time in argument 4 is out of range"),
        ("SET k v FOO", "SET: argument 3 is an unknown option"),
        ("SETEX k 1", "SETEX: argument 3 is missing"),
        ("SETNX k", "SETNX: argument 2 is missing"),
        ("MSETEX 2 a 1", "MSETEX: argument 4 is missing"),
        ("MSETEX -1 a 1", "MSETEX: argument 1 is not a number"),
        ("MSETEX 1 a 1 ??", "MSETEX: argument 4 is an unknown option"),
        ("EXPIRE e", "EXPIRE: argument 2 is missing"),
        ("EXPIREAT e 9223372036854776", "EXPIREAT: the time in argument 2 is out of range"),
        ("HEXPIRE h 5", "HEXPIRE: argument 3 is missing"),
        ("HSETEX h FIELDS 2 f v", "HSETEX: argument 6 is missing"),
        ("HSETEX h WHAT", "HSETEX: argument 2 is an unknown option"),
        ("HGETDEL h WHAT 1 f", "HGETDEL: argument 2 is an unknown option"),
        ("HGETDEL h FIELDS 1", "HGETDEL: argument 4 is missing"),
        ("EXPIREMEMBER k m 5 d", "EXPIREMEMBER: argument 4 is an unknown option"),
        ("RESTORE k 0", "RESTORE: argument 3 is missing"),
        ("RESTORE k 0 p IDLETIME", "RESTORE: argument 5 is missing"),
        ("RESTORE k 0 p WHAT", "RESTORE: argument 4 is an unknown option"),
        ("XADD x * f v", "XADD: argument 2 is not an explicit id"),
        ("XADD x MAXLEN = 2 5-* f v", "XADD: argument 5 is not an explicit id"),
        ("XADD x NOMKSTREAM", "XADD: argument 3 is missing"),
        ("XTRIM x WHAT", "XTRIM: argument 2 is an unknown option"),
        ("FUNCTION LOAD", "FUNCTION LOAD: argument 2 is missing"),
        ("SPOP s 2", "SPOP: servers never replicate it under this name"),
        ("BLPOP l 0", "BLPOP: servers never replicate it under this name"),
    ] {
        assert_eq!(outcome(line).expect_err(line).to_string(), expected);
    }
}

#[test]
fn survives_every_length_of_every_command() {
    for spec in crate::command::table::all() {
        for length in 0..9 {
            for filler in
                ["1", "-9223372036854775808", "EX", "FIELDS", "MAXLEN", "LIMIT", "IDLETIME"]
            {
                let name = spec.name.split(' ').map(str::as_bytes);
                let args: Vec<_> =
                    name.chain(std::iter::repeat_n(filler.as_bytes(), length)).collect();
                if let Ok(Normalised::Rewritten { args, .. }) = judge(&args, &OLD) {
                    assert!(args.len() <= length + 5, "{args:?}");
                }
            }
        }
    }
}
