//! The strongest check: what was recorded, applied to a second server, makes the same data set.

use std::time::Duration;

use testkit::examples::every_command;
use testkit::{Client, Dataset, Kind, Server, Tolerance, Workload, assert_same, eventually};

use crate::applier::Applier;
use crate::follow::Follower;
use crate::running::Setup;

/// How late the deadlines of a Redis 6.2 may come: it tells how long, not until when.
const SLACK_MS: u64 = 60_000;

fn tolerance(kind: Kind) -> Tolerance {
    let native = Tolerance::native(kind, kind);
    let ttl_slack_ms = if kind == Kind::Redis6_2 { SLACK_MS } else { native.ttl_slack_ms };
    Tolerance { ttl_slack_ms, ..native }
}

/// Takes away what is gone at a Redis 6.2 and goes here a little later.
fn forget_late(kind: Kind, left: &Dataset, right: &mut Dataset) {
    if kind != Kind::Redis6_2 {
        return;
    }
    let late = left.read_at_ms + SLACK_MS;
    for (db, keys) in &mut right.dbs {
        keys.retain(|key, entry| {
            left.get(*db, key).is_some() || entry.expires_at_ms.is_none_or(|at| at > late)
        });
    }
}

/// Records what `write` does to a source that held what `before` did, and compares.
async fn assert_recorded(
    kind: Kind,
    config: &[&str],
    before: impl FnOnce(&mut Client),
    write: impl FnOnce(&mut Client),
) {
    let server = Server::start(kind, config).unwrap();
    let target = Server::start(kind, &[]).unwrap();
    let mut client = server.client().unwrap();
    before(&mut client);
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    write(&mut client);
    running.until_in_step(&server).await;
    running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    follower.assert_in_order();
    assert_eq!(follower.epochs(), (1, 1), "{kind}");
    let mut applier = Applier::to(&target);
    applier.apply_all(&follower.events);
    assert_eq!(applier.refused, Vec::<String>::new(), "{kind}");
    let (left, mut right) = (Dataset::read(&mut client).unwrap(), applier.data());
    forget_late(kind, &left, &mut right);
    assert!(left.len() > 100, "{kind}: only {} keys", left.len());
    assert_same(&left, &right, &tolerance(kind));
}

fn run_examples(kind: Kind) -> impl Fn(&mut Client) {
    move |client| {
        for example in every_command(kind) {
            client.all(&example.setup).unwrap();
            client.all(&example.run).unwrap();
        }
    }
}

fn run_load(kind: Kind, seed: u64, units: usize) -> impl Fn(&mut Client) {
    move |client| {
        Workload::new(seed, kind).run(client, units).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_makes_the_same_data_from_the_stream() {
    for kind in Kind::ALL {
        assert_recorded(kind, &[], |_| {}, run_examples(kind)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_makes_the_same_data_from_a_snapshot_by_length() {
    for kind in Kind::ALL {
        let by_length = ["repl-diskless-sync no"];
        assert_recorded(kind, &by_length, run_examples(kind), |_| {}).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_makes_the_same_data_from_a_snapshot_by_mark() {
    for kind in Kind::ALL {
        let by_mark = ["repl-diskless-sync yes"];
        assert_recorded(kind, &by_mark, run_examples(kind), run_load(kind, 5, 500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_makes_the_same_data_from_snapshot_and_stream() {
    for kind in Kind::ALL {
        let (before, write) = (run_load(kind, 11, 3_000), run_load(kind, 12, 20_000));
        assert_recorded(kind, &[], before, write).await;
    }
}

/// The table of commands does not know this module's: the source is asked about them.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_a_module_is_asked_about_and_recorded() {
    let kind = Kind::Redis8_2;
    let module = format!("loadmodule {}", kind.tool("falkordb.so").unwrap().display());
    let server = Server::start(kind, &[&module]).unwrap();
    let target = Server::start(kind, &[&module]).unwrap();
    let mut client = server.client().unwrap();
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    for query in ["CREATE (:a {x: 1})-[:r]->(:b {x: 2})", "MATCH (n:a) SET n.y = 3"] {
        client.cmd(&["GRAPH.QUERY", "graph", query]).unwrap();
    }
    running.until_in_step(&server).await;
    running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    let commands = follower.commands();
    let of_graph = |words: &&Vec<String>| words[0].to_uppercase().starts_with("GRAPH.");
    assert!(commands.iter().filter(of_graph).count() >= 2, "{commands:?}");
    let mut applier = Applier::to(&target);
    applier.apply_all(&follower.events);
    assert_eq!(applier.refused, Vec::<String>::new());
    let ask = ["GRAPH.RO_QUERY", "graph", "MATCH (n) RETURN n.x, n.y ORDER BY n.x"];
    let rows = |client: &mut Client| match client.cmd(&ask).unwrap() {
        testkit::Value::Array(parts) => parts[1].clone(),
        other => panic!("{other}"),
    };
    assert_eq!(rows(&mut client), rows(&mut target.client().unwrap()));
}

/// Whoever was killed in between, the load goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_makes_the_same_data_whatever_restarts_meanwhile() {
    for kind in Kind::ALL {
        let backlog = ["repl-backlog-size 64mb", "repl-ping-replica-period 1"];
        let server = Server::start(kind, &backlog).unwrap();
        let target = Server::start(kind, &[]).unwrap();
        let mut client = server.client().unwrap();
        let setup = Setup::new(&server);
        let mut load = Workload::new(77, kind);
        for round in 0..6 {
            let running = setup.start().await;
            running.until("the stream flows", |it| it.status("phase") == "stream").await;
            load.run(&mut client, 400).unwrap();
            match round % 3 {
                0 => {
                    running.stop().await;
                }
                1 => running.kill().await,
                _ => {
                    client.cmd(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
                    load.run(&mut client, 400).unwrap();
                    running.kill().await;
                    setup.journal.crash();
                }
            }
            load.run(&mut client, 200).unwrap();
        }
        let running = setup.start().await;
        running.until_in_step(&server).await;
        running.stop().await;
        let mut follower = Follower::of(&setup.journal).await;
        follower.read_all(&setup.journal).await;
        follower.assert_in_order();
        assert_eq!(follower.epochs(), (1, 1), "{kind}: one full transfer");
        let mut applier = Applier::to(&target);
        applier.apply_all(&follower.events);
        assert_eq!(applier.refused, Vec::<String>::new(), "{kind}");
        let (left, mut right) = (Dataset::read(&mut client).unwrap(), applier.data());
        forget_late(kind, &left, &mut right);
        assert_same(&left, &right, &tolerance(kind));
        let limit = Duration::from_secs(10);
        eventually(limit, "the link is gone", || {
            let connected = client.info_field("replication", "connected_slaves")?;
            Ok((connected.as_deref() == Some("0")).then_some(()))
        })
        .unwrap();
    }
}
