//! Replies, limits and losses over an in-memory pipe.

use runtime::{Class, Classified, ManualClock};
use tokio::io::DuplexStream;

use super::*;

/// Little, so that a long write has to wait for its reader.
const PIPE_BYTES: usize = 256;

fn pair(clock: &ManualClock, limits: ReplyLimits) -> (Connection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let peer = Peer {
        name: "redis://test:1".into(),
        clock: Arc::new(clock.clone()),
        patience: Duration::from_secs(5),
    };
    (Connection::over(Transport::Memory(ours), peer, limits), theirs)
}

#[tokio::test]
async fn a_command_gets_its_reply_and_a_refusal_names_the_command() {
    let (mut connection, mut server) = pair(&ManualClock::new(0), ReplyLimits::default());
    server.write_all(b"$1\r\nv\r\n-NOPERM no\r\n-NOPERM no\r\n").await.unwrap();
    let reply = connection.call(["GET", "k"]).await.unwrap();
    assert_eq!(reply, Reply::Bulk("v".into()));
    let error = connection.call(["config", "get", "secret"]).await.unwrap_err();
    assert_eq!(error.to_string(), "redis://test:1 refused CONFIG GET: NOPERM no");
    assert_eq!(error.class(), Class::Operator);
    let error = connection.call(["AUTH", "hunter2"]).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn silence_ends_after_the_patience_and_says_for_what() {
    let clock = ManualClock::new(0);
    let (mut connection, _server) = pair(&clock, ReplyLimits::default());
    let (result, ()) = tokio::join!(connection.recv(), async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(5));
    });
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "gave up on redis://test:1 after 5s without progress: waiting for a reply"
    );
    assert_eq!(error.class(), Class::Retry);
}

#[tokio::test]
async fn a_server_that_takes_nothing_is_given_up_too() {
    let clock = ManualClock::new(0);
    let (mut connection, _server) = pair(&clock, ReplyLimits::default());
    let (result, ()) = tokio::join!(connection.send(&[b'x'; 1_000]), async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(5));
    });
    assert!(matches!(result, Err(Error::Timeout { doing: "writing commands", .. })));
}

#[tokio::test]
async fn a_reply_beyond_the_limit_ends_the_connection_not_the_memory() {
    let limits = ReplyLimits { max_bytes: 32, ..ReplyLimits::default() };
    let (mut connection, mut server) = pair(&ManualClock::new(0), limits);
    server.write_all(b"$1000000\r\n").await.unwrap();
    assert!(matches!(connection.recv().await, Err(Error::Protocol { .. })));
    assert!(matches!(connection.recv().await, Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn halves_pipeline_more_than_the_pipe_holds() {
    let (connection, server) = pair(&ManualClock::new(0), ReplyLimits::default());
    let (mut from_client, mut to_client) = tokio::io::split(server);
    let (mut reader, mut writer) = connection.split();
    let echo = async {
        let mut seen = 0;
        let mut buffer = [0; 256];
        while seen < 14 * 1_000 {
            let read = from_client.read(&mut buffer).await.unwrap();
            for _ in seen / 14..(seen + read) / 14 {
                to_client.write_all(b"+PONG\r\n").await.unwrap();
            }
            seen += read;
        }
    };
    let write = async {
        for _ in 0..1_000 {
            writer.send(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
        }
        writer.flush().await.unwrap();
    };
    let read = async {
        for _ in 0..1_000 {
            assert_eq!(reader.recv().await.unwrap().as_str(), Some("PONG"));
        }
    };
    tokio::join!(echo, write, read);
}

#[tokio::test]
async fn a_close_says_what_was_being_done() {
    let (mut connection, server) = pair(&ManualClock::new(0), ReplyLimits::default());
    drop(server);
    let error = connection.recv().await.unwrap_err();
    assert_eq!(error.to_string(), "redis://test:1 closed the connection: waiting for a reply");
}
