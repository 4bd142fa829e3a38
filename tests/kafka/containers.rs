//! Tests on brokers in containers (`KEYFERRY_TEST_BROKER=container`), with a stand-in for Docker that runs processes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::eventually;

use crate::apart::PATIENCE;

/// One with a shared broker, one that kills and restarts, one that pauses, one with certificates.
const TESTS: [&str; 4] = [
    "unleased::it_is_read_from_any_place_and_trimmed_by_order_only",
    "brokers::a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing",
    "brokers::a_broker_that_hangs_is_told_and_so_is_its_return",
    "secure::a_stream_is_kept_on_brokers_that_ask_for_tls_and_a_password",
];

fn jars() -> PathBuf {
    let cache = std::env::var_os("KEYFERRY_CACHE").unwrap_or_else(|| ".cache".into());
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(cache).join("servers/kafka-4.2/lib")
}

/// `PATH` with the stand-in before everything else.
fn path() -> Result<std::ffi::OsString> {
    let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/containers");
    let known = std::env::var_os("PATH").context("no PATH")?;
    Ok(std::env::join_paths([stand_in].into_iter().chain(std::env::split_paths(&known)))?)
}

#[test]
fn the_same_tests_pass_on_brokers_in_containers() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let output = Command::new(std::env::current_exe()?)
        // One broker at a time beside those of the other tests.
        .args(["--exact", "--test-threads=1"])
        .args(TESTS)
        .env("KEYFERRY_TEST_BROKER", "container")
        .env("STAND_IN_DIR", dir.path())
        .env("STAND_IN_JARS", jars())
        .env("PATH", path()?)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("4 passed"), "not all of them are there:\n{said}");
    let calls = std::fs::read_to_string(dir.path().join("calls"))?;
    let verbs: BTreeSet<&str> = calls.lines().filter_map(|call| call.split(' ').next()).collect();
    for verb in ["run", "kill", "pause", "unpause", "rm"] {
        ensure!(verbs.contains(verb), "no docker {verb} in\n{calls}");
    }
    eventually(PATIENCE, "no container is left", || {
        let left = std::fs::read_dir(dir.path())?.count() - 1;
        Ok((left == 0).then_some(()))
    })
}
