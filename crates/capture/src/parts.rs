//! What capture shows of each partition: how far the source's history is recorded there, and where the journal ends.
//!
//! Guarantees: a record costs one store. The journal is asked for its ends beside the stream, and rarely: brokers take
//! their time for it; one that does not tell is asked again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event::Position;
use journal::{Description, Journal, Partition};
use runtime::status::Value;
use runtime::{Clock, StatusNode, TaskError};
use tokio_util::sync::CancellationToken;

/// Per partition, the offset of the source's history up to which it is recorded. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded(Arc<[AtomicU64]>);

/// Shows all of them.
pub(crate) struct Parts {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    /// The offset that the next record will have; 0: not known yet, or nothing is there.
    ends: Arc<[AtomicU64]>,
}

/// How often the journal is asked for its ends.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

// === impl Recorded ===

impl Recorded {
    /// As the journal was found.
    pub(crate) fn of(held: &[Option<Position>]) -> Self {
        Self(held.iter().map(|at| AtomicU64::new(at.map_or(0, |at| at.offset))).collect())
    }

    /// Notes how far one is.
    pub(crate) fn note(&self, partition: Partition, offset: u64) {
        if let Some(recorded) = self.0.get(usize::from(partition.0)) {
            recorded.store(offset, Ordering::Relaxed);
        }
    }
}

// === impl Parts ===

impl Parts {
    /// Shows them below the node of capture.
    pub(crate) fn new(
        node: &StatusNode,
        recorded: &Recorded,
        (journal, clock): (Arc<dyn Journal>, Arc<dyn Clock>),
    ) -> Self {
        let ends: Arc<[AtomicU64]> = recorded.0.iter().map(|_| AtomicU64::new(0)).collect();
        let all = node.child("partitions");
        for number in 0..recorded.0.len() {
            let part = all.child(number.to_string());
            for (name, numbers) in [("source_offset", &recorded.0), ("journal_end", &ends)] {
                let numbers = Arc::clone(numbers);
                part.computed(name, move || {
                    let number = numbers.get(number).map(|number| number.load(Ordering::Relaxed));
                    Value::Count(number.unwrap_or_default())
                });
            }
        }
        Self { journal, clock, ends }
    }

    /// Looks at the ends until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), TaskError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            never = self.look() => match never {},
        }
    }

    async fn look(&self) -> Infallible {
        loop {
            match self.journal.describe().await {
                Ok(description) => self.note(&description),
                // What is appended says whether that is a trouble.
                Err(error) => tracing::debug!(%error, "the journal does not tell where it ends"),
            }
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    fn note(&self, description: &Description) {
        for (end, range) in self.ends.iter().zip(&description.partitions) {
            end.store(range.end.0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::Shard;
    use journal::{Append, MemoryJournal};
    use runtime::ManualClock;

    use super::*;

    #[tokio::test]
    async fn each_partition_shows_what_is_recorded_and_where_the_journal_ends() {
        let journal = MemoryJournal::new("shop", 2);
        let mut appender = journal.appender().await.unwrap();
        let append = Append {
            partition: Partition(1),
            key: Bytes::new(),
            timestamp_ms: 1,
            kind: "command",
            db: 0,
            payload: Bytes::from_static(b"x"),
        };
        appender.append(&mut vec![append.clone(), append]).await.unwrap();
        let node = StatusNode::root();
        let recorded = Recorded::of(&[None, Some(Position::new(Shard(0), 1, 40))]);
        let shown = |number: &str| {
            let part = node.snapshot()["partitions"][number].clone();
            (part["source_offset"].as_u64().unwrap(), part["journal_end"].as_u64().unwrap())
        };
        let clock = Arc::new(ManualClock::new(0));
        let of_clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let parts = Parts::new(&node, &recorded, (Arc::new(journal), of_clock));
        assert_eq!((shown("0"), shown("1")), ((0, 0), (40, 0)));
        recorded.note(Partition(0), 55);
        tokio::select! {
            _ = parts.run(CancellationToken::new()) => panic!("it ended"),
            () = clock.wait_for_sleepers(1) => {}
        }
        assert_eq!((shown("0"), shown("1")), ((55, 0), (40, 2)));
    }
}
