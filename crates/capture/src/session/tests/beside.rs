//! A second link to the simulated source: snapshots on demand, and who begins with one.

use bytes::Bytes;
use event::control::{Control, EpochCause, SnapshotBegin, SnapshotEnd};
use event::fragment::Assembler;
use event::{Body, Event, Position};
use runtime::Random;
use tokio::sync::mpsc;

use super::destination::Destination;
use super::world::World;
use super::{MemoryJournal, PARTITIONS};
use crate::beside::{Offer, Offered, Part};
use crate::testing::records;

/// The link, of one process after the other.
#[derive(Default)]
pub(super) struct Second {
    /// Whether there are any.
    pub(super) is_wanted: bool,
    last_id: u64,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    /// The session has been asked to begin.
    Offered(Offered),
    /// The file, and how much of it was handed on.
    Sending(Offered, Bytes, usize),
}

/// What a journal has of a snapshot on demand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) id: u64,
    /// Where its first beginning stands, by the order of the journal.
    begin: usize,
    /// Where its last end stands.
    end: usize,
    /// Where it stands in the history.
    pub(super) at: Position,
}

// === impl Second ===

impl Second {
    /// The process has died, or the link is lost.
    pub(super) fn cut(&mut self) {
        self.state = State::Idle;
    }

    /// The next thing that happens over it, if anything can.
    pub(super) fn step(
        &mut self,
        world: &mut World,
        offers: &mpsc::Sender<Offer>,
        random: &mut Random,
    ) {
        let most = if random.chance(0.5) { 300 } else { 1_000_000 };
        let most = 1 + usize::try_from(random.below(most)).unwrap();
        self.state = match std::mem::take(&mut self.state) {
            State::Idle if !self.is_wanted => State::Idle,
            State::Idle => self.offer(offers),
            State::Offered(mut offered) => match offered.begun.try_recv() {
                Ok(stream) => {
                    let is_its = stream.replication_id == world.id();
                    match is_its && world.end() >= stream.offset {
                        true => start(world, offered),
                        false => State::Idle,
                    }
                }
                Err(_) if offered.parts.is_closed() => State::Idle,
                Err(_) => State::Offered(offered),
            },
            State::Sending(offered, file, sent) => {
                let bytes = file.slice(sent..file.len().min(sent + most));
                let length = bytes.len();
                let part = if length == 0 { Part::End } else { Part::Bytes(bytes) };
                match offered.parts.try_send(part) {
                    Ok(()) if length == 0 => State::Idle,
                    Ok(()) => State::Sending(offered, file, sent + length),
                    Err(mpsc::error::TrySendError::Full(_)) => State::Sending(offered, file, sent),
                    Err(mpsc::error::TrySendError::Closed(_)) => State::Idle,
                }
            }
        };
    }

    fn offer(&mut self, offers: &mpsc::Sender<Offer>) -> State {
        self.last_id += 1;
        let (offer, offered) = Offer::new(self.last_id, 0);
        match offers.try_send(offer) {
            Ok(()) => State::Offered(offered),
            Err(_) => State::Idle,
        }
    }
}

fn start(world: &mut World, offered: Offered) -> State {
    let offset = world.end();
    // The source forgets what it had selected for the other link too.
    let file = world.snapshot();
    match offered.parts.try_send(Part::Start { offset, bytes_expected: 0 }) {
        Ok(()) => State::Sending(offered, file, 0),
        Err(_) => State::Idle,
    }
}

/// The complete snapshots on demand of a journal. All records of each say whose they are, and stand within no other event
/// of their partition.
pub(super) async fn complete(journal: &MemoryJournal) -> Vec<Found> {
    let records = records(journal).await;
    assert_between_events(&records);
    let mut found: Vec<Found> = Vec::new();
    let mut ends = Vec::new();
    for (number, (_, event)) in records.iter().enumerate() {
        match &event.body {
            Body::Control(Control::SnapshotBegin(SnapshotBegin {
                snapshot_id: id @ 1.., ..
            })) if !found.iter().any(|one| one.id == *id) => {
                found.push(Found { id: *id, begin: number, end: 0, at: event.position });
            }
            Body::Control(Control::SnapshotEnd(SnapshotEnd { snapshot_id: id @ 1.., .. })) => {
                let one = found.iter_mut().find(|one| one.id == *id).expect("it began");
                assert!(event.position.is_after(&one.at), "{} {}", event.position, one.at);
                (one.end, one.at) = (number, Position { index: one.at.index, ..event.position });
                ends.push(*id);
            }
            _ => {}
        }
    }
    let whole = |one: &Found| ends.iter().filter(|id| **id == one.id).count();
    found.retain(|one| whole(one) == usize::from(PARTITIONS));
    assert_behind_begin(&records, &found);
    found
}

/// All of the stream that comes after a snapshot lies behind its beginning.
fn assert_behind_begin(records: &[(u16, Event)], found: &[Found]) {
    for one in found {
        let end = one.at.at_index(Position::LAST_INDEX);
        let early = records[..one.begin]
            .iter()
            .find(|(_, event)| event.snapshot_id() == 0 && event.position.is_after(&end));
        assert!(early.is_none(), "{early:?} before the beginning of {one:?}");
    }
}

fn assert_between_events(records: &[(u16, Event)]) {
    let assembler = || Assembler::new(usize::MAX >> 1);
    let mut open: Vec<(Assembler, bool)> = (0..PARTITIONS).map(|_| (assembler(), false)).collect();
    for (partition, event) in records {
        let (pieces, in_group) = &mut open[usize::from(*partition)];
        match &event.body {
            _ if event.snapshot_id() != 0 => {
                assert!(!pieces.is_open() && !*in_group, "{} in {partition}", event.position);
            }
            Body::Fragment(fragment) => {
                let whole = pieces.push(fragment.clone(), event.position).unwrap();
                if let Some(Body::Group(group)) =
                    whole.map(|whole| event::codec::decode(whole).unwrap().body)
                {
                    *in_group = !group.last;
                }
            }
            Body::Group(group) => *in_group = !group.last,
            Body::Control(Control::EpochBegin(_)) => (*pieces, *in_group) = (assembler(), false),
            _ => {}
        }
    }
}

/// Whoever begins with a snapshot and goes on with the stream after it; none: it got what a later fail-over took back.
pub(super) async fn begin_with(journal: &MemoryJournal, one: Found) -> Option<Destination> {
    let records = records(journal).await;
    let is_beyond = |(_, event): &(u16, Event)| match &event.body {
        Body::Control(Control::EpochBegin(begin)) if begin.cause == EpochCause::Continued => {
            one.at.epoch < event.position.epoch && one.at.offset > begin.branch_offset
        }
        _ => false,
    };
    if records.iter().any(is_beyond) {
        return None;
    }
    let images = records[one.begin..=one.end].iter();
    let images = images.filter(|(_, event)| event.snapshot_id() == one.id).cloned().collect();
    let behind = records[one.begin..].iter().filter(|(_, event)| event.snapshot_id() == 0);
    let mut destination = Destination::new(PARTITIONS);
    destination.begin_with(images, one.at.at_index(Position::LAST_INDEX));
    destination.take_all(behind.cloned().collect());
    Some(destination)
}
