//! What is known of every write command: its keys, what it does to them, and when it may be
//! repeated.
//!
//! The knowledge is a table, `commands.tsv`, of all commands that write in Redis up to 8.6, Valkey
//! up to 9.1, KeyDB and the Tair modules, plus what else travels in a replication stream. It is
//! parsed once. Commands that are not in it are judged with what a server says of them
//! ([`CommandInfo`](info)), and then with the utmost caution.
//!
//! Columns of the table, for which `-` means none:
//!
//! | column | |
//! |---|---|
//! | command | upper case; a container and its subcommand are two words |
//! | keys | where the keys are, see [`keys`] |
//! | effect, replaces, overlap, split, whole | the fields of [`CommandSpec`] |
//! | rewrite | the rule of [`normalise`] |

pub mod info;
mod judge;
pub mod keys;
pub mod normalise;
pub mod script;
mod table;

use std::borrow::Cow;

pub use self::judge::{is_whole_state, overlap_safe};
use self::keys::KeyFinder;
use self::normalise::Rewrite;
pub use self::table::{all, by_name, lookup};

/// One command, or one subcommand of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSpec {
    /// Upper case; `XGROUP CREATE` for a subcommand.
    pub name: Cow<'static, str>,
    /// What kind of change it is.
    pub effect: Effect,
    /// How much of the written key it determines.
    pub replaces: Replaces,
    /// Whether applying it again, from an earlier position on, converges.
    pub overlap: Overlap,
    /// What becomes of it when its keys lie in several slots.
    pub split: Split,
    /// Whether the result depends on keys other than the one written.
    pub reads_other_keys: bool,
    /// Whether it leaves every written key in a state that depends on nothing but its arguments.
    /// `KEEPTTL` makes an exception: see [`is_whole_state`].
    pub whole_state: bool,
    pub(crate) keys: KeyFinder,
    pub(crate) rewrite: Rewrite,
}

/// What kind of change a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Gives the written key a new value.
    Overwrite,
    /// Changes part of the written key.
    Merge,
    /// Takes a whole key from one name or db to another.
    Move,
    /// Deletes whole keys.
    Delete,
    /// Changes deadlines only.
    Expire,
    /// Empties a db or all of them.
    Flush,
    /// Empties slots.
    FlushSlots,
    /// Exchanges two dbs.
    SwapDb,
    /// Changes the function library.
    Function,
    /// Runs or manages scripts.
    Script,
    /// Publishes a message.
    Publish,
    /// Steers the stream or the topology: for whoever reads the stream.
    Control,
    /// Changes nothing that counts as data.
    None,
}

/// How much of the written key a command determines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replaces {
    /// The whole key with its deadline.
    Full,
    /// The whole key: it is gone.
    Delete,
    /// The elements it names, absolutely.
    Elem,
    /// Something, relative to what was there.
    Relative,
    /// The deadline.
    Ttl,
    /// A whole db.
    Db,
    /// Nothing.
    None,
}

/// Whether applying a suffix of the stream again, onto a state that already contains it, converges
/// as far as this command is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overlap {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Its options decide: ask [`overlap_safe`].
    Cond,
}

/// What becomes of a command when its keys lie in several slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// It has one key only.
    Single,
    /// One command per key means the same.
    PerKey,
    /// It needs all of its keys together.
    Group,
    /// It has no key and concerns every partition.
    Broadcast,
    /// It carries no data.
    Drop,
    /// It cannot be taken apart, and its effect says what to do with it.
    Never,
}
