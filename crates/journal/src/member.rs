//! Which partitions one of several readers of the same name works on.
//!
//! Guarantees: at any moment a partition is assigned to one member of a name at most, but for a member that has been
//! cut off and does not know it yet: whoever writes somewhere on behalf of an assignment fences its predecessors there.

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{Health, Partition, ReadError};

/// The partitions of one member, as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Grows with every change; 0: nothing has been assigned yet.
    pub generation: u64,
    /// In ascending order.
    pub partitions: Vec<Partition>,
}

/// One of several readers that share the partitions of a stream. Dropped, it leaves without a word: the others take
/// over when its session has timed out.
pub trait Membership: Send + Sync {
    /// What is assigned to it. Closes when the membership has failed for good: what it read on behalf of it is to be
    /// dropped, and the stream to be joined anew.
    fn assigned(&self) -> watch::Receiver<Assignment>;

    /// Says that nothing is under way any more for partitions that the given generation does not have, so that others
    /// may begin with them. A backend waits for it only for a bounded time.
    fn settled(&self, generation: u64);

    /// Whether the partitions can be read at the moment, and if not, why. A backend within the process is always there.
    fn health(&self) -> watch::Receiver<Health> {
        watch::Sender::new(Health::Accepting).subscribe()
    }

    /// Leaves at once, so that others take over without waiting.
    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<(), ReadError>>;
}

/// The only member: it has all partitions for ever.
#[derive(Debug)]
pub(crate) struct Sole {
    assigned: watch::Sender<Assignment>,
}

// === impl Sole ===

impl Sole {
    /// The one reader of a stream of so many partitions.
    pub(crate) fn of(partitions: usize) -> Self {
        let partitions = (0..=u16::MAX).take(partitions).map(Partition).collect();
        Self { assigned: watch::Sender::new(Assignment { generation: 1, partitions }) }
    }
}

impl Membership for Sole {
    fn assigned(&self) -> watch::Receiver<Assignment> {
        self.assigned.subscribe()
    }

    fn settled(&self, _: u64) {}

    fn leave(self: Box<Self>) -> BoxFuture<'static, Result<(), ReadError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
