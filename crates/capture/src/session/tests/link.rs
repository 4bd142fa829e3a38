//! The link between the simulated source and the spool: the rules of a partial transfer.

use bytes::Bytes;
use runtime::{Clock, ManualClock, Random};

use super::peer;
use super::world::World;
use crate::piece::{FullResync, History, Lineage, Piece};
use crate::resume::Tail;
use crate::spool::SpoolWriter;

/// What has been received, and how.
pub(super) struct Link {
    place: Option<(String, u64)>,
    held_offset: u64,
    history: History,
    state: State,
}

enum State {
    Down,
    /// The file, how much of it was sent, and where the stream goes on after it.
    Snapshot(Bytes, usize, (String, u64)),
    Up,
}

// === impl Link ===

impl Link {
    pub(super) fn of(tail: &Tail) -> Self {
        let point = tail.point.as_ref();
        Self {
            place: point.map(|point| (point.replication_id.clone(), point.offset)),
            held_offset: tail.held_offset(),
            history: History::default(),
            state: State::Down,
        }
    }

    pub(super) fn history(&self) -> History {
        self.history
    }

    pub(super) fn cut(&mut self) {
        self.state = State::Down;
    }

    pub(super) fn is_at_end(&self, world: &World) -> bool {
        let at_end = self.place.as_ref().is_some_and(|(_, offset)| *offset == world.end());
        at_end && matches!(self.state, State::Up)
    }

    /// The next bytes, or the link is set up.
    pub(super) async fn deliver(
        &mut self,
        world: &mut World,
        writer: &mut SpoolWriter,
        random: &mut Random,
        clock: &ManualClock,
    ) {
        let most = if random.chance(0.5) { 100 } else { 1_000_000 };
        let most = 1 + usize::try_from(random.below(most)).unwrap();
        match &mut self.state {
            State::Down => self.connect(world, writer).await,
            State::Snapshot(file, sent, end) if *sent == file.len() => {
                self.place = Some(end.clone());
                self.state = State::Up;
                writer.push(Piece::SnapshotEnd).await.unwrap();
            }
            State::Snapshot(file, sent, _) => {
                let chunk = file.slice(*sent..file.len().min(*sent + most));
                *sent += chunk.len();
                writer.push(Piece::Snapshot(chunk)).await.unwrap();
            }
            State::Up => {
                let (_, offset) = self.place.as_mut().expect("the stream has begun");
                let rest = world.after(*offset);
                let chunk = &rest[..rest.len().min(most)];
                if chunk.is_empty() {
                    return;
                }
                *offset += chunk.len() as u64;
                let bytes = Bytes::copy_from_slice(chunk);
                let arrived_ms = clock.now_ms();
                writer.push(Piece::Stream { bytes, arrived_ms }).await.unwrap();
            }
        }
    }

    async fn connect(&mut self, world: &mut World, writer: &mut SpoolWriter) {
        if let Some((id, offset)) = self.place.clone()
            && world.has(offset)
        {
            if id == world.id() {
                self.state = State::Up;
                writer.push(Piece::Continued { peer: peer(), branch: None }).await.unwrap();
                return;
            }
            if let Some((before, last)) = world.branch()
                && before == id
                && offset <= last
                && self.held_offset <= last
            {
                let branch = Lineage { replication_id: world.id().to_owned(), offset: last };
                self.place = Some((branch.replication_id.clone(), offset));
                self.state = State::Up;
                let branch = Some(branch);
                writer.push(Piece::Continued { peer: peer(), branch }).await.unwrap();
                return;
            }
        }
        self.place = None;
        self.held_offset = 0;
        self.history = self.history.next();
        let end = (world.id().to_owned(), world.end());
        let begin = FullResync {
            history: self.history,
            lineage: Lineage { replication_id: end.0.clone(), offset: end.1 },
            bytes_expected: 0,
            keys_expected: 0,
            peer: peer(),
        };
        writer.push(Piece::FullResync(Box::new(begin))).await.unwrap();
        self.state = State::Snapshot(world.snapshot(), 0, end);
    }
}
