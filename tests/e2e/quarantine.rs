//! A key that cannot be written is set aside, listed, tried again and given up, while the rest goes on.

use anyhow::{Result, ensure};
use testkit::{Kind, Process, Server, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

pub(crate) fn quarantine(pair: &Pair, args: &[&str]) -> Result<String> {
    let (dir, destination) = (pair.data_dir(), pair.destination.uri());
    let args = [&["quarantine"], args, &["--data-dir", &dir, &destination]].concat();
    let mut process = Process::start(&args)?;
    ensure!(process.wait(PATIENCE)?.success(), "{args:?}: {}", process.stderr());
    Ok(process.stdout())
}

/// Waits until the list says all this. What failed is set aside once its reply has been read, which is a moment after
/// what came with it shows at the destination.
pub(crate) fn until_listed(pair: &Pair, words: &[&str]) -> Result<String> {
    eventually(PATIENCE, format!("{words:?} are in quarantine"), || {
        let listed = quarantine(pair, &["list"])?;
        Ok(words.iter().all(|word| listed.contains(word)).then_some(listed))
    })
}

/// The same where it is refused: what it says, and does not print.
fn refused(pair: &Pair, destination: &Server, args: &[&str]) -> Result<String> {
    let (dir, uri) = (pair.data_dir(), destination.uri());
    let args = [&["quarantine"], args, &["--data-dir", &dir, &uri]].concat();
    let mut process = Process::start(&args)?;
    let code = process.wait(PATIENCE)?.code();
    ensure!(code == Some(2), "{args:?}: {code:?} {}", process.stderr());
    ensure!(process.stdout().is_empty(), "{args:?}: {}", process.stdout());
    Ok(process.stderr())
}

/// Puts a string where the source has a list, and waits until the list is set aside.
fn set_one_aside(pair: &mut Pair, bridge: &mut Process, key: &str) -> Result<()> {
    pair.destination_client()?.cmd(&["SET", key, "in the way"])?;
    let mut client = pair.source_client()?;
    client.cmd(&["RPUSH", key, "a"])?;
    client.cmd(&["RPUSH", key, "b"])?;
    client.cmd(&["SET", "other", "goes on"])?;
    pair.caught_up(bridge)?;
    until_listed(pair, &[key, "WRONGTYPE"])?;
    ensure!(pair.destination_client()?.cmd(&["GET", "other"])?.text()? == "goes on");
    Ok(())
}

#[test]
fn stops_before_what_cannot_be_held_and_goes_on_once_it_may_be_set_aside() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis8_2, Kind::Redis7_0)?;
    let mut bridge = pair.run(&["--unsupported", "fail"])?;
    pair.caught_up(&mut bridge)?;
    let mut client = pair.source_client()?;
    client.cmd(&["HSETEX", "hash", "EX", "1000", "FIELDS", "1", "f", "v"])?;
    client.cmd(&["SET", "other", "goes on"])?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(4), "{}", bridge.stderr());
    for said in ["cannot hold hash of database 0", "expiry of hash fields", "--unsupported"] {
        ensure!(bridge.stderr().contains(said), "{said}: {}", bridge.stderr());
    }
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    ensure!(pair.destination_client()?.cmd(&["GET", "other"])?.text()? == "goes on");
    ensure!(quarantine(&pair, &["list"])?.contains("hash"));
    stop(&mut bridge)
}

#[test]
fn what_cannot_be_held_is_left_out_counted_and_named_once() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis8_2, Kind::Redis5_0)?;
    let mut client = pair.source_client()?;
    client.cmd(&["VADD", "vectors", "VALUES", "2", "1", "0", "a"])?;
    client.cmd(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=l\nredis.register_function('f', function() end)",
    ])?;
    let mut bridge = pair.run(&["--unsupported", "drop"])?;
    pair.caught_up(&mut bridge)?;
    for number in 0..3 {
        let key = format!("hash:{number}");
        client.cmd(&["HSETEX", &key, "EX", "1000", "FIELDS", "1", "f", "v"])?;
        client.cmd(&["HSET", &key, "g", "v"])?;
    }
    client.cmd(&["VADD", "vectors", "VALUES", "2", "0", "1", "b"])?;
    client.cmd(&["SET", "other", "goes on"])?;
    pair.caught_up(&mut bridge)?;
    let mut destination = pair.destination_client()?;
    ensure!(destination.cmd(&["GET", "other"])?.text()? == "goes on");
    let there = destination.cmd(&["EXISTS", "hash:0", "hash:1", "hash:2", "vectors"])?;
    ensure!(there.int()? == 0);
    let letters = quarantine(&pair, &["list", "--letters"])?;
    ensure!(!letters.contains("hash") && !letters.contains("vectors"), "{letters}");
    let said = bridge.stderr();
    for why in
        ["it knows no expiry of hash fields", "it knows no vector sets", "it knows no functions"]
    {
        ensure!(said.matches(why).count() == 1, "{why}: {said}");
    }
    // Once it is something that can be held, it is in step again.
    client.cmd(&["DEL", "hash:0", "vectors"])?;
    client.cmd(&["HSET", "hash:0", "f", "w"])?;
    pair.caught_up(&mut bridge)?;
    ensure!(destination.cmd(&["HGET", "hash:0", "f"])?.text()? == "w");
    stop(&mut bridge)
}

/// One that fails where it is executed, and one for which there is no database: also the key of no bytes has a name.
#[test]
fn every_key_that_is_set_aside_has_its_line_in_the_log() -> Result<()> {
    let (from, to) = (Kind::Redis7_0, Kind::Redis7_0);
    let mut pair = Pair::start_with(from, &["databases 20"], to, &[])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    set_one_aside(&mut pair, &mut bridge, "")?;
    let mut client = pair.source_client()?;
    client.select(17)?;
    client.cmd(&["SET", "two words", "1"])?;
    client.cmd(&["SET", "two words", "2"])?;
    pair.caught_up(&mut bridge)?;
    let keys = ["key=db 0 \"\"", "key=db 17 \"two words\""];
    let log = eventually(PATIENCE, "the log says both", || {
        let log = bridge.stderr();
        Ok(keys.iter().all(|key| log.contains(key)).then_some(log))
    })?;
    for key in keys {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(key)).collect();
        ensure!(lines.len() == 1 && lines[0].contains("set a key aside"), "{key}: {log}");
    }
    ensure!(log.contains("the destination has no database 17"), "{log}");
    stop(&mut bridge)
}

#[test]
fn a_key_is_set_aside_and_tried_again() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    set_one_aside(&mut pair, &mut bridge, "held")?;
    let letters = quarantine(&pair, &["list", "--letters"])?;
    ensure!(letters.contains("RPUSH held a") && letters.contains("RPUSH held b"), "{letters}");
    let mut destination = pair.destination_client()?;
    destination.cmd(&["DEL", "held"])?;
    quarantine(&pair, &["retry", "--key", "held"])?;
    eventually(PATIENCE, "both elements are there", || {
        Ok((destination.cmd(&["LLEN", "held"])?.int()? == 2).then_some(()))
    })?;
    pair.source_client()?.cmd(&["RPUSH", "held", "c"])?;
    pair.caught_up(&mut bridge)?;
    ensure!(quarantine(&pair, &["list"])?.contains("no key"));
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_data_directory_that_is_not_there_is_told_of() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let (right, destination) = (pair.data_dir(), pair.destination.uri());
    let typo = format!("{right}-typo");
    let list = |dir: &str, more: &[&str]| {
        let args = [&["quarantine", "list", "--data-dir", dir, &destination], more].concat();
        let mut process = Process::start(&args)?;
        ensure!(process.wait(PATIENCE)?.success(), "{}", process.stderr());
        ensure!(process.stdout().contains("no key"), "{}", process.stdout());
        Ok(process.stderr())
    };
    ensure!(list(&right, &[])?.is_empty(), "{}", list(&right, &[])?);
    let said = list(&typo, &[])?;
    ensure!(said.contains(&format!("there is no data directory {typo}")), "{said}");
    let said = list(&right, &["--stream", "mian"])?;
    ensure!(said.contains("there is no stream mian in") && said.contains("but main"), "{said}");
    stop(&mut bridge)
}

#[test]
fn a_function_library_is_set_aside_and_tried_again() -> Result<()> {
    let library = |name: &str| {
        format!("#!lua name={name}\nredis.register_function('f', function() return '{name}' end)")
    };
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    // Two libraries cannot have functions of one name.
    let mut destination = pair.destination_client()?;
    destination.cmd(&["FUNCTION", "LOAD", &library("local")])?;
    pair.source_client()?.cmd(&["FUNCTION", "LOAD", &library("ours")])?;
    pair.caught_up(&mut bridge)?;
    until_listed(&pair, &["function library ours: set aside at"])?;
    let json: serde_json::Value = serde_json::from_str(&quarantine(&pair, &["list", "--json"])?)?;
    ensure!(json["function"] == "ours" && json["db"].is_null(), "{json}");
    let letters = quarantine(&pair, &["list", "--letters"])?;
    ensure!(letters.contains("functions ours: ") && letters.contains("FUNCTION LOAD"), "{letters}");
    ensure!(bridge.stderr().contains("key=function library ours"), "{}", bridge.stderr());
    destination.cmd(&["FUNCTION", "DELETE", "local"])?;
    quarantine(&pair, &["retry", "--function", "ours"])?;
    eventually(PATIENCE, "the library is there", || {
        let said = destination.cmd(&["FCALL", "f", "0"]).ok();
        Ok(said.and_then(|said| said.text().ok()).filter(|said| said == "ours"))
    })?;
    eventually(PATIENCE, "nothing is held", || {
        Ok(quarantine(&pair, &["list"])?.contains("no function library").then_some(()))
    })?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_key_is_given_up_and_a_whole_value_releases_another() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    set_one_aside(&mut pair, &mut bridge, "given:up")?;
    set_one_aside(&mut pair, &mut bridge, "replaced")?;
    stop(&mut bridge)?;
    quarantine(&pair, &["discard", "--key", "given:up"])?;
    let mut bridge = pair.run(&[])?;
    pair.source_client()?.cmd(&["SET", "replaced", "whole"])?;
    pair.caught_up(&mut bridge)?;
    eventually(PATIENCE, "the quarantine is empty", || {
        Ok(quarantine(&pair, &["list"])?.contains("no key").then_some(()))
    })?;
    let mut destination = pair.destination_client()?;
    ensure!(destination.cmd(&["GET", "replaced"])?.text()? == "whole");
    ensure!(destination.cmd(&["GET", "given:up"])?.text()? == "in the way");
    stop(&mut bridge)
}

#[test]
fn a_key_of_any_bytes_is_named_as_the_list_shows_it() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let key = b"\x00 \"bin\\ary\"\xff\n".as_slice();
    pair.destination_client()?.cmd(&[b"SET".as_slice(), key, b"in the way"])?;
    pair.source_client()?.cmd(&[b"RPUSH".as_slice(), key, b"a"])?;
    pair.caught_up(&mut bridge)?;
    let shown = r#""\x00 \"bin\\ary\"\xff\n""#;
    eventually(PATIENCE, "the key is listed", || {
        Ok(quarantine(&pair, &["list"])?
            .contains(&format!("db 0 {shown}: set aside"))
            .then_some(()))
    })?;
    let json: serde_json::Value = serde_json::from_str(&quarantine(&pair, &["list", "--json"])?)?;
    ensure!(json["key"] == shown, "{json}");
    pair.destination_client()?.cmd(&[b"DEL".as_slice(), key])?;
    quarantine(&pair, &["retry", "--key", shown])?;
    eventually(PATIENCE, "the element is there", || {
        let length = pair.destination_client()?.cmd(&[b"LLEN".as_slice(), key])?.int()?;
        Ok((length == 1).then_some(()))
    })?;
    let dir = pair.data_dir();
    let args = ["quarantine", "retry", "--data-dir", &dir, "--key", r"\q", &pair.destination.uri()];
    let mut wrong = Process::start(&args)?;
    ensure!(wrong.wait(PATIENCE)?.code() == Some(2), "{}", wrong.stderr());
    ensure!(wrong.stderr().contains("backslash"), "{}", wrong.stderr());
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn a_destination_that_nobody_knows_is_named_with_those_that_are() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&["--destination-name", "shop"])?;
    pair.caught_up(&mut bridge)?;
    for args in [
        &["list", "--destination-name", "shoop"][..],
        &["list", "--letters", "--destination-name", "shoop"],
        &["retry", "--destination-name", "shoop"],
        &["discard", "--key", "key", "--destination-name", "shoop"],
    ] {
        let said = refused(&pair, &pair.destination, args)?;
        for words in [
            "no destination of the name shoop",
            "did you mean shop?",
            "with --destination-name: shop",
        ] {
            ensure!(said.contains(words), "{args:?}: {words:?} is not in {said}");
        }
    }
    // By its address alone, what has never been applied there.
    let other = Server::start(Kind::Redis7_0, &[])?;
    let said = refused(&pair, &other, &["list"])?;
    ensure!(said.contains("no destination of the name") && said.contains("shop"), "{said}");
    for args in [&["list", "--destination-name", "shop"][..], &["list"], &["list", "--letters"]] {
        let listed = quarantine(&pair, args)?;
        ensure!(listed.is_empty() || listed.contains("no key"), "{args:?}: {listed}");
    }
    stop(&mut bridge)
}
