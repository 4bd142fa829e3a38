//! Rights that requests to a stream's writer take, each named where it is missing.

use bytes::Bytes;
use journal::kafka::KafkaConfig;
use journal::{Journal, Mailbox};
use testkit::kafka::{Broker, Operation, Resource, Setup};

use crate::stage::{on, open, within};

fn account(config: &KafkaConfig, user: &str) -> KafkaConfig {
    let properties = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", user),
        ("sasl.password", "sesame"),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    KafkaConfig { properties: properties.to_vec(), ..config.clone() }
}

async fn refused_post(mailbox: &dyn Mailbox) -> String {
    let posted = within("it answers", mailbox.post(Bytes::from_static(b"x"))).await;
    posted.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn rights_that_requests_take_are_named_where_they_are_missing() {
    let users = ["maker", "capture", "apply"];
    let setup = users.iter().fold(Setup::default(), |setup, user| setup.user(user, "sesame"));
    let broker = Broker::with(&setup).unwrap();
    let config = on(&broker.bootstrap(), 1);
    let requests = format!("{}.requests", config.topic);
    let allow = |user, operation, topic: &str| {
        broker.allow(user, operation, Resource::Topic, topic).unwrap();
    };
    allow("maker", Operation::All, &config.topic);
    drop(open(&account(&config, "maker")).await);
    for user in ["capture", "apply"] {
        for operation in [Operation::Read, Operation::Describe, Operation::DescribeConfigs] {
            allow(user, operation, &config.topic);
        }
    }
    let capture = open(&account(&config, "capture")).await.mailbox();
    let reader = KafkaConfig { create: false, ..account(&config, "apply") };
    let apply = open(&reader).await.mailbox();

    let text = refused_post(&*apply).await;
    assert!(text.contains(&requests) && text.contains("start capture"), "{text}");
    let text = within("it answers", capture.listen()).await.map(drop).unwrap_err().to_string();
    assert!(text.contains(&format!("Create on topic {requests}")), "{text}");
    allow("capture", Operation::Create, &requests);
    let mut listener = within("it listens", capture.listen()).await.unwrap();
    let text = refused_post(&*apply).await;
    assert!(text.contains(&format!("Write on topic {requests}")), "{text}");
    allow("apply", Operation::Write, &requests);
    within("it is posted", apply.post(Bytes::from_static(b"please"))).await.unwrap();
    assert_eq!(within("it is heard", listener.next()).await.unwrap(), "please");
}
