//! The proof: both servers are read whole and compared; what was compared is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use testkit::dataset::Content;
use testkit::{Client, Dataset, Difference, Kind, Tolerance, compare};

use crate::screen::{Screen, grouped};

/// Differences that are named; the rest is counted.
const NAMED_DIFFERENCES: usize = 20;
/// Keys of the bridge's own.
const OWN_KEYS: &[u8] = b"keyferry:";
/// What every HyperLogLog begins with.
const HYPERLOGLOG: &[u8] = b"HYLL";

/// What was compared, and what differs.
pub(crate) struct Verdict {
    source: Dataset,
    differences: Vec<Difference>,
}

/// What one side holds, counted.
#[derive(Default)]
struct Counts {
    /// Keys by type and database.
    keys: BTreeMap<&'static str, BTreeMap<u32, u64>>,
    dbs: BTreeSet<u32>,
    total: u64,
    deadlines: u64,
    field_deadlines: u64,
    elements: u64,
    groups: u64,
    pending: u64,
}

/// How far the stream of a source that expires keys by relative times may lag behind it.
const LAG_MS: u64 = 500;

/// What is forgiven between two servers: only what their own replication does not carry either, and
/// of that only what the demo's writer makes.
pub(crate) fn tolerance(source: Kind, destination: Kind) -> Tolerance {
    let native = Tolerance::native(source, destination).with_lag(source, LAG_MS);
    Tolerance {
        ttl_slack_ms: native.ttl_slack_ms,
        delivery_slack_ms: native.delivery_slack_ms,
        entries_read: native.entries_read,
        // Their registers are compared: the rest is a count that readers leave behind, and a choice
        // of encoding.
        hll_bytes: true,
        ..Tolerance::default()
    }
}

/// Reads two servers at once.
///
/// # Errors
/// If one of them cannot be read.
pub(crate) fn read_both(source: SocketAddr, destination: SocketAddr) -> Result<[Dataset; 2]> {
    let read = |addr| Dataset::read(&mut Client::tcp(addr)?);
    std::thread::scope(|scope| {
        let left = scope.spawn(|| read(source));
        let right = read(destination)?;
        let left = left.join().map_err(|_| anyhow!("reading the source panicked"))??;
        Ok([left, right])
    })
}

// === impl Verdict ===

impl Verdict {
    /// Compares what two servers hold.
    pub(crate) fn of([source, destination]: [Dataset; 2], tolerance: &Tolerance) -> Self {
        let differences = compare(&source, &destination, tolerance);
        Self { source, differences }
    }

    /// Whether they hold the same.
    pub(crate) fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    /// What the source holds.
    pub(crate) fn source(&self) -> &Dataset {
        &self.source
    }

    /// Tells it all.
    ///
    /// # Errors
    /// If the screen is gone.
    pub(crate) fn tell(&self, screen: &Screen, tolerance: &Tolerance) -> Result<()> {
        let counts = Counts::of(&self.source);
        counts.table(screen)?;
        screen.line("")?;
        screen.fact(
            "keys",
            format!("{} with {} elements", grouped(counts.total), grouped(counts.elements)),
        )?;
        let exact = match tolerance.ttl_slack_ms {
            0 => "to the millisecond".to_owned(),
            slack => format!("to {slack} ms, as this version tells them"),
        };
        let fields = match counts.field_deadlines {
            0 => String::new(),
            fields => format!(" and of {} fields", grouped(fields)),
        };
        screen
            .fact("deadlines", format!("of {} keys{fields}, {exact}", grouped(counts.deadlines)))?;
        let (groups, pending) = (grouped(counts.groups), grouped(counts.pending));
        screen.fact("streams", format!("{groups} consumer groups, {pending} pending entries"))?;
        if let Some(functions) = &self.source.functions {
            screen.fact("functions", format!("{} library", functions.len()))?;
        }
        for difference in self.differences.iter().take(NAMED_DIFFERENCES) {
            screen.wrong(difference)?;
        }
        if let Some(more) = self.differences.len().checked_sub(NAMED_DIFFERENCES + 1) {
            screen.wrong(format!("and {} more", more + 1))?;
        }
        screen.fact("differences", self.differences.len())
    }
}

// === impl Counts ===

impl Counts {
    fn of(data: &Dataset) -> Self {
        let mut counts = Self::default();
        for (db, entries) in &data.dbs {
            counts.dbs.insert(*db);
            for (key, entry) in entries.iter().filter(|(key, _)| !key.starts_with(OWN_KEYS)) {
                counts.total += 1;
                counts.deadlines += u64::from(entry.expires_at_ms.is_some());
                counts.elements += elements(&entry.content);
                counts.count_inside(&entry.content);
                let of_type = counts.keys.entry(kind(key, &entry.content)).or_default();
                *of_type.entry(*db).or_default() += 1;
            }
        }
        counts
    }

    fn count_inside(&mut self, content: &Content) {
        match content {
            Content::Stream(stream) => {
                self.groups += stream.groups.len() as u64;
                self.pending +=
                    stream.groups.values().map(|group| group.pending.len() as u64).sum::<u64>();
            }
            Content::Hash(hash) => {
                let expiring = hash.values().filter(|field| field.expires_at_ms.is_some());
                self.field_deadlines += expiring.count() as u64;
            }
            _ => {}
        }
    }

    fn table(&self, screen: &Screen) -> Result<()> {
        let mut head = format!("    {:<13}", "");
        for db in &self.dbs {
            head.push_str(&format!("{:>9}", format!("db {db}")));
        }
        screen.line(&format!("{head}{:>10}", "all"))?;
        for (kind, of_dbs) in &self.keys {
            let mut row = format!("    {kind:<13}");
            for db in &self.dbs {
                let cell = of_dbs.get(db).map_or_else(|| "·".to_owned(), |keys| grouped(*keys));
                row.push_str(&format!("{cell:>9}"));
            }
            screen.line(&format!("{row}{:>10}", grouped(of_dbs.values().sum())))?;
        }
        Ok(())
    }
}

/// The type, with what the demo knows of the value beyond what the server calls it.
fn kind(key: &[u8], content: &Content) -> &'static str {
    match content {
        Content::String(value) if value.starts_with(HYPERLOGLOG) => "HyperLogLog",
        Content::String(_) if key.starts_with(b"letter:") => "bitmap",
        Content::String(_) if key.starts_with(b"stored:bits:") => "bitmap",
        Content::String(_) => "string",
        Content::List(_) => "list",
        Content::Set(_) => "set",
        Content::Hash(_) => "hash",
        Content::Zset(_) if key.starts_with(b"geo:") => "GEO set",
        Content::Zset(_) => "sorted set",
        Content::Stream(_) => "stream",
        _ => "module type",
    }
}

fn elements(content: &Content) -> u64 {
    let number = match content {
        Content::List(list) => list.len(),
        Content::Set(set) => set.len(),
        Content::Hash(hash) => hash.len(),
        Content::Zset(zset) => zset.len(),
        Content::Stream(stream) => stream.entries.len(),
        _ => 1,
    };
    number as u64
}
