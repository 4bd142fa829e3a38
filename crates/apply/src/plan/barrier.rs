//! Events that a lane comes to a stop before: what is to be done once everything before them is. Pure.

use bytes::Bytes;
use event::control::Control;
use event::{Body, Change, Event};

use super::script;
use crate::scope::Line;

/// An event that needs a look at the destination.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// The track that it stands in.
    pub(crate) track: usize,
    /// The event.
    pub(crate) event: Event,
    /// Its encoding.
    pub(crate) record: Bytes,
    /// What is to be done.
    pub(crate) need: Need,
    /// The partitions that it concerns and other lanes have.
    pub(crate) guests: Vec<u16>,
}

/// What a barrier needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The end of a snapshot: what it did not name goes.
    Sweep,
    /// Databases are emptied or exchanged, so nothing else may live there.
    Alone,
    /// The beginning of a snapshot that leaves nothing else behind: libraries of functions go.
    Functions,
    /// Keys of some slots go.
    Slots,
    /// A script, in whose way something is.
    Script,
    /// Nothing but that it is executed by itself: it is of several tracks.
    Together,
}

// === impl Barrier ===

impl Barrier {
    /// The line that it stands in.
    pub(crate) fn line(&self) -> Line {
        Line { track: self.track, shard: self.event.position.shard }
    }

    /// What it does, for messages.
    pub(crate) fn command(&self) -> &'static str {
        match &self.event.body {
            _ if self.need == Need::Script => script::EVAL,
            Body::Control(Control::Flush { all: true } | Control::FlushSlots { all: true, .. }) => {
                "FLUSHALL"
            }
            Body::Control(
                Control::Flush { all: false } | Control::FlushSlots { all: false, .. },
            ) => "FLUSHDB",
            Body::Control(Control::SwapDb { .. }) => "SWAPDB",
            Body::Group(_) => "a transaction with a flush or an exchange of databases",
            _ => self.event.kind(),
        }
    }

    /// Whether it exchanges databases.
    pub(crate) fn exchanges(&self) -> bool {
        self.any(|control| matches!(control, Control::SwapDb { .. }))
    }

    /// Whether it names databases one by one.
    pub(crate) fn names_single_databases(&self) -> bool {
        self.any(|control| {
            matches!(
                control,
                Control::SwapDb { .. }
                    | Control::Flush { all: false }
                    | Control::FlushSlots { all: false, .. }
            )
        })
    }

    fn any(&self, which: impl Fn(&Control) -> bool) -> bool {
        match &self.event.body {
            Body::Control(control) => which(control),
            Body::Group(group) => group.changes.iter().any(|change| match change.change {
                Change::Flush { all } => which(&Control::Flush { all }),
                Change::SwapDb { first, second } => which(&Control::SwapDb { first, second }),
                Change::Command(_) | Change::Function(_) => false,
            }),
            _ => false,
        }
    }
}
