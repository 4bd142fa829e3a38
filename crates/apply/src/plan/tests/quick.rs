//! The short way and the long way: what they plan is the same.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

use super::{Event, Planner, at, begin, commands, config, entry, facts, planner_of, written};
use crate::batch::{Batch, Sent};
use crate::config::Config;
use crate::filter::{CommandName, Filters, KeyPattern, Rule};
use crate::mapping::DbMapping;
use crate::names::Names;
use crate::scope::Point;
use event::control::EpochCause;
use event::image::{Flavour, Image, ImageHead, ImageValue};
use event::{Body, Effect, Position, Shard};

const COMMANDS: [(&str, Effect); 14] = [
    ("SET {} v", Effect::Overwrite),
    ("set {} w", Effect::Overwrite),
    ("SET {} v PXAT 4102444800000", Effect::Overwrite),
    ("SET {} v KEEPTTL", Effect::Overwrite),
    ("INCR {}", Effect::Merge),
    ("APPEND {} x", Effect::Merge),
    ("HSET {} f v g w", Effect::Merge),
    ("HSET {} 1 1 2 2 3 3 4 4 5 5", Effect::Merge),
    ("PEXPIREAT {} 4102444800000", Effect::Expire),
    ("DEL {}", Effect::Delete),
    ("UNLINK {}", Effect::Delete),
    ("MOVE {} 1", Effect::Merge),
    ("EVAL {} 0", Effect::Merge),
    ("LEFT {} out", Effect::Merge),
];

/// What a planner plans: commands, whose they are, and what it has counted.
type Planned = (Vec<String>, Vec<Sent>, Vec<Point>, super::super::Counts);

fn planner() -> Planner {
    let filters = Filters {
        keys: Rule {
            include: vec![],
            exclude: vec![KeyPattern::Prefix(Bytes::from_static(b"not:"))],
        },
        commands: Rule { include: vec![], exclude: vec![CommandName("LEFT".into())] },
        ..Filters::default()
    };
    let mapping = DbMapping::of([(0, 4), (1, 2)]).unwrap();
    let mut planner = planner_of(&Config { filters, mapping, ..config() }, &facts(7, 2), true);
    super::plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    planner
}

fn planned(events: &[Event], quick: bool) -> Result<Planned, String> {
    let mut planner = planner();
    if !quick {
        // Beside the stream's own: enough that nothing goes the short way.
        planner.held.hold(15, &Bytes::from_static(b"else"), &Bytes::from_static(b"why")).unwrap();
    }
    let mut batch = Batch::new(0);
    for (offset, event) in (0..).zip(events) {
        let entry = entry(event, 0, offset);
        planner.plan(entry, &mut batch).map_err(|error| error.to_string())?;
    }
    batch.close_run();
    Ok((commands(&batch), batch.sent().to_vec(), planner.progress.applied, planner.counts))
}

/// A string of a snapshot; without a deadline, or with one.
fn image(offset: u64, key: &str, plain: bool) -> Event {
    let head = ImageHead {
        type_byte: 0,
        flavour: Flavour::Redis,
        rdb_version: 10,
        expire_at_ms: (!plain).then_some(4_102_444_800_000),
        idle_s: None,
        freq: None,
        snapshot_id: 0,
    };
    let value = ImageValue::Text(Bytes::from_static(b"text"));
    super::event(at(offset), key.as_bytes(), Body::Image(Image { head, value }))
}

fn event() -> impl Strategy<Value = Event> {
    let own =
        String::from_utf8(Names::new(&super::scope(true)).tracks()[0].checkpoint.to_vec()).unwrap();
    let keys = ["a", "b", "not:a"].map(str::to_owned).into_iter().chain([own]);
    let key = prop::sample::select(keys.collect::<Vec<_>>());
    (0..COMMANDS.len() + 2, key, 0..20u32, 1..9u64, any::<bool>()).prop_map(
        |(which, key, db, step, other)| {
            let event = match COMMANDS.get(which) {
                Some((words, effect)) => written(step, &words.replace("{}", &key), *effect),
                None => image(step, &key, which == COMMANDS.len()),
            };
            let shard = Shard(u32::from(other && step == 8));
            Event { db, position: Position { shard, ..event.position }, ..event }
        },
    )
}

proptest! {
    #[test]
    fn the_short_way_plans_what_the_long_way_does(mut events in vec(event(), 1..30)) {
        let mut offset = 0;
        for event in &mut events {
            // Steps of 1 repeat a place: it has been applied.
            offset += event.position.offset - 1;
            event.position.offset = offset;
        }
        prop_assert_eq!(planned(&events, true), planned(&events, false));
    }
}

#[test]
fn a_plain_command_goes_the_short_way_unless_something_is_in_its_way() {
    let went = |planner: &mut Planner, event: &Event| {
        planner.quick(&entry(event, 0, 0).payload, &mut Batch::new(0))
    };
    let set = written(1, "SET a v", Effect::Overwrite);
    assert!(went(&mut planner(), &set) && went(&mut planner(), &image(1, "a", true)));
    let mut repeated = planner();
    assert!(went(&mut repeated, &set) && !went(&mut repeated, &set));
    let later = Event { position: Position { epoch: 2, ..at(9) }, ..set.clone() };
    assert!(!went(&mut planner(), &later), "its epoch has not begun");
    let large = written(1, &format!("SET a {}", "x".repeat(70_000)), Effect::Overwrite);
    assert!(!went(&mut planner(), &large), "it is sent without a copy");
    let mut refusing = planner();
    refusing.refused.insert((at(1), 0), (0, "why".into()));
    assert!(!went(&mut refusing, &set));
}
