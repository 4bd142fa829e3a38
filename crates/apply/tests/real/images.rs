//! Snapshots: whole values of every type and encoding, and large ones in parts.

use anyhow::{Context, Result};
use bytes::Bytes;
use event::image::{
    Elements, Field, Flavour, Image, ImageHead, ImagePart, ImageValue, StreamConsumer, StreamEntry,
    StreamGroup, StreamId, StreamMeta, StreamPart, StreamPending,
};
use testkit::{Client, Kind, Server};
use wire::rdb::dump;

use crate::feed::head;
use crate::harness::Bench;

const LATER_MS: i64 = 4_102_444_800_000;

/// Fills a server with values of every type and size class.
fn fill(client: &mut Client, kind: Kind) -> Result<()> {
    let many: Vec<String> = (0..600).map(|number| format!("element:{number}")).collect();
    let long = "x".repeat(300);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut commands = vec![
        words("SET string value"),
        words("SET number 12345"),
        words("SET deadline v"),
        words("PEXPIREAT deadline 4102444800000"),
        words("RPUSH small-list a b c"),
        words("SADD int-set 1 2 3"),
        words("SADD small-set a b c"),
        words("HMSET small-hash f v g w"),
        words("ZADD small-zset 1 a 2.5 b inf c"),
        words("PFADD hll a b c"),
        words("PEXPIREAT small-hash 4102444800000"),
    ];
    let big =
        |name: &str, key: &str| [vec![name.to_owned(), key.to_owned()], many.clone()].concat();
    commands.push(big("RPUSH", "big-list"));
    commands.push(big("SADD", "big-set"));
    commands.push([words("RPUSH long-list"), vec![long.clone()]].concat());
    let pairs: Vec<String> = many.iter().flat_map(|m| [m.clone(), long.clone()]).collect();
    commands.push([words("HMSET big-hash"), pairs].concat());
    let scored: Vec<String> =
        many.iter().enumerate().flat_map(|(score, m)| [score.to_string(), m.clone()]).collect();
    commands.push([words("ZADD big-zset"), scored].concat());
    if kind.has_streams() {
        commands.push(words("XADD stream 1-1 f v"));
        commands.push(words("XADD stream 2-1 f v g w"));
        commands.push(words("XGROUP CREATE stream grp 0"));
        commands.push(words("XREADGROUP GROUP grp consumer COUNT 1 STREAMS stream >"));
    }
    if kind.has_field_expiry() {
        commands.push(words("HSET field-ttl f v g w"));
        commands.push(words("HPEXPIREAT field-ttl 4102444800000 FIELDS 1 f"));
    }
    for command in commands {
        client.cmd(&command)?;
    }
    Ok(())
}

/// The image of a key as DUMP shows it.
fn image_of(client: &mut Client, kind: Kind, key: &str) -> Result<Image> {
    let expire = client.cmd(&["PTTL", key])?.int()?;
    let expire_at_ms = (expire > 0).then_some(LATER_MS);
    let payload = dump::parse(&Bytes::from(client.cmd(&["DUMP", key])?.bytes()?))?;
    let flavour = if kind.is_valkey() { Flavour::Valkey } else { Flavour::Redis };
    if payload.kind == 0 {
        let text = Bytes::from(client.cmd(&["GET", key])?.bytes()?);
        let head = ImageHead { expire_at_ms, flavour, ..head(0) };
        return Ok(Image { head, value: ImageValue::Text(text) });
    }
    let head = ImageHead { expire_at_ms, flavour, idle_s: Some(7), ..head(payload.kind) };
    Ok(Image { head, value: ImageValue::Rdb(payload.raw) })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_every_server_arrives_at_every_other() -> Result<()> {
    for from in [Kind::OLD.as_slice(), &Kind::ALL].concat() {
        let source = Server::start(from, &[])?;
        let mut source_client = source.client()?;
        fill(&mut source_client, from)?;
        for to in [&[Kind::Redis5_0], Kind::ALL.as_slice()].concat() {
            let mut bench = Bench::new(to).await?;
            bench.feed.snapshot().await?;
            let mut names = source_client.cmd(&["KEYS", "*"])?.array()?;
            names.sort_by_key(|name| format!("{name:?}"));
            for name in names {
                let name = name.text()?;
                if name == "field-ttl" && !to.has_field_expiry() {
                    continue;
                }
                let image = image_of(&mut source_client, from, &name)?;
                bench.feed.image(name.as_bytes(), image).await?;
            }
            bench.feed.end_snapshot().await?;
            let service = bench.start().await?;
            bench.caught_up()?;
            service.shows("dead_letters", "0")?;
            service.stop().await.with_context(|| format!("{from} to {to}"))?;
            if !to.has_field_expiry() && from.has_field_expiry() {
                continue;
            }
            let expected = testkit::Dataset::read(&mut source_client)?;
            let found = testkit::Dataset::read(&mut bench.client)?;
            testkit::assert_same(&expected, &found, &testkit::Tolerance::native(from, to));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_destination_cannot_hold_is_set_aside() -> Result<()> {
    let source = Server::start(Kind::Redis8_2, &[])?;
    let mut client = source.client()?;
    client.cmd(&["HSET", "h", "f", "v"])?;
    client.cmd(&["HPEXPIREAT", "h", "4102444800000", "FIELDS", "1", "f"])?;
    let mut bench = Bench::new(Kind::Redis6_2).await?;
    bench.feed.snapshot().await?;
    let image = image_of(&mut client, Kind::Redis8_2, "h")?;
    bench.feed.image(b"h", image).await?;
    bench.feed.text("other", "v").await?;
    bench.feed.end_snapshot().await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("dead_letters", "1")?;
    assert_eq!(bench.get("other")?.as_deref(), Some("v"));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_has_expired_leaves_no_key() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let past = ImageHead { expire_at_ms: Some(1_000), ..head(0) };
        let text = ImageValue::Text(Bytes::from_static(b"v"));
        bench.feed.command("SET gone before").await?;
        bench.feed.image(b"gone", Image { head: past.clone(), value: text }).await?;
        let set = ImageValue::Rdb(Bytes::from_static(b"\x01\x01a"));
        bench
            .feed
            .image(b"gone-set", Image { head: ImageHead { type_byte: 2, ..past }, value: set })
            .await?;
        bench.feed.command("SET here v").await?;
        let mut config = bench.config();
        config.hold_expiry = std::time::Duration::ZERO;
        let service = bench.start_with(config).await?;
        bench.caught_up()?;
        assert_eq!(bench.get("gone")?, None, "{kind} {:?}", bench.client.cmd(&["PTTL", "gone"]));
        assert_eq!(bench.client.cmd(&["EXISTS", "gone-set"])?.int()?, 0);
        service.shows("dead_letters", "0")?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_put_off_where_that_is_asked_for() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis8_2).await?;
    let commands = [
        "SET a v PXAT 4102444800000",
        "SET b v",
        "PEXPIREAT b 4102444800000",
        "HSETEX h PXAT 4102444800000 FIELDS 1 f v",
        "HSET g f v",
        "HPEXPIREAT g 4102444800000 FIELDS 1 f",
    ];
    bench.feed.commands(&commands).await?;
    let expire_at_ms = Some(LATER_MS);
    let text = ImageValue::Text(Bytes::from_static(b"v"));
    let image = Image { head: ImageHead { expire_at_ms, ..head(0) }, value: text };
    bench.feed.image(b"c", image).await?;
    let mut config = bench.config();
    config.extend_expiry = std::time::Duration::from_secs(60);
    let service = bench.start_with(config).await?;
    bench.feed.command("SET end 1").await?;
    bench.caught_up()?;
    for key in ["a", "b", "c"] {
        assert_eq!(bench.client.cmd(&["PEXPIRETIME", key])?.int()?, LATER_MS + 60_000, "{key}");
    }
    for key in ["h", "g"] {
        let found = bench.client.cmd(&["HPEXPIRETIME", key, "FIELDS", "1", "f"])?.array()?;
        assert_eq!(found[0].int()?, LATER_MS + 60_000, "{key}");
    }
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_finds_the_key_that_it_renews() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let past = ImageHead { expire_at_ms: Some(1_000), ..head(0) };
    let image = Image { head: past, value: ImageValue::Text(Bytes::from_static(b"1")) };
    bench.feed.image(b"image", image).await?;
    bench.feed.commands(&["SET set 1 PXAT 1000", "SET kept 1", "PEXPIREAT kept 1000"]).await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    bench.feed.commands(&["INCR image", "INCR set", "INCR kept", "PERSIST kept"]).await?;
    bench.feed.command("DEL set").await?;
    bench.caught_up()?;
    assert_eq!(bench.get("image")?.as_deref(), Some("2"));
    assert_eq!(bench.get("set")?, None, "the source's own delete removes it");
    assert_eq!(bench.get("kept")?.as_deref(), Some("2"));
    assert_eq!(bench.client.cmd(&["PTTL", "kept"])?.int()?, -1);
    assert!(bench.client.cmd(&["PTTL", "image"])?.int()? > 0, "it still expires");
    service.stop().await?;
    Ok(())
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Parts of one value; the last is marked.
async fn parts(bench: &mut Bench, key: &str, head: ImageHead, all: Vec<Elements>) -> Result<()> {
    let count = all.len();
    for (number, elements) in all.into_iter().enumerate() {
        let last = number + 1 == count;
        let part = ImagePart { head: head.clone(), number: number as u64, last, elements };
        bench.feed.part(key.as_bytes(), part).await?;
    }
    Ok(())
}

fn stream_parts() -> Vec<Elements> {
    let id = |ms, seq| StreamId { ms, seq };
    let entry = |ms| StreamEntry { id: id(ms, 1), content: vec![text("f"), text("v")] };
    let meta = StreamMeta {
        length: 4,
        last_id: id(9, 9),
        first_id: id(1, 1),
        max_deleted_id: id(8, 1),
        entries_added: 7,
    };
    let consumer = |name| StreamConsumer { name: text(name), seen_ms: 5, active_ms: 5 };
    let pending =
        |ms, consumer| StreamPending { id: id(ms, 1), consumer, delivered_ms: 100, deliveries: 3 };
    let group = |pending| StreamGroup {
        name: text("grp"),
        last_delivered: id(3, 1),
        entries_read: Some(3),
        pending,
        consumers: vec![consumer("one"), consumer("two")],
    };
    let stream = |entries, meta, groups| Elements::Stream(StreamPart { entries, meta, groups });
    vec![
        stream(vec![entry(1), entry(2)], None, Vec::new()),
        stream(vec![entry(3), entry(4)], Some(meta), vec![group(vec![pending(1, 0)])]),
        stream(Vec::new(), None, vec![group(vec![pending(2, 1), pending(3, 1)])]),
    ]
}

async fn every_large_value(bench: &mut Bench, kind: Kind) -> Result<()> {
    let items = |range: std::ops::Range<u32>| {
        Elements::Items(range.map(|number| text(&format!("item:{number}"))).collect())
    };
    let scores = |range: std::ops::Range<u32>| {
        let member = |number: u32| (text(&format!("m:{number}")), f64::from(number) / 3.0);
        Elements::Scores(range.map(member).collect())
    };
    let fields = |range: std::ops::Range<u32>| {
        let expiry =
            |number: u32| (kind.has_field_expiry() && number.is_multiple_of(2)).then_some(LATER_MS);
        let field = |number: u32| Field {
            field: text(&format!("f:{number}")),
            value: text("v"),
            expire_at_ms: expiry(number),
        };
        Elements::Fields(range.map(field).collect())
    };
    let expiring = ImageHead { expire_at_ms: Some(LATER_MS), ..head(18) };
    parts(bench, "list", expiring, vec![items(0..700), items(700..900)]).await?;
    parts(bench, "set", head(2), vec![items(0..700), items(700..900)]).await?;
    parts(bench, "zset", head(5), vec![scores(0..700), scores(700..900)]).await?;
    parts(bench, "hash", head(4), vec![fields(0..700), fields(700..900)]).await?;
    let pieces = vec![Elements::Text(text("abc")), Elements::Text(text("def"))];
    parts(bench, "text", head(0), pieces).await?;
    parts(bench, "stream", head(21), stream_parts()).await?;
    let meta = StreamMeta { last_id: StreamId { ms: 5, seq: 5 }, ..StreamMeta::default() };
    let empty = StreamPart { meta: Some(meta), ..StreamPart::default() };
    parts(bench, "empty-stream", head(21), vec![Elements::Stream(empty)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_of_every_type_are_put_together_and_appear_at_once() -> Result<()> {
    for kind in [&[Kind::Redis5_0], Kind::ALL.as_slice()].concat() {
        let mut bench = Bench::new(kind).await?;
        bench.feed.snapshot().await?;
        every_large_value(&mut bench, kind).await?;
        bench.feed.end_snapshot().await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.shows("dead_letters", "0")?;
        service.stop().await?;
        let client = &mut bench.client;
        assert_eq!(client.cmd(&["LLEN", "list"])?.int()?, 900);
        assert_eq!(client.cmd(&["LINDEX", "list", "899"])?.text()?, "item:899");
        assert!(client.cmd(&["PTTL", "list"])?.int()? > 0);
        assert_eq!(client.cmd(&["SCARD", "set"])?.int()?, 900);
        assert_eq!(client.cmd(&["ZSCORE", "zset", "m:10"])?.text()?.parse::<f64>()?, 10.0 / 3.0);
        assert_eq!(client.cmd(&["HLEN", "hash"])?.int()?, 900);
        assert_eq!(client.cmd(&["GET", "text"])?.text()?, "abcdef");
        let pending = client.cmd(&["XPENDING", "stream", "grp", "-", "+", "10"])?.array()?;
        assert_eq!(pending.len(), 3, "{kind}");
        let pending = client.cmd(&["XPENDING", "stream", "grp", "-", "+", "10", "two"])?.array()?;
        assert_eq!(pending.len(), 2, "{kind}");
        assert_eq!(client.cmd(&["XLEN", "stream"])?.int()?, 4);
        assert!(client.cmd(&["XADD", "stream", "9-9", "f", "v"]).is_err());
        assert_eq!(client.cmd(&["XLEN", "empty-stream"])?.int()?, 0);
        assert_eq!(client.cmd(&["KEYS", "*stage*"])?.array()?.len(), 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_put_together_over_restarts() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.snapshot().await?;
    let items = |number: u64| Elements::Items(vec![text(&number.to_string())]);
    for number in 0..6 {
        let part = ImagePart { head: head(18), number, last: number == 5, elements: items(number) };
        bench.feed.part(b"list", part).await?;
        let service = bench.start().await?;
        bench.reached(event::Position::new(event::Shard(0), 1, 0).at_index(2 + number))?;
        service.stop().await?;
        let there = bench.client.cmd(&["EXISTS", "list"])?.int()?;
        assert_eq!(there == 1, number == 5, "a part of the value is visible");
    }
    let found = bench.client.cmd(&["LRANGE", "list", "0", "-1"])?.array()?;
    let found: Vec<_> = found.into_iter().map(testkit::Value::text).collect::<Result<_>>()?;
    assert_eq!(found, ["0", "1", "2", "3", "4", "5"]);
    Ok(())
}

/// What only newer servers say, each with what it needs before.
const NEWER_WORDS: &[&str] = &[
    "SET ttl v PXAT 4102444800000",
    "SET ttl w KEEPTTL",
    "SET forever v",
    "SET forever w KEEPTTL",
    "SET made w KEEPTTL",
    "RPUSH l a b c d e f g h",
    "LPOP l 2",
    "RPOP l 1",
    "LMOVE l m LEFT RIGHT",
    "LMOVE l m RIGHT LEFT",
    "LMOVE l m RIGHT RIGHT",
    "LMOVE l l LEFT RIGHT",
    "RPUSH emptied a b",
    "RPOP emptied 5",
    "COPY l l2 REPLACE",
    "COPY ttl l2 REPLACE",
    "COPY l l3 DB 3 REPLACE",
    "ZADD z 1 a 2 b -inf c inf d",
    "ZADD z GT 5 a 1 b 0.1 e 9 c",
    "ZADD z LT CH XX 3 a 4 f 7 d",
    "ZADD y 1 a 1 c",
    "SADD s b",
    "ZDIFFSTORE d1 2 z y",
    "ZDIFFSTORE d2 3 z y s",
    "ZDIFFSTORE d3 2 s y",
    "SET d4 v",
    "ZDIFFSTORE d4 2 y z",
    "ZADD self 1 a 2 b 3 c",
    "ZDIFFSTORE self 2 self y",
    "ZRANGESTORE r1 z 0 1",
    "ZRANGESTORE r2 z 10 (2 BYSCORE REV LIMIT 0 1",
    "ZRANGESTORE r3 z 1 3 BYSCORE",
    "ZADD lex 0 a 0 b 0 c",
    "ZRANGESTORE r4 lex [a (c BYLEX",
    "ZRANGESTORE r5 lex + - BYLEX REV LIMIT 1 1",
    "ZRANGESTORE r6 z 0 0 REV",
    "ZRANGESTORE lex lex 1 1",
    "ZADD g 3479076843417631 p 3479446654650844 c",
    "GEOSEARCHSTORE g1 g FROMMEMBER p BYRADIUS 300 km STOREDIST",
    "GEOSEARCHSTORE g2 g FROMLONLAT 15 37 BYRADIUS 500 km ASC COUNT 1",
    "XADD x 1-1 f v",
    "XADD x 2-1 f v",
    "XADD x NOMKSTREAM 3-1 f v",
    "XADD x MINID = 2-1 5-1 f v",
    "XADD x 6-1 f v",
    "XADD x KEEPREF MAXLEN = 4 7-1 f v",
    "XADD x 8-1 f v",
    "XADD x 9-1 f v",
    "XTRIM x MINID = 5",
    "XGROUP CREATE x grp 0 ENTRIESREAD 2",
    "XGROUP CREATECONSUMER x grp idle",
    "XCLAIM x grp c 0 5-1 TIME 5000 RETRYCOUNT 3 FORCE JUSTID LASTID 9-1",
    "XCLAIM x grp c 0 6-1 TIME 5000 RETRYCOUNT 3 FORCE JUSTID LASTID 9-1",
    "XCLAIM x grp c 0 8-1 TIME 5000 RETRYCOUNT 3 FORCE JUSTID LASTID 9-1",
    "XGROUP CREATECONSUMER x grp other",
    "XDELEX x KEEPREF IDS 1 7-1",
    "XDELEX x DELREF IDS 1 5-1",
    "XACKDEL x grp DELREF IDS 2 6-1 9-1",
    "XADD w 1-1 f v",
    "XADD w 2-1 f v",
    "XADD w 3-1 f v",
    "XADD w 4-1 f v",
    "XADD w 5-1 f v",
    "XADD w 6-1 f v",
    "XADD w 7-1 f v",
    "XADD w 8-1 f v",
    "XADD w 9-1 f v",
    "XADD w 10-1 f v",
    "XGROUP CREATE w one 9-1 ENTRIESREAD 9",
    "XGROUP CREATE w two 8-1 ENTRIESREAD 8",
    "XCLAIM w one c 0 2-1 TIME 5000 RETRYCOUNT 1 FORCE JUSTID LASTID 9-1",
    "XCLAIM w one c 0 4-1 TIME 5000 RETRYCOUNT 1 FORCE JUSTID LASTID 9-1",
    "XCLAIM w two c 0 4-1 TIME 5000 RETRYCOUNT 1 FORCE JUSTID LASTID 8-1",
    "XCLAIM w two c 0 7-1 TIME 5000 RETRYCOUNT 1 FORCE JUSTID LASTID 8-1",
    "XTRIM w MAXLEN 9 ACKED",
    "XADD w MAXLEN 8 ACKED 11-1 f v",
    "XTRIM w MINID 6 ACKED",
    "XDELEX w ACKED IDS 3 6-1 7-1 9-1",
    "XACKDEL w two ACKED IDS 2 4-1 7-1",
    "XTRIM w MAXLEN = 5 DELREF",
    "XADD w MINID 5 DELREF 12-1 f v",
    "XACKDEL w one KEEPREF IDS 2 4-1 8-1",
    "XSETID x 9-9 ENTRIESADDED 9 MAXDELETEDID 7-1",
    "HSET h f v",
    "HSETEX h KEEPTTL FIELDS 1 f w",
    "PEXPIREAT h 4102444800000 NX",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_only_newer_servers_say_means_the_same_at_every_older_one() -> Result<()> {
    let reference = Server::start(Kind::Redis8_2, &[])?;
    let mut expected = reference.client()?;
    for line in NEWER_WORDS {
        expected.cmd(&line.split(' ').collect::<Vec<_>>()).with_context(|| (*line).to_owned())?;
    }
    let expected = testkit::Dataset::read(&mut expected)?;
    for kind in [Kind::Redis5_0, Kind::Redis6_2, Kind::Redis7_0, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        bench.feed.commands(NEWER_WORDS).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        service.shows("dead_letters", "0").with_context(|| format!("{kind}"))?;
        service.stop().await?;
        let found = testkit::Dataset::read(&mut bench.client)?;
        testkit::assert_same(&expected, &found, &testkit::Tolerance::native(Kind::Redis8_2, kind));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_the_source_arrives_in_the_destinations_version() -> Result<()> {
    let source = Server::start(Kind::Redis8_2, &[])?;
    let mut client = source.client()?;
    client.cmd(&["RPUSH", "l", "a", "b"])?;
    client.cmd(&["XADD", "x", "1-1", "f", "v"])?;
    let mut bench = Bench::streaming(Kind::Redis6_2).await?;
    for key in ["l", "x"] {
        let payload = client.cmd(&["DUMP", key])?.bytes()?;
        bench
            .feed
            .args(&[b"RESTORE", key.as_bytes(), b"4102444800000", &payload, b"REPLACE", b"ABSTTL"])
            .await?;
    }
    let service = bench.start().await?;
    bench.caught_up()?;
    service.shows("dead_letters", "0")?;
    assert_eq!(bench.client.cmd(&["LLEN", "l"])?.int()?, 2);
    assert_eq!(bench.client.cmd(&["XLEN", "x"])?.int()?, 1);
    assert!(bench.client.cmd(&["PTTL", "x"])?.int()? > 0);
    service.stop().await?;
    Ok(())
}
