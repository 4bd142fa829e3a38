//! Other streams that use the destination, too: what is theirs must stay when this one removes what it does not know.
//!
//! Guarantees: a full copy removes nothing from a database that another stream writes to, unless that is asked for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use event::checkpoint::{Checkpoint, Territory};
use event::{Position, codec, names};
use wire::resp::reply::Reply;

use super::pump::Pump;
use crate::config::{Existing, Inexact};
use crate::error::Error;
use crate::existing::{Scan, select};
use crate::limits;

/// What is known of other streams at the destination.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// When it was looked for them last.
    looked_at: Option<Duration>,
    /// Whether anything of theirs was found.
    pub(super) found: bool,
    /// Those that have a checkpoint, and where they live.
    streams: Vec<(String, Territory)>,
}

// === impl Neighbours ===

impl Neighbours {
    /// Takes note of a checkpoint; of a stream that has several they all say the same.
    fn take(&mut self, checkpoint: Checkpoint) {
        if !self.streams.iter().any(|(stream, _)| *stream == checkpoint.stream) {
            self.streams.push((checkpoint.stream, checkpoint.territory));
        }
    }

    /// Those that write to one of the databases of a stream.
    fn beside(&self, own: &Territory) -> Option<String> {
        let meets = |(_, theirs): &&(String, Territory)| {
            let both = [own, theirs].map(|of| of.databases.iter().collect::<BTreeSet<_>>());
            let [own, theirs] = both;
            own.is_empty() || theirs.is_empty() || !own.is_disjoint(&theirs)
        };
        let names: Vec<&str> =
            self.streams.iter().filter(meets).map(|(stream, _)| stream.as_str()).collect();
        match names.is_empty() {
            // Temporary keys tell nothing of where the rest is.
            true if self.found && self.streams.is_empty() => {
                Some("one without a checkpoint".to_owned())
            }
            true => None,
            false => Some(names.join(", ")),
        }
    }
}

// === impl Pump ===

impl Pump<'_> {
    /// Whether what a snapshot did not name may go: where others write, too, nobody knows whose it is.
    pub(super) async fn may_sweep(&mut self, position: Position) -> Result<bool, Error> {
        match self.tools.config.existing {
            Existing::Sweep => return Ok(true),
            Existing::Overwrite => {
                tracing::warn!(
                    "what the source has removed meanwhile stays: nothing tells it from what else lives there \
                     (existing = overwrite)"
                );
                return Ok(false);
            }
            Existing::Fail => {}
        }
        // Whoever names the keys that it takes removes no others.
        if !self.tools.config.filters.keys.include.is_empty() {
            return Ok(true);
        }
        self.look_for_others().await?;
        let Some(streams) = self.neighbours.beside(&self.planner.rules.territory) else {
            return Ok(true);
        };
        let endpoint = self.connection.endpoint().to_string();
        let error = Error::Neighbours { endpoint, position, streams };
        if self.tools.config.inexact == Inexact::Refuse {
            return Err(error);
        }
        tracing::warn!(error = %error, "what the source has removed meanwhile stays, as the settings say");
        Ok(false)
    }

    /// Whether all libraries of functions may go where nothing is said about it: they belong to the server, not to a
    /// database.
    pub(super) async fn may_forget_functions(&mut self) -> Result<bool, Error> {
        self.look_for_others().await?;
        if self.neighbours.found {
            tracing::warn!(
                "libraries of functions that the source has removed meanwhile stay: another stream uses the \
                 destination, and nothing tells whose they are"
            );
        }
        Ok(!self.neighbours.found)
    }

    /// Looks through all databases for other streams, unless that was done a moment ago: it costs a full scan. Their
    /// checkpoints may stand in another database than their data.
    pub(super) async fn look_for_others(&mut self) -> Result<(), Error> {
        let now = self.tools.clock.monotonic();
        let looked_at = self.neighbours.looked_at;
        if looked_at.is_some_and(|at| now.saturating_sub(at) < limits::OTHERS_LOOK_INTERVAL) {
            return Ok(());
        }
        self.neighbours = Neighbours::default();
        for db in 0..self.planner.rules.databases {
            self.look_into(db).await?;
        }
        select(&mut self.connection, self.tools.config.checkpoint_db).await?;
        self.neighbours.looked_at = Some(now);
        Ok(())
    }

    /// Takes note of what a database holds of other streams of ours.
    async fn look_into(&mut self, db: u32) -> Result<(), Error> {
        select(&mut self.connection, db).await?;
        let mut scan = Scan::matching(b"keyferry:{*}:*");
        while let Some(keys) = scan.next(&mut self.connection).await? {
            let is_theirs = |key: &Bytes| names::is_ours(key) && !self.names.is_own(key);
            let theirs: Vec<Bytes> = keys.into_iter().filter(is_theirs).collect();
            self.neighbours.found |= !theirs.is_empty();
            // Of the others some are of another type, or nothing that can be read: they say nothing.
            for key in theirs.iter().filter(|key| !names::is_stage(key)) {
                if let Reply::Bulk(bytes) = self.connection.ask([b"GET".as_slice(), key]).await? {
                    let decoded = codec::checkpoint::decode(&bytes);
                    decoded.into_iter().for_each(|checkpoint| self.neighbours.take(checkpoint));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_databases(databases: &[u32]) -> Territory {
        Territory { databases: databases.to_vec(), shared: false }
    }

    fn beside(theirs: &[&[u32]], own: &[u32]) -> Option<String> {
        let streams = theirs.iter().enumerate();
        let streams =
            streams.map(|(number, of)| (format!("stream-{number}"), in_databases(of))).collect();
        let neighbours = Neighbours { looked_at: None, found: true, streams };
        neighbours.beside(&in_databases(own))
    }

    #[test]
    fn only_those_that_write_to_the_same_database_are_in_the_way() {
        assert_eq!(beside(&[&[1, 2], &[3]], &[0, 4]), None);
        assert_eq!(beside(&[&[1, 2], &[3], &[4]], &[0, 3, 4]).unwrap(), "stream-1, stream-2");
        assert_eq!(beside(&[&[1]], &[]).unwrap(), "stream-0");
        assert_eq!(beside(&[&[]], &[7]).unwrap(), "stream-0");
    }

    #[test]
    fn where_nothing_tells_whose_keys_were_found_they_are_in_the_way() {
        assert!(beside(&[], &[0]).unwrap().contains("without a checkpoint"));
        assert_eq!(Neighbours::default().beside(&in_databases(&[])), None);
    }
}
