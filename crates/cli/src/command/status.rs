//! `keyferry status`: what the process on a data directory last said of itself.

use std::time::Duration;

use clap::ArgMatches;
use runtime::{Clock, SystemClock, units};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::options::layers::Values;
use crate::options::typed::Reader;
use crate::output;

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let max_age =
        matches.get_one::<String>("max-age").map(|text| units::duration::parse(text)).transpose();
    let max_age = max_age.map_err(|error| Failure::usage(format!("--max-age: {error}")))?;
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let json = reader.flag("log.json");
    let problems = reader.finish();
    if !problems.is_empty() {
        return Err(Failure::usage(problems.join("\n  ")));
    }
    let path = dir.status();
    let text = std::fs::read_to_string(&path).map_err(|error| Failure {
        exit: Exit::Usage,
        what: format!("read {}: {error}", path.display()),
        advice: "start `keyferry run` with this --data-dir first, or name the right one".to_owned(),
    })?;
    let status: Value = serde_json::from_str(&text).map_err(|error| Failure {
        exit: Exit::Usage,
        what: format!("{} is not a status: {error}", path.display()),
        advice: "remove the file: a running process writes it anew every second".to_owned(),
    })?;
    let shown = if json { text.trim_end().to_owned() } else { lines(&status) };
    output::line(&shown)
        .map_err(|error| Failure::usage(format!("write to standard output: {error}")))?;
    max_age.map_or(Ok(()), |max_age| check_age(&status, SystemClock::new().now_ms(), max_age))
}

/// Fails when the status was written too long ago: then nobody runs, or is stuck.
fn check_age(status: &Value, now_ms: i64, max_age: Duration) -> Result<(), Failure> {
    let written_ms = status.get("written_at_ms").and_then(Value::as_i64).unwrap_or_default();
    let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(written_ms)).unwrap_or(0));
    if age <= max_age {
        return Ok(());
    }
    Err(Failure {
        exit: Exit::Usage,
        what: format!("the status was written {} ago", units::duration::format(age)),
        advice:
            "start `keyferry run` with this data directory, or see the log of the one that runs"
                .to_owned(),
    })
}

fn lines(status: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", status, &mut lines);
    lines.join("\n")
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&inner, value, lines);
            }
        }
        Value::String(text) => lines.push(format!("{path} = {text}")),
        other => lines.push(format!("{path} = {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_too_old_is_a_failure() {
        let status = serde_json::json!({ "written_at_ms": 1_000 });
        let limit = Duration::from_secs(15);
        assert!(check_age(&status, 16_000, limit).is_ok());
        let failure = check_age(&status, 16_001, limit).unwrap_err();
        assert!(failure.what.contains("15"), "{}", failure.what);
        assert!(check_age(&serde_json::json!({}), 16_001, limit).is_err());
    }
}
