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
    /// `keyferry replay`: what apply is, from a place of the past on and up to one.
    Replay,
}

// === impl Role ===

impl Role {
    /// Every one.
    pub(crate) const ALL: [Self; 4] = [Self::Both, Self::Capture, Self::Apply, Self::Replay];

    /// The command.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Both => "run",
            Self::Capture => "capture",
            Self::Apply => "apply",
            Self::Replay => "replay",
        }
    }

    /// That of a command.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it reads the source.
    pub(crate) fn captures(self) -> bool {
        matches!(self, Self::Both | Self::Capture)
    }

    /// Whether it writes to the destination.
    pub(crate) fn applies(self) -> bool {
        self != Self::Capture
    }
}
