//! The embedded journal: the contract on several settings, then what only it promises.

mod conformance;

use std::sync::Arc;

use runtime::SystemClock;

use super::*;

fn parts() -> LocalParts {
    LocalParts { clock: Arc::new(SystemClock::new()) }
}
