//! Snapshots on demand: what stands in the journal, who begins with one, and what is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use event::control::Control;
use event::{Body, Event, Position};
use journal::MemoryJournal;
use testkit::{Dataset, Kind, Server, Tolerance, assert_same};

use crate::applier::Applier;
use crate::follow::Follower;
use crate::running::{Running, Setup};

/// Keys at the start.
const KEYS: usize = 2_000;

type Events = Vec<(u16, Event)>;

/// A client that writes, and counts, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Load {
    fn start(server: &Server) -> Self {
        let mut client = server.client().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut written = 0u64;
            while !seen.load(Ordering::Relaxed) {
                let (key, new) = (format!("key:{}", written % 1_000), format!("new:{written}"));
                // The source keeps the pace: some hundred rounds a second, on whatever machine.
                client.cmd(&["BLPOP", "absent", "0.002"]).unwrap();
                client.cmd(&["INCR", "counter"]).unwrap();
                client.cmd(&["APPEND", &key, "+"]).unwrap();
                client.cmd(&["SET", &new, "x"]).unwrap();
                client.cmd(&["DEL", &format!("key:{}", 1_000 + written % 1_000)]).unwrap();
                client.cmd(&["RENAME", &new, "renamed"]).unwrap();
                written += 1;
            }
            written
        });
        Self { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn filled(kind: Kind, config: &[&str]) -> Server {
    let server = Server::start(kind, config).unwrap();
    let mut client = server.client().unwrap();
    for number in 0..KEYS {
        client.cmd(&["SET", &format!("key:{number}"), &"v".repeat(number % 200 + 1)]).unwrap();
    }
    client.cmd(&["RPUSH", "list", "a", "b", "c"]).unwrap();
    client.cmd(&["SET", "large", &"x".repeat(3_000_000)]).unwrap();
    // An image of it is larger than a record.
    client.cmd(&["HSET", &"k".repeat(2_000_000), "field", "value"]).unwrap();
    server
}

fn done(running: &Running) -> i64 {
    running.status("on_demand")["done"].as_i64().unwrap_or(0)
}

async fn all_of(journal: &MemoryJournal) -> Follower {
    let mut follower = Follower::of(journal).await;
    follower.read_all(journal).await;
    follower
}

/// The ids of the snapshots on demand that began and of those that ended, in partition 0.
fn ids(events: &[(u16, Event)]) -> (Vec<u64>, Vec<u64>) {
    let first =
        || events.iter().filter(|(partition, event)| *partition == 0 && event.snapshot_id() > 0);
    let ids = |is_it: fn(&Control) -> bool| {
        let control = move |event: &Event| matches!(&event.body, Body::Control(it) if is_it(it));
        first().filter(|(_, event)| control(event)).map(|(_, event)| event.snapshot_id()).collect()
    };
    let begun = ids(|control| matches!(control, Control::SnapshotBegin(_)));
    (begun, ids(|control| matches!(control, Control::SnapshotEnd(_))))
}

/// The events of the stream, and those of a snapshot on demand.
fn parted(events: &[(u16, Event)], id: u64) -> (Events, Events) {
    let of = |wanted: u64| {
        events.iter().filter(move |(_, event)| event.snapshot_id() == wanted).cloned().collect()
    };
    (of(0), of(id))
}

/// A destination that takes the stream only, and one that begins with the snapshot, both hold what the source does.
fn assert_both_ways_lead_there(server: &Server, events: &[(u16, Event)], id: u64) {
    let (stream, snapshot) = parted(events, id);
    let (_, last) = snapshot.last().unwrap();
    let at = last.position.at_index(Position::LAST_INDEX);
    let after = stream.iter().filter(|(_, event)| event.position.is_after(&at)).cloned();
    let from_snapshot: Vec<_> = snapshot.iter().cloned().chain(after).collect();
    assert!(from_snapshot.len() < events.len());
    let mut client = server.client().unwrap();
    let source = Dataset::read(&mut client).unwrap();
    for events in [stream.clone(), from_snapshot] {
        let target = Server::start(server.kind(), &[]).unwrap();
        let mut applier = Applier::to(&target);
        applier.apply_all(&events);
        assert_eq!(applier.refused, Vec::<String>::new());
        assert_same(&source, &applier.data(), &Tolerance::native(server.kind(), server.kind()));
    }
    let in_order = Follower::with(stream);
    in_order.assert_in_order();
    assert_eq!(in_order.epochs(), (1, 1), "the stream goes on in its epoch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_on_demand_is_made_beside_the_stream_under_load() {
    for (kind, how) in [
        (Kind::Redis6_2, "repl-diskless-sync no"),
        (Kind::Redis8_2, "repl-diskless-sync yes"),
        (Kind::Valkey9_1, "repl-diskless-sync yes"),
    ] {
        // So that it lasts for a while.
        let slow = "rdb-key-save-delay 500";
        let server = filled(kind, &[how, "repl-diskless-sync-delay 0", slow]);
        let setup = Setup::new(&server);
        let running = setup.start().await;
        running.until("the stream flows", |it| it.status("phase") == "stream").await;
        let load = Load::start(&server);
        assert_eq!(running.snapshots.give(), 1);
        running.until("the snapshot is there", |it| done(it) == 1).await;
        running.snapshots.made().wait_for(|made| made.done == 1).await.unwrap();
        let written = load.stop();
        assert!(written > 0, "{kind}: {written}");
        running.until_in_step(&server).await;
        assert_eq!(running.number("full_transfers"), 1);
        assert_eq!(running.status("on_demand")["percent"], 100.0);
        assert!(running.status("on_demand")["keys"].as_u64().unwrap() > 1_000);
        running.stop().await;
        let follower = all_of(&setup.journal).await;
        let (begun, ended) = ids(&follower.events);
        assert_eq!((begun.len(), &begun), (1, &ended), "{kind}");
        assert_both_ways_lead_there(&server, &follower.events, begun[0]);
    }
}

/// So slow that it can be met in the middle.
const SLOW: [&str; 4] = [
    "repl-backlog-size 100mb",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "rdb-key-save-delay 0",
];

/// One under way, of which some keys are recorded.
async fn under_way(running: &Running, server: &Server) {
    server.client().unwrap().cmd(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]).unwrap();
    running.snapshots.give();
    let some = |it: &Running| it.status("on_demand")["keys"].as_u64().unwrap_or(0) > 100;
    running.until("some keys are recorded", some).await;
    server.client().unwrap().cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_dies_during_one_goes_on_with_the_stream_and_makes_another() {
    let server = filled(Kind::Valkey9_1, &SLOW);
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    let load = Load::start(&server);
    under_way(&running, &server).await;
    running.kill().await;
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    assert_eq!(running.number("full_transfers"), 0, "it goes on");
    running.snapshots.give();
    running.until("the snapshot is there", |it| done(it) == 1).await;
    load.stop();
    running.until_in_step(&server).await;
    running.stop().await;
    let follower = all_of(&setup.journal).await;
    let (begun, ended) = ids(&follower.events);
    assert_eq!((begun.len(), ended.len()), (2, 1), "the first is void");
    assert!(begun[1] > begun[0]);
    assert_both_ways_lead_there(&server, &follower.events, ended[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_link_is_lost_is_begun_anew_and_the_stream_goes_on() {
    let server = filled(Kind::Redis7_0, &SLOW);
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    let load = Load::start(&server);
    under_way(&running, &server).await;
    // Both links: that of the stream is resumed.
    server.client().unwrap().cmd(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
    running.until("another is there", |it| done(it) == 1).await;
    load.stop();
    running.until_in_step(&server).await;
    assert_eq!(running.number("full_transfers"), 1);
    assert!(running.status("on_demand")["given_up"].as_u64().unwrap() >= 1);
    running.stop().await;
    let follower = all_of(&setup.journal).await;
    let (begun, ended) = ids(&follower.events);
    assert!(begun.len() >= 2 && ended.len() == 1 && begun.last() == ended.last());
    assert_both_ways_lead_there(&server, &follower.events, ended[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_history_that_the_stream_leaves_is_given_up() {
    let server = filled(Kind::Redis7_0, &SLOW);
    let setup = Setup::new(&server);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    under_way(&running, &server).await;
    let mut client = server.client().unwrap();
    client.cmd(&["DEBUG", "CHANGE-REPL-ID"]).unwrap();
    // The second link would hear nothing of it.
    let kill_first = ["CLIENT", "KILL", "TYPE", "replica", "SKIPME", "yes"];
    client.cmd(&kill_first).unwrap();
    running.until("the stream begins anew", |it| it.number("full_transfers") == 2).await;
    running.until("another is there", |it| done(it) == 1).await;
    running.until_in_step(&server).await;
    running.stop().await;
    let follower = all_of(&setup.journal).await;
    let (begun, ended) = ids(&follower.events);
    assert!(begun.len() >= 2 && ended.len() == 1 && begun.last() == ended.last());
    let epoch_of = |id: u64| {
        let first = follower.events.iter().find(|(_, event)| event.snapshot_id() == id);
        first.unwrap().1.position.epoch
    };
    assert!(epoch_of(ended[0]) > epoch_of(begun[0]), "it is of the new epoch");
}
