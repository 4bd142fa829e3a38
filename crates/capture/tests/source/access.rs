//! Accounts that may not do everything, and addresses behind which there is no source.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use testkit::{Kind, Process, Server, eventually};

use crate::follow::{Follower, is_command};
use crate::running::{PATIENCE, Running, Setup, told};

fn uri_with(server: &Server, credentials: &str) -> String {
    server.uri().replace("redis://", &format!("redis://{credentials}@"))
}

/// A user with those rules, and how to connect as that user.
fn user(server: &Server, rules: &[&str]) -> Setup {
    let mut client = server.client().unwrap();
    let head = ["ACL", "SETUSER", "kf", "on", ">secret"];
    client.cmd(&[head.as_slice(), rules].concat()).unwrap();
    Setup::of(uri_with(server, "kf:secret"))
}

/// Well below the time that a stop has where something can still be finished.
const SOON: Duration = Duration::from_secs(6);

const LINK_RULES: [&str; 4] = ["+psync", "+replconf", "+ping", "+info"];

fn clock_tells(text: &'static str) -> impl Fn(&Running) -> bool {
    move |it| it.status("clock").as_str().is_some_and(|clock| clock.contains(text))
}

/// The link works, whatever else is not allowed.
async fn assert_records(server: &Server, setup: &Setup, running: &Running) {
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    let mut client = server.client().unwrap();
    client.cmd(&["SET", "written", "1"]).unwrap();
    let mut follower = Follower::of(&setup.journal).await;
    follower.until("the write", is_command("SET written 1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_write_captures_without_a_heartbeat() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[]).unwrap();
        let setup = user(&server, &[&LINK_RULES[..], &["+time", "+client"]].concat());
        let running = setup.start().await;
        running.until("the status says so", clock_tells("without heartbeat: it refuses SET")).await;
        assert_records(&server, &setup, &running).await;
        running.stop().await;
        let mut client = server.client().unwrap();
        let log = client.cmd(&["ACL", "LOG"]).unwrap().array().unwrap();
        assert!(log.len() <= 2, "{kind}: the source's log is not filled: {}", log.len());
    }
}

/// A capture that has met `MYPUSH list a`, a command that it does not know and may not ask about.
async fn waiting_for_the_right_to_ask(server: &Server) -> (Setup, Running) {
    let setup = user(server, &LINK_RULES);
    let running = setup.start().await;
    running.until("the stream flows", |it| it.status("phase") == "stream").await;
    let mut client = server.client().unwrap();
    client.cmd(&["MYPUSH", "list", "a"]).unwrap();
    let named =
        |it: &Running| it.status("trouble").as_str().is_some_and(|it| it.contains("MYPUSH"));
    running.until("the status names the command", named).await;
    (setup, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_knows_waits_until_it_may_be_asked_about() {
    let server = Server::start(Kind::Redis7_0, &["rename-command RPUSH mypush"]).unwrap();
    let (setup, running) = waiting_for_the_right_to_ask(&server).await;
    let mut client = server.client().unwrap();
    client.cmd(&["ACL", "SETUSER", "kf", "+command"]).unwrap();
    let mut follower = Follower::of(&setup.journal).await;
    follower.until("the write", is_command("MYPUSH list a")).await;
    running.until("there is no trouble any more", |it| it.status("trouble").is_null()).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_the_right_to_ask() {
    let server = Server::start(Kind::Redis7_0, &["rename-command RPUSH mypush"]).unwrap();
    let (setup, running) = waiting_for_the_right_to_ask(&server).await;
    let mut client = server.client().unwrap();
    let summary = tokio::time::timeout(SOON, running.stop()).await.expect("a soon end");
    assert!(!summary.complete, "{summary:?}");
    client.cmd(&["ACL", "SETUSER", "kf", "+command"]).unwrap();
    let running = setup.start().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.until("the write", is_command("MYPUSH list a")).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_ask_the_time_captures_by_our_own_clock() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let setup = user(&server, &LINK_RULES);
    let running = setup.start().await;
    running.until("the status says so", clock_tells("ours: the source refuses TIME")).await;
    assert_records(&server, &setup, &running).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_do_everything_writes_heartbeats_that_nobody_sees() {
    let server = Server::start(Kind::Valkey9_1, &[]).unwrap();
    let setup =
        Setup::new(&server).with(|config| config.heartbeat_interval = Duration::from_millis(20));
    let running = setup.start().await;
    running.until("the status says so", clock_tells("source, by heartbeat")).await;
    let mut client = server.client().unwrap();
    eventually(PATIENCE, "the key is there", || {
        Ok(client.cmd(&["GET", "keyferry:heartbeat:test"])?.bytes().ok())
    })
    .unwrap();
    let ttl = client.cmd(&["PTTL", "keyferry:heartbeat:test"]).unwrap().int().unwrap();
    assert!(ttl > 0, "it does not stay");
    assert_records(&server, &setup, &running).await;
    running.stop().await;
    let mut follower = Follower::of(&setup.journal).await;
    follower.read_all(&setup.journal).await;
    assert_eq!(follower.commands(), [["SET", "written", "1"]]);
    let beats = follower.events.iter().filter(|(p, e)| *p == 0 && e.kind() == "heartbeat");
    assert!(beats.count() >= 2, "but the journal has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_with_the_endpoint_and_what_to_do() {
    let server = Server::start(Kind::Redis7_0, &["requirepass right"]).unwrap();
    let port = server.port().to_string();
    let text = Setup::of(uri_with(&server, ":wrong")).refusal().await;
    assert!(text.contains(&port) && text.contains("wrong user or password"), "{text}");
    assert!(text.contains("Check user and password"), "{text}");
    assert!(!text.contains(":wrong"), "{text}");
    let text = Setup::new(&server).refusal().await;
    assert!(text.contains(&port) && text.contains("wants a password"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_info_or_psync_is_told_which_permission_is_missing() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &[]).unwrap();
        let port = server.port().to_string();
        let text = user(&server, &["+psync", "+replconf", "+ping"]).refusal().await;
        assert!(text.contains(&port) && text.contains("allow +info"), "{kind}: {text}");
        let setup = user(&server, &["-@all", "+info", "+ping", "+time"]);
        let error = setup.start().await.end().await.unwrap_err();
        let text = told(&error);
        assert!(text.contains(&port) && text.contains("NOPERM"), "{kind}: {text}");
        let setup = user(&server, &["+replconf"]);
        let error = setup.start().await.end().await.unwrap_err();
        let text = told(&error);
        assert!(text.contains(&port) && text.contains("psync"), "{kind}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_redis_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut asked = [0; 512];
            if stream.read(&mut asked).is_ok() {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
            }
        }
    });
    let text = Setup::of(format!("redis://127.0.0.1:{port}")).refusal().await;
    assert!(text.contains(&port.to_string()), "{text}");
    assert!(text.contains("does not speak the Redis protocol"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_told_so() {
    let port = testkit::free_port().unwrap();
    let text = Setup::of(format!("redis://127.0.0.1:{port}")).refusal().await;
    assert!(text.contains("nobody listens there") && text.contains(&port.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_is_told_so() {
    for kind in Kind::ALL {
        let server = Server::start(kind, &["cluster-enabled yes"]).unwrap();
        let text = Setup::new(&server).refusal().await;
        let port = server.port().to_string();
        assert!(text.contains("node of a cluster") && text.contains(&port), "{kind}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_is_told_so() {
    let watched = Server::start(Kind::Redis7_0, &[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let port = testkit::free_port().unwrap();
    let config = dir.path().join("sentinel.conf");
    let lines = [
        format!("port {port}"),
        "bind 127.0.0.1".to_owned(),
        format!("sentinel monitor watched 127.0.0.1 {} 1", watched.port()),
    ];
    std::fs::write(&config, lines.join("\n") + "\n").unwrap();
    let binary = Kind::Redis7_0.tool("redis-sentinel").unwrap();
    let _sentinel = Process::program(&binary, &[config.to_str().unwrap()], &[]).unwrap();
    eventually(PATIENCE, "the sentinel listens", || {
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
    })
    .unwrap();
    let text = Setup::of(format!("redis://127.0.0.1:{port}")).refusal().await;
    assert!(text.contains("sentinel") && text.contains("name a server that it watches"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_writes_is_told_so() {
    let primary = Server::start(Kind::Redis7_0, &[]).unwrap();
    let of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::start(Kind::Redis7_0, &[&of, "replica-read-only no"]).unwrap();
    let text = Setup::new(&replica).refusal().await;
    assert!(text.contains("takes writes of its own"), "{text}");
}
