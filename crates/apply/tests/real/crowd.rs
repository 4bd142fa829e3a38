//! Keys that are to go, so many that their removal can be stopped in the middle.

use anyhow::{Result, ensure};
use testkit::{command, eventually};

use crate::harness::{Bench, LIMIT, Service};

/// How many.
const CROWD: i64 = 200_000;

impl Bench {
    /// Fills the destination with them.
    pub(crate) fn crowd(&mut self) -> Result<()> {
        let sets: Vec<_> =
            (0..CROWD).map(|number| command(&["SET", &format!("crowd:{number}"), "1"])).collect();
        self.client.all(&sets)?;
        Ok(())
    }

    /// Stops a service as soon as some of the crowd are gone, and sees that others are left.
    pub(crate) async fn stopped_in_the_middle(&mut self, service: Service) -> Result<()> {
        let client = &mut self.client;
        eventually(LIMIT, "some of the crowd are gone", || {
            Ok((client.cmd(&["DBSIZE"])?.int()? < CROWD).then_some(()))
        })?;
        service.stop().await?;
        let left = self.client.cmd(&["DBSIZE"])?.int()?;
        ensure!(left > 10, "{left} keys are left: it came to its end");
        Ok(())
    }
}
