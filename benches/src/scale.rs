//! How much of everything: the sizes that the targets are meant for, and smaller ones to try it out.

use std::time::Duration;

/// The sizes of all works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// What it is called in the report.
    pub(crate) name: &'static str,
    /// Strings in the first snapshot.
    pub(crate) strings: u64,
    /// Collections in the second snapshot.
    pub(crate) collections: u64,
    /// Commands of the streams.
    pub(crate) commands: u64,
    /// How long latency is measured.
    pub(crate) latency: Duration,
    /// How long the destination stands still.
    pub(crate) pause: Duration,
}

// === impl Scale ===

impl Scale {
    /// What figures are quoted for.
    pub(crate) const FULL: Self = Self {
        name: "full",
        strings: 1_000_000,
        collections: 100_000,
        commands: 1_000_000,
        latency: Duration::from_secs(10),
        pause: Duration::from_secs(20),
    };

    /// To see that everything works.
    pub(crate) const QUICK: Self = Self {
        name: "quick",
        strings: 100_000,
        collections: 10_000,
        commands: 100_000,
        latency: Duration::from_secs(3),
        pause: Duration::from_secs(4),
    };
}
