//! A password that may change while everything runs: asked for anew at every connection.

use std::fmt;
use std::io;
use std::sync::Arc;

use runtime::Secret;

/// Where a password comes from that others may change.
pub trait PasswordSource: fmt::Debug + Send + Sync {
    /// The password as it is now. Answers at once.
    ///
    /// # Errors
    /// Why it cannot be told at the moment; it may be again a little later.
    fn password(&self) -> io::Result<Secret>;
}

/// The source of an endpoint. Two are the same where they are one.
#[derive(Clone, Debug)]
pub(super) struct Source(pub(super) Arc<dyn PasswordSource>);

// === impl Source ===

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Source {}
