//! A destination that needs a snapshot which the topic does not hold, and `keyferry replay` of a topic.

use anyhow::{Context, Result, ensure};
use journal::kafka::KafkaConfig;
use journal::{Journal, Offset, Partition};
use testkit::kafka::Broker;
use testkit::{Client, Dataset, Deadline, Kind, Process, Server, Tolerance, compare};

use crate::apart::{PATIENCE, Stage, stop};
use crate::stage::open;

const KIND: Kind = Kind::Redis7_0;

/// Everything that the topic holds leaves it, as after the retention's time.
fn forget_all(stage: &Stage) -> Result<()> {
    let placement = "slot * partitions / 16384".to_owned();
    let config = KafkaConfig::new(Broker::shared()?.bootstrap(), &stage.stream, 4);
    let config = KafkaConfig { placement, create: false, ..config };
    tokio::runtime::Runtime::new()?.block_on(async {
        let journal = open(&config).await;
        let ends = journal.describe().await?.partitions;
        let before = (0..).map(Partition).zip(ends.iter().map(|range| Offset(range.end.0)));
        journal.trim(before.collect()).await?;
        Ok(())
    })
}

/// Changes of which none may come twice, in all partitions.
fn write(client: &mut Client, round: u32) -> Result<()> {
    for number in 0..300 {
        let key = number % 40;
        client.cmd(&["INCR", &format!("n{key}")])?;
        client.cmd(&["RPUSH", &format!("l{key}"), &format!("{round}.{number}")])?;
        client.cmd(&["HSET", &format!("h{round}:{key}"), "field", &number.to_string()])?;
        if number % 7 == 0 {
            client.cmd(&["DEL", &format!("l{}", (key + 1) % 40), &format!("h{round}:{key}")])?;
        }
    }
    Ok(())
}

fn apply(stage: &Stage, to: &Server, name: &str, more: &[&str]) -> Result<Process> {
    let uri = to.uri();
    stage.process(&["apply", &uri, "--destination-name", name], name, more)
}

#[test]
fn a_new_destination_has_a_snapshot_made_and_one_that_lost_its_place_heals_when_told_to()
-> Result<()> {
    let mut stage = Stage::start(KIND)?;
    let mut client = stage.source_client()?;
    write(&mut client, 0)?;
    let (mut capture, mut first) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut first])?;
    forget_all(&stage)?;
    write(&mut client, 1)?;
    let other = Server::start(KIND, &[])?;
    let mut refused = apply(&stage, &other, "other", &["--resnapshot", "never"])?;
    ensure!(refused.wait(PATIENCE)?.code() == Some(6), "{}", refused.stderr());
    let mut second = apply(&stage, &other, "other", &[])?;
    second.until(PATIENCE, "it asks", |_, said| said.contains("asking capture").then_some(()))?;
    write(&mut client, 2)?;
    stage.caught_up_at(&[&other], &mut [&mut capture, &mut first, &mut second])?;
    stage.assert_same()?;
    stage.assert_same_in(&other)?;
    ensure!(!first.stderr().contains("resync"), "{}", first.stderr());

    stop(&mut first)?;
    write(&mut client, 3)?;
    client.cmd(&["DEL", "n1", "l2"])?;
    // Until the other one has it, it is in the topic.
    let of_first = std::mem::replace(&mut stage.destination, other);
    stage.caught_up(&mut [&mut capture, &mut second])?;
    let other = std::mem::replace(&mut stage.destination, of_first);
    forget_all(&stage)?;
    let mut refused = stage.apply()?;
    ensure!(refused.wait(PATIENCE)?.code() == Some(6), "{}", refused.stderr());
    ensure!(refused.stderr().contains("has left the journal"), "{}", refused.stderr());
    ensure!(refused.stderr().contains("--resnapshot heal"), "{}", refused.stderr());
    let uri = stage.destination.uri();
    let mut healed = stage.process(&["apply", &uri], "apply", &["--resnapshot", "heal"])?;
    write(&mut client, 4)?;
    stage.caught_up_at(&[&other], &mut [&mut capture, &mut healed, &mut second])?;
    stage.assert_same()?;
    stage.assert_same_in(&other)?;
    stop(&mut healed)?;
    stop(&mut second)?;
    stop(&mut capture)
}

/// What the source held at a moment at which nobody wrote.
struct Moment {
    time_ms: u64,
    offset: String,
    data: Dataset,
}

/// A link is new until the first heartbeat after it, and its clock is known to some
/// milliseconds where nothing else takes the machine.
const APART_MS: u64 = 1_500;

fn moment(stage: &mut Stage, processes: &mut [&mut Process]) -> Result<Moment> {
    stage.caught_up(processes)?;
    let mut source = stage.source_client()?;
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

fn replay(stage: &Stage, to: &Server, more: &[&str]) -> Result<Process> {
    let uri = to.uri();
    let words = ["replay", &uri, "--destination-name", "restored"];
    stage.process(&words, "restored", more)
}

fn assert_holds(to: &Server, expected: &Dataset) -> Result<()> {
    let found = Dataset::read(&mut to.client()?)?;
    let differences = compare(expected, &found, &Tolerance::native(KIND, KIND));
    let shown: Vec<_> = differences.iter().take(20).map(ToString::to_string).collect();
    ensure!(differences.is_empty(), "{}", shown.join("\n"));
    Ok(())
}

#[test]
fn a_moment_of_the_past_is_restored_from_a_topic_and_an_apply_goes_on_from_there() -> Result<()> {
    let mut stage = Stage::start(KIND)?;
    let mut client = stage.source_client()?;
    write(&mut client, 0)?;
    let source = stage.source.uri();
    let beats = ["--source-heartbeat-interval", "50ms"];
    let mut capture = stage.process(&["capture", &source], "capture", &beats)?;
    let mut first = stage.apply()?;
    write(&mut client, 1)?;
    let one = moment(&mut stage, &mut [&mut capture, &mut first])?;
    write(&mut client, 2)?;
    let mut asked = stage.process(&["resnapshot"], "asking", &[])?;
    ensure!(asked.wait(PATIENCE)?.success(), "{}", asked.stderr());
    write(&mut client, 3)?;
    let two = moment(&mut stage, &mut [&mut capture, &mut first])?;
    write(&mut client, 4)?;
    let to = Server::start(KIND, &[])?;
    let (early, late) = (format!("time:{}", one.time_ms), format!("offset:{}", two.offset));
    let (begin, since) = (format!("offset:{}", one.offset), format!("time:{}", one.time_ms));
    // Between the two moments a snapshot was made on demand, which only what comes behind it can begin with.
    let behind = format!("time:{}", two.time_ms);
    for (place, snapshot) in [
        (&begin, "part of the stream"),
        (&since, "part of the stream"),
        (&late, "made on demand"),
        (&behind, "made on demand"),
    ] {
        let words = ["--from", place, "--until", &late, "--dry-run"];
        let mut told = replay(&stage, &to, &words)?;
        ensure!(told.wait(PATIENCE)?.success(), "{words:?}: {}", told.stderr());
        let said = told.stdout();
        ensure!(said.contains(snapshot) && said.contains("records"), "{words:?}: {said}");
        let keys = to.client()?.cmd(&["DBSIZE"])?.int()?;
        ensure!(keys == 0, "{words:?}: {keys} keys are written");
    }
    for (words, why) in [
        (&["--from", "offset:999999999999"][..], "ends before that, at offset:"),
        (&["--from", &late, "--until", &begin], "is before the one to begin at, offset:"),
    ] {
        let mut refused = replay(&stage, &to, &[words, &["--existing", "sweep"]].concat())?;
        ensure!(refused.wait(PATIENCE)?.code() == Some(6), "{words:?}: {}", refused.stderr());
        ensure!(refused.stderr().contains(why), "{words:?}: {}", refused.stderr());
    }
    for (words, data) in [
        (vec!["--until", &early], &one.data),
        (vec!["--until", &late], &two.data),
        (vec!["--from", &begin, "--until", &late], &two.data),
        (vec!["--from", &since, "--until", &late], &two.data),
        (vec!["--from", "beginning", "--until", &early], &one.data),
    ] {
        let mut words = words;
        words.extend(["--existing", "sweep"]);
        // What was begun and killed is begun anew.
        let mut killed = replay(&stage, &to, &words)?;
        killed.until(PATIENCE, "it has begun", |_, said| {
            said.contains("applying the stream anew").then_some(())
        })?;
        killed.kill()?;
        let mut replayed = replay(&stage, &to, &words)?;
        ensure!(replayed.wait(PATIENCE)?.success(), "{words:?}: {}", replayed.stderr());
        assert_holds(&to, data).with_context(|| format!("{words:?}: {}", replayed.stderr()))?;
    }
    let mut second = apply(&stage, &to, "restored", &[])?;
    stage.caught_up_at(&[&to], &mut [&mut capture, &mut first, &mut second])?;
    stage.assert_same()?;
    stage.assert_same_in(&to)?;
    stop(&mut second)?;
    stop(&mut first)?;
    stop(&mut capture)
}
