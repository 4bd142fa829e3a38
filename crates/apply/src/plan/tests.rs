//! Planning without a server: what events become, and that every change is planned once whatever is lost in between.

mod apart;
mod beside;
mod between;
mod cases;
mod doubt;
mod expiry;
mod functions;
mod late;
mod meet;
mod named;
mod once;
mod quick;
mod refused;
mod scripts;
mod shards;

use bytes::{Bytes, BytesMut};
use event::control::{Control, EpochBegin, EpochCause, SnapshotEnd};
use event::{Body, Command, Effect, Event, KeyArgs, Position, Shard, Stamp};
use journal::{Entry, Offset, Partition};
use redis_io::facts::{Flavour, Version};
use redis_io::{Endpoint, ServerFacts};
use wire::resp::reply::{Reply, ReplyDecoder, ReplyLimits};
use wire::slot::Slot;

use super::{AppliedFunctions, Planner, Rules};
use crate::batch::Batch;
use crate::config::Config;
use crate::doubt::Where;
use crate::names::Names;
use crate::progress::Progress;
use crate::scope::Scope;

/// A destination without a limit of expiry, so that deadlines stay what they are.
fn config() -> Config {
    let endpoint = Endpoint::parse("redis://nowhere").unwrap();
    Config { hold_expiry: std::time::Duration::ZERO, ..Config::new(endpoint) }
}

fn facts(major: u32, minor: u32) -> ServerFacts {
    ServerFacts {
        flavour: Some(Flavour::Redis),
        version: Some(Version::new(major, minor, 0)),
        databases: Some(16),
        ..ServerFacts::default()
    }
}

fn scope(one_order: bool) -> Scope {
    let (stream, numbers) = ("shop".into(), [0, 1, 2, 3].into());
    Scope { stream, incarnation: 1, numbers, partitions: 4, one_order }
}

fn planner_of(config: &Config, facts: &ServerFacts, one_order: bool) -> Planner {
    let scope = scope(one_order);
    let progress = Progress::from(vec![0; 4]);
    Planner::new(Rules::new(config, Names::new(&scope), facts), &scope, progress, Vec::new())
}

fn planner() -> Planner {
    planner_of(&config(), &facts(7, 2), true)
}

/// A planner that has passed the beginning of epoch 1.
fn begun() -> Planner {
    let mut planner = planner();
    plan(&mut planner, &[begin(1, EpochCause::FullResync)]);
    planner
}

/// In the only track, which has the functions.
fn here(rules: &Rules) -> Where<'_> {
    let functions = AppliedFunctions::All;
    Where { track: 0, lane_index: 0, rules, functions, forgets_functions: false }
}

fn at(offset: u64) -> Position {
    Position::new(Shard(0), 1, offset)
}

fn event(position: Position, key: &[u8], body: Body) -> Event {
    Event {
        position,
        stamp: Stamp::default(),
        db: 0,
        slot: Slot::of_key(key),
        key: Bytes::copy_from_slice(key),
        body,
        seen: Vec::new(),
    }
}

fn begin(epoch: u64, cause: EpochCause) -> Event {
    let begin = EpochBegin {
        cause,
        shard_name: String::new(),
        replication_id: String::new(),
        branch_offset: 0,
        server: String::new(),
        slots: None,
    };
    let position = Position::new(Shard(0), epoch, 0);
    event(position, b"", Body::Control(Control::EpochBegin(begin)))
}

fn end(epoch: u64) -> Event {
    let end = SnapshotEnd { snapshot_id: 0, keys: 0, keys_total: 0 };
    let position = Position::new(Shard(0), epoch, 0).at_index(u64::MAX - 1);
    event(position, b"", Body::Control(Control::SnapshotEnd(end)))
}

/// A command with one key, or with those that are listed.
fn command(words: &str, effect: Effect, keys: KeyArgs) -> Command {
    let args = words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Command { args, effect, keys }
}

fn written(offset: u64, words: &str, effect: Effect) -> Event {
    let command = command(words, effect, KeyArgs::First);
    let key = command.args[1].clone();
    event(at(offset), &key, Body::Command(command))
}

fn listed(offset: u64, words: &str, effect: Effect, written: &[u32], read: &[u32]) -> Event {
    let keys = KeyArgs::Listed { written: written.to_vec(), read: read.to_vec() };
    let command = command(words, effect, keys);
    let key = command.args[1].clone();
    event(at(offset), &key, Body::Command(command))
}

fn entry(event: &Event, partition: u16, offset: u64) -> Entry {
    let mut payload = BytesMut::new();
    event::codec::encode(event, &mut payload).unwrap();
    let (partition, offset) = (Partition(partition), Offset(offset));
    Entry { partition, offset, timestamp_ms: 0, payload: payload.freeze() }
}

/// Plans events into one batch, which must work, and gives it.
fn plan(planner: &mut Planner, events: &[Event]) -> Batch {
    let mut batch = Batch::new(0);
    for (offset, event) in (0..).zip(events) {
        planner.plan(entry(event, 0, offset), &mut batch).unwrap();
    }
    batch.close_run();
    batch
}

/// The commands of a batch after MULTI, words separated by blanks, each key that is set by itself.
fn commands(batch: &Batch) -> Vec<String> {
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    batch.unsent().for_each(|segment| decoder.feed(segment));
    let mut found = Vec::new();
    while let Some(reply) = decoder.next_reply().unwrap() {
        let words = reply.as_array().unwrap().iter().filter_map(Reply::as_bytes);
        let words: Vec<_> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if words.first().is_some_and(|name| name == "MSET") {
            found.extend(words[1..].chunks(2).map(|pair| format!("SET {}", pair.join(" "))));
        } else {
            found.push(words.join(" "));
        }
    }
    assert_eq!(found.remove(0), "MULTI");
    found
}
