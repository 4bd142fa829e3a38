//! TLS and passwords: what librdkafka is told goes through as it is.

use journal::OpenError;
use journal::kafka::KafkaConfig;
use testkit::kafka::{Broker, Operation, Resource, Setup};
use testkit::{ServerCert, TlsFiles};

use crate::refusals::refusal;
use crate::stage::{append, appender, on, open, read, record, texts};

fn account(config: &KafkaConfig, files: &TlsFiles, password: &str) -> KafkaConfig {
    let ca = files.ca();
    let properties = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", ca.to_str().expect("a path in UTF-8")),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "kf"),
        ("sasl.password", password),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    KafkaConfig { properties: properties.to_vec(), ..config.clone() }
}

#[tokio::test]
async fn a_stream_is_kept_on_brokers_that_ask_for_tls_and_a_password() {
    let files = TlsFiles::generate().unwrap();
    let setup = Setup::default().user("kf", "sesame").tls(&files, ServerCert::Good);
    let broker = Broker::with(&setup).unwrap();
    let config = on(&broker.bootstrap(), 1);
    broker.allow("kf", Operation::All, Resource::Topic, &config.topic).unwrap();

    let journal = open(&account(&config, &files, "sesame")).await;
    let mut appender = appender(&journal).await;
    append(&mut *appender, vec![record(0, "a")]).await;
    assert_eq!(texts(&read(&journal, 0, 1).await), ["a"]);

    let refused = refusal(&account(&config, &files, "wrong")).await;
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{text}");
    assert!(text.contains("uthentication") && !text.contains("wrong"), "{text}");
    let strangers = TlsFiles::generate().unwrap();
    let text = refusal(&account(&config, &strangers, "sesame")).await.to_string();
    assert!(text.contains("certificate"), "{text}");
}
