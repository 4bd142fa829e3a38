//! The journal: the embedded one, or a stream on Kafka.

use std::time::Duration;

use journal::local::{Compression, LocalConfig, SyncPolicy};
use redis_io::{Address, Endpoint};

use super::{DataDir, Reader};
use crate::role::Role;

/// Which journal, and how.
#[derive(Clone)]
pub(crate) enum JournalSettings {
    /// In the data directory, of one process.
    Local(LocalConfig),
    /// On brokers, which several processes share.
    #[cfg(feature = "kafka")]
    Kafka(Box<journal::kafka::KafkaConfig>),
}

const URI: &str = "journal.uri";

/// In place of a URI: the embedded one.
const LOCAL: &str = "local";
const KAFKA: &str = "kafka://";

/// Events are spread by slot, of which there are so many.
const PARTITIONS_MAX: u16 = 16_384;

/// A name in the journal may be part of a longer one, of up to 249 characters.
const NAME_BYTES_MAX: usize = 100;

// === impl JournalSettings ===

impl JournalSettings {
    /// Whether other processes can use it, too.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::Local(_))
    }

    /// The same for a process that writes no events: what its topics keep is the affair of whoever does.
    pub(crate) fn of_a_reader(self) -> Self {
        match self {
            Self::Local(config) => Self::Local(config),
            #[cfg(feature = "kafka")]
            Self::Kafka(mut config) => {
                config.holds_to.clear();
                Self::Kafka(config)
            }
        }
    }

    /// Where the letters of its quarantine are: beside it, or in files where it is embedded.
    pub(crate) fn letters(&self, local: LocalConfig) -> Self {
        match self {
            Self::Local(_) => Self::Local(local),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => Self::Kafka(config.clone()),
        }
    }

    /// Where it is, in a word.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Local(_) => LOCAL.to_owned(),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => format!("topic {} at {}", config.topic, config.brokers),
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// The journal of a stream.
    pub(crate) fn journal(&mut self, stream: &str, dir: &DataDir) -> JournalSettings {
        let local = self.local(stream, dir);
        match self.brokers() {
            None => JournalSettings::Local(local),
            #[cfg(feature = "kafka")]
            Some(brokers) => {
                JournalSettings::Kafka(Box::new(self.kafka(&brokers, stream, local.partitions)))
            }
            #[cfg(not(feature = "kafka"))]
            Some(_) => {
                let what = "names Kafka, which this binary was built without: build it with the feature kafka";
                self.problem(URI, what);
                JournalSettings::Local(local)
            }
        }
    }

    /// Refuses to share a journal that is for one process.
    pub(crate) fn refuse_to_share(&mut self, role: Role) {
        // A replay reads beside whoever writes.
        if matches!(role, Role::Capture | Role::Apply) && self.is_local() {
            let what = format!(
                "is {LOCAL}, the embedded journal, which one process has for itself: `keyferry {}` needs one on Kafka, \
                 --journal kafka://host:port; without, `keyferry run` captures and applies",
                role.name()
            );
            self.problem(URI, &what);
        }
    }

    /// Which shard of the stream the source is; none: it is no node of a cluster.
    pub(super) fn shard(&mut self, role: Role) -> Option<u16> {
        let path = "source.shard";
        let text = self.values.get(path).filter(|text| !text.is_empty())?.to_owned();
        let number = text.parse().ok().filter(|number| *number <= capture::SHARD_MAX);
        if number.is_none() {
            let most = capture::SHARD_MAX;
            self.problem(
                path,
                &format!("is {text:?}, it has to be a whole number from 0 to {most}"),
            );
        } else if self.is_local() {
            let what = "needs a journal on Kafka (--journal kafka://host:port): the embedded journal has one writer, and \
                        the shards of a cluster have one each";
            self.problem(path, what);
        } else if role != Role::Capture {
            let what = "is for `keyferry capture`, one process for each primary of the cluster, with `keyferry apply` \
                        beside them";
            self.problem(path, what);
        }
        number
    }

    /// What the destination is called in the journal; none: what the embedded one has always called it.
    pub(super) fn destination_name(&mut self, destination: &Endpoint) -> Option<String> {
        let path = "destination.name";
        let Some(name) = self.values.get(path).map(str::to_owned) else {
            return (!self.is_local()).then(|| name_of(destination.address()));
        };
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !name.chars().all(is_legal) || name.len() > NAME_BYTES_MAX {
            let what = format!(
                "is {name:?}, it has to be up to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'"
            );
            self.problem(path, &what);
        }
        Some(name)
    }

    /// Whether the embedded one is meant.
    pub(crate) fn is_local(&self) -> bool {
        self.values.get(URI).unwrap_or(LOCAL) == LOCAL
    }

    /// `host:port` of some brokers, separated by commas; none: the embedded journal is meant.
    fn brokers(&mut self) -> Option<String> {
        if self.is_local() {
            return None;
        }
        let uri = self.values.get(URI)?;
        let brokers = uri.strip_prefix(KAFKA).map(|brokers| brokers.trim_end_matches('/'));
        let is_broker = |broker: &str| {
            let parts = broker.rsplit_once(':');
            parts.is_some_and(|(host, port)| {
                let plain = |c: char| !c.is_whitespace() && !"/@,?".contains(c);
                !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok()
            })
        };
        match brokers {
            Some(brokers) if brokers.split(',').all(is_broker) => Some(brokers.to_owned()),
            Some(brokers) if brokers.contains('@') => {
                let what = "names an account: that goes into kafka.properties_file (sasl.username, sasl.password)";
                self.problem(URI, what);
                None
            }
            _ => {
                let what =
                    format!("is {uri:?}, it has to be {LOCAL} or {KAFKA}host:port,host:port");
                self.problem(URI, &what);
                None
            }
        }
    }

    fn local(&mut self, stream: &str, dir: &DataDir) -> LocalConfig {
        let mut config =
            LocalConfig::new(dir.journal(stream), stream, self.number("stream.partitions"));
        if !(1..=PARTITIONS_MAX).contains(&config.partitions) {
            self.consequence("stream.partitions", &format!("has to be 1 to {PARTITIONS_MAX}"));
            config.partitions = 1;
        }
        config.sync = match self.duration("journal.sync_interval") {
            Duration::ZERO => SyncPolicy::EachBatch,
            interval => SyncPolicy::Interval(interval),
        };
        config.segment_bytes = self.bytes("journal.segment_bytes");
        config.retention_bytes =
            Some(self.bytes("journal.retention_bytes")).filter(|bytes| *bytes > 0);
        config.retention_age =
            Some(self.duration("journal.retention_age")).filter(|age| !age.is_zero());
        config.compression = match self.word("journal.compression") {
            Some("none") => Compression::None,
            _ => Compression::Lz4,
        };
        for problem in config.problems() {
            let path = if problem.contains("segment_bytes") {
                "journal.segment_bytes"
            } else {
                "stream.name"
            };
            self.consequence(path, &format!("cannot be: {problem}"));
        }
        config
    }
}

/// A name of an address alone: no two addresses have the same.
pub(crate) fn name_of(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => format!("{}-{port}", plain(host)),
        Address::Unix(path) => plain(&path.to_string_lossy()),
    }
}

/// Letters, digits, dots and dashes, and for everything else its bytes.
fn plain(text: &str) -> String {
    let word = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
        other => format!("_{other:02x}"),
    };
    text.bytes().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_never_have_one_name() {
        let name = |uri: &str| name_of(Endpoint::parse(uri).unwrap().address());
        assert_eq!(name("redis://10.0.0.1:6379"), "10.0.0.1-6379");
        assert_eq!(name("redis://user@cache-1.example:6380"), "cache-1.example-6380");
        assert_eq!(name("redis://[::1]:6379"), "_3a_3a1-6379");
        assert_eq!(name("unix:///run/a_b.sock"), "_2frun_2fa_5fb.sock");
    }
}
