//! Examples of commands on lists, sets, hashes, sorted sets, places and vector sets.

use super::{Since, Table};

pub(super) const TABLES: &[Table] = &[
    (Since::Always, LISTS),
    (Since::Always, SETS),
    (Since::Always, HASHES),
    (Since::Always, SORTED_SETS),
    (Since::Always, PLACES),
    (Since::Version7, VERSION_7),
    (Since::FieldExpiry, FIELD_EXPIRY),
    (Since::Redis8, REDIS_8),
];

const LISTS: &[&str] = &[
    "LPUSH @k a b c",
    "RPUSH @k a b c",
    "RPUSH @k a -> LPUSHX @k b",
    "RPUSH @k a -> RPUSHX @k b",
    "RPUSH @k a -> LPUSHX @k b c",
    "RPUSH @k a -> RPUSHX @k b c",
    "RPUSH @k a b c -> LPOP @k",
    "RPUSH @k a b c -> LPOP @k 2",
    "RPUSH @k a b c -> RPOP @k",
    "RPUSH @k a -> RPOP @k 5",
    "RPUSH @k a b c -> LSET @k 1 B",
    "RPUSH @k a b a c a -> LREM @k -2 a",
    "RPUSH @k a b c d -> LTRIM @k 1 2",
    "RPUSH @k a b -> LTRIM @k 5 9",
    "RPUSH @k a c -> LINSERT @k BEFORE c b",
    "RPUSH @k a c -> LINSERT @k after a b",
    "RPUSH @a x y -> RPOPLPUSH @a @b",
    "RPUSH @a x y z -> RPOPLPUSH @a @a",
    "RPUSH @a x y -> LMOVE @a @b LEFT RIGHT",
    "RPUSH @a x y -> BLMOVE @a @b RIGHT LEFT 1",
    "RPUSH @a x y -> BRPOPLPUSH @a @b 1",
    "RPUSH @b x y -> BLPOP @a @b 1",
    "RPUSH @b x y -> BRPOP @a @b 1",
];

const SETS: &[&str] = &[
    "SADD @k a b c",
    "SADD @k 1 2 3",
    "SADD @k a b c -> SREM @k a b missing",
    "SADD @k a -> SREM @k a",
    "SADD @k a b c d -> SPOP @k",
    "SADD @k a b c d -> SPOP @k 2",
    "SADD @k a b -> SPOP @k 5",
    "SADD @a x y -> SMOVE @a @b x",
    "SADD @a x y ; SADD @b y z -> SDIFFSTORE @c @a @b",
    "SADD @a x y ; SADD @b y z -> SINTERSTORE @c @a @b",
    "SADD @a x y ; SADD @b y z -> SUNIONSTORE @c @a @b",
    "SADD @a x ; SADD @b y ; SET @c v -> SINTERSTORE @c @a @b",
];

const HASHES: &[&str] = &[
    "HSET @k f v",
    "HSET @k f v g w",
    r"HSET @k \e \e \x00 \xff",
    "HMSET @k f v g w",
    "HSETNX @k f v",
    "HSET @k f v g w -> HDEL @k f missing",
    "HSET @k f v -> HDEL @k f",
    "HSET @k f 5 -> HINCRBY @k f -7",
    "HSET @k f 5 -> HINCRBYFLOAT @k f 0.1",
];

const SORTED_SETS: &[&str] = &[
    "ZADD @k 1 a 2.5 b -inf c +inf d",
    "ZADD @k 1 a -> ZADD @k XX CH 2 a 3 new",
    "ZADD @k 1 a -> ZADD @k NX 2 a 3 new",
    "ZADD @k 1 a -> ZADD @k GT 2 a 0 new",
    "ZADD @k 5 a -> ZADD @k LT CH 2 a",
    "ZADD @k 5 a -> ZADD @k INCR 2 a",
    "ZADD @k 5 a -> ZINCRBY @k 0.1 a",
    "ZADD @k 1 a 2 b -> ZREM @k a missing",
    "ZADD @k 1 a 2 b 3 c -> ZPOPMIN @k",
    "ZADD @k 1 a 2 b 3 c -> ZPOPMAX @k 2",
    "ZADD @b 1 a 2 b -> BZPOPMIN @a @b 1",
    "ZADD @b 1 a 2 b -> BZPOPMAX @a @b 1",
    "ZADD @k 1 a 2 b 3 c -> ZREMRANGEBYRANK @k 0 1",
    "ZADD @k 1 a 2 b 3 c -> ZREMRANGEBYSCORE @k (1 3",
    "ZADD @k 0 a 0 b 0 c -> ZREMRANGEBYLEX @k [a (c",
    "ZADD @a 1 x 2 y ; ZADD @b 3 y -> ZUNIONSTORE @c 2 @a @b WEIGHTS 2 3 AGGREGATE MAX",
    "ZADD @a 1 x 2 y ; ZADD @b 3 y -> ZINTERSTORE @c 2 @a @b",
    "ZADD @a 1 x 2 y ; SADD @b y -> ZDIFFSTORE @c 2 @a @b",
    "ZADD @a 1 x 2 y 3 z -> ZRANGESTORE @b @a 0 1",
    "ZADD @a 1 x 2 y 3 z -> ZRANGESTORE @b @a 3 (1 BYSCORE REV LIMIT 0 1",
];

const PLACES: &[&str] = &[
    "GEOADD @k 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    "GEOADD @k 13 38 p -> GEOADD @k XX CH 13.5 38 p",
    "GEOADD @a 13.361389 38.115556 Palermo 15.087269 37.502669 Catania -> GEORADIUS @a 15 37 200 km STORE @b",
    "GEOADD @a 13 38 p 15 37 c -> GEORADIUS @a 15 37 200 km storedist @b",
    "GEOADD @a 13 38 p 15 37 c -> GEORADIUSBYMEMBER @a p 500 km STORE @b",
    "GEOADD @a 13 38 p 15 37 c -> GEOSEARCHSTORE @b @a FROMLONLAT 15 37 BYBOX 400 400 km ASC COUNT 1",
    "GEOADD @a 13 38 p 15 37 c -> GEOSEARCHSTORE @b @a FROMMEMBER p BYRADIUS 300 km STOREDIST",
];

const VERSION_7: &[&str] = &[
    "RPUSH @b x y z -> LMPOP 2 @a @b LEFT COUNT 2",
    "RPUSH @b x y z -> BLMPOP 1 2 @a @b RIGHT",
    "ZADD @b 1 x 2 y -> ZMPOP 2 @a @b MIN",
    "ZADD @b 1 x 2 y -> BZMPOP 1 2 @a @b MAX COUNT 5",
];

const FIELD_EXPIRY: &[&str] = &[
    "HSET @k f v g w -> HEXPIRE @k 1000 FIELDS 1 f",
    "HSET @k f v g w -> HPEXPIRE @k 1000000 FIELDS 2 f missing",
    "HSET @k f v g w -> HEXPIREAT @k 4102444800 FIELDS 1 f",
    "HSET @k f v g w -> HPEXPIREAT @k 4102444800123 FIELDS 1 f",
    "HSET @k f v g w -> HPEXPIREAT @k 1000 FIELDS 1 f",
    "HSET @k f v ; HEXPIRE @k 1000 FIELDS 1 f -> HPERSIST @k FIELDS 1 f",
    "HSET @k f v g w -> HGETDEL @k FIELDS 1 f",
    "HSET @k f v -> HGETDEL @k FIELDS 1 f",
    "HSET @k f v g w -> HGETEX @k EX 1000 FIELDS 1 f",
    "HSET @k f v ; HEXPIRE @k 1000 FIELDS 1 f -> HGETEX @k PERSIST FIELDS 1 f",
    "HSETEX @k EX 1000 FIELDS 2 f v g w",
    "HSET @k f v ; HEXPIRE @k 1000 FIELDS 1 f -> HSETEX @k KEEPTTL FIELDS 1 f w",
    "HSETEX @k FNX PXAT 4102444800123 FIELDS 1 f v",
];

const REDIS_8: &[&str] = &[
    r#"VADD @k VALUES 3 1 0.5 0 a SETATTR {"x":1}"#,
    "VADD @k VALUES 2 1 0 a ; VADD @k VALUES 2 0 1 b -> VREM @k a",
    r#"VADD @k VALUES 2 1 0 a -> VSETATTR @k a {"y":2}"#,
];
