//! Class and advice of every error of capture, in one place.

use runtime::policy::{Class, Classified};

use super::{
    BuildError, Error, IntakeError, OutletError, ResumeError, SessionError, SlotsError,
    SnapshotError,
};
use crate::spool::SpoolError;

const DEFECT: &str = "this is a defect of keyferry: please report it";
const NEW_STREAM: &str = "begin a stream of another name (--stream) with a capture of each primary: it is filled by new \
                          snapshots, and destinations that follow it are made equal by them (destination.existing sweep)";
const OTHER_SOURCE: &str = "choose another source, or change this one as said";

// === impl BuildError ===

impl Classified for BuildError {
    fn class(&self) -> Class {
        match self {
            Self::Settings(_)
            | Self::Unfit { .. }
            | Self::OtherSource { .. }
            | Self::OtherSlots { .. }
            | Self::SharedSlots { .. }
            | Self::OtherCluster { .. }
            | Self::SmallRecords { .. }
            | Self::Spool(_) => Class::Operator,
            Self::Source(error) => error.class(),
            Self::GaveUp { .. } => Class::Operator,
            Self::Resume(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::Appender(error) => error.class(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Settings(_) => "correct the settings named".to_owned(),
            Self::Unfit { .. } => OTHER_SOURCE.to_owned(),
            Self::OtherSource { before, address, .. } => format!(
                "name {before} again, or give this source a data directory or stream of its own; if {address} is to take \
                 its place, start once with --accept-new-source: everything is copied from it, and what it does not have \
                 goes at the destination"
            ),
            Self::OtherSlots { .. } => NEW_STREAM.to_owned(),
            Self::SharedSlots { other, .. } => format!(
                "give each primary of the cluster a number of its own, with the same one at every start; where shard {} was \
                 recorded by mistake, or slots have moved, {NEW_STREAM}",
                other.0
            ),
            Self::OtherCluster { .. } => format!(
                "name a primary of the cluster that the stream is of, or give each cluster a stream of its own (--stream); \
                 where every node of the cluster is a new one since, {NEW_STREAM}"
            ),
            Self::SmallRecords { .. } => {
                "allow the journal larger records (max.message.bytes of a Kafka topic)".to_owned()
            }
            Self::Spool(error) => error.advice(),
            Self::Source(error) => error.advice(),
            Self::GaveUp { last, .. } => last.advice(),
            Self::Resume(error) => error.advice(),
            Self::Journal(error) => error.advice(),
            Self::Appender(error) => error.advice(),
        }
    }
}

// === impl Error ===

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Intake(error) => error.class(),
            Self::Slots(SlotsError::Moved { .. } | SlotsError::Unfit { .. }) => Class::Operator,
            Self::Slots(SlotsError::Untold { last, .. }) => last.class(),
            Self::Session(error) => error.class(),
            Self::Task(_) => Class::Fatal,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Intake(error) => error.advice(),
            Self::Slots(SlotsError::Moved { .. }) => NEW_STREAM.to_owned(),
            Self::Slots(SlotsError::Unfit { .. }) => OTHER_SOURCE.to_owned(),
            Self::Slots(SlotsError::Untold { last, .. }) => last.advice(),
            Self::Session(error) => error.advice(),
            Self::Task(_) => DEFECT.to_owned(),
        }
    }
}

// === impl IntakeError ===

impl Classified for IntakeError {
    fn class(&self) -> Class {
        match self {
            Self::Link(error) => error.class(),
            Self::Transfer { source, .. } => source.class(),
            Self::Silent { .. }
            | Self::Diverged { .. }
            | Self::Ordered(_)
            | Self::Changed { .. } => Class::Retry,
            // The link is given up until there is room: what is missing is asked for again then.
            Self::Spool(error) if error.is_disk_full() => Class::Retry,
            Self::Denied { .. }
            | Self::Moved { .. }
            | Self::Unasked { .. }
            | Self::Unfit { .. }
            | Self::Spool(_) => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Link(error) => error.advice(),
            Self::Denied { .. } | Self::Unfit { .. } => OTHER_SOURCE.to_owned(),
            Self::Moved { .. } => NEW_STREAM.to_owned(),
            Self::Transfer { source, .. } => source.advice(),
            Self::Silent { .. } | Self::Changed { .. } => "the link is set up again".to_owned(),
            Self::Diverged { .. } | Self::Ordered(_) => {
                "everything is read again, in a new epoch".to_owned()
            }
            Self::Unasked { .. } => {
                "check that the endpoint is a Redis or Valkey server".to_owned()
            }
            Self::Spool(error) => error.advice(),
        }
    }
}

// === impl SpoolError ===

impl SpoolError {
    fn advice(&self) -> String {
        match self {
            Self::Full { .. } => {
                "find out why the journal does not take records (a full disk, a broker that is \
                 down), or allow the spool more, where a transaction of the source is larger; then \
                 start again: the stream goes on where the journal ends"
            }
            Self::InUse { .. } => {
                "give each capture a spool directory of its own, and do not start one twice"
            }
            Self::Io { .. } => "check that the directory exists, is writable and has room",
        }
        .to_owned()
    }
}

// === impl SessionError ===

impl Classified for SessionError {
    fn class(&self) -> Class {
        match self {
            Self::Outlet(error) | Self::Snapshot(SnapshotError::Outlet(error)) => error.class(),
            Self::Command { source, .. } => source.class(),
            Self::Snapshot(_) | Self::SnapshotCutShort | Self::Stream { .. } => Class::Operator,
            Self::ForeignSlot(_) => Class::Operator,
            Self::Spool(_) => Class::Operator,
            Self::OutOfPlace { .. } => Class::Fatal,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Outlet(error) | Self::Snapshot(SnapshotError::Outlet(error)) => error.advice(),
            Self::Command { source, .. } => source.advice(),
            Self::Snapshot(SnapshotError::NotCarried { .. }) => {
                "start with --unsupported quarantine or drop to go without it, or remove it at the source".to_owned()
            }
            Self::ForeignSlot(foreign) | Self::Snapshot(SnapshotError::ForeignSlot(foreign)) => {
                format!(
                    "where slot {} has long moved, the key was left behind: remove it there (CLUSTER SETSLOT {} \
                     IMPORTING owner, ASKING, DEL, CLUSTER SETSLOT {} STABLE) and start again; else {NEW_STREAM}",
                    foreign.slot, foreign.slot, foreign.slot
                )
            }
            Self::Snapshot(_) | Self::Stream { .. } => {
                "the source sent what this version does not understand: \
                 please report it with the source's version"
                    .to_owned()
            }
            Self::SnapshotCutShort => {
                "start again: the source is asked for a new snapshot".to_owned()
            }
            Self::Spool(error) => error.advice(),
            Self::OutOfPlace { .. } => DEFECT.to_owned(),
        }
    }
}

// === impl ResumeError ===

impl Classified for ResumeError {
    fn class(&self) -> Class {
        match self {
            Self::Journal(error) => error.class(),
            Self::Unreadable { .. } => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Journal(error) => error.advice(),
            Self::Unreadable { .. } => {
                "this journal was written by a newer version or by something else: \
                 use the version that wrote it, or another directory or stream name"
                    .to_owned()
            }
        }
    }
}

// === impl OutletError ===

impl Classified for OutletError {
    fn class(&self) -> Class {
        match self {
            Self::Journal(error) => error.class(),
            Self::Encode { .. } => Class::Fatal,
            Self::Aside(_) => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Journal(error) => error.advice(),
            Self::Encode { .. } => DEFECT.to_owned(),
            Self::Aside(error) => error.advice(),
        }
    }
}
