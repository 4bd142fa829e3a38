//! What a command does with each of its keys. Pure.
//!
//! The event says which arguments are keys; the table of commands also knows which of them lend their value to another
//! key, and which are meant in another database. Where it does not know the command, every key counts as both.

use bytes::Bytes;
use event::{Command, Effect};
use wire::command::keys::{Access, keys};
use wire::command::{CommandSpec, Replaces, lookup};

use crate::batch::Judge;

/// The keys of a command and what becomes of them.
#[derive(Debug)]
pub(crate) struct Roles<'a> {
    /// Each key.
    pub(crate) keys: Vec<Role<'a>>,
    /// What the table knows of the command.
    pub(crate) spec: Option<&'static CommandSpec>,
    /// Whether keys that are written and not taken from are replaced as a whole.
    pub(crate) overwrites: bool,
}

/// One key of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role<'a> {
    /// The key.
    pub(crate) key: &'a Bytes,
    /// Its database at the source.
    pub(crate) db: u32,
    /// What is done with it.
    pub(crate) access: Access,
}

// === impl Roles ===

impl<'a> Roles<'a> {
    /// The keys of a command of database `db`.
    pub(crate) fn of(command: &'a Command, db: u32) -> Self {
        let spec = lookup(&command.args);
        let known = spec.and_then(|spec| keys(spec, &command.args).ok().map(|keys| (spec, keys)));
        let Some((spec, keys)) = known else { return Self::guessed(command, db) };
        let other_db = keys.other_db().unwrap_or(db);
        let roles = keys.iter().filter_map(|at| {
            let key = command.args.get(at.index)?;
            let db = if at.in_other_db { other_db } else { db };
            Some(Role { key, db, access: at.access })
        });
        let overwrites = matches!(spec.replaces, Replaces::Full | Replaces::Delete);
        Self { keys: roles.collect(), spec: Some(spec), overwrites }
    }

    /// A command that the table does not know: its written keys lend as well.
    fn guessed(command: &'a Command, db: u32) -> Self {
        let single = command.written_keys().count() == 1;
        let overwrites = single && matches!(command.effect, Effect::Overwrite | Effect::Delete);
        let access = if overwrites { Access::Write } else { Access::Take };
        let written = command.written_keys().map(|key| Role { key, db, access });
        let read = command.read_keys().map(|key| Role { key, db, access: Access::Read });
        Self { keys: written.chain(read).collect(), spec: None, overwrites }
    }

    /// The keys that are written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &Role<'a>> {
        self.keys.iter().filter(|role| role.access.writes())
    }

    /// Whether every written key is left in a state that depends on the arguments alone.
    pub(crate) fn whole_state(&self) -> bool {
        self.overwrites && self.keys.iter().all(|role| role.access == Access::Write)
    }

    /// How the reply to the command is judged.
    pub(crate) fn judge(&self) -> Judge {
        let takes = self.keys.iter().any(|role| role.access == Access::Take);
        match self.spec.map(|spec| &*spec.name) {
            Some("COPY" | "MOVE" | "RENAME" | "RENAMENX") => Judge::Takes,
            Some(_) if takes => Judge::Pops,
            _ => Judge::Data,
        }
    }

    /// Whether a written key gets its value from nothing but the arguments and other keys.
    pub(crate) fn replaces(&self, role: &Role<'_>) -> bool {
        self.overwrites && role.access == Access::Write
    }
}

// === impl Role ===

impl Role<'_> {
    /// Whether its value goes to another key.
    pub(crate) fn lends(&self) -> bool {
        self.access.reads()
    }
}

#[cfg(test)]
mod tests {
    use event::KeyArgs;

    use super::*;

    fn command(words: &str, effect: Effect, written: &[u32], read: &[u32]) -> Command {
        let args = words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let keys = KeyArgs::Listed { written: written.to_vec(), read: read.to_vec() };
        Command { args, effect, keys }
    }

    fn shown(command: &Command) -> Vec<(String, u32, Access)> {
        let roles = Roles::of(command, 0);
        let show = |role: &Role<'_>| {
            (String::from_utf8_lossy(role.key).into_owned(), role.db, role.access)
        };
        roles.keys.iter().map(show).collect()
    }

    #[test]
    fn a_renamed_key_lends_its_value() {
        let command = command("RENAME a b", Effect::Merge, &[1, 2], &[]);
        let expected = [("a".into(), 0, Access::Take), ("b".into(), 0, Access::Write)];
        assert_eq!(shown(&command), expected);
        let roles = Roles::of(&command, 0);
        assert!(!roles.whole_state() && roles.replaces(&roles.keys[1]));
    }

    #[test]
    fn the_copy_of_a_key_may_be_in_another_database() {
        let command = command("COPY a b DB 3 REPLACE", Effect::Overwrite, &[2], &[1]);
        let mut roles = shown(&command);
        roles.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(roles, [("a".into(), 0, Access::Read), ("b".into(), 3, Access::Write)]);
    }

    #[test]
    fn what_is_not_known_is_taken_for_the_worst() {
        let strange = command("MYMOD.SHIFT a b", Effect::Merge, &[1, 2], &[]);
        assert!(Roles::of(&strange, 0).keys.iter().all(|role| role.access == Access::Take));
        let strange = command("MYMOD.PUT a v", Effect::Overwrite, &[1], &[]);
        assert!(Roles::of(&strange, 0).whole_state());
    }

    #[test]
    fn sets_of_many_keys_are_whole_states() {
        let several = command("MSET a 1 b 2", Effect::Overwrite, &[1, 3], &[]);
        assert!(Roles::of(&several, 0).whole_state());
        let stored = command("SUNIONSTORE d a b", Effect::Overwrite, &[1], &[2, 3]);
        let roles = Roles::of(&stored, 0);
        assert!(!roles.whole_state() && roles.written().count() == 1);
    }
}
