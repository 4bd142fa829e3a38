//! A journal that takes nothing, or makes nothing durable: what the source feels of it.

use std::time::Duration;

use testkit::{Client, Kind, Server, eventually};

use crate::follow::Follower;
use crate::running::{PATIENCE, Running, Setup};

/// What the source says that we have acknowledged.
fn acknowledged(client: &mut Client) -> u64 {
    let line = client.info_field("replication", "slave0").unwrap().unwrap_or_default();
    let offset = line.split(',').find_map(|part| part.strip_prefix("offset="));
    offset.map_or(0, |offset| offset.parse().unwrap())
}

/// Bytes that the source holds for us.
fn held_for_us(client: &mut Client) -> u64 {
    let list = client.cmd(&["CLIENT", "LIST", "TYPE", "replica"]).unwrap().bytes().unwrap();
    let list = String::from_utf8(list).unwrap();
    let omem = list.split(' ').find_map(|part| part.strip_prefix("omem="));
    omem.map_or(0, |omem| omem.parse().unwrap())
}

fn write(client: &mut Client, range: std::ops::Range<u32>) {
    let value = "x".repeat(10_000);
    let commands: Vec<_> =
        range.map(|number| testkit::command(&["SET", &format!("key:{number}"), &value])).collect();
    client.all(&commands).unwrap();
}

async fn until_streaming(running: &Running) {
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_journal_fills_the_spool_and_not_the_source() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["repl-backlog-size 1mb"]).unwrap();
        let mut client = server.client().unwrap();
        let setup = Setup::new(&server).with(|config| config.spool.memory_bytes = 1 << 20);
        let running = setup.start().await;
        until_streaming(&running).await;
        setup.journal.stall("the disk is full");
        write(&mut client, 0..4000);
        let spooled = |it: &Running| it.number("spool_disk_bytes") > 35_000_000;
        running.until("it waits on disk", spooled).await;
        assert_eq!(running.status("journal"), "the disk is full");
        eventually(PATIENCE, "the source has got rid of it", || {
            Ok((held_for_us(&mut client) < 1_000_000).then_some(()))
        })
        .unwrap();
        assert!(acknowledged(&mut client) < 1_000_000, "{kind}: only what is durable");
        setup.journal.resume();
        running.until_in_step(&server).await;
        assert_eq!(running.number("spool_disk_bytes"), 0);
        assert_eq!(running.number("full_transfers"), 1, "{kind}");
        running.stop().await;
        let mut follower = Follower::of(&setup.journal).await;
        follower.read_all(&setup.journal).await;
        let sets = follower.commands().iter().filter(|words| words[0] == "SET").count();
        assert_eq!(sets, 4000, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_journal_does_not_hold_up_a_snapshot() {
    let server = Server::start(Kind::Redis7_0, &["rdbcompression no"]).unwrap();
    let mut client = server.client().unwrap();
    write(&mut client, 0..2000);
    let setup = Setup::new(&server).with(|config| config.spool.memory_bytes = 1 << 20);
    setup.journal.stall("the disk is full");
    let running = setup.start().await;
    let spooled = |it: &Running| it.number("spool_disk_bytes") > 18_000_000;
    running.until("the snapshot waits on disk", spooled).await;
    eventually(PATIENCE, "the source has sent everything", || {
        let line = client.info_field("replication", "slave0")?.unwrap_or_default();
        Ok(line.contains("state=online").then_some(()))
    })
    .unwrap();
    assert_eq!(acknowledged(&mut client), 0);
    setup.journal.resume();
    until_streaming(&running).await;
    assert_eq!(running.number("snapshot_keys"), 2000);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_journal_holds_durably_is_acknowledged() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[]).unwrap();
        let mut client = server.client().unwrap();
        let setup = Setup::new(&server);
        let running = setup.start().await;
        until_streaming(&running).await;
        write(&mut client, 0..10);
        running.until_in_step(&server).await;
        let reached = u64::try_from(running.number("durable_offset")).unwrap();
        eventually(PATIENCE, "that is acknowledged", || {
            Ok((acknowledged(&mut client) >= reached).then_some(()))
        })
        .unwrap();
        setup.journal.hold_durability();
        let durable = u64::try_from(running.number("durable_offset")).unwrap();
        write(&mut client, 10..50);
        let records = running.number("records");
        let recorded = |it: &Running| it.number("records") >= records + 40;
        running.until("it is recorded", recorded).await;
        // WAIT has the source ask for an acknowledgement at once, and count it.
        let counted = client.cmd(&["WAIT", "1", "1500"]).unwrap().int().unwrap();
        assert_eq!(counted, 0, "{kind}: we are not counted before it is durable");
        let told = acknowledged(&mut client);
        assert!(told <= durable + 1000, "{kind}: {told} was told, {durable} is durable");
        setup.journal.release_durability();
        let counted = client.cmd(&["WAIT", "1", "10000"]).unwrap().int().unwrap();
        assert_eq!(counted, 1, "{kind}");
        running.stop().await;
    }
}

/// What the run before has left undurable is not acknowledged by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_acknowledge_what_is_not_durable() {
    let server = Server::start(Kind::Redis7_0, &["repl-backlog-size 16mb"]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    until_streaming(&running).await;
    running.until_in_step(&server).await;
    setup.journal.hold_durability();
    let durable = u64::try_from(running.number("durable_offset")).unwrap();
    let records = running.number("records");
    write(&mut client, 0..20);
    running.until("it is recorded", |it| it.number("records") >= records + 20).await;
    running.kill().await;
    let running = setup.start().await;
    running
        .until("it has gone on", |it| it.number("skipped_events") + it.number("records") > 0)
        .await;
    let counted = client.cmd(&["WAIT", "1", "1500"]).unwrap().int().unwrap();
    assert_eq!(counted, 0);
    let told = acknowledged(&mut client);
    assert!(told <= durable, "{told} was told, {durable} is durable");
    setup.journal.release_durability();
    running.until_in_step(&server).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_ends_the_capture_with_an_error_that_says_so() {
    let server = Server::start(Kind::Redis7_0, &["repl-backlog-size 64mb"]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server).with(|config| {
        config.spool.memory_bytes = 1 << 20;
        config.spool.disk_bytes = 4 << 20;
    });
    let running = setup.start().await;
    until_streaming(&running).await;
    setup.journal.stall("the disk is full");
    write(&mut client, 0..1000);
    let full = |it: &Running| it.status("trouble").as_str().is_some_and(|t| t.contains("is full"));
    running.until("the status says so", full).await;
    setup.journal.resume();
    let error = running.end().await.unwrap_err();
    let text = crate::running::told(&error);
    assert!(text.contains("is full") && text.contains("allow the spool more"), "{text}");
    assert!(text.contains(&setup.spool_dir().display().to_string()), "{text}");
    // What had been spooled is there, and the next run goes on behind it.
    let running = setup.start().await;
    running.until_in_step(&server).await;
    assert_eq!(running.number("full_transfers"), 0);
    running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    let sets = follower.commands().iter().filter(|words| words[0] == "SET").count();
    assert_eq!(sets, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_in_front_of_a_dead_journal_ends_the_capture_too() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server).with(|config| {
        config.spool.memory_bytes = 1 << 20;
        config.spool.disk_bytes = 1 << 20;
    });
    let running = setup.start().await;
    until_streaming(&running).await;
    setup.journal.stall("the disk is full");
    write(&mut client, 0..500);
    let ended = tokio::time::timeout(Duration::from_secs(40), running.end()).await;
    let error = ended.expect("an end").unwrap_err();
    assert!(crate::running::told(&error).contains("is full"));
}
