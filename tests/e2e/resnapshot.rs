//! `keyferry resnapshot` beside a bridge with its own journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::{Client, Kind, Process, Server};

use crate::bridge::{PATIENCE, Pair, stop};

/// Keys at the start.
const KEYS: usize = 2_000;

const GAVE_UP: i32 = 7;

/// A client that counts, and does other things in between, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Load {
    fn start(server: &Server) -> Result<Self> {
        let mut client = server.client()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut counted = 0;
            while !seen.load(Ordering::Relaxed) {
                counted += 1;
                // The source keeps the pace: some hundred rounds a second, on whatever machine.
                client.cmd(&["BLPOP", "absent", "0.002"])?;
                client.cmd(&["INCR", "counter"])?;
                client.cmd(&["RPUSH", "list", &counted.to_string()])?;
                client.cmd(&["LTRIM", "list", "-50", "-1"])?;
                client.cmd(&["APPEND", &format!("key:{}", counted % 1_000), "+"])?;
                client.cmd(&["DEL", &format!("key:{}", 1_000 + counted % 1_000)])?;
            }
            Ok(counted)
        });
        Ok(Self { stop, thread })
    }

    fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

fn fill(client: &mut Client) -> Result<()> {
    for number in 0..KEYS {
        client.cmd(&["SET", &format!("key:{number}"), &"v".repeat(number % 100 + 1)])?;
    }
    client.cmd(&["HSET", "hash", "field", "value"])?;
    Ok(())
}

/// So that a link that breaks for a moment goes on where it was.
const BACKLOG: &str = "repl-backlog-size 100mb";
const DISKLESS: &str = "repl-diskless-sync yes";
const AT_ONCE: &str = "repl-diskless-sync-delay 0";

fn resnapshot(pair: &Pair, more: &[&str]) -> Result<Process> {
    let dir = pair.data_dir();
    Process::start(&[&["resnapshot", "--data-dir", &dir], more].concat())
}

/// How many epochs the journal has, and how many of its snapshots on demand have ended.
fn epochs_and_ends(pair: &Pair) -> Result<(usize, usize)> {
    let dir = pair.data_dir();
    let args = ["tail", "--data-dir", &dir, "--from", "beginning", "--partition", "0"];
    let mut tail = Process::start(&[&args[..], &["--kind", "epoch-begin,snapshot-end"]].concat())?;
    ensure!(tail.wait(PATIENCE)?.success(), "{}", tail.stderr());
    let shown = tail.stdout();
    let count = |word: &str| shown.lines().filter(|line| line.contains(word)).count();
    Ok((count("epoch-begin"), count("snapshot-end") - count(" id=0 ")))
}

#[test]
fn a_snapshot_is_made_beside_the_stream_and_the_destination_takes_no_notice() -> Result<()> {
    for (kind, how) in [(Kind::Redis6_2, "repl-diskless-sync no"), (Kind::Valkey9_1, DISKLESS)] {
        let config = [BACKLOG, how, AT_ONCE];
        let mut pair = Pair::start_with(kind, &config, Kind::Redis7_0, &[])?;
        fill(&mut pair.source_client()?)?;
        let mut bridge = pair.run(&[])?;
        pair.caught_up(&mut bridge)?;
        let load = Load::start(&pair.source)?;
        let mut asked = resnapshot(&pair, &[])?;
        ensure!(asked.wait(PATIENCE)?.success(), "{}\n{}", asked.stderr(), bridge.stderr());
        let said = asked.stdout();
        ensure!(said.contains("of stream main is complete"), "{said}\n{}", asked.stderr());
        let mut asked = resnapshot(&pair, &["--json"])?;
        ensure!(asked.wait(PATIENCE)?.success(), "{}\n{}", asked.stderr(), bridge.stderr());
        let said: serde_json::Value = serde_json::from_str(asked.stdout().trim())?;
        ensure!(said["keys"].as_u64().is_some_and(|keys| keys > 500), "{said}");
        let counted = load.stop()?;
        pair.caught_up(&mut bridge)?;
        pair.assert_same()?;
        let found = pair.destination_client()?.cmd(&["GET", "counter"])?.text()?;
        ensure!(counted > 10 && found == counted.to_string(), "{found} of {counted}");
        let syncs = pair.source_client()?.info_field("stats", "sync_full")?;
        ensure!(syncs.as_deref() == Some("3"), "one for the stream, and two asked for: {syncs:?}");
        stop(&mut bridge)?;
        ensure!(epochs_and_ends(&pair)? == (1, 2), "{:?}", epochs_and_ends(&pair)?);
    }
    Ok(())
}

#[test]
fn a_bridge_that_is_killed_in_the_middle_goes_on_and_makes_another() -> Result<()> {
    let config = [BACKLOG, DISKLESS, AT_ONCE];
    let mut pair = Pair::start_with(Kind::Redis8_2, &config, Kind::Valkey9_1, &[])?;
    let mut source = pair.source_client()?;
    fill(&mut source)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let load = Load::start(&pair.source)?;
    source.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "2000"])?;
    let mut asked = resnapshot(&pair, &[])?;
    asked.until(PATIENCE, "it begins", |_, said| said.contains(" begins: ").then_some(()))?;
    bridge.kill()?;
    source.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"])?;
    let mut bridge = pair.run(&[])?;
    let status = asked.wait(PATIENCE)?;
    ensure!(status.success(), "{}\n{}", asked.stderr(), bridge.stderr());
    ensure!(asked.stderr().contains("is given up"), "{}", asked.stderr());
    let counted = load.stop()?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    let found = pair.destination_client()?.cmd(&["GET", "counter"])?.text()?;
    ensure!(found == counted.to_string(), "{found} of {counted}");
    stop(&mut bridge)?;
    ensure!(epochs_and_ends(&pair)? == (1, 1), "{:?}", epochs_and_ends(&pair)?);
    Ok(())
}

#[test]
fn where_nobody_captures_it_says_what_to_look_for() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut asked = resnapshot(&pair, &[])?;
    ensure!(asked.wait(PATIENCE)?.code() == Some(2), "{}", asked.stderr());
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    let mut asked = resnapshot(&pair, &["--answer-within", "1s"])?;
    let (code, said) = (asked.wait(PATIENCE)?.code(), asked.stderr());
    ensure!(code == Some(GAVE_UP) && said.contains("keyferry run"), "{code:?} {said}");
    // What was asked for meanwhile is not done by the next who captures.
    let mut asked = resnapshot(&pair, &["--no-wait"])?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}", asked.stderr());
    ensure!(asked.stdout().contains("asked for a snapshot of stream main"), "{}", asked.stdout());
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    std::thread::yield_now();
    stop(&mut bridge)?;
    ensure!(epochs_and_ends(&pair)? == (1, 0));
    Ok(())
}

#[test]
fn a_wrong_duration_is_refused() -> Result<()> {
    let mut asked = Process::start(&["resnapshot", "--answer-within", "soon"])?;
    ensure!(asked.wait(Duration::from_secs(30))?.code() == Some(2), "{}", asked.stderr());
    ensure!(asked.stderr().contains("--answer-within"), "{}", asked.stderr());
    Ok(())
}
