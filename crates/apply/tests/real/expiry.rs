//! Deadlines while a lane lags and after it has caught up, and keys that were gone when the source renewed them.

use anyhow::{Context, Result};
use bytes::Bytes;
use event::image::{Image, ImageHead, ImageValue};
use testkit::{Kind, Server, Value, eventually};

use crate::feed::head;
use crate::harness::{Bench, LIMIT, Service};

/// How far records lag: what expires within two minutes is put off.
const LAG_MS: i64 = 60_000;

/// When something expires at the source that has so long to live.
fn in_seconds(seconds: i64) -> Result<i64> {
    Ok(i64::try_from(testkit::now_ms())? + seconds * 1_000)
}

fn deadline(bench: &mut Bench, key: &str) -> Result<i64> {
    // Servers before 7.0 do not tell the moment.
    if bench.server.kind() != Kind::Redis6_2 {
        return bench.client.cmd(&["PEXPIRETIME", key])?.int();
    }
    let script = "local t = redis.call('TIME'); \
                  return t[1] * 1000 + math.floor(t[2] / 1000) + redis.call('PTTL', KEYS[1])";
    bench.client.cmd(&["EVAL", script, "1", key])?.int()
}

/// Waits until a key is to expire at that moment.
fn expires_at(bench: &mut Bench, key: &str, ms: i64) -> Result<()> {
    eventually(LIMIT, format!("{key} expires at {ms}"), || {
        // The old server's answer is put together from two clocks.
        let slack = if bench.server.kind() == Kind::Redis6_2 { 2 } else { 0 };
        let found = deadline(bench, key)?;
        Ok((found.abs_diff(ms) <= slack).then_some(()))
    })
    .with_context(|| format!("{key} expires at {:?}", deadline(bench, key)))
}

async fn catch_up(bench: &mut Bench) -> Result<()> {
    bench.feed.lag_ms = 0;
    bench.feed.heartbeat().await?;
    bench.feed.command("SET caught-up 1").await?;
    bench.caught_up()
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_that_were_put_off_are_settled_to_the_millisecond() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let service = bench.start().await?;
        bench.feed.lag_ms = LAG_MS;
        let (soon, later, near) = (in_seconds(60)?, in_seconds(90)?, in_seconds(3)?);
        let commands = [
            format!("SET set v PXAT {soon}"),
            "RPUSH list a".to_owned(),
            format!("PEXPIREAT list {later}"),
            format!("SET renamed v PXAT {soon}"),
            "RENAME renamed new".to_owned(),
            format!("SET kept v PXAT {soon}"),
            "PERSIST kept".to_owned(),
            format!("SET near v PXAT {near}"),
        ];
        bench.feed.commands(&commands).await?;
        bench.caught_up()?;
        service.shows("expiry_held", "3")?;
        for key in ["set", "list", "new", "near"] {
            assert!(deadline(&mut bench, key)? > in_seconds(100)?, "{key} at {kind}");
        }
        catch_up(&mut bench).await?;
        for (key, ms) in [("set", soon), ("list", later), ("new", soon)] {
            expires_at(&mut bench, key, ms)?;
        }
        assert_eq!(bench.client.cmd(&["PTTL", "kept"])?.int()?, -1);
        assert!(deadline(&mut bench, "near")? > in_seconds(90)?, "left to the source's delete");
        service.shows("expiry_held", "0")?;
        service.shows("expiry_settled", "3")?;
        service.shows("late_renewals", "0")?;
        bench.feed.command("DEL near").await?;
        bench.caught_up()?;
        assert_eq!(bench.get("near")?, None);
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_of_fields_are_settled_too() -> Result<()> {
    for kind in [Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let service = bench.start().await?;
        bench.feed.lag_ms = LAG_MS;
        let soon = in_seconds(60)?;
        let commands = [
            format!("HSETEX h PXAT {soon} FIELDS 2 a 1 b 2"),
            "HSET h b 3".to_owned(),
            "HSET h c 4".to_owned(),
            format!("HPEXPIREAT h {} FIELDS 1 c", soon + 7),
        ];
        bench.feed.commands(&commands).await?;
        catch_up(&mut bench).await?;
        service.shows("expiry_settled", "2")?;
        let times = bench.client.cmd(&["HPEXPIRETIME", "h", "FIELDS", "3", "a", "b", "c"])?;
        let times: Vec<i64> = times.array()?.iter().map(Value::int).collect::<Result<_>>()?;
        assert_eq!(times, [soon, -1, soon + 7], "{kind}");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_a_long_snapshot_get_their_deadlines_when_it_is_over() -> Result<()> {
    let mut bench = Bench::new(Kind::Redis7_0).await?;
    bench.feed.lag_ms = LAG_MS;
    bench.feed.snapshot().await?;
    let soon = in_seconds(60)?;
    for number in 0..1_000 {
        let head = ImageHead { expire_at_ms: Some(soon + number), ..head(0) };
        let value = ImageValue::Text(Bytes::from_static(b"v"));
        bench.feed.image(format!("key:{number}").as_bytes(), Image { head, value }).await?;
    }
    let service = bench.start().await?;
    service.shows("expiry_held", "1000")?;
    bench.feed.end_snapshot().await?;
    catch_up(&mut bench).await?;
    service.shows("expiry_settled", "1000")?;
    for number in [0, 499, 999] {
        assert_eq!(deadline(&mut bench, &format!("key:{number}"))?, soon + number);
    }
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_settled_over_connections_that_are_killed() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let service = bench.start().await?;
    let mut killer = bench.server.client()?;
    let soon = in_seconds(60)?;
    bench.feed.lag_ms = LAG_MS;
    for number in 0..2_000 {
        bench.feed.command(&format!("SET key:{number} v PXAT {}", soon + number)).await?;
        if number % 500 == 0 {
            killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
        }
    }
    bench.client = bench.server.client()?;
    bench.caught_up()?;
    killer.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    bench.client = bench.server.client()?;
    catch_up(&mut bench).await?;
    for number in 0..2_000 {
        expires_at(&mut bench, &format!("key:{number}"), soon + number)?;
    }
    service.shows("expiry_held", "0")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_life_the_source_prolonged_meanwhile_survives() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    bench.feed.lag_ms = LAG_MS;
    // At the source it would have expired long ago, had it not been renewed in time.
    let commands = [
        format!("SET session 1 PXAT {}", in_seconds(-50)?),
        "INCR session".to_owned(),
        format!("PEXPIREAT session {}", in_seconds(-30)?),
        "INCR session".to_owned(),
        format!("PEXPIREAT session {}", in_seconds(600)?),
        "INCR session".to_owned(),
    ];
    bench.feed.commands(&commands).await?;
    let service = bench.start().await?;
    catch_up(&mut bench).await?;
    assert_eq!(bench.get("session")?.as_deref(), Some("4"));
    service.shows("late_renewals", "0")?;
    service.shows("dead_letters", "0")?;
    service.stop().await?;
    Ok(())
}

/// The keys that are set aside, each with why.
async fn set_aside(
    bench: &Bench,
    service: &Service,
    count: usize,
) -> Result<Vec<(String, String)>> {
    service.shows("quarantined_keys", &count.to_string())?;
    let letters = bench.all_letters().await?;
    let shown = letters.into_iter().map(|letter| {
        let keys: Vec<_> = letter.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        (keys.join(" "), letter.why)
    });
    Ok(shown.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_gone_when_the_source_renewed_it_is_set_aside() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let (soon, later) = (in_seconds(60)?, in_seconds(120)?);
        let keys = ["renewed", "persisted", "there", "lasting"];
        for key in keys {
            bench.feed.command(&format!("SET {key} 5 PXAT {soon}")).await?;
        }
        bench.feed.command("PERSIST lasting").await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        bench.client.cmd(&["DEL", "renewed", "persisted"])?;
        // Somebody else has made it last: that it has no deadline does not say that it is gone.
        bench.client.cmd(&["PERSIST", "there"])?;
        let commands = [
            format!("PEXPIREAT renewed {later}"),
            "INCR renewed".to_owned(),
            "PERSIST persisted".to_owned(),
            "PERSIST there".to_owned(),
            "INCR there".to_owned(),
        ];
        bench.feed.commands(&commands).await?;
        bench.caught_up()?;
        let found = set_aside(&bench, &service, 2).await?;
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["renewed", "renewed", "persisted"], "{kind}");
        assert!(found[0].1.contains("was gone at the destination"), "{}", found[0].1);
        service.shows("late_renewals", "2")?;
        assert_eq!(bench.get("there")?.as_deref(), Some("6"));
        // No partial value comes to be, and a whole one releases the key.
        bench.feed.command("INCR renewed").await?;
        bench.caught_up()?;
        assert_eq!(bench.get("renewed")?, None, "the part that INCR made of it");
        assert_eq!(bench.client.cmd(&["EXISTS", "persisted"])?.int()?, 0);
        bench.feed.commands(&["SET renewed 7", "INCR renewed", "DEL persisted"]).await?;
        bench.caught_up()?;
        assert_eq!(bench.get("renewed")?.as_deref(), Some("8"));
        service.shows("quarantined_keys", "0")?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_was_gone_when_the_source_renewed_it_sets_its_hash_aside() -> Result<()> {
    for kind in [Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let (soon, later) = (in_seconds(60)?, in_seconds(120)?);
        for key in ["one", "two", "all"] {
            bench.feed.command(&format!("HSETEX {key} PXAT {soon} FIELDS 2 f 1 g 1")).await?;
        }
        let service = bench.start().await?;
        bench.caught_up()?;
        bench.client.cmd(&["HDEL", "one", "f"])?;
        bench.client.cmd(&["HDEL", "two", "f"])?;
        bench.client.cmd(&["DEL", "all"])?;
        let commands = [
            // A source may name a field that it does not have beside one that it has.
            format!("HPEXPIREAT one {later} FIELDS 2 f g"),
            format!("HPEXPIREAT two {later} FIELDS 1 f"),
            "HPERSIST all FIELDS 1 g".to_owned(),
        ];
        bench.feed.commands(&commands).await?;
        bench.caught_up()?;
        bench.feed.command("HINCRBY two f 1").await?;
        bench.caught_up()?;
        let found = set_aside(&bench, &service, 2).await?;
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["two", "all", "two"], "{kind}");
        assert_eq!(bench.client.cmd(&["HEXISTS", "two", "f"])?.int()?, 0);
        service.shows("late_renewals", "2")?;
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_type_that_is_left_out_is_not_missed() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let later = in_seconds(120)?;
    let commands = [
        "RPUSH list a".to_owned(),
        format!("PEXPIREAT list {later}"),
        "PERSIST list".to_owned(),
        "SET text v".to_owned(),
    ];
    bench.feed.commands(&commands).await?;
    let mut config = bench.config();
    config.filters.kinds.exclude.push(apply::filter::ValueKind::List);
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("text")?.as_deref(), Some("v"));
    service.shows("late_renewals", "0")?;
    service.shows("dead_letters", "0")?;
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_hash_that_comes_whole_live_and_are_settled() -> Result<()> {
    for (from, to) in [(Kind::Redis8_2, Kind::Valkey9_1), (Kind::Valkey9_1, Kind::Redis8_2)] {
        let source = Server::start(from, &[])?;
        let mut client = source.client()?;
        let soon = in_seconds(60)?;
        client.cmd(&["HSET", "h", "lasting", "v", "soon", "1", "renewed", "1"])?;
        client.cmd(&["HPEXPIREAT", "h", &soon.to_string(), "FIELDS", "1", "soon"])?;
        let passing = in_seconds(2)?.to_string();
        client.cmd(&["HPEXPIREAT", "h", &passing, "FIELDS", "1", "renewed"])?;
        let payload = client.cmd(&["DUMP", "h"])?.bytes()?;
        eventually(LIMIT, "the field has expired at its old server", || {
            Ok((client.cmd(&["HLEN", "h"])?.int()? == 2).then_some(()))
        })?;
        let mut bench = Bench::streaming(to).await?;
        bench.feed.lag_ms = LAG_MS;
        bench.feed.args(&[b"RESTORE", b"h", b"0", &payload, b"REPLACE"]).await?;
        bench.feed.commands(&["HINCRBY h renewed 1", "HPERSIST h FIELDS 1 renewed"]).await?;
        let service = bench.start().await?;
        catch_up(&mut bench).await?;
        service.shows("expiry_settled", "1")?;
        service.shows("dead_letters", "0")?;
        let times = bench.client.cmd(&[
            "HPEXPIRETIME",
            "h",
            "FIELDS",
            "3",
            "lasting",
            "soon",
            "renewed",
        ])?;
        let times: Vec<i64> = times.array()?.iter().map(Value::int).collect::<Result<_>>()?;
        assert_eq!(times, [-1, soon, -1], "{from} to {to}");
        assert_eq!(bench.client.cmd(&["HGET", "h", "renewed"])?.text()?, "2");
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_value_stays_of_what_was_gone_when_the_source_renewed_it() -> Result<()> {
    for kind in [Kind::Redis8_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let (soon, later) = (in_seconds(60)?, in_seconds(120)?);
        for key in ["some", "all"] {
            bench.feed.command(&format!("HSETEX {key} PXAT {soon} FIELDS 2 f 1 g 1")).await?;
        }
        bench.feed.commands(&["RPUSH list a b", "SET target old"]).await?;
        let service = bench.start().await?;
        bench.caught_up()?;
        bench.client.cmd(&["HDEL", "some", "f"])?;
        bench.client.cmd(&["DEL", "all", "list"])?;
        // In one transaction, so that nothing is judged in between.
        let commands = [
            format!("HPEXPIREAT some {later} FIELDS 1 f"),
            "HINCRBY some f 1".to_owned(),
            "HSET some g 2".to_owned(),
            "HPERSIST all FIELDS 1 f".to_owned(),
            "HSET all x 1".to_owned(),
            format!("PEXPIREAT list {later}"),
            "RPUSH list c".to_owned(),
            "COPY list copied REPLACE".to_owned(),
            "RENAME list target".to_owned(),
            "INCR n".to_owned(),
        ];
        let group: Vec<(u32, &str)> = commands.iter().map(|words| (0, words.as_str())).collect();
        bench.feed.group(&group).await?;
        bench.feed.commands(&["RPUSH target d", "INCR n"]).await?;
        bench.caught_up()?;
        service.shows("quarantined_keys", "5")?;
        service.shows("late_renewals", "3")?;
        for key in ["all", "list", "copied", "target"] {
            assert_eq!(bench.client.cmd(&["EXISTS", key])?.int()?, 0, "{key} at {kind}");
        }
        let fields = bench.client.cmd(&["HGETALL", "some"])?.array()?;
        let fields: Vec<String> = fields.into_iter().map(Value::text).collect::<Result<_>>()?;
        assert_eq!(fields, ["g", "2"], "{kind}");
        assert_eq!(bench.get("n")?.as_deref(), Some("2"));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_set_aside_also_where_the_destination_refuses_that_for_a_while() -> Result<()>
{
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"])?;
    let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
    let config = apply::Config::new(redis_io::Endpoint::parse(&uri)?);
    bench.feed.commands(&["SET gone 5", "SET bad text"]).await?;
    let service = bench.start_with(config).await?;
    bench.caught_up()?;
    bench.client.cmd(&["DEL", "gone"])?;
    // The batch is executed, and what is to be done about it is not.
    bench.client.cmd(&["ACL", "SETUSER", "app", "-hset"])?;
    let later = in_seconds(120)?;
    let renewal = format!("PEXPIREAT gone {later}");
    bench.feed.group(&[(0, &renewal), (0, "INCR gone"), (0, "INCR bad"), (0, "INCR n")]).await?;
    eventually(LIMIT, "the keys cannot be set aside", || {
        Ok(service.lane("waiting_for").contains("NOPERM").then_some(()))
    })?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "+hset"])?;
    service.shows("quarantined_keys", "2")?;
    bench.feed.commands(&["INCR bad", "INCR n"]).await?;
    bench.caught_up()?;
    assert_eq!(bench.get("gone")?, None);
    assert_eq!(bench.get("bad")?.as_deref(), Some("text"));
    assert_eq!(bench.get("n")?.as_deref(), Some("2"));
    service.stop().await?;
    Ok(())
}
