//! Which part of the source's keys is captured: all, or the slots that one primary of a cluster has.
//!
//! Guarantees: what a shard has stays the same for the whole life of its stream. Where slots move, or another server
//! answers, capture ends with the reason rather than record what it cannot put in order: changes of a slot that has
//! moved come from two shards, and nothing here tells which come first.

mod watch;

use event::text::Shortened;
use event::{Shard, names};
use redis_io::Connection;
use wire::slot::{Slot, Slots};

pub(crate) use self::watch::SlotsWatch;
use crate::error::{BuildError, ForeignSlot};
use crate::resume::Tail;
use crate::source::{Node, Source, SourceError};

/// The part that is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) shard: Shard,
    /// For people: the id of the node that had it at the start.
    pub(crate) name: String,
    /// None: all slots, of a source that is no node of a cluster.
    pub(crate) slots: Option<Slots>,
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

    /// Refuses to go on with a stream that was recorded of other slots, or beside a shard that has some of these, or to
    /// begin in one of another cluster: whose nodes the source does not know.
    pub(crate) fn fits(&self, tail: &Tail, node: Option<&Node>) -> Result<(), BuildError> {
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
            let common = mine.and(&all(&others.slots));
            if !common.is_empty() {
                let (shard, other, slots) = (self.shard, *shard, common.to_string());
                return Err(BuildError::SharedSlots { shard, other, slots });
            }
        }
        // Nodes come and go: of a shard that was recorded before nobody asks for whom it has known then.
        match node {
            Some(node) if tail.slots.is_none() => self.is_beside(tail, node),
            _ => Ok(()),
        }
    }

    fn is_beside(&self, tail: &Tail, node: &Node) -> Result<(), BuildError> {
        let mut named =
            tail.others.iter().filter_map(|(of, told)| Some((*of, told.name.as_ref()?)));
        let Some((other, name)) = named.clone().next() else { return Ok(()) };
        if named.any(|(_, name)| node.known.contains(name)) {
            return Ok(());
        }
        let (shard, name) = (self.shard, name.clone());
        Err(BuildError::OtherCluster { shard, node: node.id.clone(), other, name })
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

    /// Asks a node which slots it has, and nothing else: refuses one that has others now.
    async fn look(&self, connection: &mut Connection) -> Result<(), SourceError> {
        let node = Node::ask(connection).await?;
        self.is_now(Some(&node.slots))
    }

    /// Refuses a source that has other slots now.
    fn is_of(&self, source: &Source) -> Result<(), SourceError> {
        self.is_now(source.node.as_ref().map(|node| &node.slots))
    }

    fn is_now(&self, now: Option<&Slots>) -> Result<(), SourceError> {
        match now == self.slots.as_ref() {
            true => Ok(()),
            false => Err(SourceError::Moved(moved(&self.slots, now))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resume::Told;

    fn slots(first: u16, last: u16) -> Slots {
        Slots::of([(Slot::new(first).unwrap(), Slot::new(last).unwrap())])
    }

    fn owned(slots: Option<Slots>) -> Owned {
        Owned { slots, ..Owned::all(Shard(1)) }
    }

    fn refused(owned: &Owned, tail: &Tail) -> String {
        let fits = owned.fits(tail, None);
        fits.map_or_else(|error| error.to_string(), |()| String::new())
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
        let beside = |slots| {
            let told = Told { slots, name: None };
            Tail { others: [(Shard(4), told)].into(), ..Tail::default() }
        };
        assert_eq!(refused(&shard, &beside(Some(slots(100, 200)))), "");
        let said = refused(&shard, &beside(Some(slots(90, 200))));
        assert!(said.contains("shard 1 and shard 4") && said.contains("slots 90-99"), "{said}");
        assert!(refused(&shard, &beside(None)).contains("slots 0-99"));
    }

    #[test]
    fn a_shard_of_another_cluster_is_refused_at_its_first_start() {
        let shard = owned(Some(slots(0, 99)));
        let told = |name: &str| {
            let number = name.len().try_into().unwrap();
            let name = Some(name.to_owned());
            (Shard(number), Told { slots: Some(slots(200, 300)), name })
        };
        let known = ["me", "left", "next"].map(str::to_owned).to_vec();
        let node = Node { id: "me".to_owned(), slots: slots(0, 99), known };
        let tail = |names: &[&str]| {
            let others = names.iter().map(|name| told(name)).collect();
            Tail { others, ..Tail::default() }
        };
        let refused = |tail: &Tail| {
            let fits = shard.fits(tail, Some(&node));
            fits.map_or_else(|error| error.to_string(), |()| String::new())
        };
        assert_eq!(refused(&tail(&[])), "");
        // One that it knows is enough: others may have gone.
        assert_eq!(refused(&tail(&["gone for long", "next"])), "");
        let said = refused(&tail(&["stranger", "another one"]));
        assert!(said.contains("another cluster") && said.contains("stranger of shard 8"), "{said}");
        assert!(said.contains("the node me,"), "{said}");
        // Once it is part of the stream, whom it knows does not matter.
        let recorded = Tail { slots: Some(Some(slots(0, 99))), ..tail(&["stranger"]) };
        assert_eq!(refused(&recorded), "");
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
