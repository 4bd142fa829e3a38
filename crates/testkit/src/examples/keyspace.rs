//! Examples of commands on keys as such, whole databases, scripts, functions and transactions.

use super::{Since, Table};

pub(super) const TABLES: &[Table] =
    &[(Since::Always, ALWAYS), (Since::Version7, VERSION_7), (Since::Valkey9, VALKEY_9)];

/// What empties databases comes first, so that it leaves the other examples' keys alone.
const ALWAYS: &[&str] = &[
    "SELECT 9 ; SET @k v ; SELECT 0 -> FLUSHALL",
    "SET @k v -> FLUSHALL ASYNC",
    "SET @k v -> FLUSHALL SYNC",
    "SELECT 9 ; SET @k v -> FLUSHDB ; SELECT 0",
    "SELECT 9 ; SET @k v -> FLUSHDB ASYNC ; SELECT 0",
    "SELECT 10 ; SET @a v ; SELECT 11 ; SET @b w -> SWAPDB 10 11 ; SELECT 0",
    "SET @a v ; SET @b v -> DEL @a @b @missing",
    "RPUSH @a v ; SET @b v -> UNLINK @a @missing @b",
    "SET @k v -> EXPIRE @k 1000",
    "SET @k v -> EXPIREAT @k 4102444800",
    "SET @k v -> PEXPIRE @k 1000000",
    "SET @k v -> PEXPIREAT @k 4102444800123",
    "SET @k v -> EXPIRE @k -1",
    "SET @k v -> PEXPIREAT @k 1000",
    "SET @k v EX 1000 -> PERSIST @k",
    "SET @k v -> MOVE @k 5",
    "RPUSH @k v w -> MOVE @k 5",
    "SET @k v EX 1000 -> MOVE @k 5",
    "SET @a v -> RENAME @a @b",
    "SET @a v EX 1000 ; RPUSH @b w -> RENAME @a @b",
    "SET @a v -> RENAMENX @a @b",
    "RPUSH @a v w -> COPY @a @b",
    "RPUSH @a v w ; SET @b x -> COPY @a @b REPLACE",
    "HSET @a f v -> COPY @a @b DB 5",
    r"RESTORE @k 0 \x00\x05value\x09\x00Q\x04\x90\xf4\x95,\xf8\xdf",
    r"RESTORE @k 0 \x00\x05value\x06\x00\x17\x1b\xa9\xb84\xff\xa7\xfd",
    r"RESTORE @k 1000000 \x00\x05value\x06\x00\x17\x1b\xa9\xb84\xff\xa7\xfd",
    r"RESTORE @k 0 \x0d\x11\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01f\x03\x01v\xff\x06\x00\x96\xf8\xfa\xc0\x1a\xd1tZ",
    r"RESTORE @k 1000000 \x00\x05value\x09\x00Q\x04\x90\xf4\x95,\xf8\xdf",
    r"SET @k old -> RESTORE @k 4102444800000 \x00\x05value\x09\x00Q\x04\x90\xf4\x95,\xf8\xdf REPLACE ABSTTL",
    r"RESTORE @k 0 \x00\x05value\x09\x00Q\x04\x90\xf4\x95,\xf8\xdf IDLETIME 1000",
    r"RESTORE-ASKING @k 0 \x00\x05value\x06\x00\x17\x1b\xa9\xb84\xff\xa7\xfd",
    r"RESTORE @k 0 \x0d\x11\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01f\x03\x01v\xff\x09\x00\xd0\xe7\xc3\x8c\xbb\x02+x",
    "RPUSH @a 3 1 2 -> SORT @a STORE @b",
    "RPUSH @a c a b -> SORT @a LIMIT 0 2 ALPHA DESC STORE @b",
    "RPUSH @a 1 2 ; SET @b v -> SORT @a BY nosort STORE @b",
    "EVAL return\\sredis.call('SET',KEYS[1],ARGV[1]) 1 @k v",
    "EVAL redis.replicate_commands();redis.call('set',KEYS[1],ARGV[1]);redis.call('rpush',KEYS[2],ARGV[1]) 2 @a @b v",
    "EVAL redis.call('set',KEYS[1],ARGV[1]);redis.call('rpush',KEYS[2],ARGV[1]);redis.call('expire',KEYS[2],1000) 2 @a @b v",
    "EVAL for\\si=1,50\\sdo\\sredis.call('RPUSH',KEYS[1],i)\\send 1 @k",
    "MULTI ; SET @a v ; EXEC",
    "MULTI ; SET @a v ; INCR @n ; RPUSH @l a b ; EXEC",
    "SET @a v -> MULTI ; SELECT 6 ; SET @a v ; SELECT 0 ; DEL @a ; EXEC",
    "SET @a v -> MULTI ; EXPIRE @a 1000 ; SADD @s m ; SPOP @s ; EXEC",
    "SET @a v -> MULTI ; DEL @a ; SET @a w ; INCRBYFLOAT @n 1.5 ; GETDEL @a ; EXEC",
];

const VERSION_7: &[&str] = &[
    "SET @k v -> EXPIRE @k 1000 NX",
    "SET @k v EX 10 -> EXPIRE @k 1000 GT",
    "SET @k v EX 10000 -> PEXPIRE @k 1000000 LT",
    "SET @k v EX 10 -> PEXPIREAT @k 4102444800123 XX",
    r"FUNCTION FLUSH",
    r"FUNCTION LOAD #!lua\sname=lib\nredis.register_function('put',function(k,a)return\sredis.call('SET',k[1],a[1])\send)",
    r"FUNCTION LOAD REPLACE #!lua\sname=lib\nredis.register_function('put',function(k,a)redis.call('SET',k[1],a[1]);return\sredis.call('RPUSH',k[2],a[1])\send)",
    "FCALL put 2 @a @b v",
    r"FUNCTION LOAD #!lua\sname=gone\nredis.register_function('gone',function(k,a)return\s1\send) -> FUNCTION DELETE gone",
    r"FUNCTION RESTORE \xf5\x40K#!lua\x20name=restored\x0aredis.register_function('rf',function(k,a)return\x201\x20end)\x0a\x00\x1c\xe5\xe3\x3b\xd2,Y] REPLACE",
];

const VALKEY_9: &[&str] = &["SET @k v -> DELIFEQ @k v"];
