//! Slots that move between two primaries, under writes, while each is captured: what the destination keeps. And a shard
//! whose primary changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use testkit::dataset::{Content, Entry};
use testkit::{Client, Dataset, Kind, Process, Value, eventually};

use crate::apart::{PATIENCE, status_of, stop};
use crate::shards::{KIND, Load, ROUNDS, Shards, all};

/// So many slots of the first primary become the second's.
const MOVED: usize = 3;
/// The exit code of a source that cannot be read any more.
const SOURCE: i32 = 3;

/// Somebody who writes keys of slots that move, wherever they are.
struct Follower {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

// === impl Follower ===

impl Follower {
    fn start(shards: &Shards, tags: &[String]) -> Result<Self> {
        let mut nodes = [shards.node(0)?.client()?, shards.node(1)?.client()?];
        let (stop, tags) = (Arc::new(AtomicBool::new(false)), tags.to_vec());
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for round in 0_u64.. {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                let absent = format!("absent:{}", tags.first().context("a tag")?);
                // Some hundred rounds a second, on whatever machine.
                routed(&mut nodes, &["BLPOP", &absent, "0.002"])?;
                for tag in &tags {
                    routed(&mut nodes, &["INCR", &format!("counter:{tag}")])?;
                    routed(&mut nodes, &["RPUSH", &format!("log:{tag}"), &round.to_string()])?;
                    routed(&mut nodes, &["SET", &format!("new:{round}:{tag}"), "v"])?;
                }
            }
            Ok(())
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// Asks the first node, and where that says so the second.
fn routed([first, second]: &mut [Client; 2], words: &[&str]) -> Result<()> {
    eventually(PATIENCE, "a node takes the command", || {
        let Value::Error(said) = first.ask(words)? else { return Ok(Some(())) };
        let told = |word: &str| said.starts_with(word);
        if told("ASK ") {
            second.cmd(&["ASKING"])?;
        }
        if (told("ASK ") || told("MOVED ")) && !second.ask(words)?.is_error() {
            return Ok(Some(()));
        }
        let may_pass = ["ASK ", "MOVED ", "TRYAGAIN ", "CLUSTERDOWN ", "UNBLOCKED "];
        ensure!(may_pass.into_iter().any(told), "{words:?}: {said}");
        Ok(None)
    })
}

fn id(client: &mut Client) -> Result<String> {
    client.cmd(&["CLUSTER", "MYID"])?.text()
}

/// Moves slots from the first primary to the second key by key, without a pause.
fn migrate(shards: &Shards, slots: &[String]) -> Result<()> {
    let port = shards.node(1)?.port().to_string();
    let (mut from, mut to) = (shards.node(0)?.client()?, shards.node(1)?.client()?);
    let (from_id, to_id) = (id(&mut from)?, id(&mut to)?);
    for slot in slots {
        to.cmd(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id])?;
        from.cmd(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id])?;
        for key in from.cmd(&["CLUSTER", "GETKEYSINSLOT", slot, "100000"])?.array()? {
            from.cmd(&["MIGRATE", "127.0.0.1", &port, &key.text()?, "0", "5000"])?;
        }
        to.cmd(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id])?;
        from.cmd(&["CLUSTER", "SETSLOT", slot, "NODE", &to_id])?;
    }
    Ok(())
}

/// Has the servers move them, each as a whole.
fn migrate_at_once(shards: &Shards, slots: &[String]) -> Result<()> {
    let (mut from, mut to) = (shards.node(0)?.client()?, shards.node(1)?.client()?);
    let to_id = id(&mut to)?;
    for slot in slots {
        from.cmd(&["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", &to_id])?;
        eventually(PATIENCE, format!("slot {slot} is the other's"), || {
            let nodes = to.cmd(&["CLUSTER", "NODES"])?.text()?;
            let mine = nodes.lines().find(|line| line.contains("myself")).context("itself")?;
            Ok(mine.split(' ').any(|word| word == slot).then_some(()))
        })?;
    }
    Ok(())
}

/// The keys of a data set that are no product's own.
fn keys(data: &Dataset) -> BTreeMap<String, Entry> {
    let keys = data.dbs.get(&0).into_iter().flatten();
    let keys = keys.map(|(key, entry)| (String::from_utf8_lossy(key).into_owned(), entry.clone()));
    keys.filter(|(key, _)| !key.starts_with("keyferry:")).collect()
}

/// Whether a value is one that a key had between two others, as the keys are written here.
fn lies_between(key: &str, before: &Entry, now: &Entry, after: &Entry) -> bool {
    let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse::<u64>().ok();
    match (&before.content, &now.content, &after.content) {
        (Content::String(before), Content::String(now), Content::String(after))
            if number(now).is_some() =>
        {
            number(before) <= number(now) && number(now) <= number(after)
        }
        (Content::List(before), Content::List(now), Content::List(after)) => {
            now.starts_with(before) && after.starts_with(now)
        }
        (Content::Hash(_), Content::Hash(now), Content::Hash(_)) if key.starts_with("sums:") => {
            !now.is_empty()
        }
        _ => before == now && now == after,
    }
}

/// Waits until the apply with that data directory has nothing left to do.
fn applied(shards: &Shards, dir: &str) -> Result<()> {
    eventually(PATIENCE, format!("{dir} has applied all"), || {
        let shown = status_of(&shards.stage, dir)?;
        let lanes = shown.pointer("/apply").and_then(serde_json::Value::as_object).into_iter();
        let lags = lanes.flat_map(|of| of.values()).filter_map(|of| of["lag_records"].as_u64());
        let lags: Vec<u64> = lags.collect();
        Ok((!lags.is_empty() && lags.iter().all(|lag| *lag == 0)).then_some(()))
    })
}

/// Waits until both captures have ended and checks what they say. Nothing else ends them.
fn both_name_the_slots(captures: &mut [Process], slots: &[String]) -> Result<()> {
    for (number, capture) in captures.iter_mut().enumerate() {
        let status = capture.wait(PATIENCE)?;
        let said = capture.stderr();
        let last = said.lines().rev().take(3).collect::<Vec<_>>().join(" ");
        // Or the stream itself has told of the move, before the servers did.
        let told = slots.iter().map(String::as_str).chain(["CLUSTER SYNCSLOTS"]);
        let names = told.into_iter().any(|what| last.contains(what));
        ensure!(status.code() == Some(SOURCE) && names, "{number}: {status}: {said}");
        ensure!(said.contains("slots") && said.contains("--stream"), "{number}: {said}");
    }
    Ok(())
}

/// Moves slots, and expects that nothing is lost at the destination, until another stream has made it equal.
fn moves(kind: Kind, migrate: impl Fn(&Shards, &[String]) -> Result<()>) -> Result<()> {
    let mut shards = Shards::of(kind)?;
    shards.fill()?;
    let mut captures = shards.captures()?;
    let mut applies = vec![shards.apply("apply", &[])?];
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    let (moved, stay) = shards.tags(0)?.split_at(MOVED);
    let slots = moved.iter().map(|tag| Ok(shards.cluster.slot_of(tag)?.to_string()));
    let slots: Vec<String> = slots.collect::<Result<_>>()?;
    let follower = Follower::start(&shards, moved)?;
    let loads = [shards.load_of(0, stay)?, shards.load(1)?, shards.load(2)?];
    let mut destination = shards.stage.destination.client()?;
    for load in &loads {
        load.goes_on(ROUNDS)?;
    }
    for tag in moved {
        eventually(PATIENCE, "what moves is written at the destination", || {
            Ok((destination.cmd(&["LLEN", &format!("log:{tag}")])?.int()? > 0).then_some(()))
        })?;
    }
    let before = keys(&Dataset::read(&mut destination)?);
    migrate(&shards, &slots)?;
    let third_capture = captures.pop().context("a third")?;
    both_name_the_slots(&mut captures, &slots)?;
    follower.stop()?;
    loads.into_iter().try_for_each(Load::stop)?;
    // The third goes on, and what has been recorded of the others is applied.
    let third = format!("counter:{}", shards.tags(2)?.first().context("a tag")?);
    let last = shards.node(2)?.client()?.cmd(&["GET", &third])?.text()?;
    eventually(PATIENCE, "the third is applied to its end", || {
        Ok((destination.cmd(&["GET", &third])?.text().ok() == Some(last.clone())).then_some(()))
    })?;
    applied(&shards, "apply")?;
    let (now, after) = (keys(&Dataset::read(&mut destination)?), keys(&shards.cluster.dataset()?));
    for (key, before) in &before {
        let now = now.get(key).with_context(|| format!("{key} has gone"))?;
        let after = after.get(key).with_context(|| format!("{key} has gone in the cluster"))?;
        ensure!(lies_between(key, before, now, after), "{key}: {before:?}, {now:?}, {after:?}");
    }
    let of_moved = before.keys().filter(|key| moved.iter().any(|tag| key.ends_with(tag.as_str())));
    ensure!(of_moved.count() > 100 * MOVED, "hardly anything has moved");
    applies.into_iter().chain([third_capture]).try_for_each(|mut process| stop(&mut process))?;
    // The way on: another stream, which leaves behind what the cluster does not have.
    destination.cmd(&["SET", "stranger", "?"])?;
    shards.stage.stream.push_str("-2");
    let mut captures = shards.captures()?;
    let mut applies = vec![shards.apply("apply-2", &["--existing", "sweep"])?];
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    captures.iter_mut().chain(&mut applies).try_for_each(stop)
}

/// What one says that finds a replica at its address.
const NAME_THE_PRIMARY: &str = "it is a replica in its cluster: name the primary of its shard";

#[test]
fn a_shard_goes_on_at_its_new_primary_without_a_new_snapshot() -> Result<()> {
    let shards = Shards::of(KIND)?;
    shards.fill()?;
    let replica = shards.cluster.replica_of(0)?;
    let mut captures = shards.captures()?;
    let mut applies = vec![shards.apply("apply", &[])?];
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    let standby = shards.capture(0, "standby")?;
    eventually(PATIENCE, "it stands by", || {
        let shown = status_of(&shards.stage, "standby")?;
        let phase = shown.pointer("/capture/phase").and_then(serde_json::Value::as_str);
        Ok((phase == Some("standby")).then_some(()))
    })?;
    let snapshots = || {
        let info = shards.node(0)?.client()?.info_field("stats", "sync_full")?;
        let there = replica.client()?.info_field("stats", "sync_full")?;
        anyhow::Ok((info, there))
    };
    let before = snapshots()?;
    replica.client()?.cmd(&["CLUSTER", "FAILOVER"])?;
    for process in &mut [captures.remove(0), standby] {
        let status = process.wait(PATIENCE)?;
        let said = process.stderr();
        ensure!(status.code() == Some(SOURCE) && said.contains(NAME_THE_PRIMARY), "{said}");
    }
    let tag = shards.tags(0)?.first().context("a tag")?;
    let mut client = replica.client()?;
    for number in 0..100 {
        client.cmd(&["RPUSH", &format!("list:{tag}"), &number.to_string()])?;
    }
    captures.push(shards.stage.process(
        &["capture", &replica.uri()],
        "again",
        &["--shard", "0"],
    )?);
    let expected = client.cmd(&["LRANGE", &format!("list:{tag}"), "0", "-1"])?.list()?;
    let mut destination = shards.stage.destination.client()?;
    eventually(PATIENCE, "what came since is applied", || {
        for capture in &mut captures {
            ensure!(capture.is_running()?, "{}", capture.stderr());
        }
        let found = destination.cmd(&["LRANGE", &format!("list:{tag}"), "0", "-1"])?.list()?;
        Ok((found == expected).then_some(()))
    })?;
    ensure!(snapshots()? == before, "it was copied anew: {before:?}, {:?}", snapshots()?);
    let nodes = [replica.client()?, shards.node(1)?.client()?, shards.node(2)?.client()?];
    let (source, found) = (Dataset::read_all(&mut { nodes })?, Dataset::read(&mut destination)?);
    ensure!(keys(&source) == keys(&found), "the destination holds something else");
    captures.iter_mut().chain(&mut applies).try_for_each(stop)
}

#[test]
fn keys_of_slots_that_move_one_by_one_stay_at_the_destination() -> Result<()> {
    moves(KIND, migrate)
}

#[test]
fn keys_of_slots_that_move_as_a_whole_stay_at_the_destination() -> Result<()> {
    moves(Kind::Valkey9_1, migrate_at_once)
}
