//! What servers of each kind say about themselves.

use anyhow::{Context, Result, ensure};
use redis_io::ServerFacts;
use redis_io::facts::{DbFacts, Flavour, Role};
use testkit::{Kind, Server, eventually};

use crate::{LIMIT, connect};

#[tokio::test]
async fn a_primary_tells_what_it_is() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["maxmemory 100mb", "databases 20"])?;
        let mut client = server.client()?;
        client.cmd(&["SET", "a", "1"])?;
        client.select(7)?;
        client.cmd(&["SET", "b", "1", "EX", "1000"])?;
        let mut connection = connect(&format!("{}/7", server.uri())).await?;
        let facts = ServerFacts::gather(&mut connection).await?;
        let flavour = if kind.is_valkey() { Flavour::Valkey } else { Flavour::Redis };
        assert_eq!(facts.flavour, Some(flavour), "{kind}");
        let version = facts.version.context("a version")?;
        let known = kind.name().rsplit_once('-').context("a version in the name")?.1;
        assert_eq!(format!("{}.{}", version.major, version.minor), known);
        assert_eq!(facts.role, Some(Role::Primary { replicas: 0 }));
        assert_eq!(facts.databases, Some(20));
        assert_eq!(facts.maxmemory_bytes, Some(100 << 20));
        assert_eq!((facts.loading, facts.cluster_enabled), (Some(false), Some(false)));
        assert_eq!(facts.keyspace.get(&7), Some(&DbFacts { keys: 1, expires: 1 }));
        assert_eq!(facts.keyspace.len(), 2);
        ensure!(facts.missing.is_empty(), "{kind}: {:?}", facts.missing);
        let replication = facts.replication.context("replication state")?;
        assert_eq!((replication.replid.len(), replication.replid2), (40, None), "{kind}");
        assert_eq!(replication.backlog_first_offset, None, "{kind}: nobody has replicated yet");
        ensure!(facts.run_id.is_some());
    }
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_asked_is_missing_and_not_an_error() -> Result<()> {
    for kind in Kind::ALL {
        let user = "user u on >pw +ping +info +select ~*";
        let server = Server::start(kind, &[user, "databases 100"])?;
        let uri = server.uri().replace("redis://", "redis://u:pw@");
        let mut connection = connect(&format!("{uri}/5")).await?;
        let facts = ServerFacts::gather(&mut connection).await?;
        assert_eq!(facts.databases, Some(100), "{kind}: found by trying");
        assert_eq!(facts.missing.first().map(|m| m.command.as_str()), Some("CONFIG GET"));

        server.client()?.cmd(&["ACL", "SETUSER", "u", "-info", "-select"])?;
        let facts = ServerFacts::gather(&mut connection).await?;
        let missing: Vec<_> = facts.missing.iter().map(|m| m.command.as_str()).collect();
        assert_eq!(missing, ["INFO", "CONFIG GET", "SELECT"], "{kind}");
        assert_eq!((facts.flavour, facts.databases), (None, None));
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_node_has_the_databases_that_can_be_selected() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["cluster-enabled yes"])?;
        let mut connection = connect(&server.uri()).await?;
        let facts = ServerFacts::gather(&mut connection).await?;
        assert_eq!((facts.cluster_enabled, facts.databases), (Some(true), Some(1)), "{kind}");
    }
    let many = Server::start(Kind::Valkey9_1, &["cluster-enabled yes", "cluster-databases 6"])?;
    let mut connection = connect(&many.uri()).await?;
    assert_eq!(ServerFacts::gather(&mut connection).await?.databases, Some(6));
    Ok(())
}

#[tokio::test]
async fn a_replica_names_its_primary() -> Result<()> {
    for kind in Kind::ALL {
        let primary = Server::start(kind, &[])?;
        let replica = Server::start(kind, &[&format!("replicaof 127.0.0.1 {}", primary.port())])?;
        eventually(LIMIT, "the replica's link is up", || {
            let status = replica.client()?.info_field("replication", "master_link_status")?;
            Ok((status.as_deref() == Some("up")).then_some(()))
        })?;
        let facts = ServerFacts::gather(&mut connect(&replica.uri()).await?).await?;
        let expected = Role::Replica {
            primary_host: "127.0.0.1".to_owned(),
            primary_port: primary.port(),
            link_up: true,
            syncing: false,
        };
        assert_eq!(facts.role, Some(expected), "{kind}");
        assert_eq!(facts.replica_read_only, Some(true), "{kind}");
        let theirs = ServerFacts::gather(&mut connect(&primary.uri()).await?).await?;
        assert_eq!(theirs.role, Some(Role::Primary { replicas: 1 }), "{kind}");
        let ids = (facts.replication.map(|r| r.replid), theirs.replication.map(|r| r.replid));
        assert_eq!(ids.0, ids.1, "{kind}");
    }
    Ok(())
}
