//! Every bound of the crate, in one place, with the relations between them.
//!
//! What a configuration may change has its default here; the rest is fixed.

use std::time::Duration;

/// Commands in one batch. Past about a thousand the cost of the checkpoint beside them no longer shows, and a
/// batch that fails is still planned again in a moment.
pub const BATCH_COMMANDS: usize = 1_024;

/// Bytes of commands in one batch: as much as a socket buffer takes, so that the next batch can wait at the
/// destination while this one runs.
pub const BATCH_BYTES: usize = 1 << 20;

/// Above this many bytes under way to a destination nothing is read beside them: the next large value waits until the one
/// before it has gone. Many times what keeps a destination busy.
pub const UNDER_WAY_BYTES: usize = 16 << 20;

/// A transaction of the source up to this size appears at once. A larger one is written in pieces, and said so.
pub const GROUP_BYTES: usize = 64 << 20;

/// What a change of a transaction takes in memory besides its bytes, until it has been applied: what is known of its
/// command, and the command itself.
pub const CHANGE_BYTES: usize = 224;

/// The most that an event may have that comes in fragments: the longest command that capture carries, of 2 GiB, whose
/// key is told twice more beside it, 512 MiB each, with room for the rest. Memory is taken when such a one comes.
pub const EVENT_BYTES: usize = (3 << 30) + (32 << 20);

/// Memory for a value of a module that came in parts, of one lane: one argument of 512 MiB, the most a server takes,
/// with its frame.
pub const VALUE_BYTES: usize = 544 << 20;

/// The longest argument that a server takes that does not tell: the default of every version.
pub const MAX_BULK_BYTES: u64 = 512 << 20;

/// What a server that does not tell lets one client have sent and not executed: the default of every version.
pub const QUERY_BUFFER_BYTES: u64 = 1 << 30;

/// What may stand in that beside a large argument.
pub const FRAME_BYTES: u64 = 64 << 10;

/// What is left free in it for our own keys beside the data of a batch.
pub const OWN_BYTES: usize = 1 << 20;

/// Arguments are looked at one by one in commands above this size only: no server can be set to take less in one.
pub const LARGE_COMMAND_BYTES: usize = 1 << 20;

/// Records asked from the journal at once.
pub const READ_RECORDS: usize = 1_024;

/// A journal that gives this many records, but not all that were asked for, is read again after a moment: changes come
/// in many small pieces, and every batch wakes the destination, and its replies this process.
pub const BUSY_RECORDS: usize = 64;

/// How long a busy journal is left to gather.
pub const BUSY_REST: Duration = Duration::from_millis(1);

/// Bytes asked from the journal at once.
pub const READ_BYTES: usize = 1 << 20;

/// Keys of one lane that may be set aside. More than this is no longer a matter of single keys.
pub const QUARANTINED_KEYS: usize = 100_000;

/// Keys of one lane that are listed as suspects; more are only counted. A batch that is cut off has no more commands.
pub const SUSPECT_KEYS: usize = BATCH_COMMANDS;

/// Keys that a destination may hold so that they are looked at one by one for names of ours when it should be
/// empty. More than that are not all ours.
pub const EXISTING_KEYS_LOOKED_AT: u64 = 10_000;

/// Marks of a snapshot kept in memory before they go to files: 16 bytes each.
pub const MARKS_IN_MEMORY: usize = 1 << 20;

/// Files that marks are spilled to, by hash: each is small enough to be loaded while the sweep compares.
pub const MARK_FILES: usize = 256;

/// Keys asked from a destination with one SCAN.
pub const SCAN_COUNT: usize = 1_000;

/// Keys removed by a sweep in one step.
pub const SWEEP_KEYS: usize = 512;

/// How often an idle lane looks after itself: its checkpoint, its lag, requests about quarantined keys.
pub const TICK: Duration = Duration::from_secs(1);

/// How long it is believed that no other stream has come to a destination since that was looked at: a look costs a
/// scan of all keys, and a new stream does not come twice an hour.
pub const OTHERS_LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// How long a look for other streams holds where keys that are not known are about to go: all partitions of one copy that
/// end within such a time need one look.
pub(crate) const SWEEP_LOOK_HOLDS: Duration = Duration::from_secs(5);

/// How often it is asked who is connected, meanwhile and while such keys go: it costs next to nothing, and of a stream
/// that begins just then no more than it writes in that time can go.
pub(crate) const NEWCOMERS_INTERVAL: Duration = Duration::from_secs(1);

/// How long a connection and its greeting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reply may take before the destination counts as lost. Above what a large RESTORE, a FLUSHDB or a
/// blocking script of others costs.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// Keys are not left to expire within this time of being written: what is on its way may renew them. Above the lag
/// of a bridge that keeps up, and the few seconds that a restart takes.
pub const HOLD_EXPIRY: Duration = Duration::from_secs(5);

/// The lag that is added to it while catching up counts up to this much: a day, beyond which nobody waits.
pub const HOLD_LAG_MAX: Duration = Duration::from_secs(24 * 3600);

/// Memory of one lane for true deadlines of what was written with later ones, so that they can be settled: some
/// two hundred thousand keys. What does not fit keeps its later deadline until the source deletes it.
pub const DEADLINES_BYTES: usize = 32 << 20;

/// Fields of one hash whose deadlines are remembered likewise: each change of the hash copies them.
pub const DEADLINES_OF_HASH: usize = 1_024;

/// Keys whose deadlines are settled in one go, so that what has just been read does not wait behind them.
pub const SETTLED_KEYS: usize = 256;

/// Letters of several keys that are tried again in one batch, with [`LETTER_BYTES`] for each: a destination is busy with
/// so much for some tenths of a second. A key with more of them is tried by itself.
pub const RETRIED_BYTES: usize = 16 << 20;

/// What a letter costs beside its change, in memory and at the destination.
pub const LETTER_BYTES: usize = 256;

/// Letters that are looked through at once for which keys hang together: some tenths of a second.
pub const LOOKED_THROUGH_BYTES: usize = 64 << 20;

/// The shortest time that the stream has to itself between two parts of what is tried again. Else it is as long as the
/// part before it took.
pub const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Keys that were set aside are named in the log, up to so many in ten seconds; more are counted.
pub const LOGGED_KEYS: usize = 20;

/// Window of attempts while the destination cannot be reached.
pub const CONNECTION_WINDOW: Duration = Duration::from_secs(720 * 60);

/// Window of attempts while the destination refuses commands.
pub const REFUSED_WINDOW: Duration = Duration::from_secs(10 * 60);

const _: () = assert!(2 * BATCH_BYTES < UNDER_WAY_BYTES);
const _: () = assert!(BATCH_BYTES <= GROUP_BYTES && GROUP_BYTES <= EVENT_BYTES);
const _: () = assert!(EVENT_BYTES <= event::limits::MAX_ENCODED_BYTES);
const _: () = assert!(event::limits::MAX_EVENT_BYTES <= READ_BYTES);

/// So often the checkpoints of other lanes are looked at one after the other, before the first pause: a meeting of lanes
/// that keep up takes some ten round trips, and a pause would be longer than all of them.
pub(crate) const MEETING_LOOKS: usize = 64;
/// How long is waited before the checkpoints of other lanes are looked at again that a change has in common with this
/// one: as long as it takes them to get there, in a bridge that keeps up.
pub(crate) const MEETING_PAUSE: Duration = Duration::from_millis(1);
/// It doubles up to this much while nothing moves, so that a lane that waits for another costs the destination little.
pub(crate) const MEETING_PAUSE_MAX: Duration = Duration::from_millis(20);

/// Of tracks that wait for others no more is read than this together, each its part: so those come that they wait for.
pub(crate) const AHEAD_BYTES: usize = 8 << 20;
/// What has been read of them may take so much memory, with what was on its way; beyond that it is read again.
pub(crate) const STASH_BYTES: usize = 32 << 20;
/// What a record takes there besides its bytes.
pub(crate) const STASHED_RECORD_BYTES: usize = 96;

/// After how long without an answer it is told that dead letters cannot be stored or read: longer than a broker takes to
/// hand a partition to another.
pub(crate) const LETTERS_STALL: Duration = Duration::from_secs(5);
/// How long a stop waits for letters that are on their way; what they are about has not been executed, and comes again.
pub(crate) const LETTERS_STOP: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use wire::resp::scan::ScanLimits;

    use super::*;

    #[test]
    fn every_command_that_capture_takes_can_be_put_together() {
        let ScanLimits { max_bulk_bytes, max_frame_bytes, .. } = ScanLimits::default();
        assert!(max_frame_bytes + 2 * max_bulk_bytes + (1 << 20) <= EVENT_BYTES);
    }
}
