//! A second link to a source that answers what it should not, or nothing.

use bytes::Bytes;
use redis_io::{Endpoint, connector};
use runtime::{ManualClock, StatusNode, Throttle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use event::Shard;

use super::*;
use crate::looks::Looks;
use crate::orders::{SnapshotOrder, SnapshotsMade, snapshot_orders};
use crate::owned::Owned;
use crate::spool::{SpoolConfig, spool};

const INFO: &str = "redis_version:7.0.0\r\nrole:master\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n";
/// So much may wait in files.
const DISK_BYTES: u64 = 32 << 20;
/// A link takes nothing for so long: it is held back, or the machine is slow.
const PAUSE: Duration = Duration::from_secs(2);
/// So many pauses in a row are no slow machine.
const PAUSES: u32 = 60;
const FILE: &str = "$9\r\nREDIS0011";

/// A source, and the session's end of what comes over the link to it.
struct Stage {
    listener: TcpListener,
    clock: ManualClock,
    order: SnapshotOrder,
    offers: mpsc::Receiver<Offer>,
    status: StatusNode,
    looks: Looks,
    dir: tempfile::TempDir,
}

fn id(digit: char) -> String {
    digit.to_string().repeat(40)
}

impl Stage {
    async fn start() -> Self {
        Self::start_with(Looks::default()).await
    }

    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    async fn start_with(looks: Looks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("redis://{}", listener.local_addr().unwrap());
        let clock = ManualClock::new(1_000);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let settings = connector::Settings::default();
        let endpoint = Endpoint::parse(&uri).unwrap();
        let connector = Connector::new(endpoint, settings, Arc::clone(&shared)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config =
            SpoolConfig { dir: dir.path().to_owned(), memory_bytes: 1, disk_bytes: DISK_BYTES };
        let beside = spool_beside(&config);
        // An earlier process was killed.
        std::fs::create_dir(&beside.dir).unwrap();
        std::fs::write(beside.dir.join("00000007.spool"), "left").unwrap();
        let (writer, _) = spool(config, &clock, Looks::default()).await.unwrap();
        let status = StatusNode::root();
        let (order, orders) = snapshot_orders();
        let (offers_in, offers) = mpsc::channel(1);
        let link = SecondLink {
            owned: Owned::all(Shard(0)),
            connector,
            clock: Arc::clone(&shared),
            random: Random::from_seed(1),
            orders,
            offers: offers_in,
            reading: Reading::new(Throttle::default().gate(shared)),
            spool: beside,
            progress: Arc::new(Progress::new(&status, writer.gauge())),
            last_id: 0,
            looks: looks.clone(),
        };
        tokio::spawn(link.run(CancellationToken::new()));
        Self { listener, clock, order, offers, status, looks, dir }
    }

    /// The next link, answered up to its PSYNC. The offer that came with it is taken up at this place of history `a`.
    async fn accept(&mut self, offset: u64) -> (TcpStream, Offer) {
        let mut stream = loop {
            tokio::select! {
                biased;
                accepted = self.listener.accept() => break accepted.unwrap().0,
                () = tokio::task::yield_now() => self.clock.advance(Duration::from_millis(50)),
            }
        };
        let mut offer = None;
        let mut buffer = vec![0; 4_096];
        loop {
            let read = tokio::select! {
                biased;
                made = self.offers.recv(), if offer.is_none() => {
                    let mut made: Offer = made.unwrap();
                    let begun = std::mem::replace(&mut made.begun, tokio::sync::oneshot::channel().0);
                    begun.send(Lineage { replication_id: id('a'), offset }).unwrap();
                    offer = Some(made);
                    continue;
                }
                read = stream.read(&mut buffer) => read.unwrap(),
            };
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            if text.contains("PSYNC") {
                assert!(text.contains("$1\r\n?\r\n$2\r\n-1"), "{text}");
                return (
                    stream,
                    offer.expect("the beginning is recorded before the source is asked"),
                );
            }
            for command in text.split('*').skip(1) {
                let reply = match command {
                    info if info.contains("INFO") => format!("${}\r\n{INFO}\r\n", INFO.len()),
                    ping if ping.contains("PING") => "+PONG\r\n".to_owned(),
                    _ => "+OK\r\n".to_owned(),
                };
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        }
    }

    /// Files in which something waits.
    fn files(&self) -> usize {
        let listed = std::fs::read_dir(self.dir.path().join("on-demand")).unwrap();
        listed.filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count()
    }

    async fn trouble(&self) -> String {
        let mut changes = self.status.watch();
        loop {
            let trouble =
                self.status.snapshot()["on_demand"]["trouble"].as_str().map(str::to_owned);
            match trouble {
                Some(trouble) => return trouble,
                None => changes.changed().await.unwrap(),
            }
        }
    }
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn what_is_not_of_the_stream_or_older_than_it_is_given_up_and_asked_for_again() {
    let mut stage = Stage::start().await;
    stage.order.give();
    let mut ids = Vec::new();
    for (answer, trouble) in [
        (format!("+FULLRESYNC {} 200\r\n{FILE}", id('b')), "answered with the history b"),
        (
            format!("+FULLRESYNC {} 99\r\n{FILE}", id('a')),
            "as of offset 99, the stream had come to 100",
        ),
        ("+CONTINUE\r\n".to_owned(), "not asked for"),
        ("-NOMASTERLINK none\r\n".to_owned(), "NOMASTERLINK"),
        (format!("+FULLRESYNC {} 100\r\n-ERR no room\r\n", id('a')), "no room"),
    ] {
        let (mut stream, mut offer) = stage.accept(100).await;
        assert_eq!(offer.keys_expected, 3);
        say(&mut stream, &answer).await;
        assert!(offer.parts.recv().await.is_none(), "nothing of {answer:?} is handed on");
        let found = stage.trouble().await;
        assert!(found.contains(trouble), "{found}");
        stage.status.child("on_demand").unset("trouble");
        ids.push(offer.id);
    }
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
    let (mut stream, mut offer) = stage.accept(100).await;
    say(&mut stream, &format!("+FULLRESYNC {} 100\r\n{FILE}", id('a'))).await;
    assert!(matches!(
        offer.parts.recv().await,
        Some(Part::Start { offset: 100, bytes_expected: 9 })
    ));
    assert!(matches!(offer.parts.recv().await, Some(Part::Bytes(bytes)) if bytes == "REDIS0011"));
    assert!(matches!(offer.parts.recv().await, Some(Part::End)));
    assert_eq!(stage.order.made().borrow().done, 0, "not before the session says so");
    offer.ended.send(Ok(SnapshotCounts::default())).unwrap();
    let mut made = stage.order.made();
    made.wait_for(|made| *made == SnapshotsMade { done: 1, given_up: 0 }).await.unwrap();
    // Nothing was acknowledged, and the link is closed.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn the_end_of_a_snapshot_is_taken_only_after_a_look_that_began_when_all_had_come() {
    let mut stage = Stage::start_with(Looks::needed()).await;
    stage.order.give();
    let (mut stream, mut offer) = stage.accept(100).await;
    let look = stage.looks.begin();
    say(&mut stream, &format!("+FULLRESYNC {} 100\r\n{FILE}", id('a'))).await;
    assert!(matches!(offer.parts.recv().await, Some(Part::Start { .. })));
    // The source has closed the link: all has come.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    stage.looks.found(look);
    tokio::select! {
        biased;
        () = stage.looks.wanted() => {}
        part = offer.parts.recv() => panic!("{part:?} passes by a look from before"),
    }
    assert!(offer.parts.try_recv().is_err(), "nothing passes by a look from before");
    stage.looks.found(stage.looks.begin());
    assert!(matches!(offer.parts.recv().await, Some(Part::Bytes(bytes)) if bytes == "REDIS0011"));
    assert!(matches!(offer.parts.recv().await, Some(Part::End)));
}

#[tokio::test]
async fn a_session_that_takes_no_more_ends_the_link_and_says_why() {
    let mut stage = Stage::start().await;
    stage.order.give();
    let (mut stream, offer) = stage.accept(0).await;
    say(&mut stream, &format!("+FULLRESYNC {} 7\r\n$1000000\r\nREDIS", id('a'))).await;
    drop(offer.parts);
    offer.ended.send(Err("another epoch".to_owned())).unwrap();
    assert_eq!(stage.trouble().await, "another epoch");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn what_a_slow_session_has_not_taken_waits_in_files_and_beyond_them_at_the_source() {
    let mut stage = Stage::start().await;
    stage.order.give();
    let (mut stream, mut offer) = stage.accept(0).await;
    assert_eq!(stage.files(), 0, "what an earlier process has left is gone");
    const BYTES: usize = 96 << 20;
    say(&mut stream, &format!("+FULLRESYNC {} 7\r\n${BYTES}\r\n", id('a'))).await;
    let numbered = |number: usize| u8::try_from(number >> 16 & 0xff).unwrap();
    let all: Bytes = (0..BYTES).map(numbered).collect::<Vec<u8>>().into();
    let mut sent = 0;
    let some = |sent: usize| &all[sent..BYTES.min(sent + (1 << 20))];
    let disk_bytes = usize::try_from(DISK_BYTES).unwrap();
    // The files take some, and then nothing: what was read waits in few places. Before they are full, a pause is only
    // a slow machine's.
    let mut pauses = 0;
    while sent <= disk_bytes || pauses == 0 {
        match tokio::time::timeout(PAUSE, stream.write(some(sent))).await {
            Ok(taken) => {
                sent += taken.unwrap();
                pauses = 0;
            }
            Err(_) => pauses += 1,
        }
        assert!(sent < BYTES, "all of it is in memory, or in files");
        assert!(pauses < PAUSES, "only {sent} are taken off the source");
    }
    assert_eq!(stage.files(), 1);
    assert!(matches!(
        offer.parts.recv().await,
        Some(Part::Start { offset: 7, bytes_expected: 100_663_296 })
    ));
    let mut taken = 0;
    loop {
        tokio::select! {
            written = stream.write(some(sent)), if sent < BYTES => sent += written.unwrap(),
            () = tokio::task::yield_now() => stage.clock.advance(Duration::from_millis(1)),
            part = offer.parts.recv() => match part.unwrap() {
                Part::Bytes(bytes) => {
                    assert_eq!(bytes, all[taken..taken + bytes.len()], "{taken}");
                    taken += bytes.len();
                }
                Part::End => break,
                Part::Start { .. } => panic!("it begins once"),
            }
        }
    }
    assert_eq!((sent, taken), (BYTES, BYTES));
    offer.ended.send(Ok(SnapshotCounts::default())).unwrap();
    let mut made = stage.order.made();
    made.wait_for(|made| made.done == 1).await.unwrap();
    assert_eq!(stage.files(), 0);
}

#[tokio::test]
async fn a_link_that_ends_in_the_middle_says_what_it_may_be() {
    let mut stage = Stage::start().await;
    stage.order.give();
    let (mut stream, mut offer) = stage.accept(0).await;
    say(&mut stream, &format!("+FULLRESYNC {} 7\r\n$1000000\r\nREDIS", id('a'))).await;
    assert!(matches!(offer.parts.recv().await, Some(Part::Start { .. })));
    drop(stream);
    let found = stage.trouble().await;
    assert!(found.contains("client-output-buffer-limit for replicas"), "{found}");
    assert_eq!(stage.files(), 0);
}
