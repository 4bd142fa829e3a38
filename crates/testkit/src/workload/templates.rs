//! The commands of the load, with blanks.
//!
//! Single commands may also stand in a transaction. A unit is a line of several, or of commands that
//! must not be in one.

use crate::kind::Kind;
use crate::since;

/// A line with blanks, as `fill` knows them.
pub(super) type Template = &'static str;

/// Single commands for a server.
pub(super) fn singles(kind: Kind, cluster: bool) -> Vec<Template> {
    let mut all = [STRINGS, BITS, LISTS, SETS, HASHES, SORTED_SETS, PLACES, STREAMS, KEYS].concat();
    if !cluster {
        all.extend(ACROSS_DATABASES);
    }
    if kind.at_least(5, 0) {
        all.push(OVERWRITE);
    }
    if kind.at_least(7, 0) {
        all.extend(VERSION_7);
    }
    if kind.has_field_expiry() {
        all.extend(FIELD_EXPIRY);
    }
    if kind == Kind::Redis8_2 {
        all.extend(REDIS_8);
    }
    if kind.is_valkey() {
        all.extend(VALKEY_9);
    }
    known(kind, all)
}

/// Lines that stand alone.
pub(super) fn units(kind: Kind, cluster: bool) -> Vec<Template> {
    let mut all = [BLOCKING, GROUPS].concat();
    all.extend(if kind.replicates_scripts() { PLAIN_SCRIPTS } else { SCRIPTS });
    if kind.has_functions() {
        all.extend(FUNCTIONS);
    }
    if !cluster {
        all.extend(WHOLE_DATABASES);
    }
    known(kind, all)
}

fn known(kind: Kind, mut lines: Vec<Template>) -> Vec<Template> {
    lines.retain(|line| since::knows(kind, line));
    lines
}

/// Loads what the load calls; the first thing that is sent.
pub(super) fn library(kind: Kind) -> Option<Template> {
    kind.has_functions().then_some(LIBRARY)
}

const STRINGS: &[Template] = &[
    "SET $str $value",
    "SET $str $value EX $sec",
    "SET $str $value PX $soon",
    "SET $str $value PXAT $future",
    "SET $str $value KEEPTTL",
    "SET $str $value NX",
    "SET $str $value XX GET",
    "SETNX $str $value",
    "SETEX $str $sec $value",
    "PSETEX $str $ms $value",
    "GETSET $str $value",
    "GETDEL $str",
    "GETEX $str EX $sec",
    "GETEX $str PERSIST",
    "MSET $str $value $str $value $str $value",
    "MSETNX $str $value $str $value",
    "APPEND $str $value",
    "SETRANGE $str $bit $value",
    "INCR $num",
    "INCR $num",
    "DECR $num",
    "INCRBY $num $int",
    "DECRBY $num $int",
    "INCRBYFLOAT $num $float",
    "SET $num $int",
    "PFADD $hll $member $value $member",
    "PFMERGE $hll $hll $hll",
    "PFCOUNT $hll",
];

/// A string in the place of any key. Redis 3.2 dies of a PFADD to a key that holds a number.
const OVERWRITE: Template = "set $any $value";

const BITS: &[Template] = &[
    "SETBIT $bits $bit 1",
    "SETBIT $bits $bit 0",
    "BITFIELD $bits SET u8 $bit $int INCRBY i16 #3 $int",
    "BITFIELD $bits OVERFLOW SAT INCRBY u4 $bit 3",
    "BITFIELD $bits OVERFLOW FAIL INCRBY u2 $bit 3",
    "BITOP AND $bits $bits $bits",
    "BITOP XOR $bits $bits $str",
    "BITOP NOT $bits $bits",
];

const LISTS: &[Template] = &[
    "LPUSH $list $value $member",
    "RPUSH $list $member $member $value",
    "RPUSH $list $member",
    "LPUSHX $list $value",
    "RPUSHX $list $member",
    "LPOP $list",
    "RPOP $list $count",
    "LSET $list $index $value",
    "LREM $list $index $member",
    "LTRIM $list 0 40",
    "LTRIM $list $index $index",
    "LINSERT $list BEFORE $member $value",
    "LINSERT $list AFTER $member $member",
    "RPOPLPUSH $list $list",
    "LMOVE $list $list LEFT RIGHT",
    "LMOVE $list $list RIGHT LEFT",
    "SORT $list ALPHA LIMIT 0 20 STORE $list",
    "SORT $set ALPHA DESC STORE $list",
];

const SETS: &[Template] = &[
    "SADD $set $member $member $member",
    "SADD $set $int $int",
    "SADD $set $value",
    "SREM $set $member $member",
    "SPOP $set",
    "SPOP $set $count",
    "SMOVE $set $set $member",
    "SDIFFSTORE $set $set $set",
    "SINTERSTORE $set $set $set",
    "SUNIONSTORE $set $set $set",
];

const HASHES: &[Template] = &[
    "HSET $hash $member $value $member $value",
    "HSET $hash $member $int",
    "HMSET $hash $member $value",
    "HSETNX $hash $member $value",
    "HDEL $hash $member $member",
    "HINCRBY $hash n $int",
    "HINCRBY $hash $member $int",
    "HINCRBYFLOAT $hash $member $float",
];

const SORTED_SETS: &[Template] = &[
    "ZADD $zset $score $member $score $member $score $member",
    "ZADD $zset XX CH $score $member",
    "ZADD $zset NX $score $member",
    "ZADD $zset GT $score $member",
    "ZADD $zset LT $score $member $score $member",
    "ZADD $zset INCR $int $member",
    "ZINCRBY $zset $float $member",
    "ZREM $zset $member $member",
    "ZPOPMIN $zset",
    "ZPOPMAX $zset $count",
    "ZREMRANGEBYRANK $zset 0 $index",
    "ZREMRANGEBYSCORE $zset ($int +inf",
    "ZREMRANGEBYLEX $zset [m1 (m12",
    "ZUNIONSTORE $zset 2 $zset $zset WEIGHTS $int $count AGGREGATE MAX",
    "ZINTERSTORE $zset 2 $zset $set",
    "ZDIFFSTORE $zset 2 $zset $zset",
    "ZRANGESTORE $zset $zset 0 $index",
    "ZRANGESTORE $zset $zset -inf +inf BYSCORE LIMIT $count $count",
];

const PLACES: &[Template] = &[
    "GEOADD $geo $longitude $latitude $member $longitude $latitude $member",
    "GEOADD $geo XX CH $longitude $latitude $member",
    "GEOSEARCHSTORE $geo $geo FROMLONLAT $longitude $latitude BYRADIUS 4000 km",
    "GEOSEARCHSTORE $zset $geo FROMMEMBER $member BYBOX 8000 8000 km COUNT $count STOREDIST",
    "GEORADIUS $geo $longitude $latitude 5000 km STORE $geo",
    "GEORADIUSBYMEMBER $geo $member 5000 km STOREDIST $zset",
];

const STREAMS: &[Template] = &[
    "XADD $stream $entry $member $value",
    "XADD $stream $entry $member $value $member $value",
    "XADD $stream $entry $member $int",
    "XADD $stream MAXLEN 30 $entry $member $value",
    "XADD $stream MAXLEN ~ 20 $entry $member $value",
    "XADD $stream MINID ~ $old $entry $member $value",
    "XADD $stream NOMKSTREAM $entry $member $value",
    "XADD $auto * $member $value",
    "XADD $auto MAXLEN ~ 50 * $member $value",
    "XTRIM $stream MAXLEN 15",
    "XTRIM $stream MINID $old",
    "XDEL $stream $old $old",
    "XSETID $stream $entry",
    "XGROUP CREATE $stream $group 0 MKSTREAM",
    r"XGROUP CREATE $stream $group \x24 MKSTREAM",
    "XGROUP CREATECONSUMER $stream $group $consumer",
    "XGROUP DELCONSUMER $stream $group $consumer",
    "XGROUP SETID $stream $group $old",
    "XGROUP DESTROY $stream $group",
    "XREADGROUP GROUP $group $consumer COUNT $count STREAMS $stream >",
    "XREADGROUP GROUP $group $consumer NOACK COUNT $count STREAMS $stream >",
    "XREADGROUP GROUP $group $consumer COUNT $count STREAMS $stream 0",
    "XACK $stream $group $old $old $old",
    "XCLAIM $stream $group $consumer 0 $old $old",
    "XCLAIM $stream $group $consumer 0 $old TIME 1000 RETRYCOUNT $count FORCE JUSTID",
    "XAUTOCLAIM $stream $group $consumer 0 0 COUNT $count",
];

const KEYS: &[Template] = &[
    "DEL $any $any",
    "UNLINK $any $str $list",
    "EXPIRE $any $sec",
    "PEXPIRE $any $ms",
    "PEXPIRE $any $soon",
    "PEXPIREAT $any $future",
    "EXPIREAT $any $future_sec",
    "PEXPIREAT $any 1000",
    "PERSIST $any",
    "PERSIST $any",
    "RENAME $str $str",
    "RENAME $list $list",
    "RENAME $stream $stream",
    "RENAMENX $hash $hash",
    "COPY $zset $zset",
    "COPY $set $set REPLACE",
    "COPY $stream $stream REPLACE",
    r"RESTORE $list 0 \x0e\x01\x11\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01a\x03\x01b\xff\x09\x00T6\x08\xec\x97\x04dJ REPLACE",
    r"RESTORE $list 0 \x0a\x11\x11\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01a\x03\x01b\xff\x06\x00\xf4\x86\xcf\xa0u\xf8\x9c\xbf",
    r"RESTORE $str $future \x00\x05value\x09\x00Q\x04\x90\xf4\x95,\xf8\xdf REPLACE ABSTTL",
];

const ACROSS_DATABASES: &[Template] =
    &["MOVE $any $db", "MOVE $str $db", "COPY $list $list DB $db REPLACE", "COPY $any $any DB $db"];

const VERSION_7: &[Template] = &[
    "EXPIRE $any $sec NX",
    "PEXPIRE $any $ms GT",
    "PEXPIREAT $any $future LT",
    "LMPOP 2 $list $list LEFT COUNT $count",
    "ZMPOP 2 $zset $zset MAX COUNT $count",
];

const FIELD_EXPIRY: &[Template] = &[
    "HPEXPIRE $hash $ms FIELDS 2 $member $member",
    "HPEXPIREAT $hash $future FIELDS 1 $member",
    "HPEXPIRE $hash $soon FIELDS 1 $member",
    "HPERSIST $hash FIELDS 1 $member",
    "HGETDEL $hash FIELDS 1 $member",
    "HGETEX $hash PXAT $future FIELDS 1 $member",
    "HSETEX $hash PX $ms FIELDS 2 $member $value $member $value",
    "HSETEX $hash KEEPTTL FIELDS 1 $member $value",
];

const REDIS_8: &[Template] =
    &["XACKDEL $stream $group IDS 1 $old", "XDELEX $stream DELREF IDS 1 $old"];

const VALKEY_9: &[Template] =
    &["DELIFEQ $num $int", "SET $num $int IFEQ $int", "MSETEX 2 $str $value $str $value PX $ms"];

const BLOCKING: &[Template] = &[
    "RPUSH $list $member $value ; BLPOP %list 1",
    "RPUSH $list $member $value ; BRPOP %list 1",
    "RPUSH $list $member ; BLMOVE %list $list LEFT RIGHT 1",
    "LPUSH $list $member ; BRPOPLPUSH %list $list 1",
    "ZADD $zset 1 $member ; BZPOPMIN %zset 1",
    "ZADD $zset 1 $member ; BZPOPMAX %zset 1",
];

const SCRIPTS: &[Template] = &[
    "EVAL redis.call('SET',KEYS[1],ARGV[1]);redis.call('RPUSH',KEYS[2],ARGV[1]);return\\s1 2 $str $list $value",
    "EVAL local\\sv=redis.call('INCR',KEYS[1]);redis.call('HSET',KEYS[2],ARGV[1],v);redis.call('EXPIRE',KEYS[2],ARGV[2]);return\\sv 2 $num $hash $member $sec",
    "EVAL return\\sredis.call('SADD',KEYS[1],unpack(ARGV)) 1 $set $member $member $value",
    "EVAL for\\si=1,ARGV[1]\\sdo\\sredis.call('ZADD',KEYS[1],i,i)\\send 1 $zset $count",
    "EVAL local\\sm=redis.call('SPOP',KEYS[1]);if\\sm\\sthen\\sredis.call('RPUSH',KEYS[2],m)\\send 2 $set $list",
];

/// Scripts of a server that replicates them as such: they take nothing by chance, and none fails half way, since nobody
/// can tell then whether it was to fail.
const PLAIN_SCRIPTS: &[Template] = &[
    "EVAL redis.pcall('SET',KEYS[1],ARGV[1]);redis.pcall('RPUSH',KEYS[2],ARGV[1]);return\\s1 2 $str $list $value",
    "EVAL local\\sv=redis.pcall('INCR',KEYS[1]);redis.pcall('HSET',KEYS[2],ARGV[1],type(v)=='number'\\sand\\sv\\sor\\s0);redis.pcall('EXPIRE',KEYS[2],ARGV[2]);return\\s1 2 $num $hash $member $sec",
    "EVAL return\\sredis.pcall('SADD',KEYS[1],unpack(ARGV)) 1 $set $member $member $value",
    "EVAL for\\si=1,ARGV[1]\\sdo\\sredis.pcall('ZADD',KEYS[1],i*math.random(9),i)\\send 1 $zset $count",
    "EVAL local\\sm=redis.pcall('SMEMBERS',KEYS[1]);if\\snot\\sm.err\\sthen\\sfor\\s_,v\\sin\\sipairs(m)\\sdo\\sredis.pcall('RPUSH','list:of:'..KEYS[1],v)\\send\\send 1 $set",
    "EVAL return\\sredis.pcall('RENAME',KEYS[1],KEYS[2]) 2 $list $list",
];

const GROUPS: &[Template] = &[
    "XGROUP CREATE $stream $group 0 MKSTREAM ; XADD %stream $entry $member $value ; XADD %stream $entry $member $value ; XREADGROUP GROUP $group $consumer COUNT 1 STREAMS %stream > ; XACK %stream $group $old",
    "XADD $stream $entry f $value ; XREADGROUP GROUP $group $consumer STREAMS %stream > ; XAUTOCLAIM %stream $group $consumer 0 0",
];

const WHOLE_DATABASES: &[Template] =
    &["SWAPDB 1 2", "SELECT 3 ; FLUSHDB", "SELECT 3 ; FLUSHDB ASYNC"];

const LIBRARY: Template = r"FUNCTION LOAD REPLACE #!lua\sname=load\nredis.register_function('put',function(k,a)redis.call('SET',k[1],a[1]);return\sredis.call('LPUSH',k[2],a[1])\send)\nredis.register_function('up',function(k,a)return\sredis.call('INCRBY',k[1],a[1])\send)";

const FUNCTIONS: &[Template] = &[
    "FCALL put 2 $str $list $value",
    "FCALL up 1 $num $count",
    r"FUNCTION LOAD REPLACE #!lua\sname=other\nredis.register_function('other',function(k,a)return\s1\send)",
    "FUNCTION DELETE other",
];
