//! How much memory large values take: one copy of the value on each side of the journal at most, given back afterwards.

use anyhow::{Context as _, Result};
use testkit::{Client, Kind, Process};

use crate::bridge::{Pair, stop};

const VALUE_BYTES: usize = 100_000_000;
/// What the value may cost on top of itself while it is under way.
const MORE_BYTES: usize = 128_000_000;
/// What the process may keep when it is over.
const KEPT_BYTES: usize = 96_000_000;

/// A field of the process' own status, bytes.
fn memory_of(bridge: &Process, field: &str) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().nth(1)).context("no such field")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}

fn assert_frugal(bridge: &Process) -> Result<()> {
    let (peak, kept) = (memory_of(bridge, "VmHWM")?, memory_of(bridge, "VmRSS")?);
    assert!(peak <= VALUE_BYTES + MORE_BYTES, "{peak} bytes at the peak, {kept} afterwards");
    assert!(kept <= KEPT_BYTES, "{kept} bytes are kept, {peak} at the peak");
    Ok(())
}

fn set_large(client: &mut Client) -> Result<()> {
    let value: Vec<u8> = (0..VALUE_BYTES).map(|at| (at % 251) as u8).collect();
    client.cmd(&[b"SET".as_slice(), b"large", &value])?;
    Ok(())
}

#[test]
fn a_large_set_in_the_stream_takes_little_more_than_itself() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    set_large(&mut client)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    assert_frugal(&bridge)?;
    stop(&mut bridge)
}

#[test]
fn a_large_string_in_a_snapshot_takes_little_more_than_itself() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    set_large(&mut pair.source_client()?)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    assert_frugal(&bridge)?;
    stop(&mut bridge)
}
