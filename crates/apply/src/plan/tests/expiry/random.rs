//! Deadlines as a property: whatever the source does, and whatever batches are lost on the way, a lane that has caught up
//! leaves every deadline as the source has it, or later where it may not be known; never one that the source has not.

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Key, Server};
use super::*;

const KEYS: u8 = 2;
const DBS: u32 = 2;

/// A command of a source, as numbers: which, on which keys and databases, for how many seconds.
type Step = (u8, u8, u8, u32, u32, i64);

/// A command with a string or a list, or with a hash: those keys are apart, as their types are.
fn words((which, one, other, _, other_db, seconds): Step, stamp_ms: i64) -> String {
    let ms = stamp_ms + seconds * 1_000;
    let (text, list, hash) = (format!("t{one}"), format!("l{one}"), format!("h{one}"));
    let field = format!("f{other}");
    let (any, to) = match which % 3 {
        0 => (text.clone(), format!("t{other}")),
        1 => (list.clone(), format!("l{other}")),
        _ => (hash.clone(), format!("h{other}")),
    };
    match which / 3 {
        0 => format!("SET {text} v PXAT {ms}"),
        1 => format!("SET {text} v"),
        2 => format!("SET {text} v KEEPTTL"),
        3 | 4 => format!("PEXPIREAT {any} {ms}"),
        5 => format!("PERSIST {any}"),
        6 => format!("DEL {any}"),
        7 => format!("RENAME {any} {to}"),
        8 => format!("COPY {any} {to} DB {other_db} REPLACE"),
        9 => format!("MOVE {any} {other_db}"),
        10 => format!("RPUSH {list} x"),
        11 => format!("LPOP {list}"),
        12 => format!("APPEND {text} x"),
        13 => format!("HSETEX {hash} PXAT {ms} FIELDS 1 {field} v"),
        14 => format!("HSET {hash} {field} v"),
        15 => format!("HDEL {hash} {field}"),
        16 => format!("HPEXPIREAT {hash} {ms} FIELDS 1 {field}"),
        17 => format!("HPERSIST {hash} FIELDS 1 {field}"),
        18 => format!("HINCRBY {hash} {field} 1"),
        _ => format!("SUNIONSTORE {text} s1 s2"),
    }
}

/// A source, and the bridge to a destination, all in memory.
struct World {
    source: Server,
    destination: Server,
    planner: Planner,
    /// The destination's clock.
    now_ms: i64,
    offset: u64,
}

impl World {
    fn new() -> Self {
        Self {
            source: Server::default(),
            destination: Server::default(),
            planner: lagging(&holding()),
            now_ms: NOW_MS,
            offset: 0,
        }
    }

    /// What the source sends for a step at its time: first, what has expired goes.
    fn source_does(&mut self, step: Step, stamp_ms: i64, sent: &mut Vec<Event>) {
        let mut gone: Vec<(u32, String)> = Vec::new();
        for ((db, name), key) in &self.source.keys {
            if key.deadline.is_some_and(|ms| ms <= stamp_ms) {
                gone.push((*db, format!("DEL {name}")));
                continue;
            }
            let fields = key.parts.iter().filter(|(_, ms)| ms.is_some_and(|ms| ms <= stamp_ms));
            gone.extend(fields.map(|(field, _)| (*db, format!("HDEL {name} {field}"))));
        }
        for (db, words) in gone.into_iter().chain([(step.3, words(step, stamp_ms))]) {
            self.source.run(&format!("SELECT {db}"));
            if self.source.run(&words) {
                self.offset += 1;
                sent.push(super::step(self.offset, db, &words));
            }
        }
    }

    /// Plans events that were written at `stamp_ms`, and executes them; if they are lost before, a little later.
    fn bridge(&mut self, events: &[Event], stamp_ms: i64, lost: bool) {
        let progress = self.planner.progress.clone();
        self.planner.rules.hold_expiry(self.now_ms, stamp_ms);
        let batch = plan(&mut self.planner, events);
        let changes = self.planner.deadlines.take_changes();
        if lost {
            self.planner.deadlines.undo(changes);
            self.planner.rewind(progress);
            self.now_ms += 1_000;
            return self.bridge(events, stamp_ms, false);
        }
        self.execute(&batch);
    }

    fn execute(&mut self, batch: &Batch) {
        self.destination.run("SELECT 0");
        for words in commands(batch) {
            self.destination.run(&words);
        }
    }

    fn settle(&mut self) {
        assert!(self.planner.has_caught_up());
        while !self.planner.deadlines.is_empty() {
            let mut batch = Batch::new(0);
            self.planner.settle(self.now_ms, 2, &mut batch);
            self.execute(&batch);
        }
    }
}

/// Whether a deadline of the destination will do for one of the source.
fn fits(source: Option<i64>, destination: Option<i64>, (now_ms, lossy): (i64, bool)) -> bool {
    match (source, destination) {
        (None, None) => true,
        (Some(true_ms), Some(ms)) => {
            ms == true_ms || (ms > true_ms && (lossy || true_ms <= now_ms + HOLD_MS))
        }
        _ => false,
    }
}

fn assert_fits(source: &Server, destination: &Server, now_ms: i64) {
    let names = |server: &Server| server.keys.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(source), names(destination));
    for (name, key) in &source.keys {
        let Key { deadline, parts, lossy } = key;
        let found = &destination.keys[name];
        let shown = format!("{name:?}: {key:?} became {found:?} at {now_ms}");
        assert!(fits(*deadline, found.deadline, (now_ms, *lossy)), "{shown}");
        assert_eq!(parts.len(), found.parts.len(), "{shown}");
        for (field, ms) in parts {
            assert!(fits(*ms, found.parts[field], (now_ms, false)), "{field} of {shown}");
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(Step, bool)>> {
    let step = (0u8..60, 0..KEYS, 0..KEYS, 0..DBS, 0..DBS, 1i64..2_000);
    vec((step, prop::bool::weighted(0.2)), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_lane_that_has_caught_up_leaves_the_deadlines_of_the_source(steps in steps(), busy in 0i64..60) {
        let mut world = World::new();
        let mut stamp_ms = NOW_MS - LAG_MS;
        let mut sent = Vec::new();
        for (number, (step, lost)) in steps.iter().enumerate() {
            stamp_ms += busy * 100;
            world.source_does(*step, stamp_ms, &mut sent);
            if number % 3 == 2 {
                world.bridge(&sent, stamp_ms, *lost);
                sent.clear();
            }
        }
        let end = step(90_000, 5, "SET caught-up 1");
        world.source.run("SELECT 5");
        world.source.run("SET caught-up 1");
        world.bridge(&sent, stamp_ms, false);
        world.bridge(&[end], world.now_ms, false);
        world.settle();
        assert_fits(&world.source, &world.destination, world.now_ms);
    }
}
