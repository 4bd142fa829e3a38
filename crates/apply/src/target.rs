//! What a destination is able to do, told from its family and version. Pure data.

use redis_io::ServerFacts;
use redis_io::facts::{Flavour, Version};

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

/// `SET … PXAT`, `COPY`, `LMOVE`, `ZADD GT`.
pub(crate) const PXAT: Since = redis(6, 2);
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
/// `MSETEX`.
pub(crate) const MSETEX: Since =
    Since { redis: Version::new(8, 4, 0), valkey: Version::new(9, 1, 0) };
/// `XADD … IDMP`.
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

    /// Whether it is a Valkey with its own numbering of types.
    pub(crate) fn is_valkey_nine(&self) -> bool {
        self.family == Family::Valkey && self.version >= Version::new(9, 0, 0)
    }

    /// Whether it is a Redis.
    pub(crate) fn is_redis(&self) -> bool {
        self.family == Family::Redis
    }

    /// The largest version of a DUMP payload, in the numbering that both families share, that it accepts.
    pub(crate) fn payload_version(&self) -> u16 {
        const ACCEPTED: [(Version, u16); 10] = [
            (Version::new(8, 6, 0), 13),
            (Version::new(7, 4, 0), 12),
            (Version::new(7, 2, 0), 11),
            (Version::new(7, 0, 0), 10),
            (Version::new(5, 0, 0), 9),
            (Version::new(4, 0, 0), 8),
            (Version::new(3, 2, 0), 7),
            (Version::new(2, 8, 0), 6),
            (Version::new(2, 6, 0), 6),
            (ALWAYS, 6),
        ];
        if self.family == Family::Valkey {
            return 11;
        }
        ACCEPTED
            .iter()
            .find(|(first, _)| self.version >= *first)
            .map_or(6, |(_, accepted)| *accepted)
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
    fn payloads_are_made_for_what_the_server_accepts() {
        let versions =
            [(2, 8, 6), (4, 0, 8), (6, 2, 9), (7, 0, 10), (7, 4, 12), (8, 2, 12), (8, 6, 13)];
        for (major, minor, accepted) in versions {
            assert_eq!(target(Flavour::Redis, major, minor).payload_version(), accepted);
        }
        assert_eq!(target(Flavour::Valkey, 9, 1).payload_version(), 11);
        assert_eq!(Target::of(&ServerFacts::default()).payload_version(), 6);
    }
}
