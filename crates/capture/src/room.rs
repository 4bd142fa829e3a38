//! Waiting for room on a full disk: said once, shown while it lasts.

use std::error::Error;

use runtime::{Clock, chain};

use crate::limits::DISK_FULL_INTERVAL;
use crate::progress::{Obstacle, Progress};

/// What is to be written and may have to wait.
pub(crate) struct Room<'a> {
    clock: &'a dyn Clock,
    progress: &'a Progress,
    what: &'static str,
    waited: bool,
}

// === impl Room ===

impl<'a> Room<'a> {
    pub(crate) fn new(what: &'static str, clock: &'a dyn Clock, progress: &'a Progress) -> Self {
        Self { clock, progress, what, waited: false }
    }

    /// Waits until it is time to try again.
    pub(crate) async fn wait(&mut self, error: &(dyn Error + Sync)) {
        if !self.waited {
            self.waited = true;
            let error = chain(error);
            tracing::warn!(%error, "no room on the disk for {}: it waits until there is", self.what);
            self.progress.hindered(Obstacle::Room(self.what), &error);
            self.progress.begin_wait_for_room();
        }
        self.clock.sleep(DISK_FULL_INTERVAL).await;
    }

    /// There was room.
    pub(crate) fn found(self) {
        if self.waited {
            tracing::info!("there is room again for {}", self.what);
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.waited {
            self.progress.overcome(Obstacle::Room(self.what));
            self.progress.end_wait_for_room();
        }
    }
}
