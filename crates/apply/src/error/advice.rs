//! The class of every error, and what an operator can do about it.

use journal::ReadError;
use redis_io::Code;
use runtime::{Class, Classified};

use super::{BuildError, Error};

// === impl BuildError ===

impl Classified for BuildError {
    fn class(&self) -> Class {
        match self {
            Self::Settings(_) => Class::Operator,
            Self::Start(error) => error.class(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Settings(_) => "correct the settings and start again".to_owned(),
            Self::Start(error) => error.advice(),
        }
    }
}

// === impl Error ===

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Connection(error) => error.class(),
            Self::Refused { refusal, .. } => match refusal.code {
                // An ACL is often corrected while everything runs, so it is waited for.
                Code::NoPermission | Code::NoAuth => Class::Retry,
                _ => refusal.class(),
            },
            Self::Unfit { .. }
            | Self::KeyDenied { .. }
            | Self::AwaitsSnapshot { .. }
            | Self::AwaitsShards { .. }
            | Self::ResyncNeeded { .. }
            | Self::LeftBehind { .. }
            | Self::Crossed { .. }
            | Self::Journal(ReadError::OutOfRetention { .. }) => Class::Retry,
            Self::Journal(error) => error.class(),
            Self::Letters(error) => error.class(),
            Self::Letter(error) => error.class(),
            Self::Fenced { .. }
            | Self::Contradiction { .. }
            | Self::Record { .. }
            | Self::Lane { .. } => Class::Fatal,
            Self::TooOld { .. }
            | Self::Existing { .. }
            | Self::NoDatabase { .. }
            | Self::LacksRights { .. }
            | Self::Untold { .. }
            | Self::NoTransactions { .. }
            | Self::Foreign { .. }
            | Self::CheckpointGone { .. }
            | Self::NoSnapshot { .. }
            | Self::SharedSlots { .. }
            | Self::NoReplay { .. }
            | Self::HasBegun { .. }
            | Self::ReplayShared { .. }
            | Self::PlaceGone { .. }
            | Self::Unsupported { .. }
            | Self::TooLarge { .. }
            | Self::KeyTooLong { .. }
            | Self::CannotHold { .. }
            | Self::CannotHoldLibrary { .. }
            | Self::Inexact { .. }
            | Self::Neighbours { .. }
            | Self::NotAllowed { .. }
            | Self::RefusedAgain { .. }
            | Self::Unanswered
            | Self::QuarantineFull { .. }
            | Self::LeftOutFull { .. }
            | Self::Torn { .. }
            | Self::Marks { .. }
            | Self::GaveUp { .. } => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Connection(error) => error.advice(),
            Self::Refused { refusal, endpoint } => refusal.advice(endpoint),
            Self::KeyDenied { endpoint, patterns, .. } => format!(
                "Allow it: ACL SETUSER {} {patterns} (or other patterns that match), or leave such keys out by a \
                 filter (filter.exclude_keys) and start again.",
                redis_io::refusal::user_of(endpoint)
            ),
            Self::LacksRights { advice, .. } | Self::Untold { advice, .. } => advice.clone(),
            Self::Neighbours { endpoint, hidden: true, .. } => format!(
                "Let the account read the other streams' checkpoints, which say in which databases they live: ACL SETUSER \
                 {} ~keyferry:* (from 7.0 on %R~keyferry:* is enough). Where they write to the same ones: {}",
                redis_io::refusal::user_of(endpoint),
                self.plain_advice()
            ),
            Self::Journal(error) => error.advice(),
            Self::Letters(error) => error.advice(),
            Self::Letter(error) => error.advice(),
            Self::GaveUp { last, .. } => last.advice(),
            other => other.plain_advice().to_owned(),
        }
    }
}

impl Error {
    /// Whether the destination does not let us in, or not do what we have to. A lane that was at work before waits
    /// for that to be put right.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_denied(),
            Self::Refused { refusal, .. } => refusal.code.is_denial(),
            Self::Untold { .. } | Self::KeyDenied { .. } => true,
            Self::GaveUp { last, .. } => last.is_denied(),
            _ => false,
        }
    }

    /// An account that may not ask is what keeps an endpoint from telling this.
    pub(crate) fn untold(endpoint: String, what: String) -> Self {
        let user = redis_io::refusal::user_of(&endpoint);
        let advice = format!("Allow it to be asked: ACL SETUSER {user} +info.");
        Self::Untold { endpoint, what, advice }
    }

    /// What to do about an error that says nothing about it by itself.
    fn plain_advice(&self) -> &'static str {
        match self {
            Self::Unfit { .. } => "Name the primary, or wait until the failover is over.",
            Self::TooOld { .. } => {
                "Upgrade the destination: servers before 5.0 cannot restore a value with its expiry \
                 in one step, and know no streams."
            }
            Self::NoDatabase { .. } => {
                "Map to a database that exists there, or give the destination more (`databases` in its \
                 configuration)."
            }
            Self::NoTransactions { .. } => {
                "Name the server itself: what stands before it (a proxy) does not pass MULTI on, and without \
                 transactions nothing is written exactly once."
            }
            Self::Foreign { .. } => {
                "Another keyferry may write there under the same stream name: stop one of the two, or give it \
                 another --stream. Otherwise, if the data there may be replaced, start with --existing sweep \
                 (or overwrite)."
            }
            Self::CheckpointGone { .. } => {
                "It was flushed by somebody, restarted without its data, or taken over by another keyferry. Find \
                 out which; then start again with --existing sweep, and it is filled anew."
            }
            Self::Fenced { .. } => "Run one apply process per stream and destination.",
            Self::Existing { .. }
            | Self::NoSnapshot { .. }
            | Self::NoReplay { .. }
            | Self::HasBegun { .. }
            | Self::ReplayShared { .. }
            | Self::PlaceGone { .. }
            | Self::AwaitsSnapshot { .. }
            | Self::AwaitsShards { .. }
            | Self::SharedSlots { .. }
            | Self::ResyncNeeded { .. }
            | Self::LeftBehind { .. } => self.advice_about_the_beginning(),
            Self::Unsupported { .. }
            | Self::TooLarge { .. }
            | Self::KeyTooLong { .. }
            | Self::CannotHold { .. }
            | Self::CannotHoldLibrary { .. }
            | Self::NotAllowed { .. }
            | Self::RefusedAgain { .. }
            | Self::QuarantineFull { .. }
            | Self::LeftOutFull { .. }
            | Self::Inexact { .. }
            | Self::Neighbours { .. } => self.advice_about_a_change(),
            Self::Unanswered => {
                "Find out why the destination does not answer; then start again: nothing is lost."
            }
            Self::Torn { .. } => {
                "Check the user's ACL for the keys keyferry:*; then compare source and destination."
            }
            Self::Record { .. } => "Use the version that wrote the journal, or a later one.",
            Self::Contradiction { .. } | Self::Lane { .. } => {
                "This is a defect of keyferry: please report it."
            }
            Self::Marks { .. } => "Check that the directory exists, is writable and has room.",
            Self::Connection(_)
            | Self::Refused { .. }
            | Self::Crossed { .. }
            | Self::KeyDenied { .. }
            | Self::LacksRights { .. }
            | Self::Untold { .. }
            | Self::Journal(_)
            | Self::Letters(_)
            | Self::Letter(_)
            | Self::GaveUp { .. } => "",
        }
    }

    /// What to do where a stream cannot be applied from the place where it would be.
    fn advice_about_the_beginning(&self) -> &'static str {
        match self {
            Self::Existing { .. } => {
                "Empty the destination, or say what to do with its data: --existing overwrite keeps \
                 other keys, --existing sweep removes what the source does not have."
            }
            Self::NoSnapshot { .. } => {
                "The journal begins in the middle of the source's history: start with a new \
                 --data-dir, which makes a new snapshot, and --existing sweep."
            }
            Self::AwaitsSnapshot { .. } => {
                "Nothing, where the capture of this stream runs: it is asked for a snapshot, every ten seconds. \
                 Otherwise start it."
            }
            Self::AwaitsShards { .. } => {
                "Start a capture for each of the cluster's primaries, each with a number of its own (--shard)."
            }
            Self::SharedSlots { .. } => {
                "Slots have moved between shards, or one primary was captured under two numbers: begin a stream of \
                 another name (--stream) with a capture of each primary."
            }
            Self::NoReplay { .. } => {
                "Name one of these places, or one between them (offset:EPOCH:OFFSET, or time:2026-01-31T12:00:00Z); or have \
                 a snapshot made now: keyferry resnapshot."
            }
            Self::HasBegun { .. } => {
                "`keyferry apply` goes on from it. To begin anew, over the data that is there, say --existing sweep: \
                 all keys that the replay does not bring are removed. With overwrite, changes would be applied to \
                 what later ones have left."
            }
            Self::ReplayShared { .. } => {
                "Stop them for as long as the replay takes and begin it anew, with --existing sweep; or give a replay \
                 to another destination a --destination-name of its own."
            }
            Self::PlaceGone { .. } => {
                "Start with --resnapshot heal: it is filled anew from a newer snapshot, which is asked for where the \
                 journal holds none, and keys that the source does not have are removed. A replay has to begin \
                 anew, at a snapshot that the journal still holds. A longer journal.retention_age keeps what is \
                 needed after an outage."
            }
            Self::ResyncNeeded { .. } | Self::LeftBehind { .. } => {
                "Nothing, where the capture of this stream runs: it is asked for a new snapshot, and what the \
                 source has lost goes with it."
            }
            _ => "",
        }
    }

    /// What to do about a change that cannot be applied.
    fn advice_about_a_change(&self) -> &'static str {
        match self {
            Self::Unsupported { .. } => {
                "This version does not carry it: capture a source that is no cluster."
            }
            Self::TooLarge { .. } => "Split it at the source; then copy everything anew.",
            Self::KeyTooLong { .. } => {
                "Raise proto-max-bulk-len at the destination (CONFIG SET), or leave the key out by a filter; then \
                 start again: it goes on with this change."
            }
            Self::CannotHold { .. } => {
                "Have it set aside (--unsupported quarantine), leave the key out by a filter, or use a newer \
                 destination; then start again: it goes on with this change."
            }
            Self::CannotHoldLibrary { .. } => {
                "Have it set aside or left out (--unsupported quarantine, or drop: no filter concerns functions), or \
                 use a destination that knows functions (7.0 and later); then start again: it goes on with this \
                 change."
            }
            Self::NotAllowed { .. } | Self::RefusedAgain { .. } => {
                "Allow the command to the account, undo a rename-command of the destination, or give it \
                 the databases that it lacks; then start again: it goes on with this change."
            }
            Self::Inexact { .. } => {
                "Repeat it at the destination by hand where it is wanted, then start with \
                 --destination-inexact skip, which leaves such commands out (a script then goes to \
                 quarantine); or give the stream a destination of its own."
            }
            Self::Neighbours { .. } => {
                "Everything that the snapshot names is there. Start with --existing overwrite, which leaves the \
                 others from now on, or with --existing sweep, which removes them, whosever they are. A stream that \
                 is no more is forgotten with its keys keyferry:{*}:<stream>*; one that is just beginning has its \
                 checkpoint a moment later."
            }
            Self::QuarantineFull { .. } => {
                "Look at what they have in common (keyferry quarantine list): a module or a \
                 permission may be missing at the destination."
            }
            Self::LeftOutFull { .. } => {
                "Leave keys of that kind out by a filter (filter.exclude_types, filter.exclude_keys), or use a newer \
                 destination; then start again: it goes on with this change."
            }
            _ => "",
        }
    }
}
