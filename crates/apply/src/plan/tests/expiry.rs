//! Deadlines that are put off while the lane lags: what cancels them, what takes them along, what settles them.

mod model;
mod random;

use event::image::{Elements, Field, Image, ImageHead, ImagePart, ImageValue};
use event::{Change, Group, GroupedChange, image};

use super::*;
use crate::batch::Judge;
use crate::filter::{CommandName, Filters, Rule};
use crate::mapping::DbMapping;

/// The destination's clock.
const NOW_MS: i64 = 1_800_000_000_000;
const HOLD_MS: i64 = 5_000;
/// How far the records lag, so that they are held back by twenty minutes and five seconds.
const LAG_MS: i64 = 600_000;

fn holding() -> Config {
    let hold_expiry = std::time::Duration::from_millis(HOLD_MS.unsigned_abs());
    Config { hold_expiry, ..config() }
}

/// A planner of records that lag.
fn lagging(config: &Config) -> Planner {
    let mut planner = planner_of(config, &facts(8, 2), true);
    planner.rules.hold_expiry(NOW_MS, NOW_MS - LAG_MS);
    plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    plan(&mut planner, &[end(1)]);
    planner
}

/// A deadline that is put off, and may be settled.
fn soon(seconds: i64) -> i64 {
    NOW_MS + seconds * 1_000
}

/// One command of the source, described as a capture would.
fn step(offset: u64, db: u32, words: &str) -> Event {
    let mut event = event(
        Position::new(Shard(0), 1, offset + 1_000).at_index(Position::LAST_INDEX),
        b"",
        Body::Command(described(words)),
    );
    let Body::Command(command) = &event.body else { unreachable!() };
    event.key = command.args[1].clone();
    (event.db, event.slot) = (db, Slot::of_key(&event.key));
    event
}

fn described(words: &str) -> Command {
    let args: Vec<Bytes> =
        words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let spec = wire::command::lookup(&args).unwrap();
    let found = wire::command::keys::keys(spec, &args).unwrap();
    let index = |index: usize| u32::try_from(index).unwrap();
    let keys = match found.single() {
        Some(1) => KeyArgs::First,
        _ => KeyArgs::Listed {
            written: found.written().map(index).collect(),
            read: found
                .iter()
                .filter(|key| !key.access.writes())
                .map(|key| index(key.index))
                .collect(),
        },
    };
    let effect = match spec.effect {
        wire::command::Effect::Delete => Effect::Delete,
        wire::command::Effect::Expire => Effect::Expire,
        _ if wire::command::is_whole_state(spec, &args) => Effect::Overwrite,
        _ => Effect::Merge,
    };
    Command { args, effect, keys }
}

/// What settles when the lane has caught up right after those commands.
fn settled_after(config: &Config, steps: &[(u32, String)]) -> Vec<String> {
    let mut planner = lagging(config);
    let events: Vec<Event> =
        (0..).zip(steps).map(|(offset, (db, words))| step(offset, *db, words)).collect();
    plan(&mut planner, &events);
    settled(&mut planner)
}

/// What settles when the lane has caught up.
fn settled(planner: &mut Planner) -> Vec<String> {
    assert!(!planner.has_caught_up() || planner.deadlines.is_empty());
    planner.rules.hold_expiry(NOW_MS, NOW_MS);
    let mut late = step(100_000, 9, "SET caught-up 1");
    late.db = 9;
    plan(planner, &[late]);
    assert!(planner.has_caught_up());
    let mut batch = Batch::new(0);
    while !planner.deadlines.is_empty() {
        planner.settle(NOW_MS, 1, &mut batch);
    }
    let mut found = commands(&batch);
    found.retain(|words| !words.starts_with("SELECT"));
    assert_eq!(found.len() as u64, batch.settled);
    found.sort();
    found
}

#[test]
fn a_deadline_that_was_put_off_is_settled_unless_it_is_near() {
    let at = [soon(-5), soon(5), soon(6), soon(1_204), soon(1_205), soon(2_000)];
    let steps: Vec<_> =
        (0..).zip(at).map(|(key, ms): (u32, i64)| (0, format!("SET k{key} v PXAT {ms}"))).collect();
    let expected = [format!("PEXPIREAT k2 {}", at[2]), format!("PEXPIREAT k3 {}", at[3])];
    assert_eq!(settled_after(&holding(), &steps), expected);
    let none =
        settled_after(&Config { hold_expiry: std::time::Duration::ZERO, ..holding() }, &steps);
    assert!(none.is_empty());
}

#[test]
fn what_was_settled_is_extended_as_ever() {
    let config = Config { extend_expiry: std::time::Duration::from_secs(60), ..holding() };
    let steps = [(0, format!("SET a v PXAT {}", soon(100)))];
    assert_eq!(settled_after(&config, &steps), [format!("PEXPIREAT a {}", soon(160))]);
}

#[test]
fn later_changes_update_or_cancel_what_is_put_off() {
    let (t, u) = (soon(100), soon(200));
    let set = format!("SET a v PXAT {t}");
    let (same, later) = (vec![format!("PEXPIREAT a {t}")], vec![format!("PEXPIREAT a {u}")]);
    let none = Vec::new();
    let on = |key: &str, ms: i64| vec![format!("PEXPIREAT {key} {ms}")];
    let cases: Vec<(String, Vec<String>)> = vec![
        ("SET a w".into(), none.clone()),
        ("SET a w KEEPTTL".into(), same.clone()),
        (format!("SET a w PXAT {u}"), later.clone()),
        (format!("SET a w PXAT {}", soon(9_999)), none.clone()),
        (format!("PEXPIREAT a {u}"), later.clone()),
        (format!("PEXPIREAT a {u} GT"), later.clone()),
        (format!("PEXPIREAT a {}", soon(9_999)), none.clone()),
        (format!("PEXPIREAT a {}", soon(1)), none.clone()),
        ("PERSIST a".into(), none.clone()),
        ("DEL a".into(), none.clone()),
        ("UNLINK b a".into(), none.clone()),
        ("APPEND a x".into(), same.clone()),
        ("INCR a".into(), same.clone()),
        ("SETRANGE a 0 x".into(), same.clone()),
        ("MSET b 1 a 2".into(), none.clone()),
        (format!("MSETEX 2 a 1 b 2 PXAT {u}"), [on("a", u), on("b", u)].concat()),
        ("MSETEX 2 a 1 b 2 KEEPTTL".into(), same.clone()),
        ("MSETEX 2 a 1 b 2".into(), none.clone()),
        ("RENAME a b".into(), on("b", t)),
        ("RENAMENX a b".into(), on("b", t)),
        ("RENAME b a".into(), none.clone()),
        ("COPY a b REPLACE".into(), [on("a", t), on("b", t)].concat()),
        ("COPY b a REPLACE".into(), none.clone()),
        ("COPY a a DB 3 REPLACE".into(), [on("a", t), on("a", t)].concat()),
        ("MOVE a 3".into(), on("a", t)),
        ("SUNIONSTORE a b c".into(), none.clone()),
        ("SUNIONSTORE b a c".into(), same.clone()),
        ("LPOP a".into(), none.clone()),
        ("LMOVE a b LEFT LEFT".into(), none.clone()),
        ("SREM a x".into(), none.clone()),
        ("RPUSH a x".into(), same.clone()),
        ("HDEL a f".into(), none.clone()),
        ("XADD a 1-1 f v".into(), same.clone()),
        ("GETDEL a".into(), none.clone()),
        ("SET b 1".into(), same.clone()),
    ];
    for (words, expected) in cases {
        let steps = [(0, set.clone()), (0, words.clone())];
        assert_eq!(settled_after(&holding(), &steps), expected, "{words}");
    }
    let elsewhere = [(0, set.clone()), (3, "DEL a".to_owned())];
    assert_eq!(settled_after(&holding(), &elsewhere), same, "another database");
}

#[test]
fn deadlines_of_fields_are_settled_likewise() {
    let (t, u) = (soon(100), soon(200));
    let set = format!("HSETEX h PXAT {t} FIELDS 2 f 1 g 2");
    let fields = |ms: i64, fields: &str| {
        format!("HPEXPIREAT h {ms} FIELDS {} {fields}", fields.split(' ').count())
    };
    let cases: Vec<(String, Vec<String>)> = vec![
        ("HSET h f 1".into(), vec![fields(t, "g")]),
        ("HINCRBY h f 1".into(), vec![fields(t, "f g")]),
        ("HSET h x 1 g 2".into(), vec![fields(t, "f")]),
        ("HSETNX h x 1".into(), vec![fields(t, "f g")]),
        ("HDEL h f x".into(), vec![fields(t, "g")]),
        ("HPERSIST h FIELDS 1 g".into(), vec![fields(t, "f")]),
        (format!("HPEXPIREAT h {u} FIELDS 1 g"), vec![fields(t, "f"), fields(u, "g")]),
        (format!("HPEXPIREAT h {u} GT FIELDS 1 g"), vec![fields(t, "f"), fields(u, "g")]),
        (format!("HPEXPIREAT h {u} GT FIELDS 3 f g z"), vec![fields(u, "f g")]),
        (format!("HPEXPIREAT h {u} XX FIELDS 2 g z"), vec![fields(t, "f"), fields(u, "g")]),
        (format!("HPEXPIREAT h {u} LT FIELDS 3 f g z"), vec![fields(t, "f g"), fields(u, "z")]),
        (format!("HPEXPIREAT h {u} NX FIELDS 2 f z"), vec![fields(t, "f g"), fields(u, "z")]),
        (format!("HPEXPIREAT h {u} NX FIELDS 3 f y z"), vec![fields(t, "f g")]),
        (format!("HPEXPIREAT h {} FIELDS 1 g", soon(9_999)), vec![fields(t, "f")]),
        ("HSETEX h KEEPTTL FIELDS 1 f 2".into(), vec![fields(t, "f g")]),
        ("HSETEX h FIELDS 1 f 2".into(), vec![fields(t, "g")]),
        ("PERSIST h".into(), vec![fields(t, "f g")]),
        (format!("PEXPIREAT h {u}"), vec![fields(t, "f g"), format!("PEXPIREAT h {u}")]),
        ("RENAME h h2".into(), vec![fields(t, "f g").replace(" h ", " h2 ")]),
        ("DEL h".into(), Vec::new()),
        ("HGETDEL h FIELDS 1 f".into(), Vec::new()),
    ];
    for (words, expected) in cases {
        let mut planner = lagging(&holding());
        plan(&mut planner, &[step(0, 0, &set), step(1, 0, &words)]);
        planner.deadlines.drop_questions();
        planner.rules.hold_expiry(NOW_MS, NOW_MS);
        let mut batch = Batch::new(0);
        planner.settle(NOW_MS, 9, &mut batch);
        let mut found = commands(&batch);
        found.sort();
        assert_eq!(found, expected, "{words}");
    }
}

fn image_of(offset: u64, key: &str, expire_at_ms: Option<i64>) -> Event {
    let head = head(expire_at_ms);
    let value = ImageValue::Text(Bytes::from_static(b"v"));
    event(at(0).at_index(offset), key.as_bytes(), Body::Image(Image { head, value }))
}

fn head(expire_at_ms: Option<i64>) -> ImageHead {
    ImageHead {
        type_byte: 4,
        flavour: image::Flavour::Redis,
        rdb_version: 10,
        expire_at_ms,
        idle_s: None,
        freq: None,
        snapshot_id: 0,
    }
}

#[test]
fn images_of_a_snapshot_are_settled_when_it_is_over() {
    let mut planner = planner_of(&holding(), &facts(8, 2), true);
    planner.rules.hold_expiry(NOW_MS, NOW_MS - LAG_MS);
    let fields = |name: &'static str, expire_at_ms| Field {
        field: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(b"v"),
        expire_at_ms,
    };
    let part = |number: u64, last, fields| {
        let head = head(Some(soon(70)));
        let part = ImagePart { head, number, last, elements: Elements::Fields(fields) };
        event(at(0).at_index(2 + number), b"h", Body::ImagePart(part))
    };
    let events = [
        begin(1, EpochCause::FullResync),
        image_of(1, "a", Some(soon(50))),
        part(0, false, vec![fields("f", Some(soon(60)))]),
        part(1, true, vec![fields("g", None)]),
    ];
    plan(&mut planner, &events);
    planner.rules.hold_expiry(NOW_MS, NOW_MS);
    plan(&mut planner, &[image_of(5, "caught-up", None)]);
    assert!(!planner.has_caught_up(), "the snapshot is under way");
    plan(&mut planner, &[end(1)]);
    assert!(planner.has_caught_up());
    let mut batch = Batch::new(0);
    planner.settle(NOW_MS, 9, &mut batch);
    let mut found = commands(&batch);
    found.sort();
    let expected = [
        format!("HPEXPIREAT h {} FIELDS 1 f", soon(60)),
        format!("PEXPIREAT a {}", soon(50)),
        format!("PEXPIREAT h {}", soon(70)),
    ];
    assert_eq!(found, expected);
}

/// A hash with two fields, one of which expires; once as an image and once as a RESTORE.
fn hashes(expire_at_ms: i64) -> [Event; 2] {
    let field = |name: &'static str, expire_at_ms| wire::rdb::HashField {
        field: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(b"v"),
        expire_at_ms,
    };
    let fields = [field("f", Some(expire_at_ms)), field("g", None)];
    let (kind, raw) = wire::rdb::encode::expiring_hash(&fields, image::Flavour::Redis);
    let payload = wire::rdb::dump::payload(kind.byte(), &raw, 12);
    let head = ImageHead { type_byte: kind.byte(), rdb_version: 12, ..head(None) };
    let image = Image { head, value: ImageValue::Rdb(raw) };
    let mut restore = step(2, 0, "RESTORE r 0 payload REPLACE");
    let Body::Command(command) = &mut restore.body else { unreachable!() };
    command.args[3] = payload;
    [event(at(1_001), b"i", Body::Image(image)), restore]
}

/// When the field of a hash that is restored expires there.
fn restored(words: &Reply) -> Option<i64> {
    let payload = words.as_array()?.get(3)?.as_bytes()?;
    let payload = wire::rdb::dump::parse(payload).unwrap();
    let value = wire::rdb::value::decode(payload.value_type().unwrap(), &payload.raw).unwrap();
    let wire::rdb::value::Value::Hash(fields) = value else { return None };
    assert_eq!(fields.len(), 2);
    fields.iter().find_map(|field| field.expire_at_ms)
}

#[test]
fn fields_of_hashes_that_come_whole_are_put_off_and_settled_too() {
    for (ms, here_ms, settled) in [
        (soon(60), NOW_MS + HOLD_MS + 2 * LAG_MS, true),
        (soon(-60), NOW_MS + HOLD_MS + 2 * LAG_MS, false),
        (soon(9_999), soon(9_999), false),
    ] {
        let mut planner = lagging(&holding());
        let batch = plan(&mut planner, &hashes(ms));
        let mut decoder = ReplyDecoder::new(ReplyLimits::default());
        batch.unsent().for_each(|segment| decoder.feed(segment));
        let mut found = Vec::new();
        while let Some(words) = decoder.next_reply().unwrap() {
            found.extend(restored(&words));
        }
        assert_eq!(found, [here_ms; 2]);
        planner.rules.hold_expiry(NOW_MS, NOW_MS);
        let mut batch = Batch::new(0);
        planner.settle(NOW_MS, 9, &mut batch);
        let mut found = commands(&batch);
        found.sort();
        let expected = ["i", "r"].map(|key| format!("HPEXPIREAT {key} {ms} FIELDS 1 f"));
        assert_eq!(found, if settled { expected.to_vec() } else { Vec::new() });
    }
}

#[test]
fn a_snapshot_that_begins_forgets_what_was_put_off() {
    let mut planner = lagging(&holding());
    plan(&mut planner, &[step(0, 0, &format!("SET a v PXAT {}", soon(9)))]);
    assert_eq!(planner.deadlines.len(), 1);
    plan(&mut planner, &[begin(2, EpochCause::FullResync)]);
    assert!(planner.deadlines.is_empty());
}

#[test]
fn databases_that_are_emptied_or_exchanged_take_deadlines_along() {
    let set = step(0, 0, &format!("SET a v PXAT {}", soon(9)));
    let change =
        |db, change| GroupedChange { db, slot: Slot::of_key(b""), key: Bytes::new(), change };
    let group = |offset: u64, changes| {
        let group =
            Group { changes, partitions: Vec::new(), number: 0, last: true, transaction: true };
        event(at(5_000 + offset), b"", Body::Group(group))
    };
    let swap = Change::SwapDb { first: 0, second: 2 };
    for (db, left) in [(0, 1), (2, 0)] {
        let mut planner = lagging(&holding());
        plan(&mut planner, std::slice::from_ref(&set));
        for changes in
            [vec![change(0, swap.clone())], vec![change(db, Change::Flush { all: false })]]
        {
            let event = group(planner.now().applied[0].position.offset, changes);
            let planned = planner.plan(entry(&event, 0, 7), &mut Batch::new(0)).unwrap();
            let crate::plan::Planned::Barrier(barrier) = planned else { panic!("no barrier") };
            planner.plan_barrier(&barrier, true, &mut Batch::new(0)).unwrap();
        }
        assert_eq!(planner.deadlines.len(), left, "FLUSHDB of {db}");
    }
}

#[test]
fn a_key_that_is_set_aside_is_not_settled() {
    let mut planner = lagging(&holding());
    plan(&mut planner, &[step(0, 0, &format!("SET a v PXAT {}", soon(9)))]);
    let again = step(1, 0, "APPEND a x");
    planner.refused.insert((again.position, 0), (0, "no".into()));
    plan(&mut planner, &[again]);
    assert!(settled(&mut planner).is_empty());
}

#[test]
fn one_shard_that_lags_keeps_all_deadlines_put_off() {
    let mut planner = lagging(&holding());
    planner.progress.advance(0, Position::new(Shard(1), 1, 0));
    let on_shard = |shard, offset| {
        let mut event = step(offset, 0, "SET a v");
        event.position.shard = Shard(shard);
        event
    };
    plan(&mut planner, &[on_shard(1, 1)]);
    planner.rules.hold_expiry(NOW_MS, NOW_MS - 2_500);
    plan(&mut planner, &[on_shard(0, 2)]);
    assert!(!planner.has_caught_up());
    plan(&mut planner, &[on_shard(1, 3)]);
    assert!(planner.has_caught_up());
    planner.rules.hold_expiry(NOW_MS, NOW_MS - 2_501);
    plan(&mut planner, &[on_shard(1, 4)]);
    assert!(!planner.has_caught_up());
}

#[test]
fn the_lag_is_fresh_when_something_is_planned_later() {
    let mut planner = lagging(&holding());
    let written = |planner: &mut Planner, offset| {
        let batch = plan(planner, &[step(offset, 0, "SET a v PXAT 5")]);
        commands(&batch).pop().unwrap()
    };
    let until = |ms: i64| format!("SET a v PXAT {ms}");
    assert_eq!(written(&mut planner, 1), until(NOW_MS + HOLD_MS + 2 * LAG_MS));
    planner.rules.hold_expiry_anew(NOW_MS + 70);
    assert_eq!(written(&mut planner, 2), until(NOW_MS + 70 + HOLD_MS + 2 * LAG_MS));
    planner.rules.hold_expiry(NOW_MS, NOW_MS + 3_000);
    assert_eq!(written(&mut planner, 3), until(NOW_MS + HOLD_MS), "the source's clock is ahead");
}

/// How the commands of a batch that change when something expires are judged.
fn judges(config: &Config) -> Vec<Judge> {
    let mut planner = lagging(config);
    let words =
        ["PEXPIREAT a 9", "PERSIST a", "HPEXPIREAT h 9 FIELDS 1 f", "HPERSIST h FIELDS 1 f"];
    let events: Vec<Event> =
        (0..).zip(words).map(|(offset, words)| step(offset, 0, words)).collect();
    plan(&mut planner, &events).sent().iter().map(|sent| sent.judge).collect()
}

#[test]
fn an_absent_key_says_nothing_where_keys_are_left_out() {
    use Judge::{Data, IsThere, Renews, RenewsFields};
    let of_fields = [IsThere, RenewsFields, IsThere, RenewsFields];
    assert_eq!(judges(&holding()), [&[Renews, Renews, Data][..], &of_fields].concat());
    let commands = Rule { include: Vec::new(), exclude: vec![CommandName("SET".into())] };
    let filters = Filters { commands, ..Filters::default() };
    assert_eq!(judges(&Config { filters, ..holding() }), [Data; 4]);
    let mapping = DbMapping::all_to(0);
    assert_eq!(judges(&Config { mapping, ..holding() }), [Data; 4]);
}
