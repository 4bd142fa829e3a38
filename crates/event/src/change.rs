//! The event and its kinds of body.

use bytes::Bytes;
use wire::slot::Slot;

use crate::control::{Control, FunctionChange};
use crate::fragment::Fragment;
use crate::image::{Image, ImagePart};
use crate::{Position, Seen, Stamp};

/// One record of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its identity.
    pub position: Position,
    /// When it was written.
    pub stamp: Stamp,
    /// Database of the source.
    pub db: u32,
    /// Hash slot of `key`; of the home key for a group; 0 for control events.
    pub slot: Slot,
    /// The key; empty for control events.
    pub key: Bytes,
    /// What happened.
    pub body: Body,
    /// Two-way sets only: what had been applied here before.
    pub seen: Vec<Seen>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// One normalised write.
    Command(Command),
    /// A key's whole value.
    Image(Image),
    /// A part of a large value.
    ImagePart(ImagePart),
    /// Changes that appear together.
    Group(Group),
    /// A piece of a larger event.
    Fragment(Fragment),
    /// Not about one key.
    Control(Control),
}

/// One write, normalised: replaying it in order, later, elsewhere, means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Name and arguments.
    pub args: Vec<Bytes>,
    /// What it does to the keys it writes.
    pub effect: Effect,
    /// Which arguments are keys.
    pub keys: KeyArgs,
}

/// What a command does to its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Value and expiry are replaced whatever they were.
    Overwrite,
    /// The result depends on, or keeps part of, what was there.
    Merge,
    /// The key is gone afterwards.
    Delete,
    /// Only the expiry changes.
    Expire,
}

/// Which arguments of a command are keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyArgs {
    /// The first argument after the name, and it is written. Of a script: none.
    First,
    /// These; indexes into the arguments, the name being 0.
    Listed {
        /// Keys that are written (or deleted).
        written: Vec<u32>,
        /// Keys that are only read.
        read: Vec<u32>,
    },
}

/// Changes that appear together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// In order.
    pub changes: Vec<GroupedChange>,
    /// Every partition whose keys it touches, the home first; empty: only the home.
    pub partitions: Vec<u16>,
    /// Number of this record of the group.
    pub number: u32,
    /// Whether it is the last record.
    pub last: bool,
    /// Whether it was a transaction at the source, not one command over several slots.
    pub transaction: bool,
}

/// One change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupedChange {
    /// Its database.
    pub db: u32,
    /// Slot of its key.
    pub slot: Slot,
    /// Its key; empty where it has none.
    pub key: Bytes,
    /// What happens.
    pub change: Change,
}

/// What a change of a group does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One normalised write.
    Command(Command),
    /// FLUSHALL, or FLUSHDB of the change's database.
    Flush {
        /// All databases.
        all: bool,
    },
    /// SWAPDB.
    SwapDb {
        /// One database.
        first: u32,
        /// The other.
        second: u32,
    },
    /// A change of the function libraries.
    Function(FunctionChange),
}

/// What [`Event::kind`] calls a command.
pub const COMMAND_KIND: &str = "command";

// === impl Event ===

impl Event {
    /// Every name that [`Event::kind`] gives.
    pub const KINDS: [&str; 15] = [
        "command",
        "image",
        "image-part",
        "group",
        "fragment",
        "epoch-begin",
        "snapshot-begin",
        "snapshot-end",
        "heartbeat",
        "barrier",
        "flush",
        "flush-slots",
        "swapdb",
        "function",
        "slot-handover",
    ];

    /// The snapshot made on demand that it belongs to; 0: it is part of the stream. Who does not begin with that snapshot
    /// passes over it: its position says nothing about where the stream has come to.
    #[must_use]
    pub fn snapshot_id(&self) -> u64 {
        match &self.body {
            Body::Image(image) => image.head.snapshot_id,
            Body::ImagePart(part) => part.head.snapshot_id,
            Body::Fragment(fragment) => fragment.snapshot_id,
            Body::Control(Control::SnapshotBegin(begin)) => begin.snapshot_id,
            Body::Control(Control::SnapshotEnd(end)) => end.snapshot_id,
            Body::Control(Control::Function(function)) => function.snapshot_id,
            Body::Command(_) | Body::Group(_) | Body::Control(_) => 0,
        }
    }

    /// A short constant name of the body's kind, as in the Kafka header `kf-kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.body {
            Body::Command(_) => COMMAND_KIND,
            Body::Image(_) => "image",
            Body::ImagePart(_) => "image-part",
            Body::Group(_) => "group",
            Body::Fragment(_) => "fragment",
            Body::Control(control) => control.kind(),
        }
    }
}

// === impl Command ===

impl Command {
    /// Whether it runs a script: it may read and write any key of any database, whatever keys it
    /// names. One that names none has [`KeyArgs::First`], and no written key.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EVAL"))
    }

    /// The keys that it writes.
    pub fn written_keys(&self) -> impl Iterator<Item = &Bytes> {
        let first = matches!(self.keys, KeyArgs::First) && !self.is_script();
        self.select(first, |keys| match keys {
            KeyArgs::First => &[],
            KeyArgs::Listed { written, .. } => written,
        })
    }

    /// The keys that it only reads.
    pub fn read_keys(&self) -> impl Iterator<Item = &Bytes> {
        self.select(false, |keys| match keys {
            KeyArgs::First => &[],
            KeyArgs::Listed { read, .. } => read,
        })
    }

    fn select(
        &self,
        first: bool,
        listed: impl Fn(&KeyArgs) -> &[u32],
    ) -> impl Iterator<Item = &Bytes> {
        let first = if first { self.args.get(1) } else { None };
        let listed = listed(&self.keys).iter().filter_map(|index| {
            usize::try_from(*index).ok().and_then(|index| self.args.get(index))
        });
        first.into_iter().chain(listed)
    }
}
