//! Links that break, sources that pause, restart, are promoted or follow another.

use std::sync::Arc;

use event::Body;
use event::control::{Control, EpochCause};
use testkit::{Client, Kind, Server, Value, eventually};

use crate::follow::{Follower, cut, is_command, is_snapshot_end, records};
use crate::running::{PATIENCE, Running, Setup};

/// Everything that a client pushed to one list, as the journal has it.
fn pushed(follower: &Follower) -> Vec<String> {
    let commands = follower.commands().into_iter();
    commands.filter(|words| words[0] == "RPUSH").map(|words| words[2].clone()).collect()
}

async fn read_all(setup: &Setup) -> Follower {
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    follower.assert_in_order();
    follower
}

async fn until_streaming(running: &Running) {
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_killed_again_and_again_leaves_no_gap_and_nothing_twice() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["repl-backlog-size 32mb"]).unwrap();
        let (mut client, mut killer) = (server.client().unwrap(), server.client().unwrap());
        let setup = Setup::new(&server);
        let running = setup.start().await;
        until_streaming(&running).await;
        let mut expected = Vec::new();
        for number in 0..4_000 {
            let value = format!("{number:05}{}", "x".repeat(number % 200));
            client.cmd(&["RPUSH", "list", &value]).unwrap();
            expected.push(value);
            if number % 97 == 0 {
                killer.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
            }
        }
        running.until_in_step(&server).await;
        assert!(running.status("trouble").is_null(), "{}", running.status("trouble"));
        running.stop().await;
        let follower = read_all(&setup).await;
        assert_eq!(pushed(&follower), expected, "{kind}");
        assert_eq!(follower.epochs(), (1, 1), "{kind}");
    }
}

/// A source that is told to stop saves its place in the file, from 7.0 on.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_restarted_with_its_file_goes_on_or_sends_everything_again() {
    for kind in Kind::ALL {
        let mut server = Server::start(kind, &["save 3600 1"]).unwrap();
        let mut client = server.client().unwrap();
        let setup = Setup::new(&server);
        let running = setup.start().await;
        until_streaming(&running).await;
        client.cmd(&["SELECT", "3"]).unwrap();
        client.cmd(&["RPUSH", "list", "before"]).unwrap();
        running.until_in_step(&server).await;
        client.cmd(&["SAVE"]).unwrap();
        server.stop().unwrap();
        running.until("the link is down", |it| !it.status("trouble").is_null()).await;
        server.restart().unwrap();
        let mut client = server.client().unwrap();
        running.until("the link is up", |it| it.status("trouble").is_null()).await;
        until_streaming(&running).await;
        client.cmd(&["SELECT", "3"]).unwrap();
        client.cmd(&["RPUSH", "list", "after"]).unwrap();
        running.until_in_step(&server).await;
        running.stop().await;
        let follower = read_all(&setup).await;
        let (all, full) = follower.epochs();
        assert_eq!(all, 2, "{kind}: the replication id is another one");
        if kind == Kind::Redis6_2 {
            assert_eq!(full, 2, "{kind} forgets its place");
        } else {
            assert_eq!(full, 1, "{kind} remembers its place, and we had read everything");
        }
        let after = follower.events.iter().find(|(_, event)| is_command("RPUSH list after")(event));
        assert_eq!(after.unwrap().1.db, 3, "{kind}");
        assert_eq!(pushed(&follower), ["before", "after"], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_lost_its_history_sends_everything_again() {
    let mut server = Server::start(Kind::Valkey9_1, &[]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    until_streaming(&running).await;
    client.cmd(&["RPUSH", "list", "before"]).unwrap();
    client.cmd(&["SET", "long", &"x".repeat(1_000_000)]).unwrap();
    running.until_in_step(&server).await;
    let reached = running.number("durable_offset");
    server.restart().unwrap();
    running.until("it has begun again", |it| it.number("full_transfers") == 2).await;
    until_streaming(&running).await;
    let mut client = server.client().unwrap();
    client.cmd(&["RPUSH", "list", "after"]).unwrap();
    running.until_in_step(&server).await;
    assert!(running.number("durable_offset") < reached, "offsets of the new history");
    running.stop().await;
    let follower = read_all(&setup).await;
    assert_eq!(follower.epochs(), (2, 2));
    let epochs: Vec<u64> = follower.events.iter().map(|(_, e)| e.position.epoch).collect();
    assert!(epochs.is_sorted());
}

fn replicate(replica: &mut Client, primary: &Server) {
    let port = primary.port().to_string();
    replica.cmd(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    eventually(PATIENCE, "the replica is in step", || {
        let link = replica.info_field("replication", "master_link_status")?;
        Ok((link.as_deref() == Some("up")).then_some(()))
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_as_source_knows_the_database_that_the_stream_goes_on_in() {
    for kind in Kind::ALL {
        let primary = Server::start(kind, &["repl-ping-replica-period 1"]).unwrap();
        let replica = Server::start(kind, &[]).unwrap();
        let (mut writer, mut follower) = (primary.client().unwrap(), replica.client().unwrap());
        replicate(&mut follower, &primary);
        writer.select(5).unwrap();
        writer.cmd(&["RPUSH", "list", "before"]).unwrap();
        let offset = writer.info_field("replication", "master_repl_offset").unwrap();
        eventually(PATIENCE, "the replica has it", || {
            let theirs = follower.info_field("replication", "slave_repl_offset")?;
            Ok((theirs >= offset).then_some(()))
        })
        .unwrap();
        let setup = Setup::new(&replica);
        let running = setup.start().await;
        until_streaming(&running).await;
        // No SELECT comes before this: the primary said it long ago.
        writer.cmd(&["RPUSH", "list", "after"]).unwrap();
        let mut journal = Follower::of(&setup.journal).await;
        journal.until("the write", is_command("RPUSH list after")).await;
        let (_, event) =
            journal.events.iter().find(|(_, e)| is_command("RPUSH list after")(e)).unwrap();
        assert_eq!(event.db, 5, "{kind}");
        let refused = |it: &Running| {
            it.status("clock").as_str().is_some_and(|clock| clock.contains("READONLY"))
        };
        running.until("the status tells that the replica takes no heartbeat", refused).await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_goes_on_in_a_new_epoch() {
    for kind in Kind::ALL {
        let primary = Server::start(kind, &["repl-ping-replica-period 1"]).unwrap();
        let replica = Server::start(kind, &["repl-backlog-size 16mb"]).unwrap();
        let (mut writer, mut client) = (primary.client().unwrap(), replica.client().unwrap());
        replicate(&mut client, &primary);
        let setup = Setup::new(&replica);
        let running = setup.start().await;
        until_streaming(&running).await;
        writer.cmd(&["RPUSH", "list", "before"]).unwrap();
        let mut journal = Follower::of(&setup.journal).await;
        journal.until("the write", is_command("RPUSH list before")).await;
        client.cmd(&["REPLICAOF", "NO", "ONE"]).unwrap();
        client.cmd(&["RPUSH", "list", "after"]).unwrap();
        journal.until("the write after the promotion", is_command("RPUSH list after")).await;
        running.until_in_step(&replica).await;
        running.stop().await;
        let follower = read_all(&setup).await;
        assert_eq!(follower.epochs(), (2, 1), "{kind}");
        assert_eq!(pushed(&follower), ["before", "after"], "{kind}");
        let begins = follower.events.iter().filter_map(|(_, event)| match &event.body {
            Body::Control(Control::EpochBegin(begin)) => Some((event.position, begin)),
            _ => None,
        });
        let (at, begin) = begins.last().unwrap();
        assert_eq!(begin.cause, EpochCause::Continued);
        assert_eq!(at.offset, begin.branch_offset);
        let second = client.info_field("replication", "second_repl_offset").unwrap().unwrap();
        assert_eq!(begin.branch_offset + 1, second.parse::<u64>().unwrap(), "{kind}");
        // And a restart finds its way in the new history.
        let running = setup.start().await;
        client.cmd(&["RPUSH", "list", "later"]).unwrap();
        running.until_in_step(&replica).await;
        running.stop().await;
        let follower = read_all(&setup).await;
        assert_eq!(follower.epochs(), (2, 1), "{kind}");
        assert_eq!(pushed(&follower), ["before", "after", "later"], "{kind}");
    }
}

/// One partition has what the promoted replica never got, the place to resume at is before that.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_lacks_what_was_recorded_is_not_gone_on_with() {
    let primary = Server::start(Kind::Redis7_0, &["repl-ping-replica-period 3600"]).unwrap();
    let replica = Server::start(Kind::Redis7_0, &["repl-backlog-size 16mb"]).unwrap();
    let (mut writer, mut client) = (primary.client().unwrap(), replica.client().unwrap());
    replicate(&mut client, &primary);
    let setup = Setup::new(&primary).with(|config| config.heartbeat = false);
    let running = setup.start().await;
    until_streaming(&running).await;
    writer.cmd(&["RPUSH", "list", "common"]).unwrap();
    running.until_in_step(&primary).await;
    let offset = writer.info_field("replication", "master_repl_offset").unwrap();
    let mut journal = Follower::of(&setup.journal).await;
    let beats = |event: &event::Event| {
        event.kind() == "heartbeat" && Some(event.position.offset.to_string()) == offset
    };
    journal.until("a place to resume at", beats).await;
    eventually(PATIENCE, "the replica has that", || {
        Ok((client.info_field("replication", "slave_repl_offset")? == offset).then_some(()))
    })
    .unwrap();
    client.cmd(&["REPLICAOF", "NO", "ONE"]).unwrap();
    writer.cmd(&["RPUSH", "list", "only at the primary"]).unwrap();
    running.until_in_step(&primary).await;
    running.kill().await;
    let at_primary = |record: &journal::Append| {
        let event = event::codec::decode(record.payload.clone()).unwrap();
        crate::follow::commands_of(&event)
            .iter()
            .any(|c| c.args.last().unwrap() == "only at the primary")
    };
    let kept = records(&setup.journal).await.iter().position(at_primary).unwrap() + 1;
    let journal = Arc::new(cut(&setup.journal, kept).await);
    client.cmd(&["RPUSH", "other", "after"]).unwrap();
    let setup = Setup { uri: replica.uri(), journal, ..setup };
    let running = setup.start().await;
    running.until("everything is read again", |it| it.number("full_transfers") == 1).await;
    running.until_in_step(&replica).await;
    running.stop().await;
    let follower = read_all(&setup).await;
    assert_eq!(follower.epochs(), (2, 2));
    let ends = follower.events.iter().filter(|(p, event)| *p == 0 && is_snapshot_end(event));
    assert_eq!(ends.count(), 2);
}

/// The source knows us: it is asked by name.
#[tokio::test(flavor = "multi_thread")]
async fn the_source_sees_one_link_with_our_name() {
    let server = Server::start(Kind::Redis8_2, &[]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    until_streaming(&running).await;
    let list = client.cmd(&["CLIENT", "LIST", "TYPE", "replica"]).unwrap();
    let text = match list {
        Value::Bulk(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other}"),
    };
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("name=keyferry:capture:test"), "{text}");
    let replica = client.info_field("replication", "slave0").unwrap().unwrap();
    assert!(replica.contains("port=0"), "nobody takes us for a server: {replica}");
    running.stop().await;
}
