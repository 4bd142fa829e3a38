//! Whether anybody knows the destination that is meant: of one that nobody knows nothing is in quarantine, and a slip
//! in its name must not look like that.
//!
//! Known is who reads the journal under that name, who has letters, and what has a checkpoint of the stream, as after a
//! replay; the last where no name is given, since only the address tells then.

use std::collections::BTreeSet;

use apply::quarantine::Reading;

use super::{Place, failed};
use crate::exit::{Exit, Failure};
use crate::options::near::hint;

/// What is asked about a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The keys that are held, which are noted at the destination itself.
    Keys,
    /// The letters, which a shared journal keeps by its name.
    Letters,
}

// === impl Place ===

impl Place {
    /// # Errors
    /// When nobody knows the destination; when the journal, or the destination, cannot be asked.
    pub(super) async fn refuse_unknown(&self, about: About) -> Result<(), Failure> {
        let Some(description) = &self.described else { return Ok(()) };
        let mut known: BTreeSet<String> =
            description.readers.iter().map(|reader| reader.name.clone()).collect();
        let name = &self.config.name;
        if known.contains(name) {
            return Ok(());
        }
        if self.journal.is_shared() {
            known.extend(self.addressees().await?);
        }
        let is_told_by_address =
            !self.is_named && (about == About::Keys || !self.journal.is_shared());
        if known.contains(name)
            || (is_told_by_address && self.shelf().await?.has_begun().await.map_err(failed)?)
        {
            return Ok(());
        }
        let stream = &self.stream;
        let known: Vec<String> = known.into_iter().collect();
        Err(Failure {
            exit: Exit::Usage,
            what: format!(
                "no destination of the name {name} is known of stream {stream}{}",
                hint(name, &known)
            ),
            advice: match known.as_slice() {
                [] => "none is known: see --stream, or start `keyferry apply` (or run) first"
                    .to_owned(),
                known => format!(
                    "name one that is known with --destination-name: {}; see --stream for those of others",
                    known.join(", ")
                ),
            },
        })
    }

    /// Those who have letters.
    async fn addressees(&self) -> Result<BTreeSet<String>, Failure> {
        let (journal, _) = self.letters().await?;
        let failed = |error: apply::Error| Failure::at_start(Exit::Journal, &error);
        let mut letters = Reading::open(&*journal).await.map_err(failed)?;
        let mut found = BTreeSet::new();
        while let Some(letter) = letters.next().await.map_err(failed)? {
            if letter.stream == self.stream && !found.contains(&letter.destination) {
                found.insert(letter.destination);
            }
        }
        Ok(found)
    }
}
