//! Beginning at any snapshot of a stream, also one made on demand beside it, and ending at any place: by value.

use std::sync::Arc;

use anyhow::Result;
use apply::replay::{Origin, Place, Replay};
use apply::{Config, Error, Existing};
use bytes::Bytes;
use event::Position;
use journal::{Journal, MemoryJournal, Offset, Partition};
use runtime::{Limits, Rate, Throttle};
use testkit::{Client, Dataset, Deadline, Kind, Server, Tolerance, Value, eventually};
use wire::slot::{Slot, partition_of};

use crate::harness::{Bench, LIMIT, Roster};
use crate::tracks::{all_caught_up, write};

const KIND: Kind = Kind::Redis7_0;

/// A stream and a model, with a history of two snapshots made on demand.
struct World {
    bench: Bench,
    _server: Server,
    model: Client,
    round: u32,
}

/// A moment in the history: the place, the time, and what the source held.
struct Moment {
    position: Position,
    time_ms: i64,
    data: Dataset,
}

// === impl World ===

impl World {
    async fn new(unordered: bool) -> Result<Self> {
        let mut bench = Bench::streaming(KIND).await?;
        bench.unordered = unordered;
        let server = Server::start(KIND, &[])?;
        let model = server.client()?;
        Ok(Self { bench, _server: server, model, round: 0 })
    }

    async fn write(&mut self) -> Result<()> {
        self.round += 1;
        write(&mut self.bench, &mut self.model, self.round).await
    }

    /// A snapshot beside the stream, of what the model holds now, with writes between its records.
    async fn snapshot(&mut self, id: u64) -> Result<()> {
        let at = self.bench.feed.begin_on_demand(id).await?;
        let mut dumps = Vec::new();
        for key in self.model.cmd(&["KEYS", "*"])?.array()? {
            let key = key.text()?;
            let Value::Bulk(dump) = self.model.cmd(&["DUMP", &key])? else { continue };
            dumps.push((key, Bytes::from(dump)));
        }
        let third = dumps.len().div_ceil(3);
        for (index, (key, dump)) in (0_u64..).zip(&dumps) {
            let place = (id, at.at_index(index + 1));
            self.bench.feed.dumped(place, key.as_bytes(), dump).await?;
            if (index + 1) % third as u64 == 0 {
                self.write().await?;
            }
        }
        self.bench.feed.end_on_demand((id, at.at_index(dumps.len() as u64 + 1))).await
    }

    /// The moment of now; what comes next is later.
    async fn moment(&mut self) -> Result<Moment> {
        self.bench.feed.heartbeat().await?;
        let now_ms = testkit::now_ms();
        let deadline = Deadline::after(LIMIT);
        while testkit::now_ms() <= now_ms + 1 {
            assert!(!deadline.has_passed(), "the clock stands still");
            tokio::task::yield_now().await;
        }
        let data = Dataset::read(&mut self.model)?;
        let time_ms = i64::try_from(now_ms)?;
        Ok(Moment { position: self.bench.feed.position(), time_ms, data })
    }

    /// Applies a part of the stream, to its end.
    async fn replay(
        &mut self,
        (origin, until): (Origin, Option<Place>),
        existing: Existing,
    ) -> Result<apply::Reached> {
        let config = self.config((origin, until), existing).await?;
        let service = self.bench.start_with(config).await?;
        let summary = service.ended_well().await?;
        let reached = summary.lane.and_then(|lane| lane.reached);
        Ok(reached.expect("a replay says where it came to"))
    }

    async fn config(
        &self,
        (origin, until): (Origin, Option<Place>),
        existing: Existing,
    ) -> Result<Config> {
        let replay = Replay::plan(&self.bench.feed.journal(), origin, until).await?;
        Ok(Config { replay: Some(replay), existing, ..self.bench.config() })
    }

    /// Everything that the journal holds leaves it.
    async fn trim_all(&self) -> Result<()> {
        let journal = self.bench.feed.journal();
        let ends = journal.describe().await?.partitions;
        let before = (0..4).map(Partition).zip(ends.iter().map(|range| Offset(range.end.0)));
        journal.trim(before.collect()).await?;
        Ok(())
    }

    fn caught_up(&mut self) -> Result<()> {
        match self.bench.unordered {
            true => all_caught_up(&mut self.bench),
            false => self.bench.caught_up(),
        }
    }

    #[track_caller]
    fn assert_holds(&mut self, moment: &Moment) -> Result<()> {
        let found = Dataset::read(&mut self.bench.client)?;
        testkit::assert_same(&moment.data, &found, &Tolerance::native(KIND, KIND));
        Ok(())
    }
}

fn offset(moment: &Moment) -> Place {
    Place::Offset { epoch: Some(moment.position.epoch), offset: moment.position.offset }
}

async fn begins_with_one_made_on_demand(unordered: bool) -> Result<()> {
    let mut world = World::new(unordered).await?;
    world.write().await?;
    world.snapshot(7).await?;
    world.write().await?;
    // The beginning of the stream has left the journal.
    let begins = world.bench.feed.journal().describe().await?.partitions[0].start;
    let trimmed = (0..4).map(|number| (Partition(number), begins.after(5))).collect();
    world.bench.feed.journal().trim(trimmed).await?;
    let service = world.bench.start().await?;
    world.write().await?;
    let end = world.moment().await?;
    world.caught_up()?;
    world.assert_holds(&end)?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_destination_begins_with_a_snapshot_made_on_demand() -> Result<()> {
    begins_with_one_made_on_demand(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_destination_begins_with_a_snapshot_made_on_demand_in_each_partition() -> Result<()> {
    begins_with_one_made_on_demand(true).await
}

async fn is_killed_within_one_made_on_demand(unordered: bool) -> Result<()> {
    let mut world = World::new(unordered).await?;
    for _ in 0..3 {
        world.write().await?;
    }
    world.snapshot(7).await?;
    world.write().await?;
    let end = world.moment().await?;
    // Slowly, so that it is met in the middle.
    let full = Rate { rows: 100, bytes: 0 };
    let throttle = Throttle::new(Limits { full, ..Limits::default() });
    let config = Config { throttle, ..world.bench.config() };
    let mut within = 0;
    for _ in 0..4 {
        let service = world.bench.start_with(config.clone()).await?;
        let before = position(&mut world)?;
        eventually(LIMIT, "it goes on", || Ok((position(&mut world)? > before).then_some(())))?;
        service.kill().await?;
        let checkpoint = crate::harness::checkpoint(&mut world.bench.client)?;
        let resync = checkpoint.and_then(|checkpoint| checkpoint.resyncs.first().copied());
        within += usize::from(resync.is_some_and(|resync| resync.snapshot_id == 7));
    }
    assert!(within > 1, "killed {within} times within the snapshot");
    let service = world.bench.start().await?;
    world.caught_up()?;
    world.assert_holds(&end)?;
    service.stop().await?;
    Ok(())
}

/// Where the first partition stands, with the index within a snapshot.
fn position(world: &mut World) -> Result<Option<u64>> {
    let checkpoint = crate::harness::checkpoint(&mut world.bench.client)?;
    Ok(checkpoint.and_then(|checkpoint| {
        let position = checkpoint.applied.first()?.position;
        Some(position.offset * 1_000 + position.index.min(999))
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_killed_within_a_snapshot_made_on_demand_goes_on_with_it() -> Result<()> {
    is_killed_within_one_made_on_demand(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_killed_within_a_snapshot_made_on_demand_go_on_with_it() -> Result<()> {
    is_killed_within_one_made_on_demand(true).await
}

async fn ends_at_any_moment(unordered: bool) -> Result<()> {
    let mut world = World::new(unordered).await?;
    world.write().await?;
    let first = world.moment().await?;
    world.snapshot(7).await?;
    let second = world.moment().await?;
    world.write().await?;
    let third = world.moment().await?;
    world.snapshot(8).await?;
    let last = world.moment().await?;
    for (begun, moment) in [&first, &second, &third, &last].into_iter().enumerate() {
        for until in [offset(moment), Place::TimeMs(moment.time_ms)] {
            for origin in [Origin::Snapshot, Origin::Beginning, Origin::At(offset(&second))] {
                if begun == 0 && origin == Origin::At(offset(&second)) {
                    continue;
                }
                world.bench.client.cmd(&["FLUSHALL"])?;
                let reached = world.replay((origin, Some(until)), Existing::Fail).await?;
                world.assert_holds(moment)?;
                assert_eq!(reached.passed, moment.position != last.position, "{until:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_ends_at_any_moment_with_what_the_source_held_then() -> Result<()> {
    ends_at_any_moment(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_partitions_ends_at_any_moment_with_what_the_source_held_then() -> Result<()> {
    ends_at_any_moment(true).await
}

async fn goes_on_behind_a_replay(unordered: bool) -> Result<()> {
    let mut world = World::new(unordered).await?;
    world.write().await?;
    world.snapshot(7).await?;
    let moment = world.moment().await?;
    world.write().await?;
    let until = Place::TimeMs(moment.time_ms);
    world.replay((Origin::Snapshot, Some(until)), Existing::Fail).await?;
    let service = world.bench.start().await?;
    let last = world.moment().await?;
    world.caught_up()?;
    world.assert_holds(&last)?;
    service.stop().await?;
    // It does not begin anew over what is there, unless nothing else is to be left.
    for existing in [Existing::Fail, Existing::Overwrite] {
        let config = world.config((Origin::Snapshot, Some(until)), existing).await?;
        let refused = world.bench.build(config).await.err();
        let is_it = matches!(refused, Some(apply::BuildError::Start(Error::HasBegun { .. })));
        assert!(is_it, "{refused:?}");
    }
    for (origin, until, expected) in
        [(Origin::Snapshot, Some(until), &moment), (Origin::Beginning, None, &last)]
    {
        world.bench.client.cmd(&["SET", "stranger", "1"])?;
        world.replay((origin, until), Existing::Sweep).await?;
        world.assert_holds(expected)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_a_replay_is_applied_by_a_service_without_one() -> Result<()> {
    goes_on_behind_a_replay(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_a_replay_of_partitions_is_applied_by_a_service_without_one() -> Result<()>
{
    goes_on_behind_a_replay(true).await
}

async fn heals(unordered: bool) -> Result<()> {
    let mut world = World::new(unordered).await?;
    world.write().await?;
    let service = world.bench.start().await?;
    world.caught_up()?;
    service.stop().await?;
    world.bench.client.cmd(&["SET", "ghost", "1"])?;
    world.write().await?;
    let journal = world.bench.feed.journal();
    let ends = journal.describe().await?.partitions;
    let before = (0..4).map(Partition).zip(ends.iter().map(|range| Offset(range.end.0)));
    let before: Vec<_> = before.collect();
    world.snapshot(7).await?;
    let last = world.moment().await?;
    journal.trim(before).await?;
    let config = Config { heal: false, ..world.bench.config() };
    let said = world.bench.start_with(config).await?.failed().await?;
    assert!(matches!(said, Error::PlaceGone { .. }), "{said:?}");
    let service = world.bench.start().await?;
    world.caught_up()?;
    world.assert_holds(&last)?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_place_has_left_the_journal_heals_with_a_snapshot_made_on_demand() -> Result<()> {
    heals(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_whose_place_has_left_the_journal_heal_with_a_snapshot_made_on_demand()
-> Result<()> {
    heals(true).await
}

async fn waits_for_one(unordered: bool) -> Result<()> {
    let mut world = World::new(unordered).await?;
    world.write().await?;
    world.trim_all().await?;
    world.bench.feed.heartbeat().await?;
    let refused = world.bench.start().await?.failed().await?;
    assert!(matches!(refused, Error::NoSnapshot { .. }), "{refused:?}");
    let config = Config { awaits: true, ..world.bench.config() };
    let service = world.bench.start_with(config.clone()).await?;
    service.shows("phase", "waiting")?;
    assert!(service.lane("waiting_for").contains("no snapshot to begin with"));
    world.write().await?;
    world.snapshot(7).await?;
    let first = world.moment().await?;
    world.caught_up()?;
    world.assert_holds(&first)?;
    service.stop().await?;
    heals_once_there_is_one(world, config).await
}

/// Its place leaves the journal, which holds none that leads on.
async fn heals_once_there_is_one(mut world: World, config: Config) -> Result<()> {
    world.write().await?;
    world.trim_all().await?;
    let service = world.bench.start_with(config).await?;
    service.shows("phase", "waiting")?;
    world.write().await?;
    world.snapshot(8).await?;
    let last = world.moment().await?;
    world.caught_up()?;
    world.assert_holds(&last)?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_without_a_snapshot_waits_until_there_is_one() -> Result<()> {
    waits_for_one(false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_a_snapshot_wait_until_there_is_one() -> Result<()> {
    waits_for_one(true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_journal_that_was_torn_ends_before_what_it_has_not_whole() -> Result<()> {
    let mut world = World::new(true).await?;
    world.write().await?;
    let before = world.moment().await?;
    let [home, other] = ["n1", "n4"];
    let of = |key: &str| partition_of(Slot::of_key(key.as_bytes()), 4);
    assert_ne!(of(home), of(other));
    let incr = [home, other].map(|key| format!("INCR {key}"));
    world.bench.feed.home_of_group(&[(0, &incr[0]), (0, &incr[1])]).await?;
    // More than is read ahead of a partition that waits.
    let value = "v".repeat(500_000);
    for number in 0..40 {
        world.bench.feed.command(&format!("SET {number}:{{{home}}} {value}")).await?;
    }
    let end = world.bench.feed.position();
    let behind = Place::Offset { epoch: Some(end.epoch), offset: end.offset + 1_000 };
    let later = Place::TimeMs(i64::try_from(testkit::now_ms())? + 1_000_000);
    for until in [None, Some(behind), Some(later)] {
        world.bench.client.cmd(&["FLUSHALL"])?;
        let reached = world.replay((Origin::Snapshot, until), Existing::Fail).await?;
        world.assert_holds(&before)?;
        assert_eq!(reached.passed, until.is_none(), "{until:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_some_of_the_partitions_is_refused() -> Result<()> {
    let mut world = World::new(true).await?;
    world.write().await?;
    let config = world.config((Origin::Snapshot, None), Existing::Fail).await?;
    let roster = Arc::new(Roster::default());
    world.bench.roster = Some(Arc::clone(&roster));
    // The one that comes first has all of them, as an apply that runs already.
    let first = world.bench.start().await?;
    eventually(LIMIT, "it has come", || Ok((roster.members() == 1).then_some(())))?;
    world.bench.letters = MemoryJournal::new("other-letters", 1);
    let replay = world.bench.start_with(Config { existing: Existing::Sweep, ..config }).await?;
    eventually(LIMIT, "it has come", || Ok((roster.members() == 2).then_some(())))?;
    roster.give(1, &[2, 3]);
    let error = replay.failed().await?;
    assert!(matches!(error, Error::ReplayShared { .. }), "{error}");
    first.stop().await?;
    Ok(())
}
