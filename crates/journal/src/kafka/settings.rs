//! Every property of librdkafka that this backend rests on, once, with its reason.
//!
//! What is not here has librdkafka's default; what the user passes through comes last.

use rdkafka::ClientConfig;

use super::config::KafkaConfig;
use super::record::MAX_MESSAGE_BYTES;

/// What a client is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role<'a> {
    /// Makes and looks at topics and groups.
    Admin,
    /// Writes the stream's records.
    Events,
    /// Writes what is noted about the stream.
    Notes,
    /// Reads records or notes from places it is told; belongs to no group.
    Reader,
    /// The same of so many partitions, each with a queue of its own.
    Partitions(usize),
    /// A member of the named group, which reads nothing.
    Member(&'a str),
    /// Asks for and commits offsets of the named group from outside.
    Asker(&'a str),
}

const EVERYBODY: &[(&str, &str)] = &[
    // A firewall forgets connections on which nothing happens.
    ("socket.keepalive.enable", "true"),
    // An idle connection is not closed: opening it again would cost the next record a round trip or more.
    ("connections.max.idle.ms", "0"),
    // Small requests leave at once; batching is the linger's business.
    ("socket.nagle.disable", "true"),
    // A topic that was misspelt must not come into being.
    ("allow.auto.create.topics", "false"),
    // 10 s by default: after an outage of any length the next try comes within a second.
    ("reconnect.backoff.max.ms", "1000"),
];

const WRITING: &[(&str, &str)] = &[
    // No record twice and none out of order, whatever is tried again; implies acks=all.
    ("enable.idempotence", "true"),
    // A record that the broker refuses stops the producer instead of leaving a gap before those behind it.
    ("enable.gapless.guarantee", "true"),
    // By default a record that has waited for 5 minutes is skipped and the others go on: a gap in the log.
    ("message.timeout.ms", "0"),
    // 30 s by default: how long a broker that hangs is waited for before its successor is asked.
    ("request.timeout.ms", "10000"),
];

const EVENTS: &[(&str, &str)] = &[
    // What waits is bounded, by default to 1 GiB and 100,000 records: that many go out of the processor's cache before they
    // are sent, and again before they are confirmed. So many still fill the way to brokers that are 20 ms away.
    ("queue.buffering.max.messages", "16384"),
    ("queue.buffering.max.kbytes", "32768"),
];

const NOTES: &[(&str, &str)] = &[
    // Two a second; nothing to wait for.
    ("linger.ms", "0"),
    ("queue.buffering.max.messages", "1000"),
];

const READING: &[(&str, &str)] = &[
    // Positions are kept by the caller; what is committed is only shown to lag tools.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // Records that have left retention are a loss to be told, not to be passed over.
    ("auto.offset.reset", "error"),
    // Memory: of one consumer, whatever the number of partitions. 64 MiB by default.
    ("queued.min.messages", "20000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.max.bytes", "16777216"),
    ("fetch.message.max.bytes", "1048576"),
    // 1 s by default: with small queues that would be a stall of its own.
    ("fetch.queue.backoff.ms", "20"),
    // A partition whose leader moves is asked for again soon.
    ("fetch.error.backoff.ms", "100"),
];

/// What a member says of itself where members, not brokers, share out the partitions.
const CLASSIC_MEMBER: &[(&str, &str)] = &[
    // Who is lost is replaced within ten seconds; brokers allow no less by default.
    ("session.timeout.ms", "6000"),
    // By an answer to it a member hears that another one has left, whose part is to be taken over within a second.
    ("heartbeat.interval.ms", "500"),
    // Members that keep a partition do not stop for those that change hands.
    ("partition.assignment.strategy", "cooperative-sticky"),
];

const MEMBER: &[(&str, &str)] = &[
    // It reads nothing; should something come before it is paused, it is little.
    ("queued.min.messages", "1"),
    ("queued.max.messages.kbytes", "1"),
    ("fetch.message.max.bytes", "1024"),
];

// === impl Role ===

impl Role<'_> {
    fn tables(self) -> Vec<&'static [(&'static str, &'static str)]> {
        match self {
            Self::Admin => vec![EVERYBODY],
            Self::Events => vec![EVERYBODY, WRITING, EVENTS],
            Self::Notes => vec![EVERYBODY, WRITING, NOTES],
            Self::Reader | Self::Partitions(_) | Self::Asker(_) => vec![EVERYBODY, READING],
            Self::Member(_) => vec![EVERYBODY, READING, MEMBER],
        }
    }
}

/// An OpenSSL that is linked statically looks where the system that it was built on has its authorities, which is
/// somewhere else on the next one, and in an image without a system nowhere.
const AUTHORITIES: (&str, &str) = ("ssl.ca.location", "probe");

/// Which protocol members of a group follow, and the value with which brokers share out the partitions: then the
/// library refuses what is [`CLASSIC_MEMBER`].
const PROTOCOL: &str = "group.protocol";
const BY_BROKERS: &str = "consumer";

/// The settings of a client of this role.
///
/// OpenSSL is told first, by whoever makes the first client, not to clean up at the end of the process: threads of the
/// library that close connections, or wait for a broker, then still use it, and the process would end with a crash.
pub(super) fn of(role: Role<'_>, config: &KafkaConfig) -> ClientConfig {
    openssl_sys::init();
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &config.brokers);
    settings.set("client.id", &config.client_id);
    // Sizes of a request in both directions; the default is a little less than what brokers take.
    settings.set("message.max.bytes", MAX_MESSAGE_BYTES.to_string());
    for (name, value) in role.tables().into_iter().flatten() {
        settings.set(*name, *value);
    }
    if config.finds_authorities {
        let (name, value) = AUTHORITIES;
        settings.set(name, value);
    }
    let is_classic =
        !config.properties.iter().any(|(name, value)| name == PROTOCOL && value == BY_BROKERS);
    if is_classic && matches!(role, Role::Member(_)) {
        for (name, value) in CLASSIC_MEMBER {
            settings.set(*name, *value);
        }
    }
    match role {
        Role::Member(group) | Role::Asker(group) => {
            settings.set("group.id", group);
        }
        Role::Reader | Role::Partitions(_) => {
            // Places are given by hand, but librdkafka wants a name; nobody joins it.
            settings.set("group.id", config.group("reader"));
        }
        Role::Events => {
            settings.set("linger.ms", config.linger_ms.to_string());
            settings.set("compression.type", config.compression.name());
        }
        Role::Admin | Role::Notes => {}
    }
    if let Role::Partitions(count) = role {
        // What all of them may have ahead, for each its part; a record that is larger comes by itself.
        let part = |all: usize, least: usize| (all / count.max(1)).max(least);
        settings.set("queued.min.messages", part(20_000, 100).to_string());
        settings.set("queued.max.messages.kbytes", part(16_384, 64).to_string());
        let fetched = part(16 << 20, 64 << 10).min(1 << 20);
        settings.set("fetch.message.max.bytes", fetched.to_string());
    }
    for (name, value) in &config.properties {
        // Others than members belong to no group.
        if name != PROTOCOL || matches!(role, Role::Member(_)) {
            settings.set(name, value);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_knows_every_property_and_takes_the_values_together() {
        let config = KafkaConfig::new("127.0.0.1:1", "shop", 1);
        for role in [Role::Admin, Role::Events, Role::Notes] {
            let made: Result<rdkafka::producer::BaseProducer, _> = of(role, &config).create();
            assert!(made.is_ok(), "{role:?}: {:?}", made.err());
        }
        for role in [Role::Reader, Role::Partitions(16), Role::Member("a"), Role::Asker("b")] {
            let made: Result<rdkafka::consumer::BaseConsumer, _> = of(role, &config).create();
            assert!(made.is_ok(), "{role:?}: {:?}", made.err());
        }
    }

    #[test]
    fn members_may_let_the_brokers_share_out_the_partitions() {
        let mut config = KafkaConfig::new("127.0.0.1:1", "shop", 1);
        let make = |role, config: &KafkaConfig| {
            let made: Result<rdkafka::consumer::BaseConsumer, _> = of(role, config).create();
            made.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(of(Role::Member("a"), &config).get("session.timeout.ms"), Some("6000"));
        config.properties.push((PROTOCOL.to_owned(), BY_BROKERS.to_owned()));
        for role in [Role::Reader, Role::Member("a"), Role::Asker("b")] {
            assert_eq!(make(role, &config), Ok(()), "{role:?}");
        }
        // What cannot be together is refused by its name.
        config.properties.push(("session.timeout.ms".to_owned(), "7000".to_owned()));
        let refused = make(Role::Member("a"), &config).unwrap_err();
        assert!(refused.contains("session.timeout.ms"), "{refused}");
    }

    #[test]
    fn authorities_are_looked_for_unless_they_are_named() {
        let mut config = KafkaConfig::new("127.0.0.1:1", "shop", 1);
        let named = |config: &_| of(Role::Reader, config).get("ssl.ca.location").map(str::to_owned);
        assert_eq!(named(&config).as_deref(), Some("probe"));
        config.properties.push(("ssl.ca.location".to_owned(), "/ca.pem".to_owned()));
        assert_eq!(named(&config).as_deref(), Some("/ca.pem"));
        config.properties.clear();
        config.finds_authorities = false;
        assert_eq!(named(&config), None);
    }

    #[test]
    fn what_is_passed_through_comes_last() {
        let mut config = KafkaConfig::new("127.0.0.1:1", "shop", 1);
        config.properties.push(("linger.ms".to_owned(), "77".to_owned()));
        assert_eq!(of(Role::Events, &config).get("linger.ms"), Some("77"));
        assert_eq!(of(Role::Events, &config).get("enable.idempotence"), Some("true"));
    }
}
