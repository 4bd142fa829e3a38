//! Somebody else's consumer: a Python program with a stock Kafka client and stock protobuf rebuilds the source from
//! the topic alone, with what fenced writers sent in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Bytes, BytesMut};
use event::{Body, Command, Effect, Event, KeyArgs, Position, Shard, Stamp, codec};
use fastrand::Rng;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use testkit::dataset::Content;
use testkit::kafka::Broker;
use testkit::{Client, Dataset, Kind, Process, Server, Workload, seed};
use wire::slot::Slot;

use crate::apart::{PATIENCE, Stage, stop};

/// The database that the load leaves alone.
const OURS: u32 = 7;
/// Larger than one record.
const LARGE_BYTES: usize = 3_000_000;
/// Elements of the large collections, each of some hundred bytes: several parts.
const ELEMENTS: usize = 5_000;
/// Python puts checksums together byte by byte.
const REBUILDING: Duration = Duration::from_secs(300);

#[test]
fn python_rebuilds_the_source_from_the_topic_alone() -> Result<()> {
    let mut rng = Rng::with_seed(seed());
    let mut stage = Stage::start(Kind::Valkey9_1)?;
    let mut client = stage.source_client()?;
    let mut workload = Workload::new(rng.u64(..), Kind::Valkey9_1);
    workload.run(&mut client, 2_000)?;
    large_values(&mut stage.source_client()?, &mut rng)?;
    let (mut capture, mut apply) = (stage.capture("capture")?, stage.apply()?);
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    workload.run(&mut client, 2_000)?;
    plain_changes(&mut stage.source_client()?)?;
    capture.kill()?;
    workload.run(&mut client, 500)?;
    let mut capture = stage.capture("capture")?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    send_what_does_not_count(&format!("keyferry.{}", stage.stream))?;
    workload.run(&mut client, 500)?;
    stage.caught_up(&mut [&mut capture, &mut apply])?;
    stop(&mut capture)?;
    stop(&mut apply)?;

    let scratch = Server::start(Kind::Valkey9_1, &[])?;
    let told = rebuild(&stage.stream, &scratch)?;
    stage.assert_same_in(&scratch)?;
    assert_told(&Dataset::read(&mut client)?, &told)
}

/// What a snapshot carries in parts.
fn large_values(client: &mut Client, rng: &mut Rng) -> Result<()> {
    client.select(OURS)?;
    client.cmd(&[&b"SET"[..], b"large:string", &b"\x00s".repeat(LARGE_BYTES / 2)])?;
    client.cmd(&["PEXPIREAT", "large:string", "4102444800123"])?;
    for number in 0..ELEMENTS {
        // Nothing that packs well.
        let text: String = (0..100).map(|_| rng.alphanumeric()).collect();
        let number = number.to_string();
        let score = format!("{number}.25");
        let commands = [
            vec!["RPUSH", "large:list", &text],
            vec!["SADD", "large:set", &text],
            vec!["HSET", "large:hash", &number, &text],
            vec!["ZADD", "large:zset", &score, &text],
            vec!["XADD", "large:stream", "*", "field", &text],
        ];
        client.batch(&commands)?;
    }
    client.cmd(&["XGROUP", "CREATE", "large:stream", "group", "0"])?;
    client.cmd(&[
        "XREADGROUP",
        "GROUP",
        "group",
        "alice",
        "COUNT",
        "9",
        "STREAMS",
        "large:stream",
        ">",
    ])?;
    client.cmd(&["SET", "gone", "by a delete"]).map(drop)
}

/// Changes of every way in which a record is more than one command: large, in a transaction over partitions.
fn plain_changes(client: &mut Client) -> Result<()> {
    client.select(OURS)?;
    client.cmd(&[&b"SET"[..], b"streamed", &b"t".repeat(LARGE_BYTES)])?;
    client.cmd(&["MULTI"])?;
    for number in 0..20 {
        client.cmd(&["INCR", &format!("counted:{number}")])?;
        client.cmd(&["SET", &format!("together:{number}"), "set"])?;
    }
    client.cmd(&["EXEC"])?;
    client.cmd(&["APPEND", "large:string", "end"])?;
    client.cmd(&["PERSIST", "large:string"])?;
    client.cmd(&["RPUSH", "large:list", "end"])?;
    client.cmd(&["DEL", "gone"])?;
    client.cmd(&["MSET", "many:1", "a", "many:2", "b", "many:3", "c"]).map(drop)
}

/// Records behind the newest fence that readers have to pass over: of the writer before, and of nobody.
fn send_what_does_not_count(topic: &str) -> Result<()> {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", Broker::shared()?.bootstrap());
    let producer: BaseProducer = settings.create()?;
    for (key, lease) in [("counted:1", Some("1")), ("large:list", Some("1")), ("void", None)] {
        let (partition, payload) = overwriting(key)?;
        let mut headers =
            OwnedHeaders::new().insert(Header { key: "kf-kind", value: Some("command") });
        if let Some(lease) = lease {
            headers = headers.insert(Header { key: "kf-lease", value: Some(lease) });
        }
        let record = BaseRecord::to(topic).key(key).payload(&payload[..]);
        let sent = producer.send(record.partition(i32::from(partition)).headers(headers));
        sent.map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE).map_err(Into::into)
}

/// The partition of four, and an event far ahead of all others, by which a key would be lost.
fn overwriting(key: &'static str) -> Result<(u16, Bytes)> {
    let key = Bytes::from_static(key.as_bytes());
    let slot = Slot::of_key(&key);
    let args = [Bytes::from_static(b"SET"), key.clone(), Bytes::from_static(b"void")];
    let (effect, keys) = (Effect::Overwrite, KeyArgs::First);
    let event = Event {
        position: Position { shard: Shard(0), epoch: u64::MAX, offset: 0, index: 0 },
        stamp: Stamp { time_ms: 1, counter: 0, site: String::new() },
        db: OURS,
        slot,
        key,
        body: Body::Command(Command { args: args.to_vec(), effect, keys }),
        seen: vec![],
    };
    let mut payload = BytesMut::new();
    codec::encode(&event, &mut payload)?;
    Ok((slot.get() / 4096, payload.freeze()))
}

/// Lets Python fill a server, and answers what it printed.
fn rebuild(stream: &str, scratch: &Server) -> Result<Vec<Value>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let script = root.join("tests/python/rebuild.py").display().to_string();
    let protos = root.join("proto").display().to_string();
    let (brokers, topic) = (Broker::shared()?.bootstrap(), format!("keyferry.{stream}"));
    let scratch = scratch.addr().to_string();
    let args = [script.as_str(), &protos, &brokers, &topic, &scratch];
    let mut process = Process::program(&python(&root)?, &args, &[])?;
    let status = process.wait(REBUILDING)?;
    ensure!(status.success(), "rebuild.py: {status}: {}", process.stderr());
    let lines = process.stdout();
    lines.lines().map(|line| serde_json::from_str(line).context("one JSON object a line")).collect()
}

fn python(root: &Path) -> Result<PathBuf> {
    let cache = std::env::var_os("KEYFERRY_CACHE").unwrap_or_else(|| ".cache".into());
    let cache = root.join(cache);
    let python = cache.join("python/bin/python");
    let packages = std::fs::read_to_string(cache.join("python/keyferry-packages"));
    if !packages.is_ok_and(|packages| packages.contains("confluent-kafka")) {
        bail!("{} has no Kafka client: run scripts/python-env", python.display());
    }
    Ok(python)
}

/// Each key that Python knows by itself is what the source has, and it knows all of those that are plain.
fn assert_told(source: &Dataset, told: &[Value]) -> Result<()> {
    let (mut by_type, mut named) = (BTreeMap::new(), BTreeSet::new());
    for line in told {
        let db = line["db"].as_u64().and_then(|db| u32::try_from(db).ok()).context("a db")?;
        let key = unhex(line["key"].as_str().context("a key")?)?;
        let kind = line["type"].as_str().context("a type")?;
        named.insert((db, key.clone()));
        let expires_at_ms = line["expires_at_ms"].as_u64();
        if expires_at_ms.is_some_and(|at| at <= source.read_at_ms) {
            continue;
        }
        let name = String::from_utf8_lossy(&key);
        let entry = source.get(db, &key);
        if kind == "other" {
            let ours = db == OURS && name != "large:stream";
            ensure!(!ours, "Python does not know {name}");
            continue;
        }
        let entry = entry.with_context(|| format!("db {db}: {name} is not at the source"))?;
        if is_counted_unique(&entry.content) {
            continue;
        }
        ensure!(is_told(&entry.content, &line["value"])?, "db {db}: {name} is another {kind}");
        ensure!(entry.expires_at_ms == expires_at_ms, "db {db}: {name} expires {expires_at_ms:?}");
        *by_type.entry(kind).or_insert(0) += 1;
    }
    for (db, keys) in &source.dbs {
        for key in keys.keys().filter(|key| !key.starts_with(b"keyferry:")) {
            ensure!(named.contains(&(*db, key.clone())), "db {db}: {} is not told", hex(key));
        }
    }
    let types = ["hash", "list", "set", "string", "zset"];
    ensure!(by_type.keys().eq(&types), "only some types are told: {by_type:?}");
    Ok(())
}

/// A HyperLogLog keeps what it counted last in itself, which a server that was asked does not tell its replicas.
fn is_counted_unique(content: &Content) -> bool {
    matches!(content, Content::String(text) if text.starts_with(b"HYLL"))
}

fn is_told(content: &Content, value: &Value) -> Result<bool> {
    let shown = match content {
        Content::String(text) => Value::from(hex(text)),
        Content::List(items) => items.iter().map(|item| hex(item)).collect(),
        Content::Set(members) => {
            // Sorted as text: the same order, for digits sort as bytes do.
            members.iter().map(|member| hex(member)).collect()
        }
        Content::Hash(fields) => {
            let pairs = fields.iter().map(|(field, value)| (hex(field), hex(&value.value).into()));
            Value::Object(pairs.collect())
        }
        Content::Zset(members) => {
            return are_scores(members.iter().map(|(m, s)| (m, s.bits)), value);
        }
        _ => bail!("{} is beyond Python's values", content.type_name()),
    };
    Ok(shown == *value)
}

fn are_scores<'a>(
    members: impl Iterator<Item = (&'a Vec<u8>, u64)>,
    value: &Value,
) -> Result<bool> {
    let told = value.as_object().context("scores by member")?;
    let mut count = 0;
    for (member, bits) in members {
        let score: Option<f64> =
            told.get(&hex(member)).and_then(|score| score.as_str()?.parse().ok());
        if score.map(f64::to_bits) != Some(bits) {
            return Ok(false);
        }
        count += 1;
    }
    Ok(count == told.len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair));
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}
