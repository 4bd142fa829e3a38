//! Other streams that use the destination, too: what is theirs must stay when this one removes what it does not know.
//!
//! Guarantees: a full copy removes nothing from a database that another stream writes to, unless that is asked for, or
//! what it may remove is named by a filter.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Where those live that have a checkpoint; of one that has several, wherever any of them says.
    streams: BTreeMap<String, Territory>,
    /// Whether keys were found that belong to none of these: nobody knows where the rest of theirs is.
    has_homeless: bool,
}

// === impl Neighbours ===

impl Neighbours {
    /// Takes note of a checkpoint.
    fn take(&mut self, checkpoint: Checkpoint) {
        let Territory { databases, .. } = checkpoint.territory;
        match self.streams.entry(checkpoint.stream) {
            Entry::Vacant(entry) => {
                entry.insert(Territory { databases, shared: false });
            }
            Entry::Occupied(mut entry) => {
                let known = &mut entry.get_mut().databases;
                match known.is_empty() || databases.is_empty() {
                    true => known.clear(),
                    false => known.extend(databases),
                }
            }
        }
    }

    /// Takes note of keys of theirs that are no checkpoints.
    fn take_rest(&mut self, rest: &BTreeSet<Bytes>) {
        let is_known = |key: &Bytes| {
            let is_beside = |stream: &String| {
                let behind = behind_tag(key).and_then(|of| of.strip_prefix(stream.as_bytes()));
                behind.is_some_and(|rest| rest.starts_with(b":"))
            };
            self.streams.keys().any(is_beside)
        };
        self.has_homeless = !rest.iter().all(is_known);
    }

    /// Those that write to one of the databases of a stream.
    fn beside(&self, own: &Territory) -> Option<String> {
        let meets = |(_, theirs): &(&String, &Territory)| {
            let (own, theirs) = (&own.databases, &theirs.databases);
            own.is_empty() || theirs.is_empty() || own.iter().any(|db| theirs.contains(db))
        };
        let names = self.streams.iter().filter(meets).map(|(stream, _)| stream.as_str());
        let homeless = self.has_homeless.then_some("one without a checkpoint");
        let names: Vec<&str> = names.chain(homeless).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// What stands behind the tag in a key of ours: the name of its stream, and what is beside that.
fn behind_tag(key: &[u8]) -> Option<&[u8]> {
    let end = key.iter().position(|byte| *byte == b'}')?;
    key.get(end + 1..)?.strip_prefix(b":")
}

// === impl Pump ===

impl Pump<'_> {
    /// Whether what a snapshot did not name may go: where others write, too, nobody knows whose it is.
    /// The first time it `begins` with a look.
    pub(super) async fn may_sweep(
        &mut self,
        (position, begins): (Position, bool),
    ) -> Result<bool, Error> {
        match self.planner.rules.existing {
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
        if begins {
            self.neighbours.looked_at = None;
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
        let mut rest = BTreeSet::new();
        for db in 0..self.planner.rules.databases {
            self.look_into(db, &mut rest).await?;
        }
        self.neighbours.take_rest(&rest);
        select(&mut self.connection, self.tools.config.checkpoint_db).await?;
        self.neighbours.looked_at = Some(now);
        Ok(())
    }

    /// Takes note of what a database holds of other streams of ours.
    async fn look_into(&mut self, db: u32, rest: &mut BTreeSet<Bytes>) -> Result<(), Error> {
        select(&mut self.connection, db).await?;
        let mut scan = Scan::matching(b"keyferry:{*}:*");
        while let Some(keys) = scan.next(&mut self.connection).await? {
            let is_theirs = |key: &Bytes| names::is_ours(key) && !self.names.is_own(key);
            let theirs: Vec<Bytes> = keys.into_iter().filter(is_theirs).collect();
            self.neighbours.found |= !theirs.is_empty();
            for key in theirs {
                // A large value may be there, of which the name tells enough.
                let said = match names::is_stage(&key) {
                    true => None,
                    false => self.checkpoint_at(&key).await?,
                };
                match said {
                    Some(checkpoint) => self.neighbours.take(checkpoint),
                    None => drop(rest.insert(key)),
                }
            }
        }
        Ok(())
    }

    /// The checkpoint that a key of the selected database holds, if it is one.
    async fn checkpoint_at(&mut self, key: &Bytes) -> Result<Option<Checkpoint>, Error> {
        Ok(match self.connection.ask([b"GET".as_slice(), key]).await? {
            Reply::Bulk(bytes) => codec::checkpoint::decode(&bytes).ok(),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_databases(databases: &[u32]) -> Territory {
        Territory { databases: databases.to_vec(), shared: false }
    }

    fn checkpoint(stream: &str, databases: &[u32]) -> Checkpoint {
        let mut checkpoint = Checkpoint {
            stream: stream.to_owned(),
            incarnation: 0,
            first_partition: 0,
            last_partition: 0,
            applied: Vec::new(),
            read_from: vec![0],
            owner_epoch: 0,
            written_ms: 0,
            resyncs: Vec::new(),
            waits_at: None,
            begun_at: None,
            territory: in_databases(databases),
            marker: None,
        };
        checkpoint.territory.shared = true;
        checkpoint
    }

    fn beside(theirs: &[(&str, &[u32])], own: &[u32]) -> Option<String> {
        let mut neighbours = Neighbours::default();
        theirs.iter().for_each(|(stream, of)| neighbours.take(checkpoint(stream, of)));
        neighbours.beside(&in_databases(own))
    }

    #[test]
    fn only_those_that_write_to_the_same_database_are_in_the_way() {
        let three: [(&str, &[u32]); 3] = [("a", &[1, 2]), ("b", &[3]), ("c", &[4])];
        assert_eq!(beside(&three, &[0, 5]), None);
        assert_eq!(beside(&three, &[0, 3, 4]).unwrap(), "b, c");
        assert_eq!(beside(&[("a", &[1])], &[]).unwrap(), "a");
        assert_eq!(beside(&[("a", &[])], &[7]).unwrap(), "a");
    }

    #[test]
    fn of_several_checkpoints_of_a_stream_each_counts() {
        assert_eq!(beside(&[("a", &[1]), ("a", &[0])], &[0]).unwrap(), "a");
        assert_eq!(beside(&[("a", &[1]), ("a", &[])], &[0]).unwrap(), "a");
        assert_eq!(beside(&[("a", &[]), ("a", &[1])], &[0]).unwrap(), "a");
    }

    #[test]
    fn where_nothing_tells_whose_keys_were_found_they_are_in_the_way() {
        let mut neighbours = Neighbours::default();
        neighbours.take(checkpoint("known", &[1]));
        let key = |name: &str| BTreeSet::from([Bytes::from(format!("keyferry:{{abc}}:{name}"))]);
        neighbours.take_rest(&key("known:owner"));
        assert_eq!(neighbours.beside(&in_databases(&[0])), None);
        neighbours.take_rest(&key("gone:owner"));
        assert!(neighbours.beside(&in_databases(&[0])).unwrap().contains("without a checkpoint"));
    }
}
