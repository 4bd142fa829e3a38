//! Single cases: order, epochs, filters, quarantine, failures, doubt, old destinations.

use event::control::Heartbeat;
use event::fragment::Fragment;
use event::{Change, Group, GroupedChange};

use super::*;
use crate::batch::Sent;
use crate::config::Unsupported;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::filter::{Filters, KeyPattern, Rule};
use crate::mapping::DbMapping;
use crate::plan::{Aftermath, Failure, Need, Planned};
use crate::quarantine::set::Spot;
use crate::scope::Point;

fn refused(planner: &mut Planner, event: &Event) -> Error {
    planner.plan(entry(event, 0, 0), &mut Batch::new(0)).unwrap_err()
}

fn held(planner: &Planner, key: &'static str) -> bool {
    planner.held.contains(0, &Bytes::from_static(key.as_bytes()))
}

#[test]
fn an_event_that_has_been_applied_is_not_planned_again() {
    let mut planner = begun();
    let set = written(10, "SET a 1", Effect::Overwrite);
    let earlier = written(5, "SET b 1", Effect::Overwrite);
    let batch = plan(&mut planner, &[set.clone(), set, earlier]);
    assert_eq!(commands(&batch), ["SET a 1"]);
    assert_eq!((batch.events, planner.counts.repeated), (1, 2));
}

#[test]
fn a_heartbeat_moves_the_position_and_does_nothing() {
    let mut planner = begun();
    let beat = Heartbeat {
        replication_id: String::new(),
        selected_db: 0,
        source_time_ms: 0,
        capture_time_ms: 0,
        shard_name: String::new(),
        slots: None,
    };
    let position = at(10).at_index(Position::LAST_INDEX);
    let batch =
        plan(&mut planner, &[event(position, b"", Body::Control(Control::Heartbeat(beat)))]);
    assert!(!batch.has_work());
    assert_eq!(planner.now().applied, [Point::from(position)]);
}

#[test]
fn history_is_begun_with_a_snapshot_and_not_in_the_middle() {
    let middle = written(10, "SET a 1", Effect::Overwrite);
    assert!(matches!(refused(&mut planner(), &middle), Error::NoSnapshot { .. }));
    let goes_on = begin(1, EpochCause::Continued);
    assert!(matches!(refused(&mut planner(), &goes_on), Error::NoSnapshot { .. }));
}

#[test]
fn an_epoch_that_has_not_begun_is_a_contradiction() {
    let mut late = written(10, "SET a 1", Effect::Overwrite);
    late.position.epoch = 2;
    assert!(matches!(refused(&mut begun(), &late), Error::Contradiction { .. }));
}

#[test]
fn a_history_that_goes_on_before_what_was_applied_needs_a_resync() {
    let mut planner = begun();
    plan(&mut planner, &[written(100, "SET a 1", Effect::Overwrite)]);
    let mut goes_on = begin(2, EpochCause::Continued);
    if let Body::Control(Control::EpochBegin(begin)) = &mut goes_on.body {
        begin.branch_offset = 99;
    }
    assert!(matches!(refused(&mut planner, &goes_on), Error::ResyncNeeded { .. }));
    if let Body::Control(Control::EpochBegin(begin)) = &mut goes_on.body {
        begin.branch_offset = 100;
    }
    plan(&mut planner, &[goes_on]);
    assert_eq!(planner.progress.applied[0].position.epoch, 2);
}

#[test]
fn only_a_resync_over_data_ends_with_a_sweep() {
    let mut planner = begun();
    let ended = planner.plan(entry(&end(1), 0, 1), &mut Batch::new(0)).unwrap();
    assert!(matches!(ended, Planned::Done) && planner.progress.resyncs.is_empty());
    plan(&mut planner, &[begin(2, EpochCause::FullResync)]);
    let ended = planner.plan(entry(&end(2), 0, 1), &mut Batch::new(0)).unwrap();
    assert!(matches!(ended, Planned::Barrier(barrier) if barrier.need == Need::Sweep));
}

#[test]
fn reading_begins_at_the_snapshot_again_while_its_marks_are_needed() {
    let mut planner = begun();
    let mut batch = Batch::new(0);
    let again = begin(2, EpochCause::FullResync);
    planner.plan(entry(&again, 1, 70), &mut batch).unwrap();
    let from = [1, 70, 0, 0].into_iter().enumerate();
    let from = from.map(|(index, from)| ((index, Shard(0)), from));
    assert_eq!(planner.now().snapshot_from, from.collect());
    // Another process has none of the marks: it reads what it has applied once more.
    let scope = scope(true);
    let other = Planner::new(planner.rules.clone(), &scope, planner.now(), Vec::new());
    assert_eq!(other.progress.needed, [1, 70, 0, 0]);
    assert!(other.marks.iter().all(|marks| marks.rebuilding.contains(&0)));
    assert_eq!(other.marks.len(), 1);
}

#[test]
fn what_the_filters_leave_out_is_not_planned() {
    let prefix = |text| KeyPattern::Prefix(Bytes::from_static(text));
    let keys = Rule { include: vec![prefix(b"u:")], exclude: Vec::new() };
    let filters = Filters { keys, ..Filters::default() };
    let mut planner = planner_of(&Config { filters, ..config() }, &facts(7, 2), true);
    let batch = plan(
        &mut planner,
        &[
            begin(1, EpochCause::FullResync),
            written(1, "SET u:1 v", Effect::Overwrite),
            written(2, "SET s:1 v", Effect::Overwrite),
            listed(3, "MSET u:2 a s:2 b u:3 c", Effect::Overwrite, &[1, 3, 5], &[]),
            listed(4, "DEL s:1 u:1", Effect::Delete, &[1, 2], &[]),
            listed(5, "RENAME u:2 s:9", Effect::Merge, &[1, 2], &[]),
            listed(6, "RENAME s:9 u:4", Effect::Merge, &[1, 2], &[]),
            listed(7, "COPY u:3 s:9 REPLACE", Effect::Overwrite, &[2], &[1]),
        ],
    );
    let expected = ["SET u:1 v", "SET u:2 a", "SET u:3 c", "DEL u:1", "DEL u:2"];
    assert_eq!(commands(&batch), expected);
    assert!(held(&planner, "u:4") && planner.held.len() == 1);
    assert_eq!(batch.letters.len(), 1);
}

#[test]
fn databases_are_mapped_in_the_command_too() {
    let mapping = DbMapping::of([(0, 4), (1, 2)]).unwrap();
    let mut planner = planner_of(&Config { mapping, ..config() }, &facts(7, 2), true);
    let batch = plan(
        &mut planner,
        &[
            begin(1, EpochCause::FullResync),
            listed(1, "COPY a b DB 1 REPLACE", Effect::Overwrite, &[2], &[1]),
            listed(2, "MOVE a 1", Effect::Merge, &[1], &[]),
            written(3, "SET c 1", Effect::Overwrite),
        ],
    );
    let expected = [
        "SELECT 4",
        "COPY a b DB 2 REPLACE",
        "SELECT 2",
        "DEL a",
        "SELECT 4",
        "MOVE a 2",
        "SET c 1",
    ];
    assert_eq!(commands(&batch), expected);
}

#[test]
fn a_held_key_keeps_its_later_changes_until_one_replaces_it() {
    let mut planner = begun();
    planner.held.hold(0, &Bytes::from_static(b"a"), &Bytes::new()).unwrap();
    let batch = plan(
        &mut planner,
        &[
            written(1, "APPEND a x", Effect::Merge),
            listed(2, "SUNIONSTORE b a c", Effect::Overwrite, &[1], &[2, 3]),
            written(3, "SADD b m", Effect::Merge),
            written(4, "SET d 1", Effect::Overwrite),
            listed(5, "SUNIONSTORE b c e", Effect::Overwrite, &[1], &[2, 3]),
            written(6, "SADD b n", Effect::Merge),
            written(7, "DEL a", Effect::Delete),
            written(8, "APPEND a y", Effect::Merge),
        ],
    );
    let expected = ["SET d 1", "SUNIONSTORE b c e", "SADD b n", "DEL a", "APPEND a y"];
    assert_eq!(commands(&batch), expected);
    let letters: Vec<u64> = batch.letters.iter().map(|draft| draft.position.offset).collect();
    assert_eq!(letters, [1, 2, 3]);
    assert!(planner.held.is_empty());
}

#[test]
fn a_refused_change_becomes_a_letter_also_if_it_replaces_its_key() {
    let mut planner = begun();
    planner.refused.insert((at(1), 0), (0, "ERR unknown command".into()));
    let events =
        [written(1, "NEWSET a v", Effect::Overwrite), written(2, "SET b v", Effect::Overwrite)];
    let batch = plan(&mut planner, &events);
    assert_eq!(commands(&batch), ["SET b v"]);
    assert!(held(&planner, "a") && batch.letters[0].why.contains("unknown command"));
}

pub(super) fn failure(batch: &Batch, number: usize, said: Option<&str>) -> Failure {
    let sent: Vec<Sent> = batch.sent().iter().copied().filter(|sent| *sent != Sent::OURS).collect();
    Failure { sent: sent[number], said: said.map(str::to_owned) }
}

#[test]
fn what_was_executed_behind_a_failure_and_needs_it_is_set_aside_with_it() {
    let mut planner = begun();
    let batch = plan(
        &mut planner,
        &[
            written(1, "APPEND a x", Effect::Merge),
            written(2, "SET c 1", Effect::Overwrite),
            listed(3, "COPY a b REPLACE", Effect::Overwrite, &[2], &[1]),
            written(4, "APPEND b y", Effect::Merge),
            written(5, "SET b fresh", Effect::Overwrite),
            written(6, "APPEND b z", Effect::Merge),
            written(7, "APPEND a x", Effect::Merge),
        ],
    );
    let aftermath = planner.aftermath(&batch, &[failure(&batch, 0, Some("WRONGTYPE"))]);
    let found: Vec<(u64, &[u8])> =
        aftermath.drafts.iter().map(|draft| (draft.position.offset, &draft.keys[0][..])).collect();
    assert_eq!(found, [(1, b"a".as_slice()), (3, b"b"), (4, b"b"), (7, b"a")]);
    assert!(aftermath.gone.is_empty());
    assert_eq!(aftermath.right, [Spot { db: 0, key: Bytes::from_static(b"b") }]);
}

/// A group of commands of database 0, flushes and exchanges of databases.
fn transaction(offset: u64, all: &[&str]) -> Event {
    let grouped = |words: &&str| {
        let (key, change) = match words.split(' ').collect::<Vec<_>>()[..] {
            ["FLUSHALL"] => ("", Change::Flush { all: true }),
            ["SWAPDB", first, second] => {
                let (first, second) = (first.parse().unwrap(), second.parse().unwrap());
                ("", Change::SwapDb { first, second })
            }
            [_, key, ..] => (key, Change::Command(command(words, Effect::Merge, KeyArgs::First))),
            _ => panic!("{words}"),
        };
        let key = Bytes::copy_from_slice(key.as_bytes());
        GroupedChange { db: 0, slot: Slot::of_key(&key), key, change }
    };
    let changes: Vec<_> = all.iter().map(grouped).collect();
    let key = changes[0].key.clone();
    let group = Group { changes, partitions: Vec::new(), number: 0, last: true, transaction: true };
    event(at(offset), &key, Body::Group(group))
}

/// Executes a transaction that empties or exchanges databases, of which the first command fails.
fn aftermath_of(words: &[&str]) -> Aftermath {
    let mut planner = begun();
    let mut batch = Batch::new(0);
    let planned = planner.plan(entry(&transaction(1, words), 0, 1), &mut batch).unwrap();
    let Planned::Barrier(barrier) = planned else { panic!("no barrier") };
    planner.plan_barrier(&barrier, true, &mut batch).unwrap();
    planner.aftermath(&batch, &[failure(&batch, 0, Some("WRONGTYPE"))])
}

#[test]
fn what_was_executed_behind_a_flush_does_not_suffer_from_a_failure_before_it() {
    let bad = Spot { db: 0, key: Bytes::from_static(b"bad") };
    let found = aftermath_of(&["RPUSH bad x", "RPUSH bad w", "FLUSHALL", "RPUSH bad y"]);
    let set_aside: Vec<u32> = found.drafts.iter().map(|draft| draft.change).collect();
    assert_eq!(set_aside, [0, 1]);
    assert_eq!((found.right, found.moved), (vec![bad], Vec::new()));
}

#[test]
fn a_failure_goes_along_when_databases_are_exchanged() {
    let words = ["RPUSH bad x", "SWAPDB 0 1", "RPUSH bad y", "SWAPDB 1 0", "RPUSH bad z"];
    let found = aftermath_of(&words);
    let set_aside: Vec<u32> = found.drafts.iter().map(|draft| draft.change).collect();
    assert_eq!(set_aside, [0, 4]);
    assert!(found.right.is_empty() && found.moved.is_empty());
    let found = aftermath_of(&words[..3]);
    let moved: Vec<(u32, &[u8])> =
        found.moved.iter().map(|(spot, _)| (spot.db, &spot.key[..])).collect();
    assert_eq!(moved, [(1, b"bad".as_slice())]);
    assert_eq!((found.drafts.len(), found.right.len()), (1, 1));
}

#[test]
fn a_key_that_got_nothing_goes_unless_something_came_after() {
    let mut planner = begun();
    let rename =
        |offset, to: &str| listed(offset, &format!("RENAME x {to}"), Effect::Merge, &[1, 2], &[]);
    let batch = plan(
        &mut planner,
        &[
            rename(1, "gone"),
            rename(2, "replaced"),
            written(3, "SET replaced v", Effect::Overwrite),
            rename(4, "changed"),
            written(5, "APPEND changed v", Effect::Merge),
        ],
    );
    let failures = [failure(&batch, 0, None), failure(&batch, 1, None), failure(&batch, 3, None)];
    let aftermath = planner.aftermath(&batch, &failures);
    let spot = |key: &'static [u8]| Spot { db: 0, key: Bytes::from_static(key) };
    assert_eq!(aftermath.gone, [spot(b"gone")]);
    let set_aside: Vec<u64> = aftermath.drafts.iter().map(|draft| draft.position.offset).collect();
    assert_eq!(set_aside, [4, 5]);
}

#[test]
fn after_a_crash_whole_states_are_applied_again_and_the_rest_is_suspect() {
    let mut planner = begun();
    let events = [
        written(1, "SET before 1", Effect::Overwrite),
        written(2, "SET a 1", Effect::Overwrite),
        written(3, "SET b 1", Effect::Overwrite),
        written(4, "INCR b", Effect::Merge),
        listed(5, "MSET c 1 d 1", Effect::Overwrite, &[1, 3], &[]),
        written(6, "DEL e", Effect::Delete),
    ];
    plan(&mut planner, &events);
    // As it would be after a start from a checkpoint that says: judged 1, applied 6.
    planner.doubt = Doubt::new([(at(1), at(6).into())], vec![0; 4]);
    let next = written(7, "SET f 1", Effect::Overwrite);
    let batch = plan(&mut planner, &[&events[..], &[next]].concat());
    assert_eq!(commands(&batch), ["SET a 1", "DEL e", "SET f 1"]);
    let mut suspects: Vec<_> = planner.suspects.iter().map(|it| it.spot.key.clone()).collect();
    suspects.sort();
    assert_eq!(suspects, ["b", "c", "d"]);
}

#[test]
fn an_old_destination_gets_words_that_it_knows() {
    let cases = [
        ((6, 0), "SET a v PXAT 99", "SET a v|PEXPIREAT a 99"),
        ((6, 2), "SET a v PXAT 99", "SET a v PXAT 99"),
        ((6, 2), "PEXPIREAT a 99 NX", "PEXPIREAT a 99"),
        ((7, 0), "PEXPIREAT a 99 NX", "PEXPIREAT a 99"),
        ((7, 0), "PERSIST a", "PEXPIREAT a 4102444800000|PERSIST a"),
        ((3, 2), "UNLINK a", "DEL a"),
        ((6, 2), "XSETID a 1-1 ENTRIESADDED 3 MAXDELETEDID 0-1", "XSETID a 1-1"),
        ((7, 4), "HSETEX a PXAT 99 FIELDS 1 f v", "HSET a f v|HPEXPIREAT a 99 FIELDS 1 f"),
        ((7, 4), "HSETEX a KEEPTTL FIELDS 1 PXAT v", "HSET a PXAT v"),
        ((8, 2), "XADD a IDMP p i 1-1 f v", "XADD a 1-1 f v"),
        ((8, 6), "XADD a IDMP p i 1-1 f v", "XADD a IDMP p i 1-1 f v"),
        ((7, 0), "HPERSIST a FIELDS 1 f", ""),
        ((8, 4), "XCFGSET a IDMP-DURATION 5", ""),
        ((8, 0), "XADD a KEEPREF MAXLEN = 1 1-1 f v", "XADD a MAXLEN = 1 1-1 f v"),
        ((8, 0), "XTRIM a MINID 5 KEEPREF", "XTRIM a MINID 5"),
        ((8, 0), "XDELEX a IDS 2 1-1 2-1", "XDEL a 1-1 2-1"),
        ((8, 2), "XACKDEL a g KEEPREF IDS 1 1-1", "XACKDEL a g KEEPREF IDS 1 1-1"),
        ((6, 0), "SET a v KEEPTTL", "SET a v KEEPTTL"),
        ((6, 0), "LPOP a 2", "LTRIM a 2 -1"),
        ((6, 0), "RPOP a 2", "LTRIM a 0 -3"),
        ((6, 0), "RPOP a", "RPOP a"),
        (
            (6, 0),
            "georadiusbymember a m 5 km STOREDIST b",
            "DEL b|georadiusbymember a m 5 km STOREDIST b",
        ),
        ((6, 0), "GEORADIUS a 1 2 5 km STORE a", "GEORADIUS a 1 2 5 km STORE a"),
        ((7, 0), "GEORADIUS a 1 2 5 km STORE b", "GEORADIUS a 1 2 5 km STORE b"),
        (
            (6, 0),
            "GEOSEARCHSTORE b a FROMMEMBER m BYRADIUS 5 km",
            "DEL b|GEORADIUSBYMEMBER a m 5 km STORE b",
        ),
        ((6, 0), "XADD a NOMKSTREAM MAXLEN = 5 1-1 f v", "XADD a MAXLEN = 5 1-1 f v"),
        (
            (6, 0),
            "XGROUP CREATECONSUMER a g c",
            "XREADGROUP GROUP g c STREAMS a 18446744073709551615-18446744073709551614",
        ),
    ];
    for ((major, minor), words, expected) in cases {
        let mut planner = planner_of(&config(), &facts(major, minor), true);
        let batch = plan(
            &mut planner,
            &[begin(1, EpochCause::FullResync), written(1, words, Effect::Merge)],
        );
        assert_eq!(commands(&batch).join("|"), expected, "{words} for {major}.{minor}");
    }
    let mut planner = planner_of(&config(), &facts(7, 2), true);
    let words = "HPEXPIREAT a 99 FIELDS 1 f";
    let events = [begin(1, EpochCause::FullResync), written(1, words, Effect::Expire)];
    let batch = plan(&mut planner, &events);
    assert!(commands(&batch).is_empty() && held(&planner, "a"));
}

#[test]
fn stops_before_what_cannot_be_held_where_that_is_asked_for() {
    let config = Config { unsupported: Unsupported::Fail, ..config() };
    let mut planner = planner_of(&config, &facts(7, 2), true);
    let before = written(1, "SET b 1", Effect::Overwrite);
    plan(&mut planner, &[begin(1, EpochCause::FullResync), before]);
    let said = "the destination cannot hold a of database 0";
    for (words, effect) in
        [("HPEXPIREAT a 99 FIELDS 1 f", Effect::Expire), ("VADD a VALUES 1 1 e", Effect::Merge)]
    {
        let error = refused(&mut planner, &written(2, words, effect));
        assert!(error.to_string().starts_with(said), "{error}");
        assert!(matches!(error, Error::CannotHold { .. }) && !held(&planner, "a"), "{error}");
    }
}

#[test]
fn leaves_out_what_cannot_be_held_and_what_needs_it_where_that_is_asked_for() {
    let config = Config { unsupported: Unsupported::Drop, ..config() };
    let mut planner = planner_of(&config, &facts(7, 2), true);
    let events = [
        begin(1, EpochCause::FullResync),
        written(1, "HPEXPIREAT a 99 FIELDS 1 f", Effect::Expire),
        written(2, "HSET a f w", Effect::Merge),
        listed(3, "COPY a b", Effect::Overwrite, &[2], &[1]),
        written(4, "SADD c m", Effect::Merge),
        written(5, "VADD c VALUES 1 1 e", Effect::Merge),
    ];
    let batch = plan(&mut planner, &events);
    assert_eq!(commands(&batch), ["SADD c m"]);
    assert!(batch.letters.is_empty() && ["a", "b", "c"].iter().all(|key| held(&planner, key)));
    let [fields, vectors] = ["it knows no expiry of hash fields", "it knows no vector sets"];
    assert_eq!(batch.left_out, [fields, fields, fields, vectors]);
    // What is in quarantine as well stays in order there.
    planner.held.hold(0, &Bytes::from("q"), &Bytes::from("0:1:1:0 a test")).unwrap();
    let both =
        plan(&mut planner, &[listed(6, "SUNIONSTORE d a q", Effect::Overwrite, &[1], &[2, 3])]);
    assert_eq!((both.letters.len(), both.left_out.len()), (1, 0));
    let whole = plan(&mut planner, &[written(7, "SET a 1", Effect::Overwrite)]);
    assert_eq!(commands(&whole), ["SET a 1"]);
    assert!(!held(&planner, "a"));
}

#[test]
fn several_keys_set_at_once_are_set_one_by_one_where_that_is_all_there_is() {
    let mut planner = planner_of(&config(), &facts(7, 2), true);
    let words = "MSETEX 2 a 1 b 2 PXAT 99";
    let events =
        [begin(1, EpochCause::FullResync), listed(1, words, Effect::Overwrite, &[2, 4], &[])];
    let batch = plan(&mut planner, &events);
    assert_eq!(commands(&batch), ["SET a 1 PXAT 99", "SET b 2 PXAT 99"]);
}

#[test]
fn a_source_never_writes_our_own_keys() {
    let own = event::names::checkpoint(Slot::new(0).unwrap(), "shop");
    let mut planner = begun();
    let batch = plan(
        &mut planner,
        &[
            written(1, &format!("SET {own} forged"), Effect::Overwrite),
            listed(2, &format!("RENAME {own} x"), Effect::Merge, &[1, 2], &[]),
        ],
    );
    assert!(commands(&batch).is_empty());
    assert_eq!(planner.counts.own, 2);
}

#[test]
fn a_change_above_what_fragments_may_hold_is_refused_by_its_size() {
    let first = |total_bytes: u64| {
        let data = Bytes::from_static(b"data");
        let fragment =
            Fragment { number: 0, count: 2, total_bytes, crc32c: 0, data, snapshot_id: 0 };
        event(at(1), b"", Body::Fragment(fragment))
    };
    plan(&mut begun(), &[first(600_000_000)]);
    let error = refused(&mut begun(), &first(crate::limits::EVENT_BYTES as u64 + 1));
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(runtime::Classified::class(&error), runtime::Class::Operator);
}
