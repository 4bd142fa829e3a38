//! Scripts of sources that replicate them as such, from end to end.

use anyhow::{Result, ensure};
use testkit::{Client, Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};
use crate::quarantine::{quarantine, until_listed};

const PAIRS: [(Kind, Kind); 3] = [
    (Kind::Redis2_8, Kind::Redis7_0),
    (Kind::Redis3_2, Kind::Valkey9_1),
    (Kind::Redis3_2, Kind::Redis5_0),
];

/// Changes the key it names, one that it does not name, and one of another database.
const WIDE: &str = "local n = redis.call('incr', KEYS[1])
    redis.call('rpush', 'undeclared:' .. ARGV[1], n)
    redis.call('select', 6)
    redis.call('hset', 'elsewhere', ARGV[1], n)
    return n";
const RANDOM: &str = "return redis.call('set', KEYS[1], tostring(math.random(1000000)))";
/// Depends on the order in which members are told, and finds none of our own keys.
const ORDER: &str = "for _, m in ipairs(redis.call('smembers', KEYS[1])) do
        redis.call('rpush', KEYS[2], m)
    end
    for _, k in ipairs(redis.pcall('KEYS', 'key[0-9]*')) do redis.call('rpush', KEYS[2], k) end
    return redis.call('llen', KEYS[2])";
const RENAME: &str = "return redis.call('rename', KEYS[1], KEYS[2])";
/// Writes, and returns an error of its own.
const COMPLAINS: &str = "redis.call('append', KEYS[1], 'x'); return redis.error_reply('NOT today')";
/// Writes, and fails.
const FAILS: &str = "redis.call('append', KEYS[1], 'x'); return redis.call('incr', KEYS[1])";

fn load(client: &mut Client, text: &str) -> Result<String> {
    Ok(client.cmd(&["SCRIPT", "LOAD", text])?.text()?.to_owned())
}

fn run_some(client: &mut Client, round: u32) -> Result<()> {
    let wide = load(client, WIDE)?;
    for number in 0..40_u32 {
        client.select(number % 3)?;
        let who = (number % 5).to_string();
        client.cmd(&["EVALSHA", &wide, "1", "counter", &who])?;
        client.cmd(&["SET", "plain", &number.to_string()])?;
        client.cmd(&["EVAL", RANDOM, "1", &format!("random:{round}:{number}")])?;
        client.cmd(&["SADD", "members", "a", &format!("b{number}"), &format!("c{round}")])?;
        client.cmd(&["SET", &format!("key{number}"), "1"])?;
        client.cmd(&["EVAL", ORDER, "2", "members", &format!("ordered{}", number % 4)])?;
        client.cmd(&["MULTI"])?;
        client.cmd(&["APPEND", "log", &who])?;
        client.cmd(&["EVALSHA", &wide, "1", "counter", &who])?;
        client.cmd(&["EVAL", RENAME, "2", "log", "kept"])?;
        client.cmd(&["INCRBY", "counter", "7"])?;
        client.cmd(&["EXEC"])?;
        client.ask(&["EVAL", COMPLAINS, "1", "complaints"])?;
    }
    Ok(())
}

#[test]
fn scripts_do_at_the_destination_what_they_did() -> Result<()> {
    for (source, destination) in PAIRS {
        let mut pair = Pair::start(source, destination)?;
        let mut client = pair.source_client()?;
        run_some(&mut client, 0)?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        run_some(&mut client, 1)?;
        pair.caught_up(&mut bridge)?;
        pair.assert_same()?;
        run_some(&mut client, 2)?;
        bridge.kill()?;
        run_some(&mut client, 3)?;
        let mut bridge = pair.run(&[])?;
        run_some(&mut client, 4)?;
        pair.caught_up(&mut bridge)?;
        pair.assert_same()?;
        stop(&mut bridge)?;
        let held = quarantine(&pair, &["list"])?;
        ensure!(held.contains("no key"), "{source} to {destination}: {held}");
    }
    Ok(())
}

/// Waits until the bridge has ended, and gives what it said.
fn last_words(bridge: &mut Process) -> Result<String> {
    eventually(PATIENCE, "the bridge stops", || Ok((!bridge.is_running()?).then_some(())))?;
    Ok(bridge.stderr())
}

#[test]
fn a_script_is_not_run_where_something_is_in_its_way() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis3_2, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&["--exclude-prefixes", "tmp:"])?;
    pair.caught_up(&mut bridge)?;
    client.cmd(&["EVAL", WIDE, "1", "counter", "me"])?;
    let said = last_words(&mut bridge)?;
    ensure!(said.contains("EVAL at ") && said.contains("filter."), "{said}");
    // Without the filter it goes on with that very script.
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn no_script_runs_behind_one_that_failed_before_an_operator_has_looked() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis3_2, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    client.ask(&["EVAL", FAILS, "1", "failed"])?;
    client.cmd(&["SET", "other", "goes on"])?;
    pair.caught_up(&mut bridge)?;
    until_listed(&pair, &["failed"])?;
    client.cmd(&["EVAL", WIDE, "1", "counter", "me"])?;
    let said = last_words(&mut bridge)?;
    ensure!(said.contains("EVAL at ") && said.contains("quarantine"), "{said}");
    quarantine(&pair, &["discard", "--key", "failed"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}
