//! Options of the source that say whose data it is.

use super::{Kind, OptionSpec, option, short};

pub(super) const ACCEPT_NEW: OptionSpec = short(
    option(
        "source.accept_new",
        Kind::Flag,
        Some("false"),
        "Copy everything from a source at another address that does not go on with the history in the journal, in place of the one before, and remove at the destination what it does not have. Without it such a source is refused. For one start: left on, it guards against nothing.",
    ),
    "accept-new-source",
);

pub(super) const SHARD: OptionSpec = short(
    option(
        "source.shard",
        Kind::Text,
        None,
        "For `keyferry capture` of a cluster: the number of this primary among the shards of the stream, 0 to 16383. Each primary is captured by a process of its own, with a number of its own and the same one at every start. Not set: the source is no node of a cluster.",
    ),
    "shard",
);
