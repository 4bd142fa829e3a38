//! `keyferry status`: what it says of a process that runs, has stopped, has failed, or was killed.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{Kind, Process, Signal, eventually};

use crate::bridge::{PATIENCE, Pair};

const USAGE: i32 = 2;
const NOT_EMPTY: i32 = 5;
const JOURNAL: i32 = 6;
const NOT_RUNNING: i32 = 8;

/// The status as JSON.
fn status(dir: &str) -> Result<Value> {
    let mut asked = Process::start(&["status", "--data-dir", dir, "--json"])?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}", asked.stderr());
    serde_json::from_str(&asked.stdout()).context(asked.stdout())
}

/// The exit code of the health check, and what is said for people.
fn health(dir: &str) -> Result<(Option<i32>, String)> {
    let mut asked = Process::start(&["status", "--data-dir", dir, "--max-age", "1h"])?;
    let code = asked.wait(PATIENCE)?.code();
    Ok((code, asked.stdout()))
}

fn until_running(dir: &str) -> Result<()> {
    eventually(PATIENCE, "the status says that it runs", || {
        let written = std::path::Path::new(dir).join("status/main.json").exists();
        Ok((written && status(dir)?.get("state").is_some_and(|state| state == "running"))
            .then_some(()))
    })
}

#[test]
fn the_last_word_of_a_stop_says_who_asked_and_where_it_stands() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let dir = pair.data_dir();
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    until_running(&dir)?;
    let (code, said) = health(&dir)?;
    ensure!(code == Some(0) && said.starts_with("running: pid "), "{code:?} {said}");
    bridge.signal(Signal::TERM)?;
    ensure!(bridge.wait(PATIENCE)?.success(), "{}", bridge.stderr());
    let last = status(&dir)?;
    ensure!(last["state"] == "stopped" && last["running"] == json!(false), "{last:#}");
    ensure!(last["ended"]["why"] == "stopped by SIGTERM", "{last:#}");
    ensure!(last["ended"]["exit_code"] == 0, "{last:#}");
    ensure!(last["ended"]["records_behind"] == 0, "{last:#}");
    ensure!(last["ended"]["captured_to"] == last["capture"]["durable_offset"], "{last:#}");
    let lane = &last["apply"]["partitions-0-15"];
    ensure!(last["ended"]["applied_to"] == lane["applied"], "{last:#}");
    ensure!(lane["phase"] == "stopped" && last["capture"]["phase"] == "stopped", "{last:#}");
    let (code, said) = health(&dir)?;
    ensure!(code == Some(NOT_RUNNING), "{code:?} {said}");
    ensure!(said.starts_with("not running: stopped by SIGTERM at "), "{said}");
    Ok(())
}

#[test]
fn a_stop_within_the_first_snapshot_names_no_place_in_the_stream() -> Result<()> {
    // So slow that it is not over when the stop comes.
    let slow = ["repl-diskless-sync yes", "rdb-key-save-delay 20000"];
    let pair = Pair::start_with(Kind::Redis7_0, &slow, Kind::Redis7_0, &[])?;
    let mut client = pair.source_client()?;
    for number in 0..3000 {
        client.cmd(&["SET", &format!("key:{number}"), &"value".repeat(20)])?;
    }
    let dir = pair.data_dir();
    let mut bridge = pair.run(&[])?;
    eventually(PATIENCE, "some keys of the snapshot have come", || {
        let written = std::path::Path::new(&dir).join("status/main.json").exists();
        let keys = |shown: Value| shown["capture"]["snapshot_keys"].as_u64();
        Ok((written && keys(status(&dir)?) > Some(0)).then_some(()))
    })?;
    bridge.signal(Signal::TERM)?;
    ensure!(bridge.wait(PATIENCE)?.success(), "{}", bridge.stderr());
    let last = status(&dir)?;
    ensure!(last["ended"]["why"] == "stopped by SIGTERM", "{last:#}");
    ensure!(last["ended"]["captured_to"].is_null(), "{last:#}");
    let said = bridge.stderr();
    ensure!(said.contains("does not count yet") && !said.contains("captured_to"), "{said}");
    Ok(())
}

#[test]
fn a_process_that_was_killed_is_not_believed() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let dir = pair.data_dir();
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    until_running(&dir)?;
    bridge.kill()?;
    let last = status(&dir)?;
    ensure!(last["state"] == "gone" && last["running"] == json!(false), "{last:#}");
    let (code, said) = health(&dir)?;
    ensure!(code == Some(NOT_RUNNING) && said.contains("ended without a word"), "{said}");
    Ok(())
}

#[test]
fn a_failure_is_the_last_word_and_leaves_that_of_another_process_alone() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let dir = pair.data_dir();
    pair.destination_client()?.cmd(&["SET", "precious", "1"])?;
    let mut refused = pair.run(&[])?;
    ensure!(refused.wait(PATIENCE)?.code() == Some(NOT_EMPTY), "{}", refused.stderr());
    let last = status(&dir)?;
    ensure!(last["ended"]["exit_code"] == NOT_EMPTY, "{last:#}");
    let why = last["ended"]["why"].as_str().context("no reason")?;
    ensure!(why.contains("1 key") && !last["ended"]["advice"].is_null(), "{last:#}");
    let mut bridge = pair.run(&["--existing", "overwrite"])?;
    pair.caught_up(&mut bridge)?;
    until_running(&dir)?;
    let mut second = pair.run(&[])?;
    ensure!(second.wait(PATIENCE)?.code() == Some(JOURNAL), "{}", second.stderr());
    let still = status(&dir)?;
    ensure!(still["running"] == json!(true), "{still:#}");
    ensure!(still["process"]["pid"] == bridge.pid(), "{still:#}");
    crate::bridge::stop(&mut bridge)
}

#[test]
fn a_stream_that_is_not_there_is_refused_with_those_that_are() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let dir = pair.data_dir();
    let mut bridge = pair.run(&["--stream", "shop"])?;
    pair.caught_up(&mut bridge)?;
    crate::bridge::stop(&mut bridge)?;
    for command in ["status", "tail"] {
        let mut asked = Process::start(&[command, "--data-dir", &dir, "--stream", "nosuch"])?;
        let code = asked.wait(PATIENCE)?.code();
        let said = asked.stderr();
        ensure!(code == Some(USAGE) && said.contains("there is shop"), "{code:?}: {said}");
    }
    // The only one needs no name.
    ensure!(status(&dir)?["stream"] == "shop");
    Ok(())
}
