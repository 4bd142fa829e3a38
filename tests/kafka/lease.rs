//! One writer: refused while another lives, let in soon after it has gone, and what comes too late is void.

use std::time::Duration;

use journal::kafka::KafkaConfig;
use journal::{Append, AppendError, Journal, Offset, OpenError, Partition, ReadLimit};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testkit::{Deadline, Process};

use crate::stage::{
    append, appender, end, open, read, record, shared, take, takes_less_than, texts, within,
};

/// Tells a child process which topic to write, on which brokers.
const WRITER: &str = "KEYFERRY_KAFKA_TEST_WRITER";

/// What others would write, past everything that would keep them from it.
pub(crate) fn send_raw(
    config: &KafkaConfig,
    topic: &str,
    key: &str,
    value: &str,
    headers: &[(&str, &str)],
) {
    let mut settings = ClientConfig::new();
    let settings = settings.set("bootstrap.servers", &config.brokers);
    let producer: BaseProducer = settings.create().expect("a producer");
    let mut list = OwnedHeaders::new();
    for &(key, value) in headers {
        list = list.insert(Header { key, value: Some(value) });
    }
    let record = BaseRecord::to(topic).partition(0).key(key).payload(value).headers(list);
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
    producer.flush(Duration::from_secs(20)).expect("it is written");
}

/// What a writer with this number sends.
pub(crate) fn send_as(lease: u64, config: &KafkaConfig, text: &str) {
    let headers = [("kf-lease", lease.to_string()), ("kf-kind", "test".to_owned())];
    send_raw(config, &config.topic, "", text, &headers.each_ref().map(|(k, v)| (*k, v.as_str())));
}

/// What is noted about the stream.
pub(crate) fn note(config: &KafkaConfig, key: &str, note: &str) {
    send_raw(config, &format!("{}.meta", config.topic), key, note, &[]);
}

#[tokio::test]
async fn a_second_process_is_refused_with_the_name_of_the_first() {
    let config = KafkaConfig { client_id: "left".into(), ..shared(2) };
    let (one, other) = (open(&config).await, open(&config).await);
    let mut first = appender(&one).await;
    match other.appender().await {
        Err(OpenError::Led { stream, holder }) => {
            assert_eq!(stream, config.stream);
            let process = std::process::id().to_string();
            assert!(holder.contains("left") && holder.contains(&process), "{holder}");
        }
        Err(other) => assert!(other.to_string().is_empty(), "refused for another reason"),
        Ok(_) => assert!(config.stream.is_empty(), "there are two writers"),
    }
    append(&mut *first, vec![record(0, "still there")]).await;
    drop(first);
    let mut second = appender(&other).await;
    append(&mut *second, vec![record(0, "next")]).await;
    assert_eq!(texts(&read(&one, 0, 2).await), ["still there", "next"]);
}

#[tokio::test]
async fn a_lease_that_was_released_is_not_waited_for() {
    takes_less_than(Duration::from_secs(2), async || {
        let config = shared(2);
        let (one, other) = (open(&config).await, open(&config).await);
        let first = appender(&one).await;
        let released = Deadline::after(Duration::ZERO);
        drop(first);
        drop(appender(&other).await);
        released.elapsed()
    })
    .await;
}

#[tokio::test]
async fn a_writer_that_vanished_is_replaced_within_seconds() {
    if let Some(place) = std::env::var_os(WRITER) {
        return write_until_killed(place.to_str().unwrap()).await;
    }
    takes_less_than(Duration::from_secs(5), replace_a_writer_that_is_killed).await;
}

/// How long it takes.
async fn replace_a_writer_that_is_killed() -> Duration {
    let config = shared(2);
    let journal = open(&config).await;
    let mut child = start_writer(&config);
    let before = within("the other writes", read(&journal, 0, 3)).await;
    child.kill().expect("it runs");
    let vanished = Deadline::after(Duration::ZERO);
    // It stands by: as long as the other is believed to live it is refused, and asks again.
    let mut second = loop {
        match journal.appender().await {
            Ok(appender) => break appender,
            Err(refused) => assert!(matches!(refused, OpenError::Led { .. }), "{refused}"),
        }
    };
    let took = vanished.elapsed();
    append(&mut *second, vec![record(1, "mine")]).await;
    assert_eq!(texts(&read(&journal, 1, 1).await), ["mine"]);
    assert_eq!(texts(&before), ["0", "1", "2"]);
    took
}

#[tokio::test]
async fn what_a_writer_sends_after_its_time_is_void() {
    let config = shared(2);
    let journal = open(&config).await;
    let mut first = appender(&journal).await;
    append(&mut *first, vec![record(0, "a"), record(1, "b")]).await;
    let mut following = journal.reader(vec![(Partition(0), Offset(0))]).await.unwrap();
    drop(first);
    let mut second = appender(&journal).await;
    send_as(1, &config, "too late");
    // Nobody may wait for a record that counts at the end of the others.
    let ends = end(&journal).await;
    append(&mut *second, vec![record(0, "c")]).await;
    send_as(1, &config, "later still");
    send_as(0, &config, "nobody's");
    append(&mut *second, vec![record(0, "d")]).await;
    assert_eq!(texts(&read(&journal, 0, 3).await), ["a", "c", "d"]);
    assert_eq!(texts(&read(&journal, 1, 1).await), ["b"]);
    assert_eq!(texts(&take(&mut *following, 3).await), ["a", "c", "d"]);
    let last = read(&journal, 0, 1).await.remove(0);
    assert_eq!(ends[0], last.offset.after(1), "the end lies behind the last record that counts");
}

#[tokio::test]
async fn a_writer_that_was_overtaken_is_told() {
    let config = shared(1);
    let journal = open(&config).await;
    let mut first = appender(&journal).await;
    append(&mut *first, vec![record(0, "a")]).await;
    // What a standby notes that has not heard of the first one for long.
    note(&config, "lease", r#"{"number":2,"token":7,"holder":"standby","says":"claim"}"#);
    let mut durable = first.durable();
    let closed = async { while durable.changed().await.is_ok() {} };
    within("the watch closes", closed).await;
    let refused = first.append(&mut vec![record(0, "b")]).await;
    assert!(matches!(refused, Err(AppendError::Fenced { .. })), "{refused:?}");
    let refused = first.flush().await;
    assert!(matches!(refused, Err(AppendError::Fenced { .. })), "{refused:?}");
}

/// A writer's fence is there and its note is not: what the one before sends behind it counts or not, as the notes tell
/// later.
async fn behind_a_fence_without_a_note(notes: &[(&str, &str)]) -> Vec<String> {
    let config = shared(1);
    let journal = open(&config).await;
    let mut first = appender(&journal).await;
    append(&mut *first, vec![record(0, "a")]).await;
    let from = vec![(Partition(0), Offset(0))];
    let mut reader = journal.reader(from).await.expect("it can be read");
    assert_eq!(texts(&take(&mut *reader, 1).await), ["a"]);
    note(&config, "lease", r#"{"number":2,"token":7,"holder":"standby","says":"claim"}"#);
    send_raw(&config, &config.topic, "", "", &[("kf-lease", "2"), ("kf-kind", "fence")]);
    send_as(1, &config, "late");
    let all = ReadLimit { records: 10, bytes: 1000 };
    let early = tokio::time::timeout(Duration::from_secs(1), reader.next(all)).await;
    assert!(early.is_err(), "nobody can tell yet: {early:?}");
    for (key, value) in notes {
        note(&config, key, value);
    }
    send_as(3, &config, "new");
    let mut found = Vec::new();
    while found.last().is_none_or(|last| last != "new") {
        found.extend(texts(&take(&mut *reader, 1).await));
    }
    found
}

#[tokio::test]
async fn behind_a_fence_that_stands_the_one_before_is_void() {
    let found = behind_a_fence_without_a_note(&[
        ("fence/2", r#"{"lease":2,"at":[2],"before":[{"lease":1,"at":[0]}]}"#),
        ("lease", r#"{"number":3,"token":8,"holder":"next","says":"claim"}"#),
        ("fence/3", r#"{"lease":3,"at":[3],"before":[{"lease":1,"at":[0]},{"lease":2,"at":[2]}]}"#),
    ]);
    assert_eq!(found.await, ["new"]);
}

#[tokio::test]
async fn behind_a_fence_whose_writer_was_overtaken_the_one_before_counts() {
    let found = behind_a_fence_without_a_note(&[
        ("lease", r#"{"number":3,"token":8,"holder":"next","says":"claim"}"#),
        ("fence/3", r#"{"lease":3,"at":[3],"before":[{"lease":1,"at":[0]}]}"#),
        ("fence/2", r#"{"lease":2,"at":[2],"before":[{"lease":1,"at":[0]}]}"#),
    ]);
    assert_eq!(found.await, ["late", "new"]);
}

/// This test once more, as a process of its own that only writes.
fn start_writer(config: &KafkaConfig) -> Process {
    let test = "lease::a_writer_that_vanished_is_replaced_within_seconds";
    let place = format!("{} {}", config.brokers, config.stream);
    let args = ["--exact", test, "--nocapture"];
    let this = std::env::current_exe().expect("a test has a binary");
    Process::program(&this, &args, &[(WRITER, &place)]).expect("it starts")
}

async fn write_until_killed(place: &str) {
    let (brokers, stream) = place.split_once(' ').expect("brokers and stream");
    let config = KafkaConfig { retention_ms: Some(-1), ..KafkaConfig::new(brokers, stream, 2) };
    let journal = open(&config).await;
    let mut appender = appender(&journal).await;
    for number in 0_u64.. {
        let records: Vec<Append> = vec![record(0, number.to_string())];
        append(&mut *appender, records).await;
    }
}
