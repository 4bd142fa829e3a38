//! When a change was written at its source: hybrid logical time.

use crate::Position;

/// Hybrid logical time of a write, and the site it was made at. Ordered by time, counter, site.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch, by the source's clock.
    pub time_ms: i64,
    /// Grows where the clock stands still.
    pub counter: u32,
    /// Name of the site in a two-way set; empty otherwise.
    pub site: String,
}

/// How far another site's stream had been applied where a change was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The other site.
    pub site: String,
    /// The largest position of it that had been applied.
    pub position: Position,
}
