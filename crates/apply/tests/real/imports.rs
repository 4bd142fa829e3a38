//! Import mode, which is the server's: on for as long as any service feeds it.

use std::sync::Arc;

use anyhow::{Context, Result};
use journal::MemoryJournal;
use testkit::{Client, Kind, eventually};

use crate::harness::{Bench, LIMIT, Roster, Service};

fn is_on(client: &mut Client) -> Result<bool> {
    let mut told = client.cmd(&["CONFIG", "GET", "import-mode"])?.array()?;
    Ok(told.pop().context("a value")?.text()? == "yes")
}

/// Services that the destination knows to be there.
fn present(client: &mut Client) -> Result<usize> {
    Ok(client.cmd(&["CLIENT", "LIST"])?.text()?.matches("name=keyferry-imports:").count())
}

/// So many services of one destination; the first has all partitions.
async fn services(bench: &mut Bench, count: usize) -> Result<(Vec<Service>, Arc<Roster>)> {
    let roster = Arc::new(Roster::default());
    (bench.unordered, bench.roster) = (true, Some(Arc::clone(&roster)));
    let config = apply::Config { name: "copy".into(), import_mode: true, ..bench.config() };
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
