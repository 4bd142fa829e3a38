//! Every bound of capture that is not an option, with its reason.

use std::time::Duration;

/// Events are appended when a batch has grown to this size: enough to spread the cost of an append,
/// little enough that memory stays small.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// A stream that brings this much at a time is read at intervals: it comes in many small writes of the source, and every
/// read wakes everybody down to the destination.
pub(crate) const BUSY_READ_BYTES: usize = 16 * 1024;

/// How long a busy stream is left to gather. Sockets hold many times what comes meanwhile.
pub(crate) const BUSY_READ_INTERVAL: Duration = Duration::from_millis(1);

/// The source closes links that do not acknowledge within its repl-timeout; real replicas do it
/// once a second.
pub(crate) const ACK_INTERVAL: Duration = Duration::from_secs(1);

/// A source that made its snapshot without a disk sends what follows only after an acknowledgement
/// that comes when it has noticed that its child is done, which it looks for ten times a second.
pub(crate) const EAGER_ACK_INTERVAL: Duration = Duration::from_millis(25);

/// So many acknowledgements are sent that often after a snapshot, unless the stream flows before:
/// for two seconds, so that a source that is slow to look is met as well.
pub(crate) const EAGER_ACKS: u32 = 80;

/// Where nothing was written since the last heartbeat event, the next may wait this long: an idle
/// stream then costs little, and its readers still see that it lives.
pub(crate) const IDLE_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The key of the heartbeat outlives a missed beat or two, and disappears soon after capture has
/// gone.
pub(crate) const HEARTBEAT_TTL: Duration = Duration::from_secs(60);

/// What the source has refused is not asked for again before: it counts refusals, and logs those of
/// its access control.
pub(crate) const REFUSED_INTERVAL: Duration = Duration::from_secs(60);

/// How long a source that cannot be reached is left alone by the heartbeat.
pub(crate) const UNREACHED_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end may take when the journal takes nothing any more.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(10);

/// How long the end waits for room on a full disk, or for a journal that says that it takes nothing:
/// enough for it to try again once.
pub(crate) const STALL_GRACE: Duration = Duration::from_secs(1);

/// Sources ping every 10 s by default, and give up on us after 60 s themselves.
pub(crate) const LINK_SILENCE: Duration = Duration::from_secs(60);

/// What an open transaction may take in memory, about; what goes beyond waits in a file until EXEC
/// has come. Nearly every transaction is smaller.
pub(crate) const TRANSACTION_BYTES: usize = 1 << 20;

/// What of a script of a shard, or of a transaction with a flush in it, may wait in memory for more of the same partitions:
/// records of most are far smaller.
pub(crate) const APART_BYTES: usize = 8 << 20;

/// How long a source that does not let us ask about a command is left alone before it is asked again.
pub(crate) const ASK_AGAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How long a full disk is left alone before it is tried again.
pub(crate) const DISK_FULL_INTERVAL: Duration = Duration::from_secs(1);

/// After what could not be listened to for requests is tried again: who asks repeats it as often.
pub(crate) const LISTEN_AGAIN_INTERVAL: Duration = Duration::from_secs(10);

/// How often a node of a cluster is asked which slots it has while changes wait for the answer, which is so much later
/// than they are: a small question, though the larger the cluster, the longer a node thinks about it.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How often it is asked while nothing waits: what moves without a word is told soon.
pub(crate) const IDLE_LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// A source that has not told its slots for so long is said not to: a failover or a restart is over sooner, mostly.
pub(crate) const UNTOLD_GRACE: Duration = Duration::from_secs(10);

/// So many requests are known again when they are repeated: more than ever ask at a time.
pub(crate) const REQUESTS_KNOWN: usize = 1_024;
