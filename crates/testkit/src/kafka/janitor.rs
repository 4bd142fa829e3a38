//! Cleans up after a broker that lives as long as the test process: statics are never dropped.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A process that waits for the end of this one, kills the broker where that is still to do, and removes its
/// directory, twice: a dying broker may write in between. A key of Ctrl-C reaches it too and must not end it before
/// its work.
const SCRIPT: &str = "trap '' INT TERM; cat >/dev/null; kill -9 \"$2\" 2>/dev/null; \
    rm -rf -- \"$1\" 2>/dev/null || { sleep 1; rm -rf -- \"$1\"; }";

/// Holds the pipe whose end it waits for.
#[derive(Debug)]
pub(super) struct Janitor {
    _process: Child,
}

// === impl Janitor ===

impl Janitor {
    pub(super) fn of(dir: &Path, pid: Option<u32>) -> Result<Self> {
        let pid = pid.context("a broker that does not run")?.to_string();
        let process = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "janitor"])
            .arg(dir)
            .arg(pid)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the process that cleans up after a broker")?;
        Ok(Self { _process: process })
    }
}
