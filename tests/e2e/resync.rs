//! The source has forgotten where we were: everything is read again, and nothing that is gone stays.

use std::path::Path;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testkit::{Client, Kind, Process, Server, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

const LIBRARY: &str = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";

/// Writes until the source's backlog no longer has what it had.
pub(crate) fn overflow_the_backlog(client: &mut Client) -> Result<()> {
    client.cmd(&["CONFIG", "SET", "repl-backlog-size", "16384"])?;
    let commands: Vec<Vec<String>> = (0..3_000)
        .map(|number| vec!["SET".to_owned(), format!("new:{number}"), format!("{number:0400}")])
        .collect();
    client.batch(&commands)?;
    Ok(())
}

fn leaves_no_ghosts(kind: Kind) -> Result<()> {
    let mut pair = Pair::start(kind, kind)?;
    let mut client = pair.source_client()?;
    for number in 0..500 {
        client.cmd(&["SET", &format!("old:{number}"), "1"])?;
    }
    client.cmd(&["FUNCTION", "LOAD", LIBRARY])?;
    client.cmd(&["INCR", "counter"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    client.cmd(&["FUNCTION", "DELETE", "mylib"])?;
    client.cmd(&["DEL", "old:1", "old:2", "old:3"])?;
    client.cmd(&["INCR", "counter"])?;
    overflow_the_backlog(&mut client)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    let full_syncs = client.info_field("stats", "sync_full")?;
    ensure!(full_syncs.as_deref() == Some("2"), "full syncs: {full_syncs:?}");
    ensure!(pair.destination_client()?.cmd(&["GET", "counter"])?.text()? == "2");
    stop(&mut bridge)
}

#[test]
fn leaves_no_ghosts_redis_7_0() -> Result<()> {
    leaves_no_ghosts(Kind::Redis7_0)
}

#[test]
fn leaves_no_ghosts_valkey_9_1() -> Result<()> {
    leaves_no_ghosts(Kind::Valkey9_1)
}

#[test]
fn sweeps_what_the_destination_held_before() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut destination = pair.destination_client()?;
    destination.cmd(&["SET", "stranger", "1"])?;
    destination.cmd(&["SET", "shared", "old"])?;
    pair.source_client()?.cmd(&["SET", "shared", "new"])?;
    let mut bridge = pair.run(&["--existing", "sweep"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn leaves_what_the_destination_held_where_that_is_asked_for() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut destination = pair.destination_client()?;
    destination.cmd(&["SET", "stranger", "1"])?;
    destination.cmd(&["SET", "shared", "old"])?;
    pair.source_client()?.cmd(&["SET", "shared", "new"])?;
    let mut bridge = pair.run(&["--existing", "overwrite"])?;
    pair.caught_up(&mut bridge)?;
    ensure!(destination.cmd(&["GET", "stranger"])?.text()? == "1");
    ensure!(destination.cmd(&["GET", "shared"])?.text()? == "new");
    stop(&mut bridge)
}

/// A replica of the source, in step with it.
pub(crate) fn replica_of(pair: &Pair) -> Result<Server> {
    let replica = Server::start(Kind::Redis7_0, &["repl-backlog-size 16mb"])?;
    let port = pair.source.port().to_string();
    replica.client()?.cmd(&["REPLICAOF", "127.0.0.1", &port])?;
    in_step(pair, &replica)?;
    Ok(replica)
}

fn in_step(pair: &Pair, replica: &Server) -> Result<()> {
    let (mut primary, mut replica) = (pair.source_client()?, replica.client()?);
    eventually(PATIENCE, "the replica is in step", || {
        let sent = primary.info_field("replication", "master_repl_offset")?;
        let up = replica.info_field("replication", "master_link_status")?;
        let has = replica.info_field("replication", "slave_repl_offset")?;
        Ok((up.as_deref() == Some("up") && sent.is_some() && sent == has).then_some(()))
    })
}

/// What `keyferry status` says of a value of capture.
fn status_of(pair: &Pair, name: &str) -> Result<String> {
    let mut asked = Process::start(&["status", "--data-dir", &pair.data_dir(), "--json"])?;
    asked.wait(PATIENCE)?;
    let status: serde_json::Value = serde_json::from_str(&asked.stdout())?;
    let capture = status.get("capture").and_then(|capture| capture.get(name));
    Ok(capture.unwrap_or(&serde_json::Value::Null).to_string())
}

#[test]
fn a_promoted_replica_without_the_last_writes_is_followed_by_a_full_transfer() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "common", "1"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let replica = replica_of(&pair)?;
    replica.client()?.cmd(&["REPLICAOF", "NO", "ONE"])?;
    client.cmd(&["SET", "lost", "1"])?;
    client.cmd(&["SET", "common", "lost"])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    replica.client()?.cmd(&["SET", "new", "1"])?;
    pair.source = replica;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)?;
    let transfers = status_of(&pair, "full_transfers")?;
    ensure!(transfers == "1", "{transfers} full transfers");
    Ok(())
}

/// The journal lost what the destination had applied, and the source what both had: neither tells
/// capture, the destination does.
#[test]
fn a_destination_ahead_of_journal_and_source_has_everything_sent_again() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "common", "1"])?;
    let mut bridge = pair.run(&[])?;
    let replica = replica_of(&pair)?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    let kept = TempDir::new()?;
    copy_dir(Path::new(&pair.data_dir()), kept.path())?;
    let mut bridge = pair.run(&[])?;
    client.cmd(&["SET", "common", "2"])?;
    pair.caught_up(&mut bridge)?;
    in_step(&pair, &replica)?;
    replica.client()?.cmd(&["REPLICAOF", "NO", "ONE"])?;
    client.cmd(&["SET", "lost", "1"])?;
    pair.caught_up(&mut bridge)?;
    bridge.kill()?;
    std::fs::remove_dir_all(pair.data_dir())?;
    copy_dir(kept.path(), Path::new(&pair.data_dir()))?;
    replica.client()?.cmd(&["SET", "new", "1"])?;
    pair.source = replica;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)?;
    let resyncs = status_of(&pair, "resyncs")?;
    ensure!(resyncs == "1", "counted {resyncs} times");
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The data directory as it was some time ago, as after a backup was put back: what is read again from the source
/// comes to stand at other places of the journal than the destination knows.
#[test]
fn a_journal_that_was_put_back_from_a_copy_loses_nothing() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    let (data, copy) = (pair.data_dir(), TempDir::new()?);
    copy_dir(Path::new(&data), copy.path())?;
    // Restarts leave notes in the journal that nothing makes anew.
    for _ in 0..2 {
        let mut bridge = pair.run(&[])?;
        client.cmd(&["INCR", "counter"])?;
        pair.caught_up(&mut bridge)?;
        stop(&mut bridge)?;
        ensure!(!bridge.stderr().contains("put back"), "{}", bridge.stderr());
    }
    std::fs::remove_dir_all(&data)?;
    copy_dir(copy.path(), Path::new(&data))?;
    for number in 0..1_000 {
        client.cmd(&["SET", &format!("key:{number}"), "1"])?;
        client.cmd(&["INCR", "counter"])?;
    }
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    ensure!(bridge.stderr().contains("put back"), "{}", bridge.stderr());
    stop(&mut bridge)
}
