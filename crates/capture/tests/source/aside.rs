//! Transactions larger than the memory for them: what breaks in the middle of one.

use std::path::PathBuf;

use testkit::{Client, Kind, Relay, Server, Then};

use crate::follow::Follower;
use crate::running::{Running, Setup};

/// Six megabytes: several times what an open transaction may hold in memory.
const CHANGES: usize = 600;
const VALUE_BYTES: usize = 10_000;

/// In the middle of the transaction, and beyond what its memory holds.
const PASSED_BYTES: u64 = 2 << 20;

fn write_transaction(client: &mut Client) {
    let value = "x".repeat(VALUE_BYTES);
    client.cmd(&["MULTI"]).unwrap();
    let commands: Vec<_> = (0..CHANGES)
        .map(|number| testkit::command(&["RPUSH", "list", &format!("{number}:{value}")]))
        .collect();
    client.all(&commands).unwrap();
    client.cmd(&["EXEC"]).unwrap();
}

/// An empty source behind a relay, and a capture that has read it.
async fn behind(relay: &Relay, server: &Server) -> (Setup, Running) {
    let setup = Setup::of(relay.uri());
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    server.client().unwrap().cmd(&["RPUSH", "list", "before"]).unwrap();
    running.until_in_step(server).await;
    (setup, running)
}

fn file_of(setup: &Setup) -> PathBuf {
    setup.spool_dir().join("transaction.spool")
}

/// Everything that was pushed stands in the journal once, in order, and the transaction is one.
async fn assert_whole(setup: &Setup) {
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    follower.assert_in_order();
    assert_eq!(follower.epochs(), (1, 1), "one full transfer");
    let pushed: Vec<String> = follower
        .commands()
        .into_iter()
        .filter(|words| words[0] == "RPUSH")
        .map(|words| words[2].split(':').next().unwrap().to_owned())
        .collect();
    let inside = (0..CHANGES).map(|number| number.to_string());
    let expected: Vec<String> =
        ["before".to_owned()].into_iter().chain(inside).chain(["after".to_owned()]).collect();
    assert_eq!(pushed, expected);
    let groups = follower.events.iter().filter(|(_, event)| event.kind() == "group");
    let offsets: Vec<u64> = groups.map(|(_, event)| event.position.offset).collect();
    assert!(offsets.len() > 2 && offsets.iter().all(|at| *at == offsets[0]), "{offsets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_breaks_in_a_large_transaction_goes_on_in_its_middle() {
    for kind in [Kind::Redis7_0, Kind::Valkey9_1] {
        let server = Server::start(kind, &["repl-backlog-size 32mb"]).unwrap();
        let mut client = server.client().unwrap();
        let relay = Relay::start(server.port(), PASSED_BYTES, Then::Cut).unwrap();
        let (setup, running) = behind(&relay, &server).await;
        let broken = relay.broken();
        write_transaction(&mut client);
        client.cmd(&["RPUSH", "list", "after"]).unwrap();
        running.until_in_step(&server).await;
        assert!(relay.broken() > broken + 1, "it broke {} times", relay.broken() - broken);
        assert_eq!(running.number("spool_disk_bytes"), 0, "{kind}");
        assert!(!file_of(&setup).exists(), "{kind}: the file of the transaction stays");
        running.stop().await;
        assert_whole(&setup).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_killed_in_a_large_transaction_reads_it_again_and_removes_what_it_left() {
    for kind in [Kind::Redis7_0, Kind::Valkey9_1] {
        let server = Server::start(kind, &["repl-backlog-size 32mb"]).unwrap();
        let mut client = server.client().unwrap();
        let relay = Relay::start(server.port(), PASSED_BYTES, Then::Hold).unwrap();
        let (setup, running) = behind(&relay, &server).await;
        write_transaction(&mut client);
        running.until("it is put aside", |it| it.number("spool_disk_bytes") > 1 << 20).await;
        let left = std::fs::read(file_of(&setup)).unwrap();
        running.kill().await;
        // The process as a whole would not have removed it.
        std::fs::write(file_of(&setup), left).unwrap();
        relay.lift();
        client.cmd(&["RPUSH", "list", "after"]).unwrap();
        let running = setup.start().await;
        running.until_in_step(&server).await;
        assert_eq!(running.number("full_transfers"), 0, "{kind}");
        assert_eq!(running.number("spool_disk_bytes"), 0, "{kind}");
        assert!(!file_of(&setup).exists(), "{kind}: the file of the transaction stays");
        running.stop().await;
        assert_whole(&setup).await;
    }
}
