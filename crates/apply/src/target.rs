//! What a destination is able to do, told from its family and version. Pure data.

use redis_io::ServerFacts;
use redis_io::facts::{Flavour, Version};
use wire::rdb::lower::Dialect;

/// A destination's abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    family: Family,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Redis,
    Valkey,
}

/// The first version of each family that can do something; `NEVER` where it never could.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    redis: Version,
    valkey: Version,
}

/// Valkey began as Redis 7.2: what that had, every Valkey has.
const ALWAYS: Version = Version::new(0, 0, 0);
const NEVER: Version = Version::new(u32::MAX, 0, 0);

const fn redis(major: u32, minor: u32) -> Since {
    Since { redis: Version::new(major, minor, 0), valkey: ALWAYS }
}

/// `SET … KEEPTTL`.
pub(crate) const KEEPTTL: Since = redis(6, 0);
/// `SET … PXAT`, `COPY`, `LMOVE`, `LPOP key n`, `ZADD GT`, `ZRANGESTORE`, `XTRIM MINID`, `XGROUP CREATECONSUMER`.
pub(crate) const PXAT: Since = redis(6, 2);
/// A search of places in a key that is not there leaves nothing where it stores.
pub(crate) const EMPTY_SEARCH: Since = Since { redis: Version::new(6, 2, 6), valkey: ALWAYS };
/// `UNLINK`.
pub(crate) const UNLINK: Since = redis(4, 0);
/// `RESTORE … ABSTTL IDLETIME FREQ`.
pub(crate) const ABSTTL: Since = redis(5, 0);
/// `FUNCTION`, `XSETID … ENTRIESADDED`, `XGROUP … ENTRIESREAD`.
pub(crate) const SEVEN: Since = redis(7, 0);
/// `HSETEX`.
pub(crate) const HSETEX: Since =
    Since { redis: Version::new(8, 0, 0), valkey: Version::new(9, 0, 0) };
/// `HPEXPIREAT` and the other expiries of fields.
pub(crate) const FIELD_EXPIRY: Since =
    Since { redis: Version::new(7, 4, 0), valkey: Version::new(9, 0, 0) };
/// Import mode: nothing expires while somebody feeds it.
pub(crate) const IMPORT_MODE: Since = Since { redis: NEVER, valkey: Version::new(8, 1, 0) };
/// `MSETEX`.
pub(crate) const MSETEX: Since =
    Since { redis: Version::new(8, 4, 0), valkey: Version::new(9, 1, 0) };
/// Counts the commands that wait in a MULTI toward `client-query-buffer-limit`.
pub(crate) const COUNTS_WAITING: Since = redis(7, 2);
/// Vector sets.
pub(crate) const VECTORS: Since = Since { redis: Version::new(8, 0, 0), valkey: NEVER };
/// `XDELEX`, `XACKDEL`, `XTRIM … KEEPREF`.
pub(crate) const REFERENCES: Since = Since { redis: Version::new(8, 2, 0), valkey: NEVER };
/// `XADD … IDMP`, `XCFGSET`.
pub(crate) const IDEMPOTENT_XADD: Since = Since { redis: Version::new(8, 6, 0), valkey: NEVER };

// === impl Target ===

impl Target {
    /// What the facts about a server say; a server that does not tell is taken for an old one.
    pub(crate) fn of(facts: &ServerFacts) -> Self {
        let family =
            if facts.flavour == Some(Flavour::Valkey) { Family::Valkey } else { Family::Redis };
        Self { family, version: facts.version.unwrap_or(Version::new(2, 8, 0)) }
    }

    /// Whether it can do something.
    pub(crate) fn can(&self, since: Since) -> bool {
        match self.family {
            Family::Redis => self.version >= since.redis,
            Family::Valkey => self.version >= since.valkey,
        }
    }

    /// Which values it takes by RESTORE.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.family {
            Family::Valkey => Dialect::valkey(self.version.major),
            Family::Redis => Dialect::redis(self.version.major, self.version.minor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(flavour: Flavour, major: u32, minor: u32) -> Target {
        let version = Some(Version::new(major, minor, 3));
        Target::of(&ServerFacts { flavour: Some(flavour), version, ..ServerFacts::default() })
    }

    #[test]
    fn families_learned_things_at_different_times() {
        let (redis, valkey) = (Flavour::Redis, Flavour::Valkey);
        assert!(!target(redis.clone(), 6, 0).can(PXAT) && target(redis.clone(), 6, 2).can(PXAT));
        assert!(target(valkey.clone(), 7, 2).can(SEVEN));
        assert!(target(redis.clone(), 7, 4).can(FIELD_EXPIRY));
        assert!(!target(valkey.clone(), 8, 1).can(FIELD_EXPIRY));
        assert!(target(redis, 8, 6).can(IDEMPOTENT_XADD));
        assert!(!target(valkey, 99, 0).can(IDEMPOTENT_XADD));
    }

    #[test]
    fn values_are_written_for_the_family_and_version() {
        assert_eq!(target(Flavour::Redis, 6, 2).dialect(), Dialect::redis(6, 2));
        assert_eq!(target(Flavour::Valkey, 9, 1).dialect(), Dialect::valkey(9));
        assert_eq!(Target::of(&ServerFacts::default()).dialect(), Dialect::redis(2, 8));
    }
}
