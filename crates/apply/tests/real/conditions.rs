//! Deadlines under conditions (NX, XX, GT, LT) while they are put off: what a source has in the end, so has the destination.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use testkit::{Client, Kind, Server, Value, eventually};

use crate::harness::{Bench, LIMIT};

/// How far records lag: what expires within two minutes is put off.
const LAG_MS: i64 = 60_000;
const CONDITIONS: [&str; 4] = ["NX", "XX", "GT", "LT"];

/// A source, and what it sends.
struct Source {
    server: Server,
    client: Client,
}

fn in_seconds(seconds: i64) -> Result<i64> {
    Ok(i64::try_from(testkit::now_ms())? + seconds * 1_000)
}

// === impl Source ===

impl Source {
    fn new(kind: Kind) -> Result<Self> {
        let server = Server::start(kind, &[])?;
        let client = server.client()?;
        Ok(Self { server, client })
    }

    /// Does it, and gives what the source sends then: nothing if it did nothing, and a Redis names only those fields
    /// for which the condition held.
    fn sends(&mut self, words: &str) -> Result<Option<String>> {
        let split: Vec<&str> = words.split(' ').collect();
        let reply = self.client.cmd(&split)?;
        let Value::Array(said) = reply else {
            return Ok((reply.int().ok() != Some(0)).then(|| words.to_owned()));
        };
        let said: Vec<i64> = said.iter().map(Value::int).collect::<Result<_>>()?;
        let is_redis = self.server.kind() == Kind::Redis8_2;
        if !said.contains(&1) || !is_redis {
            return Ok(said.contains(&1).then(|| words.to_owned()));
        }
        let (head, fields) = split.split_at(split.len() - said.len());
        let held = fields.iter().zip(&said).filter(|(_, said)| **said == 1);
        let held: Vec<&str> = held.map(|(field, _)| *field).collect();
        ensure!(head.len() > 2, "{words} has no fields");
        let head = head[..head.len() - 1].join(" ");
        Ok(Some(format!("{head} {} {}", held.len(), held.join(" "))))
    }
}

/// Every deadline of a server, by key and field.
fn deadlines(client: &mut Client) -> Result<BTreeMap<String, i64>> {
    let mut found = BTreeMap::new();
    for key in client.cmd(&["KEYS", "*"])?.array()? {
        let key = key.text()?;
        if key.starts_with("keyferry:") || key == "caught-up" {
            continue;
        }
        found.insert(key.clone(), client.cmd(&["PEXPIRETIME", &key])?.int()?);
        if client.cmd(&["TYPE", &key])?.text()? != "hash" {
            continue;
        }
        for field in client.cmd(&["HKEYS", &key])?.array()? {
            let field = field.text()?;
            let at = client.cmd(&["HPEXPIRETIME", &key, "FIELDS", "1", &field])?.array()?;
            found.insert(format!("{key} {field}"), at[0].int()?);
        }
    }
    Ok(found)
}

/// Every condition on keys and on single fields of every state: without a deadline, with one that is put off, with one
/// that is not.
fn on_one(soon: i64, far: i64) -> Vec<String> {
    let mut all = Vec::new();
    for condition in CONDITIONS {
        for before in [None, Some(soon), Some(far)] {
            for after in [soon - 7, soon + 7, far - 7, far + 7] {
                let name = format!("{condition}:{}:{after}", before.unwrap_or_default());
                all.push(format!("SET k:{name} v"));
                all.push(format!("HSET h f:{name} v"));
                if let Some(ms) = before {
                    all.push(format!("PEXPIREAT k:{name} {ms}"));
                    all.push(format!("HPEXPIREAT h {ms} FIELDS 1 f:{name}"));
                }
                all.push(format!("PEXPIREAT k:{name} {after} {condition}"));
                all.push(format!("HPEXPIREAT h {after} {condition} FIELDS 1 f:{name}"));
            }
        }
    }
    all
}

/// Every condition on several fields at once, one of which is not there.
fn on_several(soon: i64, far: i64) -> Vec<String> {
    let mut all = Vec::new();
    for condition in CONDITIONS {
        for after in [soon - 7, soon + 7, far - 7, far + 7] {
            let key = format!("m:{condition}:{after}");
            all.push(format!("HSET {key} some 1 later 2 far 3"));
            all.push(format!("HPEXPIREAT {key} {soon} FIELDS 1 some"));
            all.push(format!("HPEXPIREAT {key} {} FIELDS 1 later", soon + 20));
            all.push(format!("HPEXPIREAT {key} {far} FIELDS 1 far"));
            all.push(format!(
                "HPEXPIREAT {key} {after} {condition} FIELDS 4 some far absent later"
            ));
            all.push(format!("HPEXPIREAT {key} {} GT FIELDS 2 later some", soon + 30));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_under_conditions_are_those_of_the_source_once_it_has_caught_up() -> Result<()> {
    for (from, to) in [
        (Kind::Redis8_2, Kind::Redis8_2),
        (Kind::Redis8_2, Kind::Valkey9_1),
        (Kind::Valkey9_1, Kind::Valkey9_1),
        (Kind::Valkey9_1, Kind::Redis8_2),
    ] {
        let (mut source, mut bench) = (Source::new(from)?, Bench::streaming(to).await?);
        let service = bench.start().await?;
        bench.feed.lag_ms = LAG_MS;
        let (soon, far) = (in_seconds(60)?, in_seconds(1_000)?);
        for words in on_one(soon, far).into_iter().chain(on_several(soon, far)) {
            if let Some(words) = source.sends(&words)? {
                bench.feed.command(&words).await?;
            }
        }
        bench.caught_up()?;
        // Nothing is to expire before its time meanwhile.
        for (name, ms) in deadlines(&mut bench.client)? {
            assert!(ms == -1 || ms > in_seconds(100)?, "{name} at {ms}");
        }
        bench.feed.lag_ms = 0;
        bench.feed.heartbeat().await?;
        bench.feed.command("SET caught-up 1").await?;
        bench.caught_up()?;
        let expected = deadlines(&mut source.client)?;
        eventually(LIMIT, "the deadlines are settled", || {
            Ok((service.lane("expiry_held") == "0").then_some(()))
        })?;
        let found = deadlines(&mut bench.client)?;
        let differ: Vec<_> =
            expected.iter().filter(|(name, ms)| found.get(*name) != Some(ms)).collect();
        assert!(differ.is_empty(), "{from} to {to}: {differ:?}");
        assert_eq!(expected.len(), found.len());
        service.shows("late_renewals", "0")?;
        service.stop().await?;
    }
    Ok(())
}
