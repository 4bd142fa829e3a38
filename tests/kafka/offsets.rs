//! The offsets that an apply's group commits, as stock tools see them: never beyond what the destination's checkpoints
//! say, at the end when there is nothing left to apply, and where they were while nobody applies.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use testkit::{Kind, Server, eventually};

use crate::apart::{PARTITIONS, PATIENCE, Stage, stop};
use crate::load::{Load, assert_counted};

const DESTINATION: &str = "copy";
/// How long brokers may take to answer a question; it is asked again then.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// What may be behind a commit in one partition when all has been applied: records without a change, which go on coming.
const NEAR: u64 = 8;
/// Looks under load, so many rounds of it apart.
const LOOKS: usize = 20;
const ROUNDS_BETWEEN: u64 = 50;

/// Where each partition is, seen from outside; looked at in this order, and all of it only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    committed: Vec<u64>,
    checkpoints: Vec<u64>,
    ends: Vec<u64>,
}

/// Somebody who asks the brokers as lag tools do, without being a member of the group.
struct Watcher {
    asker: BaseConsumer,
    topic: String,
    partitions: u16,
}

// === impl Watcher ===

impl Watcher {
    fn new(stage: &Stage) -> Result<Self> {
        let topic = format!("keyferry.{}", stage.stream);
        let group = format!("{topic}.{DESTINATION}");
        let asker = ClientConfig::new()
            .set("bootstrap.servers", &stage.brokers)
            .set("group.id", group)
            .create()?;
        Ok(Self { asker, topic, partitions: PARTITIONS.parse()? })
    }

    /// Nothing while a partition has no commit, or somebody does not answer.
    fn look(&self, stage: &Stage) -> Result<Option<Seen>> {
        let Some(committed) = self.committed()? else { return Ok(None) };
        let Some(checkpoints) = checkpoints(stage, self.partitions)? else { return Ok(None) };
        let mut ends = Vec::new();
        for partition in 0..self.partitions {
            let asked =
                self.asker.fetch_watermarks(&self.topic, i32::from(partition), ANSWER_LIMIT);
            let Ok((_, end)) = asked else { return Ok(None) };
            ends.push(u64::try_from(end)?);
        }
        let seen = Seen { committed, checkpoints, ends };
        for partition in 0..usize::from(self.partitions) {
            let of = |places: &[u64]| places.get(partition).copied();
            let (committed, durable, end) =
                (of(&seen.committed), of(&seen.checkpoints), of(&seen.ends));
            ensure!(committed <= durable, "a commit beyond the checkpoint: {seen:?}");
            ensure!(durable <= end, "a checkpoint beyond the end: {seen:?}");
        }
        Ok(Some(seen))
    }

    fn committed(&self) -> Result<Option<Vec<u64>>> {
        let mut asked = TopicPartitionList::new();
        for partition in 0..self.partitions {
            asked.add_partition(&self.topic, i32::from(partition));
        }
        let Ok(found) = self.asker.committed_offsets(asked, ANSWER_LIMIT) else { return Ok(None) };
        let mut elements = found.elements();
        elements.sort_by_key(rdkafka::topic_partition_list::TopicPartitionListElem::partition);
        let offsets = elements.iter().map(|element| match element.offset() {
            Offset::Offset(offset) => Ok(Some(u64::try_from(offset)?)),
            _ => Ok(None),
        });
        offsets.collect()
    }

    fn until(&self, stage: &Stage, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let mut last = None;
        let found = eventually(PATIENCE, what, || {
            last = self.look(stage)?;
            Ok(last.clone().filter(&holds))
        });
        found.with_context(|| format!("seen last: {last:?}"))
    }
}

/// From where on each partition is still needed, as the destination itself says.
fn checkpoints(stage: &Stage, partitions: u16) -> Result<Option<Vec<u64>>> {
    let mut client = stage.destination.client()?;
    let pattern = format!("keyferry:{{*}}:{}", stage.stream);
    let mut needed = vec![None; usize::from(partitions)];
    for key in client.cmd(&["KEYS", &pattern])?.list()? {
        let bytes = client.cmd(&[b"GET".as_slice(), &key])?.bytes()?;
        let checkpoint = event::codec::checkpoint::decode(&bytes)?;
        let covered = usize::from(checkpoint.first_partition)..;
        for (partition, from) in covered.zip(&checkpoint.read_from) {
            *needed.get_mut(partition).context("a partition beyond the last")? = Some(*from);
        }
    }
    Ok(needed.into_iter().collect())
}

fn is_near(places: &[u64], others: &[u64]) -> bool {
    places.iter().zip(others).all(|(place, other)| place.abs_diff(*other) <= NEAR)
}

#[test]
fn a_group_commits_what_checkpoints_cover_and_no_more() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let destination = stage.destination.uri();
    let words = ["apply", destination.as_str(), "--destination-name", DESTINATION];
    let mut capture = stage.capture("capture")?;
    let mut apply = stage.process(&words, "apply", &[])?;
    let watcher = Watcher::new(&stage)?;
    let load = Load::start(&stage.source)?;
    let begun = watcher.until(&stage, "something is committed", |_| true)?;
    for _ in 0..LOOKS {
        load.goes_on(ROUNDS_BETWEEN)?;
        watcher.look(&stage)?;
    }
    let moves =
        |seen: &Seen| seen.committed.iter().zip(&begun.committed).all(|(now, was)| now > was);
    watcher.until(&stage, "all commits move under load", moves)?;
    let first = load.stop()?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    let idle = |seen: &Seen| is_near(&seen.committed, &seen.ends);
    watcher.until(&stage, "the lag is near nothing", idle)?;

    apply.kill()?;
    let dead = watcher.until(&stage, "it is looked at", |_| true)?;
    let load = Load::start(&stage.source)?;
    let lags = |seen: &Seen| seen.ends.iter().zip(&dead.ends).all(|(now, was)| *now >= was + 100);
    let behind = watcher.until(&stage, "the lag of one that is dead grows", lags)?;
    ensure!(behind.committed == dead.committed, "{behind:?} after {dead:?}");
    let mut apply = stage.process(&words, "apply", &[])?;
    load.goes_on(ROUNDS_BETWEEN)?;
    let counted = first + load.stop()?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    watcher.until(&stage, "the lag is near nothing again", idle)?;
    assert_counted(&stage, counted)?;
    stop(&mut apply)?;
    stop(&mut capture)
}

#[test]
fn a_destination_that_takes_the_name_of_another_says_so() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let other = Server::start(Kind::Redis7_0, &[])?;
    let (destination, other) = (stage.destination.uri(), other.uri());
    let more = ["--destination-name", DESTINATION];
    let mut capture = stage.capture("capture")?;
    let mut first = stage.process(&["apply", &destination], "first", &more)?;
    let watcher = Watcher::new(&stage)?;
    let has_come_on = |seen: &Seen| seen.committed.iter().any(|offset| *offset > 0);
    watcher.until(&stage, "something is committed", has_come_on)?;
    let said = "Give each a name of its own";
    let mut second = stage.process(&["apply", &other], "second", &more)?;
    second.until(PATIENCE, "it says so", |_, text| text.contains(said).then_some(()))?;
    stop(&mut second)?;
    // One that comes to the same destination has nothing to say.
    let mut third = stage.process(&["apply", &destination], "third", &more)?;
    stop(&mut first)?;
    stage.source_client()?.cmd(&["SET", "k", "v"])?;
    stage.caught_up(&mut [&mut capture, &mut third])?;
    ensure!(!third.stderr().contains(said), "{}", third.stderr());
    stop(&mut third)?;
    stop(&mut capture)
}
