//! Flushes: the source's own, whatever happens beside them, and somebody else's at the destination.

use anyhow::{Context, Result, ensure};
use testkit::{Client, Kind, Signal, eventually};

use crate::bridge::{PATIENCE, Pair, stop};
use crate::resync::overflow_the_backlog;

/// Waits until the journal durably holds all that the source has written: it is acknowledged.
fn recorded(client: &mut Client) -> Result<()> {
    eventually(PATIENCE, "everything written is acknowledged", || {
        let info = client.info("replication")?;
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let written =
            info.lines().find_map(|line| number(line.strip_prefix("master_repl_offset:")?));
        let replica = info.lines().find(|line| line.starts_with("slave0:"));
        let fields = replica.into_iter().flat_map(|line| line.split(','));
        let acknowledged = fields.filter_map(|field| number(field.strip_prefix("offset=")?)).next();
        Ok((acknowledged.unwrap_or(0) >= written.context("no offset")?).then_some(()))
    })
}

fn a_flush_under_way_survives_a_stop(partitions: &str) -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "other", "1"])?;
    let flags = ["--partitions", partitions];
    let mut bridge = pair.run(&flags)?;
    pair.caught_up(&mut bridge)?;
    pair.destination.pause()?;
    let commands = [
        vec!["SET", "x", "1"],
        vec!["MULTI"],
        vec!["FLUSHALL"],
        vec!["SET", "z", "1"],
        vec!["EXEC"],
        vec!["SET", "y", "2"],
    ];
    client.batch(&commands)?;
    recorded(&mut client)?;
    bridge.signal(Signal::INT)?;
    pair.destination.resume()?;
    ensure!(bridge.wait(PATIENCE)?.success(), "{}", bridge.stderr());
    let mut bridge = pair.run(&flags)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_flush_under_way_survives_a_stop_in_one_partition() -> Result<()> {
    a_flush_under_way_survives_a_stop("1")
}

#[test]
fn a_flush_under_way_survives_a_stop_in_many_partitions() -> Result<()> {
    a_flush_under_way_survives_a_stop("16")
}

#[test]
fn a_flush_beside_a_change_that_is_set_aside_is_not_lost() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&["--partitions", "1"])?;
    pair.caught_up(&mut bridge)?;
    pair.destination_client()?.cmd(&["SET", "bad", "in the way"])?;
    pair.destination.pause()?;
    let commands = [
        vec!["RPUSH", "bad", "1"],
        vec!["SET", "x", "1"],
        vec!["MULTI"],
        vec!["FLUSHALL"],
        vec!["SET", "z", "1"],
        vec!["EXEC"],
        vec!["SET", "y", "2"],
    ];
    client.batch(&commands)?;
    recorded(&mut client)?;
    pair.destination.resume()?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_destination_that_takes_no_flush_stops_the_bridge() -> Result<()> {
    let rename = ["rename-command FLUSHDB \"\""];
    let mut pair = Pair::start_with(Kind::Redis7_0, &[], Kind::Redis7_0, &rename)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.source_client()?.cmd(&["FLUSHALL"])?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(4), "{}", bridge.stderr());
    ensure!(bridge.stderr().contains("FLUSHDB"), "{}", bridge.stderr());
    Ok(())
}

#[test]
fn somebody_elses_flush_of_the_destination_is_noticed() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "counter", "41"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.destination_client()?.cmd(&["FLUSHALL"])?;
    client.cmd(&["INCR", "counter"])?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(4), "{}", bridge.stderr());
    ensure!(bridge.stderr().contains("is gone"), "{}", bridge.stderr());
    Ok(())
}

#[test]
fn strangers_outlive_a_second_full_sync_where_they_are_to_be_left() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut destination = pair.destination_client()?;
    destination.cmd(&["SET", "stranger", "1"])?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&["--existing", "overwrite"])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    overflow_the_backlog(&mut client)?;
    let mut bridge = pair.run(&["--existing", "overwrite"])?;
    pair.caught_up(&mut bridge)?;
    // What comes after that is behind the snapshot and what its end does.
    pair.caught_up(&mut bridge)?;
    ensure!(destination.cmd(&["GET", "stranger"])?.text()? == "1");
    ensure!(
        client.info_field("stats", "sync_full")?.as_deref() == Some("2"),
        "no second full sync"
    );
    stop(&mut bridge)
}
