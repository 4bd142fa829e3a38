//! How much memory large values take: at most one copy on each side of the journal, given back afterwards.

use anyhow::{Context as _, Result};
use testkit::{Client, Kind, Process};

use crate::bridge::{Pair, stop};

const VALUE_BYTES: usize = 100_000_000;
/// What the value may cost on top of itself while it is under way, beside what the process takes at rest.
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

fn assert_frugal(bridge: &Process, rest_bytes: usize) -> Result<()> {
    let (peak, kept) = (memory_of(bridge, "VmHWM")?, memory_of(bridge, "VmRSS")?);
    assert!(peak <= VALUE_BYTES + MORE_BYTES + rest_bytes, "{peak} at the peak, {kept} afterwards");
    assert!(kept <= KEPT_BYTES, "{kept} bytes are kept, {peak} at the peak");
    Ok(())
}

fn set_large(client: &mut Client) -> Result<()> {
    let value: Vec<u8> = (0..VALUE_BYTES).map(|at| at.to_le_bytes()[1]).collect();
    client.cmd(&[b"SET".as_slice(), b"large", &value])?;
    Ok(())
}

#[test]
fn a_large_set_in_the_stream_takes_little_more_than_itself() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let rest_bytes = memory_of(&bridge, "VmRSS")?;
    set_large(&mut client)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    assert_frugal(&bridge, rest_bytes)?;
    stop(&mut bridge)
}

#[test]
fn a_large_string_in_a_snapshot_takes_little_more_than_itself() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    set_large(&mut pair.source_client()?)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    assert_frugal(&bridge, 0)?;
    stop(&mut bridge)
}
