//! Keys that live for seconds and that nobody touches again: at the end there must be none of them
//! on either side, although they travelled while they lived.

use anyhow::Result;

use super::Loader;
use crate::data::Data;
use crate::keys;
use crate::words::words;

/// How many there are.
pub(crate) const SHORT_LIVED: usize = 6000;
/// When the first one dies, after the load began.
const FIRST_DEATH_MS: u64 = 2_000;
/// From then on one after the other, so far apart that all are gone after 20 s: some before the
/// bridge starts, some in the snapshot, some later.
const APART_MS: u64 = 3;

pub(super) fn fleeting(loader: &mut Loader, data: &Data) -> Result<()> {
    for (n, name) in data.surnames.iter().take(SHORT_LIVED).enumerate() {
        let key = keys::seen(&name.name);
        loader.put(match n % 5 {
            0 => words!["SET", key, name.percent],
            1 => words!["RPUSH", key, name.name, name.percent],
            2 => words!["HSET", key, "name", name.name, "percent", name.percent],
            3 => words!["SADD", key, name.name, name.percent],
            _ => words!["ZADD", key, name.percent, name.name],
        })?;
        let at = loader.started_ms + FIRST_DEATH_MS + APART_MS * n as u64;
        loader.put(words!["PEXPIREAT", key, at])?;
    }
    Ok(())
}
