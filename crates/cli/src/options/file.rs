//! A configuration file as paths and values, each with the line that it stands in.
//!
//! Guarantees: whatever of a damaged file can be read is read, and every problem of its form is told.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::LIST_SEPARATOR;

/// A value of the file.
#[derive(Debug)]
pub(super) struct Entry {
    /// `section.name`, or `name`.
    pub(super) path: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) value: Found,
}

/// What stands there.
#[derive(Debug)]
pub(super) enum Found {
    One(String),
    /// Elements with separators between them.
    List(String),
    /// What no option can be.
    Table,
}

/// Something that is not TOML.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) what: String,
}

/// Reads what can be read.
pub(super) fn read(text: &str) -> (Vec<Entry>, Vec<Malformed>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut entries = Vec::new();
    for (name, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(section) => {
                let section_name = name.get_ref();
                entries.extend(section.iter().map(|(name, value)| {
                    entry(text, format!("{section_name}.{}", name.get_ref()), name, value)
                }));
            }
            _ => entries.push(entry(text, name.get_ref().to_string(), name, value)),
        }
    }
    entries.sort_by_key(|entry| entry.line);
    let malformed = errors.into_iter().map(|error| Malformed {
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        what: error.message().trim_end().to_owned(),
    });
    (entries, malformed.collect())
}

fn entry<N>(text: &str, path: String, name: &Spanned<N>, value: &Spanned<DeValue<'_>>) -> Entry {
    Entry { path, line: line_at(text, name.span().start), value: found(value.get_ref()) }
}

fn found(value: &DeValue<'_>) -> Found {
    let DeValue::Array(values) = value else {
        return one(value).map_or(Found::Table, Found::One);
    };
    let items: Option<Vec<_>> = values.iter().map(|value| one(value.get_ref())).collect();
    items.map_or(Found::Table, |items| Found::List(items.join(&LIST_SEPARATOR.to_string())))
}

fn one(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(
            // What does not fit is shown as it was written.
            i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}
