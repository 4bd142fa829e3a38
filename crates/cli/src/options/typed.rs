//! From texts to the settings of each component.
//!
//! Guarantees: every problem is collected, none stops the others from showing; each names where its value comes from.

mod filters;
mod journal;
#[cfg(feature = "kafka")]
mod kafka;
mod operate;
mod secrets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apply::{BatchLimits, Existing, Inexact, Unsupported, Windows};
use redis_io::Endpoint;
use runtime::{ByteSize, Limits, Throttle, units};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub(crate) use self::filters::pattern_problem;
pub(crate) use self::journal::{JournalSettings, name_of};
#[cfg(feature = "kafka")]
pub(crate) use self::kafka::DEAD_LETTERS;
pub(crate) use self::operate::AdminSettings;
use super::layers::{LIST_SEPARATOR, Values};
use super::near::hint;
use super::{Kind, OPTIONS};
use crate::exit::Failure;
use crate::role::Role;

/// Reads values of one configuration, and gathers what is wrong with them.
pub(crate) struct Reader<'a> {
    values: &'a Values,
    problems: Vec<String>,
    /// Paths of which something is wrong: no consequence of that is told as well.
    wrong: BTreeSet<String>,
    warnings: Vec<String>,
}

/// Where everything that is kept stands.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(pub(crate) PathBuf);

/// How the name of a status file ends.
const STATUS_ENDING: &str = ".json";

/// Whether a word stands for yes.
pub(crate) fn is_true(word: &str) -> bool {
    matches!(word, "true" | "yes" | "1")
}

/// Everything that is wrong, or doubtful, with the values of a `run`. Endpoints may be missing.
pub(crate) fn check(values: &Values) -> Result<Vec<String>, Failure> {
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let stream = reader.stream();
    reader.check_all();
    for section in ["source", "destination"] {
        if values.get(&format!("{section}.uri")).is_none() {
            reader.secrets(section);
        }
    }
    if values.get("source.uri").is_some() {
        drop(reader.source(&stream, &dir, Role::Both));
    }
    match values.get("destination.uri") {
        Some(_) => drop(reader.destination(&stream, &dir)),
        None => drop((reader.filters(), reader.mapping())),
    }
    drop((reader.journal(&stream, &dir), reader.limits(), reader.admin()));
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

    /// The same of a replay beside the process that has those.
    pub(crate) fn quarantine_of_replay(&self, stream: &str, destination: &str) -> PathBuf {
        self.0.join("replay").join(destination).join("quarantine").join(stream)
    }

    /// What the source of a stream sends faster than it is recorded.
    pub(crate) fn spool(&self, stream: &str) -> PathBuf {
        self.0.join("spool").join(stream)
    }

    /// Where a stream comes from.
    pub(crate) fn origin(&self, stream: &str) -> PathBuf {
        self.0.join("origin").join(stream)
    }

    /// What a resync of a stream notes beyond its memory.
    pub(crate) fn marks(&self, stream: &str) -> PathBuf {
        self.0.join("marks").join(stream)
    }

    /// What the process that carries a stream, or its part of that, last said of itself.
    pub(crate) fn status(&self, stream: &str, role: Role) -> PathBuf {
        self.statuses(role).join(format!("{stream}{STATUS_ENDING}"))
    }

    /// Held by the process that carries a stream, or its part of that, with a journal elsewhere.
    pub(crate) fn lock(&self, stream: &str, role: Role) -> PathBuf {
        let locks = self.0.join("locks");
        match role {
            Role::Both | Role::Capture => locks.join(stream),
            // No name of a stream has this character.
            Role::Apply | Role::Replay => locks.join(format!("{stream}~apply")),
        }
    }

    /// Held by all processes that note there what a resync of a stream has beyond its memory.
    pub(crate) fn lock_of_marks(&self, stream: &str) -> PathBuf {
        self.0.join("locks").join(format!("{stream}~marks"))
    }

    /// The streams that have been carried here.
    pub(crate) fn streams(&self) -> BTreeSet<String> {
        let mut streams = names_in(&self.0.join("journal"));
        for role in Role::ALL {
            let files = names_in(&self.statuses(role)).into_iter();
            streams.extend(
                files.filter_map(|name| name.strip_suffix(STATUS_ENDING).map(str::to_owned)),
            );
        }
        streams
    }

    fn statuses(&self, role: Role) -> PathBuf {
        let all = self.0.join("status");
        match role {
            Role::Both => all,
            Role::Capture | Role::Apply | Role::Replay => all.join(role.name()),
        }
    }
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(values: &'a Values) -> Self {
        let problems = values.problems().to_vec();
        Self { values, problems, wrong: BTreeSet::new(), warnings: Vec::new() }
    }

    /// What is doubtful of the values read so far.
    ///
    /// # Errors
    /// Everything that is wrong with them, and with where they come from.
    pub(crate) fn finish(self) -> Result<Vec<String>, Failure> {
        match self.problems.as_slice() {
            [] => Ok(self.warnings),
            problems => Err(Failure::configuration(problems)),
        }
    }

    /// Looks at the form of every value, also of those that nobody reads.
    pub(crate) fn check_all(&mut self) {
        for option in OPTIONS {
            match option.kind {
                Kind::Number => drop(self.number::<u64>(option.path)),
                Kind::Flag => drop(self.flag(option.path)),
                Kind::Bytes => drop(self.bytes(option.path)),
                Kind::Duration => drop(self.duration(option.path)),
                Kind::Word(_) => drop(self.word(option.path)),
                Kind::Text | Kind::Uri | Kind::Secret | Kind::Path | Kind::List => {}
            }
        }
        drop(self.log_level());
    }

    /// What to log.
    pub(crate) fn log_level(&mut self) -> String {
        let level = self.values.get("log.level").unwrap_or("info").to_owned();
        let plain = !level.contains(['=', ',']);
        if plain && level.parse::<LevelFilter>().is_err() {
            let words = ["error", "warn", "info", "debug", "trace", "off"];
            let what = format!(
                "is {level:?}, it has to be one of {}, or a filter as capture=debug,info{}",
                words.join(", "),
                hint(&level, words)
            );
            self.problem("log.level", &what);
        } else if let Err(error) = EnvFilter::try_new(&level) {
            self.problem("log.level", &format!("is {level:?}: {error}"));
        }
        level
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

    /// Why a stream cannot be in the data directory: this is not there, or others are in it. For those who can do without.
    pub(crate) fn absence(&self, stream: &str, dir: &DataDir) -> Option<String> {
        let known = dir.streams();
        if known.contains(stream) || (known.is_empty() && !self.values.is_given("data_dir")) {
            return None;
        }
        let at = dir.0.display();
        Some(match (known.is_empty(), dir.0.exists()) {
            (true, false) => format!("there is no data directory {at}: see --data-dir"),
            (true, true) => format!(
                "{at} is no data directory, or no stream has been carried there: see --data-dir"
            ),
            (false, _) => {
                let names: Vec<_> = known.iter().map(String::as_str).collect();
                format!(
                    "there is no stream {stream} in {at}, but {}: see --stream",
                    names.join(", ")
                )
            }
        })
    }

    /// The stream that is meant, of those that are there: where nobody names one and there is one only, that.
    /// The stream of a journal that is looked at: a local one is in the directory.
    pub(crate) fn stream_to_read(&mut self, dir: &DataDir) -> String {
        match self.is_local() {
            true => self.known_stream(dir),
            false => self.stream(),
        }
    }

    pub(crate) fn known_stream(&mut self, dir: &DataDir) -> String {
        let name = self.stream();
        let known = dir.streams();
        if known.contains(&name) {
            return name;
        }
        let mut others = known.iter();
        match (others.next(), others.next()) {
            (Some(only), None) if !self.values.is_given("stream.name") => return only.clone(),
            (None, _) => {
                let what = format!(
                    "is {}, where no stream has been carried: name another --data-dir, or start `keyferry run` with this one",
                    dir.0.display()
                );
                self.problem("data_dir", &what);
            }
            _ => {
                let names: Vec<_> = known.iter().map(String::as_str).collect();
                let what = format!(
                    "is {name:?}, and no such stream is in {}: there is {}; name one with --stream",
                    dir.0.display(),
                    names.join(", ")
                );
                self.problem("stream.name", &what);
            }
        }
        name
    }

    /// `role`: where a process applies as well, the limits are those of that side.
    pub(crate) fn source(
        &mut self,
        stream: &str,
        dir: &DataDir,
        role: Role,
    ) -> Option<capture::Config> {
        let endpoint = self.endpoint("source")?;
        let mut config = capture::Config::new(endpoint, stream, dir.spool(stream));
        config.heartbeat = self.flag("source.heartbeat");
        config.heartbeat_interval = self.duration("source.heartbeat_interval");
        config.reconnect_window = self.duration("source.reconnect_window");
        config.refused_window = self.duration("source.refused_window");
        config.accept_new = self.flag("source.accept_new");
        config.shard = self.shard(role);
        if self.word("destination.unsupported") == Some("fail") {
            config.unsupported = capture::Unsupported::Fail;
        }
        // Held back in the journal it costs nothing; held back before it the spool's bounds.
        let limits = self.limits();
        config.throttle = Throttle::new(match role.applies() {
            true => Limits { source_read_bytes: limits.source_read_bytes, ..Limits::default() },
            false => limits,
        });
        config.spool.memory_bytes = self.size("spool.memory_bytes");
        config.spool.disk_bytes = self.bytes("spool.disk_bytes");
        for problem in config.validate() {
            let path = match problem.setting {
                "stream" => "stream.name".to_owned(),
                "source" => "source.uri".to_owned(),
                setting => format!("source.{setting}"),
            };
            self.consequence(&path, &problem.what);
        }
        Some(config)
    }

    pub(crate) fn destination(&mut self, stream: &str, dir: &DataDir) -> Option<apply::Config> {
        let (endpoint, filters, mapping) =
            (self.endpoint("destination"), self.filters(), self.mapping());
        let endpoint = endpoint?;
        let mut config = apply::Config::new(endpoint);
        config.existing = match self.word("destination.existing") {
            Some("overwrite") => Existing::Overwrite,
            Some("sweep") => Existing::Sweep,
            _ => Existing::Fail,
        };
        config.inexact = match self.word("destination.inexact") {
            Some("skip") => Inexact::Skip,
            _ => Inexact::Refuse,
        };
        config.unsupported = match self.word("destination.unsupported") {
            Some("drop") => Unsupported::Drop,
            Some("fail") => Unsupported::Fail,
            _ => Unsupported::Quarantine,
        };
        config.checkpoint_db = self.number("destination.checkpoint_db");
        config.extend_expiry = self.duration("destination.extend_expiry");
        config.hold_expiry = self.duration("destination.hold_expiry");
        config.import_mode = self.flag("destination.import_mode");
        config.batch = BatchLimits {
            commands: self.number("destination.batch_commands"),
            bytes: self.size("destination.batch_bytes"),
        };
        config.windows = Windows {
            connection: self.duration("destination.reconnect_window"),
            refused: self.duration("destination.refused_window"),
        };
        config.throttle = Throttle::new(Limits { source_read_bytes: 0, ..self.limits() });
        config.filters = filters;
        config.mapping = mapping;
        config.spill_dir = dir.marks(stream);
        if let Some(name) = self.destination_name(&config.destination) {
            config.name = name;
        }
        for problem in config.validate() {
            let path = match problem.setting {
                "destination" => "destination.uri".to_owned(),
                setting => format!("destination.{}", setting.replace('.', "_")),
            };
            self.consequence(&path, &problem.what);
        }
        Some(config)
    }

    /// An endpoint from a section's `uri` and the settings beside it.
    pub(crate) fn endpoint(&mut self, section: &str) -> Option<Endpoint> {
        let path = format!("{section}.uri");
        let Some(uri) = self.values.get(&path) else {
            let what = format!(
                "is not set: say redis://host:port as the argument {}, or by --{section}-uri",
                section.to_uppercase()
            );
            self.problem(&path, &what);
            self.secrets(section);
            return None;
        };
        let endpoint = match Endpoint::parse(uri) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.problem(&path, &format!("cannot be used: {error}"));
                self.secrets(section);
                return None;
            }
        };
        let endpoint = self.with_credentials(endpoint, section);
        Some(self.with_tls(endpoint, section))
    }

    fn list(&mut self, path: &str) -> Vec<String> {
        let text = self.values.get(path).unwrap_or_default();
        text.split(LIST_SEPARATOR).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(crate) fn flag(&mut self, path: &str) -> bool {
        match self.values.get(path) {
            Some(text) if is_true(text) => true,
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
            self.problem(path, &format!("cannot be: {error}"));
            0
        })
    }

    fn size(&mut self, path: &str) -> usize {
        usize::try_from(self.bytes(path)).unwrap_or(usize::MAX)
    }

    pub(crate) fn duration(&mut self, path: &str) -> Duration {
        let text = self.values.get(path).unwrap_or("0s").to_owned();
        units::duration::parse(&text).unwrap_or_else(|error| {
            self.problem(path, &format!("cannot be: {error}"));
            Duration::ZERO
        })
    }

    /// The value of an option that has words.
    pub(crate) fn word(&mut self, path: &str) -> Option<&'a str> {
        let words = OPTIONS.iter().find(|option| option.path == path).map(|option| option.kind);
        let (Some(Kind::Word(words)), Some(text)) = (words, self.values.get(path)) else {
            return None;
        };
        if !words.contains(&text) {
            let hint = hint(text, words.iter());
            self.problem(
                path,
                &format!("is {text:?}, it has to be one of {}{hint}", words.join(", ")),
            );
        }
        Some(text)
    }

    /// Something to think about.
    fn warning(&mut self, path: &str, what: &str) {
        self.warnings.push(format!("{} {what}", self.values.origin(path)));
    }

    /// A problem that may only follow from another one of the same path.
    fn consequence(&mut self, path: &str, what: &str) {
        if !self.wrong.contains(path) {
            self.problem(path, what);
        }
    }

    fn problem(&mut self, path: &str, what: &str) {
        self.wrong.insert(path.to_owned());
        let problem = format!("{} {what}", self.values.origin(path));
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests;
