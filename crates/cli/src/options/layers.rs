//! The layers of the configuration: defaults, file, environment, flags; the later wins.
//!
//! Guarantees: every problem of every layer is reported at once; nothing that is not in the table is ignored;
//! secrets never come from arguments and are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use runtime::secret::MASK;
use toml::{Table, Value};

use super::{Kind, OPTIONS, OptionSpec};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

/// The values in force, by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    set: BTreeMap<&'static str, (String, Origin)>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} problem{}:\n  {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n  "))]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

/// Separates the elements of a list inside a value; no element can hold it, since arguments and files cannot.
pub(crate) const LIST_SEPARATOR: char = '\u{1f}';

// === impl Values ===

impl Values {
    /// The defaults.
    pub(crate) fn defaults() -> Self {
        let defaults = OPTIONS.iter().filter_map(|option| {
            option.default.map(|default| (option.path, (default.to_owned(), Origin::Default)))
        });
        Self { set: defaults.collect() }
    }

    /// Puts a file's values over what is there.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str, problems: &mut Vec<String>) {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                problems.push(format!("{}: {}", path.display(), error.to_string().trim_end()));
                return;
            }
        };
        for (path_in_file, value) in flatten(&table) {
            let Some(option) = OPTIONS.iter().find(|option| option.path == path_in_file) else {
                problems.push(format!("{}: there is no option {path_in_file}", path.display()));
                continue;
            };
            match text_of(&value) {
                Some(text) => self.put(option, text, Origin::File(path.to_owned())),
                None => {
                    problems.push(format!("{}: {path_in_file} cannot be a table", path.display()));
                }
            }
        }
    }

    /// Puts the environment's values over what is there.
    pub(crate) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<String>,
    ) {
        for (name, value) in variables {
            if !name.starts_with("KEYFERRY_") || name == CONFIG_VARIABLE {
                continue;
            }
            let Some(option) = OPTIONS.iter().find(|option| option.variable() == name) else {
                // The project's own scripts use this one.
                if name != "KEYFERRY_CACHE" {
                    problems.push(format!("environment: {name} is not the name of an option"));
                }
                continue;
            };
            let value = if option.kind == Kind::List { from_commas(&value) } else { value };
            self.put(option, value, Origin::Variable(name));
        }
    }

    /// Puts a flag's value over what is there.
    pub(crate) fn add_flag(
        &mut self,
        option: &'static OptionSpec,
        value: &str,
        problems: &mut Vec<String>,
    ) {
        let flag = format!("--{}", option.flag());
        let refused = match option.kind {
            Kind::Secret => true,
            Kind::Uri => has_password(value),
            _ => false,
        };
        if refused {
            let (section, _) = option.section();
            let section = section.unwrap_or_default();
            let variable = format!("KEYFERRY_{}_PASSWORD", section.to_uppercase());
            problems.push(format!(
                "{flag}: a password in an argument can be read by everyone on this machine: \
                 give it by {variable}, or by --{section}-password-file"
            ));
            return;
        }
        let value = if option.kind == Kind::List { from_commas(value) } else { value.to_owned() };
        self.put(option, value, Origin::Flag(flag));
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

fn from_commas(value: &str) -> String {
    value.split(',').map(str::trim).collect::<Vec<_>>().join(&LIST_SEPARATOR.to_string())
}

fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut values = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => {
                let inner =
                    section.iter().map(|(inner, value)| (format!("{name}.{inner}"), value.clone()));
                values.extend(inner);
            }
            other => values.push((name.clone(), other.clone())),
        }
    }
    values
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values.iter().map(text_of).collect();
            texts.map(|texts| texts.join(&LIST_SEPARATOR.to_string()))
        }
        Value::Table(_) => None,
    }
}

fn shown(option: &OptionSpec, value: &str) -> String {
    match option.kind {
        Kind::Secret => Value::String(MASK.to_owned()).to_string(),
        Kind::Uri => Value::String(masked_uri(value)).to_string(),
        Kind::Number | Kind::Flag => value.to_owned(),
        Kind::List => {
            let items = value.split(LIST_SEPARATOR).map(|item| Value::String(item.to_owned()));
            Value::Array(items.collect()).to_string()
        }
        Kind::Text | Kind::Path | Kind::Bytes | Kind::Duration | Kind::Word(_) => {
            Value::String(value.to_owned()).to_string()
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

#[cfg(test)]
mod tests;
