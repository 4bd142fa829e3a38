//! Examples of commands on strings, bitmaps and HyperLogLogs.

use super::{Since, Table};

pub(super) const TABLES: &[Table] = &[(Since::Always, ALWAYS), (Since::Valkey9, VALKEY_9)];

const ALWAYS: &[&str] = &[
    "SET @k v",
    r"SET @k \e",
    r"SET @k \x00\xff\x0d\x0a",
    "SET @k v EX 1000",
    "SET @k v PX 1000000",
    "SET @k v EXAT 4102444800",
    "SET @k v PXAT 4102444800123",
    "SET @k v EX 1000 -> SET @k w KEEPTTL",
    "SET @k v NX",
    "SET @k v -> SET @k w XX",
    "SET @k v -> SET @k w GET",
    "SET @k v NX EX 1000",
    "SET @k v -> SET @k w XX GET PX 1000000",
    "RPUSH @k v -> SET @k w",
    "SETNX @k v",
    "SETEX @k 1000 v",
    "PSETEX @k 1000000 v",
    "SET @k v -> GETSET @k w",
    "SET @k v -> GETDEL @k",
    "SET @k v -> GETEX @k EX 1000",
    "SET @k v -> GETEX @k PXAT 4102444800123",
    "SET @k v EX 1000 -> GETEX @k PERSIST",
    "MSET @a v @b w",
    "MSET @a v @b w @a x",
    "MSETNX @a v @b w",
    "SET @k v -> APPEND @k w",
    "APPEND @k v",
    "SET @k value -> SETRANGE @k 2 X",
    "SETRANGE @k 5 v",
    "SET @k 5 -> INCR @k",
    "INCR @k",
    "SET @k 5 EX 1000 -> DECR @k",
    "SET @k 5 -> INCRBY @k 10",
    "SET @k 5 -> DECRBY @k 10",
    "SET @k 5 EX 1000 -> INCRBYFLOAT @k 0.1",
    "INCRBYFLOAT @k 3.0e3",
    "SETBIT @k 100 1",
    "SET @k abc -> SETBIT @k 1 0",
    "BITFIELD @k SET u8 0 200 INCRBY i5 8 -3",
    "BITFIELD @k OVERFLOW SAT INCRBY u8 #1 300 GET u8 0",
    "SET @a abc ; SET @b abd -> BITOP AND @c @a @b",
    "SET @a abc -> BITOP NOT @c @a",
    "SET @c v -> BITOP OR @c @missing",
    "PFADD @k a b c",
    "PFADD @a x y ; PFADD @b y z -> PFMERGE @c @a @b",
    "PFADD @k a b -> PFDEBUG TODENSE @k",
    "PFADD @a x y -> PFCOUNT @a",
];

const VALKEY_9: &[&str] =
    &["SET @k v -> SET @k w IFEQ v", "MSETEX 2 @a v @b w EX 1000", "MSETEX 2 @a v @b w"];
