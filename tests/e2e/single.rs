//! The main road: snapshot, stream, stop and start.

use anyhow::Result;
use testkit::Kind;

use crate::bridge::{Pair, stop};

fn copies_and_follows(source: Kind, destination: Kind) -> Result<()> {
    let mut pair = Pair::start(source, destination)?;
    let mut client = pair.source_client()?;
    for number in 0..1000 {
        client.cmd(&["SET", &format!("key:{number}"), &format!("value {number}")])?;
    }
    client.cmd(&["RPUSH", "list", "a", "b", "c"])?;
    client.cmd(&["HSET", "hash", "field", "value"])?;
    client.cmd(&["ZADD", "zset", "1.5", "one", "-inf", "two"])?;
    client.cmd(&["SADD", "set", "1", "2", "3"])?;
    client.cmd(&["XADD", "stream", "1-1", "a", "b"])?;
    client.cmd(&["EXPIRE", "list", "1000"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    client.cmd(&["INCR", "counter"])?;
    client.cmd(&["DEL", "key:1", "key:2"])?;
    client.cmd(&["LPUSH", "list", "0"])?;
    client.cmd(&["SELECT", "3"])?;
    client.cmd(&["SET", "elsewhere", "x", "EX", "1000"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn copies_and_follows_redis_7_0() -> Result<()> {
    copies_and_follows(Kind::Redis7_0, Kind::Redis7_0)
}

#[test]
fn copies_and_follows_valkey_9_1() -> Result<()> {
    copies_and_follows(Kind::Valkey9_1, Kind::Valkey9_1)
}

#[test]
fn copies_and_follows_from_redis_6_2_to_8_2() -> Result<()> {
    copies_and_follows(Kind::Redis6_2, Kind::Redis8_2)
}

#[test]
fn goes_on_after_a_stop_without_a_full_sync() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "counter", "0"])?;
    for _ in 0..3 {
        let mut bridge = pair.run(&[])?;
        for _ in 0..50 {
            client.cmd(&["INCR", "counter"])?;
        }
        pair.caught_up(&mut bridge)?;
        stop(&mut bridge)?;
        for _ in 0..50 {
            client.cmd(&["INCR", "counter"])?;
        }
    }
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    assert_eq!(client.info_field("stats", "sync_full")?.as_deref(), Some("1"));
    stop(&mut bridge)
}
