//! What of a stream a destination takes: by database, key, type and command. Pure data.
//!
//! A change passes when every rule lets it through. An empty list of what to include includes everything; what is
//! excluded wins. A command whose keys do not all pass is for the planner to judge.

mod glob;
mod kind;

use bytes::Bytes;

pub use self::glob::Glob;
pub use self::kind::ValueKind;

/// The filters of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// By database of the source.
    pub dbs: Rule<u32>,
    /// By key.
    pub keys: Rule<KeyPattern>,
    /// By type of the value. Commands that serve every type (DEL, EXPIRE, RENAME) always pass.
    pub kinds: Rule<ValueKind>,
    /// By name of the command, of any case. Images are no commands and always pass.
    pub commands: Rule<CommandName>,
}

/// What to take and what to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<T> {
    /// Only these; empty: all.
    pub include: Vec<T>,
    /// But not these.
    pub exclude: Vec<T>,
}

/// Which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPattern {
    /// Those that begin with these bytes.
    Prefix(Bytes),
    /// Those that fit a pattern.
    Glob(Glob),
}

/// The name of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandName(pub String);

// === impl Filters ===

impl Filters {
    /// Whether keys are told apart at all, so that a whole database is not simply taken or left.
    #[must_use]
    pub fn split_databases(&self) -> bool {
        !(self.keys.is_empty() && self.kinds.is_empty() && self.commands.is_empty())
    }

    /// Whether nothing that a key becomes is left out, for its type or the command's name, while others are taken.
    #[must_use]
    pub fn takes_every_value(&self) -> bool {
        self.kinds.is_empty() && self.commands.is_empty()
    }

    /// Whether a database is taken.
    #[must_use]
    pub fn db(&self, db: u32) -> bool {
        self.dbs.passes(|one| *one == db)
    }

    /// Whether a key is taken.
    #[must_use]
    pub fn key(&self, key: &[u8]) -> bool {
        self.keys.is_empty() || self.keys.passes(|pattern| pattern.matches(key))
    }

    /// Whether values of this type are taken.
    #[must_use]
    pub fn kind(&self, kind: ValueKind) -> bool {
        self.kinds.passes(|one| *one == kind)
    }

    /// Whether a command of this name is taken, whatever type it serves.
    #[must_use]
    pub fn name(&self, name: &[u8]) -> bool {
        self.commands.is_empty()
            || self.commands.passes(|one| one.0.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a command of this name is taken, for its name and for the type it serves.
    #[must_use]
    pub fn command(&self, name: &[u8]) -> bool {
        self.name(name)
            && (self.kinds.is_empty()
                || ValueKind::of_command(name).is_none_or(|kind| self.kind(kind)))
    }
}

// === impl Rule ===

impl<T> Default for Rule<T> {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: Vec::new() }
    }
}

impl<T> Rule<T> {
    /// Whether it lets everything through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    fn passes(&self, fits: impl Fn(&T) -> bool) -> bool {
        (self.include.is_empty() || self.include.iter().any(&fits))
            && !self.exclude.iter().any(fits)
    }
}

// === impl KeyPattern ===

impl KeyPattern {
    fn matches(&self, key: &[u8]) -> bool {
        match self {
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Glob(glob) => glob.matches(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_filters_take_everything() {
        let filters = Filters::default();
        assert!(filters.db(7) && filters.key(b"x") && filters.command(b"SET"));
        assert!(filters.kind(ValueKind::Module) && !filters.split_databases());
    }

    #[test]
    fn exclusion_wins_over_inclusion() {
        let filters = Filters {
            keys: Rule {
                include: vec![KeyPattern::Prefix(Bytes::from_static(b"user:"))],
                exclude: vec![KeyPattern::Glob(Glob::new("*:tmp"))],
            },
            ..Filters::default()
        };
        assert!(filters.key(b"user:1") && !filters.key(b"user:1:tmp") && !filters.key(b"shop:1"));
        assert!(filters.split_databases());
    }

    #[test]
    fn a_filter_of_types_lets_commands_for_every_type_through() {
        let filters = Filters {
            kinds: Rule { include: Vec::new(), exclude: vec![ValueKind::Hash] },
            ..Filters::default()
        };
        assert!(!filters.command(b"hset") && filters.command(b"DEL") && filters.command(b"SADD"));
    }

    #[test]
    fn commands_are_named_in_any_case() {
        let filters = Filters {
            commands: Rule { include: Vec::new(), exclude: vec![CommandName("Expire".into())] },
            ..Filters::default()
        };
        assert!(!filters.command(b"EXPIRE") && filters.command(b"PEXPIREAT"));
    }

    #[test]
    fn databases_are_chosen_one_by_one() {
        let dbs = Rule { include: vec![1, 2], exclude: vec![2] };
        let filters = Filters { dbs, ..Filters::default() };
        assert_eq!([0, 1, 2].map(|db| filters.db(db)), [false, true, false]);
    }
}
