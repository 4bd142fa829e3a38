//! Names of the census of the United States of 1990, with their frequencies.

use anyhow::{Context, Result};

/// A name.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    /// In capitals.
    pub(crate) name: String,
    /// How many people of a hundred have it, as the census writes it: "1.006".
    pub(crate) percent: String,
}

/// Lines of name, percentage, cumulative percentage and rank.
pub(super) fn parse(text: &str) -> Result<Vec<Name>> {
    text.lines().map(|line| name(line).with_context(|| format!("not a name: {line}"))).collect()
}

fn name(line: &str) -> Option<Name> {
    let mut columns = line.split_whitespace();
    let (name, percent) = (columns.next()?, columns.next()?);
    percent.parse::<f64>().ok()?;
    Some(Name { name: name.to_owned(), percent: percent.to_owned() })
}
