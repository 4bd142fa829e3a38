//! Restarts of the capture.

use std::time::Duration;

use testkit::{Kind, Server};

use crate::follow::{Follower, is_command, is_snapshot_end};
use crate::running::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn records_the_snapshot_and_then_the_stream() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    client.cmd(&["SET", "before", "1"]).unwrap();
    client.cmd(&["RPUSH", "list", "a", "b"]).unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.until("the end of the snapshot", is_snapshot_end).await;
    let images = follower.events.iter().filter(|(_, event)| event.kind() == "image");
    assert_eq!(images.count(), 2);
    client.cmd(&["SET", "after", "2"]).unwrap();
    client.cmd(&["DEL", "before", "list"]).unwrap();
    follower.until("the last write", is_command("DEL list")).await;
    assert_eq!(
        follower.commands(),
        [vec!["SET", "after", "2"], vec!["DEL", "before"], vec!["DEL", "list"]]
    );
    // Our own heartbeat may have been counted.
    assert!((2..=3).contains(&running.number("snapshot_keys_expected")));
    let summary = running.stop().await;
    assert!(summary.durable_offset.is_some() && summary.records > 0, "{summary:?}");
}

/// What was written while nobody listened comes too, however the one before ended.
#[tokio::test(flavor = "multi_thread")]
async fn goes_on_where_the_journal_ends() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["repl-backlog-size 16mb"]).unwrap();
        let mut client = server.client().unwrap();
        let setup = Setup::new(&server);
        let mut expected = Vec::new();
        for round in 0..8 {
            let running = setup.start().await;
            if round == 0 {
                running.until("the stream flows", |it| it.status("phase") == "stream").await;
            }
            for number in 0..50 {
                client.select(number % 3).unwrap();
                let value = format!("{round}-{number}");
                client.cmd(&["RPUSH", "list", &value]).unwrap();
                expected.push((number % 3, value));
            }
            match round % 4 {
                0 => {
                    running.stop().await;
                }
                1 => running.kill().await,
                2 => {
                    running.until_in_step(&server).await;
                    running.kill().await;
                    setup.journal.crash();
                }
                _ => {
                    setup.journal.hold_durability();
                    client.cmd(&["PING"]).unwrap();
                    running.kill().await;
                    setup.journal.crash();
                    setup.journal.release_durability();
                }
            }
            let value = format!("{round}-down");
            client.cmd(&["RPUSH", "list", &value]).unwrap();
            expected.push((1, value));
            client.select(0).unwrap();
        }
        let running = setup.start().await;
        running.until_in_step(&server).await;
        running.stop().await;
        let mut follower = Follower::of(&setup.journal).await;
        follower.read_all(&setup.journal).await;
        follower.assert_in_order();
        assert_eq!(follower.epochs(), (1, 1), "{kind}: one full transfer");
        let pushed: Vec<(u32, String)> = follower
            .events
            .iter()
            .flat_map(|(_, event)| {
                let commands = crate::follow::commands_of(event);
                commands.into_iter().map(|c| (event.db, crate::follow::words(&c)))
            })
            .filter(|(_, words)| words[0] == "RPUSH")
            .map(|(db, words)| (db, words[2].clone()))
            .collect();
        assert_eq!(pushed, expected, "{kind}: each once, in order, in its database");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_has_come() {
    let server = Server::start(Kind::Redis7_0, &["repl-backlog-size 64mb"]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    setup.journal.stall("a test");
    let value = "x".repeat(10_000);
    for number in 0..500 {
        client.cmd(&["SET", &format!("key:{number}"), &value]).unwrap();
    }
    // Less than all: the rest may still be on its way when the stop comes.
    const WAITING_BYTES: i64 = 4_000_000;
    let waiting = |it: &crate::running::Running| {
        it.number("spool_memory_bytes") + it.number("spool_disk_bytes") > WAITING_BYTES
    };
    running.until("it waits in the spool", waiting).await;
    setup.journal.resume();
    let summary = running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    let sets = follower.commands().iter().filter(|words| words[0] == "SET").count();
    assert!(i64::try_from((sets + 1) * value.len()).unwrap() > WAITING_BYTES, "only {sets}");
    let offset = client.info_field("replication", "master_repl_offset").unwrap().unwrap();
    assert!(summary.durable_offset.unwrap() <= offset.parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_ever_for_a_stalled_journal() {
    let server = Server::start(Kind::Redis7_0, &["repl-backlog-size 16mb"]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    client.cmd(&["RPUSH", "list", "before"]).unwrap();
    running.until_in_step(&server).await;
    setup.journal.stall("a test");
    client.cmd(&["RPUSH", "list", "during"]).unwrap();
    let stopping = tokio::time::timeout(Duration::from_secs(30), running.stop());
    let summary = stopping.await.expect("an end within the grace");
    let offset = client.info_field("replication", "master_repl_offset").unwrap().unwrap();
    assert!(summary.durable_offset.unwrap() < offset.parse().unwrap());
    setup.journal.resume();
    let running = setup.start().await;
    running.until_in_step(&server).await;
    running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    let pushed: Vec<_> = follower.commands().into_iter().map(|words| words[2].clone()).collect();
    assert_eq!(pushed, ["before", "during"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_capture_of_one_stream_is_refused() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    let text = setup.refusal().await;
    assert!(text.contains("become the journal's writer"), "{text}");
    let other = Setup { journal: crate::running::journal(), ..setup.clone() };
    let text = other.refusal().await;
    assert!(text.contains("in use by another capture"), "{text}");
    running.stop().await;
}
