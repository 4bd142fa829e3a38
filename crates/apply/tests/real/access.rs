//! Passwords and rights that change while a lane is at work: waited for, with the password read again at every attempt.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use apply::{BuildError, Config, Error, Windows};
use bytes::BytesMut;
use parking_lot::Mutex;
use redis_io::{Endpoint, PasswordSource};
use runtime::{Classified, Secret};
use testkit::{Kind, eventually};
use wire::resp::encode::write_command;
use wire::resp::reply::{ReplyDecoder, ReplyLimits};

use crate::harness::{Bench, LIMIT, Service};

/// A password that others change; none: its file is not there at the moment.
#[derive(Clone, Debug, Default)]
struct Rotating(Arc<Mutex<Option<String>>>);

// === impl Rotating ===

impl Rotating {
    fn put(&self, password: Option<&str>) {
        *self.0.lock() = password.map(str::to_owned);
    }
}

impl PasswordSource for Rotating {
    fn password(&self) -> io::Result<Secret> {
        let now = self.0.lock().clone();
        now.map(Secret::new).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

/// A destination with a password, and the settings that know where it is told.
async fn bench(kind: Kind) -> Result<(Bench, Config, Rotating)> {
    let mut bench = Bench::streaming(kind).await?;
    bench.client.cmd(&["CONFIG", "SET", "requirepass", "first"])?;
    let rotating = Rotating::default();
    rotating.put(Some("first"));
    let endpoint = Endpoint::parse(&bench.server.uri())?;
    let endpoint = endpoint.with_password_source(Arc::new(rotating.clone()));
    Ok((bench, Config::new(endpoint), rotating))
}

/// Changes the password, and ends the connections that were let in with the one before.
fn rotate(bench: &mut Bench, password: &str) -> Result<()> {
    bench.client.cmd(&["CONFIG", "SET", "requirepass", password])?;
    bench.client.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    Ok(())
}

fn waiting_for(service: &Service, what: &str) -> Result<()> {
    eventually(LIMIT, format!("the service waits for {what}"), || {
        Ok(service.lane("waiting_for").contains(what).then_some(()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_rotated_is_picked_up() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis7_0, Kind::Valkey9_1] {
        let (mut bench, config, rotating) = bench(kind).await?;
        let service = bench.start_with(config).await?;
        bench.feed.command("INCR n").await?;
        bench.caught_up()?;
        rotate(&mut bench, "second")?;
        bench.feed.command("INCR n").await?;
        waiting_for(&service, "wrong user or password")?;
        service.shows("phase", "waiting")?;
        rotating.put(None);
        waiting_for(&service, "cannot read the password")?;
        rotating.put(Some("second"));
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("2"));
        // The other order: the file first.
        rotating.put(Some("third"));
        rotate(&mut bench, "third")?;
        bench.feed.command("INCR n").await?;
        bench.caught_up()?;
        assert_eq!(bench.get("n")?.as_deref(), Some("3"));
        service.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_stays_wrong_is_given_up_after_the_window() -> Result<()> {
    let (mut bench, config, _rotating) = bench(Kind::Redis7_0).await?;
    let windows = Windows { refused: Duration::from_millis(500), ..Windows::default() };
    let service = bench.start_with(Config { windows, ..config }).await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    rotate(&mut bench, "second")?;
    let error = service.failed().await?;
    assert!(matches!(error, Error::GaveUp { .. }) && error.is_denied(), "{error}");
    assert!(error.advice().contains("password"), "{}", error.advice());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_at_the_start_is_told_at_once() -> Result<()> {
    let (bench, config, rotating) = bench(Kind::Redis7_0).await?;
    rotating.put(Some("typo"));
    let Err(BuildError::Start(error)) = bench.build(config).await else { panic!("built") };
    assert!(error.is_denied() && !matches!(error, Error::GaveUp { .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_is_waited_for() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"])?;
    let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
    let service = bench.start_with(Config::new(Endpoint::parse(&uri)?)).await?;
    bench.feed.command("INCR n").await?;
    bench.caught_up()?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "-client|list"])?;
    bench.client.cmd(&["CLIENT", "KILL", "USER", "app"])?;
    bench.feed.command("INCR n").await?;
    waiting_for(&service, "CLIENT LIST")?;
    eventually(LIMIT, "it says what to do", || {
        Ok(service.lane("advice").contains("+client|list").then_some(()))
    })?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "+client|list"])?;
    bench.caught_up()?;
    // The user is gone, and comes back.
    bench.client.cmd(&["ACL", "DELUSER", "app"])?;
    bench.feed.command("INCR n").await?;
    waiting_for(&service, "wrong user or password")?;
    bench.client.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"])?;
    bench.caught_up()?;
    assert_eq!(bench.get("n")?.as_deref(), Some("3"));
    service.stop().await?;
    Ok(())
}

/// Passes commands on as a proxy does that answers to transactions without making any. Gives its port.
fn without_transactions(server: u16) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || -> Result<()> {
        for client in listener.incoming() {
            let (mut client, mut server) =
                (client?, TcpStream::connect((Ipv4Addr::LOCALHOST, server))?);
            let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
            thread::spawn(move || io::copy(&mut answers, &mut back));
            thread::spawn(move || -> Result<()> {
                let mut commands = ReplyDecoder::new(ReplyLimits::default());
                let mut bytes = vec![0; 1 << 16];
                loop {
                    let read = client.read(&mut bytes)?;
                    if read == 0 {
                        return Ok(server.shutdown(Shutdown::Both)?);
                    }
                    commands.feed(&bytes[..read]);
                    while let Some(command) = commands.next_reply()? {
                        let words = command.as_array().unwrap_or_default().iter();
                        let words: Vec<&[u8]> = words
                            .filter_map(|word| word.as_bytes().map(|word| &word[..]))
                            .collect();
                        match words[..] {
                            [b"MULTI" | b"DISCARD"] => client.write_all(b"+OK\r\n")?,
                            [b"EXEC"] => client.write_all(b"*0\r\n")?,
                            _ => {
                                let mut out = BytesMut::new();
                                write_command(&mut out, words);
                                server.write_all(&out)?;
                            }
                        }
                    }
                }
            });
        }
        Ok(())
    });
    Ok(port)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_executed_where_rights_are_looked_for_without_a_transaction() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.feed.command("SET a 1").await?;
    let service = bench.start().await?;
    bench.caught_up()?;
    service.stop().await?;
    let before = bench.client.cmd(&["KEYS", "*"])?;
    let port = without_transactions(bench.server.port())?;
    let config = Config::new(Endpoint::parse(&format!("redis://127.0.0.1:{port}"))?);
    let Err(BuildError::Start(error)) = bench.build(config).await else { panic!("built") };
    assert!(matches!(error, Error::NoTransactions { .. }), "{error}");
    assert!(error.to_string().contains("GET"), "{error}");
    assert!(error.advice().contains("proxy"), "{}", error.advice());
    assert_eq!(bench.client.cmd(&["KEYS", "*"])?, before);
    assert_eq!(bench.get("a")?.as_deref(), Some("1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_read_that_is_missing_does_not_hide_the_others() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    let rules = ["-get", "-hgetall", "-del", "-flushdb", "-scan"];
    let user = ["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"];
    bench.client.cmd(&[&user[..], &rules[..]].concat())?;
    let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
    let config = Config::new(Endpoint::parse(&uri)?);
    let Err(BuildError::Start(error)) = bench.build(config).await else { panic!("built") };
    for right in ["get", "hgetall", "del", "flushdb", "scan"] {
        assert!(error.advice().contains(&format!("+{right}")), "{}", error.advice());
    }
    Ok(())
}

/// What the documentation gives an account at the destination.
const DOCUMENTED: &str = "~* -@all +@write +ping +info +select +scan +get +hgetall +hexists +watch +multi \
                          +exec +discard +client|setname +client|list +client|kill +type +getrange +hmget";

/// An account with the documented rights but for some. Gives settings that use it.
pub(crate) fn account(bench: &mut Bench, changes: &[&str]) -> Result<Config> {
    let mut rules = vec!["ACL", "SETUSER", "app", "reset", "on", ">pw"];
    rules.extend(DOCUMENTED.split_whitespace());
    rules.extend(changes);
    bench.client.cmd(&rules)?;
    let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
    Ok(Config::new(Endpoint::parse(&uri)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_does_not_tell_what_it_holds_is_looked_into() -> Result<()> {
    for changes in [&["-info"][..], &["-info", "-scan", "+dbsize"], &["-info", "+dbsize"]] {
        for kind in [Kind::Redis6_2, Kind::Redis7_0, Kind::Valkey9_1] {
            let mut bench = Bench::streaming(kind).await?;
            let config = account(&mut bench, changes)?;
            bench.client.cmd(&["SELECT", "3"])?;
            bench.client.cmd(&["SET", "other", "precious"])?;
            let Err(BuildError::Start(error)) = bench.build(config.clone()).await else {
                panic!("built with {changes:?}")
            };
            let is_seen = match error {
                Error::Existing { db, keys, .. } => (db, keys) == (3, 1),
                // One key may be ours, and nobody may look.
                _ => error.advice().contains("+scan"),
            };
            assert!(is_seen, "{changes:?}: {error}");
            bench.client.cmd(&["DEL", "other"])?;
            bench.client.cmd(&["SELECT", "0"])?;
            bench.feed.command("SET a 1").await?;
            let service = bench.start_with(config).await?;
            bench.caught_up()?;
            assert_eq!(bench.get("a")?.as_deref(), Some("1"));
            service.stop().await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_be_looked_into_is_refused() -> Result<()> {
    let mut bench = Bench::streaming(Kind::Redis7_0).await?;
    bench.client.cmd(&["SET", "other", "precious"])?;
    let config = account(&mut bench, &["-info", "-scan"])?;
    let Err(BuildError::Start(error)) = bench.build(config.clone()).await else { panic!("built") };
    assert!(matches!(error, Error::Untold { .. }), "{error}");
    assert!(error.to_string().contains("whether database 0 is empty"), "{error}");
    assert!(error.advice().contains("ACL SETUSER app +info"), "{}", error.advice());
    // Who says what is to be done with it has no need to know.
    let config = Config { existing: apply::Existing::Overwrite, ..config };
    bench.build(config).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_known_as_one_where_it_may_not_be_asked() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let config = account(&mut bench, &["-info"])?;
        bench.client.cmd(&["CONFIG", "SET", "replica-serve-stale-data", "yes"])?;
        bench.client.cmd(&["REPLICAOF", "127.0.0.1", "1"])?;
        bench.client.cmd(&["CONFIG", "SET", "replica-read-only", "no"])?;
        let Err(BuildError::Start(error)) = bench.build(config).await else { panic!("built") };
        assert!(matches!(error, Error::Unfit { what: "is a replica", .. }), "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_patterns_of_the_account_leave_out_is_named() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis7_0, Kind::Valkey9_1] {
        let mut bench = Bench::streaming(kind).await?;
        let user =
            ["ACL", "SETUSER", "app", "on", ">pw", "&*", "+@all", "~allowed:*", "~keyferry:*"];
        bench.client.cmd(&user)?;
        let uri = format!("redis://app:pw@127.0.0.1:{}", bench.server.port());
        let service = bench.start_with(Config::new(Endpoint::parse(&uri)?)).await?;
        for command in ["SET allowed:1 1", "SET allowed:2 1", "SET secret:7 1", "SET allowed:3 1"] {
            bench.feed.command(command).await?;
        }
        waiting_for(&service, "refuses SET of db 0 secret:7")?;
        eventually(LIMIT, "it says what to do", || {
            Ok(service.lane("advice").contains("ACL SETUSER app ~secret:*").then_some(()))
        })?;
        bench.client.cmd(&["ACL", "SETUSER", "app", "~secret:*"])?;
        bench.caught_up()?;
        assert_eq!(bench.get("secret:7")?.as_deref(), Some("1"));
        service.stop().await?;
    }
    Ok(())
}
