//! The handshake against a scripted server over an in-memory pipe.

use runtime::{Class, Classified, ManualClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wire::resp::reply::ReplyLimits;

use super::*;
use crate::connection::Peer;
use crate::facts::Flavour;
use crate::transport::Transport;

const ID: &str = "0123456789abcdef0123456789abcdef01234567";
const CAPA: &str =
    "*5\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$3\r\neof\r\n$4\r\ncapa\r\n$6\r\npsync2\r\n";

fn pair() -> (Connection, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let peer = Peer {
        name: "redis://test:1".into(),
        clock: Arc::new(ManualClock::new(0)),
        patience: std::time::Duration::from_secs(60),
    };
    (Connection::over(Transport::Memory(ours), peer, ReplyLimits::default()), theirs)
}

async fn hear(server: &mut DuplexStream, expected: &str) {
    let mut came = vec![0; expected.len()];
    server.read_exact(&mut came).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&came), expected);
}

/// Opens a link with a server that answers PSYNC with `answer`.
async fn answered(answer: &str) -> Result<(Answer, Link), Error> {
    let (connection, mut server) = pair();
    let announcement = Announcement::default();
    let script = async {
        hear(&mut server, CAPA).await;
        server.write_all(b"+OK\r\n").await.unwrap();
        hear(&mut server, "*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n").await;
        server.write_all(answer.as_bytes()).await.unwrap();
    };
    let (result, ()) = tokio::join!(open(connection, &announcement, None), script);
    result
}

#[tokio::test]
async fn reads_every_form_of_grant() {
    let replid: ReplicationId = ID.parse().unwrap();
    let cases = [
        (format!("+FULLRESYNC {ID} 42\r\n"), Answer::Full { replid, offset: 42 }),
        ("+CONTINUE\r\n".to_owned(), Answer::Continue { replid: None }),
        (format!("\n\n+CONTINUE {ID}\r\n"), Answer::Continue { replid: Some(replid) }),
    ];
    for (text, expected) in cases {
        assert_eq!(answered(&text).await.unwrap().0, expected, "{text}");
    }
}

#[tokio::test]
async fn the_link_begins_with_the_first_byte_after_the_answer() {
    let (_, mut link) = answered("\n+CONTINUE\r\n\n*1\r\n$4\r\nPING\r\n").await.unwrap();
    assert_eq!(link.read_chunk().await.unwrap(), "\n*1\r\n$4\r\nPING\r\n");
    assert!(matches!(link.read_chunk().await, Err(Error::Closed { .. })));
}

#[tokio::test]
async fn refusals_say_whether_they_may_pass() {
    let cases = [
        ("-NOMASTERLINK Can't SYNC while not connected with my master\r\n", Class::Retry),
        ("-ERR Can't SYNC while not connected with my master\r\n", Class::Retry),
        ("-LOADING Redis is loading the dataset in memory\r\n", Class::Retry),
        ("-BUSY Redis is busy running a script\r\n", Class::Retry),
        ("-NOPERM User u has no permissions to run the 'psync' command\r\n", Class::Operator),
        ("-ERR unknown command 'PSYNC', with args beginning with: \r\n", Class::Operator),
        ("+RDBCHANNELSYNC 7\r\n", Class::Operator),
        ("+FULLRESYNC short 1\r\n", Class::Operator),
    ];
    for (text, class) in cases {
        let error = answered(text).await.unwrap_err();
        assert_eq!(error.class(), class, "{text}");
        assert!(!error.advice().is_empty() && error.to_string().contains("redis://test:1"));
    }
    let unknown = answered("-ERR unknown command 'PSYNC'\r\n").await.unwrap_err();
    assert!(unknown.advice().contains("PSYNC"), "{}", unknown.advice());
}

#[tokio::test]
async fn announces_a_version_and_takes_no_for_an_answer() {
    let (connection, mut server) = pair();
    let announcement = Announcement { version: Some(Version::new(9, 1, 0)) };
    let replid: ReplicationId = ID.parse().unwrap();
    let resume = Some(Resume { replid, next_offset: 101 });
    let script = async {
        hear(&mut server, CAPA).await;
        hear(&mut server, "*3\r\n$8\r\nREPLCONF\r\n$7\r\nversion\r\n$5\r\n9.1.0\r\n").await;
        let replies = b"+OK\r\n-ERR Unrecognized REPLCONF option: version\r\n";
        server.write_all(replies).await.unwrap();
        hear(&mut server, &format!("*3\r\n$5\r\nPSYNC\r\n$40\r\n{ID}\r\n$3\r\n101\r\n")).await;
        server.write_all(b"+CONTINUE\r\n").await.unwrap();
    };
    let (result, ()) = tokio::join!(open(connection, &announcement, resume), script);
    assert_eq!(result.unwrap().0, Answer::Continue { replid: None });
}

#[tokio::test]
async fn a_forbidden_replconf_is_a_refusal() {
    let (connection, mut server) = pair();
    let text = b"-NOPERM User u has no permissions to run the 'replconf' command\r\n";
    server.write_all(text).await.unwrap();
    let error = open(connection, &Announcement::default(), None).await.unwrap_err();
    assert_eq!(error.class(), Class::Operator);
    assert!(error.advice().contains("+replconf"));
}

#[tokio::test]
async fn acknowledgements_go_out_as_commands() {
    let (connection, mut server) = pair();
    let mut link = Link::new(connection);
    link.ack(0).await.unwrap();
    link.ack(1_234).await.unwrap();
    hear(&mut server, "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n").await;
    hear(&mut server, "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$4\r\n1234\r\n").await;
}

#[test]
fn poses_as_the_servers_own_version_capped_at_what_can_be_read() {
    let announced = |flavour, version| {
        let facts = ServerFacts { flavour, version, ..ServerFacts::default() };
        Announcement::for_server(&facts).version.map(|version| version.to_string())
    };
    let valkey = Some(Flavour::Valkey);
    assert_eq!(announced(valkey.clone(), Some(Version::new(9, 1, 2))).as_deref(), Some("9.1.0"));
    assert_eq!(announced(valkey, Some(Version::new(8, 0, 1))).as_deref(), Some("8.0.1"));
    assert_eq!(announced(Some(Flavour::Redis), Some(Version::new(8, 2, 3))), None);
    assert_eq!(announced(None, None).as_deref(), Some("9.1.0"));
}
