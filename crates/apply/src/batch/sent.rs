//! What is known of each command of a batch: whose it is, and how its reply is judged. Pure.

/// One command between MULTI and EXEC, or one key that it sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Index of the event's record in the batch.
    pub(crate) record: u32,
    /// Which change of a group it is; 0 otherwise.
    pub(crate) change: u32,
    /// How its reply is judged.
    pub(crate) judge: Judge,
    /// Whether the next one is of the same command, so that they have one reply.
    pub(crate) joined: bool,
}

/// How a reply is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// A command of ours: an error means that something is wrong with the destination.
    Ours,
    /// A change of the source: an error concerns its keys.
    Data,
    /// A change that takes the whole value of a key, which may have expired at the destination a moment before. It says
    /// so by an error or by 0, and the key it writes must not be there then.
    Takes,
    /// A change that takes an element of a key, which may have expired likewise. It says so by 0 or by nothing, and the
    /// key it writes lacks the element then.
    Pops,
    /// A change of whole databases: an error means that the destination is not what the source is, all over.
    Wholesale,
    /// A script of the source: what it returns is its own affair, also an error, but not one that ended it.
    Runs,
    /// A step that may have been made before: a group of a stream that exists.
    Repeats,
    /// The removal of a function library, which may not be there: it was set aside when it should have come.
    Deletes,
    /// A change of when a key expires, which the source makes only of one that is there: 0 says that it is not here.
    Renews,
    /// The same of fields of a hash: -2 says that one is not here. A source may name some that are not there either.
    RenewsFields,
    /// A question of ours ahead of that: whether the key is there at all.
    IsThere,
    /// A deadline of ours in place of a later one of ours, or the removal of a part of a value: whatever is said, the
    /// key is as it was, or gone.
    Settles,
}

// === impl Sent ===

impl Sent {
    /// A command of ours.
    pub(crate) const OURS: Self =
        Self { record: u32::MAX, change: 0, judge: Judge::Ours, joined: false };

    /// A change of the source.
    pub(crate) const fn data(record: u32, change: u32) -> Self {
        Self { record, change, judge: Judge::Data, joined: false }
    }

    /// Which change of which record.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.record, self.change)
    }
}
