//! `keyferry replay`: what a source held at a moment of the past, at another server, while the bridge goes on.

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use testkit::{
    Client, Dataset, Deadline, Kind, Process, Server, Tolerance, Workload, compare, seed,
};

use wire::slot::Slot;

use crate::bridge::{PATIENCE, Pair, SETTLING, stop};

const KIND: Kind = Kind::Redis7_0;

/// A link is new until the first heartbeat after it, and its clock is known to some milliseconds.
const APART_MS: u64 = 400;
const HEARTBEATS: [&str; 2] = ["--source-heartbeat-interval", "50ms"];

/// A moment at which nobody wrote.
struct Moment {
    time_ms: u64,
    offset: String,
    data: Dataset,
}

/// Pauses the writers, which the test is, until the moment is over for everybody.
fn moment(pair: &mut Pair, bridge: &mut Process) -> Result<Moment> {
    pair.caught_up(bridge)?;
    let mut source = pair.source_client()?;
    wait_until(testkit::now_ms() + APART_MS)?;
    let time_ms = testkit::now_ms();
    let offset = source.info_field("replication", "master_repl_offset")?;
    let offset = offset.context("a source tells its offset")?;
    let data = Dataset::read(&mut source)?;
    wait_until(time_ms + APART_MS)?;
    Ok(Moment { time_ms, offset, data })
}

fn wait_until(time_ms: u64) -> Result<()> {
    let deadline = Deadline::after(PATIENCE);
    while testkit::now_ms() < time_ms {
        ensure!(!deadline.has_passed(), "the clock stands still");
        std::thread::yield_now();
    }
    Ok(())
}

fn replay(pair: &Pair, to: &Server, more: &[&str]) -> Result<Process> {
    let (uri, dir) = (to.uri(), pair.data_dir());
    let mut args = vec!["replay", &uri, "--data-dir", &dir];
    args.extend(more);
    Process::start(&args)
}

/// Lets it end by itself.
fn ends_well(mut process: Process) -> Result<Process> {
    let status = process.wait(PATIENCE)?;
    ensure!(status.success(), "it ended with {status}:\n{}", process.stderr());
    Ok(process)
}

fn assert_holds(to: &Server, expected: &Dataset) -> Result<()> {
    let deadline = Deadline::after(SETTLING);
    loop {
        let found = Dataset::read(&mut to.client()?)?;
        let differences = compare(expected, &found, &Tolerance::native(KIND, KIND));
        if differences.is_empty() {
            return Ok(());
        }
        let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
        ensure!(!deadline.has_passed(), "differences:\n{}", shown.join("\n"));
    }
}

/// Writes that do not expire by themselves meanwhile.
fn write(client: &mut Client, round: u32, rng: &mut Rng) -> Result<()> {
    for number in 0..400 {
        let key = rng.u32(0..60);
        match number % 5 {
            0 => client.cmd(&["INCR", &format!("n{key}")])?,
            1 => client.cmd(&["RPUSH", &format!("l{key}"), &format!("{round}.{number}")])?,
            2 => client.cmd(&["HSET", &format!("h{key}"), &number.to_string(), "v"])?,
            3 => client.cmd(&["APPEND", &format!("a{key}"), "x"])?,
            _ => client.cmd(&["DEL", &format!("l{}", rng.u32(0..60)), &format!("h{key}")])?,
        };
    }
    Ok(())
}

#[test]
fn a_moment_of_the_past_is_restored_elsewhere_while_the_bridge_goes_on() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut pair = Pair::start(KIND, KIND)?;
    let mut client = pair.source_client()?;
    write(&mut client, 0, &mut rng)?;
    let mut bridge = pair.run(&HEARTBEATS)?;
    let mut moments = Vec::new();
    for round in 1..4 {
        write(&mut client, round, &mut rng)?;
        moments.push(moment(&mut pair, &mut bridge)?);
    }
    write(&mut client, 4, &mut rng)?;
    let last = moment(&mut pair, &mut bridge)?;
    let to = Server::start(KIND, &[])?;
    for (number, moment) in moments.iter().enumerate() {
        let until = match number % 2 {
            0 => format!("time:{}", moment.time_ms),
            _ => format!("offset:{}", moment.offset),
        };
        let words = ["--until", &until, "--existing", "sweep"];
        let replayed = ends_well(replay(&pair, &to, &words)?)?;
        ensure!(replayed.stderr().contains("replayed:"), "{}", replayed.stderr());
        assert_holds(&to, &moment.data)?;
    }
    // Without a place to end at: to the end of the journal.
    ends_well(replay(&pair, &to, &["--existing", "sweep"])?)?;
    assert_holds(&to, &last.data)?;
    ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn one_that_is_killed_begins_anew_and_what_comes_behind_it_is_carried_by_a_run() -> Result<()> {
    let mut pair = Pair::start(KIND, KIND)?;
    let mut client = pair.source_client()?;
    let mut workload = Workload::new(seed(), KIND);
    workload.run(&mut client, 2_000)?;
    let mut bridge = pair.run(&[])?;
    workload.run(&mut client, 2_000)?;
    pair.caught_up(&mut bridge)?;
    let to = Server::start(KIND, &[])?;
    for _ in 0..4 {
        let mut killed =
            replay(&pair, &to, &["--existing", "sweep", "--throttle-full-rows", "2000"])?;
        killed.until(PATIENCE, "it has begun", |_, said| {
            said.contains("applying the stream anew").then_some(())
        })?;
        let mut destination = to.client()?;
        let checkpoint = event::names::checkpoint(Slot::of_key(b""), "main");
        let before = destination.cmd(&["GET", &checkpoint])?;
        testkit::eventually(PATIENCE, "it has begun to write", || {
            Ok((destination.cmd(&["GET", &checkpoint])? != before).then_some(()))
        })?;
        killed.kill()?;
    }
    let mut refused = replay(&pair, &to, &[])?;
    let code = refused.wait(PATIENCE)?.code();
    ensure!(code == Some(5), "{code:?}:\n{}", refused.stderr());
    ensure!(refused.stderr().contains("--existing sweep"), "{}", refused.stderr());
    ends_well(replay(&pair, &to, &["--existing", "sweep"])?)?;
    stop(&mut bridge)?;
    workload.run(&mut client, 500)?;
    pair.destination = to;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn what_would_be_done_is_said_and_nothing_is_written() -> Result<()> {
    let mut pair = Pair::start(KIND, KIND)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "key", "value"])?;
    let mut bridge = pair.run(&["--partitions", "2"])?;
    pair.caught_up(&mut bridge)?;
    let to = Server::start(KIND, &[])?;
    to.client()?.cmd(&["SET", "theirs", "1"])?;
    let said = ends_well(replay(&pair, &to, &["--dry-run"])?)?.stdout();
    for words in ["part of the stream", "partition 1: records 0 to", "1 in database 0"] {
        ensure!(said.contains(words), "{words} is not in:\n{said}");
    }
    ensure!(to.client()?.cmd(&["DBSIZE"])?.int()? == 1);
    for (words, code, why) in [
        (&["--until", "time:1"][..], 6, "no complete snapshot as of time:1970-01-01T00:00:00.001Z"),
        (&["--until", "offset:5:1"], 6, "nothing of epoch 5"),
        (&["--until", "noon"], 2, "it has to be a place"),
        (&["--from", "offset:999999999999"], 6, "ends before that, at offset:"),
        (&["--from", "time:2", "--until", "time:1"], 6, "before the one to begin at, time:1970-"),
    ] {
        // Also where all that is there would go.
        let words = [words, &["--existing", "sweep"]].concat();
        let mut refused = replay(&pair, &to, &words)?;
        let found = refused.wait(PATIENCE)?.code();
        ensure!(found == Some(code), "{words:?}: {found:?}:\n{}", refused.stderr());
        ensure!(refused.stderr().contains(why), "{}", refused.stderr());
        ensure!(to.client()?.cmd(&["DBSIZE"])?.int()? == 1);
    }
    // What is not empty is refused as ever.
    let mut refused = replay(&pair, &to, &[])?;
    ensure!(refused.wait(PATIENCE)?.code() == Some(5), "{}", refused.stderr());
    stop(&mut bridge)
}
