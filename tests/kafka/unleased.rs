//! A log of one partition that many write at once, on a real broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{join, join_all};
use journal::kafka::{KafkaConfig, SharedLog};
use journal::{Append, Journal, Offset, OpenError, Partition, ReadError};
use runtime::SystemClock;
use testkit::kafka::Broker;

use crate::stage::{append, record, shared, take, texts, within};

const WRITERS: usize = 6;
const ROUNDS: usize = 40;
/// Records that a writer appends before it waits for them.
const TOGETHER: usize = 5;

async fn open(stream: &KafkaConfig, addressee: &str) -> Result<SharedLog, OpenError> {
    let clock = Arc::new(SystemClock::new());
    within("it opens", SharedLog::open(stream, "dead", addressee, clock)).await
}

/// What one writer writes, a line each.
async fn write(log: SharedLog, writer: usize) {
    let mut appender = log.appender().await.expect("anybody may write");
    for round in 0..ROUNDS {
        let lines = (0..TOGETHER).map(|number| format!("{writer} {}", round * TOGETHER + number));
        append(&mut *appender, lines.map(|line| record(0, line)).collect()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_lose_nothing() {
    let stream = shared(4);
    // One makes the topic, the others find it: as processes do that start together.
    let writing = (0..WRITERS).map(async |writer| {
        let log = open(&stream, &format!("destination-{writer}")).await.unwrap();
        write(log, writer).await;
    });
    let count = WRITERS * ROUNDS * TOGETHER;
    // A reader that is there from the start follows all of them.
    let reading = async {
        let log = open(&stream, "reader").await.unwrap();
        let mut reader = log.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
        (take(&mut *reader, count).await, log)
    };
    let ((entries, log), _) = join(reading, join_all(writing)).await;
    let mut next = BTreeMap::new();
    for line in texts(&entries) {
        let (writer, number) = line.split_once(' ').unwrap();
        let next = next.entry(writer.to_owned()).or_insert(0_usize);
        assert_eq!(number.parse(), Ok(*next), "of writer {writer}");
        *next += 1;
    }
    assert_eq!(next.len(), WRITERS);
    let described = log.describe().await.unwrap();
    let range = described.partitions[0];
    assert_eq!((range.start, range.end), (Offset(0), Offset(count as u64)));
}

#[tokio::test]
async fn it_is_read_from_any_place_and_trimmed_by_order_only() {
    let stream = shared(2);
    let log = open(&stream, "shop").await.unwrap();
    let mut appender = log.appender().await.unwrap();
    let numbered =
        |number: i64| Append { timestamp_ms: 1_000 + number, ..record(0, number.to_string()) };
    append(&mut *appender, (0..10).map(numbered).collect()).await;
    let from = |offset| vec![(Partition(0), Offset(offset))];
    let mut reader = log.reader(from(7)).await.unwrap();
    assert_eq!(texts(&take(&mut *reader, 3).await), ["7", "8", "9"]);
    assert_eq!(log.offset_at_time(Partition(0), 1_004).await.unwrap(), Offset(4));
    assert_eq!(log.offset_at_time(Partition(0), 2_000).await.unwrap(), Offset(10));

    log.trim(from(4)).await.unwrap();
    let refused = log.reader(from(3)).await.map(drop);
    assert!(matches!(refused, Err(ReadError::OutOfRetention { .. })), "{refused:?}");
    // One that waits beyond the end gets what comes there.
    let mut reader = log.reader(from(11)).await.unwrap();
    append(&mut *appender, (10..12).map(numbered).collect()).await;
    assert_eq!(texts(&take(&mut *reader, 1).await), ["11"]);

    let beyond = Append { partition: Partition(1), ..record(0, "") };
    assert!(appender.append(&mut vec![beyond]).await.is_err());
    let large = Append { payload: Bytes::from(vec![0; 1_000_001]), ..record(0, "") };
    assert!(appender.append(&mut vec![large]).await.is_err());
    assert!(log.release("shop", from(0)).await.is_err());
}

#[tokio::test]
async fn a_log_that_may_not_be_made_is_named() {
    let stream = KafkaConfig { create: false, ..shared(1) };
    let refused = open(&stream, "shop").await.map(drop).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&format!("{}.dead", stream.topic)), "{text}");
    assert!(text.contains(&Broker::shared().unwrap().bootstrap()), "{text}");
}
