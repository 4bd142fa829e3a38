//! The judge: how two data sets differ, in words that name the database, the key and both values.
//!
//! It forgives nothing by itself. What native replication does not carry either is forgiven by a
//! flag of [`Tolerance`] each, and by nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::clock;
use super::{Content, Dataset, Entry, Field, Score, hll};
use crate::client::abridged;
use crate::kind::Kind;

/// Keys of keyferry's own, which are no data.
const OWN_KEYS: &[u8] = b"keyferry:";
/// How many members of a difference are named.
const NAMED_MEMBERS: usize = 5;
/// How many differences a failed assertion names.
const NAMED_DIFFERENCES: usize = 20;

/// What is not counted as a difference. The left data set is the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerance {
    /// How far deadlines may lie apart, in milliseconds.
    pub ttl_slack_ms: u64,
    /// How far the times of deliveries of pending entries may lie apart, in milliseconds.
    pub delivery_slack_ms: u64,
    /// A number without a deadline where the source has one: up to 5.0 an INCRBYFLOAT is propagated
    /// as a plain SET. The source deletes the key when its time has come.
    pub increments_end_expiry: bool,
    /// A pending entry that was delivered more often, and later, at the source: reading one's own
    /// history (`XREADGROUP … 0`) is not propagated.
    pub history_reads: bool,
    /// A consumer without pending entries at the source only: an XREADGROUP that blocks or delivers
    /// nothing creates it without propagating that.
    pub blocked_consumers: bool,
    /// A group's `entries-read`: Redis 7.0 does not propagate it with XREADGROUP.
    pub entries_read: bool,
    /// A string at the source that is longer by zero bytes, or only zero bytes where the destination
    /// has no key: BITFIELD makes room before OVERFLOW FAIL refuses, and does not propagate that.
    pub bitfield_overflow_fail: bool,
    /// HyperLogLogs with equal registers in other encodings, as `hll-sparse-max-bytes` decides.
    pub hll_bytes: bool,
    /// A pending entry whose stream entry is deleted, at one side only: servers from 7.0 on drop it
    /// when it is claimed, older ones keep it, and both propagate the claim all the same.
    pub claims_of_deleted: bool,
    /// A module's value by its type only: some modules save memory that they never set, so that two
    /// DUMPs of one key differ.
    pub module_bytes: bool,
}

/// One thing in which two data sets differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The database; none for functions.
    pub db: Option<u32>,
    /// The key, or the function library.
    pub key: Vec<u8>,
    /// What differs, left first.
    pub what: String,
}

/// How `left` (the source's) differs from `right` (the destination's).
///
/// Keys of keyferry's own are left out, and so are keys and fields whose deadline has passed on
/// either side by the later of the two clocks: when a server removes those is its own affair.
pub fn compare(left: &Dataset, right: &Dataset, tolerance: &Tolerance) -> Vec<Difference> {
    let judge = Judge { now_ms: left.read_at_ms.max(right.read_at_ms), tolerance };
    let mut found = Vec::new();
    let none = BTreeMap::new();
    let dbs: BTreeSet<u32> = left.dbs.keys().chain(right.dbs.keys()).copied().collect();
    for db in dbs {
        let lefts = left.dbs.get(&db).unwrap_or(&none);
        let rights = right.dbs.get(&db).unwrap_or(&none);
        let keys: BTreeSet<&Vec<u8>> = lefts.keys().chain(rights.keys()).collect();
        for key in keys.into_iter().filter(|key| !key.starts_with(OWN_KEYS)) {
            let lines = judge.entries(lefts.get(key), rights.get(key));
            let told = |what| Difference { db: Some(db), key: key.clone(), what };
            found.extend(lines.into_iter().map(told));
        }
    }
    if let (Some(left), Some(right)) = (&left.functions, &right.functions) {
        found.extend(functions(left, right));
    }
    found
}

/// Panics unless the two data sets are the same but for what is tolerated.
///
/// # Panics
/// With the first differences and how many there are.
#[expect(clippy::panic, reason = "an assertion of tests")]
#[track_caller]
pub fn assert_same(left: &Dataset, right: &Dataset, tolerance: &Tolerance) {
    let found = compare(left, right, tolerance);
    if found.is_empty() {
        return;
    }
    let named: Vec<String> =
        found.iter().take(NAMED_DIFFERENCES).map(ToString::to_string).collect();
    panic!(
        "{} differences ({} keys on the left, {} on the right):\n{}",
        found.len(),
        left.len(),
        right.len(),
        named.join("\n")
    );
}

// === impl Tolerance ===

impl Tolerance {
    /// What native replication between such servers does not carry, and nothing more.
    ///
    /// Of a source up to Redis 6.2, which expires keys by relative times, the lag of the stream
    /// lengthens deadlines: a test that sets some says [`Tolerance::with_lag`].
    pub fn native(source: Kind, destination: Kind) -> Self {
        // What a server says in times from now on is told to some milliseconds.
        let told = |exactly: bool| if exactly { 0 } else { clock::SLACK_MS };
        let (old, new) = (source.min(destination), source.max(destination));
        Self {
            ttl_slack_ms: told(old.at_least(7, 0)) + told(new.at_least(7, 0)),
            delivery_slack_ms: told(old.at_least(6, 0)) + told(new.at_least(6, 0)),
            increments_end_expiry: !source.at_least(6, 0),
            history_reads: true,
            blocked_consumers: true,
            entries_read: source == Kind::Redis7_0,
            bitfield_overflow_fail: true,
            hll_bytes: true,
            claims_of_deleted: source.at_least(7, 0) != destination.at_least(7, 0),
            module_bytes: false,
        }
    }

    /// The same, with deadlines that a source's relative times let slip by up to the lag of its
    /// stream. From 7.0 on there are no such times.
    #[must_use]
    pub fn with_lag(self, source: Kind, lag_ms: u64) -> Self {
        let lag_ms = if source.at_least(7, 0) { 0 } else { lag_ms };
        Self { ttl_slack_ms: self.ttl_slack_ms + lag_ms, ..self }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.db {
            Some(db) => write!(f, "db {db} key \"{}\": {}", abridged(&self.key), self.what),
            None => write!(f, "function library {}: {}", abridged(&self.key), self.what),
        }
    }
}

struct Judge<'a> {
    now_ms: u64,
    tolerance: &'a Tolerance,
}

// === impl Judge ===

impl Judge<'_> {
    fn entries(&self, left: Option<&Entry>, right: Option<&Entry>) -> Vec<String> {
        let passed = |entry: Option<&Entry>| entry.is_some_and(|e| self.passed(e.expires_at_ms));
        if passed(left) || passed(right) {
            return Vec::new();
        }
        match (left, right) {
            (Some(left), Some(right)) => self.both(left, right),
            (Some(left), None) if !self.may_be_missing(left) => {
                vec![format!("missing on the right; left has {}", told(&left.content))]
            }
            (None, Some(right)) if !self.has_withered(&right.content) => {
                vec![format!("missing on the left; right has {}", told(&right.content))]
            }
            _ => Vec::new(),
        }
    }

    fn both(&self, left: &Entry, right: &Entry) -> Vec<String> {
        let mut found = self.contents(&left.content, &right.content);
        let ended = self.tolerance.increments_end_expiry
            && right.expires_at_ms.is_none()
            && is_number(&left.content);
        if !ended && !self.same_deadline(left.expires_at_ms, right.expires_at_ms) {
            let (left, right) = (deadline(left.expires_at_ms), deadline(right.expires_at_ms));
            found.push(format!("expires {left} != {right}"));
        }
        found
    }

    fn contents(&self, left: &Content, right: &Content) -> Vec<String> {
        match (left, right) {
            (Content::String(left), Content::String(right)) => self.strings(left, right),
            (Content::List(left), Content::List(right)) => lists(left, right).into_iter().collect(),
            (Content::Set(left), Content::Set(right)) => sets(left, right),
            (Content::Hash(left), Content::Hash(right)) => self.hashes(left, right),
            (Content::Zset(left), Content::Zset(right)) => {
                maps("score", left, right, Score::eq, ToString::to_string)
            }
            (Content::Vectors(left), Content::Vectors(right)) => {
                maps("element", left, right, String::eq, Clone::clone)
            }
            (Content::Stream(left), Content::Stream(right)) => {
                left.differences(right, self.tolerance)
            }
            (Content::Opaque(name, left), Content::Opaque(other, right)) if name == other => {
                let same = self.tolerance.module_bytes || left == right;
                let line = || format!("{name}: {} != {}", abridged(left), abridged(right));
                if same { Vec::new() } else { vec![line()] }
            }
            _ => vec![format!("{} != {}", told(left), told(right))],
        }
    }

    fn strings(&self, left: &[u8], right: &[u8]) -> Vec<String> {
        let made_room =
            || left.strip_prefix(right).is_some_and(|rest| rest.iter().all(|b| *b == 0));
        let same_hll = || {
            let registers = hll::registers(left);
            registers.is_some() && registers == hll::registers(right)
        };
        let same = left == right
            || (self.tolerance.bitfield_overflow_fail && made_room())
            || (self.tolerance.hll_bytes && same_hll());
        if same {
            return Vec::new();
        }
        let at = left.iter().zip(right).position(|(a, b)| a != b);
        let at = at.unwrap_or(left.len().min(right.len()));
        let from = |side: &[u8]| abridged(side.get(at.saturating_sub(8)..).unwrap_or_default());
        let line = format!(
            "string of {} != {} bytes, differing at byte {at}: \"{}\" != \"{}\"",
            left.len(),
            right.len(),
            from(left),
            from(right)
        );
        vec![line]
    }

    fn hashes(
        &self,
        left: &BTreeMap<Vec<u8>, Field>,
        right: &BTreeMap<Vec<u8>, Field>,
    ) -> Vec<String> {
        let dead = |side: &BTreeMap<Vec<u8>, Field>, name: &Vec<u8>| {
            side.get(name).is_some_and(|field| self.passed(field.expires_at_ms))
        };
        let alive = |side: &BTreeMap<Vec<u8>, Field>| -> BTreeMap<Vec<u8>, Field> {
            let alive = side.iter().filter(|(name, _)| !dead(left, name) && !dead(right, name));
            alive.map(|(name, field)| (name.clone(), field.clone())).collect()
        };
        let same = |left: &Field, right: &Field| {
            left.value == right.value && self.same_deadline(left.expires_at_ms, right.expires_at_ms)
        };
        let told = |field: &Field| match field.expires_at_ms {
            None => format!("\"{}\"", abridged(&field.value)),
            at => format!("\"{}\" expiring {}", abridged(&field.value), deadline(at)),
        };
        maps("field", &alive(left), &alive(right), same, told)
    }

    fn passed(&self, expires_at_ms: Option<u64>) -> bool {
        expires_at_ms.is_some_and(|at| at <= self.now_ms)
    }

    fn same_deadline(&self, left: Option<u64>, right: Option<u64>) -> bool {
        match (left, right) {
            (Some(left), Some(right)) => left.abs_diff(right) <= self.tolerance.ttl_slack_ms,
            (left, right) => left == right,
        }
    }

    /// Whether all fields of a hash have passed their deadlines.
    fn has_withered(&self, content: &Content) -> bool {
        match content {
            Content::Hash(hash) => hash.values().all(|field| self.passed(field.expires_at_ms)),
            _ => false,
        }
    }

    fn may_be_missing(&self, left: &Entry) -> bool {
        let made_room = match &left.content {
            Content::String(bytes) => bytes.iter().all(|byte| *byte == 0) && !bytes.is_empty(),
            _ => false,
        };
        (self.tolerance.bitfield_overflow_fail && made_room) || self.has_withered(&left.content)
    }
}

fn is_number(content: &Content) -> bool {
    let Content::String(bytes) = content else { return false };
    std::str::from_utf8(bytes).is_ok_and(|text| text.parse::<f64>().is_ok())
}

fn lists(left: &[Vec<u8>], right: &[Vec<u8>]) -> Option<String> {
    let lengths = format!("list of {} != {} elements", left.len(), right.len());
    if let Some(at) = left.iter().zip(right).position(|(left, right)| left != right) {
        let element = |side: &[Vec<u8>]| side.get(at).map(|e| abridged(e)).unwrap_or_default();
        return Some(format!(
            "{lengths}, differing at {at}: \"{}\" != \"{}\"",
            element(left),
            element(right)
        ));
    }
    (left.len() != right.len()).then_some(lengths)
}

fn sets(left: &BTreeSet<Vec<u8>>, right: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let only = |side: &str, members: Vec<&Vec<u8>>| match members.len() {
        0 => None,
        many => Some(format!("{many} members on the {side} only: {}", abridged_set(members))),
    };
    let lines = [
        only("left", left.difference(right).collect()),
        only("right", right.difference(left).collect()),
    ];
    lines.into_iter().flatten().collect()
}

fn maps<T>(
    what: &str,
    left: &BTreeMap<Vec<u8>, T>,
    right: &BTreeMap<Vec<u8>, T>,
    same: impl Fn(&T, &T) -> bool,
    told: impl Fn(&T) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    let names: BTreeSet<&Vec<u8>> = left.keys().chain(right.keys()).collect();
    for name in names {
        let (left, right) = (left.get(name), right.get(name));
        if let (Some(left), Some(right)) = (left, right)
            && same(left, right)
        {
            continue;
        }
        let side = |value: Option<&T>| value.map_or_else(|| "nothing".to_owned(), &told);
        lines.push(format!("{what} \"{}\": {} != {}", abridged(name), side(left), side(right)));
    }
    if lines.len() > NAMED_MEMBERS {
        let more = lines.len() - NAMED_MEMBERS;
        lines.truncate(NAMED_MEMBERS);
        lines.push(format!("and {more} more like this"));
    }
    lines
}

fn functions(left: &BTreeMap<String, String>, right: &BTreeMap<String, String>) -> Vec<Difference> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let differing = names.into_iter().filter(|name| left.get(*name) != right.get(*name));
    let side = |code: Option<&String>| {
        code.map_or_else(|| "nothing".to_owned(), |code| abridged(code.as_bytes()))
    };
    differing
        .map(|name| Difference {
            db: None,
            key: name.clone().into_bytes(),
            what: format!("{} != {}", side(left.get(name)), side(right.get(name))),
        })
        .collect()
}

fn told(content: &Content) -> String {
    let size = match content {
        Content::String(bytes) => return format!("string \"{}\"", abridged(bytes)),
        Content::List(list) => list.len(),
        Content::Set(set) => set.len(),
        Content::Hash(hash) => hash.len(),
        Content::Zset(zset) => zset.len(),
        Content::Stream(stream) => stream.entries.len(),
        Content::Vectors(vectors) => vectors.len(),
        Content::Opaque(_, dump) => dump.len(),
    };
    format!("{} of {size}", content.type_name())
}

fn deadline(at: Option<u64>) -> String {
    at.map_or_else(|| "never".to_owned(), |ms| format!("at {ms} ms"))
}

/// The first members of a set, for a message.
pub(super) fn abridged_set<'a>(members: impl IntoIterator<Item = &'a Vec<u8>>) -> String {
    let mut members = members.into_iter();
    let mut named: Vec<String> =
        members.by_ref().take(NAMED_MEMBERS).map(|m| abridged(m)).collect();
    if members.next().is_some() {
        named.push("…".to_owned());
    }
    named.join(", ")
}
