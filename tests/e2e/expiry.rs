//! Keys that expire while the destination stands still or the bridge is away: what the source renewed lives, with the
//! source's deadline to the millisecond; what the destination let go meanwhile is named.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Client, Deadline, Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

/// How long the destination stands still.
const PAUSE: Duration = Duration::from_secs(8);

/// More commands than are planned before the destination answers again.
const FILLERS: u32 = 4_000;
const KEYS: u32 = 400;

/// Keys with less to live are left to the source's own delete: the hold of 5 s, and some time to look.
const NEAR_MS: i64 = 6_000;

type Words = Vec<String>;

fn words(text: &str) -> Words {
    text.split(' ').map(str::to_owned).collect()
}

/// What a source with sessions writes: keys that live for a moment, and for some tens of seconds.
fn sessions(kind: Kind) -> Vec<Words> {
    let fillers = (0..FILLERS).map(|number| words(&format!("SET filler:{number} v")));
    let mut commands: Vec<Words> = fillers.collect();
    for number in 0..KEYS {
        commands.push(words(&format!("SET short:{number} 1 PX 4000")));
        commands.push(words(&format!("SET session:{number} 1 PX {}", 18_000 + number * 30)));
        commands.push(words(&format!("RPUSH list:{number} a b")));
        commands.push(words(&format!("PEXPIRE list:{number} {}", 18_000 + number * 30)));
        if kind.has_field_expiry() {
            commands.push(words(&format!("HSET hash:{number} f v g v")));
            let ms = 18_000 + number * 30;
            commands.push(words(&format!("HPEXPIRE hash:{number} {ms} FIELDS 1 f")));
        }
    }
    commands
}

/// Its renewals a little later, before anything has expired.
fn renewals() -> Vec<Words> {
    let renew = |number: u32| {
        let verb = match number % 4 {
            0 => format!("PERSIST session:{number}"),
            1 => format!("PEXPIRE session:{number} {}", 17_000 + number * 20),
            2 => format!("RENAME session:{number} moved:{number}"),
            _ => format!("INCR session:{number}"),
        };
        [
            words(&format!("INCR short:{number}")),
            words(&format!("PEXPIRE short:{number} 60000")),
            words(&verb),
        ]
    };
    (0..KEYS).flat_map(renew).collect()
}

/// The moments at which keys, and fields of hashes, expire.
fn deadlines(client: &mut Client, keys: &[String], kind: Kind) -> Result<Vec<String>> {
    let ask = |key: &String| match key.starts_with("hash:") && kind.has_field_expiry() {
        true => words(&format!("HPEXPIRETIME {key} FIELDS 1 f")),
        false => words(&format!("PEXPIRETIME {key}")),
    };
    let asked: Vec<Words> = keys.iter().map(ask).collect();
    Ok(client.all(&asked)?.iter().map(|reply| format!("{reply:?}")).collect())
}

/// The keys that have more than a moment to live, or live for ever.
fn lasting(client: &mut Client, kind: Kind) -> Result<Vec<String>> {
    let keys = client.cmd(&["KEYS", "*:*"])?.array()?;
    let keys: Vec<String> = keys.into_iter().map(testkit::Value::text).collect::<Result<_>>()?;
    let mut keys: Vec<String> =
        keys.into_iter().filter(|key| !key.starts_with("keyferry:")).collect();
    keys.sort();
    let ask = |key: &String| match key.starts_with("hash:") && kind.has_field_expiry() {
        true => words(&format!("HPTTL {key} FIELDS 1 f")),
        false => words(&format!("PTTL {key}")),
    };
    let asked: Vec<Words> = keys.iter().map(ask).collect();
    let lives = client.all(&asked)?;
    let lasts = |reply: &testkit::Value| -> Result<bool> {
        let ms = match reply {
            testkit::Value::Array(fields) => fields.first().context("no field")?.int()?,
            reply => reply.int()?,
        };
        Ok(ms == -1 || ms > NEAR_MS)
    };
    let lives: Vec<bool> = lives.iter().map(lasts).collect::<Result<_>>()?;
    Ok(keys.into_iter().zip(lives).filter(|(_, lasts)| *lasts).map(|(key, _)| key).collect())
}

/// A figure of the status of the lane.
fn figure(pair: &Pair, name: &str) -> Result<u64> {
    let mut asked = Process::start(&["status", "--data-dir", &pair.data_dir(), "--json"])?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}", asked.stderr());
    let status: Value = serde_json::from_str(&asked.stdout())?;
    let figure = status.pointer(&format!("/apply/partitions-0-15/{name}"));
    figure.and_then(Value::as_u64).with_context(|| format!("no {name} in {status:#}"))
}

fn survives_a_pause(kind: Kind, more: &[&str]) -> Result<()> {
    let mut pair = Pair::start(kind, kind)?;
    let (mut source, mut destination) = (pair.source_client()?, pair.destination_client()?);
    let mut bridge = pair.run(more)?;
    pair.caught_up(&mut bridge)?;
    pair.destination.pause()?;
    let paused = Deadline::after(PAUSE);
    source.all(&sessions(kind))?;
    eventually(PATIENCE, "it is time to renew", || {
        Ok((paused.elapsed() >= Duration::from_secs(2)).then_some(()))
    })?;
    source.all(&renewals())?;
    eventually(PATIENCE, "the pause is over", || Ok(paused.has_passed().then_some(())))?;
    pair.destination.resume()?;
    pair.caught_up(&mut bridge)?;
    let (mut compared, mut short) = (0, 0);
    eventually(PATIENCE, "every deadline is the source's", || {
        let keys = lasting(&mut source, kind)?;
        (compared, short) =
            (keys.len(), keys.iter().filter(|key| key.starts_with("short:")).count());
        let expected = deadlines(&mut source, &keys, kind)?;
        Ok((expected == deadlines(&mut destination, &keys, kind)?).then_some(()))
    })?;
    ensure!(compared > FILLERS as usize && short == KEYS as usize, "{compared}, {short} renewed");
    for number in 0..KEYS {
        ensure!(destination.cmd(&["GET", &format!("short:{number}")])?.text()? == "2");
    }
    eventually(PATIENCE, "the status says what was settled", || {
        let (settled, held) = (figure(&pair, "expiry_settled")?, figure(&pair, "expiry_held")?);
        Ok(((settled > 0) == more.is_empty() && held == 0).then_some(()))
    })?;
    ensure!(figure(&pair, "late_renewals")? == 0);
    stop(&mut bridge)?;
    pair.assert_same()
}

#[test]
fn renewed_keys_keep_the_deadlines_of_the_source_over_a_pause() -> Result<()> {
    survives_a_pause(Kind::Redis7_0, &[])
}

#[test]
fn renewed_keys_and_fields_keep_the_deadlines_of_the_source_over_a_pause() -> Result<()> {
    survives_a_pause(Kind::Valkey9_1, &[])
}

#[test]
fn in_import_mode_nothing_is_put_off_and_nothing_dies_over_a_pause() -> Result<()> {
    survives_a_pause(Kind::Valkey9_1, &["--import-mode"])
}

#[test]
fn import_mode_keeps_what_has_expired_until_the_source_says_so_and_is_ended() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Valkey9_1)?;
    let (mut source, mut destination) = (pair.source_client()?, pair.destination_client()?);
    source.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"])?;
    source.cmd(&["SET", "before", "1", "PX", "3000"])?;
    let mut bridge = pair.run(&["--import-mode"])?;
    pair.caught_up(&mut bridge)?;
    source.cmd(&["SET", "short", "1", "PX", "100"])?;
    source.cmd(&["SET", "long", "1", "PX", "60000"])?;
    pair.caught_up(&mut bridge)?;
    let of = |client: &mut Client| client.cmd(&["PEXPIRETIME", "long"])?.int();
    ensure!(of(&mut source)? == of(&mut destination)?, "it is written as it is at once");
    let mode = |client: &mut Client| -> Result<String> {
        let pair = client.cmd(&["CONFIG", "GET", "import-mode"])?.array()?;
        pair.into_iter().next_back().context("a value")?.text()
    };
    ensure!(mode(&mut destination)? == "yes");
    // Past their end they are hidden from others, and there all the same.
    eventually(PATIENCE, "they are hidden", || {
        Ok((destination.cmd(&["EXISTS", "before", "short"])?.int()? == 0).then_some(()))
    })?;
    ensure!(destination.info_field("stats", "expired_keys")?.as_deref() == Some("0"));
    source.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"])?;
    stop(&mut bridge)?;
    ensure!(mode(&mut destination)? == "no", "it is put back");
    // Left on by somebody, it is found.
    destination.cmd(&["CONFIG", "SET", "import-mode", "yes"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    ensure!(bridge.stderr().contains("is in import mode"), "{}", bridge.stderr());
    destination.cmd(&["CONFIG", "SET", "import-mode", "no"])?;
    stop(&mut bridge)?;
    pair.assert_same()
}

#[test]
fn where_there_is_no_import_mode_expiry_is_held_back_instead() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis8_2)?;
    let mut bridge = pair.run(&["--import-mode"])?;
    pair.caught_up(&mut bridge)?;
    ensure!(bridge.stderr().contains("has no import mode"), "{}", bridge.stderr());
    stop(&mut bridge)
}

#[test]
fn a_key_that_expired_while_the_bridge_was_stopped_is_named_when_it_is_renewed() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis8_2, Kind::Redis8_2)?;
    let (mut source, mut destination) = (pair.source_client()?, pair.destination_client()?);
    source.cmd(&["SET", "visits", "41", "PX", "600000"])?;
    source.cmd(&["SET", "user", "kept"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    source.cmd(&["PEXPIRE", "visits", "1200000"])?;
    source.cmd(&["INCR", "visits"])?;
    // Ten minutes pass at the destination.
    destination.cmd(&["PEXPIRE", "visits", "1"])?;
    eventually(PATIENCE, "the key has expired at the destination", || {
        Ok((destination.cmd(&["EXISTS", "visits"])?.int()? == 0).then_some(()))
    })?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    eventually(PATIENCE, "the key is set aside", || {
        Ok((figure(&pair, "late_renewals")? == 1).then_some(()))
    })?;
    ensure!(bridge.stderr().contains("db 0 visits"), "{}", bridge.stderr());
    // The whole value makes it good.
    source.cmd(&["SET", "visits", "43"])?;
    source.cmd(&["INCR", "visits"])?;
    pair.caught_up(&mut bridge)?;
    ensure!(destination.cmd(&["GET", "visits"])?.text()? == "44");
    pair.assert_same()?;
    stop(&mut bridge)
}
