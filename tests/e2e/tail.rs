//! `keyferry tail` and `keyferry status` beside a running bridge.

use anyhow::{Result, ensure};
use testkit::{Kind, Process};

use crate::bridge::{PATIENCE, Pair, stop};

#[test]
fn shows_the_events_of_a_running_bridge() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "shown", "a value"])?;
    client.cmd(&["SET", "hidden", "another"])?;
    pair.caught_up(&mut bridge)?;
    let dir = pair.data_dir();
    let args = ["tail", "--data-dir", &dir, "--from", "beginning", "--key", "shown"];
    let mut tail = Process::start(&args)?;
    ensure!(tail.wait(PATIENCE)?.success(), "{}", tail.stderr());
    let shown = tail.stdout();
    ensure!(shown.lines().count() == 1 && shown.contains("SET shown \"a value\""), "{shown}");
    let mut json = Process::start(&[&args[..], &["--json"]].concat())?;
    ensure!(json.wait(PATIENCE)?.success(), "{}", json.stderr());
    let event: serde_json::Value = serde_json::from_str(json.stdout().trim())?;
    ensure!(event["key"] == "shown", "{event}");
    stop(&mut bridge)
}
