//! What is not this stream, and what an account may not, is said by its name.

use std::sync::Arc;

use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::{Journal, Offset, OpenError, Partition, ReadError};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use runtime::{Class, Classified, SystemClock};
use testkit::kafka::{Broker, Operation, Resource, Setup};

use crate::stage::{append, appender, on, open, record, shared, within};

pub(crate) async fn refusal(config: &KafkaConfig) -> OpenError {
    let opened = KafkaJournal::open(config.clone(), Arc::new(SystemClock::new()));
    match within("it is refused", opened).await {
        Err(refused) => refused,
        Ok(_) => OpenError::Settings { what: "nothing was refused".into() },
    }
}

async fn assert_mismatch(config: &KafkaConfig, words: &[&str]) {
    let refused = refusal(config).await;
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Mismatch { .. }), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

async fn make_topic(brokers: &str, topic: &NewTopic<'_>) {
    let mut settings = ClientConfig::new();
    let settings = settings.set("bootstrap.servers", brokers);
    let admin: AdminClient<DefaultClientContext> = settings.create().expect("a client");
    let made = admin.create_topics([topic], &AdminOptions::new()).await.expect("an answer");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

#[tokio::test]
async fn another_stream_than_asked_for_is_refused() {
    let config = KafkaConfig { placement: "by slot".into(), ..shared(3) };
    drop(open(&config).await);
    let topic = config.topic.as_str();
    assert_mismatch(&KafkaConfig { partitions: 4, ..config.clone() }, &[topic, "3 ", "4 "]).await;
    assert_mismatch(&KafkaConfig { stream: "other".into(), ..config.clone() }, &["other"]).await;
    let placed = KafkaConfig { placement: "by luck".into(), ..config.clone() };
    assert_mismatch(&placed, &["by slot", "by luck"]).await;
    drop(open(&config).await);
}

#[tokio::test]
async fn a_topic_that_is_missing_is_made_only_where_that_is_allowed() {
    let config = KafkaConfig { create: false, ..shared(1) };
    let refused = refusal(&config).await;
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Missing { .. }), "{text}");
    assert!(text.contains(&config.topic) && text.contains("does not exist"), "{text}");
    assert!(refused.advice().contains("keyferry topics create"), "{}", refused.advice());
    drop(open(&KafkaConfig { create: true, ..config.clone() }).await);
    drop(open(&config).await);
}

#[tokio::test]
async fn a_topic_that_would_lose_records_is_refused() {
    let config = shared(1);
    let compacted = NewTopic::new(&config.topic, 1, TopicReplication::Fixed(1));
    make_topic(&config.brokers, &compacted.set("cleanup.policy", "compact")).await;
    assert_mismatch(&config, &[&config.topic, "cleanup.policy=compact"]).await;
    let config = shared(1);
    let narrow = NewTopic::new(&config.topic, 1, TopicReplication::Fixed(1));
    make_topic(&config.brokers, &narrow.set("max.message.bytes", "100000")).await;
    assert_mismatch(&config, &["max.message.bytes=100000", "1048588"]).await;
}

#[tokio::test]
async fn brokers_that_are_not_there_are_tried_again() {
    let port = testkit::free_port().unwrap();
    let refused = refusal(&on(&format!("127.0.0.1:{port}"), 1)).await;
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused}");
    assert!(refused.to_string().contains(&port.to_string()), "{refused}");
    assert_eq!(refused.class(), Class::Retry);
}

#[tokio::test]
async fn settings_that_the_library_does_not_know_are_refused_without_their_value() {
    let mut config = shared(1);
    config.properties.push(("sasl.pasword".into(), "hunter2".into()));
    let refused = refusal(&config).await;
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Settings { .. }), "{text}");
    assert!(text.contains("sasl.pasword") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let broker = Broker::with(&Setup::default().user("kf", "sesame")).unwrap();
    let mut config = on(&broker.bootstrap(), 1);
    for (name, value) in [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "kf"),
        ("sasl.password", "sesame"),
    ] {
        config.properties.push((name.into(), value.into()));
    }
    let (topic, meta) = (config.topic.clone(), format!("{}.meta", config.topic));
    let allow = |operation| broker.allow("kf", operation, Resource::Topic, &topic).unwrap();
    let lacks = |refused: OpenError, right: String| {
        let text = refused.to_string();
        assert!(matches!(refused, OpenError::NoRight { .. }) && text.contains(&right), "{text}");
        assert_eq!(refused.class(), Class::Operator);
    };
    lacks(refusal(&config).await, format!("Describe on topic {topic}"));
    allow(Operation::Describe);
    lacks(refusal(&config).await, format!("Create on topic {topic}"));
    allow(Operation::Create);
    // Topics that were just made are not looked at; from then on they are.
    lacks(refusal(&config).await, format!("Write on topic {meta}"));
    lacks(refusal(&config).await, format!("DescribeConfigs on topic {topic}"));
    allow(Operation::DescribeConfigs);
    allow(Operation::Write);
    lacks(refusal(&config).await, format!("Read on topic {meta}"));
    allow(Operation::Read);
    let journal = open(&config).await;
    let mut appender = appender(&journal).await;
    append(&mut *appender, vec![record(0, "a")]).await;

    let group = format!("{topic}.shop");
    let joined = within("it may not join", journal.join("shop")).await;
    let text = joined.map(drop).unwrap_err().to_string();
    assert!(text.contains(&format!("Read on group {group}")), "{text}");
    let released = journal.release("shop", vec![(Partition(0), Offset(0))]).await;
    let text = released.unwrap_err().to_string();
    assert!(text.contains(&format!("Read on group {group}")), "{text}");
    let trimmed = journal.trim(vec![(Partition(0), Offset(0))]).await.unwrap_err().to_string();
    assert!(trimmed.contains(&format!("Delete on topic {topic}")), "{trimmed}");

    broker.allow("kf", Operation::Read, Resource::Group, &topic).unwrap();
    broker.allow("kf", Operation::Delete, Resource::Topic, &topic).unwrap();
    journal.release("shop", vec![(Partition(0), Offset(0))]).await.unwrap();
    journal.trim(vec![(Partition(0), Offset(0))]).await.unwrap();
    let text = journal.forget_reader("shop").await.unwrap_err().to_string();
    assert!(text.contains(&format!("Delete on group {group}")), "{text}");
    let gone = journal.reader(vec![(Partition(7), Offset(0))]).await.map(drop);
    assert!(matches!(gone, Err(ReadError::NoSuchPartition { .. })), "{gone:?}");
}
