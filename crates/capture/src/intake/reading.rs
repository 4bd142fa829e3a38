//! How fast a snapshot is read from the source's socket, where that is limited.
//!
//! Guarantees: the stream is never read slower, since a source gives up whoever does not read it.

use runtime::{Flow, Gate, Rate};

/// The limit of one intake.
#[derive(Debug)]
pub(crate) struct Reading {
    gate: Gate,
    is_held: bool,
    /// Whether what it costs has been said.
    has_warned: bool,
}

const SLOW_READ: &str = "the snapshot is read no faster than throttle.source_read_bytes allows: for as long the source \
    keeps a child process, with the memory that its writes copy, or a file, and gathers its changes in our output \
    buffer; beyond its client-output-buffer-limit for replicas it closes the link, and the snapshot begins anew";

// === impl Reading ===

impl Reading {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate, is_held: false, has_warned: false }
    }

    /// Whether the next bytes have to wait.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Completes when they need not any more; never where they do not. Cancel-safe.
    pub(super) async fn passes(&mut self) {
        if !self.is_held {
            return std::future::pending().await;
        }
        self.gate.opened(Flow::SourceRead).await;
        self.is_held = false;
    }

    /// Completes when the next bytes may be read. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        if self.is_held {
            self.passes().await;
        }
    }

    /// Counts bytes, which may be of a snapshot.
    pub(crate) fn count(&mut self, bytes: usize, of_snapshot: bool) {
        if !of_snapshot {
            return;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.gate.took(Flow::SourceRead, Rate { rows: 0, bytes });
        self.is_held = self.gate.hold(Flow::SourceRead).is_some();
        if self.is_held && !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!("{SLOW_READ}");
        }
    }
}
