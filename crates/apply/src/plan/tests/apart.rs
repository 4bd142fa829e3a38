//! Tracks that meet across lanes, as a property: however the partitions are spread over lanes, in whatever order these
//! work, look at one another, die and are spread anew, every change is executed once, each key's in order, and what
//! several tracks have in common at once; and whose replies nobody has read is looked at only where nothing has been
//! executed since.

use std::collections::BTreeMap;

use event::checkpoint::{Checkpoint, Resync};
use proptest::collection::vec;
use proptest::prelude::*;

use super::meet::{PARTITIONS, Source, Step, number, step};
use super::*;
use crate::checkpoint::{Checkpoints, Written};
use crate::doubt::Doubt;
use crate::error::Error;
use crate::plan::{Barrier, Planned};
use crate::scope::{Line, Point};

/// A destination that executes batches at once, and the checkpoints there.
#[derive(Default)]
struct Shared {
    keys: BTreeMap<String, String>,
    checkpoints: BTreeMap<u16, Checkpoint>,
    /// By the partition whose track has written them: what keys held after changes whose replies nobody has read.
    in_doubt: BTreeMap<u16, BTreeMap<String, String>>,
}

/// One of several lanes.
struct Lane {
    scope: Scope,
    planner: Planner,
    batch: Batch,
    read: Vec<u64>,
    /// Up to where replies have been read: of every batch but the last.
    judged: Vec<Point>,
    /// After the last batch that was executed.
    executed: Progress,
    /// Where reading has to begin while something is in doubt.
    doubt_from: Option<Vec<u64>>,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Turn {
    /// The lane of a partition plans its next record.
    Plan(u16),
    /// The same, and dies before what it has planned is executed, if that is what several have in common.
    PlanAndDie(u16),
    /// The lane of a partition has executed what it has planned.
    Execute(u16),
    /// The lane of a partition looks at the others' checkpoints.
    Look(u16),
    /// The lane of a partition dies, and begins again where its checkpoints say.
    Die(u16),
    /// The partitions are spread anew: to each the number of its lane.
    Spread(Vec<u8>),
}

impl Shared {
    /// Executes what a lane has planned, of which `home` is the track that has written it, if that is one.
    fn execute(&mut self, lane: &mut Lane, home: Option<u16>) {
        self.look_at_suspects(lane);
        lane.batch.close_run();
        let progress = lane.planner.now();
        let (commands, in_doubt) = (commands(&lane.batch), lane.planner.doubt.lines());
        // Only what works is in doubt afterwards; and it is sent once everything before it was judged.
        let nothing_to_judge = commands.is_empty() && in_doubt.is_empty();
        let judged = if nothing_to_judge { &progress.applied } else { &lane.judged };
        for partition in lane.told() {
            self.in_doubt.remove(&partition);
        }
        for words in commands.iter().filter(|words| !words.is_empty()) {
            match words.split(' ').collect::<Vec<&str>>()[..] {
                ["RPUSH", key, word] => {
                    let value = self.keys.entry(key.to_owned()).or_default();
                    value.push_str(word);
                    let own = lane.scope.partition_of(key.as_bytes());
                    let of_writer = self.in_doubt.entry(home.unwrap_or(own)).or_default();
                    of_writer.insert(key.to_owned(), value.clone());
                }
                ["FLUSHDB"] => {
                    self.keys.clear();
                    self.in_doubt.clear();
                }
                ref other => panic!("{other:?}"),
            }
        }
        lane.batch = Batch::new(0);
        let read_from = &lane.stored_from()[..];
        let territory = &event::checkpoint::Territory::default();
        let written =
            Written { judged, read_from, owner: 1, now_ms: 0, says_waits: true, territory };
        let news = Checkpoints::default().news((&lane.scope, &progress), &written, true);
        let begun = news.into_iter().filter(|(_, checkpoint)| !checkpoint.applied.is_empty());
        self.checkpoints
            .extend(begun.map(|(_, checkpoint)| (checkpoint.first_partition, checkpoint)));
        lane.take_note(progress, &in_doubt);
    }

    /// What may show whether its changes were executed is as they have left it.
    fn look_at_suspects(&self, lane: &mut Lane) {
        for suspected in std::mem::take(&mut lane.planner.suspects) {
            if suspected.evidence.is_some() {
                let key = String::from_utf8_lossy(&suspected.spot.key).into_owned();
                let left: Vec<&String> =
                    self.in_doubt.values().filter_map(|of| of.get(&key)).collect();
                let is_left = left.contains(&&self.keys[&key]);
                assert!(is_left, "{key} was {left:?} and is {:?}", self.keys[&key]);
            }
        }
    }

    fn is_at_the_end(&self, source: &Source) -> bool {
        let is_there = |checkpoint: &Checkpoint| {
            checkpoint.applied[0].position == at(source.offset).at_index(Position::LAST_INDEX)
        };
        self.checkpoints.len() == PARTITIONS && self.checkpoints.values().all(is_there)
    }
}

impl Lane {
    fn of(numbers: Vec<u16>, shared: &Shared) -> Self {
        let scope = Scope { numbers: numbers.into(), ..scope(false) };
        let known = scope.numbers.iter().map(|number| shared.checkpoints.get(number).cloned());
        let known = Checkpoints::from(known.collect::<Vec<_>>());
        let progress = known.progress(&scope, &vec![0; scope.numbers.len()]);
        let rules = Rules::new(&config(), Names::new(&scope), &facts(7, 2));
        let mut planner = Planner::new(rules, &scope, progress.clone(), Vec::new());
        let (judged, read) = (known.judged(), progress.needed);
        let pairs = progress.applied.iter().map(|applied| {
            let judged = judged.iter().find(|judged| judged.line() == applied.line());
            (judged.map(|judged| judged.position).unwrap_or_default(), *applied)
        });
        planner.doubt = Doubt::new(pairs, read.clone());
        let doubt_from = planner.doubt.from().map(<[u64]>::to_vec);
        let executed = planner.progress.clone();
        Self { scope, planner, batch: Batch::new(0), read, judged, executed, doubt_from }
    }

    fn again(&self, shared: &Shared) -> Self {
        Self::of(self.scope.numbers.to_vec(), shared)
    }

    /// Where a later lane has to read from.
    fn stored_from(&self) -> Vec<u64> {
        let in_doubt = self.doubt_from.as_ref().unwrap_or(&self.executed.needed);
        let pairs = self.executed.needed.iter().zip(in_doubt);
        pairs.map(|(executed, in_doubt)| *executed.min(in_doubt)).collect()
    }

    /// Partitions of which everything that was executed is judged, which the next checkpoints tell.
    fn told(&self) -> Vec<u16> {
        let is_judged = |track: usize| {
            let mut applied = self.executed.applied.iter().filter(|point| point.track == track);
            applied.all(|point| self.judged.contains(point))
        };
        let tracks = (0..self.scope.tracks()).filter(|track| is_judged(*track));
        tracks.map(|track| self.scope.numbers[track]).collect()
    }

    /// The replies to a batch are read before the next is sent.
    fn take_note(&mut self, executed: Progress, in_doubt: &[Line]) {
        let is_in_doubt = |point: &Point| in_doubt.contains(&point.line());
        self.judged.retain(is_in_doubt);
        self.judged.extend(executed.applied.iter().filter(|point| !is_in_doubt(point)));
        self.executed = executed;
        if in_doubt.is_empty() {
            self.doubt_from = None;
        }
    }

    /// Plans the next record of a partition, unless its track waits.
    fn plan(&mut self, source: &Source, partition: u16) -> Option<Box<Barrier>> {
        let track = self.scope.index_of(partition).unwrap();
        let next = usize::try_from(self.read[track]).unwrap();
        let record = source.records[usize::from(partition)].get(next)?;
        if self.planner.waits(track) || self.planner.is_early(record).unwrap() {
            return None;
        }
        self.read[track] += 1;
        match self.planner.plan(record.clone(), &mut self.batch).unwrap() {
            Planned::Barrier(barrier) => Some(barrier),
            Planned::Done | Planned::Waits => None,
        }
    }

    fn look(&mut self, shared: &Shared) -> Option<Box<Barrier>> {
        for partition in self.planner.asks_about() {
            assert!(self.scope.index_of(partition).is_none());
            if let Some(checkpoint) = shared.checkpoints.get(&partition) {
                self.planner.hear(partition, checkpoint.clone());
            }
        }
        for track in self.planner.released().unwrap() {
            self.planner.release(track, &mut self.batch);
        }
        self.planner.met().unwrap()
    }

    fn pass(&mut self, barrier: &Barrier, shared: &mut Shared, dies: bool) {
        // Everything before has been executed and judged.
        shared.execute(self, None);
        shared.execute(self, None);
        self.planner.plan_barrier(barrier, true, &mut self.batch).unwrap();
        assert!(self.batch.urgent);
        if dies {
            *self = self.again(shared);
        } else {
            let home = self.scope.numbers[barrier.track];
            shared.execute(self, Some(home));
        }
    }
}

fn lanes(of: &[u8], shared: &Shared) -> Vec<Lane> {
    let numbers = |lane: u8| -> Vec<u16> {
        let numbers = of.iter().zip(0..).filter(|(of, _)| **of == lane);
        numbers.map(|(_, number)| number).collect()
    };
    let lanes = (0..3).map(numbers).filter(|numbers| !numbers.is_empty());
    lanes.map(|numbers| Lane::of(numbers, shared)).collect()
}

fn of_partition(lanes: &mut [Lane], partition: u16) -> &mut Lane {
    let mut lanes = lanes.iter_mut();
    lanes.find(|lane| lane.scope.index_of(partition).is_some()).unwrap()
}

/// Applies the source by these turns, then on to its end. Gives what the destination holds.
fn apply(source: &Source, spread: &[u8], turns: &[Turn]) -> BTreeMap<String, String> {
    let mut shared = Shared::default();
    let mut lanes = lanes(spread, &shared);
    let rounds = 2 * source.records.iter().map(Vec::len).sum::<usize>() + 4;
    let all = || 0..u16::try_from(PARTITIONS).unwrap();
    let round = all().map(Turn::Plan).chain(all().map(Turn::Execute)).chain(all().map(Turn::Look));
    let rest = round.cycle().take(rounds * 3 * PARTITIONS);
    for turn in turns.iter().cloned().chain(rest) {
        let (partition, dies, barrier) = match turn {
            Turn::Plan(partition) | Turn::PlanAndDie(partition) => {
                let dies = matches!(turn, Turn::PlanAndDie(_));
                (partition, dies, of_partition(&mut lanes, partition).plan(source, partition))
            }
            Turn::Look(partition) => {
                (partition, false, of_partition(&mut lanes, partition).look(&shared))
            }
            Turn::Execute(partition) => {
                shared.execute(of_partition(&mut lanes, partition), None);
                continue;
            }
            Turn::Die(partition) => {
                let lane = of_partition(&mut lanes, partition);
                *lane = lane.again(&shared);
                continue;
            }
            Turn::Spread(of) => {
                lanes = self::lanes(&of, &shared);
                continue;
            }
        };
        if let Some(barrier) = barrier {
            of_partition(&mut lanes, partition).pass(&barrier, &mut shared, dies);
        }
    }
    assert!(shared.is_at_the_end(source), "{:?}", shared.checkpoints);
    shared.keys
}

fn spread() -> impl Strategy<Value = Vec<u8>> {
    vec(0..3u8, PARTITIONS)
}

fn turn() -> impl Strategy<Value = Turn> {
    let partition = || 0..u16::try_from(PARTITIONS).unwrap();
    prop_oneof![
        20 => partition().prop_map(Turn::Plan),
        2 => partition().prop_map(Turn::PlanAndDie),
        12 => partition().prop_map(Turn::Execute),
        12 => partition().prop_map(Turn::Look),
        2 => partition().prop_map(Turn::Die),
        1 => spread().prop_map(Turn::Spread),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn however_partitions_are_spread_every_change_is_executed_once_and_in_its_place(
        steps in vec(step(), 0..40),
        spread in spread(),
        turns in vec(turn(), 0..400),
    ) {
        let source = Source::of(&steps);
        prop_assert_eq!(apply(&source, &spread, &turns), source.keys);
    }
}

#[test]
fn keys_of_merged_tracks_stay_suspects_whatever_has_become_of_them_since() {
    let mut steps = vec![Step::Transaction((0..9).collect())];
    steps.extend((0..9).map(Step::Command));
    let source = Source::of(&steps);
    let home = number(Slot::of_key(b"key:0"));
    let all = || 0..u16::try_from(PARTITIONS).unwrap();
    let mut shared = Shared::default();
    let mut lanes: Vec<Lane> = all().map(|number| Lane::of(vec![number], &shared)).collect();
    for round in 0..3 {
        for (partition, lane) in all().zip(&mut lanes) {
            let barrier = match round {
                0 | 1 => lane.plan(&source, partition),
                _ => lane.look(&shared),
            };
            shared.execute(lane, None);
            if let Some(barrier) = barrier {
                lane.pass(&barrier, &mut shared, false);
            }
        }
    }
    // Nobody has read what became of it. Others go on before its home is looked at.
    let mut lane = Lane::of(all().collect(), &shared);
    for partition in all().filter(|of| *of != home) {
        for _ in &source.records[usize::from(partition)] {
            lane.plan(&source, partition);
        }
    }
    shared.execute(&mut lane, None);
    shared.execute(&mut lane, None);
    let of_others = |key: &usize| number(Slot::of_key(format!("key:{key}").as_bytes())) != home;
    let expected: Vec<String> = (0..9).filter(of_others).map(|key| format!("key:{key}")).collect();
    assert!(expected.len() > 1);
    // One of them was set aside for what came after.
    let (later, since) = (Bytes::from(expected[0].clone()), at(source.offset));
    lane.planner.held.hold(0, &later, &format!("0:1:{}:0 why", since.offset).into()).unwrap();
    for _ in &source.records[usize::from(home)] {
        lane.plan(&source, home);
    }
    let unproven = lane.planner.suspects.iter().filter(|of| of.evidence.is_none());
    let unproven: Vec<_> =
        unproven.map(|of| String::from_utf8_lossy(&of.spot.key).into_owned()).collect();
    assert_eq!(unproven, expected);
    shared.execute(&mut lane, None);
}

/// A home that waits for one partition of another lane, and what that lane says.
fn one_is_missing() -> (Shared, Lane) {
    let source = Source::of(&[Step::Transaction((0..9).collect())]);
    let mut shared = Shared::default();
    let mut lane = Lane::of(vec![0, 1, 2], &shared);
    for partition in [0, 0, 1, 1, 2, 2] {
        assert!(lane.plan(&source, partition).is_none());
    }
    assert_eq!(lane.planner.asks_about(), [3]);
    let mut other = Lane::of(vec![3], &shared);
    assert!(other.plan(&source, 3).is_none());
    shared.execute(&mut other, None);
    assert!(lane.look(&shared).is_none(), "it is not there yet");
    (shared, lane)
}

#[test]
fn a_change_that_a_later_snapshot_of_the_stream_has_left_behind_is_passed_over() {
    let (mut shared, mut lane) = one_is_missing();
    let ahead = shared.checkpoints.get_mut(&3).unwrap();
    ahead.applied[0].position = Position::new(Shard(0), 2, 1);
    ahead.begun_at = Some(Position::new(Shard(0), 2, 0));
    let barrier = lane.look(&shared).expect("nobody is waited for");
    assert!(lane.planner.is_superseded(&barrier));
    lane.planner.leave_behind(&barrier, &mut lane.batch);
    lane.batch.close_run();
    assert_eq!(commands(&lane.batch), [""; 0]);
    assert!(!lane.planner.any_waits());
}

#[test]
fn a_change_that_a_snapshot_made_on_demand_has_left_out_takes_one_as_new() {
    for is_under_way in [true, false] {
        let (mut shared, mut lane) = one_is_missing();
        let ahead = shared.checkpoints.get_mut(&3).unwrap();
        let behind = Position::new(Shard(0), 1, 500).at_index(Position::LAST_INDEX);
        ahead.applied[0].position = behind;
        match is_under_way {
            true => {
                let resync = Resync {
                    shard: Shard(0),
                    epoch: 1,
                    sweep: false,
                    sweeping: false,
                    snapshot_id: 7,
                };
                ahead.resyncs = vec![resync];
            }
            false => ahead.begun_at = Some(behind),
        }
        lane.planner.hear(3, ahead.clone());
        assert!(matches!(lane.planner.met(), Err(Error::LeftBehind { .. })));
    }
}

#[test]
fn a_track_does_not_go_on_because_its_home_has_left_the_change_out() {
    let source = Source::of(&[Step::Transaction((0..9).collect())]);
    let mut shared = Shared::default();
    let mut home = Lane::of(vec![0, 1, 2], &shared);
    for partition in [0, 1, 2] {
        assert!(home.plan(&source, partition).is_none());
    }
    shared.execute(&mut home, None);
    let mut lane = Lane::of(vec![3], &shared);
    for _ in 0..2 {
        assert!(lane.plan(&source, 3).is_none());
    }
    let [asked] = lane.planner.asks_about()[..] else { panic!("it waits for its home") };
    let ahead = shared.checkpoints.get_mut(&asked).unwrap();
    let behind = Position::new(Shard(0), 1, 500).at_index(Position::LAST_INDEX);
    (ahead.applied[0].position, ahead.applied[0].judged) = (behind, behind);
    lane.planner.hear(asked, ahead.clone());
    assert_eq!(lane.planner.released().unwrap(), [0], "it has executed it");
    ahead.begun_at = Some(behind);
    lane.planner.hear(asked, ahead.clone());
    assert!(matches!(lane.planner.released(), Err(Error::LeftBehind { .. })));
}
