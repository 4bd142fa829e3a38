//! What a snapshot holds and no event carries: counted, named once, or a reason to stop.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::Unsupported;
use crate::error::SnapshotError;

/// What was left out of one snapshot.
#[derive(Debug)]
pub(super) struct LeftOut {
    policy: Unsupported,
    found: BTreeMap<Kind, Found>,
}

/// Of what kind it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Values of this module that belong to no key.
    ModuleAux(String),
    /// Metadata of this class that a module keeps on keys.
    KeyMeta(String),
    /// Deadlines of members of collections, of `KeyDB`.
    MemberExpiry,
    /// What belongs to no other server, and is called so.
    Foreign(&'static str),
    /// What large streams remember of producers.
    Idempotence,
    /// A slot import of this name, whose keys nobody sees yet.
    SlotImport(String),
}

/// How often, and where first.
#[derive(Debug)]
struct Found {
    count: u64,
    first: String,
}

// === impl LeftOut ===

impl LeftOut {
    pub(super) fn new(policy: Unsupported) -> Self {
        Self { policy, found: BTreeMap::new() }
    }

    /// Counts one more; `first` names it, if it is the first.
    ///
    /// # Errors
    /// Where nothing is to be left out.
    pub(super) fn note(
        &mut self,
        kind: Kind,
        first: impl FnOnce() -> String,
    ) -> Result<(), SnapshotError> {
        if let Some(found) = self.found.get_mut(&kind) {
            found.count += 1;
            return Ok(());
        }
        let found = Found { count: 1, first: first() };
        // What is not finished at the source is nobody's data yet.
        let may_stop = !matches!(kind, Kind::SlotImport(_));
        if may_stop && self.policy == Unsupported::Fail {
            return Err(SnapshotError::NotCarried { what: shown(&kind, &found) });
        }
        self.found.insert(kind, found);
        Ok(())
    }
}

/// For people; empty: nothing.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.found.iter().map(|(kind, found)| shown(kind, found)).collect();
        f.write_str(&all.join("; "))
    }
}

fn shown(kind: &Kind, Found { count, first }: &Found) -> String {
    match kind {
        Kind::ModuleAux(module) => format!("values of the module {module} outside keys"),
        Kind::KeyMeta(class) => {
            format!("metadata {class} that a module keeps on keys: {count}, the first on {first}")
        }
        Kind::MemberExpiry => {
            format!("expiry of members of collections (KeyDB): {count}, the first of {first}")
        }
        Kind::Foreign(what) => format!("{what}: {count}, the first {first}"),
        Kind::Idempotence => {
            format!("idempotence state of large streams: {count}, the first {first}")
        }
        Kind::SlotImport(job) => {
            format!("the import {job} of slots {first}, which is not finished")
        }
    }
}
