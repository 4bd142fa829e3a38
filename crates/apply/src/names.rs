//! Names of the keys and connections of one lane at its destination.
//!
//! The forms of the keys belong to the format and stand in [`event::names`]; all of a track lie in the first slot of
//! the first partition that its checkpoint covers.

use std::collections::BTreeMap;

use bytes::Bytes;
use event::names;
use wire::slot::{Slot, slots_of};

use crate::quarantine::set::Spot;
use crate::scope::Scope;

/// The keys of one lane, and what its connections are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    tracks: Vec<TrackNames>,
    /// Those of the partitions of a journal without one order that the lane does not have.
    elsewhere: BTreeMap<u16, TrackNames>,
    scope: Scope,
    /// What every connection of the stream is called, up to the partitions of its lane.
    pub(crate) connection: String,
}

/// The keys of one track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrackNames {
    /// The checkpoint.
    pub(crate) checkpoint: Bytes,
    /// The number of the latest worker.
    pub(crate) owner: Bytes,
    /// The hash of the keys that are set aside.
    pub(crate) quarantine: Bytes,
    /// The hash of what an operator asks to be done about them.
    pub(crate) requests: Bytes,
    /// The hash of the keys of which nobody knows whether a change was executed.
    pub(crate) suspects: Bytes,
}

/// How the names of some keys end, behind the stream.
const REQUESTS: &str = ":requests";
const SUSPECTS: &str = ":suspects";

// === impl Names ===

impl Names {
    /// The names of a lane.
    #[must_use]
    pub(crate) fn new(scope: &Scope) -> Self {
        let beginning = |first| TrackNames::new(&scope.stream, first, scope.partitions);
        let track = |track| beginning(scope.span(track).0);
        let elsewhere = scope.elsewhere().map(|partition| (partition, beginning(partition)));
        let printable: String =
            scope.stream.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        Self {
            tracks: (0..scope.tracks()).map(track).collect(),
            elsewhere: elsewhere.collect(),
            scope: scope.clone(),
            connection: format!("keyferry:{printable}:"),
        }
    }

    /// The names of a track.
    #[must_use]
    pub(crate) fn track(&self, track: usize) -> Option<&TrackNames> {
        self.tracks.get(track)
    }

    /// Those of each track.
    pub(crate) fn tracks(&self) -> &[TrackNames] {
        &self.tracks
    }

    /// The track that notes what is known of a key, if the lane has its partition.
    pub(crate) fn track_of(&self, spot: &Spot) -> Option<usize> {
        match self.scope.one_order {
            true => Some(0),
            false => self.track_of_partition(self.partition_of(spot)),
        }
    }

    /// The track of a partition, if the lane has it.
    pub(crate) fn track_of_partition(&self, partition: u16) -> Option<usize> {
        self.scope.index_of(partition).map(|index| self.scope.track(index))
    }

    /// The partition of a key; function libraries belong to the first.
    fn partition_of(&self, spot: &Spot) -> u16 {
        if spot.is_library() { 0 } else { self.scope.partition_of(&spot.key) }
    }

    /// Whether only that track changes a key, but for changes of several tracks.
    pub(crate) fn is_of(&self, track: usize, key: &[u8]) -> bool {
        self.scope.one_order || self.scope.index_of(self.scope.partition_of(key)) == Some(track)
    }

    /// The names under which is noted what is known of a key, whoever has its partition.
    pub(crate) fn of(&self, spot: &Spot) -> Option<&TrackNames> {
        match self.track_of(spot) {
            Some(track) => self.tracks.get(track),
            None => self.elsewhere(self.partition_of(spot)),
        }
    }

    /// The names of a partition that another lane has.
    pub(crate) fn elsewhere(&self, partition: u16) -> Option<&TrackNames> {
        self.elsewhere.get(&partition)
    }

    /// The same of several, with all that is beside a checkpoint.
    pub(crate) fn all_of(&self, partitions: &[u16]) -> impl Iterator<Item = &[u8]> + Clone {
        let names = partitions.iter().filter_map(|partition| self.elsewhere(*partition));
        names.flat_map(TrackNames::all).map(|key| &key[..])
    }

    /// All keys of the lane.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.tracks.iter().flat_map(TrackNames::all).map(|key| &key[..])
    }

    /// Whether a key is one of the stream's own: nothing from the source may touch it.
    #[must_use]
    pub(crate) fn is_own(&self, key: &[u8]) -> bool {
        let Some(behind) = self.behind_stream(key) else { return false };
        let Ok(behind) = std::str::from_utf8(behind) else { return false };
        let beside = behind.strip_prefix(names::QUARANTINE).unwrap_or(behind);
        matches!(behind, "" | names::OWNER | names::QUARANTINE)
            || (beside.len() < behind.len() && matches!(beside, REQUESTS | SUSPECTS))
            || self.stage_epoch(key).is_some()
    }

    /// The temporary key under which a large value of `key` is put together, in the same slot.
    #[must_use]
    pub(crate) fn stage(&self, key: &[u8], epoch: u64, db: u32) -> Bytes {
        names::stage(key, &self.scope.stream, epoch, db)
    }

    /// The epoch in the name of a temporary key of this stream; none for every other key.
    #[must_use]
    pub(crate) fn stage_epoch(&self, key: &[u8]) -> Option<u64> {
        let rest = self.behind_stream(key)?.strip_prefix(names::STAGE.as_bytes())?;
        let (epoch, rest) = std::str::from_utf8(rest).ok()?.split_once(':')?;
        rest.contains(':').then(|| epoch.parse().ok()).flatten()
    }

    /// What follows the name of the stream in a key of ours.
    fn behind_stream<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let end = key.iter().position(|byte| *byte == b'}').filter(|_| names::is_ours(key))?;
        key.get(end + 1..)?.strip_prefix(b":")?.strip_prefix(self.scope.stream.as_bytes())
    }
}

// === impl TrackNames ===

impl TrackNames {
    /// The names of what begins with a partition.
    pub(crate) fn new(stream: &str, first: u16, partitions: u32) -> Self {
        let slot = Slot::new(slots_of(u32::from(first), partitions).start);
        let slot = slot.unwrap_or_else(|| Slot::of_key(stream.as_bytes()));
        let quarantine = names::quarantine(slot, stream);
        Self {
            checkpoint: names::checkpoint(slot, stream).into(),
            owner: names::owner(slot, stream).into(),
            requests: format!("{quarantine}{REQUESTS}").into(),
            suspects: format!("{quarantine}{SUSPECTS}").into(),
            quarantine: quarantine.into(),
        }
    }

    /// The keys that live beside one another, the checkpoint first.
    fn all(&self) -> [&Bytes; 5] {
        [&self.checkpoint, &self.owner, &self.quarantine, &self.requests, &self.suspects]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(stream: &str, numbers: &[u16], partitions: u32, one_order: bool) -> Scope {
        let numbers = numbers.into();
        Scope { stream: stream.into(), incarnation: 1, numbers, partitions, one_order }
    }

    fn spot(db: u32, key: &str) -> Spot {
        Spot { db, key: Bytes::copy_from_slice(key.as_bytes()) }
    }

    fn shop() -> Names {
        Names::new(&scope("shop", &[0, 1, 2, 3], 4, true))
    }

    #[test]
    fn all_names_of_a_track_lie_in_the_first_slot_of_its_first_partition() {
        for (first, partitions) in [(0, 16), (3, 16), (15, 16), (0, 1), (16383, 16384)] {
            let names = Names::new(&scope("shop", &[first], partitions, false));
            let slot = slots_of(u32::from(first), partitions).start;
            assert_eq!(names.all().count(), 5);
            for name in names.all() {
                assert_eq!(Slot::of_key(name).get(), slot);
                assert!(names.is_own(name) && names::is_ours(name));
            }
        }
    }

    #[test]
    fn what_is_known_of_a_key_is_noted_in_its_track() {
        let names = Names::new(&scope("shop", &[1, 2], 4, false));
        let of_partition =
            |partition| spot(0, Slot::new(slots_of(partition, 4).start).unwrap().tag());
        let tracks = [0, 1, 2, 3].map(|partition| names.track_of(&of_partition(partition)));
        assert_eq!(tracks, [None, Some(0), Some(1), None]);
        assert_eq!(shop().track_of(&spot(0, "any")), Some(0));
        let tag = Slot::new(slots_of(2, 4).start).unwrap().tag();
        assert_eq!(names.track_of(&spot(Spot::LIBRARIES, tag)), None);
        assert_eq!(shop().track_of(&spot(Spot::LIBRARIES, tag)), Some(0));
        let third = Names::new(&scope("shop", &[3], 4, false));
        assert_eq!(names.of(&of_partition(3)), third.track(0));
        assert_eq!(names.all_of(&[0, 3]).count(), 10);
    }

    #[test]
    fn a_temporary_key_lies_in_the_slot_of_its_key_and_tells_its_epoch() {
        let stage = shop().stage(b"{user}:1", 7, 3);
        assert_eq!(Slot::of_key(&stage), Slot::of_key(b"user"));
        assert_eq!(shop().stage_epoch(&stage), Some(7));
        let other = Names::new(&scope("sho", &[0], 1, true));
        assert!(shop().is_own(&stage) && !other.is_own(&stage));
    }

    #[test]
    fn keys_of_other_lanes_of_the_stream_are_its_own_and_those_of_other_streams_and_users_are_not()
    {
        let beside = Names::new(&scope("shop", &[3], 4, false));
        assert!(beside.all().all(|name| shop().is_own(name)));
        let other = Names::new(&scope("other", &[0], 4, false));
        assert!(!other.all().any(|name| shop().is_own(name)));
        assert!(!shop().is_own(b"keyferry:mine") && !shop().is_own(b"x"));
    }

    #[test]
    fn the_name_of_a_connection_has_no_blank() {
        let names = Names::new(&scope("my shop\n", &[0], 4, true));
        assert_eq!(names.connection, "keyferry:my_shop_:");
    }
}
