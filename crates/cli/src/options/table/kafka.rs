//! The options of a journal on Apache Kafka.

use super::{Kind, OptionSpec, option};

pub(super) const TOPIC_PREFIX: OptionSpec = option(
    "kafka.topic_prefix",
    Kind::Text,
    Some("keyferry"),
    "What the topics of a stream begin with: events are in PREFIX.STREAM, notes about the stream in PREFIX.STREAM.meta; consumer groups are PREFIX.STREAM.DESTINATION.",
);

pub(super) const REPLICATION_FACTOR: OptionSpec = option(
    "kafka.replication_factor",
    Kind::Number,
    Some("0"),
    "Copies of each partition when the topics are made; 0: the brokers' default.",
);

pub(super) const MIN_INSYNC_REPLICAS: OptionSpec = option(
    "kafka.min_insync_replicas",
    Kind::Number,
    Some("0"),
    "How many copies have to confirm an event before it counts as durable, when the topics are made; 0: the brokers' default.",
);

pub(super) const LINGER: OptionSpec = option(
    "kafka.linger",
    Kind::Duration,
    Some("5ms"),
    "How long an event may wait for others to travel with.",
);

pub(super) const COMPRESSION: OptionSpec = option(
    "kafka.compression",
    Kind::Word(&["lz4", "zstd", "none"]),
    Some("lz4"),
    "How batches of events are compressed: lz4 costs little, zstd is for a slow network or small disks.",
);

pub(super) const CREATE: OptionSpec = option(
    "kafka.create",
    Kind::Flag,
    Some("true"),
    "Make topics that are missing. Without it that is an error.",
);

pub(super) const CLIENT_ID: OptionSpec = option(
    "kafka.client_id",
    Kind::Text,
    Some("keyferry"),
    "What the brokers log about who asks, and what others are told of who writes the stream.",
);

pub(super) const PROPERTIES: OptionSpec = option(
    super::KAFKA_PROPERTIES,
    Kind::List,
    None,
    "Properties of librdkafka, as name=value: security.protocol=SASL_SSL. They have the last word, but for those that order and durability rest on. Passwords, and values with commas: in kafka.properties_file.",
);

pub(super) const PROPERTIES_FILE: OptionSpec = option(
    "kafka.properties_file",
    Kind::Path,
    None,
    "File with such properties, one name=value a line, # begins a comment. Here is where passwords go: nobody else should be able to read it.",
);
