//! Options of a destination.

use super::{Kind, OptionSpec, option, short};

pub(super) const RESNAPSHOT: OptionSpec = short(
    option(
        "destination.resnapshot",
        Kind::Word(&["never", "new", "heal"]),
        Some("new"),
        "Of keyferry apply: when to have capture make a snapshot, where the journal holds none that would do. new: for a destination that has nothing of the stream yet. heal: also for one whose place has left the journal, which is then filled anew, and what the source does not have is removed; otherwise it stops there and says so. A run heals always.",
    ),
    "resnapshot",
);
