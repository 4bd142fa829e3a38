//! Streams: entries, counters, groups with their pending entries and consumers.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::compare::{Tolerance, abridged_set};
use crate::client::abridged;
use crate::value::Value;

mod parts;

/// A stream as XINFO STREAM … FULL tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamValue {
    /// Entries in order.
    pub entries: Vec<StreamEntry>,
    /// The largest id ever added.
    pub last_id: String,
    /// The largest id ever deleted; not known before 7.0.
    pub max_deleted_id: Option<String>,
    /// How many entries were ever added; not known before 7.0.
    pub entries_added: Option<String>,
    /// Groups by name.
    pub groups: BTreeMap<Vec<u8>, Group>,
}

/// One entry: its id, and fields and values in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// The id.
    pub id: String,
    /// Fields and values in turn.
    pub fields: Vec<Vec<u8>>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The id up to which entries were delivered.
    pub last_delivered_id: String,
    /// How many entries were read, "nil" where the server has lost count; not known before 7.0.
    pub entries_read: Option<String>,
    /// Delivered and not acknowledged, by id.
    pub pending: BTreeMap<String, Pending>,
    /// The consumers' names.
    pub consumers: BTreeSet<Vec<u8>>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// To whom.
    pub consumer: Vec<u8>,
    /// When, in milliseconds since the epoch.
    pub delivered_at_ms: i64,
    /// How often.
    pub deliveries: i64,
}

// === impl StreamValue ===

impl StreamValue {
    pub(super) fn parse(info: &Value) -> Result<Self> {
        let mut groups = BTreeMap::new();
        for group in part(info, "groups")?.clone().array()? {
            groups.insert(part(&group, "name")?.clone().bytes()?, Group::parse(&group)?);
        }
        let entries = part(info, "entries")?.clone().array()?;
        Ok(Self {
            entries: entries.into_iter().map(StreamEntry::parse).collect::<Result<_>>()?,
            last_id: part(info, "last-generated-id")?.clone().text()?,
            max_deleted_id: told(info, "max-deleted-entry-id")?,
            entries_added: told(info, "entries-added")?,
            groups,
        })
    }

    /// How `self` (the source's) differs from `other` (the destination's), one line each.
    pub(super) fn differences(&self, other: &Self, tolerance: &Tolerance) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(line) = entries_differ(&self.entries, &other.entries) {
            found.push(line);
        }
        if self.last_id != other.last_id {
            found.push(format!("last id {} != {}", self.last_id, other.last_id));
        }
        let counters = [
            ("max deleted id", &self.max_deleted_id, &other.max_deleted_id),
            ("entries added", &self.entries_added, &other.entries_added),
        ];
        for (what, left, right) in counters {
            found.extend(counter_differs(what, left.as_deref(), right.as_deref()));
        }
        let entries: BTreeSet<_> = self.entries.iter().map(|entry| entry.id.as_str()).collect();
        for (name, left) in &self.groups {
            let told = format!("group {}", abridged(name));
            let Some(right) = other.groups.get(name) else {
                found.push(format!("{told} is missing on the right"));
                continue;
            };
            let lines = match tolerance.claims_of_deleted {
                true => {
                    let (left, right) = (
                        left.without_deleted(&entries, right),
                        right.without_deleted(&entries, left),
                    );
                    left.differences(&right, tolerance)
                }
                false => left.differences(right, tolerance),
            };
            found.extend(lines.into_iter().map(|line| format!("{told}: {line}")));
        }
        let extra = other.groups.keys().filter(|name| !self.groups.contains_key(*name));
        found.extend(extra.map(|name| format!("group {} is missing on the left", abridged(name))));
        found
    }
}

// === impl StreamEntry ===

impl StreamEntry {
    fn parse(entry: Value) -> Result<Self> {
        let Ok([id, fields]) = <[Value; 2]>::try_from(entry.array()?) else {
            bail!("a stream entry that is not an id and fields");
        };
        // Nil where a consumer's pending entry was deleted; in the stream itself there is none.
        Ok(Self { id: id.text()?, fields: fields.list()? })
    }
}

// === impl Group ===

impl Group {
    fn parse(group: &Value) -> Result<Self> {
        let mut pending = BTreeMap::new();
        let list = group.field("pending").or_else(|| group.field("pel"));
        for entry in list.context("a group without pending entries")?.clone().array()? {
            let Ok([id, consumer, at, deliveries]) = <[Value; 4]>::try_from(entry.array()?) else {
                bail!("a pending entry of another shape");
            };
            let one = Pending {
                consumer: consumer.bytes()?,
                delivered_at_ms: at.int()?,
                deliveries: deliveries.int()?,
            };
            pending.insert(id.text()?, one);
        }
        let mut consumers = BTreeSet::new();
        for consumer in part(group, "consumers")?.clone().array()? {
            consumers.insert(part(&consumer, "name")?.clone().bytes()?);
        }
        Ok(Self {
            last_delivered_id: part(group, "last-delivered-id")?.clone().text()?,
            entries_read: told(group, "entries-read")?,
            pending,
            consumers,
        })
    }

    fn differences(&self, other: &Self, tolerance: &Tolerance) -> Vec<String> {
        let mut found = Vec::new();
        if self.last_delivered_id != other.last_delivered_id {
            let (left, right) = (&self.last_delivered_id, &other.last_delivered_id);
            found.push(format!("last delivered id {left} != {right}"));
        }
        if !tolerance.entries_read {
            let (left, right) = (self.entries_read.as_deref(), other.entries_read.as_deref());
            found.extend(counter_differs("entries read", left, right));
        }
        for (id, left) in &self.pending {
            match other.pending.get(id) {
                None => found.push(format!("pending {id} is missing on the right")),
                Some(right) if !left.same(right, tolerance) => {
                    found.push(format!("pending {id}: {} != {}", left.told(), right.told()));
                }
                Some(_) => {}
            }
        }
        let extra = other.pending.keys().filter(|id| !self.pending.contains_key(*id));
        found.extend(extra.map(|id| format!("pending {id} is missing on the left")));
        found.extend(self.consumers_differ(other, tolerance));
        found
    }

    /// Without the pending entries whose stream entry is gone and that the other group does not have.
    fn without_deleted(&self, entries: &BTreeSet<&str>, other: &Self) -> Self {
        let mut group = self.clone();
        group
            .pending
            .retain(|id, _| entries.contains(id.as_str()) || other.pending.contains_key(id));
        group
    }

    fn consumers_differ(&self, other: &Self, tolerance: &Tolerance) -> Vec<String> {
        let owns = |name: &Vec<u8>| self.pending.values().any(|one| one.consumer == *name);
        let left: BTreeSet<_> = self
            .consumers
            .difference(&other.consumers)
            .filter(|name| !tolerance.blocked_consumers || owns(name))
            .collect();
        let right: BTreeSet<_> = other.consumers.difference(&self.consumers).collect();
        let mut found = Vec::new();
        if !left.is_empty() {
            found.push(format!("consumers on the left only: {}", abridged_set(left)));
        }
        if !right.is_empty() {
            found.push(format!("consumers on the right only: {}", abridged_set(right)));
        }
        found
    }
}

// === impl Pending ===

impl Pending {
    fn same(&self, other: &Self, tolerance: &Tolerance) -> bool {
        let slack_ms = tolerance.delivery_slack_ms;
        let earlier = other.delivered_at_ms.saturating_sub_unsigned(slack_ms);
        let read_again = tolerance.history_reads
            && self.deliveries > other.deliveries
            && self.delivered_at_ms >= earlier;
        let the_same = self.deliveries == other.deliveries
            && self.delivered_at_ms.abs_diff(other.delivered_at_ms) <= slack_ms;
        self.consumer == other.consumer && (read_again || the_same)
    }

    fn told(&self) -> String {
        let Self { consumer, delivered_at_ms, deliveries } = self;
        format!("{} at {delivered_at_ms} ({deliveries} times)", abridged(consumer))
    }
}

fn entries_differ(left: &[StreamEntry], right: &[StreamEntry]) -> Option<String> {
    let told = |entry: &StreamEntry| {
        let fields: Vec<String> = entry.fields.iter().map(|field| abridged(field)).collect();
        format!("{} {}", entry.id, fields.join(" "))
    };
    let (many, few) = (left.len(), right.len());
    if let Some((left, right)) = left.iter().zip(right).find(|(left, right)| left != right) {
        return Some(format!("entries ({many} and {few}): {} != {}", told(left), told(right)));
    }
    if many == few {
        return None;
    }
    let (side, longer, from) =
        if many > few { ("left", left, few) } else { ("right", right, many) };
    let first = longer.get(from).map(told).unwrap_or_default();
    Some(format!("{many} and {few} entries; on the {side} only, from {first}"))
}

/// A counter that one of the servers does not know cannot differ.
fn counter_differs(what: &str, left: Option<&str>, right: Option<&str>) -> Option<String> {
    let (left, right) = (left?, right?);
    (left != right).then(|| format!("{what} {left} != {right}"))
}

fn part<'a>(info: &'a Value, name: &str) -> Result<&'a Value> {
    info.field(name).with_context(|| format!("no {name} in {info}"))
}

fn told(info: &Value, name: &str) -> Result<Option<String>> {
    match info.field(name) {
        None => Ok(None),
        Some(Value::Nil) => Ok(Some("nil".to_owned())),
        Some(value) => value.clone().text().map(Some),
    }
}
