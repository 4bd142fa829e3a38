//! A process that appends is killed at random moments, many times, on the real disk.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runtime::Random;

use super::{from_start, numbered, parts, read_all};
use crate::local::{LocalConfig, LocalJournal, SyncPolicy};
use crate::{Append, Journal, OpenError, ReadLimit};

/// Tells a child process to write, and where.
const WRITER_DIR: &str = "KEYFERRY_JOURNAL_TEST_WRITER_DIR";

const KILLS: u64 = 15;

fn config(dir: &Path, random: &mut Random) -> LocalConfig {
    let sync = match random.below(3) {
        0 => SyncPolicy::EachBatch,
        1 => SyncPolicy::Interval(Duration::from_millis(2)),
        _ => SyncPolicy::Os,
    };
    LocalConfig {
        sync,
        segment_bytes: 256 * 1024,
        ..LocalConfig::new(dir, "stream", super::PARTITIONS)
    }
}

#[tokio::test]
async fn what_was_reported_durable_survives_a_kill() {
    if let Some(dir) = std::env::var_os(WRITER_DIR) {
        return write_until_killed(dir).await;
    }
    let seed = Random::from_entropy().next_u64();
    let mut random = Random::from_seed(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for kill in 0..KILLS {
        let mut child = start_writer(dir.path());
        let mut reports = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut sure = last;
        for _ in 0..1 + random.below(40) {
            sure = next_report(&mut reports).expect("the writer lives");
        }
        if kill == 0 {
            assert_locked_by(dir.path(), &child).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was in the pipe was reported as well.
        while let Some(count) = next_report(&mut reports) {
            sure = count;
        }
        let journal = LocalJournal::open(config(dir.path(), &mut random), parts()).await.unwrap();
        let entries = read_all(&journal).await;
        let found = entries.len() as u64;
        assert!(sure <= found && last <= found, "seed {seed}, kill {kill}: {found} of {sure}");
        for (number, entry) in (0..).zip(&entries) {
            let same = entry.payload == numbered(number, size_of(number)).payload;
            assert!(same, "seed {seed}, kill {kill}: record {number} is another one");
        }
        last = found;
    }
    assert!(last > 1000, "the writers have not done much: {last} records");
}

/// Appends numbered records for ever, and tells on stdout how many are durable.
async fn write_until_killed(dir: OsString) {
    let mut random = Random::from_entropy();
    let config = config(Path::new(&dir), &mut random);
    let journal = LocalJournal::open(config, parts()).await.unwrap();
    let mut appender = journal.appender().await.unwrap();
    let ranges = journal.describe().await.unwrap().partitions;
    let before: u64 = ranges.iter().map(|range| range.end.0).sum();
    let mut durable = appender.durable();
    let mut total = before;
    loop {
        let count = 1 + random.below(60);
        let mut batch: Vec<Append> =
            (total..total + count).map(|n| numbered(n, size_of(n))).collect();
        appender.append(&mut batch).await.unwrap();
        total += count;
        if random.chance(0.2) {
            appender.flush().await.unwrap();
        }
        if durable.has_changed().unwrap() {
            let sure = before + durable.borrow_and_update().0;
            std::io::stdout().write_all(format!("durable {sure}\n").as_bytes()).unwrap();
        }
    }
}

fn size_of(number: u64) -> u64 {
    number % 199
}

fn start_writer(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::tests::kill::what_was_reported_durable_survives_a_kill"])
        .arg("--nocapture")
        .env(WRITER_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The next number that the writer reports; the harness writes lines of its own.
fn next_report(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<u64> {
    let mut reports = lines.filter_map(|line| {
        let (_, count) = line.ok()?.split_once("durable ").map(|(a, b)| (a.len(), b.to_owned()))?;
        count.parse().ok()
    });
    reports.next()
}

/// A second process may not write, is told who does, and may read.
async fn assert_locked_by(dir: &Path, child: &Child) {
    let outcome = LocalJournal::open(config(dir, &mut Random::from_seed(0)), parts()).await;
    let Err(OpenError::Locked { holder: Some(holder), .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(holder.contains(&format!("pid {} since ", child.id())), "{holder}");
    let config = crate::local::ReadOnlyConfig::new(dir);
    let journal = LocalJournal::open_read_only(config, parts()).await.unwrap();
    let mut reader = journal.reader(from_start()).await.unwrap();
    let mut number = 0;
    while number < 500 {
        let limit = ReadLimit { records: 100, bytes: usize::MAX };
        for entry in reader.next(limit).await.unwrap() {
            assert_eq!(entry.payload, numbered(number, size_of(number)).payload);
            number += 1;
        }
    }
}
