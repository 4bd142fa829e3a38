//! The servers that tests stand on behave as promised.

use std::time::Duration;

use testkit::{Kind, Server, ServerCert, TlsFiles, Value, eventually};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn every_kind_starts_answers_and_has_its_version() {
    for kind in Kind::EVERY {
        let server = Server::start(kind, &["maxmemory 50mb"]).unwrap();
        let mut client = server.client().unwrap();
        let field = if kind.is_valkey() { "valkey_version" } else { "redis_version" };
        let version = client.info_field("server", field).unwrap().unwrap();
        let (_, wanted) = kind.name().split_once('-').unwrap();
        assert!(version.starts_with(wanted), "{kind} says {version}");
        let limit = client.cmd(&["CONFIG", "GET", "maxmemory"]).unwrap();
        assert_eq!(limit.list().unwrap()[1], b"52428800");
    }
}

#[test]
fn a_killed_server_starts_again_on_its_port_with_what_it_saved() {
    let mut server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    client.cmd(&["SET", "a", "1"]).unwrap();
    client.cmd(&["SAVE"]).unwrap();
    client.cmd(&["SET", "a", "2"]).unwrap();
    let (port, pid) = (server.port(), server.pid());
    server.kill().unwrap();
    assert!(client.ask(&["PING"]).is_err());
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), pid);
    let mut client = testkit::Client::tcp(server.addr()).unwrap();
    assert_eq!(client.cmd(&["GET", "a"]).unwrap(), Value::Bulk(b"1".to_vec()));
    server.stop().unwrap();
    assert!(server.log().contains("ready to exit, bye bye"), "{}", server.log());
}

#[test]
fn a_paused_server_keeps_silent_until_it_is_resumed() {
    let server = Server::start(Kind::Valkey9_1, &[]).unwrap();
    let mut client = server.client().unwrap();
    server.pause().unwrap();
    client.set_reply_limit(Some(Duration::from_millis(50))).unwrap();
    assert!(client.ask(&["PING"]).is_err());
    server.resume().unwrap();
    client.set_reply_limit(Some(LIMIT)).unwrap();
    assert_eq!(client.read().unwrap(), Value::Simple("PONG".into()));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let error = Server::start(Kind::Redis6_2, &["no-such-option 1"]).unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let (addr, dir) = (server.addr(), server.dir().to_owned());
    drop(server);
    assert!(testkit::Client::tcp(addr).is_err());
    assert!(!dir.exists());
}

#[test]
fn a_server_lives_on_when_the_thread_that_started_it_ends() {
    let start = || Server::start(Kind::Redis7_0, &[]).unwrap();
    let server = std::thread::spawn(start).join().unwrap();
    let mut client = server.client().unwrap();
    for _ in 0..20 {
        assert_eq!(client.cmd(&["PING"]).unwrap(), Value::Simple("PONG".into()));
    }
}

#[test]
fn a_replica_follows_its_primary() {
    let primary = Server::start(Kind::Redis7_0, &[]).unwrap();
    let of = format!("replicaof 127.0.0.1 {}", primary.port());
    let replica = Server::start(Kind::Redis7_0, &[&of]).unwrap();
    primary.client().unwrap().cmd(&["SET", "k", "v"]).unwrap();
    let mut client = replica.client().unwrap();
    eventually(LIMIT, "the key is at the replica", || {
        Ok((client.ask(&["GET", "k"])? == Value::Bulk(b"v".to_vec())).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_tls_server_speaks_tls_only_on_its_port() {
    let files = TlsFiles::generate().unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_tls()) {
        let server = Server::start_tls(kind, &files, ServerCert::Good, &[]).unwrap();
        assert!(server.uri().starts_with("rediss://"));
        let plain =
            testkit::Client::tcp(server.addr()).and_then(|mut client| client.ask(&["PING"]));
        assert!(plain.is_err(), "{kind} answered plain text: {plain:?}");
    }
}
