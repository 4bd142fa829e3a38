//! Storing dead letters and reading them again, while who keeps them may be away.
//!
//! Guarantees: what is waited for is told once and shown for as long as it lasts; a stop is heard meanwhile, and leaves
//! nothing behind that the next start does not do again.

use runtime::{Class, Classified, chain};

use super::asked::Refused;
use super::pump::Pump;
use crate::error::Error;
use crate::limits;
use crate::quarantine::Draft;

// === impl Pump ===

impl Pump<'_> {
    /// Stores letters. They are durable when this returns.
    ///
    /// # Errors
    /// When they are not taken, or the lane is to stop and they are still not.
    pub(super) async fn store(&mut self, drafts: &[Draft]) -> Result<(), Error> {
        let tools = self.tools;
        let letters = &tools.letters;
        let storing = letters.store(self.scope, drafts, tools.clock.now_ms());
        let given_up = async {
            self.stop.cancelled().await;
            tools.clock.sleep(limits::LETTERS_STOP).await;
        };
        tokio::select! {
            biased;
            stored = letters.watch("stored", storing) => stored,
            () = given_up => Err(letters.unstored()),
        }
    }

    /// What a part of reading the letters gives; none: the lane is to stop, or it will be possible later.
    pub(super) async fn read_letters<T>(
        &mut self,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Refused> {
        let tools = self.tools;
        let letters = &tools.letters;
        let read = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(None),
            read = letters.watch("read", read) => read,
        };
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.class() == Class::Retry => {
                letters.trouble(format!("dead letters cannot be read: {}", chain(&error)));
                Ok(None)
            }
            Err(error) => {
                Err(format!("the changes that are kept cannot be read: {}", chain(&error)))
            }
        }
    }
}
