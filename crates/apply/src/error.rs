//! What can go wrong with a destination, each error classified once, with a sentence for its operator.

mod advice;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use event::codec::DecodeError;
use event::{Position, Shard};
use journal::{AppendError, OpenError, ReadError};
use redis_io::Refusal;
use redis_io::facts::Version;
use runtime::ByteSize;

use crate::config::Problem;

/// Why an apply service could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The settings cannot be.
    #[error("the settings of the destination are wrong: {}", listed(.0))]
    Settings(Vec<Problem>),
    /// The destination or the journal cannot be used as they are.
    #[error(transparent)]
    Start(#[from] Error),
}

/// Why an apply service stopped, or has to wait.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection was not made, or was lost, or a command of ours was refused.
    #[error(transparent)]
    Connection(#[from] redis_io::Error),
    /// The destination refuses the commands of a batch; none of them was executed.
    #[error("{endpoint} refuses writes: {refusal}")]
    Refused {
        /// Where.
        endpoint: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The account's key patterns do not let it touch the keys of a change; nothing of its batch was executed.
    #[error("{endpoint} refuses {what}, which the account's key patterns leave out: {said}")]
    KeyDenied {
        /// Where.
        endpoint: String,
        /// Which command, and its first keys with their databases.
        what: String,
        /// Patterns that would match them, as `ACL SETUSER` takes them.
        patterns: String,
        /// What it said.
        said: String,
    },
    /// The endpoint is not one that can be written.
    #[error("{endpoint} {what}")]
    Unfit {
        /// Where.
        endpoint: String,
        /// What it is instead.
        what: &'static str,
    },
    /// The server lacks what writing exactly once needs.
    #[error("{endpoint} is a Redis {version}; a destination has to be 5.0 or later")]
    TooOld {
        /// Where.
        endpoint: String,
        /// What it is.
        version: Version,
    },
    /// The destination holds data and nothing says what to do about it.
    #[error("database {db} of {endpoint} already holds {keys} keys")]
    Existing {
        /// Where.
        endpoint: String,
        /// Which database.
        db: u32,
        /// How many, without ours.
        keys: u64,
    },
    /// The destination does not tell what has to be known before anything is written there.
    #[error("{endpoint} does not tell {what}")]
    Untold {
        /// Where.
        endpoint: String,
        /// What is not known.
        what: String,
        /// How it can be known.
        advice: String,
    },
    /// The account may not do what nothing goes without.
    #[error("the account of {endpoint} may not: {rights}")]
    LacksRights {
        /// Where.
        endpoint: String,
        /// Which rights are missing.
        rights: String,
        /// How they are given.
        advice: String,
    },
    /// A command in `MULTI` was executed instead of queued.
    #[error("{endpoint} makes no transactions: {command} behind MULTI was not queued")]
    NoTransactions {
        /// Where.
        endpoint: String,
        /// Which command.
        command: &'static str,
    },
    /// The settings send a database to one that the destination does not have.
    #[error(
        "the mapping {mapping} leads to database {db}, and {endpoint} has {databases} databases: 0 to {}",
        databases.saturating_sub(1)
    )]
    NoDatabase {
        /// Where.
        endpoint: String,
        /// The mapping, as it is written in the settings.
        mapping: String,
        /// Which database is missing.
        db: u32,
        /// How many there are.
        databases: u32,
    },
    /// The checkpoint there does not fit the journal.
    #[error("the checkpoint at {endpoint} is of another history: {what}")]
    Foreign {
        /// Where.
        endpoint: String,
        /// What differs.
        what: String,
    },
    /// The checkpoint that was there a moment ago is gone.
    #[error("the checkpoint at {endpoint} is gone: somebody has removed data there")]
    CheckpointGone {
        /// Where.
        endpoint: String,
    },
    /// A later worker has taken over.
    #[error("another process has taken over writing stream {stream} to {endpoint}")]
    Fenced {
        /// Where.
        endpoint: String,
        /// Which stream.
        stream: String,
    },
    /// The journal has no snapshot to begin with.
    #[error("stream {stream} holds no snapshot of shard {} to begin with", shard.0)]
    NoSnapshot {
        /// Which stream.
        stream: String,
        /// Whose.
        shard: Shard,
    },
    /// The same, and one is waited for.
    #[error("stream {stream} holds no snapshot to begin with: waiting for one")]
    AwaitsSnapshot {
        /// Which stream.
        stream: String,
    },
    /// Slots of the source are in no shard that was captured.
    #[error(
        "stream {stream} holds nothing of the slots {slots}: waiting for the capture of the shards of the source that \
         have them"
    )]
    AwaitsShards {
        /// Which stream.
        stream: String,
        /// The slots, as ranges.
        slots: String,
    },
    /// Two shards have the same slots.
    #[error(
        "shards {} and {} of stream {stream} both have the slots {slots}: nothing tells in which order changes of one key \
         come from two sources",
        shards.0.0, shards.1.0
    )]
    SharedSlots {
        /// Which stream.
        stream: String,
        /// Which shards.
        shards: (Shard, Shard),
        /// The slots, as ranges.
        slots: String,
    },
    /// The journal has no snapshot that a replay could begin with, or does not know the place where it should end.
    #[error("stream {stream} cannot be replayed so: {what}; {possible}")]
    NoReplay {
        /// Which stream.
        stream: String,
        /// Why not.
        what: String,
        /// Which places there are.
        possible: String,
    },
    /// A replay would begin anew where a destination has come further.
    #[error("{endpoint} has a checkpoint of stream {stream}")]
    HasBegun {
        /// Where.
        endpoint: String,
        /// Which stream.
        stream: String,
    },
    /// A replay got only some of the partitions.
    #[error("other processes apply the stream as {name}: this replay would be of a part of it")]
    ReplayShared {
        /// The destination's name in the journal.
        name: String,
    },
    /// The journal has forgotten what the destination needs next, and it is not to be filled anew.
    #[error("what {endpoint} needs next has left the journal")]
    PlaceGone {
        /// Where.
        endpoint: String,
        /// What the journal said.
        #[source]
        why: ReadError,
    },
    /// The destination has what the new history of the source never had.
    #[error(
        "the destination is at {applied}, past offset {branch_offset} where the source's history begins anew"
    )]
    ResyncNeeded {
        /// Where the destination is.
        applied: Position,
        /// Where the histories part.
        branch_offset: u64,
    },
    /// Another lane was filled anew from a snapshot made on demand, and was not there for a change of both.
    #[error(
        "the change at {position} is also of partitions that a newer snapshot has filled meanwhile"
    )]
    LeftBehind {
        /// Where in the source's history.
        position: Position,
    },
    /// An event needs what this version does not do.
    #[error("{what} at {position}")]
    Unsupported {
        /// What.
        what: &'static str,
        /// Where in the source's history.
        position: Position,
    },
    /// What another process keeps at the destination changed while databases were to be emptied or exchanged.
    #[error(
        "a change of whole databases met another process that begins at {endpoint}: nothing of it was executed"
    )]
    Crossed {
        /// Which server.
        endpoint: String,
    },
    /// An event is larger than what this version puts together.
    #[error(
        "a change of {} at {position} is larger than the {} that can be applied",
        ByteSize(*bytes),
        ByteSize(*limit)
    )]
    TooLarge {
        /// Where in the source's history.
        position: Position,
        /// How large it is, bytes.
        bytes: u64,
        /// How large it may be, bytes.
        limit: u64,
    },
    /// The destination has no form for a change, which is not to be set aside.
    #[error(
        "the destination cannot hold {} of database {db} at {position}: {why}",
        event::text::Shortened(key)
    )]
    CannotHold {
        /// Database of the source.
        db: u32,
        /// The key that is changed.
        key: Bytes,
        /// Where in the source's history.
        position: Position,
        /// What the destination lacks.
        why: Cow<'static, str>,
    },
    /// The same of a library of functions.
    #[error("the destination cannot hold {library} at {position}: {why}")]
    CannotHoldLibrary {
        /// Which.
        library: String,
        /// Where in the source's history.
        position: Position,
        /// What the destination lacks.
        why: Cow<'static, str>,
    },
    /// A key cannot be named in the quarantine of the destination.
    #[error(
        "the key of {bytes} bytes at {position} cannot be set aside: the destination takes {limit} in one argument"
    )]
    KeyTooLong {
        /// Where in the source's history.
        position: Position,
        /// Its length.
        bytes: usize,
        /// What the destination takes.
        limit: usize,
    },
    /// A flush or an exchange of databases would touch what it should not, or a script cannot do what it did.
    #[error("{command} at {position} cannot be done exactly at the destination: {why}")]
    Inexact {
        /// Which command.
        command: &'static str,
        /// Where in the source's history.
        position: Position,
        /// Why not.
        why: &'static str,
    },
    /// A snapshot has been applied, and what it does not name would have to go where another stream writes, too.
    #[error(
        "the snapshot that ends at {position} does not name all keys of {endpoint}: some may be of another stream that \
         writes there ({streams}), others may have been removed at the source, and nothing tells them apart"
    )]
    Neighbours {
        /// The destination.
        endpoint: String,
        /// Where in the source's history.
        position: Position,
        /// Which streams.
        streams: String,
        /// Whether there are some whose keys the account may not read.
        hidden: bool,
    },
    /// The destination does not take a command that concerns whole databases.
    #[error("the destination does not take {command} at {position}: {said}")]
    NotAllowed {
        /// Which command.
        command: &'static str,
        /// Where in the source's history.
        position: Position,
        /// What it said.
        said: String,
    },
    /// The destination refuses a change, and what was planned in its place.
    #[error(
        "the destination refused {command} at {position}, and also what took its place: {said}"
    )]
    RefusedAgain {
        /// Which change.
        command: String,
        /// Where in the source's history.
        position: Position,
        /// What it said.
        said: String,
    },
    /// Too many keys are set aside.
    #[error("{keys} keys are in quarantine, the most that there may be")]
    QuarantineFull {
        /// How many.
        keys: usize,
    },
    /// Too many keys are left out that the destination cannot hold.
    #[error("changes of {keys} keys are left out (--unsupported drop), the most that there may be")]
    LeftOutFull {
        /// How many.
        keys: usize,
    },
    /// The checkpoint of a batch could not be written although the batch was executed.
    #[error("{endpoint} executed a batch without its checkpoint: {said}")]
    Torn {
        /// Where.
        endpoint: String,
        /// What it said to the checkpoint.
        said: String,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
    /// The journal of dead letters could not be opened.
    #[error("open the journal of dead letters")]
    Letters(#[source] OpenError),
    /// A dead letter could not be stored.
    #[error("store a dead letter")]
    Letter(#[source] AppendError),
    /// A record is not an event that this version understands.
    #[error("record {offset} of partition {partition} is no event")]
    Record {
        /// Which partition.
        partition: u16,
        /// Which record.
        offset: u64,
        /// Why not.
        #[source]
        source: DecodeError,
    },
    /// The records of the journal contradict one another.
    #[error("the journal contradicts itself at {position}: {what}")]
    Contradiction {
        /// Where in the source's history.
        position: Position,
        /// How.
        what: String,
    },
    /// The marks of a resync could not be kept.
    #[error("keep the marks of a resync in {}", dir.display())]
    Marks {
        /// Where.
        dir: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A stop could not wait for the destination any longer.
    #[error(
        "the destination did not answer while stopping: whether it did what it was last sent, the next start finds out"
    )]
    Unanswered,
    /// A lane ended in a way that it should not.
    #[error("{what}")]
    Lane {
        /// How.
        what: String,
    },
    /// Tried again for as long as is allowed.
    #[error("gave up after {}", runtime::units::duration::format(rounded(*after)))]
    GaveUp {
        /// How long.
        after: Duration,
        /// What went wrong the last time.
        #[source]
        last: Box<Error>,
    },
}

/// As much of it as matters to people.
fn rounded(duration: Duration) -> Duration {
    match duration.as_secs() {
        0 => Duration::from_millis(u64::from(duration.subsec_millis())),
        _ => Duration::from_secs((duration + Duration::from_millis(500)).as_secs()),
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_after_which_it_gave_up_is_rounded() {
        let after = |micros| Error::GaveUp {
            after: Duration::from_micros(micros),
            last: Box::new(Error::Unanswered),
        };
        assert_eq!(after(5_872_499).to_string(), "gave up after 6s");
        assert_eq!(after(872_499).to_string(), "gave up after 872ms");
    }
}
