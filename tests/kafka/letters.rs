//! Dead letters in a topic: whoever applies a partition finds what others set aside there, and nobody else's.

use anyhow::{Result, ensure};
use testkit::{Kind, Process, Server, eventually};

use crate::apart::{PATIENCE, Stage, stop};

/// A list whose name is in one of four partitions, and a string in its place at the destination.
const KEY: &str = "in-the-way";

/// `keyferry quarantine`, from a directory in which nothing is.
fn quarantine(stage: &Stage, destination: &Server, words: &[&str]) -> Result<String> {
    let mut args = vec!["quarantine"];
    let uri = destination.uri();
    args.extend(words);
    args.push(&uri);
    let mut process = stage.process(&args, "elsewhere", &[])?;
    ensure!(process.wait(PATIENCE)?.success(), "{words:?}: {}", process.stderr());
    Ok(process.stdout())
}

/// What a destination is called that is given no name.
fn name_of(server: &Server) -> String {
    server.uri().trim_start_matches("redis://").replace(':', "-")
}

fn list(server: &Server) -> Result<Vec<Vec<u8>>> {
    server.client()?.cmd(&["LRANGE", KEY, "0", "-1"])?.list()
}

#[test]
fn one_process_retries_what_another_that_was_killed_has_set_aside() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    stage.destination.client()?.cmd(&["SET", KEY, "a string"])?;
    let mut client = stage.source_client()?;
    let uri = stage.destination.uri();
    let words = ["apply", uri.as_str()];
    let existing = ["--existing", "overwrite"];
    let mut capture = stage.capture("capture")?;
    let mut first = stage.process(&words, "first", &existing)?;
    stage.caught_up(&mut [&mut capture, &mut first])?;
    stage.destination.client()?.cmd(&["SET", KEY, "a string"])?;
    client.cmd(&["RPUSH", KEY, "a"])?;
    // More than one record.
    let large = "b".repeat(2_000_000);
    client.cmd(&["RPUSH", KEY, &large])?;
    stage.caught_up(&mut [&mut capture, &mut first])?;

    // Another destination, with the same key in its way, has letters of its own.
    let other = Server::start(Kind::Redis7_0, &[])?;
    let other_uri = other.uri();
    let mut beside = stage.process(&["apply", &other_uri], "beside", &[])?;
    eventually(PATIENCE, "the other destination has it", || {
        Ok((list(&other)?.len() == 2).then_some(()))
    })?;
    other.client()?.cmd(&["SET", KEY, "a string"])?;

    let mut second = stage.process(&words, "second", &existing)?;
    second
        .until(PATIENCE, "it runs", |_, said| said.contains("metrics and status").then_some(()))?;
    first.kill()?;
    client.cmd(&["RPUSH", KEY, "c"])?;
    stage.caught_up(&mut [&mut capture, &mut second, &mut beside])?;
    eventually(PATIENCE, "it is set aside at the other", || {
        Ok(quarantine(&stage, &other, &["list"])?.contains(KEY).then_some(()))
    })?;

    let listed = quarantine(&stage, &stage.destination, &["list"])?;
    ensure!(listed.contains(KEY) && listed.contains("WRONGTYPE"), "{listed}");
    let letters = quarantine(&stage, &stage.destination, &["list", "--letters"])?;
    ensure!(letters.matches("RPUSH").count() == 3, "{letters}");
    let others = quarantine(&stage, &other, &["list", "--letters"])?;
    ensure!(others.matches("RPUSH").count() == 1, "{others}");

    stage.destination.client()?.cmd(&["DEL", KEY])?;
    quarantine(&stage, &stage.destination, &["retry", "--key", KEY])?;
    eventually(PATIENCE, "the list is whole and in order", || {
        let is_whole = list(&stage.destination)? == list(&stage.source)?;
        Ok(is_whole.then_some(()))
    })?;
    ensure!(quarantine(&stage, &stage.destination, &["list"])?.contains("no key"));
    // Nobody knows a name with a slip in it, which must not look like an empty quarantine.
    for words in [&["list"][..], &["list", "--letters"], &["retry"]] {
        let slip = format!("{}0", name_of(&other));
        let words = [&["quarantine"], words, &["--destination-name", &slip, &other_uri]].concat();
        let mut refused = stage.process(&words, "elsewhere", &[])?;
        let (status, said) = (refused.wait(PATIENCE)?, refused.stderr());
        ensure!(status.code() == Some(2) && refused.stdout().is_empty(), "{status}: {said}");
        let known = name_of(&stage.destination);
        ensure!(said.contains(&slip) && said.contains(&known), "{said}");
    }
    // What was set aside at the other is still there.
    ensure!(quarantine(&stage, &other, &["list"])?.contains(KEY));
    quarantine(&stage, &other, &["discard", "--key", KEY])?;
    client.cmd(&["RPUSH", KEY, "d"])?;
    stage.caught_up(&mut [&mut capture, &mut second, &mut beside])?;
    stage.assert_same()?;
    [&mut second, &mut beside, &mut capture].into_iter().try_for_each(stop)
}

#[test]
fn a_data_directory_is_of_one_apply_process() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    let mut again: Process = stage.apply()?;
    let status = again.wait(PATIENCE)?;
    let said = again.stderr();
    ensure!(status.code() == Some(6) && said.contains("--data-dir"), "{status}: {said}");
    stop(&mut apply)?;
    stop(&mut capture)
}
