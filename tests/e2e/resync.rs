//! The source has forgotten where we were: everything is read again, and nothing that is gone stays.

use anyhow::{Result, ensure};
use testkit::{Client, Kind};

use crate::bridge::{Pair, stop};

const LIBRARY: &str = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)";

/// Writes until the source's backlog no longer has what it had.
fn overflow_the_backlog(client: &mut Client) -> Result<()> {
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
