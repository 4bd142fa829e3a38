//! A part of a service that can be paused and limited.

use runtime::status::Value;
use runtime::{Limits, StatusNode, Throttle};
use serde_json::Map;

/// One part, by its name.
#[derive(Clone, Debug)]
pub struct Control {
    /// What it is called in orders and in the status.
    pub name: &'static str,
    /// Whether it reads from the source, so that `source_read_bytes` means something to it.
    pub reads_source: bool,
    /// The handle.
    pub throttle: Throttle,
}

// === impl Control ===

impl Control {
    /// Shows below `node` whether it is paused, and its limits.
    pub fn show(&self, node: &StatusNode) {
        let node = node.child(self.name);
        let throttle = self.throttle.clone();
        node.computed("paused", move || Value::Flag(throttle.is_paused()));
        for (name, of) in FIELDS {
            let throttle = self.throttle.clone();
            if self.reads_source || *name != SOURCE_READ_BYTES {
                let shown = move || Value::Bytes(of(&throttle.limits()));
                node.computed(*name, shown);
            }
        }
    }

    /// The same as JSON.
    pub(crate) fn shown(&self) -> serde_json::Value {
        let limits = self.throttle.limits();
        let mut shown = Map::new();
        shown.insert("paused".to_owned(), self.throttle.is_paused().into());
        for (name, of) in FIELDS {
            if self.reads_source || *name != SOURCE_READ_BYTES {
                shown.insert((*name).to_owned(), of(&limits).into());
            }
        }
        shown.into()
    }
}

const SOURCE_READ_BYTES: &str = "source_read_bytes";

/// A limit.
type Field = fn(&Limits) -> u64;

/// Limits by the names that orders call them.
const FIELDS: &[(&str, Field)] = &[
    ("full_rows", |limits| limits.full.rows),
    ("full_bytes", |limits| limits.full.bytes),
    (SOURCE_READ_BYTES, |limits| limits.source_read_bytes),
    ("incremental_rows", |limits| limits.incremental.rows),
    ("incremental_bytes", |limits| limits.incremental.bytes),
];
