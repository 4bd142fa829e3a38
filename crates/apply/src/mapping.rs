//! Which database of the destination a database of the source goes to. Pure data.

use std::collections::BTreeMap;

/// Databases of the source that can be mapped one by one.
pub const MAPPED_DBS: u32 = 256;

/// A mapping of databases. What it does not name stays where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DbMapping {
    pairs: BTreeMap<u32, u32>,
    all: Option<u32>,
}

/// A mapping that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Beyond the databases that can be mapped.
    #[error("database {0} cannot be mapped: only 0 to {max} can", max = MAPPED_DBS - 1)]
    OutOfRange(u32),
}

// === impl DbMapping ===

impl DbMapping {
    /// Every database to the same one.
    #[must_use]
    pub fn all_to(db: u32) -> Self {
        Self { pairs: BTreeMap::new(), all: Some(db) }
    }

    /// Single databases, source to destination.
    ///
    /// # Errors
    /// When a database is beyond those that can be mapped.
    pub fn of(pairs: impl IntoIterator<Item = (u32, u32)>) -> Result<Self, MappingError> {
        let pairs: BTreeMap<_, _> = pairs.into_iter().collect();
        let beyond = pairs.iter().flat_map(|(from, to)| [*from, *to]).find(|db| *db >= MAPPED_DBS);
        match beyond {
            Some(db) => Err(MappingError::OutOfRange(db)),
            None => Ok(Self { pairs, all: None }),
        }
    }

    /// Where a database of the source goes.
    #[must_use]
    pub fn target(&self, db: u32) -> u32 {
        if let Some(all) = self.all {
            return all;
        }
        if self.pairs.is_empty() {
            return db;
        }
        self.pairs.get(&db).copied().unwrap_or(db)
    }

    /// What it says, as it is written in the settings, with the database of the source (none: all) and the target.
    pub fn named(&self) -> impl Iterator<Item = (String, Option<u32>, u32)> + '_ {
        let all = self.all.map(|to| (format!("all:{to}"), None, to));
        let pairs = self.pairs.iter().map(|(from, to)| (format!("{from}:{to}"), Some(*from), *to));
        all.into_iter().chain(pairs)
    }

    /// The databases of the source, of those that `passes` lets through, that go to `target`.
    pub fn sources<'a>(
        &'a self,
        target: u32,
        passes: impl Fn(u32) -> bool + 'a,
    ) -> impl Iterator<Item = u32> + 'a {
        let dbs = MAPPED_DBS.max(target.saturating_add(1));
        (0..dbs).filter(move |db| self.target(*db) == target && passes(*db))
    }

    /// Whether every database stays where it is.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.all.is_none() && self.pairs.iter().all(|(from, to)| from == to)
    }

    /// Whether no two databases are mixed in one.
    #[must_use]
    pub fn keeps_apart(&self) -> bool {
        if self.all.is_some() {
            return false;
        }
        let mut targets: Vec<u32> = (0..MAPPED_DBS).map(|db| self.target(db)).collect();
        targets.sort_unstable();
        targets.windows(2).all(|pair| !matches!(pair, [one, other] if one == other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_where_it_is() {
        let mapping = DbMapping::of([(1, 5), (5, 1)]).unwrap();
        assert_eq!([0, 1, 5, 999].map(|db| mapping.target(db)), [0, 5, 1, 999]);
        assert!(mapping.keeps_apart() && DbMapping::default().keeps_apart());
        assert!(!mapping.is_identity() && DbMapping::default().is_identity());
        assert!(DbMapping::of([(3, 3)]).unwrap().is_identity());
    }

    #[test]
    fn mixing_databases_is_seen() {
        assert!(!DbMapping::all_to(3).keeps_apart());
        let mapping = DbMapping::of([(1, 0)]).unwrap();
        assert!(!mapping.keeps_apart());
        assert_eq!(mapping.sources(0, |_| true).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(mapping.sources(0, |db| db != 0).collect::<Vec<_>>(), [1]);
        assert_eq!(mapping.sources(1, |_| true).count(), 0);
        assert_eq!(DbMapping::all_to(3).sources(3, |_| true).count(), 256);
    }

    #[test]
    fn refuses_databases_beyond_the_last() {
        assert_eq!(DbMapping::of([(256, 0)]), Err(MappingError::OutOfRange(256)));
        assert_eq!(DbMapping::of([(0, 300)]), Err(MappingError::OutOfRange(300)));
    }
}
