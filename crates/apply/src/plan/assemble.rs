//! Events that come in several records: fragments of one, records of a group, parts of a module's value. Pure.
//!
//! Nothing of such an event is planned before its last record has come, unless a group outgrows its bound. An epoch that
//! begins drops what was open: a capture that died in between writes it again.

use bytes::{Bytes, BytesMut};
use event::control::Control;
use event::fragment::{Assembler, FragmentError};
use event::image::{Elements, Image, ImagePart, ImageValue};
use event::{Body, Event, Position, Shard};

use super::Planner;
use crate::error::Error;
use crate::limits;

/// What is open in one lane.
#[derive(Debug)]
pub(super) struct Assembly {
    /// A group that costs more bytes than that is given out in pieces.
    group_bytes: usize,
    /// Whether all is in one track.
    one_order: bool,
    fragments: Vec<Fragments>,
    groups: Vec<OpenGroup>,
    values: Vec<OpenValue>,
}

/// What a record completes.
#[derive(Debug)]
pub(super) enum Gathered {
    /// Nothing yet.
    More,
    /// The event that it is.
    Event(Event),
    /// The encoding of an event that came in fragments, and where they began.
    Encoding(Bytes, Origin),
    /// A group in several records, in order.
    Group(Vec<GroupRecord>),
    /// A value that came in parts, as one image.
    Value(Event, Bytes),
}

/// One record of a group, still encoded: small changes take several times the memory when they are not.
#[derive(Debug)]
pub(super) struct GroupRecord {
    record: Bytes,
    position: Position,
    number: u32,
    last: bool,
    changes: usize,
    /// Whether it empties or exchanges databases.
    pub(super) empties_databases: bool,
    /// Whether several tracks may meet at it.
    pub(super) is_met: bool,
}

#[derive(Debug)]
struct Fragments {
    origin: Origin,
    position: Position,
    assembler: Assembler,
}

#[derive(Debug)]
struct OpenGroup {
    origin: Origin,
    records: Vec<GroupRecord>,
    bytes: usize,
    /// Records that were given out since the whole was too large.
    given_out: u32,
}

/// A value that only its module understands, whose parts are good for nothing before the last has come.
#[derive(Debug)]
struct OpenValue {
    origin: Origin,
    first: Position,
    parts: Vec<Bytes>,
    bytes: usize,
}

/// Where the first record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    shard: Shard,
    lane_index: usize,
    offset: u64,
}

// === impl Assembly ===

impl Assembly {
    /// Nothing is open. A group of more than `group_bytes` will be given out in pieces.
    pub(super) fn new(group_bytes: usize, one_order: bool) -> Self {
        Self {
            group_bytes,
            one_order,
            fragments: Vec::new(),
            groups: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Whether nothing is open.
    pub(super) fn is_idle(&self) -> bool {
        self.fragments.is_empty() && self.groups.is_empty() && self.values.is_empty()
    }

    /// Whether an event may be one of several records.
    pub(super) fn gathers(body: &Body) -> bool {
        match body {
            Body::Fragment(_) => true,
            Body::Group(group) => group.number > 0 || !group.last,
            Body::ImagePart(part) => matches!(part.elements, Elements::Opaque(_)),
            Body::Command(_) | Body::Image(_) | Body::Control(_) => false,
        }
    }

    /// Takes the next event, whose first record stands at `origin`. What its shard has applied last says where a group
    /// goes on of which some pieces were applied before an interruption.
    pub(crate) fn take(
        &mut self,
        event: Event,
        record: &Bytes,
        origin: Origin,
        applied: Option<Position>,
    ) -> Result<Gathered, Error> {
        match &event.body {
            Body::Fragment(_) => self.fragment(event, origin),
            Body::Group(group) if Self::gathers(&event.body) => {
                let record = GroupRecord {
                    record: record.clone(),
                    position: event.position,
                    number: group.number,
                    last: group.last,
                    changes: group.changes.len(),
                    empties_databases: Planner::empties_databases(group),
                    is_met: !group.partitions.is_empty() && !self.one_order,
                };
                self.group_record(record, origin, applied)
            }
            Body::ImagePart(ImagePart { elements: Elements::Opaque(_), .. }) => {
                self.part_of_value(event, origin)
            }
            Body::Control(Control::EpochBegin(_)) => {
                // It stands in every partition, and says nothing of others that may not be there yet.
                self.fragments.retain(|open| !open.origin.is_beside(&origin));
                self.groups.retain(|open| !open.origin.is_beside(&origin));
                self.values.retain(|open| !open.origin.is_beside(&origin));
                Ok(Gathered::Event(event))
            }
            _ => {
                self.refuse_overtaking(&event, &origin)?;
                Ok(Gathered::Event(event))
            }
        }
    }

    /// The first record of everything that is open: partition's index in the lane, and offset.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let fragments = self.fragments.iter().map(|open| open.origin);
        let groups = self.groups.iter().filter(|open| !open.records.is_empty());
        let values = self.values.iter().map(|open| open.origin);
        let origins = fragments.chain(groups.map(|open| open.origin)).chain(values);
        origins.map(|origin| (origin.lane_index, origin.offset))
    }

    /// Forgets what is open of a partition: it is read again.
    pub(super) fn forget(&mut self, lane_index: usize) {
        self.fragments.retain(|open| open.origin.lane_index != lane_index);
        self.groups.retain(|open| open.origin.lane_index != lane_index);
        self.values.retain(|open| open.origin.lane_index != lane_index);
    }

    fn fragment(&mut self, event: Event, origin: Origin) -> Result<Gathered, Error> {
        let position = event.position;
        let Body::Fragment(fragment) = event.body else { return Ok(Gathered::Event(event)) };
        let same = |open: &Fragments| open.origin.is_beside(&origin);
        if fragment.number == 0 {
            self.fragments.retain(|open| !same(open));
            let assembler = Assembler::lean(limits::EVENT_BYTES);
            self.fragments.push(Fragments { origin, position, assembler });
        }
        let Some(open) = self.fragments.iter_mut().find(|open| same(open)) else {
            let what = format!("fragment {} comes without the first", fragment.number);
            return Err(Error::Contradiction { position, what });
        };
        let origin = open.origin;
        let whole = open.assembler.push(fragment, position).map_err(|error| match error {
            FragmentError::OverBudget { total_bytes, budget_bytes } => {
                Error::TooLarge { position, bytes: total_bytes, limit: budget_bytes as u64 }
            }
            error => Error::Contradiction { position, what: error.to_string() },
        })?;
        Ok(match whole {
            None => Gathered::More,
            Some(encoding) => {
                self.fragments.retain(|open| !same(open));
                Gathered::Encoding(encoding, origin)
            }
        })
    }

    fn group_record(
        &mut self,
        record: GroupRecord,
        origin: Origin,
        applied: Option<Position>,
    ) -> Result<Gathered, Error> {
        let GroupRecord { position, number, last, .. } = record;
        let same = |open: &OpenGroup| open.origin.is_beside(&origin);
        if number == 0 {
            self.groups.retain(|open| !same(open));
            self.groups.push(OpenGroup::at(origin, 0));
        } else if record.follows(applied) && !self.groups.iter().any(same) {
            self.groups.push(OpenGroup::at(origin, number));
        }
        let Some(open) = self.groups.iter_mut().find(|open| same(open)) else {
            let what = format!("record {number} of a group comes without the first");
            return Err(Error::Contradiction { position, what });
        };
        let here = u32::try_from(open.records.len()).unwrap_or(u32::MAX);
        let expected = open.given_out.saturating_add(here);
        if number != expected {
            let what = format!("record {number} of a group comes where {expected} should");
            return Err(Error::Contradiction { position, what });
        }
        if open.records.is_empty() {
            open.origin = origin;
        }
        open.bytes += record.cost();
        open.records.push(record);
        if last {
            let records = std::mem::take(&mut open.records);
            self.groups.retain(|open| !same(open));
            return Ok(Gathered::Group(records));
        }
        if open.bytes < self.group_bytes {
            return Ok(Gathered::More);
        }
        open.given_out = number + 1;
        open.bytes = 0;
        Ok(Gathered::Group(std::mem::take(&mut open.records)))
    }

    fn part_of_value(&mut self, mut event: Event, origin: Origin) -> Result<Gathered, Error> {
        let position = event.position;
        let Body::ImagePart(part) = event.body else { return Ok(Gathered::More) };
        let Elements::Opaque(bytes) = part.elements else { return Ok(Gathered::More) };
        let same = |open: &OpenValue| open.origin.is_beside(&origin);
        if part.number == 0 {
            self.values.retain(|open| !same(open));
            self.values.push(OpenValue { origin, first: position, parts: Vec::new(), bytes: 0 });
        }
        let Some(open) = self.values.iter_mut().find(|open| same(open)) else {
            let what = format!("part {} of a value comes without the first", part.number);
            return Err(Error::Contradiction { position, what });
        };
        open.bytes = open.bytes.saturating_add(bytes.len());
        open.parts.push(bytes);
        if open.bytes > limits::VALUE_BYTES {
            // No server takes an argument of that size: the empty value in its place is refused, and set aside.
            open.parts.clear();
        }
        if !part.last {
            return Ok(Gathered::More);
        }
        let rdb = Bytes::from(open.parts.concat());
        self.values.retain(|open| !same(open));
        event.body = Body::Image(Image { head: part.head, value: ImageValue::Rdb(rdb) });
        let record = encoded(&event)?;
        Ok(Gathered::Value(event, record))
    }

    /// Nothing of a shard may come between the records of one of its events: what was open would be passed over. That
    /// goes for what has one order: all partitions together, or each for itself.
    fn refuse_overtaking(&self, event: &Event, origin: &Origin) -> Result<(), Error> {
        let in_order = |of: &Origin| {
            of.is_beside(origin) || self.one_order && of.shard == event.position.shard
        };
        let overtaken = self
            .fragments
            .iter()
            .map(|open| (open.origin, open.position))
            .chain(
                self.groups
                    .iter()
                    .filter_map(|open| Some((open.origin, open.records.first()?.position))),
            )
            .chain(self.values.iter().map(|open| (open.origin, open.first)))
            .find(|(of, position)| in_order(of) && event.position.is_after(position));
        match overtaken {
            None => Ok(()),
            Some((_, open)) => {
                let what = format!("it comes before the rest of the event at {open}");
                Err(Error::Contradiction { position: event.position, what })
            }
        }
    }
}

fn encoded(event: &Event) -> Result<Bytes, Error> {
    let mut record = BytesMut::new();
    event::codec::encode(event, &mut record).map_err(|error| Error::Contradiction {
        position: event.position,
        what: format!("its records cannot be put together: {error}"),
    })?;
    Ok(record.freeze())
}

// === impl OpenGroup ===

impl OpenGroup {
    /// One of which so many records were given out before the one at `origin`.
    fn at(origin: Origin, given_out: u32) -> Self {
        Self { origin, records: Vec::new(), bytes: 0, given_out }
    }
}

// === impl Origin ===

impl Origin {
    /// The place of a record.
    pub(crate) fn of(event: &Event, lane_index: usize, offset: u64) -> Self {
        Self { shard: event.position.shard, lane_index, offset }
    }

    /// Whether records of one event would come from there too.
    fn is_beside(&self, other: &Self) -> bool {
        (self.shard, self.lane_index) == (other.shard, other.lane_index)
    }
}

// === impl GroupRecord ===

impl GroupRecord {
    /// The event, and its encoding.
    pub(super) fn decode(self) -> Result<(Event, Bytes), Error> {
        let event = event::codec::decode_lean(self.record.clone());
        let event = event.map_err(|error| Error::Contradiction {
            position: self.position,
            what: format!("a record that was read before cannot be read again: {error}"),
        })?;
        Ok((event, self.record))
    }

    /// One event that says what all of them say, at the place of the last, and its encoding.
    pub(super) fn join(records: Vec<Self>) -> Result<Option<(Event, Bytes)>, Error> {
        let mut records = records.into_iter();
        let is_last = records.as_slice().last().is_some_and(Self::is_last);
        let Some((mut event, _)) = records.next().map(Self::decode).transpose()? else {
            return Ok(None);
        };
        for next in records {
            let (next, _) = next.decode()?;
            if let (Body::Group(whole), Body::Group(more)) = (&mut event.body, next.body) {
                whole.changes.extend(more.changes);
            }
            event.position = next.position;
        }
        if let Body::Group(group) = &mut event.body {
            (group.number, group.last) = (0, is_last);
        }
        let record = encoded(&event)?;
        Ok(Some((event, record)))
    }

    /// The memory that it takes until it has been applied.
    fn cost(&self) -> usize {
        self.record.len() + self.changes * limits::CHANGE_BYTES
    }

    /// Whether the record before it was the last that its shard has applied.
    fn follows(&self, applied: Option<Position>) -> bool {
        let before = self.position.index.checked_sub(1).map(|index| self.position.at_index(index));
        before.is_some() && before == applied
    }

    /// Whether it is the first of its group.
    pub(super) fn is_first(&self) -> bool {
        self.number == 0
    }

    /// Whether it is the last of its group.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }
}
