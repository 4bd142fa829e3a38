//! What is not this stream, and what an account may not, is said by its name.

use std::sync::Arc;
use std::time::Duration;

use journal::kafka::{HeldTo, KafkaConfig, KafkaJournal, StreamTopics};
use journal::{Journal, Offset, OpenError, Partition, ReadError};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use runtime::{Class, Classified, SystemClock};
use testkit::kafka::{Broker, Operation, Resource, Setup};

use crate::stage::{append, appender, on, open, read, record, shared, within};

/// How often two processes begin at once.
const ROUNDS: usize = 6;

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

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", brokers).create().expect("a client")
}

async fn make_topic(brokers: &str, topic: &NewTopic<'_>) {
    let admin = admin(brokers);
    let made = admin.create_topics([topic], &AdminOptions::new()).await.expect("an answer");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

/// Deletes topics and waits until they are gone.
async fn delete_topics(admin: &AdminClient<DefaultClientContext>, topics: &[&str]) {
    let deleted = admin.delete_topics(topics, &AdminOptions::new()).await.expect("an answer");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let is_there = || {
        let told = admin.inner().fetch_metadata(None, Duration::from_secs(60)).expect("an answer");
        told.topics().iter().any(|topic| topics.contains(&topic.name()))
    };
    let gone = async {
        while is_there() {
            tokio::task::yield_now().await;
        }
    };
    within("they are gone", gone).await;
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
async fn as_many_partitions_as_there_are_do_where_nobody_has_named_a_number() {
    let config = shared(3);
    drop(open(&config).await);
    let unnamed = KafkaConfig { partitions: 16, any_partitions: true, ..config.clone() };
    let described = open(&unnamed).await.describe().await.unwrap();
    assert_eq!(described.partitions.len(), 3);
}

/// Whoever is second finds what the first has made, while that is still on its way.
#[tokio::test]
async fn of_two_that_make_a_topic_at_once_the_second_takes_it_as_it_is() {
    let mut met = 0;
    for round in 0..ROUNDS {
        let one = KafkaConfig { partitions: 2, ..shared(2) };
        let any = KafkaConfig { partitions: 3, any_partitions: true, ..one.clone() };
        let other = KafkaConfig { partitions: 4, ..one.clone() };
        let second = if round % 2 == 0 { &any } else { &other };
        let clock = || Arc::new(SystemClock::new());
        let both = async {
            tokio::join!(
                KafkaJournal::open(one.clone(), clock()),
                KafkaJournal::open(second.clone(), clock())
            )
        };
        match within("both are answered", both).await {
            (Ok(_), Ok(_)) => assert!(second.any_partitions, "two numbers are one too many"),
            (Ok(_), Err(OpenError::Mismatch { .. })) | (Err(OpenError::Mismatch { .. }), Ok(_)) => {
                met += 1;
            }
            (one, other) => panic!("{:?}, {:?}", one.err(), other.err()),
        }
    }
    assert!(met >= ROUNDS / 2, "{met}");
}

#[tokio::test]
async fn partitions_that_somebody_added_are_told_of_and_do_not_keep_anybody_from_reading() {
    let config = shared(2);
    let journal = open(&config).await;
    append(&mut *appender(&journal).await, vec![record(1, "a")]).await;
    drop(journal);
    let (admin, clock) = (admin(&config.brokers), Arc::new(SystemClock::new()));
    let wider = NewPartitions::new(&config.topic, 3);
    let added = admin.create_partitions([&wider], &AdminOptions::new()).await.unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    let words = ["has 3 partitions", "made with 2", "somebody has added some", "another name"];
    for partitions in [2, 3, 16] {
        let any_partitions = partitions == 16;
        let asked = KafkaConfig { partitions, any_partitions, ..config.clone() };
        let seen = || async { matches!(refusal(&asked).await, OpenError::Mismatch { .. }) };
        // Not every broker's answer has them at once.
        while !within("it is refused", seen()).await {}
        assert_mismatch(&asked, &words).await;
        let topics = StreamTopics::new(asked, Arc::clone(&clock) as _).unwrap();
        let said = within("they are compared", topics.differences()).await.unwrap().join("\n");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    let looked = KafkaJournal::open_as_it_is(config.clone(), clock).await.unwrap();
    assert_eq!(read(&looked, 1, 1).await.len(), 1);
}

#[tokio::test]
async fn settings_that_somebody_insists_on_are_refused_where_a_topic_has_others() {
    let config = KafkaConfig { min_insync_replicas: Some(1), ..shared(1) };
    drop(open(&config).await);
    let other = KafkaConfig {
        replication_factor: Some(3),
        min_insync_replicas: Some(2),
        retention_ms: Some(60_000),
        retention_bytes: Some(1 << 30),
        ..config.clone()
    };
    // They count for a topic that is made, and for this one nobody has named them.
    drop(open(&other).await);
    for (held, words) in [
        (HeldTo::ReplicationFactor, ["1 copies", "kafka.replication_factor"]),
        (HeldTo::MinInsyncReplicas, ["min.insync.replicas=1, 2", "kafka.min_insync_replicas"]),
        (HeldTo::RetentionMs, ["retention.ms=-1, 60000", "journal.retention_age"]),
        (HeldTo::RetentionBytes, ["retention.bytes=-1, 1073741824", "journal.retention_bytes"]),
    ] {
        let asked = KafkaConfig { holds_to: vec![held], ..other.clone() };
        assert_mismatch(&asked, &[&words[..], &[config.topic.as_str()]].concat()).await;
        drop(open(&KafkaConfig { holds_to: vec![held], ..config.clone() }).await);
    }
}

#[tokio::test]
async fn a_topic_that_was_deleted_is_not_gone_on_with_under_its_old_notes() {
    let config = shared(2);
    let journal = open(&config).await;
    append(&mut *appender(&journal).await, vec![record(0, "a")]).await;
    drop(journal);
    let admin = admin(&config.brokers);
    let meta = format!("{}.meta", config.topic);
    delete_topics(&admin, &[&config.topic]).await;
    // Again too: that the first has made the topic anew does not make it good.
    for _ in 0..2 {
        assert_mismatch(&config, &[&config.topic, &meta, "was deleted", "delete both"]).await;
    }
    delete_topics(&admin, &[&config.topic, &meta]).await;
    let journal = open(&config).await;
    append(&mut *appender(&journal).await, vec![record(0, "b")]).await;
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
