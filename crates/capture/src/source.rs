//! What a source is, by its own words, and whether it can be read.
//!
//! Asked before every link and not only at the start: behind one address the server may be another
//! one after a failover or an upgrade.

mod node;

use std::sync::Arc;

use redis_io::facts::{Flavour, ReplicationFacts, Role, Version};
use redis_io::info::Info;
use redis_io::replication::Announcement;
use redis_io::{Code, Connection, Refusal, ServerFacts};
use runtime::Class;
use wire::command::normalise::Era;
use wire::resp::reply::Reply;

pub(crate) use self::node::Node;
use crate::piece::Peer;

/// A server that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Who it is.
    pub peer: Peer,
    /// What to say of ourselves: Valkey chooses the snapshot's format by it.
    pub announcement: Announcement,
    /// Its histories; none before 4.0.
    pub replication: Option<ReplicationFacts>,
    /// Ids of the histories that it can go on with: up to 3.2 that of its run.
    pub ids: Vec<String>,
    /// Keys that it holds.
    pub keys: u64,
    /// What it is of a cluster.
    pub node: Option<Node>,
}

/// Why a server is no source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// It did not answer.
    #[error(transparent)]
    Unanswered(#[from] redis_io::Error),
    /// The account may not ask: the text says what to do.
    #[error("{0}")]
    Denied(String),
    /// It is not one that can be read: the text says why and what to do.
    #[error("{0}")]
    Unfit(String),
    /// Its slots are others than they were, or are being moved: the text says which.
    #[error("{0}")]
    Moved(String),
}

// === impl Source ===

impl Source {
    /// Asks the server at the other end, which is to be a primary of a cluster, or no node of one.
    ///
    /// # Errors
    /// When it does not answer, or is none that can be read.
    pub(crate) async fn ask(
        connection: &mut Connection,
        is_shard: bool,
    ) -> Result<Self, SourceError> {
        let info = answer(connection, &["INFO"], "+info").await?;
        let facts = ServerFacts::from_info(&Info::parse(&info));
        let mut source = Self::judge(&facts, is_shard).map_err(SourceError::Unfit)?;
        if is_shard {
            source.node = Some(Node::ask(connection).await?);
        }
        Ok(source)
    }

    fn judge(facts: &ServerFacts, is_shard: bool) -> Result<Self, String> {
        if facts.role == Some(Role::Sentinel) {
            return Err("it is a sentinel, which holds no data: \
                        name a server that it watches"
                .to_owned());
        }
        let is_replica = matches!(facts.role, Some(Role::Replica { .. }));
        match (facts.cluster_enabled == Some(true), is_shard) {
            (true, false) => {
                return Err("it is a node of a cluster: capture each of the cluster's primaries \
                            as one shard of a stream on Kafka, with `keyferry capture --shard` and a \
                            number of its own (docs/capture-a-cluster.md)"
                    .to_owned());
            }
            (false, true) => {
                return Err(
                    "it is no node of a cluster, and --shard is for those: leave it out".to_owned()
                );
            }
            (true, true) if is_replica => {
                return Err(IS_REPLICA.to_owned());
            }
            _ => {}
        }
        if is_replica && facts.replica_read_only == Some(false) {
            return Err("it is a replica that takes writes of its own, which it does not \
                        replicate: set replica-read-only there, or read from its primary"
                .to_owned());
        }
        let version = facts.version.ok_or("it does not tell its version in INFO")?;
        if is_shard && version < EFFECTS_OF_SCRIPTS && !facts.is_valkey() {
            return Err("clusters are read from Redis 5.0 on: older ones send scripts instead of \
                        what they do"
                .to_owned());
        }
        let family = match &facts.flavour {
            Some(Flavour::Valkey) => "valkey",
            Some(Flavour::Other(name)) => name,
            Some(Flavour::Redis) | None => "redis",
        };
        Ok(Self {
            peer: Peer { shown: format!("{family} {version}"), era: era(facts, version) },
            announcement: Announcement::for_server(facts),
            replication: facts.replication.clone(),
            ids: ids(facts),
            keys: facts.keyspace.values().map(|db| db.keys).sum(),
            node: None,
        })
    }
}

/// What the server answers, as text.
async fn answer(
    connection: &mut Connection,
    command: &[&str],
    right: &str,
) -> Result<String, SourceError> {
    match connection.ask(command).await? {
        Reply::Error(text) => {
            let (command, refusal) = (command.join(" "), Refusal::read(&text));
            if refusal.class() == Class::Retry {
                // It loads its data, or a script holds it.
                let endpoint = Arc::clone(connection.endpoint());
                return Err(redis_io::Error::Server { endpoint, command, refusal }.into());
            }
            let what =
                format!("it does not answer {command} ({refusal}): allow {right} to the account");
            Err(match is_denial(&refusal) {
                true => SourceError::Denied(what),
                false => SourceError::Unfit(what),
            })
        }
        reply => {
            let text = reply.as_bytes().map_or(b"".as_slice(), |text| text);
            Ok(String::from_utf8_lossy(text).into_owned())
        }
    }
}

fn ids(facts: &ServerFacts) -> Vec<String> {
    match &facts.replication {
        Some(histories) => [Some(histories.replid.clone()), histories.replid2.clone()]
            .into_iter()
            .flatten()
            .collect(),
        None => facts.run_id.iter().cloned().collect(),
    }
}

/// Whether a server says that the account, its password or its permissions are not in order.
pub(crate) fn is_denial(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::NoAuth | Code::WrongPassword | Code::NoPermission)
}

/// What to do where the source is a replica in a cluster.
const IS_REPLICA: &str = "it is a replica in its cluster: name the primary of its shard, with the same --shard, and the \
                          stream goes on there";

/// The first that replicates what scripts do.
const EFFECTS_OF_SCRIPTS: Version = Version { major: 5, minor: 0, patch: 0 };

/// The first of their lines whose MOVE takes the deadline along.
const KEEPS_DEADLINES_2_8: Version = Version { major: 2, minor: 8, patch: 23 };
const KEEPS_DEADLINES_3_0: Version = Version { major: 3, minor: 0, patch: 5 };

fn era(facts: &ServerFacts, version: Version) -> Era {
    match version.major {
        _ if facts.is_valkey() => Era::V7_0,
        0..=2 if version < KEEPS_DEADLINES_2_8 => Era::V2_6,
        3 if version < KEEPS_DEADLINES_3_0 => Era::V2_6,
        0..=4 => Era::V2_8,
        5 | 6 => Era::V5_0,
        _ => Era::V7_0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(info: &str) -> Result<Source, String> {
        Source::judge(&ServerFacts::from_info(&Info::parse(info)), false)
    }

    #[test]
    fn tells_family_version_and_era() {
        let told = |info: &str| {
            let peer = judge(info).unwrap().peer;
            (peer.shown, peer.era)
        };
        let role = "role:master";
        assert_eq!(
            told(&format!("redis_version:4.0.14\n{role}")),
            ("redis 4.0.14".into(), Era::V2_8)
        );
        for (version, era) in [
            ("2.8.19", Era::V2_6),
            ("2.8.23", Era::V2_8),
            ("3.0.4", Era::V2_6),
            ("3.0.5", Era::V2_8),
            ("3.2.0", Era::V2_8),
        ] {
            let peer = told(&format!("redis_version:{version}\n{role}"));
            assert_eq!(peer, (format!("redis {version}"), era));
        }
        assert_eq!(
            told(&format!("redis_version:6.2.16\n{role}")),
            ("redis 6.2.16".into(), Era::V5_0)
        );
        assert_eq!(
            told(&format!("redis_version:8.2.3\n{role}")),
            ("redis 8.2.3".into(), Era::V7_0)
        );
        let valkey = "redis_version:7.2.4\nserver_name:valkey\nvalkey_version:9.1.2\nrole:master";
        assert_eq!(told(valkey), ("valkey 9.1.2".into(), Era::V7_0));
    }

    #[test]
    fn counts_the_keys_of_all_databases() {
        let info = "redis_version:7.0.15\nrole:master\n\
                    db0:keys=3,expires=1,avg_ttl=0\ndb9:keys=4,expires=0,avg_ttl=0";
        assert_eq!(judge(info).unwrap().keys, 7);
    }

    #[test]
    fn tells_with_which_histories_it_can_go_on() {
        let ids = |info: &str| judge(info).unwrap().ids;
        let old = "redis_version:3.2.0\nrole:master\nrun_id:r";
        assert_eq!(ids(old), ["r"]);
        let new =
            "redis_version:7.0.15\nrole:master\nrun_id:r\nmaster_replid:a\nmaster_repl_offset:9\n";
        assert_eq!(ids(&format!("{new}master_replid2:{}", "0".repeat(40))), ["a"]);
        assert_eq!(ids(&format!("{new}master_replid2:b\nsecond_repl_offset:5")), ["a", "b"]);
    }

    #[test]
    fn takes_a_replica_only_if_it_takes_no_writes() {
        let replica = "redis_version:7.0.15\nrole:slave\nmaster_host:h\nmaster_port:1\n\
                       master_link_status:up\nslave_read_only:";
        assert!(judge(&format!("{replica}1")).is_ok());
        assert!(judge(&format!("{replica}0")).unwrap_err().contains("replica-read-only"));
    }

    #[test]
    fn refuses_what_holds_no_history_of_its_own() {
        let refused = |info: &str| judge(info).unwrap_err();
        assert!(refused("redis_version:7.0.15\nredis_mode:sentinel").contains("sentinel"));
        let node = "redis_version:7.0.15\nredis_mode:cluster\nrole:master\ncluster_enabled:1";
        assert!(refused(node).contains("--shard"));
        let shard = |info: &str| {
            let facts = ServerFacts::from_info(&Info::parse(info));
            Source::judge(&facts, true).map(|_| ()).err().unwrap_or_default()
        };
        assert_eq!(shard(node), "");
        assert!(shard("redis_version:7.0.15\nrole:master").contains("leave it out"));
        assert!(shard(&node.replace("7.0.15", "4.0.14")).contains("Redis 5.0"));
        let replica = "redis_version:7.0.15\nrole:slave\nmaster_host:h\nmaster_port:1\nredis_mode:cluster\n\
                       master_link_status:up\nslave_read_only:1\ncluster_enabled:1";
        assert!(shard(replica).contains("name the primary"));
        assert!(refused("role:master").contains("version"));
    }
}
