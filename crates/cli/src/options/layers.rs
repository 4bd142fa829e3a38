//! The layers of the configuration: defaults, file, environment, flags; the later wins.
//!
//! Guarantees: every problem of every layer is reported at once; nothing that is not in the table is ignored;
//! secrets never come from arguments and are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use runtime::secret::MASK;
use toml::Value;

use super::file::{self, Found};
use super::near::{hint, nearest};
use super::{KAFKA_PROPERTIES, Kind, OPTIONS, OptionSpec};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    /// With the line.
    File(PathBuf, usize),
    Variable(String),
    Flag(String),
    /// The first or second argument that is no flag.
    Argument(&'static str),
}

/// The values in force, by path, and what was wrong with where they come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    set: BTreeMap<&'static str, (String, Origin)>,
    problems: Vec<String>,
}

/// Separates the elements of a list inside a value; no element can hold it, since arguments and files cannot.
pub(crate) const LIST_SEPARATOR: char = '\u{1f}';

// === impl Values ===

impl Values {
    /// The defaults.
    pub(crate) fn defaults() -> Self {
        let defaults = OPTIONS.iter().filter_map(|option| {
            option.default.map(|default| (option.path, (default.to_owned(), Origin::Default)))
        });
        Self { set: defaults.collect(), problems: Vec::new() }
    }

    /// Puts the values of the file at a path over what is there.
    pub(crate) fn add_file_at(&mut self, path: &Path) {
        match std::fs::read_to_string(path) {
            Ok(text) => self.add_file(path, &text),
            Err(error) => self
                .problems
                .push(format!("the configuration file {} cannot be read: {error}", path.display())),
        }
    }

    /// Puts a file's values over what is there.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        let (entries, malformed) = file::read(text);
        for wrong in malformed {
            self.problems.push(format!("{}:{}: {}", path.display(), wrong.line, wrong.what));
        }
        for entry in entries {
            let place = format!("{}:{}", path.display(), entry.line);
            let name = &entry.path;
            let Some(option) = OPTIONS.iter().find(|option| option.path == name) else {
                let hint = known_as(name)
                    .map_or_else(String::new, |path| format!(": did you mean {path}?"));
                self.problems.push(format!("{place}: there is no option {name}{hint}"));
                continue;
            };
            let value = match (entry.value, option.kind) {
                (Found::List(value), Kind::List) => value,
                (Found::One(value), Kind::List) if value.contains(',') => {
                    self.problems.push(format!(
                        "{place}: {name} is a list: write [\"one\", \"two\"], not \"one,two\""
                    ));
                    continue;
                }
                (Found::One(value), _) => value,
                (Found::List(_), _) => {
                    self.problems.push(format!("{place}: {name} is one value, not a list"));
                    continue;
                }
                (Found::Table, _) => {
                    self.problems.push(format!("{place}: {name} cannot be a table"));
                    continue;
                }
            };
            self.put(option, value, Origin::File(path.to_owned(), entry.line));
        }
    }

    /// Puts the environment's values over what is there.
    pub(crate) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) {
        for (name, value) in variables {
            if !name.starts_with("KEYFERRY_") || NOT_OPTIONS.contains(&name.as_str()) {
                continue;
            }
            let Some(option) = OPTIONS.iter().find(|option| option.variable() == name) else {
                let hint = hint(&name, OPTIONS.iter().map(OptionSpec::variable));
                self.problems
                    .push(format!("environment: {name} is not the name of an option{hint}"));
                continue;
            };
            let value = if option.kind == Kind::List { from_commas(&value) } else { value };
            self.put(option, value, Origin::Variable(name));
        }
    }

    /// Puts the value of a flag, or of an argument that stands for one, over what is there.
    pub(crate) fn add_argument(
        &mut self,
        option: &'static OptionSpec,
        value: &str,
        origin: Origin,
    ) {
        let refused = match option.kind {
            Kind::Secret => true,
            Kind::Uri => has_password(value),
            Kind::List if option.path == KAFKA_PROPERTIES => {
                value.split(',').any(is_secret_property)
            }
            _ => false,
        };
        if refused {
            let instead = match option.section().0.unwrap_or_default() {
                "journal" | "kafka" => {
                    "write it into a file and name that by --kafka-properties-file".to_owned()
                }
                section => format!(
                    "give it by KEYFERRY_{}_PASSWORD, or by --{section}-password-file",
                    section.to_uppercase()
                ),
            };
            self.problems.push(format!(
                "{origin}: a password in an argument can be read by everyone on this machine: {instead}"
            ));
            self.set.remove(option.path);
            return;
        }
        let value = if option.kind == Kind::List { from_commas(value) } else { value.to_owned() };
        self.put(option, value, origin);
    }

    /// What is wrong with where the values come from.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether somebody has said something about a path.
    pub(crate) fn is_given(&self, path: &str) -> bool {
        self.set.get(path).is_some_and(|(_, origin)| *origin != Origin::Default)
    }

    /// The file that the value at a path comes from.
    pub(crate) fn file_of(&self, path: &str) -> Option<&Path> {
        match self.set.get(path) {
            Some((_, Origin::File(file, _))) => Some(file),
            _ => None,
        }
    }

    /// The value at a path, if it is set and not empty.
    pub(crate) fn get(&self, path: &str) -> Option<&str> {
        self.set.get(path).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Where the value at a path comes from, in words.
    pub(crate) fn origin(&self, path: &str) -> String {
        self.set
            .get(path)
            .map_or_else(|| path.to_owned(), |(_, origin)| format!("{path} ({origin})"))
    }

    /// The configuration in force as a file, with secrets masked and the origin of each value beside it.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section_now = None;
        for option in OPTIONS {
            let (section, name) = option.section();
            if section != section_now {
                section_now = section;
                text.push_str(&format!("\n[{}]\n", section.unwrap_or_default()));
            }
            match self.set.get(option.path) {
                Some((value, origin)) => {
                    text.push_str(&format!("{name} = {}  # {origin}\n", shown(option, value)));
                }
                None => text.push_str(&format!("# {name} is not set\n")),
            }
        }
        text
    }

    fn put(&mut self, option: &'static OptionSpec, value: String, origin: Origin) {
        self.set.insert(option.path, (value, origin));
    }
}

/// The environment variable that names the configuration file.
pub(crate) const CONFIG_VARIABLE: &str = "KEYFERRY_CONFIG";

/// Variables of the environment that are no options; the project's own scripts and tests use the last two.
const NOT_OPTIONS: [&str; 3] = [CONFIG_VARIABLE, "KEYFERRY_CACHE", "KEYFERRY_BIN"];

/// The option that somebody meant by another path: by its flag, by its name without the section, or by a slip.
fn known_as(path: &str) -> Option<&'static str> {
    let (_, name) = path.rsplit_once('.').unwrap_or(("", path));
    let by_flag = OPTIONS.iter().find(|option| option.flag() == path.replace(['.', '_'], "-"));
    let mut by_name = OPTIONS.iter().filter(|option| option.section().1 == name);
    let only_one = by_name.next().filter(|_| by_name.next().is_none());
    let by_slip = || nearest(path, OPTIONS.iter().map(|option| option.path));
    by_flag.or(only_one).map(|option| option.path).or_else(by_slip)
}

/// A URI's text without its password.
pub(crate) fn masked_uri(uri: &str) -> String {
    match split_password(uri) {
        Some((before, after)) => format!("{before}:{MASK}@{after}"),
        None => uri.to_owned(),
    }
}

fn has_password(uri: &str) -> bool {
    split_password(uri).is_some()
}

/// What stands before the colon of the password, and behind the `@`.
fn split_password(uri: &str) -> Option<(&str, &str)> {
    let authority_at = uri.find("://")? + 3;
    let authority = uri.get(authority_at..)?;
    let end = authority.find(['/', '?']).unwrap_or(authority.len());
    let at = authority.get(..end)?.rfind('@')?;
    let colon = authority.get(..at)?.find(':')?;
    Some((uri.get(..authority_at + colon)?, authority.get(at + 1..)?))
}

/// Whether a `name=value` for librdkafka is one that nobody may see.
pub(crate) fn is_secret_property(property: &str) -> bool {
    let name = property.split('=').next().unwrap_or_default().to_lowercase();
    ["password", "secret", "ssl.key.pem", "oauthbearer.config"].iter().any(|it| name.contains(it))
}

/// The same without its value, where that is such a secret.
fn masked_property(property: &str) -> String {
    match property.split_once('=') {
        Some((name, _)) if is_secret_property(property) => format!("{name}={MASK}"),
        _ => property.to_owned(),
    }
}

fn from_commas(value: &str) -> String {
    value.split(',').map(str::trim).collect::<Vec<_>>().join(&LIST_SEPARATOR.to_string())
}

fn shown(option: &OptionSpec, value: &str) -> String {
    match option.kind {
        Kind::Secret => Value::String(MASK.to_owned()).to_string(),
        Kind::Uri => Value::String(masked_uri(value)).to_string(),
        Kind::Number | Kind::Flag if value.parse::<Value>().is_ok() => value.to_owned(),
        Kind::List => {
            let is_kafka = option.path == KAFKA_PROPERTIES;
            let item = |item: &str| if is_kafka { masked_property(item) } else { item.to_owned() };
            let items = value.split(LIST_SEPARATOR).map(|text| Value::String(item(text)));
            Value::Array(items.collect()).to_string()
        }
        _ => Value::String(value.to_owned()).to_string(),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
            Self::Argument(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
