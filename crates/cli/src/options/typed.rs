//! From texts to the settings of each component. Every problem is collected, none stops the others from showing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use apply::filter::{CommandName, Filters, Glob, KeyPattern, Rule, ValueKind};
use apply::mapping::{DbMapping, MAPPED_DBS};
use apply::{BatchLimits, Existing, Inexact, Windows};
use bytes::Bytes;
use journal::local::{Compression, LocalConfig, SyncPolicy};
use redis_io::tls::{ClientIdentity, TlsVersion};
use redis_io::{Credentials, Endpoint, TlsSettings};
use runtime::{ByteSize, Secret, units};

use super::layers::{LIST_SEPARATOR, Values};

/// Reads values of one configuration, and gathers what is wrong with them.
pub(crate) struct Reader<'a> {
    values: &'a Values,
    problems: Vec<String>,
}

/// Where everything that is kept stands.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(pub(crate) PathBuf);

/// Everything that is wrong with the values of a `run`.
pub(crate) fn problems(values: &Values) -> Vec<String> {
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let stream = reader.stream();
    // Only what they find wrong is wanted here; without endpoints the rest can still be checked.
    for section in ["source", "destination"] {
        if values.get(&format!("{section}.uri")).is_none() {
            continue;
        }
        match section {
            "source" => drop(reader.source(&stream, &dir)),
            _ => drop(reader.destination(&dir)),
        }
    }
    drop(reader.journal(&stream, &dir));
    reader.finish()
}

// === impl DataDir ===

impl DataDir {
    /// The journal of a stream.
    pub(crate) fn journal(&self, stream: &str) -> PathBuf {
        self.0.join("journal").join(stream)
    }

    /// The letters of a stream that could not be delivered.
    pub(crate) fn quarantine(&self, stream: &str) -> PathBuf {
        self.0.join("quarantine").join(stream)
    }

    /// What the source sends faster than it is recorded.
    pub(crate) fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// What a resync notes beyond its memory.
    pub(crate) fn marks(&self) -> PathBuf {
        self.0.join("marks")
    }

    /// What a running process last said of itself.
    pub(crate) fn status(&self) -> PathBuf {
        self.0.join("status.json")
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(values: &'a Values) -> Self {
        Self { values, problems: Vec::new() }
    }

    /// What was wrong with the values read so far.
    pub(crate) fn finish(self) -> Vec<String> {
        self.problems
    }

    pub(crate) fn data_dir(&mut self) -> DataDir {
        DataDir(self.values.get("data_dir").unwrap_or(".").into())
    }

    pub(crate) fn stream(&mut self) -> String {
        let name = self.values.get("stream.name").unwrap_or_default().to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
            self.problem("stream.name", "must be letters, digits, '.', '_' and '-'");
        }
        name
    }

    pub(crate) fn source(&mut self, stream: &str, dir: &DataDir) -> Option<capture::Config> {
        let endpoint = self.endpoint("source")?;
        let mut config = capture::Config::new(endpoint, stream, dir.spool());
        config.heartbeat = self.flag("source.heartbeat");
        config.heartbeat_interval = self.duration("source.heartbeat_interval");
        config.reconnect_window = self.duration("source.reconnect_window");
        config.spool.memory_bytes = self.size("spool.memory_bytes");
        config.spool.disk_bytes = self.bytes("spool.disk_bytes");
        self.problems.extend(config.validate().iter().map(|problem| format!("source: {problem}")));
        Some(config)
    }

    pub(crate) fn destination(&mut self, dir: &DataDir) -> Option<apply::Config> {
        let endpoint = self.endpoint("destination")?;
        let mut config = apply::Config::new(endpoint);
        config.existing = match self.values.get("destination.existing") {
            Some("overwrite") => Existing::Overwrite,
            Some("sweep") => Existing::Sweep,
            _ => self.default_word("destination.existing", "fail", Existing::Fail),
        };
        config.inexact = match self.values.get("destination.inexact") {
            Some("skip") => Inexact::Skip,
            _ => self.default_word("destination.inexact", "refuse", Inexact::Refuse),
        };
        config.checkpoint_db = self.number("destination.checkpoint_db");
        config.extend_expiry = self.duration("destination.extend_expiry");
        config.hold_expiry = self.duration("destination.hold_expiry");
        config.batch = BatchLimits {
            commands: self.number("destination.batch_commands"),
            bytes: self.size("destination.batch_bytes"),
        };
        config.windows = Windows {
            connection: self.duration("destination.reconnect_window"),
            refused: self.duration("destination.refused_window"),
        };
        config.filters = self.filters();
        config.mapping = self.mapping();
        config.spill_dir = dir.marks();
        self.problems
            .extend(config.validate().iter().map(|problem| format!("destination: {problem}")));
        Some(config)
    }

    pub(crate) fn journal(&mut self, stream: &str, dir: &DataDir) -> LocalConfig {
        let mut config =
            LocalConfig::new(dir.journal(stream), stream, self.number("stream.partitions"));
        config.sync = match self.duration("journal.sync_interval") {
            Duration::ZERO => SyncPolicy::EachBatch,
            interval => SyncPolicy::Interval(interval),
        };
        config.segment_bytes = self.bytes("journal.segment_bytes");
        config.retention_bytes =
            Some(self.bytes("journal.retention_bytes")).filter(|bytes| *bytes > 0);
        config.retention_age =
            Some(self.duration("journal.retention_age")).filter(|age| !age.is_zero());
        config.compression = match self.values.get("journal.compression") {
            Some("none") => Compression::None,
            _ => self.default_word("journal.compression", "lz4", Compression::Lz4),
        };
        self.problems.extend(config.problems().iter().map(|problem| format!("journal: {problem}")));
        config
    }

    /// An endpoint from a section's `uri` and the settings beside it.
    pub(crate) fn endpoint(&mut self, section: &str) -> Option<Endpoint> {
        let path = format!("{section}.uri");
        let Some(uri) = self.values.get(&path) else {
            self.problems.push(format!("{path} is not set: say redis://host:port"));
            return None;
        };
        let endpoint = match Endpoint::parse(uri) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.problem(&path, &error.to_string());
                return None;
            }
        };
        let endpoint = self.with_credentials(endpoint, section);
        Some(self.with_tls(endpoint, section))
    }

    fn with_credentials(&mut self, endpoint: Endpoint, section: &str) -> Endpoint {
        let file = self.file(&format!("{section}.password_file"));
        let file = file
            .map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned());
        let password = self.values.get(&format!("{section}.password")).map(str::to_owned).or(file);
        let user = self.values.get(&format!("{section}.user")).map(str::to_owned);
        let known = endpoint.credentials().cloned();
        let user = known.as_ref().and_then(|known| known.user.clone()).or(user);
        let password = known.and_then(|known| known.password).or(password.map(Secret::new));
        if user.is_none() && password.is_none() {
            return endpoint;
        }
        endpoint.with_credentials(Credentials { user, password })
    }

    fn with_tls(&mut self, endpoint: Endpoint, section: &str) -> Endpoint {
        let path = |name: &str| format!("{section}.{name}");
        let certificate = self.file(&path("tls_cert_file"));
        let key = self.file(&path("tls_key_file"));
        if certificate.is_some() != key.is_some() {
            self.problem(&path("tls_cert_file"), "and tls_key_file belong together");
        }
        let ca_pem = self.file(&path("tls_ca_file"));
        let Some(from_uri) = endpoint.tls().cloned() else {
            if ca_pem.is_some() || certificate.is_some() {
                self.problem(
                    &path("uri"),
                    "is not a TLS endpoint, but TLS files are given: write rediss://",
                );
            }
            return endpoint;
        };
        let client = certificate.zip(key).map(|(certificate_pem, key)| ClientIdentity {
            certificate_pem,
            key_pem: Secret::new(String::from_utf8_lossy(&key).into_owned()),
        });
        let server_name = self.values.get(&path("tls_server_name")).map(str::to_owned);
        let newest_only = self.values.get(&path("tls_min_version")) == Some("1.3");
        endpoint.with_tls(TlsSettings {
            ca_pem,
            client,
            insecure: from_uri.insecure || self.flag(&path("tls_insecure")),
            min_version: if newest_only { TlsVersion::V1_3 } else { from_uri.min_version },
            server_name: from_uri.server_name.or(server_name),
        })
    }

    fn filters(&mut self) -> Filters {
        Filters {
            dbs: Rule {
                include: self.dbs("filter.include_dbs"),
                exclude: self.dbs("filter.exclude_dbs"),
            },
            keys: Rule {
                include: self.keys("filter.include_keys", "filter.include_prefixes"),
                exclude: self.keys("filter.exclude_keys", "filter.exclude_prefixes"),
            },
            kinds: Rule {
                include: self.kinds("filter.include_types"),
                exclude: self.kinds("filter.exclude_types"),
            },
            commands: Rule {
                include: self
                    .list("filter.include_commands")
                    .into_iter()
                    .map(CommandName)
                    .collect(),
                exclude: self
                    .list("filter.exclude_commands")
                    .into_iter()
                    .map(CommandName)
                    .collect(),
            },
        }
    }

    fn dbs(&mut self, path: &str) -> Vec<u32> {
        let mut dbs = Vec::new();
        for item in self.list(path) {
            let (first, last) = item.split_once('-').unwrap_or((&item, &item));
            match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                (Ok(first), Ok(last)) if first <= last && last < MAPPED_DBS => {
                    dbs.extend(first..=last);
                }
                _ => self.problem(
                    path,
                    &format!("{item:?} is not a database or a range of them, 0 to 255"),
                ),
            }
        }
        dbs
    }

    fn keys(&mut self, globs: &str, prefixes: &str) -> Vec<KeyPattern> {
        let globs =
            self.list(globs).into_iter().map(|text| KeyPattern::Glob(Glob::new(Bytes::from(text))));
        let globs: Vec<_> = globs.collect();
        let prefixes =
            self.list(prefixes).into_iter().map(|text| KeyPattern::Prefix(Bytes::from(text)));
        globs.into_iter().chain(prefixes).collect()
    }

    fn kinds(&mut self, path: &str) -> Vec<ValueKind> {
        let mut kinds = Vec::new();
        for item in self.list(path) {
            match kind_of(&item) {
                Some(kind) => kinds.push(kind),
                None => self.problem(
                    path,
                    &format!(
                        "{item:?} is not one of string, list, set, zset, hash, stream, module"
                    ),
                ),
            }
        }
        kinds
    }

    fn mapping(&mut self) -> DbMapping {
        let mut pairs = Vec::new();
        for item in self.list("map.dbs") {
            let parts =
                item.split_once(':').map(|(from, to)| (from.trim(), to.trim().parse::<u32>()));
            match parts {
                Some(("all", Ok(to))) => return DbMapping::all_to(to),
                Some((from, Ok(to))) if from.parse::<u32>().is_ok() => {
                    pairs.push((from.parse().unwrap_or_default(), to));
                }
                _ => self.problem("map.dbs", &format!("{item:?} is not of the form 0:5 or all:0")),
            }
        }
        DbMapping::of(pairs).unwrap_or_else(|error| {
            self.problem("map.dbs", &error.to_string());
            DbMapping::default()
        })
    }

    fn list(&mut self, path: &str) -> Vec<String> {
        let text = self.values.get(path).unwrap_or_default();
        text.split(LIST_SEPARATOR).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(crate) fn flag(&mut self, path: &str) -> bool {
        match self.values.get(path) {
            Some("true" | "yes" | "1") => true,
            Some("false" | "no" | "0") | None => false,
            Some(other) => {
                let what = format!("is {other:?}, it has to be true or false");
                self.problem(path, &what);
                false
            }
        }
    }

    fn number<T: std::str::FromStr + Default>(&mut self, path: &str) -> T {
        let text = self.values.get(path).unwrap_or_default().to_owned();
        text.parse().unwrap_or_else(|_| {
            self.problem(path, &format!("is {text:?}, it has to be a whole number in range"));
            T::default()
        })
    }

    fn bytes(&mut self, path: &str) -> u64 {
        let text = self.values.get(path).unwrap_or("0").to_owned();
        text.parse::<ByteSize>().map(ByteSize::bytes).unwrap_or_else(|error| {
            self.problem(path, &error.to_string());
            0
        })
    }

    fn size(&mut self, path: &str) -> usize {
        usize::try_from(self.bytes(path)).unwrap_or(usize::MAX)
    }

    fn duration(&mut self, path: &str) -> Duration {
        let text = self.values.get(path).unwrap_or("0s").to_owned();
        units::duration::parse(&text).unwrap_or_else(|error| {
            self.problem(path, &error.to_string());
            Duration::ZERO
        })
    }

    /// The default of a word option, and a problem if the value is not that word either.
    fn default_word<T>(&mut self, path: &str, word: &str, value: T) -> T {
        match self.values.get(path) {
            None => {}
            Some(text) if text == word => {}
            Some(other) => {
                let what = format!("is {other:?}, which is not one of its words");
                self.problem(path, &what);
            }
        }
        value
    }

    fn file(&mut self, path: &str) -> Option<Vec<u8>> {
        let file = self.values.get(path)?.to_owned();
        match std::fs::read(Path::new(&file)) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.problem(path, &format!("cannot read {file}: {error}"));
                None
            }
        }
    }

    fn problem(&mut self, path: &str, what: &str) {
        self.problems.push(format!("{} {what}", self.values.origin(path)));
    }
}

fn kind_of(name: &str) -> Option<ValueKind> {
    Some(match name.to_ascii_lowercase().as_str() {
        "string" => ValueKind::String,
        "list" => ValueKind::List,
        "set" => ValueKind::Set,
        "zset" => ValueKind::SortedSet,
        "hash" => ValueKind::Hash,
        "stream" => ValueKind::Stream,
        "module" => ValueKind::Module,
        _ => return None,
    })
}
