//! A tree of named nodes with typed values: what every component says about itself.
//!
//! Guarantees: counters and gauges cost one atomic operation; a snapshot never waits for a
//! component; setting a value or changing the tree's shape tells every watcher (counters and
//! gauges do not: they are sampled). Names carry their unit (`spool_bytes`, `started_at_ms`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::RwLock;
use serde_json::{Map, Number};
use tokio::sync::watch;

/// One node of the tree. Clones are the same node.
#[derive(Clone)]
pub struct StatusNode {
    node: Arc<Node>,
    /// One for the whole tree.
    changes: Arc<watch::Sender<u64>>,
}

/// A value, with what it means.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word, a state, a sentence.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// A number of things.
    Integer(i64),
    /// A rate, a share.
    Float(f64),
    /// A number of bytes.
    Bytes(u64),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// A count that only grows.
    Count(u64),
}

/// A count that only grows. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

/// A number that goes up and down. Clones are the same number.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

#[derive(Default)]
struct Node {
    inside: RwLock<Inside>,
}

#[derive(Default)]
struct Inside {
    values: BTreeMap<String, Source>,
    children: BTreeMap<String, Arc<Node>>,
}

/// Things by name, in order.
type Named<T> = Vec<(String, T)>;

enum Source {
    Fixed(Value),
    Counter(Counter),
    Gauge(Gauge, fn(i64) -> Value),
    Computed(Arc<dyn Fn() -> Value + Send + Sync>),
}

// === impl StatusNode ===

impl StatusNode {
    /// The root of a new tree.
    #[must_use]
    pub fn root() -> Self {
        Self { node: Arc::default(), changes: Arc::new(watch::Sender::new(0)) }
    }

    /// The child of that name; made if it is not there.
    #[must_use]
    pub fn child(&self, name: impl Into<String>) -> Self {
        let node = Arc::clone(self.node.inside.write().children.entry(name.into()).or_default());
        self.tell();
        Self { node, changes: Arc::clone(&self.changes) }
    }

    /// Removes a child with all below it. Handles to it stay valid but are no longer shown.
    pub fn remove_child(&self, name: &str) {
        self.node.inside.write().children.remove(name);
        self.tell();
    }

    /// Sets a value.
    pub fn set(&self, name: impl Into<String>, value: impl Into<Value>) {
        self.put(name.into(), Source::Fixed(value.into()));
    }

    /// Removes a value.
    pub fn unset(&self, name: &str) {
        self.node.inside.write().values.remove(name);
        self.tell();
    }

    /// The counter of that name; a new one, from zero, if the name holds none.
    #[must_use]
    pub fn counter(&self, name: impl Into<String>) -> Counter {
        let name = name.into();
        if let Some(Source::Counter(known)) = self.node.inside.read().values.get(&name) {
            return known.clone();
        }
        let counter = Counter::default();
        self.put(name, Source::Counter(counter.clone()));
        counter
    }

    /// A gauge of things, from zero.
    #[must_use]
    pub fn gauge(&self, name: impl Into<String>) -> Gauge {
        self.gauge_of(name.into(), Value::Integer)
    }

    /// A gauge of bytes, from zero; below zero it shows zero.
    #[must_use]
    pub fn bytes_gauge(&self, name: impl Into<String>) -> Gauge {
        self.gauge_of(name.into(), |bytes| Value::Bytes(u64::try_from(bytes).unwrap_or(0)))
    }

    /// A gauge of a moment, milliseconds since 1970.
    #[must_use]
    pub fn timestamp_gauge(&self, name: impl Into<String>) -> Gauge {
        self.gauge_of(name.into(), Value::Timestamp)
    }

    /// A value that is worked out when somebody looks. Must be quick and must not touch the tree.
    pub fn computed<F>(&self, name: impl Into<String>, value: F)
    where
        F: Fn() -> Value + Send + Sync + 'static,
    {
        self.put(name.into(), Source::Computed(Arc::new(value)));
    }

    /// This node and all below it as JSON: values by name, children as objects by name. A child
    /// hides a value of the same name. Bytes, counts and timestamps are numbers.
    #[must_use]
    pub fn snapshot(&self) -> serde_json::Value {
        self.node.snapshot()
    }

    /// Calls `visit` with the path of names from here and the typed value, for every value.
    pub fn walk(&self, visit: &mut dyn FnMut(&[&str], &Value)) {
        self.node.walk(&[], visit);
    }

    /// A number that changes whenever a value is set or the shape changes anywhere in the tree.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn gauge_of(&self, name: String, show: fn(i64) -> Value) -> Gauge {
        let gauge = Gauge::default();
        self.put(name, Source::Gauge(gauge.clone(), show));
        gauge
    }

    fn put(&self, name: String, source: Source) {
        self.node.inside.write().values.insert(name, source);
        self.tell();
    }

    fn tell(&self) {
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
    }
}

impl fmt::Debug for StatusNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusNode({})", self.snapshot())
    }
}

// === impl Node ===

impl Node {
    fn snapshot(&self) -> serde_json::Value {
        let (values, children) = self.parts();
        let mut object = Map::new();
        for (name, value) in values {
            object.insert(name, value.into());
        }
        for (name, child) in children {
            object.insert(name, child.snapshot());
        }
        object.into()
    }

    fn walk<'a>(&self, path: &[&'a str], visit: &mut dyn FnMut(&[&str], &Value)) {
        let (values, children) = self.parts();
        for (name, value) in &values {
            let mut full: Vec<&str> = path.to_vec();
            full.push(name);
            visit(&full, value);
        }
        for (name, child) in &children {
            let mut below: Vec<&str> = path.to_vec();
            below.push(name);
            child.walk(&below, visit);
        }
    }

    /// A copy, so that no lock is held while children or computed values are asked.
    fn parts(&self) -> (Named<Value>, Named<Arc<Self>>) {
        let (sources, children): (Vec<_>, Vec<_>) = {
            let inside = self.inside.read();
            let sources = inside.values.iter().map(|(name, source)| (name.clone(), source.read()));
            let children =
                inside.children.iter().map(|(name, child)| (name.clone(), Arc::clone(child)));
            (sources.collect(), children.collect())
        };
        let values = sources.into_iter().map(|(name, now)| (name, now.value())).collect();
        (values, children)
    }
}

/// What a source gives under the lock: a value, or the closure to ask after it.
enum Reading {
    Value(Value),
    Ask(Arc<dyn Fn() -> Value + Send + Sync>),
}

impl Source {
    fn read(&self) -> Reading {
        match self {
            Self::Fixed(value) => Reading::Value(value.clone()),
            Self::Counter(counter) => Reading::Value(Value::Count(counter.get())),
            Self::Gauge(gauge, show) => Reading::Value(show(gauge.get())),
            Self::Computed(ask) => Reading::Ask(Arc::clone(ask)),
        }
    }
}

impl Reading {
    fn value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Ask(ask) => ask(),
        }
    }
}

// === impl Counter, Gauge ===

impl Counter {
    /// Counts `amount` more.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// Makes it `value`.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Value ===

impl From<Value> for serde_json::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => text.into(),
            Value::Flag(flag) => flag.into(),
            Value::Integer(number) | Value::Timestamp(number) => number.into(),
            // JSON has no infinities; what cannot be said is null.
            Value::Float(number) => Number::from_f64(number).map_or(Self::Null, Self::Number),
            Value::Bytes(number) | Value::Count(number) => number.into(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_snapshot_shows_values_and_children_by_name() {
        let root = StatusNode::root();
        root.set("version", "1.0");
        let shard = root.child("shards").child("a:6379");
        shard.set("state", "streaming");
        shard.set("started_at_ms", Value::Timestamp(5));
        shard.counter("events").add(3);
        root.child("shards").child("a:6379").counter("events").add(4);
        shard.bytes_gauge("spool_bytes").set(-1);
        shard.computed("rate", || Value::Float(1.5));
        let expected = json!({
            "version": "1.0",
            "shards": { "a:6379": {
                "state": "streaming", "started_at_ms": 5, "events": 7,
                "spool_bytes": 0, "rate": 1.5,
            }},
        });
        assert_eq!(root.snapshot(), expected);
        root.child("shards").remove_child("a:6379");
        shard.unset("state");
        assert_eq!(root.snapshot(), json!({ "version": "1.0", "shards": {} }));
    }

    #[test]
    fn walking_gives_paths_and_types() {
        let root = StatusNode::root();
        root.child("spool").bytes_gauge("used").add(9);
        root.set("ready", true);
        let mut seen = Vec::new();
        root.walk(&mut |path, value| seen.push((path.join("."), value.clone())));
        let expected =
            [("ready".to_owned(), Value::Flag(true)), ("spool.used".to_owned(), Value::Bytes(9))];
        assert_eq!(seen, expected);
    }

    #[test]
    fn watchers_see_settings_and_shape_but_not_counting() {
        let root = StatusNode::root();
        let child = root.child("a");
        let counter = child.counter("n");
        let mut watcher = root.watch();
        watcher.mark_unchanged();
        counter.add(1);
        assert!(!watcher.has_changed().unwrap());
        child.set("state", "up");
        assert!(watcher.has_changed().unwrap());
    }

    #[test]
    fn what_json_cannot_say_is_null() {
        let root = StatusNode::root();
        root.set("lag", f64::INFINITY);
        assert_eq!(root.snapshot(), json!({ "lag": null }));
    }
}
