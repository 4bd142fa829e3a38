//! The greeting against scripted answers.

use std::time::Duration;

use runtime::{Class, Classified, ManualClock};
use tokio::io::AsyncWriteExt;
use wire::resp::reply::ReplyLimits;

use super::*;
use crate::connection::Peer;
use crate::transport::Transport;

/// Greets a server that has already written `answers` and then closes.
async fn greeted(uri: &str, answers: &str) -> Result<Connection, Error> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 12);
    theirs.write_all(answers.as_bytes()).await.unwrap();
    theirs.shutdown().await.unwrap();
    let endpoint = Endpoint::parse(uri).unwrap();
    let peer = Peer {
        name: endpoint.to_string().into(),
        clock: Arc::new(ManualClock::new(0)),
        patience: Duration::from_secs(60),
    };
    let mut connection = Connection::over(Transport::Memory(ours), peer, ReplyLimits::default());
    greet(&mut connection, &endpoint, Some("keyferry")).await?;
    Ok(connection)
}

#[tokio::test]
async fn lets_in_a_server_that_answers_as_a_redis() {
    let connection = greeted("redis://u:p@h/3", "+OK\r\n+OK\r\n+OK\r\n+PONG\r\n").await.unwrap();
    assert!(connection.is_named());
    assert_eq!(connection.db(), 3);
}

#[tokio::test]
async fn a_refused_name_or_ping_is_no_reason_to_leave() {
    let answers = "-NOPERM no permissions to run the 'client|setname' command\r\n-NOPERM ping\r\n";
    assert!(!greeted("redis://h", answers).await.unwrap().is_named());
    let misconf = "+OK\r\n-MISCONF Errors writing to the AOF file\r\n";
    assert!(greeted("redis://h", misconf).await.is_ok());
}

#[tokio::test]
async fn tells_the_ways_of_not_being_let_in_apart() {
    let cases = [
        ("redis://:p@h", "-WRONGPASS invalid username-password pair\r\n", AuthKind::WrongPassword),
        ("redis://:p@h", "-ERR invalid password\r\n", AuthKind::WrongPassword),
        ("redis://:p@h", "-ERR Client sent AUTH, but no password is set\r\n", AuthKind::NotNeeded),
        (
            "redis://u:p@h",
            "-ERR wrong number of arguments for 'auth' command\r\n",
            AuthKind::NoUsers,
        ),
        ("redis://h", "-NOAUTH x\r\n-NOAUTH Authentication required.\r\n", AuthKind::NoPassword),
    ];
    for (uri, answers, expected) in cases {
        match greeted(uri, answers).await {
            Err(error @ Error::Auth { kind, .. }) => {
                assert_eq!((kind, error.class()), (expected, Class::Operator), "{answers}");
            }
            other => panic!("{answers}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn recognises_what_is_not_redis() {
    let cases = [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "host and port"),
        ("\u{15}\u{3}\u{3}\0\u{2}\u{2}F", "rediss://"),
    ];
    for (answers, advice) in cases {
        let error = greeted("redis://h", answers).await.unwrap_err();
        assert!(matches!(error, Error::NotRedis { .. }), "{error}");
        assert!(error.advice().contains(advice), "{}", error.advice());
    }
}

#[tokio::test]
async fn a_server_that_cannot_serve_yet_is_tried_again() {
    let loading = "+OK\r\n-LOADING Redis is loading the dataset in memory\r\n";
    assert_eq!(greeted("redis://h", loading).await.unwrap_err().class(), Class::Retry);
    let full = greeted("redis://h", "-ERR max number of clients reached\r\n").await.unwrap_err();
    assert_eq!(full.class(), Class::Retry);
    assert!(full.advice().contains("maxclients"));
    let closed = greeted("redis://h", "").await.unwrap_err();
    assert!(matches!(closed, Error::Closed { .. }) && closed.class() == Class::Retry);
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let answers = "+OK\r\n-ERR DB index is out of range\r\n+PONG\r\n";
    let error = greeted("redis://h/99", answers).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "redis://h:6379/99 refused SELECT 99: ERR DB index is out of range"
    );
    assert_eq!(error.class(), Class::Operator);
}
