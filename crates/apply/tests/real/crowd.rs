//! Keys that are to go, so many that their removal can be stopped in the middle.

use std::time::Duration;

use anyhow::{Result, ensure};
use runtime::clock::Sleep;
use runtime::{Clock, SystemClock};
use testkit::{command, eventually};

use crate::harness::{Bench, LIMIT, Service};

/// How many.
const CROWD: i64 = 200_000;

/// A clock on which a second is over at once, so that what is done every few seconds is done all the time. Sleeps take
/// what they take.
#[derive(Debug, Default)]
pub(crate) struct Hasty(SystemClock);

// === impl Hasty ===

impl Clock for Hasty {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic() * 10_000
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.sleep(duration)
    }
}

// === impl Bench ===

impl Bench {
    /// Fills the destination with them.
    pub(crate) fn crowd(&mut self) -> Result<()> {
        let sets: Vec<_> =
            (0..CROWD).map(|number| command(&["SET", &format!("crowd:{number}"), "1"])).collect();
        self.client.all(&sets)?;
        Ok(())
    }

    /// Waits until some of the crowd are gone.
    pub(crate) fn crowd_goes(&mut self) -> Result<()> {
        let client = &mut self.client;
        eventually(LIMIT, "some of the crowd are gone", || {
            Ok((client.cmd(&["DBSIZE"])?.int()? < CROWD).then_some(()))
        })?;
        Ok(())
    }

    /// Stops a service as soon as some of the crowd are gone, and sees that others are left.
    pub(crate) async fn stopped_in_the_middle(&mut self, service: Service) -> Result<()> {
        self.crowd_goes()?;
        service.stop().await?;
        let left = self.client.cmd(&["DBSIZE"])?.int()?;
        ensure!(left > 10, "{left} keys are left: it came to its end");
        Ok(())
    }
}
