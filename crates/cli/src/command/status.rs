//! `keyferry status`: what the process that carries a stream last said of itself, and whether it still runs.

mod partitions;
mod parts;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use event::text::Utc;
use runtime::{Clock, SystemClock, units};
use serde_json::{Map, Value};

use self::partitions::Partitions;
use crate::exit::{Exit, Failure};
use crate::life::{Life, Process};
use crate::options::layers::Values;
use crate::options::typed::{JournalSettings, Reader};
use crate::role::Role;
use crate::{output, show};

/// What is true of a process, whatever it last said.
struct Verdict {
    state: String,
    running: bool,
    age: Duration,
    /// The same for a person.
    headline: String,
}

/// What a process says last.
const STOPPED: &str = "stopped";

/// It writes every second: after this long it is stuck, or its disk is.
const SILENT: Duration = Duration::from_secs(15);

pub(crate) fn run(matches: &ArgMatches, values: &Values) -> Result<(), Failure> {
    let max_age =
        matches.get_one::<String>("max-age").map(|text| units::duration::parse(text)).transpose();
    let max_age = max_age.map_err(|error| Failure::usage(format!("--max-age: {error}")))?;
    let mut reader = Reader::new(values);
    let dir = reader.data_dir();
    let stream = reader.stream_to_read(&dir);
    let journal = reader.journal(&stream, &dir);
    let json = reader.flag("log.json");
    reader.finish()?;
    let paths = Role::ALL.iter().map(|role| (*role, dir.status(&stream, *role)));
    let mut paths: Vec<_> = paths.filter(|(_, path)| path.exists()).collect();
    // On Kafka there is something to tell without a process here, but nobody of whom a health check could ask.
    if paths.is_empty() && (!journal.is_shared() || max_age.is_some()) {
        paths.push((Role::Both, dir.status(&stream, Role::Both)));
    }
    let mut said = Vec::new();
    for (role, path) in paths {
        let status = read(&path)?;
        let process = status.get("process").and_then(Process::read);
        let life = process.as_ref().map_or(Life::Gone, Process::life);
        let verdict = Verdict::of(&status, life, SystemClock::new().now_ms());
        said.push((role, verdict, status));
    }
    // Asked last, since brokers take their time. What is known is told also where they do not answer.
    let shared = match journal.is_shared() && max_age.is_none() {
        true => super::block_on(look_at_partitions(journal)).map(Some),
        false => Ok(None),
    };
    let seen = shared.as_ref().ok().and_then(Option::as_ref);
    match json {
        _ if said.is_empty() && seen.is_none() => {}
        true => output::print(&format!("{:#}", document(&said, seen)))?,
        false => output::print(&for_people(&said, seen))?,
    }
    max_age.map_or(Ok(()), |max_age| check(&said, max_age))?;
    shared.map(drop)
}

/// What each process said, and what is true of it.
type Said = (Role, Verdict, Value);

/// One document: what the process says, of several the first, with the others beside it, and what the brokers say.
fn document(said: &[Said], shared: Option<&Partitions>) -> Value {
    let mut all = said.iter().map(|(_, verdict, status)| verdict.over(status)).map(Value::Object);
    let mut first = all.next().unwrap_or_else(|| Value::Object(Map::new()));
    let others: Vec<Value> = all.collect();
    if let Some(fields) = first.as_object_mut() {
        if !others.is_empty() {
            fields.insert("others".to_owned(), others.into());
        }
        if let Some(shared) = shared {
            fields.insert("partitions".to_owned(), shared.json());
        }
    }
    first
}

fn for_people(said: &[Said], shared: Option<&Partitions>) -> String {
    let processes = said.iter().map(|(_, verdict, status)| verdict.lines(status));
    let all: Vec<String> =
        processes.chain(shared.map(Partitions::lines)).map(|of| of.join("\n")).collect();
    all.join("\n\n")
}

/// What the brokers say of the stream.
async fn look_at_partitions(journal: JournalSettings) -> Result<Partitions, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let journal = super::reading::open(journal, Arc::clone(&clock)).await?;
    Partitions::read(&*journal, &*clock).await
}

/// What the process that writes this file last said.
fn read(path: &Path) -> Result<Value, Failure> {
    let text = show::read_status(path).map_err(|error| Failure {
        exit: Exit::Usage,
        what: format!("read {}: {error}", path.display()),
        advice: "start keyferry with this --data-dir first, or name the right one".to_owned(),
    })?;
    serde_json::from_str(&text).map_err(|error| Failure {
        exit: Exit::Usage,
        what: format!("{} is not a status: {error}", path.display()),
        advice: "remove the file: a running process writes it anew every second".to_owned(),
    })
}

/// Fails when one of them does not run as it should; those that were stopped only where all were.
fn check(said: &[Said], max_age: Duration) -> Result<(), Failure> {
    // One that was killed says nothing about those that go on.
    let counts = |(role, verdict, _): &&Said| *role != Role::Replay || verdict.running;
    let counting: Vec<_> = said.iter().filter(counts).collect();
    let counting = if counting.is_empty() { said.iter().collect() } else { counting };
    let (stopped, others): (Vec<_>, Vec<_>) = counting
        .into_iter()
        .map(|(_, verdict, _)| verdict)
        .partition(|verdict| verdict.state == STOPPED);
    let asked = if others.is_empty() { stopped } else { others };
    asked.into_iter().try_for_each(|verdict| verdict.check(max_age))
}

// === impl Verdict ===

impl Verdict {
    fn of(status: &Value, life: Life, now_ms: i64) -> Self {
        let number = |path: &str| status.pointer(path).and_then(Value::as_i64).unwrap_or_default();
        let text = |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let written_ms = number("/written_at_ms");
        let (written, pid) = (Utc(written_ms), number("/process/pid"));
        let ms = u64::try_from(now_ms.saturating_sub(written_ms)).unwrap_or(0);
        let age = Duration::from_millis(ms);
        let silent = age > SILENT;
        let ago = units::duration::format(Duration::from_secs(age.as_secs()));
        let said = text("/state");
        let (state, running, headline) = match life {
            _ if said == STOPPED => {
                let (at, code) = (Utc(number("/ended/at_ms")), number("/ended/exit_code"));
                let why = text("/ended/why");
                (said, false, format!("not running: {why} at {at}, exit code {code}"))
            }
            Life::Gone => {
                let headline = format!(
                    "not running: pid {pid} ended without a word at {written} or soon after; start it again to go on"
                );
                ("gone", false, headline)
            }
            Life::Runs if silent => {
                let headline =
                    format!("pid {pid} runs, but has said nothing for {ago}: see its log");
                ("silent", true, headline)
            }
            Life::OutOfSight if silent => {
                let headline = format!(
                    "nothing was said for {ago}; pid {pid} is of another container or machine, or of before a restart"
                );
                ("unknown", false, headline)
            }
            Life::Runs | Life::OutOfSight => {
                let since = Utc(number("/process/started_at_ms"));
                (said, true, format!("{said}: pid {pid} since {since}, said {ago} ago"))
            }
        };
        Self { state: state.to_owned(), running, age, headline }
    }

    /// The whole status, with what is true put over what was said.
    fn over(&self, status: &Value) -> Map<String, Value> {
        let mut fields = status.as_object().cloned().unwrap_or_default();
        fields.insert("state".to_owned(), self.state.clone().into());
        fields.insert("running".to_owned(), self.running.into());
        fields.insert("age_ms".to_owned(), millis(self.age).into());
        fields
    }

    /// The same for people, a line for each value and for each partition.
    fn lines(&self, status: &Value) -> Vec<String> {
        let mut status = Value::Object(self.over(status));
        let mut lines = vec![self.headline.clone(), show::summary(&status)];
        let parts = parts::take_lines(&mut status);
        flatten("", &status, &mut lines);
        lines.extend(parts);
        lines
    }

    /// Fails when nobody runs, or has said nothing for too long.
    fn check(&self, max_age: Duration) -> Result<(), Failure> {
        if self.running && self.age <= max_age {
            return Ok(());
        }
        let what = match self.running {
            false => self.headline.clone(),
            true => {
                format!("the status was written {} ago", units::duration::format(self.age))
            }
        };
        let advice = "start keyferry with this data directory, or see the log of the one that runs"
            .to_owned();
        Err(Failure { exit: Exit::NotRunning, what, advice })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    use serde_json::json;

    use super::*;

    fn said(state: &str) -> Value {
        json!({ "state": state, "written_at_ms": 1_000, "process": { "pid": 7 } })
    }

    #[test]
    fn a_status_that_is_too_old_is_a_failure() {
        let check = |now_ms| {
            let limit = Duration::from_secs(15);
            Verdict::of(&said("running"), Life::Runs, now_ms).check(limit)
        };
        assert!(check(16_000).is_ok());
        let failure = check(16_001).unwrap_err();
        assert!(failure.what.contains("15"), "{}", failure.what);
    }

    #[test]
    fn a_process_that_is_gone_does_not_run_however_fresh_its_word() {
        let verdict = Verdict::of(&said("running"), Life::Gone, 1_001);
        assert!(!verdict.running && verdict.headline.contains("ended without a word"));
        let failure = verdict.check(Duration::from_secs(15)).unwrap_err();
        assert_eq!(failure.exit, Exit::NotRunning);
        let shown = verdict.over(&said("running"));
        assert_eq!((&shown["state"], &shown["running"]), (&json!("gone"), &json!(false)));
    }

    #[test]
    fn the_last_word_of_a_stop_is_believed_without_its_process() {
        let mut status = said("stopped");
        status["ended"] = json!({ "at_ms": 900, "why": "stopped by SIGTERM", "exit_code": 0 });
        let verdict = Verdict::of(&status, Life::OutOfSight, 99_000);
        assert_eq!((verdict.state.as_str(), verdict.running), ("stopped", false));
        let expected = "not running: stopped by SIGTERM at 1970-01-01T00:00:00.900Z, exit code 0";
        assert_eq!(verdict.headline, expected);
    }

    #[test]
    fn one_that_was_stopped_is_passed_over_where_another_runs() {
        let of =
            |role, state: &str, life| (role, Verdict::of(&said(state), life, 1_001), said(state));
        let verdict = |state: &str, life| of(Role::Both, state, life);
        let checked = |said: &[Said]| check(said, Duration::from_secs(15)).is_ok();
        let stopped = || verdict("stopped", Life::Gone);
        let replay = || of(Role::Replay, "running", Life::Gone);
        assert!(checked(&[verdict("running", Life::Runs), replay()]));
        assert!(!checked(&[replay()]));
        assert!(checked(&[stopped(), verdict("running", Life::Runs)]));
        assert!(!checked(&[stopped()]));
        assert!(!checked(&[verdict("running", Life::Gone), verdict("running", Life::Runs)]));
    }

    #[test]
    fn all_is_one_document() {
        let one = |state: &str| {
            (Role::Capture, Verdict::of(&said(state), Life::Runs, 1_001), said(state))
        };
        let shown = document(&[one("running")], None);
        assert_eq!((&shown["state"], shown.get("others")), (&json!("running"), None));
        let shown = document(&[one("running"), one("stopping")], None);
        assert_eq!(shown["state"], "running");
        assert_eq!(shown["others"][0]["state"], "stopping");
        assert_eq!(document(&[], None), json!({}));
    }

    #[test]
    fn the_second_line_sums_up() {
        let mut status = said("running");
        status["capture"] = json!({ "phase": "stream", "offset": 2_100 });
        let lane = json!({
            "phase": "stream", "applied": "0:9:1076:+", "lag_records": 3, "lag_seconds": 1.25, "quarantined_keys": 2,
        });
        status["apply"] = json!({ "lane": lane });
        let shown = |status: &Value| {
            let verdict = Verdict::of(status, Life::Runs, 1_001);
            verdict.lines(status).swap_remove(1)
        };
        assert_eq!(
            shown(&status),
            "capture: stream, apply: stream, lag 1.00 KiB, 1.2 s, 2 in quarantine"
        );
        let expected =
            "capture: nothing yet, apply: nothing yet, lag 0 B, 0.0 s, nothing in quarantine";
        assert_eq!(shown(&said("starting")), expected);
        status["capture"]["phase"] = "snapshot".into();
        status["capture"]["snapshot_keys"] = 30.into();
        status["capture"]["snapshot_keys_expected"] = 40.into();
        status["capture"]["trouble"] = "no room".into();
        status["capture"]["held_by"] = "pause".into();
        let expected = "capture: snapshot, apply: stream, 75% of the snapshot read, 3 events to go, \
                        2 in quarantine, held by a pause, trouble: no room";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn what_cannot_be_looked_at_is_judged_by_its_last_word() {
        let judged = |life, now_ms| Verdict::of(&said("running"), life, now_ms).state;
        assert_eq!(judged(Life::OutOfSight, 2_000), "running");
        assert_eq!(judged(Life::OutOfSight, 99_000), "unknown");
        assert_eq!(judged(Life::Runs, 99_000), "silent");
    }
}
