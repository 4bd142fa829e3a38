//! From what a walk passes over to the elements of a value: the decoding that whole values and
//! parts of large ones share.

use bytes::{Bytes, BytesMut};

use super::error::Fault;
use super::kind::Class;
use super::packed::{Listpack, Packed};
use super::stream::{StreamEntry, StreamId, StreamItem};
use super::walk::{Packing, StreamUnit, Unit};
use super::{HashField, Part};

/// What an element weighs besides its bytes, about what it costs as an argument of a command.
const ELEMENT_WEIGHT: usize = 16;

/// In a node of a stream: the entry was deleted.
const FLAG_DELETED: i64 = 1;

/// In a node of a stream: the entry has the fields of the node's first entry.
const FLAG_SAME_FIELDS: i64 = 2;

/// An element of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Element {
    /// A string, an element of a list, a member of a set.
    Text(Bytes),
    /// A member of a sorted set.
    Scored(Bytes, f64),
    /// A field of a hash.
    Field(HashField),
    /// A piece of a stream.
    Stream(StreamItem),
    /// Bytes of a module's value.
    Module(Bytes),
}

/// The elements of the unit that was loaded last.
#[derive(Debug, Default)]
pub(super) enum Elements {
    #[default]
    Nothing,
    One(Element),
    Packed(Packing, Packed),
    Node(Node),
}

/// The entries of one node of a stream.
#[derive(Debug)]
pub(super) struct Node {
    entries: Listpack,
    /// What the ids are counted from.
    first_id: StreamId,
    fields: Vec<Bytes>,
}

/// Collects elements of one class into a part.
#[derive(Debug)]
pub(super) struct Collector {
    class: Class,
    part: Collected,
    weight: usize,
}

#[derive(Debug)]
enum Collected {
    Texts(Vec<Bytes>),
    Scored(Vec<(Bytes, f64)>),
    Fields(Vec<HashField>),
    Stream(Vec<StreamItem>),
    Bytes(BytesMut),
}

// === impl Elements ===

impl Elements {
    /// Begins with the elements of `unit`, which was read from the beginning of `bytes`.
    pub(super) fn load(&mut self, unit: Unit, bytes: &Bytes) -> Result<(), Fault> {
        *self = match unit {
            Unit::Nothing => Self::Nothing,
            Unit::Text(text) => Self::One(Element::Text(text.bytes(bytes)?)),
            Unit::Scored(member, score) => Self::One(Element::Scored(member.bytes(bytes)?, score)),
            Unit::Field(field, value, expire_at_ms) => {
                let (field, value) = (field.bytes(bytes)?, value.bytes(bytes)?);
                Self::One(Element::Field(HashField { field, value, expire_at_ms }))
            }
            Unit::Packed(blob, packing) => {
                Self::Packed(packing, Packed::new(packing, blob.bytes(bytes)?)?)
            }
            Unit::Stream(StreamUnit::Node { id, entries }) => {
                Self::Node(Node::new(id, entries.bytes(bytes)?)?)
            }
            Unit::Stream(unit) => match stream_item(unit, bytes)? {
                Some(item) => Self::One(Element::Stream(item)),
                None => Self::Nothing,
            },
            Unit::Module => Self::One(Element::Module(bytes.clone())),
        };
        Ok(())
    }

    /// The next element; `None` when another unit must be loaded.
    pub(super) fn next(&mut self) -> Result<Option<Element>, Fault> {
        let element = match self {
            Self::Nothing => None,
            Self::One(_) => match std::mem::take(self) {
                Self::One(element) => return Ok(Some(element)),
                _ => None,
            },
            Self::Packed(packing, packed) => packed_element(*packing, packed)?,
            Self::Node(node) => node.next()?.map(StreamItem::Entry).map(Element::Stream),
        };
        if element.is_none() {
            // A blob cannot be read beyond its end.
            *self = Self::Nothing;
        }
        Ok(element)
    }
}

fn packed_element(packing: Packing, packed: &mut Packed) -> Result<Option<Element>, Fault> {
    let Some(first) = packed.next()? else { return Ok(None) };
    Ok(Some(match packing {
        Packing::ZiplistElements | Packing::ListpackElements | Packing::IntsetElements => {
            Element::Text(first.into_bytes())
        }
        Packing::ZiplistScores | Packing::ListpackScores => {
            Element::Scored(first.into_bytes(), packed.rest()?.score()?)
        }
        Packing::ZiplistFields | Packing::ListpackFields | Packing::ZipmapFields => {
            let (field, value) = (first.into_bytes(), packed.rest()?.into_bytes());
            Element::Field(HashField { field, value, expire_at_ms: None })
        }
        Packing::ListpackExpiringFields => {
            let (field, value) = (first.into_bytes(), packed.rest()?.into_bytes());
            let deadline = packed.rest()?.int()?;
            let expire_at_ms = (deadline != 0).then_some(deadline);
            Element::Field(HashField { field, value, expire_at_ms })
        }
    }))
}

fn stream_item(unit: StreamUnit, bytes: &Bytes) -> Result<Option<StreamItem>, Fault> {
    Ok(Some(match unit {
        StreamUnit::Nothing | StreamUnit::Node { .. } => return Ok(None),
        StreamUnit::Meta { meta, .. } => StreamItem::Meta(meta),
        StreamUnit::Group { name, last_id, entries_read, .. } => {
            StreamItem::Group { name: name.bytes(bytes)?, last_id, entries_read }
        }
        StreamUnit::Pending(entry) => StreamItem::Pending(entry),
        StreamUnit::Consumer { name, seen_ms, active_ms, .. } => {
            StreamItem::Consumer { name: name.bytes(bytes)?, seen_ms, active_ms }
        }
        StreamUnit::Owned(id) => StreamItem::Owned(id),
        StreamUnit::Idempotence { duration, entries_max } => {
            StreamItem::Idempotence { duration, entries_max }
        }
        StreamUnit::Producer { name } => StreamItem::Producer { name: name.bytes(bytes)? },
        StreamUnit::Produced { name, id } => StreamItem::Produced { name: name.bytes(bytes)?, id },
        StreamUnit::Totals { added, duplicates } => StreamItem::Totals { added, duplicates },
    }))
}

// === impl Node ===

impl Node {
    fn new(first_id: StreamId, blob: Bytes) -> Result<Self, Fault> {
        let mut entries = Listpack::new(blob)?;
        // How many entries are in the node, and how many are deleted.
        entries.must()?.int()?;
        entries.must()?.int()?;
        let count = count(&mut entries)?;
        let mut fields = Vec::new();
        for _ in 0..count {
            fields.push(entries.must()?.into_bytes());
        }
        entries.must()?;
        Ok(Self { entries, first_id, fields })
    }

    /// The next entry that is not deleted.
    fn next(&mut self) -> Result<Option<StreamEntry>, Fault> {
        while let Some(flags) = self.entries.next()? {
            let flags = flags.int()?;
            let (ms, seq) = (self.entries.must()?.int()?, self.entries.must()?.int()?);
            let fields = self.entry_fields(flags & FLAG_SAME_FIELDS != 0)?;
            // How many parts the entry has, for a walk from the end.
            self.entries.must()?;
            if flags & FLAG_DELETED == 0 {
                let StreamId { ms: first_ms, seq: first_seq } = self.first_id;
                let (ms, seq) =
                    (first_ms.wrapping_add_signed(ms), first_seq.wrapping_add_signed(seq));
                return Ok(Some(StreamEntry { id: StreamId { ms, seq }, fields }));
            }
        }
        Ok(None)
    }

    fn entry_fields(&mut self, same: bool) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        if same {
            let entries = &mut self.entries;
            let pair = |field: &Bytes| Ok((field.clone(), entries.must()?.into_bytes()));
            return self.fields.iter().map(pair).collect();
        }
        let count = count(&mut self.entries)?;
        let mut fields = Vec::new();
        for _ in 0..count {
            fields.push((self.entries.must()?.into_bytes(), self.entries.must()?.into_bytes()));
        }
        Ok(fields)
    }
}

/// How many fields follow; nothing is allocated for a promise.
fn count(entries: &mut Listpack) -> Result<u64, Fault> {
    let count = entries.must()?.int()?;
    u64::try_from(count).map_err(|_| Fault::Stream("a number of fields is negative"))
}

// === impl Collector ===

impl Collector {
    pub(super) fn new(class: Class) -> Self {
        Self { class, part: Collected::new(class), weight: 0 }
    }

    /// About how many bytes the part has.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn push(&mut self, element: Element) {
        self.weight += element.weight();
        match (&mut self.part, element) {
            (Collected::Texts(part), Element::Text(text)) => part.push(text),
            (Collected::Scored(part), Element::Scored(member, score)) => part.push((member, score)),
            (Collected::Fields(part), Element::Field(field)) => part.push(field),
            (Collected::Stream(part), Element::Stream(item)) => part.push(item),
            (Collected::Bytes(part), Element::Text(raw) | Element::Module(raw)) => {
                part.extend_from_slice(&raw);
            }
            // The walk of a class gives elements of that class only.
            _ => debug_assert!(false, "an element of another class"),
        }
    }

    /// What was pushed since the last time.
    pub(super) fn take(&mut self) -> Part {
        self.weight = 0;
        match std::mem::replace(&mut self.part, Collected::new(self.class)) {
            Collected::Texts(part) if self.class == Class::List => Part::List(part),
            Collected::Texts(part) => Part::Set(part),
            Collected::Scored(part) => Part::Zset(part),
            Collected::Fields(part) => Part::Hash(part),
            Collected::Stream(part) => Part::Stream(part),
            Collected::Bytes(part) if self.class == Class::String => Part::Str(part.freeze()),
            Collected::Bytes(part) => Part::Module { raw: part.freeze() },
        }
    }
}

impl Collected {
    fn new(class: Class) -> Self {
        match class {
            Class::List | Class::Set => Self::Texts(Vec::new()),
            Class::Zset => Self::Scored(Vec::new()),
            Class::Hash => Self::Fields(Vec::new()),
            Class::Stream => Self::Stream(Vec::new()),
            Class::String | Class::Module => Self::Bytes(BytesMut::new()),
        }
    }
}

// === impl Element ===

impl Element {
    fn weight(&self) -> usize {
        match self {
            Self::Module(raw) => raw.len(),
            Self::Text(text) | Self::Scored(text, _) => ELEMENT_WEIGHT + text.len(),
            Self::Field(field) => 2 * ELEMENT_WEIGHT + field.field.len() + field.value.len(),
            Self::Stream(StreamItem::Entry(entry)) => {
                let fields = entry.fields.iter();
                let fields = fields.map(|(field, value)| field.len() + value.len());
                ELEMENT_WEIGHT + fields.map(|len| 2 * ELEMENT_WEIGHT + len).sum::<usize>()
            }
            Self::Stream(
                StreamItem::Group { name, .. }
                | StreamItem::Consumer { name, .. }
                | StreamItem::Producer { name }
                | StreamItem::Produced { name, .. },
            ) => 2 * ELEMENT_WEIGHT + name.len(),
            Self::Stream(_) => 2 * ELEMENT_WEIGHT,
        }
    }
}
