//! Being a replica of every kind of server.

use anyhow::{Context, Result, ensure};
use redis_io::replication::{Announcement, Answer, ReplicationId, Resume, SnapshotSize, open};
use redis_io::{Code, Error};
use runtime::{Class, Classified};
use testkit::{Kind, Server, eventually, free_port};

use crate::replica::Replica;
use crate::{LIMIT, connect};

const BY_LENGTH: &str = "repl-diskless-sync no";
const BY_MARK: &str = "repl-diskless-sync yes";
/// Opcode of the end of a snapshot and the checksum after it.
const SNAPSHOT_TAIL_BYTES: usize = 9;

async fn replica_of(server: &Server) -> Result<Replica> {
    Replica::open(connect(&server.uri()).await?, None).await
}

fn full(replica: &Replica) -> Result<(ReplicationId, u64)> {
    match replica.answer() {
        Answer::Full { replid, offset } => Ok((replid, offset)),
        Answer::Continue { .. } => anyhow::bail!("a full transfer was expected"),
    }
}

/// The server's offset equals what was read: nothing was counted that is not stream, nothing
/// missed. Pings may come in between, so it is read on until it does.
async fn assert_offset_agrees(server: &Server, replica: &mut Replica) -> Result<()> {
    let mut client = server.client()?;
    let mut theirs = 0;
    for round in 0..100 {
        let word = format!("round {round}");
        client.cmd(&["PUBLISH", "sync", &word])?;
        replica.read_until(&format!("PUBLISH sync {word}")).await?;
        theirs = client
            .info_field("replication", "master_repl_offset")?
            .context("an offset")?
            .parse::<u64>()?;
        if theirs == replica.offset() {
            return Ok(());
        }
    }
    anyhow::bail!("the server is at {theirs}, the replica at {}", replica.offset())
}

#[tokio::test]
async fn a_full_transfer_comes_by_length_and_by_mark() -> Result<()> {
    for kind in Kind::ALL {
        for mode in [BY_LENGTH, BY_MARK] {
            let server = Server::start(kind, &[mode])?;
            server.client()?.cmd(&["DEBUG", "POPULATE", "5000", "key", "50"])?;
            server.client()?.cmd(&["SET", "before", "1"])?;
            let mut replica = replica_of(&server).await?;
            let size = replica.read_snapshot().await?;
            let snapshot = replica.snapshot();
            match size {
                SnapshotSize::Length(length) => {
                    assert_eq!((mode, length), (BY_LENGTH, snapshot.len() as u64), "{kind}");
                }
                SnapshotSize::UntilMark => assert_eq!(mode, BY_MARK, "{kind}"),
            }
            let magic: &[u8] = if kind.is_valkey() { b"VALKEY080" } else { b"REDIS00" };
            ensure!(snapshot.starts_with(magic), "{kind}: {}", snapshot[..9].escape_ascii());
            assert_eq!(snapshot[snapshot.len() - SNAPSHOT_TAIL_BYTES], 0xff, "{kind} {mode}");
            server.client()?.cmd(&["SET", "after", "1"])?;
            replica.read_until("SET after 1").await?;
            ensure!(!replica.commands().iter().any(|command| command.contains("before")));
            assert_offset_agrees(&server, &mut replica).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_valkey_that_hears_no_version_falls_back_to_an_old_format() -> Result<()> {
    let server = Server::start(Kind::Valkey9_1, &[])?;
    let connection = connect(&server.uri()).await?;
    let mut replica = Replica::open_as(connection, Announcement::default(), None).await?;
    replica.read_snapshot().await?;
    ensure!(replica.snapshot().starts_with(b"REDIS0011"));
    Ok(())
}

/// The stream is held back after a diskless snapshot until the first acknowledgement, and the
/// acknowledgement of offset 0 counts.
#[tokio::test]
async fn an_acknowledgement_of_offset_zero_lets_the_stream_flow() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[BY_MARK])?;
        let mut replica = replica_of(&server).await?;
        replica.be_silent();
        replica.read_snapshot().await?;
        assert_eq!(full(&replica)?.1, 0, "{kind}: nobody replicated before");
        server.client()?.cmd(&["SET", "held", "back"])?;
        eventually(LIMIT, "the server has noticed our silence", || {
            let line = server.client()?.info_field("replication", "slave0")?.unwrap_or_default();
            let lag = line.split("lag=").nth(1).and_then(|rest| rest.split(',').next());
            Ok(lag.is_some_and(|lag| lag.parse().is_ok_and(|lag: u32| lag >= 2)).then_some(()))
        })?;
        ensure!(!replica.has_input().await?, "{kind} did not hold the stream back");
        replica.ack().await?;
        replica.read_until("SET held back").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_lost_link_goes_on_at_the_next_byte() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[])?;
        let mut replica = replica_of(&server).await?;
        replica.read_snapshot().await?;
        let (replid, _) = full(&replica)?;
        server.client()?.cmd(&["SET", "one", "1"])?;
        replica.read_until("SET one 1").await?;
        assert_offset_agrees(&server, &mut replica).await?;
        let resume = replica.resume(replid);
        drop(replica);
        server.client()?.cmd(&["SET", "two", "2"])?;
        let connection = connect(&server.uri()).await?;
        let mut again = Replica::open(connection, Some(resume)).await?;
        match again.answer() {
            Answer::Continue { replid: Some(named) } => assert_eq!(named, replid, "{kind}"),
            other => anyhow::bail!("{kind}: {other:?}"),
        }
        again.read_until("SET two 2").await?;
        let first = again.commands().iter().find(|command| !command.eq_ignore_ascii_case("ping"));
        assert_eq!(first.map(String::as_str), Some("SET two 2"), "{kind}: no byte lost or twice");
        assert_offset_agrees(&server, &mut again).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_position_that_the_server_has_not_is_answered_with_a_full_transfer() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[])?;
        let replid: ReplicationId = "f".repeat(40).parse()?;
        let resume = Some(Resume { replid, next_offset: 1_000 });
        let connection = connect(&server.uri()).await?;
        let mut replica = Replica::open(connection, resume).await?;
        assert_ne!(full(&replica)?.0, replid, "{kind}");
        replica.read_snapshot().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_serves_as_a_source_and_its_position_holds_at_its_primary() -> Result<()> {
    for kind in Kind::ALL {
        let primary = Server::start(kind, &[])?;
        let middle = Server::start(kind, &[&format!("replicaof 127.0.0.1 {}", primary.port())])?;
        eventually(LIMIT, "the replica's link is up", || {
            let status = middle.client()?.info_field("replication", "master_link_status")?;
            Ok((status.as_deref() == Some("up")).then_some(()))
        })?;
        primary.client()?.cmd(&["SET", "one", "1"])?;
        let mut replica = replica_of(&middle).await?;
        replica.read_snapshot().await?;
        let (replid, _) = full(&replica)?;
        primary.client()?.cmd(&["SET", "two", "2"])?;
        replica.read_until("SET two 2").await?;
        let resume = replica.resume(replid);
        drop(replica);
        primary.client()?.cmd(&["SET", "three", "3"])?;
        let connection = connect(&primary.uri()).await?;
        let mut again = Replica::open(connection, Some(resume)).await?;
        ensure!(matches!(again.answer(), Answer::Continue { .. }), "{kind}: {:?}", again.answer());
        again.read_until("SET three 3").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_without_its_primary_is_asked_again_later() -> Result<()> {
    for kind in Kind::ALL {
        let orphan = Server::start(kind, &[&format!("replicaof 127.0.0.1 {}", free_port()?)])?;
        let connection = connect(&orphan.uri()).await?;
        match open(connection, &Announcement::default(), None).await {
            Err(error @ Error::Psync { .. }) => {
                ensure!(matches!(&error, Error::Psync { refusal, .. }
                    if refusal.code == Code::NoMasterLink));
                assert_eq!(error.class(), Class::Retry, "{kind}");
            }
            other => anyhow::bail!("{kind}: {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_psync_is_told_by_that_name() -> Result<()> {
    let server = Server::start(Kind::Redis6_2, &["rename-command PSYNC \"\""])?;
    let connection = connect(&server.uri()).await?;
    let error = open(connection, &Announcement::default(), None).await.expect_err("no PSYNC");
    assert_eq!(error.class(), Class::Operator);
    ensure!(error.advice().contains("PSYNC"), "{}", error.advice());
    Ok(())
}

#[tokio::test]
async fn a_replica_is_seen_by_the_server_without_a_port() -> Result<()> {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[])?;
        let mut replica = replica_of(&server).await?;
        replica.read_snapshot().await?;
        server.client()?.cmd(&["SET", "k", "v"])?;
        replica.read_until("SET k v").await?;
        replica.ack().await?;
        let wanted = format!("offset={}", replica.offset());
        eventually(LIMIT, format!("the server knows {wanted}"), || {
            let line = server.client()?.info_field("replication", "slave0")?.unwrap_or_default();
            ensure!(line.contains("port=0,"), "{kind}: {line}");
            Ok((line.contains("state=online") && line.contains(&wanted)).then_some(()))
        })?;
    }
    Ok(())
}
