//! The layout of a stream: nodes of entries, then what is known of the whole, then groups with
//! their pending entries and consumers, then (from version 4) the producers' idempotence state.

use super::super::error::Fault;
use super::super::reader::{Reader, Stop, Text};
use super::super::stream::{PendingEntry, StreamId, StreamMeta};

/// Stored where a group's number of entries read is not known.
const ENTRIES_READ_UNKNOWN: u64 = u64::MAX;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::rdb) struct StreamWalk {
    /// Of the layout, 1 to 4.
    version: u8,
    state: State,
    groups_left: u64,
    consumers_left: u64,
    producers_left: u64,
}

/// What was passed over. Texts are positions in the bytes of the step.
#[derive(Debug)]
pub(in crate::rdb) enum StreamUnit {
    /// Structure only.
    Nothing,
    /// A listpack of entries whose ids are counted from `id`.
    Node { id: StreamId, entries: Text },
    /// What is known of the whole; so many groups follow.
    Meta { meta: StreamMeta, groups: u64 },
    /// A group; so many pending entries, then its consumers follow.
    Group { name: Text, last_id: StreamId, entries_read: Option<u64>, pending: u64 },
    /// A pending entry of the last group.
    Pending(PendingEntry),
    /// A consumer of the last group; so many entries that are pending with it follow.
    Consumer { name: Text, seen_ms: i64, active_ms: Option<i64>, owned: u64 },
    /// An entry that is pending with the last consumer.
    Owned(StreamId),
    /// How long, and how many, producers' entries are remembered; the producers follow.
    Idempotence { duration: u64, entries_max: u64 },
    /// A producer; its remembered entries follow.
    Producer { name: Text },
    /// A remembered entry of the last producer.
    Produced { name: Text, id: StreamId },
    /// How many remembered entries were added, and how many refused as duplicates.
    Totals { added: u64, duplicates: u64 },
}

/// What comes next; the numbers are how many of it are left.
#[derive(Clone, Copy, Debug)]
enum State {
    NodeCount,
    Node(u64),
    Meta,
    Group,
    Pending(u64),
    ConsumerCount,
    Consumer,
    Owned(u64),
    Idempotence,
    Producer,
    Produced(u64),
    Totals,
    Done,
}

// === impl StreamWalk ===

impl StreamWalk {
    pub(super) fn new(version: u8) -> Self {
        let (groups_left, consumers_left, producers_left) = (0, 0, 0);
        Self { version, state: State::NodeCount, groups_left, consumers_left, producers_left }
    }

    /// Passes over the next unit; `None` at the end.
    pub(super) fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<StreamUnit>, Stop> {
        self.leave_what_is_done();
        Ok(Some(match self.state {
            State::NodeCount => {
                self.state = State::Node(reader.len()?);
                StreamUnit::Nothing
            }
            State::Node(left) => {
                let unit = node(reader)?;
                self.state = State::Node(left.saturating_sub(1));
                unit
            }
            State::Meta => self.meta(reader)?,
            State::Group => self.group(reader)?,
            State::Pending(left) => {
                let unit = StreamUnit::Pending(pending(reader)?);
                self.state = State::Pending(left.saturating_sub(1));
                unit
            }
            State::ConsumerCount => {
                self.consumers_left = reader.len()?;
                self.state = State::Consumer;
                StreamUnit::Nothing
            }
            State::Consumer => self.consumer(reader)?,
            State::Owned(left) => {
                let unit = StreamUnit::Owned(raw_id(reader)?);
                self.state = State::Owned(left.saturating_sub(1));
                unit
            }
            State::Idempotence | State::Producer | State::Produced(_) | State::Totals => {
                self.idempotence(reader)?
            }
            State::Done => return Ok(None),
        }))
    }

    /// Goes on from whatever has none left.
    fn leave_what_is_done(&mut self) {
        loop {
            self.state = match self.state {
                State::Node(0) => State::Meta,
                State::Pending(0) => State::ConsumerCount,
                State::Owned(0) => State::Consumer,
                State::Consumer if self.consumers_left == 0 => State::Group,
                State::Group if self.groups_left == 0 && self.version >= 4 => State::Idempotence,
                State::Group if self.groups_left == 0 => State::Done,
                State::Produced(0) => State::Producer,
                State::Producer if self.producers_left == 0 => State::Totals,
                _ => return,
            };
        }
    }

    fn meta(&mut self, reader: &mut Reader<'_>) -> Result<StreamUnit, Stop> {
        let mut meta = StreamMeta {
            length: reader.len()?,
            last_id: id(reader)?,
            first_id: None,
            max_deleted_id: None,
            entries_added: None,
        };
        if self.version >= 2 {
            meta.first_id = Some(id(reader)?);
            meta.max_deleted_id = Some(id(reader)?);
            meta.entries_added = Some(reader.len()?);
        }
        let groups = reader.len()?;
        self.groups_left = groups;
        self.state = State::Group;
        Ok(StreamUnit::Meta { meta, groups })
    }

    fn group(&mut self, reader: &mut Reader<'_>) -> Result<StreamUnit, Stop> {
        let (name, last_id) = (reader.text()?, id(reader)?);
        let entries_read = match self.version {
            1 => None,
            _ => Some(reader.len()?).filter(|read| *read != ENTRIES_READ_UNKNOWN),
        };
        let pending = reader.len()?;
        self.state = State::Pending(pending);
        self.groups_left = self.groups_left.saturating_sub(1);
        Ok(StreamUnit::Group { name, last_id, entries_read, pending })
    }

    fn consumer(&mut self, reader: &mut Reader<'_>) -> Result<StreamUnit, Stop> {
        let (name, seen_ms) = (reader.text()?, reader.i64()?);
        let active_ms = if self.version >= 3 { Some(reader.i64()?) } else { None };
        let owned = reader.len()?;
        self.state = State::Owned(owned);
        self.consumers_left = self.consumers_left.saturating_sub(1);
        Ok(StreamUnit::Consumer { name, seen_ms, active_ms, owned })
    }

    fn idempotence(&mut self, reader: &mut Reader<'_>) -> Result<StreamUnit, Stop> {
        Ok(match self.state {
            State::Producer => {
                let (name, count) = (reader.text()?, reader.len()?);
                self.producers_left = self.producers_left.saturating_sub(1);
                self.state = State::Produced(count);
                StreamUnit::Producer { name }
            }
            State::Produced(left) => {
                let (name, id) = (reader.text()?, id(reader)?);
                self.state = State::Produced(left.saturating_sub(1));
                StreamUnit::Produced { name, id }
            }
            State::Totals => {
                let (added, duplicates) = (reader.len()?, reader.len()?);
                self.state = State::Done;
                StreamUnit::Totals { added, duplicates }
            }
            _ => {
                let (duration, entries_max) = (reader.len()?, reader.len()?);
                self.producers_left = reader.len()?;
                self.state = State::Producer;
                StreamUnit::Idempotence { duration, entries_max }
            }
        })
    }
}

fn node(reader: &mut Reader<'_>) -> Result<StreamUnit, Stop> {
    let at = reader.position();
    let Text::Plain { len: 16, .. } = reader.text_head()? else {
        return Err(reader.bad_at(at, Fault::Stream("the id of a node has not 16 bytes")));
    };
    let id = raw_id(reader)?;
    Ok(StreamUnit::Node { id, entries: reader.text()? })
}

fn pending(reader: &mut Reader<'_>) -> Result<PendingEntry, Stop> {
    Ok(PendingEntry { id: raw_id(reader)?, delivered_ms: reader.i64()?, deliveries: reader.len()? })
}

fn id(reader: &mut Reader<'_>) -> Result<StreamId, Stop> {
    Ok(StreamId { ms: reader.len()?, seq: reader.len()? })
}

/// An id in 16 bytes, highest first.
fn raw_id(reader: &mut Reader<'_>) -> Result<StreamId, Stop> {
    let (ms, seq) = (reader.array()?, reader.array()?);
    Ok(StreamId { ms: u64::from_be_bytes(ms), seq: u64::from_be_bytes(seq) })
}
