//! A module of our own at both sides, or at one: its values by snapshot, its commands by stream, and what it keeps outside
//! keys.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::{Client, Kind};

use crate::bridge::{PATIENCE, Pair, stop};
use crate::quarantine::quarantine;

const KINDS: [Kind; 3] = [Kind::Redis7_0, Kind::Redis8_2, Kind::Valkey9_1];

/// The module, compiled with the machine's C compiler, as long as this lives.
struct Module(TempDir);

// === impl Module ===

impl Module {
    fn compile() -> Result<Self> {
        let dir = TempDir::new()?;
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/module/counter.c");
        let to = dir.path().join("counter.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&to).arg(from);
        let made = compiler.output().context("run cc, the C compiler")?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(Self(dir))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("counter.so")
    }

    /// The line of a configuration that loads it.
    fn line(&self) -> String {
        format!("loadmodule {}", self.path().display())
    }
}

/// The value of a counter, and how often it was changed.
fn counter(client: &mut Client, key: &str) -> Result<(i64, i64)> {
    match client.cmd(&["COUNTER.GET", key])?.array()?.as_slice() {
        [value, changes] => Ok((value.int()?, changes.int()?)),
        other => anyhow::bail!("{other:?}"),
    }
}

fn is_there(client: &mut Client, key: &str) -> Result<bool> {
    Ok(client.cmd(&["EXISTS", key])?.int()? == 1)
}

#[test]
fn values_and_commands_arrive_where_the_module_is_loaded() -> Result<()> {
    let module = Module::compile()?;
    for (from, to) in KINDS.iter().flat_map(|from| KINDS.map(|to| (*from, to))) {
        let mut pair = Pair::start_with(from, &[&module.line()], to, &[&module.line()])?;
        let mut client = pair.source_client()?;
        client.cmd(&["COUNTER.SET", "before", "5"])?;
        client.cmd(&["COUNTER.INCR", "before", "-7"])?;
        client.cmd(&["COUNTER.NOTE", "belongs to no key"])?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        client.cmd(&["COUNTER.INCR", "before", "1"])?;
        client.cmd(&["COUNTER.INCR", "after", "10"])?;
        client.cmd(&["COUNTER.SUM", "3", "before", "after", "sum"])?;
        client.cmd(&["MULTI"])?;
        client.cmd(&["COUNTER.INCR", "sum", "1"])?;
        client.cmd(&["COUNTER.SUM", "2", "sum", "sum of sums"])?;
        client.cmd(&["EXEC"])?;
        client.cmd(&["COUNTER.SET", "gone", "1"])?;
        client.cmd(&["RENAME", "gone", "here"])?;
        pair.caught_up(&mut bridge)?;
        let mut there = pair.destination_client()?;
        for key in ["before", "after", "sum", "sum of sums", "here", "gone"] {
            let (left, right) = (counter(&mut client, key)?, counter(&mut there, key)?);
            ensure!(left == right, "{from} to {to}: {key}: {left:?} != {right:?}");
        }
        ensure!(counter(&mut there, "sum of sums")? == (10, 1), "{from} to {to}");
        ensure!(there.cmd(&["COUNTER.NOTE"])?.text()?.is_empty());
        bridge.until(
            PATIENCE,
            format!("{from} to {to}: what is not carried is said"),
            |_, said| said.contains("values of the module kfcounter outside keys").then_some(()),
        )?;
        stop(&mut bridge)?;
        let held = quarantine(&pair, &["list"])?;
        ensure!(held.contains("no key"), "{from} to {to}: {held}");
    }
    Ok(())
}

#[test]
fn keys_of_a_module_that_the_destination_lacks_are_set_aside_until_it_is_loaded() -> Result<()> {
    let module = Module::compile()?;
    for kind in KINDS {
        let mut pair =
            Pair::start_with(kind, &[&module.line()], kind, &["enable-module-command yes"])?;
        let mut client = pair.source_client()?;
        client.cmd(&["COUNTER.SET", "before", "5"])?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        client.cmd(&["COUNTER.INCR", "before", "1"])?;
        client.cmd(&["COUNTER.INCR", "after", "10"])?;
        client.cmd(&["SET", "other", "goes on"])?;
        pair.caught_up(&mut bridge)?;
        let mut there = pair.destination_client()?;
        ensure!(there.cmd(&["GET", "other"])?.text()? == "goes on");
        ensure!(!is_there(&mut there, "before")? && !is_there(&mut there, "after")?);
        let held = quarantine(&pair, &["list"])?;
        for said in ["before", "Bad data format", "after", "unknown command"] {
            ensure!(held.contains(said), "{kind}: {said}: {held}");
        }
        there.cmd(&["MODULE", "LOAD", &module.path().display().to_string()])?;
        quarantine(&pair, &["retry"])?;
        client.cmd(&["COUNTER.INCR", "before", "1"])?;
        pair.caught_up(&mut bridge)?;
        testkit::eventually(PATIENCE, "the counters are there", || {
            let all = [("before", (7, 3)), ("after", (10, 1))];
            for (key, wanted) in all {
                if counter(&mut there, key)? != wanted {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })?;
        stop(&mut bridge)?;
    }
    Ok(())
}
