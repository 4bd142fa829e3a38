//! Examples of commands on streams and their groups.

use super::{Since, Table};

pub(super) const TABLES: &[Table] =
    &[(Since::Always, ALWAYS), (Since::Version7, VERSION_7), (Since::Redis8, REDIS_8)];

const ALWAYS: &[&str] = &[
    "XADD @k * f v",
    "XADD @k 5-1 f v g w",
    "XADD @k 1-1 f v -> XADD @k MAXLEN 1 2-1 f w",
    "XADD @k 1-1 f v -> XADD @k MAXLEN ~ 1 2-1 f w",
    "XADD @k 1-1 f v -> XADD @k MINID 2 2-1 f w",
    "XADD @k 1-1 f v -> XADD @k NOMKSTREAM 2-1 f w",
    "XADD @k 1-1 f v ; XADD @k 2-1 f w -> XTRIM @k MAXLEN 1",
    "XADD @k 1-1 f v ; XADD @k 2-1 f w -> XTRIM @k MINID = 2",
    "XADD @k 1-1 f v ; XADD @k 2-1 f w -> XDEL @k 1-1",
    "XADD @k 1-1 f v -> XSETID @k 7-7",
    "XADD @k 1-1 f v -> XGROUP CREATE @k g $",
    "XGROUP CREATE @k g 0 MKSTREAM",
    "XGROUP CREATE @k g $ MKSTREAM -> XGROUP CREATECONSUMER @k g alice",
    "XGROUP CREATE @k g 0 MKSTREAM -> XGROUP DESTROY @k g",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 -> XGROUP SETID @k g 1-1",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > -> XGROUP DELCONSUMER @k g alice",
    "XADD @k 1-1 f v ; XADD @k 2-1 f w ; XGROUP CREATE @k g 0 -> XREADGROUP GROUP g alice COUNT 1 STREAMS @k >",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 -> XREADGROUP GROUP g alice NOACK STREAMS @k >",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 -> XREADGROUP GROUP g alice BLOCK 10 STREAMS @k >",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > -> XACK @k g 1-1",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > -> XCLAIM @k g bob 0 1-1",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 -> XCLAIM @k g bob 0 1-1 TIME 1000 RETRYCOUNT 3 FORCE JUSTID",
    "XADD @k 1-1 f v ; XADD @k 2-1 f w ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > -> XAUTOCLAIM @k g bob 0 0 COUNT 1",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > ; XDEL @k 1-1 -> XAUTOCLAIM @k g bob 0 0",
];

const VERSION_7: &[&str] = &[
    "XADD @k 5-* f v",
    "XADD @k 1-1 f v -> XSETID @k 7-7 ENTRIESADDED 9 MAXDELETEDID 3-3",
    "XADD @k 1-1 f v -> XGROUP CREATE @k g 1-1 ENTRIESREAD 1",
];

const REDIS_8: &[&str] = &[
    "XADD @k 1-1 f v ; XADD @k 2-1 f v ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > -> XDELEX @k DELREF IDS 1 1-1",
    "XADD @k 1-1 f v ; XGROUP CREATE @k g 0 ; XREADGROUP GROUP g alice STREAMS @k > -> XACKDEL @k g IDS 1 1-1",
    "XADD @k 1-1 f v ; XADD @k 2-1 f v -> XADD @k MAXLEN 1 ACKED 3-1 f w",
];
