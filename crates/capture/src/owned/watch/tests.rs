//! A watch over a node that a test plays, and a spool that waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use event::Shard;
use parking_lot::Mutex;
use redis_io::{Endpoint, connector};
use runtime::{ManualClock, StatusNode, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire::slot::{Slot, Slots};

use super::*;
use crate::piece::Piece;
use crate::spool::{SpoolConfig, SpoolReader, SpoolWriter, spool};

const WINDOWS: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(600));
const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";

/// What the node says of itself.
#[derive(Clone, Default)]
struct Node {
    answer: Arc<Mutex<String>>,
    asked: Arc<AtomicU64>,
}

struct Stage {
    node: Node,
    watch: SlotsWatch,
    spool: (SpoolWriter, SpoolReader),
    status: StatusNode,
    _dir: tempfile::TempDir,
}

impl Node {
    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock());
    }

    fn has(&self, slots: &str) {
        let line = format!("07c3 127.0.0.1:7000@17000 myself,master - 0 0 1 connected {slots}\n");
        self.says(&format!("${}\r\n{line}\r\n", line.len()));
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            self.answer(stream).await;
        }
    }

    async fn answer(&self, mut stream: TcpStream) {
        let mut buffer = vec![0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
            for command in text.split('*').skip(1) {
                let reply = match command {
                    nodes if nodes.contains("NODES") => {
                        self.asked.fetch_add(1, Ordering::Relaxed);
                        self.answer.lock().clone()
                    }
                    ping if ping.contains("PING") => "+PONG\r\n".to_owned(),
                    _ => "+OK\r\n".to_owned(),
                };
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        }
    }
}

impl Stage {
    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    async fn start(clock: Arc<dyn Clock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("redis://{}", listener.local_addr().unwrap());
        let node = Node::default();
        tokio::spawn(node.clone().serve(listener));
        let (settings, endpoint) = (connector::Settings::default(), Endpoint::parse(&uri).unwrap());
        let connector = Connector::new(endpoint, settings, Arc::clone(&clock)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config =
            SpoolConfig { dir: dir.path().to_owned(), memory_bytes: 1_000, disk_bytes: 1_000 };
        let looks = Looks::needed();
        let spool = spool(config, clock.as_ref(), looks.clone()).await.unwrap();
        let status = StatusNode::root();
        let progress = Arc::new(Progress::new(&status, spool.0.gauge()));
        let slot = |number| Slot::new(number).unwrap();
        let slots = Some(Slots::of([(slot(0), slot(99))]));
        let owned = Owned { slots, ..Owned::all(Shard(1)) };
        let watch = SlotsWatch { connector, clock, owned, looks, progress, windows: WINDOWS };
        Self { node, watch, spool, status, _dir: dir }
    }
}

fn piece(text: &'static str) -> Piece {
    Piece::Stream { bytes: Bytes::from_static(text.as_bytes()), arrived_ms: 0 }
}

#[tokio::test]
async fn nothing_goes_on_behind_a_look_that_finds_other_slots() {
    let stage = Stage::start(Arc::new(SystemClock::new())).await;
    let Stage { node, watch, spool: (mut writer, mut reader), _dir, .. } = stage;
    // A node that is not ready yet has not lost anything.
    node.says(LOADING);
    writer.push(piece("one")).await.unwrap();
    let work = async {
        tokio::select! {
            popped = reader.pop() => panic!("{popped:?} without a look"),
            () = async {
                while node.asked.load(Ordering::Relaxed) == 0 {
                    tokio::task::yield_now().await;
                }
            } => node.has("0-99"),
        }
        for text in ["one", "two", "three"] {
            let asked = node.asked.load(Ordering::Relaxed);
            assert_eq!(reader.pop().await.unwrap(), Some(piece(text)));
            assert!(node.asked.load(Ordering::Relaxed) > asked, "{text} without a look");
            writer.push(piece(if text == "one" { "two" } else { "three" })).await.unwrap();
        }
        node.has("0-97 [98->-93af]");
        reader.pop().await
    };
    let error = tokio::select! {
        popped = work => panic!("{popped:?} behind a move"),
        error = watch.moved() => error.to_string(),
    };
    assert!(error.contains("slots are being moved") && error.contains("[98->-93af]"), "{error}");
}

#[tokio::test]
async fn a_source_that_does_not_tell_its_slots_is_named_soon_and_given_up_after_a_while() {
    let clock = ManualClock::new(0);
    let Stage { watch, status, .. } = Stage::start(Arc::new(clock.clone())).await;
    let shown = || status.snapshot()["trouble"].as_str().map(str::to_owned).unwrap_or_default();
    let denied = || IntakeError::Denied { endpoint: "x".into(), what: "no +cluster".into() };
    let silent = || IntakeError::Silent { endpoint: "x".into() };
    let mut silence = Silence::default();
    assert_eq!(watch.note(silent(), &mut silence).unwrap(), UNREACHED_INTERVAL);
    assert_eq!(shown(), "");
    clock.advance(UNTOLD_GRACE);
    assert_eq!(watch.note(denied(), &mut silence).unwrap(), ASK_AGAIN_INTERVAL);
    assert!(shown().contains("slots are not known") && shown().contains("no +cluster"));
    watch.has_told(&mut silence);
    assert_eq!(shown(), "");
    // From the beginning again, once it has told.
    watch.note(denied(), &mut silence).unwrap();
    clock.advance(WINDOWS.1 - Duration::from_secs(1));
    watch.note(denied(), &mut silence).unwrap();
    clock.advance(Duration::from_secs(1));
    let error = watch.note(denied(), &mut silence).unwrap_err();
    assert!(matches!(&error, SlotsError::Untold { after, .. } if *after == WINDOWS.1), "{error}");
    // Who cannot be reached is tried for longer, as the link is.
    clock.advance(WINDOWS.0 - WINDOWS.1);
    watch.note(silent(), &mut silence).unwrap();
    clock.advance(UNTOLD_GRACE);
    watch.note(silent(), &mut silence).unwrap_err();
}

#[tokio::test]
async fn a_source_that_hangs_is_named_as_soon() {
    let clock = ManualClock::new(0);
    let stage = Stage::start(Arc::new(clock.clone())).await;
    let Stage { node, watch, status, .. } = stage;
    node.says("");
    let shown = || status.snapshot()["trouble"].as_str().map(str::to_owned).unwrap_or_default();
    let told = async {
        while node.asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        clock.wait_for_sleepers(1).await;
        clock.advance(UNTOLD_GRACE);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            if !shown().is_empty() {
                break;
            }
        }
        shown()
    };
    let said = tokio::select! {
        error = watch.moved() => panic!("{error}"),
        said = told => said,
    };
    assert!(said.contains("slots are not known"), "{said:?}");
}
