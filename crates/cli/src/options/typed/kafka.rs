//! The settings of a stream on Kafka.

use journal::kafka::{Compression, HeldTo, KafkaConfig};

use super::super::KAFKA_PROPERTIES;
use super::super::layers::is_secret_property;
use super::Reader;

/// How events are spread over partitions: kept with a stream, which cannot be used with another one.
const PLACEMENT: &str = "slot * partitions / 16384";

/// The ending of the topic of what could not be applied.
pub(crate) const DEAD_LETTERS: &str = "dead";

/// What topics that exist have to have where it is named.
const HELD: [(&str, HeldTo); 4] = [
    ("kafka.replication_factor", HeldTo::ReplicationFactor),
    ("kafka.min_insync_replicas", HeldTo::MinInsyncReplicas),
    ("journal.retention_age", HeldTo::RetentionMs),
    ("journal.retention_bytes", HeldTo::RetentionBytes),
];

/// By these OpenSSL is told where authorities are that are trusted, like the TLS of servers.
const AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

const PROPERTIES_FILE: &str = "kafka.properties_file";

// === impl Reader ===

impl Reader<'_> {
    pub(super) fn kafka(&mut self, brokers: &str, stream: &str, partitions: u16) -> KafkaConfig {
        let mut config = KafkaConfig::new(brokers, stream, partitions);
        let prefix = self.values.get("kafka.topic_prefix").unwrap_or_default();
        config.topic = format!("{prefix}.{stream}");
        config.placement = PLACEMENT.to_owned();
        // What nobody has named is not worth a refusal.
        config.any_partitions = !self.values.is_given("stream.partitions");
        let held = HELD.iter().filter(|(path, _)| self.values.is_given(path));
        config.holds_to = held.map(|(_, what)| *what).collect();
        let replicas = self.number("kafka.replication_factor");
        config.replication_factor = Some(replicas).filter(|replicas| *replicas > 0);
        let insync = self.number("kafka.min_insync_replicas");
        config.min_insync_replicas = Some(insync).filter(|replicas| *replicas > 0);
        if replicas > 0 && insync > replicas {
            let what = format!("is more than kafka.replication_factor, {replicas}");
            self.problem("kafka.min_insync_replicas", &what);
        }
        config.retention_ms = Some(match self.duration("journal.retention_age") {
            age if age.is_zero() => -1,
            age => i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
        });
        config.retention_bytes = Some(match self.bytes("journal.retention_bytes") {
            0 => -1,
            bytes => i64::try_from(bytes / u64::from(partitions)).unwrap_or(i64::MAX).max(1),
        });
        let linger = self.duration("kafka.linger").as_millis();
        config.linger_ms = u32::try_from(linger).unwrap_or(u32::MAX);
        config.compression = match self.word("kafka.compression") {
            Some("zstd") => Compression::Zstd,
            Some("none") => Compression::None,
            _ => Compression::Lz4,
        };
        config.create = self.flag("kafka.create");
        config.client_id = self.values.get("kafka.client_id").unwrap_or("keyferry").to_owned();
        config.finds_authorities = AUTHORITIES.iter().all(|name| std::env::var_os(name).is_none());
        config.properties = self.properties();
        for problem in config.problems() {
            let path = match problem.split(' ').next() {
                Some("topic") => "kafka.topic_prefix",
                Some("property") => KAFKA_PROPERTIES,
                _ => "journal.uri",
            };
            self.consequence(path, &format!("cannot be: {problem}"));
        }
        config
    }

    /// Those of the file, and over them those that stand here.
    fn properties(&mut self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if let Some(bytes) = self.secret_file(PROPERTIES_FILE) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            for (number, line) in (1..).zip(text.lines().map(str::trim)) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                match split(line) {
                    Some(property) => found.push(property),
                    // What is in it may be a secret.
                    None => self.problem(
                        PROPERTIES_FILE,
                        &format!("has something else than name=value in line {number}"),
                    ),
                }
            }
        }
        for item in self.list(KAFKA_PROPERTIES) {
            let config = self.values.file_of(KAFKA_PROPERTIES).map(ToOwned::to_owned);
            if let Some(config) = config.filter(|_| is_secret_property(&item)) {
                self.doubt(KAFKA_PROPERTIES, &config);
            }
            match split(&item) {
                Some(property) => found.push(property),
                None => self.problem(
                    KAFKA_PROPERTIES,
                    "has something else than name=value: values with commas stand in kafka.properties_file",
                ),
            }
        }
        found
    }
}

fn split(property: &str) -> Option<(String, String)> {
    let (name, value) = property.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
}
