//! TLS and passwords: what librdkafka is told goes through as it is.

use std::path::{Path, PathBuf};

use journal::OpenError;
use journal::kafka::KafkaConfig;
use testkit::kafka::{Broker, Operation, Resource, Setup};
use testkit::{Process, ServerCert, TlsFiles};

use crate::apart::PATIENCE;
use crate::refusals::refusal;
use crate::stage::{append, appender, on, open, read, record, texts};

/// The same stream for a client with these properties besides.
fn with(config: &KafkaConfig, properties: &[(&str, &str)]) -> KafkaConfig {
    let properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    KafkaConfig { properties: properties.collect(), ..config.clone() }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn account(config: &KafkaConfig, files: &TlsFiles, password: &str) -> KafkaConfig {
    let ca = files.ca();
    let properties = [
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", path(&ca)),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "kf"),
        ("sasl.password", password),
    ];
    with(config, &properties)
}

/// Writes a record and reads it again.
async fn assert_carries(config: &KafkaConfig) {
    let journal = open(config).await;
    let mut appender = appender(&journal).await;
    append(&mut *appender, vec![record(0, "a")]).await;
    assert_eq!(texts(&read(&journal, 0, 1).await), ["a"]);
}

#[tokio::test]
async fn a_stream_is_kept_on_brokers_that_ask_for_tls_and_a_password() {
    let files = TlsFiles::generate().unwrap();
    let setup = Setup::default().user("kf", "sesame").tls(&files, ServerCert::Good);
    let broker = Broker::with(&setup).unwrap();
    let config = on(&broker.bootstrap(), 1);
    broker.allow("kf", Operation::All, Resource::Topic, &config.topic).unwrap();

    assert_carries(&account(&config, &files, "sesame")).await;

    let refused = refusal(&account(&config, &files, "wrong")).await;
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Refused { .. }), "{text}");
    assert!(text.contains("uthentication") && !text.contains("wrong"), "{text}");
    let strangers = TlsFiles::generate().unwrap();
    let refused = refusal(&account(&config, &strangers, "sesame")).await;
    let text = refused.to_string();
    assert!(matches!(refused, OpenError::Refused { .. }), "{text}");
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test]
async fn a_stream_is_kept_on_brokers_that_ask_for_a_certificate() {
    let files = TlsFiles::generate().unwrap();
    let setup = Setup::default().tls(&files, ServerCert::Good);
    let broker = Broker::with(&setup.property("ssl.client.auth=required")).unwrap();
    let config = on(&broker.bootstrap(), 1);
    let ca = files.ca();
    let bare = [("security.protocol", "ssl"), ("ssl.ca.location", path(&ca))];
    let showing = |files: (PathBuf, PathBuf)| {
        let shown =
            [("ssl.certificate.location", path(&files.0)), ("ssl.key.location", path(&files.1))];
        with(&config, &[bare, shown].concat())
    };
    assert_carries(&showing(files.client())).await;
    for refused in [showing(files.stranger()), with(&config, &bare)] {
        let text = refusal(&refused).await.to_string();
        assert!(text.contains("certificate") || text.contains("handshake"), "{text}");
    }
}

#[test]
fn authorities_may_be_named_by_the_environment() {
    let files = TlsFiles::generate().unwrap();
    let broker = Broker::with(&Setup::default().tls(&files, ServerCert::Good)).unwrap();
    let journal = format!("kafka://{}", broker.bootstrap());
    let args = ["topics", "create", "--journal", &journal, "--stream", "shop"];
    let create = |authorities: &[(&str, &str)]| {
        let tls = [("KEYFERRY_KAFKA_PROPERTIES", "security.protocol=SSL")];
        let mut process = Process::start_with(&args, &[&tls, authorities].concat()).unwrap();
        (process.wait(PATIENCE).unwrap().code(), process.stderr())
    };
    let (code, said) = create(&[]);
    assert!(code == Some(6) && said.contains("certificate"), "the system's: {code:?} {said}");
    let ca = files.ca();
    let (code, said) = create(&[("SSL_CERT_FILE", path(&ca))]);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test]
async fn every_way_to_log_in_is_the_librarys() {
    let modules = [
        ("plain", r#"plain.PlainLoginModule required user_kf="sesame""#),
        (
            "oauthbearer",
            r#"oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="kf""#,
        ),
    ];
    let setup = Setup::default().user("kf", "sesame");
    let setup = setup.property("sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN,OAUTHBEARER");
    let setup = modules.into_iter().fold(setup, |setup, (mechanism, module)| {
        let name = format!("listener.name.clients.{mechanism}.sasl.jaas.config");
        setup.property(&format!("{name}=org.apache.kafka.common.security.{module};"))
    });
    let broker = Broker::with(&setup).unwrap();
    let password = [("sasl.username", "kf"), ("sasl.password", "sesame")];
    let token = [
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=kf"),
    ];
    for (mechanism, secret) in
        [("PLAIN", password), ("SCRAM-SHA-256", password), ("OAUTHBEARER", token)]
    {
        let config = on(&broker.bootstrap(), 1);
        broker.allow("kf", Operation::All, Resource::Topic, &config.topic).unwrap();
        let [first, second] = secret;
        let protocol = ("security.protocol", "sasl_plaintext");
        let properties = [protocol, ("sasl.mechanism", mechanism), first, second];
        assert_carries(&with(&config, &properties)).await;
        let wrong = match mechanism {
            "OAUTHBEARER" => ("sasl.oauthbearer.config", "principal=other"),
            _ => ("sasl.password", "wrong"),
        };
        let refused = refusal(&with(&config, &[&properties[..3], &[wrong]].concat())).await;
        let text = refused.to_string();
        let says = text.contains("uthentication") || text.contains(&config.topic);
        assert!(says && !text.contains("wrong"), "{mechanism}: {text}");
    }
}
