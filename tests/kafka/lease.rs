//! One writer: refused while another lives, let in soon after it has gone, and what comes too late is void.

use std::time::Duration;

use journal::kafka::KafkaConfig;
use journal::{Append, AppendError, Journal, Offset, OpenError, Partition};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testkit::{Deadline, Process};

use crate::stage::{append, appender, end, open, read, record, shared, texts, within};

/// Tells a child process which topic to write, on which brokers.
const WRITER: &str = "KEYFERRY_KAFKA_TEST_WRITER";

/// What a writer with this number sends, past everything that would keep it from it.
fn send_as(lease: u64, config: &KafkaConfig, partition: i32, text: &str) {
    let mut settings = ClientConfig::new();
    let settings = settings.set("bootstrap.servers", &config.brokers);
    let producer: BaseProducer = settings.create().expect("a producer");
    let lease = lease.to_string();
    let headers = OwnedHeaders::new().insert(Header { key: "kf-lease", value: Some(&lease) });
    let record: BaseRecord<'_, [u8], str> =
        BaseRecord::to(&config.topic).partition(partition).payload(text).headers(headers);
    producer.send(record).map_err(|(error, _)| error).expect("there is room");
    producer.flush(Duration::from_secs(20)).expect("it is written");
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
    let released = Deadline::after(Duration::from_secs(2));
    drop(first);
    let mut second = appender(&other).await;
    assert!(!released.has_passed(), "a lease that was released was waited for");
    append(&mut *second, vec![record(0, "next")]).await;
    assert_eq!(texts(&read(&one, 0, 2).await), ["still there", "next"]);
}

#[tokio::test]
async fn a_writer_that_vanished_is_replaced_within_seconds() {
    if let Some(place) = std::env::var_os(WRITER) {
        return write_until_killed(place.to_str().unwrap()).await;
    }
    let config = shared(2);
    let journal = open(&config).await;
    let mut child = start_writer(&config);
    let before = within("the other writes", read(&journal, 0, 3)).await;
    child.kill().unwrap();
    let vanished = Deadline::after(Duration::from_secs(5));
    // It stands by: as long as the other is believed to live it is refused, and asks again.
    let mut second = loop {
        match journal.appender().await {
            Ok(appender) => break appender,
            Err(refused) => assert!(matches!(refused, OpenError::Led { .. }), "{refused}"),
        }
    };
    assert!(!vanished.has_passed(), "it took {:?}", vanished.elapsed());
    append(&mut *second, vec![record(1, "mine")]).await;
    assert_eq!(texts(&read(&journal, 1, 1).await), ["mine"]);
    assert_eq!(texts(&before), ["0", "1", "2"]);
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
    for partition in [0, 1] {
        send_as(1, &config, partition, "too late");
    }
    // Nobody may wait for a record that counts at the end of the others.
    let ends = end(&journal).await;
    append(&mut *second, vec![record(0, "c")]).await;
    send_as(1, &config, 0, "later still");
    send_as(0, &config, 0, "nobody's");
    append(&mut *second, vec![record(0, "d")]).await;
    assert_eq!(texts(&read(&journal, 0, 3).await), ["a", "c", "d"]);
    assert_eq!(texts(&read(&journal, 1, 1).await), ["b"]);
    assert_eq!(texts(&crate::stage::take(&mut *following, 3).await), ["a", "c", "d"]);
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
    let claim = br#"{"number":2,"token":7,"holder":"standby","says":"claim"}"#;
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &config.brokers).create().unwrap();
    let meta = format!("{}.meta", config.topic);
    let note = BaseRecord::to(&meta).partition(0).key("lease").payload(&claim[..]);
    producer.send(note).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
    let mut durable = first.durable();
    let closed = async { while durable.changed().await.is_ok() {} };
    within("the watch closes", closed).await;
    let refused = first.append(&mut vec![record(0, "b")]).await;
    assert!(matches!(refused, Err(AppendError::Fenced { .. })), "{refused:?}");
    let refused = first.flush().await;
    assert!(matches!(refused, Err(AppendError::Fenced { .. })), "{refused:?}");
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
