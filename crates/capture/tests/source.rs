//! Capture on real sources: what stands in the journal afterwards.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::sync::Arc;
use std::time::Duration;

use event::control::Control;
use event::image::ImageValue;
use event::{Body, Event, codec};
use journal::MemoryJournal;
use journal::{Journal, Offset, Partition, ReadLimit};
use redis_io::Endpoint;
use runtime::{StatusNode, SystemClock};
use testkit::{Kind, Server};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PARTITIONS: u16 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<capture::Summary, capture::Error>>,
    _dir: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "a test owns its task by the handle")]
async fn start(server: &Server, journal: &Arc<MemoryJournal>) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let source = Endpoint::parse(&server.uri()).unwrap();
    let config = capture::Config::new(source, "test", dir.path().join("spool"));
    let journal: Arc<dyn Journal> = Arc::clone(journal) as _;
    let parts =
        capture::Parts { clock: Arc::new(SystemClock::new()), journal, status: StatusNode::root() };
    let capture = capture::Capture::build(config, parts).await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(capture.run(stop.clone()));
    Running { stop, task, _dir: dir }
}

impl Running {
    async fn stop(self) -> capture::Summary {
        self.stop.cancel();
        self.task.await.unwrap().unwrap()
    }
}

/// Everything in the journal up to the first event that `last` is true of.
async fn events_until(journal: &MemoryJournal, last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let from = (0..PARTITIONS).map(|number| (Partition(number), Offset(0))).collect();
    let mut reader = journal.reader(from).await.unwrap();
    let mut events = Vec::new();
    let read = async {
        loop {
            for entry in reader.next(ReadLimit { records: 1, bytes: 1 << 20 }).await.unwrap() {
                let event = codec::decode(entry.payload).unwrap();
                let found = last(&event);
                events.push(event);
                if found {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the event that was waited for");
    events
}

fn args_of(event: &Event) -> Option<Vec<String>> {
    let Body::Command(command) = &event.body else { return None };
    let text = |arg: &bytes::Bytes| String::from_utf8_lossy(arg).into_owned();
    Some(command.args.iter().map(text).collect())
}

fn is_command(words: &'static [&'static str]) -> impl Fn(&Event) -> bool {
    move |event| args_of(event).is_some_and(|args| args == words)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_the_snapshot_and_then_the_stream() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    client.cmd(&["SET", "before", "1"]).unwrap();
    client.cmd(&["RPUSH", "list", "a", "b"]).unwrap();
    let journal = Arc::new(MemoryJournal::new("test", PARTITIONS));
    let running = start(&server, &journal).await;
    let snapshot_over =
        |event: &Event| matches!(event.body, Body::Control(Control::SnapshotEnd(_)));
    let snapshot = events_until(&journal, snapshot_over).await;
    let images: Vec<_> = snapshot
        .iter()
        .filter_map(|event| match &event.body {
            Body::Image(image) => Some((event.key.clone(), image.value.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(images.len(), 2, "{snapshot:?}");
    assert!(images.contains(&("before".into(), ImageValue::Text("1".into()))));

    client.cmd(&["SET", "after", "2"]).unwrap();
    client.cmd(&["DEL", "before", "list"]).unwrap();
    let events = events_until(&journal, is_command(&["DEL", "list"])).await;
    let commands: Vec<_> = events.iter().filter_map(args_of).collect();
    assert_eq!(commands, [vec!["SET", "after", "2"], vec!["DEL", "before"], vec!["DEL", "list"]]);
    let summary = running.stop().await;
    assert!(summary.durable_offset > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_on_where_the_journal_ends() {
    let server = Server::start(Kind::Redis7_0, &[]).unwrap();
    let mut client = server.client().unwrap();
    let journal = Arc::new(MemoryJournal::new("test", PARTITIONS));
    let mut expected = Vec::new();
    for round in 0..4 {
        let running = start(&server, &journal).await;
        for number in 0..10 {
            let value = format!("{round}-{number}");
            client.cmd(&["RPUSH", "list", &value]).unwrap();
            expected.push(value);
        }
        let last = expected.last().unwrap().clone();
        events_until(&journal, |event| {
            args_of(event).is_some_and(|args| args.last() == Some(&last))
                || matches!(event.body, Body::Image(_))
        })
        .await;
        running.stop().await;
        for number in 0..10 {
            let value = format!("{round}-down-{number}");
            client.cmd(&["RPUSH", "list", &value]).unwrap();
            expected.push(value);
        }
    }
    let running = start(&server, &journal).await;
    client.cmd(&["SET", "end", "1"]).unwrap();
    let events = events_until(&journal, is_command(&["SET", "end", "1"])).await;
    let epochs = events
        .iter()
        .filter(|event| matches!(event.body, Body::Control(Control::EpochBegin(_))))
        .count();
    assert_eq!(epochs, usize::from(PARTITIONS), "one full transfer only");
    let pushed: Vec<_> = events
        .iter()
        .filter_map(args_of)
        .filter(|args| args[0] == "RPUSH")
        .map(|args| args[2].clone())
        .collect();
    assert_eq!(pushed, expected[expected.len() - pushed.len()..], "each once, in order");
    assert!(pushed.len() >= expected.len() - 10, "what is missing was in the snapshot");
    running.stop().await;
}
