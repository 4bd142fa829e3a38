//! Another address of the source with the data directory of before: the same history goes on, another source is refused.

use anyhow::{Result, ensure};
use testkit::{Client, Kind, Process, Server};

use crate::bridge::{PATIENCE, Pair, stop};
use crate::resync::replica_of;

const SOURCE: i32 = 3;

fn set(client: &mut Client, keys: &[&str]) -> Result<()> {
    for key in keys {
        client.cmd(&["SET", key, "value"])?;
    }
    Ok(())
}

fn transfers(bridge: &Process) -> usize {
    bridge.stderr().matches("everything is copied").count()
}

#[test]
fn another_source_takes_the_place_of_the_one_before_only_if_that_is_said() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    set(&mut pair.source_client()?, &["a", "b"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    let before = pair.source.addr();
    let other = Server::start(Kind::Redis7_0, &[])?;
    set(&mut other.client()?, &["b", "c"])?;
    let first = std::mem::replace(&mut pair.source, other);

    let mut bridge = pair.run(&[])?;
    let status = bridge.wait(PATIENCE)?;
    let said = bridge.stderr();
    ensure!(status.code() == Some(SOURCE), "exit code {:?}:\n{said}", status.code());
    for word in [&before.to_string(), "another source", "--accept-new-source"] {
        ensure!(said.contains(word), "nothing is said of {word:?}:\n{said}");
    }
    ensure!(pair.destination_client()?.cmd(&["EXISTS", "a"])?.int()? == 1, "a is gone");

    let mut bridge = pair.run(&["--accept-new-source"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    ensure!(transfers(&bridge) == 1, "{}", bridge.stderr());
    stop(&mut bridge)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;

    // Nor does the first come back by mistake.
    pair.source = first;
    let mut bridge = pair.run(&[])?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(SOURCE), "{}", bridge.stderr());
    Ok(())
}

#[test]
fn a_promoted_replica_is_taken_for_what_it_is() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    set(&mut pair.source_client()?, &["a"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    let replica = replica_of(&pair)?;
    replica.client()?.cmd(&["REPLICAOF", "NO", "ONE"])?;
    pair.source = replica;
    set(&mut pair.source_client()?, &["b"])?;
    for _ in 0..2 {
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        pair.assert_same()?;
        ensure!(transfers(&bridge) == 0, "{}", bridge.stderr());
        stop(&mut bridge)?;
    }
    Ok(())
}
