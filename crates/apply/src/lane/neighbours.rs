//! Other streams that use the destination, too: what is theirs must stay when this one removes what it does not know.
//!
//! Guarantees: a full copy removes nothing from a database that another stream writes to, unless that is asked for, or
//! what it may remove is named by a filter. Of a stream that begins in the middle of that, nothing goes any more once its
//! connection has been seen.
//!
//! A look costs a scan of all keys, too much to be repeated while keys are removed. But whoever writes is connected, under
//! a name that tells its stream: that is asked once in a while, and a look follows where somebody is new.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use event::checkpoint::{Checkpoint, Territory};
use event::{Position, codec, names};
use redis_io::{Code, Refusal};
use wire::resp::reply::Reply;

use super::pump::Pump;
use crate::config::{Existing, Inexact};
use crate::error::Error;
use crate::existing::{Scan, select};
use crate::limits;

/// What is known of other streams at the destination.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// When the last look for them came to its end.
    looked_at: Option<Duration>,
    /// When it was asked last who is connected.
    asked_at: Option<Duration>,
    /// What the connections were called that they had when the last look began.
    workers: BTreeSet<String>,
    /// Whether anything of theirs was found.
    pub(super) found: bool,
    /// Where those live that have a checkpoint; of one that has several, wherever any of them says.
    streams: BTreeMap<String, Territory>,
    /// Those whose keys may not be read: nobody knows where they live.
    hidden: Vec<String>,
    /// Whether keys were found that belong to none of these: nobody knows where the rest of theirs is.
    has_homeless: bool,
}

/// What a look says about what is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// It may.
    Go,
    /// It stays.
    Stay,
    /// Nobody knows: the lane is to stop, and the next start looks again.
    Stopped,
}

/// Keys of others that a look has found beside the checkpoints that it could read.
#[derive(Debug, Default)]
struct Rest {
    /// They hold no checkpoint.
    others: BTreeSet<Bytes>,
    /// They may not be read.
    hidden: BTreeSet<Bytes>,
}

/// What a key holds.
enum Held {
    Checkpoint(Box<Checkpoint>),
    /// Something else.
    Other,
    /// The account may not read it.
    Hidden,
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

    /// Takes note of keys of theirs beside those checkpoints.
    fn take_rest(&mut self, rest: &Rest) {
        let is_known = |key: &Bytes| self.streams.keys().any(|of| is_beside(key, of.as_bytes()));
        let unknown = rest.hidden.iter().filter(|key| !is_known(key));
        // The shortest first, which is that of the checkpoint.
        let mut names: Vec<&[u8]> = unknown.filter_map(|key| behind_tag(key)).collect();
        names.sort_by_key(|name| name.len());
        let mut hidden: Vec<&[u8]> = Vec::new();
        for name in names {
            if !hidden.iter().any(|of| *of == name || follows(name, of)) {
                hidden.push(name);
            }
        }
        let is_hidden = |key: &Bytes| hidden.iter().any(|of| is_beside(key, of));
        self.has_homeless = !rest.others.iter().all(|key| is_known(key) || is_hidden(key));
        self.hidden =
            hidden.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    }

    /// Those that write to one of the databases of a stream.
    fn beside(&self, own: &Territory) -> Option<String> {
        let meets = |(_, theirs): &(&String, &Territory)| {
            let (own, theirs) = (&own.databases, &theirs.databases);
            own.is_empty() || theirs.is_empty() || own.iter().any(|db| theirs.contains(db))
        };
        let names = self.streams.iter().filter(meets).map(|(stream, _)| stream.clone());
        let hidden = self.hidden.iter().map(|name| format!("{name}, whose keys may not be read"));
        let homeless = self.has_homeless.then(|| "one without a checkpoint".to_owned());
        let names: Vec<String> = names.chain(hidden).chain(homeless).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Whether the last look is no older than that.
    fn are_known(&self, now: Duration, holds: Duration) -> bool {
        self.looked_at.is_some_and(|at| now.saturating_sub(at) < holds)
    }
}

/// What stands behind the tag in a key of ours: the name of its stream, and what is beside that.
fn behind_tag(key: &[u8]) -> Option<&[u8]> {
    let end = key.iter().position(|byte| *byte == b'}')?;
    key.get(end + 1..)?.strip_prefix(b":")
}

/// Whether a key lies beside the checkpoint of a stream.
fn is_beside(key: &[u8], stream: &[u8]) -> bool {
    behind_tag(key).is_some_and(|name| follows(name, stream))
}

/// Whether a name is that of a stream with something behind it.
fn follows(name: &[u8], stream: &[u8]) -> bool {
    name.strip_prefix(stream).is_some_and(|rest| rest.starts_with(b":"))
}

/// What the connections of other streams' workers are called, from the text of CLIENT LIST. `own` is how those of this
/// stream begin.
fn workers(list: &str, own: &str) -> BTreeSet<String> {
    let own = own.strip_suffix(':').unwrap_or(own);
    let is_theirs = |name: &&str| {
        // The stream, its partitions, the worker's number.
        let mut parts = name.rsplitn(3, ':');
        let number = parts.next().and_then(|number| number.parse::<u64>().ok());
        let stream = parts.nth(1).filter(|stream| stream.starts_with(names::PREFIX));
        number.is_some() && stream.is_some_and(|stream| stream != own)
    };
    let name = |line: &'_ str| {
        line.split(' ')
            .find_map(|part| part.strip_prefix("name="))
            .filter(is_theirs)
            .map(str::to_owned)
    };
    list.lines().filter_map(name).collect()
}

// === impl Pump ===

impl Pump<'_> {
    /// Whether what a snapshot did not name may go: where others write, too, nobody knows whose it is.
    /// The first time it `begins` with a look that is no older than a few seconds.
    pub(super) async fn may_sweep(
        &mut self,
        (position, begins): (Position, bool),
    ) -> Result<May, Error> {
        match self.planner.rules.existing {
            Existing::Sweep => return Ok(May::Go),
            Existing::Overwrite => {
                tracing::warn!(
                    "what the source has removed meanwhile stays: nothing tells it from what else lives there \
                     (existing = overwrite)"
                );
                return Ok(May::Stay);
            }
            Existing::Fail => {}
        }
        // Whoever names the keys that it takes removes no others.
        if !self.tools.config.filters.keys.include.is_empty() {
            return Ok(May::Go);
        }
        let holds = match begins {
            true => limits::SWEEP_LOOK_HOLDS,
            false => limits::OTHERS_LOOK_INTERVAL,
        };
        if !self.look_for_others(holds).await? {
            return Ok(May::Stopped);
        }
        let Some(streams) = self.neighbours.beside(&self.planner.rules.territory) else {
            return Ok(May::Go);
        };
        let endpoint = self.connection.endpoint().to_string();
        let hidden = !self.neighbours.hidden.is_empty();
        let error = Error::Neighbours { endpoint, position, streams, hidden };
        if self.tools.config.inexact == Inexact::Refuse {
            return Err(error);
        }
        tracing::warn!(error = %error, "what the source has removed meanwhile stays, as the settings say");
        Ok(May::Stay)
    }

    /// Whether all libraries of functions may go where nothing is said about it: they belong to the server, not to a
    /// database.
    pub(super) async fn may_forget_functions(&mut self) -> Result<May, Error> {
        if !self.look_for_others(limits::OTHERS_LOOK_INTERVAL).await? {
            return Ok(May::Stopped);
        }
        if !self.neighbours.found {
            return Ok(May::Go);
        }
        tracing::warn!(
            "libraries of functions that the source has removed meanwhile stay: another stream uses the \
             destination, and nothing tells whose they are"
        );
        Ok(May::Stay)
    }

    /// Looks through all databases for other streams, unless a look still holds and nobody has come since: it costs a
    /// full scan. Their checkpoints may stand in another database than their data. Says whether it is known now who is
    /// there: not where the lane is to stop meanwhile.
    pub(super) async fn look_for_others(&mut self, holds: Duration) -> Result<bool, Error> {
        let now = self.tools.clock.monotonic();
        if self.neighbours.are_known(now, holds) && !self.has_newcomers().await? {
            return Ok(true);
        }
        let workers = self.workers_of_others().await?;
        self.neighbours = Neighbours { workers, asked_at: Some(now), ..Neighbours::default() };
        let mut rest = Rest::default();
        let mut is_whole = true;
        for db in 0..self.planner.rules.databases {
            is_whole = self.look_into(db, &mut rest).await?;
            if !is_whole {
                break;
            }
        }
        select(&mut self.connection, self.tools.config.checkpoint_db).await?;
        if is_whole {
            self.neighbours.take_rest(&rest);
            self.neighbours.looked_at = Some(self.tools.clock.monotonic());
        }
        Ok(is_whole)
    }

    /// Whether workers of other streams are connected that were not when the last look began, which is worth nothing
    /// then. It is asked once in a while.
    pub(super) async fn has_newcomers(&mut self) -> Result<bool, Error> {
        let now = self.tools.clock.monotonic();
        let asked_at = self.neighbours.asked_at;
        if asked_at.is_some_and(|at| now.saturating_sub(at) < limits::NEWCOMERS_INTERVAL) {
            return Ok(false);
        }
        let workers = self.workers_of_others().await?;
        self.neighbours.asked_at = Some(now);
        let has_some = !workers.is_subset(&self.neighbours.workers);
        if has_some {
            self.neighbours.looked_at = None;
        }
        Ok(has_some)
    }

    async fn workers_of_others(&mut self) -> Result<BTreeSet<String>, Error> {
        let list = self.connection.call(["CLIENT", "LIST"]).await?;
        let list = list.as_bytes().map(|list| String::from_utf8_lossy(list));
        Ok(workers(&list.unwrap_or_default(), &self.names.connection))
    }

    /// Takes note of what a database holds of other streams of ours. Says whether it came to the end.
    async fn look_into(&mut self, db: u32, rest: &mut Rest) -> Result<bool, Error> {
        select(&mut self.connection, db).await?;
        let mut scan = Scan::matching(b"keyferry:{*}:*");
        while let Some(keys) = self.scanned(&mut scan).await? {
            let is_theirs = |key: &Bytes| names::is_ours(key) && !self.names.is_own(key);
            let theirs: Vec<Bytes> = keys.into_iter().filter(is_theirs).collect();
            self.neighbours.found |= !theirs.is_empty();
            for key in theirs {
                // A large value may be there, of which the name tells enough.
                let held = match names::is_stage(&key) {
                    true => Held::Other,
                    false => self.held_by(&key).await?,
                };
                match held {
                    Held::Checkpoint(checkpoint) => self.neighbours.take(*checkpoint),
                    Held::Other => drop(rest.others.insert(key)),
                    Held::Hidden => drop(rest.hidden.insert(key)),
                }
            }
        }
        Ok(!self.stop.is_cancelled())
    }

    /// What a key of the selected database holds.
    async fn held_by(&mut self, key: &Bytes) -> Result<Held, Error> {
        Ok(match self.connection.ask([b"GET".as_slice(), key]).await? {
            Reply::Bulk(bytes) => codec::checkpoint::decode(&bytes)
                .map_or(Held::Other, |checkpoint| Held::Checkpoint(Box::new(checkpoint))),
            Reply::Error(text) if Refusal::read(&text).code == Code::NoPermission => Held::Hidden,
            _ => Held::Other,
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

    fn keys<const N: usize>(names: [&str; N]) -> BTreeSet<Bytes> {
        names.map(|name| Bytes::from(format!("keyferry:{{abc}}:{name}"))).into()
    }

    #[test]
    fn where_nothing_tells_whose_keys_were_found_they_are_in_the_way() {
        let mut neighbours = Neighbours::default();
        neighbours.take(checkpoint("known", &[1]));
        let others = |name| Rest { others: keys([name]), ..Rest::default() };
        neighbours.take_rest(&others("known:owner"));
        assert_eq!(neighbours.beside(&in_databases(&[0])), None);
        neighbours.take_rest(&others("gone:owner"));
        assert!(neighbours.beside(&in_databases(&[0])).unwrap().contains("without a checkpoint"));
    }

    #[test]
    fn a_stream_whose_keys_may_not_be_read_is_in_the_way_by_its_name() {
        let mut neighbours = Neighbours::default();
        neighbours.take(checkpoint("known", &[1]));
        let hidden = keys(["known:owner", "shy:owner", "shy", "shy-2:owner", "shy-2"]);
        neighbours.take_rest(&Rest { others: keys(["shy:stage:1:0:x"]), hidden });
        assert_eq!(neighbours.hidden, ["shy", "shy-2"]);
        let said = neighbours.beside(&in_databases(&[0])).unwrap();
        assert!(said.contains("shy, whose keys may not be read"), "{said}");
        assert!(!said.contains("without a checkpoint") && !said.contains("known"), "{said}");
    }

    #[test]
    fn workers_of_other_streams_are_known_by_the_names_of_their_connections() {
        let list = "id=3 addr=127.0.0.1:1 name=keyferry:shop:0-3:4 db=0\n\
                    id=4 addr=127.0.0.1:2 name=keyferry:shop-2:1,7:7 db=0\n\
                    id=5 addr=127.0.0.1:3 name=keyferry:capture:shop-3 db=0\n\
                    id=6 addr=127.0.0.1:3 name=keyferry:capture:7 db=0\n\
                    id=7 addr=127.0.0.1:5 name= db=0\n\
                    id=8 addr=127.0.0.1:5 name=another:one:8-9:1 db=0\n";
        let found: Vec<String> = workers(list, "keyferry:shop:").into_iter().collect();
        assert_eq!(found, ["keyferry:shop-2:1,7:7"]);
    }
}
