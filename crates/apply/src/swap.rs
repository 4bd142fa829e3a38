//! What `SWAPDB` does to the numbers of databases. Pure.

/// Two databases of the destination that are exchanged; they may be the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    first: u32,
    second: u32,
}

// === impl Swap ===

impl Swap {
    pub(crate) fn between(first: u32, second: u32) -> Self {
        Self { first, second }
    }

    /// Where what is in a database is found afterwards.
    pub(crate) fn follow(self, db: u32) -> u32 {
        match db {
            db if db == self.first => self.second,
            db if db == self.second => self.first,
            db => db,
        }
    }

    /// Whether what is in a database is found in another one afterwards.
    pub(crate) fn moves(self, db: u32) -> bool {
        self.follow(db) != db
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_databases_change_places_and_others_stay() {
        let swap = Swap::between(0, 3);
        assert_eq!([0, 1, 3].map(|db| swap.follow(db)), [3, 1, 0]);
        assert_eq!([0, 1, 3].map(|db| swap.moves(db)), [true, false, true]);
        assert!(!Swap::between(2, 2).moves(2));
    }
}
