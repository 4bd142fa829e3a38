//! Import mode, which is the server's: on for as long as any service feeds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};
use apply::Config;
use journal::MemoryJournal;
use redis_io::Endpoint;
use testkit::{Client, Kind, Relay, Server, Turn, Value, eventually};

use crate::access::account;
use crate::harness::{Bench, LIMIT, Roster, Service};

fn is_on(client: &mut Client) -> Result<bool> {
    let mut told = client.cmd(&["CONFIG", "GET", "import-mode"])?.array()?;
    Ok(told.pop().context("a value")?.text()? == "yes")
}

/// Services that the destination knows to be there.
fn present(client: &mut Client) -> Result<usize> {
    let list = client.cmd(&["CLIENT", "LIST"])?.text()?;
    let names = list.split_whitespace().filter(|word| word.starts_with("name=keyferry-imports:"));
    Ok(names.collect::<BTreeSet<_>>().len())
}

/// A destination with an account that has the documented rights and these, and the settings of a service that uses it.
async fn with_account(more: &[&str]) -> Result<(Bench, Config)> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let config = Config { import_mode: true, ..account(&mut bench, more)? };
    Ok((bench, config))
}

/// How often the account was refused this command.
fn refusals(client: &mut Client, command: &str) -> Result<i64> {
    let entries = client.cmd(&["ACL", "LOG", "128"])?.array()?;
    let of = |entry: &Value| -> Result<i64> {
        let object = entry.field("object").context("an object")?.clone().text()?;
        let count = entry.field("count").context("a count")?.int()?;
        Ok(if object == command { count } else { 0 })
    };
    entries.iter().map(of).sum()
}

/// How often a command was called and not refused.
fn calls(client: &mut Client, command: &str) -> Result<u64> {
    let told = client.info_field("commandstats", &format!("cmdstat_{command}"))?;
    let calls = told.as_deref().and_then(|told| told.strip_prefix("calls=")?.split(',').next());
    calls.map_or(Ok(0), |calls| Ok(calls.parse()?))
}

/// So many services of one destination; the first has all partitions.
async fn services(bench: &mut Bench, count: usize) -> Result<(Vec<Service>, Arc<Roster>)> {
    let roster = Arc::new(Roster::default());
    (bench.unordered, bench.roster) = (true, Some(Arc::clone(&roster)));
    let config = Config { name: "copy".into(), import_mode: true, ..bench.config() };
    let mut services = Vec::new();
    for number in 0..count {
        bench.letters = MemoryJournal::new(&format!("letters-{number}"), 1);
        services.push(bench.start_with(config.clone()).await?);
        eventually(LIMIT, "it has come", || Ok((roster.members() > number).then_some(())))?;
        let client = &mut bench.client;
        eventually(LIMIT, "it shows", || Ok((present(client)? > number).then_some(())))?;
    }
    Ok((services, roster))
}

#[tokio::test(flavor = "multi_thread")]
async fn import_mode_is_on_until_the_last_service_ends() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let (services, roster) = services(&mut bench, 3).await?;
    let mut services = services.into_iter();
    services.next().context("it runs")?.stop().await?;
    assert!(is_on(&mut bench.client)?, "others are there, though they have no partitions");
    roster.give(1, &[0, 1, 2, 3]);
    services.next_back().context("it runs")?.stop().await?;
    assert!(is_on(&mut bench.client)?, "one is there that has all partitions");
    services.next().context("it runs")?.stop().await?;
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_mode_that_somebody_ends_is_begun_again() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let (services, _) = services(&mut bench, 1).await?;
    bench.client.cmd(&["CONFIG", "SET", "import-mode", "no"])?;
    let client = &mut bench.client;
    eventually(LIMIT, "it is on again", || Ok(is_on(client)?.then_some(())))?;
    // Who is not let in once has no less of it later.
    bench.client.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    bench.client.cmd(&["CONFIG", "SET", "import-mode", "no"])?;
    let client = &mut bench.client;
    eventually(LIMIT, "it is there again", || Ok((present(client)? == 1).then_some(())))?;
    eventually(LIMIT, "it is on again", || Ok(is_on(client)?.then_some(())))?;
    for service in services {
        service.stop().await?;
    }
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_mode_is_ended_where_the_setting_cannot_be_read() -> Result<()> {
    let (mut bench, config) = with_account(&["+config|set", "+client|import-source"]).await?;
    let service = bench.start_with(config).await?;
    service.shows("import_mode", "on")?;
    assert!(is_on(&mut bench.client)?);
    service.stop().await?;
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_mode_is_begun_again_where_the_setting_cannot_be_read() -> Result<()> {
    let (mut bench, config) = with_account(&["+config|set", "+client|import-source"]).await?;
    let service = bench.start_with(config).await?;
    service.shows("import_mode", "on")?;
    let client = &mut bench.client;
    eventually(LIMIT, "it shows", || Ok((present(client)? == 1).then_some(())))?;
    let before = refusals(client, "config|get")?;
    client.cmd(&["CONFIG", "SET", "import-mode", "no"])?;
    eventually(LIMIT, "it is on again", || Ok(is_on(client)?.then_some(())))?;
    assert_eq!(refusals(client, "config|get")?, before, "what is refused is not asked for again");
    service.stop().await?;
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_import_mode_needs_is_not_asked_for_without_end() -> Result<()> {
    let (mut bench, config) = with_account(&["+config|set", "+client|import-source"]).await?;
    let service = bench.start_with(config).await?;
    service.shows("import_mode", "on")?;
    let client = &mut bench.client;
    eventually(LIMIT, "it shows", || Ok((present(client)? == 1).then_some(())))?;
    client.cmd(&["ACL", "SETUSER", "app", "-config|set"])?;
    client.cmd(&["CONFIG", "SET", "import-mode", "no"])?;
    let is_refused = || Ok((refusals(client, "config|set")? > 0).then_some(()));
    eventually(LIMIT, "it is refused", is_refused)?;
    let looks = calls(client, "client|setname")? + 3;
    let has_looked = || Ok((calls(client, "client|setname")? >= looks).then_some(()));
    eventually(LIMIT, "it has looked again", has_looked)?;
    assert_eq!(refusals(client, "config|set")?, 1);
    // What it has begun it ends, though it could not look.
    client.cmd(&["ACL", "SETUSER", "app", "+config|set", "-client|import-source"])?;
    client.cmd(&["CONFIG", "SET", "import-mode", "yes"])?;
    service.stop().await?;
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_mode_that_the_account_cannot_use_is_not_begun() -> Result<()> {
    let (mut bench, config) = with_account(&["+config|set"]).await?;
    let service = bench.start_with(config).await?;
    bench.feed.command("SET k v").await?;
    bench.caught_up()?;
    assert!(!is_on(&mut bench.client)?);
    assert_eq!(service.lane("import_mode"), "");
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_shows_that_it_is_there_before_it_counts_on_import_mode() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let relay = Relay::with_cues(bench.server.port(), &[("keyferry-imports:", Turn::Cut)])?;
    let endpoint = Endpoint::parse(&relay.uri())?;
    let config = Config { import_mode: true, ..Config::new(endpoint) };
    let service = bench.start_with(config).await?;
    service.shows("import_mode", "on")?;
    assert_eq!((present(&mut bench.client)?, relay.cues_left()), (1, 0));
    service.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_waits_for_one_that_is_about_to_end_import_mode() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let mut other = bench.server.client()?;
    other.cmd(&["CONFIG", "SET", "import-mode", "yes"])?;
    other.cmd(&["CLIENT", "SETNAME", "keyferry-imports-end:1"])?;
    let config = Config { import_mode: true, ..bench.config() };
    let service = bench.start_with(config).await?;
    let client = &mut bench.client;
    eventually(LIMIT, "it shows", || Ok((present(client)? == 1).then_some(())))?;
    let asked = calls(client, "client|list")? + 3;
    let has_asked = || Ok((calls(client, "client|list")? >= asked).then_some(()));
    eventually(LIMIT, "it looks whether that has ended", has_asked)?;
    assert_eq!(service.lane("import_mode"), "");
    // That one has not seen it.
    other.cmd(&["CONFIG", "SET", "import-mode", "no"])?;
    drop(other);
    service.shows("import_mode", "on")?;
    assert!(is_on(&mut bench.client)?, "nothing ends it any more");
    service.stop().await?;
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_sees_who_comes_before_it_has_ended_import_mode() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let cues = [("keyferry-imports-end:", Turn::Mute), ("go on", Turn::Unmute)];
    let relay = Relay::with_cues(bench.server.port(), &cues)?;
    let endpoint = Endpoint::parse(&relay.uri())?;
    let config = Config { import_mode: true, ..Config::new(endpoint) };
    let service = bench.start_with(config).await?;
    service.shows("import_mode", "on")?;
    service.ask_to_stop();
    let client = &mut bench.client;
    eventually(LIMIT, "it says that it ends", || {
        let list = client.cmd(&["CLIENT", "LIST"])?.text()?;
        Ok(list.contains("name=keyferry-imports-end:").then_some(()))
    })?;
    client.cmd(&["CLIENT", "SETNAME", "keyferry-imports:1"])?;
    let address = relay.uri().trim_start_matches("redis://").parse()?;
    Client::tcp(address)?.send(&["ECHO", "go on"])?;
    service.ended_well().await?;
    assert!(is_on(client)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn import_mode_is_ended_at_the_server_that_has_taken_over() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Valkey9_1).await?;
    let relay = Relay::with_cues(bench.server.port(), &[])?;
    let endpoint = Endpoint::parse(&relay.uri())?;
    let service = bench.start_with(Config { import_mode: true, ..Config::new(endpoint) }).await?;
    bench.feed.command("SET a 1").await?;
    bench.caught_up()?;
    let next = Server::start(Kind::Valkey9_1, &[])?;
    let mut client = next.client()?;
    client.cmd(&["REPLICAOF", "127.0.0.1", &bench.server.port().to_string()])?;
    eventually(LIMIT, "it has followed", || {
        Ok((client.cmd(&["EXISTS", "a"])?.int()? == 1).then_some(()))
    })?;
    client.cmd(&["REPLICAOF", "NO", "ONE"])?;
    relay.lead_to(next.port());
    // Connections stay where they are.
    bench.client.cmd(&["REPLICAOF", "127.0.0.1", &next.port().to_string()])?;
    bench.feed.command("SET b 1").await?;
    std::mem::swap(&mut bench.client, &mut client);
    bench.caught_up()?;
    assert!(is_on(&mut bench.client)?);
    assert_eq!(present(&mut bench.client)?, 1);
    service.stop().await?;
    assert!(!is_on(&mut bench.client)?);
    Ok(())
}
