//! Settings of a stream on Kafka: plain data, checked before anything is asked of a broker.
//!
//! Guarantees: nothing of what is passed through to the client library is ever shown but its name.

use std::fmt;

/// How record batches are stored on the brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// LZ4: little CPU.
    Lz4,
    /// Zstandard: where network or disk is the limit.
    Zstd,
}

/// What to open, and how.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port` of some brokers, separated by commas.
    pub brokers: String,
    /// The topic of the records, such as `keyferry.shop`. What keyferry notes about the stream is in a second topic,
    /// `<topic>.meta`, what readers ask of its writer in a third, `<topic>.requests`; consumer groups are called
    /// `<topic>.<name>`.
    pub topic: String,
    /// The stream's name, kept with it.
    pub stream: String,
    /// How many partitions it has. Fixed when the stream is made.
    pub partitions: u16,
    /// Whether a stream that exists may have another number of them, which is taken then.
    pub any_partitions: bool,
    /// How the caller spreads its records over the partitions, in words. Kept with the stream, which cannot be used
    /// with another one.
    pub placement: String,
    /// Copies of each partition when topics are made; `None` is the brokers' default.
    pub replication_factor: Option<u16>,
    /// How many copies have to confirm a record, when topics are made; `None` is the brokers' default.
    pub min_insync_replicas: Option<u16>,
    /// Age in milliseconds after which records are forgotten, when topics are made; -1 is no limit, `None` the
    /// brokers' default.
    pub retention_ms: Option<i64>,
    /// Size of a partition beyond which its oldest records are forgotten, when topics are made; -1 is no limit,
    /// `None` the brokers' default.
    pub retention_bytes: Option<i64>,
    /// How long a record may wait for others to share a request with.
    pub linger_ms: u32,
    /// How batches are stored.
    pub compression: Compression,
    /// What brokers log about who is asking; also part of what a stream's writer is called.
    pub client_id: String,
    /// Whether authorities to trust are looked for wherever systems have them, unless `properties` name some. Else
    /// OpenSSL looks for them: where the environment says (`SSL_CERT_FILE`), or the system that it was built on.
    pub finds_authorities: bool,
    /// Properties of librdkafka, which have the last word: security, mostly.
    pub properties: Vec<(String, String)>,
    /// Whether topics that are missing are made; otherwise that is an error.
    pub create: bool,
    /// What topics that exist have to have as it stands here, too; the rest counts when topics are made.
    pub holds_to: Vec<HeldTo>,
}

/// A setting of topics that somebody insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldTo {
    /// No fewer copies than [`KafkaConfig::replication_factor`].
    ReplicationFactor,
    /// [`KafkaConfig::min_insync_replicas`].
    MinInsyncReplicas,
    /// [`KafkaConfig::retention_ms`].
    RetentionMs,
    /// [`KafkaConfig::retention_bytes`].
    RetentionBytes,
}

/// On these rest order and durability; each under all names that librdkafka has for it.
const OURS: [&str; 17] = [
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    // A record given up locally leaves a gap, for those behind it are still sent.
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "group.id",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "retries",
    "transactional.id",
];

/// Kafka takes names of up to 249 bytes; ours have endings.
const TOPIC_LIMIT_BYTES: usize = 200;

// === impl Compression ===

impl Compression {
    /// As librdkafka calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

// === impl KafkaConfig ===

impl KafkaConfig {
    /// The defaults for a stream: topic `keyferry.<stream>`, made where it is missing.
    #[must_use]
    pub fn new(brokers: impl Into<String>, stream: impl Into<String>, partitions: u16) -> Self {
        let stream = stream.into();
        Self {
            brokers: brokers.into(),
            topic: format!("keyferry.{stream}"),
            stream,
            partitions,
            any_partitions: false,
            placement: String::new(),
            replication_factor: None,
            min_insync_replicas: None,
            retention_ms: None,
            retention_bytes: None,
            // Batches fill while nobody waits so long that it would be felt.
            linger_ms: 5,
            compression: Compression::Lz4,
            client_id: "keyferry".to_owned(),
            finds_authorities: true,
            properties: Vec::new(),
            create: true,
            holds_to: Vec::new(),
        }
    }

    /// Everything that is wrong with the settings, each a sentence.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let mut problems = Vec::new();
        if self.brokers.trim().is_empty() {
            problems.push("no broker is named".to_owned());
        }
        if self.partitions == 0 {
            problems.push("there has to be at least one partition".to_owned());
        }
        let length = self.topic.len();
        if !(1..=TOPIC_LIMIT_BYTES).contains(&length) || !self.topic.chars().all(legal) {
            problems.push(format!(
                "topic {:?} has to have 1 to {TOPIC_LIMIT_BYTES} of the characters a-z A-Z 0-9 . _ -",
                self.topic
            ));
        }
        for (name, _) in &self.properties {
            if OURS.contains(&name.as_str()) {
                problems.push(format!(
                    "property {name} is keyferry's own, since order and durability rest on it: leave it out"
                ));
            }
        }
        problems
    }

    /// The topic of what is noted about the stream.
    pub(super) fn meta_topic(&self) -> String {
        format!("{}.meta", self.topic)
    }

    /// The topic of requests to the stream's writer.
    pub(super) fn requests_topic(&self) -> String {
        format!("{}.requests", self.topic)
    }

    /// The consumer group of a named reader.
    pub(super) fn group(&self, reader: &str) -> String {
        format!("{}.{reader}", self.topic)
    }

    /// The settings of a log of one partition beside the stream, from which nothing is forgotten by itself.
    pub(super) fn beside(&self, ending: &str) -> Self {
        Self {
            topic: format!("{}.{ending}", self.topic),
            partitions: 1,
            any_partitions: false,
            holds_to: Vec::new(),
            retention_ms: Some(-1),
            retention_bytes: Some(-1),
            // Records are few, and somebody waits for each.
            linger_ms: 0,
            ..self.clone()
        }
    }

    /// Where the stream is, for messages.
    pub(super) fn place(&self) -> String {
        format!("topic {} at {}", self.topic, self.brokers)
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("stream", &self.stream)
            .field("partitions", &self.partitions)
            .field("any_partitions", &self.any_partitions)
            .field("placement", &self.placement)
            .field("replication_factor", &self.replication_factor)
            .field("min_insync_replicas", &self.min_insync_replicas)
            .field("retention_ms", &self.retention_ms)
            .field("retention_bytes", &self.retention_bytes)
            .field("linger_ms", &self.linger_ms)
            .field("compression", &self.compression)
            .field("client_id", &self.client_id)
            .field("finds_authorities", &self.finds_authorities)
            .field("properties", &names)
            .field("create", &self.create)
            .field("holds_to", &self.holds_to)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_through_is_not_shown() {
        let mut config = KafkaConfig::new("localhost:9092", "shop", 4);
        config.properties.push(("sasl.password".to_owned(), "hunter2".to_owned()));
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn bad_settings_are_named() {
        let good = KafkaConfig::new("localhost:9092", "shop", 4);
        assert_eq!(good.problems(), Vec::<String>::new());
        let mut bad = KafkaConfig::new(" ", "the shop", 0);
        bad.properties.push(("acks".to_owned(), "0".to_owned()));
        let problems = bad.problems().join("\n");
        for word in ["no broker", "one partition", "\"keyferry.the shop\"", "property acks"] {
            assert!(problems.contains(word), "{word} is not in:\n{problems}");
        }
    }

    #[test]
    fn what_order_and_durability_rest_on_is_refused_under_each_of_its_names() {
        for name in ["message.timeout.ms", "delivery.timeout.ms", "retries", "metadata.broker.list"]
        {
            let mut config = KafkaConfig::new("localhost:9092", "shop", 4);
            config.properties.push((name.to_owned(), "1000".to_owned()));
            let problems = config.problems().join("\n");
            assert!(problems.contains(&format!("property {name} is keyferry's own")), "{problems}");
        }
        let mut config = KafkaConfig::new("localhost:9092", "shop", 4);
        config.properties.push(("request.timeout.ms".to_owned(), "1000".to_owned()));
        assert_eq!(config.problems(), Vec::<String>::new());
    }
}
