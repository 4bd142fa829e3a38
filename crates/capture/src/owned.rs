//! Which part of the source's keys is captured: all, or the slots that one primary of a cluster has.
//!
//! Guarantees: what a shard has stays the same for the whole life of its stream. Where slots move, or another server
//! answers, capture ends with the reason rather than record what it cannot put in order: changes of a slot that has
//! moved come from two shards, and nothing here tells which come first.

use std::convert::Infallible;
use std::sync::Arc;

use event::text::Shortened;
use event::{Shard, names};
use redis_io::{Connection, Connector};
use runtime::{Clock, chain};
use wire::slot::{Slot, Slots};

use crate::error::{BuildError, ForeignSlot, SlotsError};
use crate::limits::SLOTS_LOOK_INTERVAL;
use crate::resume::Tail;
use crate::source::{Source, SourceError};

/// The part that is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) shard: Shard,
    /// For people: the id of the node that had it at the start.
    pub(crate) name: String,
    /// None: all slots, of a source that is no node of a cluster.
    pub(crate) slots: Option<Slots>,
}

/// Looks at the source whether it still has what is captured.
pub(crate) struct SlotsWatch {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owned: Owned,
}

/// What a source without a number of a shard is called.
const ONLY_SHARD_NAME: &str = "0";

// === impl Owned ===

impl Owned {
    /// What that source has, captured as that shard.
    pub(crate) fn of(shard: Option<u16>, source: &Source) -> Self {
        let shard = Shard(shard.unwrap_or_default().into());
        match &source.node {
            None => Self { shard, name: ONLY_SHARD_NAME.to_owned(), slots: None },
            Some(node) => Self { shard, name: node.id.clone(), slots: Some(node.slots.clone()) },
        }
    }

    /// The key of the heartbeat at the source: in a slot that it has.
    pub(crate) fn heartbeat_key(&self, stream: &str) -> String {
        match self.slots.as_ref().and_then(Slots::first) {
            Some(slot) => names::heartbeat_in(slot, stream),
            None => names::heartbeat(stream),
        }
    }

    /// Refuses to go on with a stream that was recorded of other slots, or beside a shard that has some of these.
    pub(crate) fn fits(&self, tail: &Tail) -> Result<(), BuildError> {
        let shown =
            |slots: &Option<Slots>| slots.as_ref().map_or("0-16383".into(), Slots::to_string);
        if let Some(recorded) = tail.slots.as_ref().filter(|recorded| **recorded != self.slots) {
            return Err(BuildError::OtherSlots {
                shard: self.shard,
                recorded: shown(recorded),
                owned: shown(&self.slots),
            });
        }
        let all = |slots: &Option<Slots>| slots.clone().unwrap_or_else(Slots::all);
        let mine = all(&self.slots);
        for (shard, others) in &tail.others {
            let common = mine.and(&all(others));
            if !common.is_empty() {
                let (shard, other, slots) = (self.shard, *shard, common.to_string());
                return Err(BuildError::SharedSlots { shard, other, slots });
            }
        }
        Ok(())
    }

    /// Whether it is a shard of a cluster.
    pub(crate) fn is_shard(&self) -> bool {
        self.slots.is_some()
    }

    /// Asks the server at the other end, and refuses one that has other slots now.
    pub(crate) async fn ask(&self, connection: &mut Connection) -> Result<Source, SourceError> {
        let source = Source::ask(connection, self.is_shard()).await?;
        self.is_of(&source)?;
        Ok(source)
    }

    /// Refuses a source that has other slots now.
    fn is_of(&self, source: &Source) -> Result<(), SourceError> {
        let now = source.node.as_ref().map(|node| &node.slots);
        match now == self.slots.as_ref() {
            true => Ok(()),
            false => Err(SourceError::Unfit(moved(&self.slots, now))),
        }
    }
}

#[cfg(test)]
impl Owned {
    /// Of a source that is no node of a cluster.
    pub(crate) fn all(shard: Shard) -> Self {
        Self { shard, name: ONLY_SHARD_NAME.to_owned(), slots: None }
    }
}

/// What it means that a shard has other slots than it had.
fn moved(before: &Option<Slots>, now: Option<&Slots>) -> String {
    let none = Slots::default();
    let (before, now) = (before.as_ref().unwrap_or(&none), now.unwrap_or(&none));
    let (lost, won) = (before.and(&now.others()), now.and(&before.others()));
    let part = |what: &str, slots: &Slots| match slots.is_empty() {
        true => String::new(),
        false => format!("; {what} {slots}"),
    };
    format!(
        "slots have moved between shards, which this version does not follow: it had {before} when the stream began{}{}",
        part("it has lost", &lost),
        part("it has got", &won)
    )
}

/// Refuses a key that is not the shard's.
pub(crate) fn require(slots: Option<&Slots>, slot: Slot, key: &[u8]) -> Result<(), ForeignSlot> {
    match slots {
        Some(slots) if !slots.contains(slot) => Err(ForeignSlot {
            key: Shortened(key).to_string(),
            slot: slot.get(),
            slots: slots.to_string(),
        }),
        _ => Ok(()),
    }
}

// === impl SlotsWatch ===

impl SlotsWatch {
    /// Completes when the source does not have any more what is captured, and says why.
    pub(crate) async fn moved(&self) -> SlotsError {
        if self.owned.slots.is_none() {
            // No node of a cluster: there is nothing to look at.
            std::future::pending::<Infallible>().await;
        }
        let mut connection = None;
        loop {
            self.clock.sleep(SLOTS_LOOK_INTERVAL).await;
            match self.look(&mut connection).await {
                Ok(()) => {}
                Err(SourceError::Unfit(what)) => {
                    return SlotsError { endpoint: self.connector.endpoint().to_string(), what };
                }
                Err(error) => {
                    // The link's own task decides what that means.
                    tracing::debug!(error = %chain(&error), "the source does not tell its slots");
                    connection = None;
                }
            }
        }
    }

    async fn look(&self, connection: &mut Option<Connection>) -> Result<(), SourceError> {
        let connection = match connection {
            Some(connection) => connection,
            none => none.insert(self.connector.connect().await?),
        };
        self.owned.ask(connection).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(first: u16, last: u16) -> Slots {
        Slots::of([(Slot::new(first).unwrap(), Slot::new(last).unwrap())])
    }

    fn owned(slots: Option<Slots>) -> Owned {
        Owned { slots, ..Owned::all(Shard(1)) }
    }

    fn refused(owned: &Owned, tail: &Tail) -> String {
        owned.fits(tail).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_stream_goes_on_only_with_the_slots_that_it_was_recorded_of() {
        let shard = owned(Some(slots(0, 99)));
        let tail = |recorded| Tail { slots: recorded, ..Tail::default() };
        assert_eq!(refused(&shard, &tail(None)), "");
        assert_eq!(refused(&shard, &tail(Some(Some(slots(0, 99))))), "");
        let said = refused(&shard, &tail(Some(Some(slots(0, 100)))));
        assert!(said.contains("the slots 0-100, and the source has 0-99"), "{said}");
        let said = refused(&shard, &tail(Some(None)));
        assert!(said.contains("the slots 0-16383"), "{said}");
        assert!(refused(&owned(None), &tail(Some(Some(slots(0, 99))))).contains("0-16383"));
    }

    #[test]
    fn no_two_shards_have_a_slot() {
        let shard = owned(Some(slots(0, 99)));
        let beside = |other| Tail { others: [(Shard(4), other)].into(), ..Tail::default() };
        assert_eq!(refused(&shard, &beside(Some(slots(100, 200)))), "");
        let said = refused(&shard, &beside(Some(slots(90, 200))));
        assert!(said.contains("shard 1 and shard 4") && said.contains("slots 90-99"), "{said}");
        assert!(refused(&shard, &beside(None)).contains("slots 0-99"));
    }

    #[test]
    fn the_heartbeat_is_in_a_slot_of_the_shard() {
        let key = owned(Some(slots(7_000, 7_001))).heartbeat_key("shop");
        assert_eq!(Slot::of_key(key.as_bytes()).get(), 7_000);
        assert!(names::is_ours(key.as_bytes()));
        assert_eq!(owned(None).heartbeat_key("shop"), names::heartbeat("shop"));
    }

    #[test]
    fn what_has_moved_is_named() {
        let said = moved(&Some(slots(0, 99)), Some(&slots(50, 120)));
        assert!(said.contains("had 0-99") && said.contains("lost 0-49"), "{said}");
        assert!(said.contains("got 100-120"), "{said}");
    }

    #[test]
    fn a_key_of_another_shard_is_refused() {
        let slot = Slot::of_key(b"key");
        let mine = Slots::of([(slot, slot)]);
        assert_eq!(require(Some(&mine), slot, b"key"), Ok(()));
        assert_eq!(require(None, slot, b"key"), Ok(()));
        let refused = require(Some(&mine.others()), slot, b"key").unwrap_err();
        assert_eq!((refused.key.as_str(), refused.slot), ("key", slot.get()));
    }
}
