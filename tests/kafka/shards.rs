//! The primaries of a cluster, each captured by a process of its own into one stream, applied to a standalone server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Cluster, Dataset, Kind, Process, Server, Signal, Tolerance, compare, eventually};

use crate::apart::{PATIENCE, Stage, status_of, stop};

pub(crate) const KIND: Kind = Kind::Redis7_0;
pub(crate) const PRIMARIES: usize = 3;
/// Keys with these tags of one primary lie in several partitions.
const TAGS: usize = 6;

/// So much is written between two accidents.
pub(crate) const ROUNDS: u64 = 20;

/// A cluster, a destination, and a stream between them.
pub(crate) struct Shards {
    pub(crate) cluster: Cluster,
    /// The destination, the stream and the broker; its source is not used.
    pub(crate) stage: Stage,
    tags: Vec<Vec<String>>,
}

/// Somebody who counts at one primary without a pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

// === impl Shards ===

impl Shards {
    fn start() -> Result<Self> {
        Self::of(KIND)
    }

    pub(crate) fn of(kind: Kind) -> Result<Self> {
        let cluster = Cluster::start(kind, PRIMARIES)?;
        let tags = (0..PRIMARIES).map(|node| cluster.tags(node, TAGS)).collect::<Result<_>>()?;
        Ok(Self { cluster, stage: Stage::start(kind)?, tags })
    }

    pub(crate) fn node(&self, number: usize) -> Result<&Server> {
        self.cluster.nodes().get(number).context("a node")
    }

    pub(crate) fn tags(&self, number: usize) -> Result<&[String]> {
        Ok(self.tags.get(number).context("a node")?)
    }

    /// Captures a primary as the shard of its number.
    pub(crate) fn capture(&self, number: usize, dir: &str) -> Result<Process> {
        let (uri, shard) = (self.node(number)?.uri(), number.to_string());
        self.stage.process(&["capture", &uri], dir, &["--shard", &shard])
    }

    pub(crate) fn captures(&self) -> Result<Vec<Process>> {
        (0..PRIMARIES).map(|number| self.capture(number, &format!("capture-{number}"))).collect()
    }

    pub(crate) fn apply(&self, dir: &str, more: &[&str]) -> Result<Process> {
        self.stage.process(&["apply", &self.stage.destination.uri()], dir, more)
    }

    /// Some keys of every type, that nobody writes later.
    pub(crate) fn fill(&self) -> Result<()> {
        for number in 0..PRIMARIES {
            let mut client = self.node(number)?.client()?;
            for tag in self.tags(number)? {
                let members: Vec<String> = (0..200).map(|n| format!("{number}:{n}")).collect();
                let mut put = |name: &str, args: &mut dyn Iterator<Item = String>| {
                    let mut words = vec![name.to_owned()];
                    words.extend(args);
                    client.cmd(&words).map(drop)
                };
                let own = |kind: &str| std::iter::once(format!("{kind}:{tag}"));
                let pairs = |score: &str| {
                    let score = score.to_owned();
                    members.iter().flat_map(move |of| [score.clone(), of.clone()])
                };
                put("RPUSH", &mut own("list").chain(members.iter().cloned()))?;
                put("SADD", &mut own("set").chain(members.iter().cloned()))?;
                put("ZADD", &mut own("zset").chain(pairs("1.5")))?;
                let fields = members.iter().flat_map(|of| [of.clone(), "v".to_owned()]);
                put("HSET", &mut own("hash").chain(fields))?;
                let strings = members.iter().flat_map(|of| [format!("{of}:{tag}"), of.clone()]);
                put("MSET", &mut strings.into_iter())?;
            }
        }
        Ok(())
    }

    /// What one command does to several slots of a primary, and a transaction that empties it in its middle.
    fn mix(&self) -> Result<()> {
        let tags = self.tags(0)?;
        let script = "#!lua flags=allow-cross-slot-keys\n\
                      for round = 1, tonumber(ARGV[1]) do for at = 2, #ARGV do \
                      redis.call('RPUSH', 'mixed:' .. ARGV[at], round .. string.rep('x', 3000)) end end";
        let mut client = self.node(0)?.client()?;
        // Little enough for the memory of capture, and more than that.
        for rounds in ["2", "200"] {
            let mut words = vec!["EVAL", script, "0", rounds];
            words.extend(tags.iter().map(String::as_str));
            client.cmd(&words)?;
        }
        let mut client = self.node(2)?.client()?;
        let tag = self.tags(2)?.first().context("a tag")?;
        client.cmd(&["MULTI"])?;
        client.cmd(&["SET", &format!("before:{tag}"), "1"])?;
        client.cmd(&["FLUSHALL"])?;
        client.cmd(&["SET", &format!("after:{tag}"), "2"])?;
        client.cmd(&["EXEC"]).map(drop)
    }

    pub(crate) fn load(&self, number: usize) -> Result<Load> {
        self.load_of(number, self.tags(number)?)
    }

    pub(crate) fn load_of(&self, number: usize, tags: &[String]) -> Result<Load> {
        let mut client = self.node(number)?.client()?;
        let tags = tags.to_vec();
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, count) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let absent = format!("absent:{}", tags.first().context("a tag")?);
            while !seen.load(Ordering::Relaxed) {
                // The source keeps the pace: some hundred rounds a second, on whatever machine.
                client.cmd(&["BLPOP", &absent, "0.002"])?;
                let round = count.fetch_add(1, Ordering::Relaxed);
                for tag in &tags {
                    client.cmd(&["INCR", &format!("counter:{tag}")])?;
                }
                let tag = tags.get(usize::try_from(round)? % tags.len()).context("a tag")?;
                client.cmd(&["MULTI"])?;
                client.cmd(&["RPUSH", &format!("log:{tag}"), &round.to_string()])?;
                client.cmd(&["HINCRBY", &format!("sums:{tag}"), "all", &round.to_string()])?;
                client.cmd(&["EXEC"])?;
            }
            Ok(())
        });
        Ok(Load { stop, rounds, thread })
    }

    /// Waits until the destination holds what the cluster does; nobody writes meanwhile.
    pub(crate) fn equal(&self, server: &Server, processes: &mut [&mut Process]) -> Result<()> {
        let kind = server.kind();
        let tolerance = Tolerance::native(kind, kind).with_lag(kind, 500);
        let mut shown = String::new();
        let waited = eventually(PATIENCE, "the destination holds what the cluster does", || {
            for process in processes.iter_mut() {
                ensure!(process.is_running()?, "one has ended:\n{}", process.stderr());
            }
            let found = Dataset::read(&mut server.client()?)?;
            let differences = compare(&self.cluster.dataset()?, &found, &tolerance);
            shown = differences.iter().take(10).map(|of| format!("{of}\n")).collect();
            Ok(differences.is_empty().then_some(()))
        });
        waited.map_err(|error| {
            let said: Vec<_> = processes.iter().map(|process| process.stderr()).collect();
            error.context(format!("{shown}{}", said.join("\n---\n")))
        })
    }

    /// Waits until the process with that data directory captures its shard.
    pub(crate) fn leads(&self, dir: &str, process: &Process) -> Result<()> {
        eventually(PATIENCE, format!("{dir} leads"), || {
            let shown = status_of(&self.stage, dir)?;
            let pid = shown.pointer("/process/pid").and_then(Value::as_u64);
            let phase = shown.pointer("/capture/phase").and_then(Value::as_str);
            let is_it = pid == Some(process.pid().into()) && phase == Some("stream");
            Ok(is_it.then_some(()))
        })
    }
}

// === impl Load ===

impl Load {
    pub(crate) fn goes_on(&self, rounds: u64) -> Result<()> {
        let counted = || self.rounds.load(Ordering::Relaxed);
        let goal = counted() + rounds;
        eventually(PATIENCE, "the load goes on", || Ok((counted() >= goal).then_some(())))
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

pub(crate) fn all<'a>(one: &'a mut [Process], other: &'a mut [Process]) -> Vec<&'a mut Process> {
    one.iter_mut().chain(other).collect()
}

#[test]
fn shards_captured_by_a_process_each_arrive_whole_whoever_is_killed() -> Result<()> {
    let shards = Shards::start()?;
    shards.fill()?;
    let mut captures = shards.captures()?;
    let mut applies = vec![shards.apply("apply-0", &[])?, shards.apply("apply-1", &[])?];
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    shards.mix()?;
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    let loads: Vec<Load> = (0..PRIMARIES).map(|node| shards.load(node)).collect::<Result<_>>()?;
    // One of shard 1 stands by, and takes over.
    let standby = shards.capture(1, "standby")?;
    loads[1].goes_on(ROUNDS)?;
    captures[1].kill()?;
    shards.leads("standby", &standby)?;
    captures[1] = standby;
    loads[1].goes_on(ROUNDS)?;
    // One of shard 2 is believed dead, and wakes up.
    captures[2].signal(Signal::STOP)?;
    let successor = shards.capture(2, "successor")?;
    shards.leads("successor", &successor)?;
    captures[2].signal(Signal::CONT)?;
    let mut sleeper = std::mem::replace(&mut captures[2], successor);
    for load in &loads {
        load.goes_on(ROUNDS)?;
    }
    applies[0].kill()?;
    for load in &loads {
        load.goes_on(ROUNDS)?;
    }
    applies[0] = shards.apply("apply-0", &[])?;
    // Only the keys of one primary go.
    shards.node(0)?.client()?.cmd(&["FLUSHALL"])?;
    for load in &loads {
        load.goes_on(ROUNDS)?;
    }
    loads.into_iter().try_for_each(Load::stop)?;
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    let others = shards.tags(1)?.first().context("a tag")?;
    let kept = shards.stage.destination.client()?.cmd(&["EXISTS", &format!("list:{others}")])?;
    ensure!(kept.int()? == 1, "the keys of the others have gone with those of one");
    stop(&mut sleeper)?;
    captures.iter_mut().chain(&mut applies).try_for_each(stop)
}

#[test]
fn a_destination_begins_when_every_slot_was_captured_and_says_which_are_missing() -> Result<()> {
    let shards = Shards::start()?;
    shards.fill()?;
    let mut captures = vec![shards.capture(0, "capture-0")?, shards.capture(1, "capture-1")?];
    // What is there and is not the source's goes, whichever shard has its slot.
    let mut destination = shards.stage.destination.client()?;
    for number in 0..100 {
        destination.cmd(&["SET", &format!("stranger:{number}"), "?"])?;
    }
    let mut applies = vec![shards.apply("apply", &["--existing", "sweep"])?];
    let [apply] = &mut applies[..] else { unreachable!("there is one") };
    apply.until(PATIENCE, "it says what is missing", |_, said| {
        said.contains("nothing of the slots 10922-16383").then_some(())
    })?;
    captures.push(shards.capture(2, "capture-2")?);
    shards.equal(&shards.stage.destination, &mut all(&mut captures, &mut applies))?;
    // Another destination begins with snapshots that are made now, one of each shard.
    let mut asked = shards.stage.process(&["resnapshot"], "asking", &[])?;
    let status = asked.wait(PATIENCE)?;
    ensure!(status.success(), "{}", asked.stderr());
    let second = Server::start(KIND, &[])?;
    applies.push(shards.stage.process(&["apply", &second.uri()], "second", &[])?);
    for number in 0..PRIMARIES {
        let load = shards.load(number)?;
        load.goes_on(ROUNDS)?;
        load.stop()?;
    }
    shards.equal(&second, &mut all(&mut captures, &mut applies))?;
    // A new snapshot of one shard, over all that is there.
    captures[1].kill()?;
    overflow_the_backlog(&shards, 1)?;
    captures[1] = shards.capture(1, "capture-1")?;
    for server in [&shards.stage.destination, &second] {
        shards.equal(server, &mut all(&mut captures, &mut applies))?;
    }
    captures.iter_mut().chain(&mut applies).try_for_each(stop)
}

/// Writes more at a primary than it keeps for those who were away, and removes what was there before.
fn overflow_the_backlog(shards: &Shards, number: usize) -> Result<()> {
    let mut client = shards.node(number)?.client()?;
    client.cmd(&["CONFIG", "SET", "repl-backlog-size", "16kb"])?;
    let tags = shards.tags(number)?;
    for tag in tags {
        client.cmd(&["DEL", &format!("list:{tag}"), &format!("hash:{tag}")])?;
    }
    let tag = tags.first().context("a tag")?;
    for round in 0..40 {
        client.cmd(&["SET", &format!("large:{tag}"), &"x".repeat(4_096 + round)])?;
    }
    Ok(())
}

#[test]
fn slots_that_move_end_the_captures_of_both_shards_by_name() -> Result<()> {
    let shards = Shards::start()?;
    shards.fill()?;
    let mut captures = shards.captures()?;
    for (number, capture) in captures.iter().enumerate() {
        shards.leads(&format!("capture-{number}"), capture)?;
    }
    let tag = shards.tags(0)?.first().context("a tag")?;
    let slot = shards.cluster.slot_of(tag)?.to_string();
    let (mut from, mut to) = (shards.node(0)?.client()?, shards.node(1)?.client()?);
    let (from_id, to_id) =
        (from.cmd(&["CLUSTER", "MYID"])?.text()?, to.cmd(&["CLUSTER", "MYID"])?.text()?);
    to.cmd(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
    from.cmd(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])?;
    for number in [0, 1] {
        let capture = &mut captures[number];
        let status = capture.wait(PATIENCE)?;
        let said = capture.stderr();
        ensure!(!status.success() && said.contains(&format!("[{slot}-")), "{number}: {said}");
        ensure!(said.contains("slots are being moved") && said.contains("--stream"), "{said}");
        // Nor does it begin again.
        let mut again = shards.capture(number, &format!("again-{number}"))?;
        let status = again.wait(PATIENCE)?;
        ensure!(!status.success() && again.stderr().contains("being moved"), "{}", again.stderr());
    }
    // Once it has moved, the slots are others than those of the stream.
    let port = shards.node(1)?.port().to_string();
    let keys = from.cmd(&["CLUSTER", "GETKEYSINSLOT", &slot, "10000"])?;
    for key in keys.array()? {
        let key = key.text()?;
        from.cmd(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"])?;
    }
    to.cmd(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])?;
    from.cmd(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id])?;
    let mut again = shards.capture(1, "moved")?;
    ensure!(!again.wait(PATIENCE)?.success(), "it goes on");
    let said = again.stderr();
    ensure!(said.contains("shard 1 had the slots 5461-10921") && said.contains(&slot), "{said}");
    // The third has nothing to do with it.
    ensure!(captures[2].is_running()?, "{}", captures[2].stderr());
    stop(&mut captures[2])
}

#[test]
fn a_primary_is_captured_as_one_shard_and_nothing_else_is() -> Result<()> {
    let shards = Shards::start()?;
    let refused = |mut process: Process, words: &[&str]| -> Result<()> {
        let status = process.wait(PATIENCE)?;
        let said = process.stderr();
        let named = words.iter().all(|word| said.contains(word));
        ensure!(!status.success() && named, "{words:?} are not in {status}:\n{said}");
        Ok(())
    };
    let node = shards.node(0)?.uri();
    let of = |uri: &str, more: &[&str]| shards.stage.process(&["capture", uri], "refused", more);
    refused(of(&node, &[])?, &["is a node of a cluster", "--shard"])?;
    refused(of(&shards.stage.source.uri(), &["--shard", "1"])?, &["is no node of a cluster"])?;
    refused(of(&node, &["--shard", "16384"])?, &["shard", "0 to 16383"])?;
    let local = ["--journal", "local", "--shard", "1"];
    let dir = shards.stage.data_dir("local");
    let destination = shards.stage.destination.uri();
    let mut args = vec!["run", &node, &destination, "--data-dir", &dir];
    args.extend(local);
    refused(Process::start(&args)?, &["shard", "needs a journal on Kafka"])?;
    let mut first = shards.capture(0, "capture-0")?;
    shards.leads("capture-0", &first)?;
    // One primary under two numbers would bring each key twice.
    refused(of(&node, &["--shard", "5"])?, &["shard 5 and shard 0", "0-5460"])?;
    // One of another cluster has slots that nobody else has; but nobody there is known to it.
    let other = Cluster::start(KIND, PRIMARIES)?;
    let stranger = other.nodes().get(1).context("a node")?.uri();
    let said = ["another cluster", "to be shard 1", "of shard 0", "--stream"];
    refused(of(&stranger, &["--shard", "1"])?, &said)?;
    let mut second = shards.capture(1, "capture-1")?;
    shards.leads("capture-1", &second)?;
    stop(&mut second)?;
    stop(&mut first)
}
