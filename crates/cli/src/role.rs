//! What one process does of the way from a source to a destination.

/// Which sides a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `keyferry run`.
    Both,
    /// `keyferry capture`.
    Capture,
    /// `keyferry apply`.
    Apply,
}

// === impl Role ===

impl Role {
    /// Every one.
    pub(crate) const ALL: [Self; 3] = [Self::Both, Self::Capture, Self::Apply];

    /// The command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "run",
            Self::Capture => "capture",
            Self::Apply => "apply",
        }
    }

    /// Whether it reads the source.
    pub(crate) fn captures(self) -> bool {
        self != Self::Apply
    }

    /// Whether it writes to the destination.
    pub(crate) fn applies(self) -> bool {
        self != Self::Capture
    }
}
