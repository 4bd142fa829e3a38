//! Brokers in containers, by the `docker` command: where `KEYFERRY_TEST_BROKER=container` asks for it.
//!
//! A container runs the same program with the same settings file as a process does, on the host's network, with the
//! broker's directory mounted under its own name. What ends here is the `docker` command; the container is removed by
//! name, also by a process that waits for the end of this one, since a test may be killed.

use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, getgid, getuid};

/// The project's own image of the version that `scripts/kafka` fetches.
const IMAGE: &str = "apache/kafka:4.2.0";
/// Where that image has the jars.
const JARS: &str = "/opt/kafka/libs/*";
/// Removes a container where that is still to do. A key of Ctrl-C must not end it before its work.
const SCRIPT: &str = "trap '' INT TERM; cat >/dev/null; docker rm -f \"$1\" >/dev/null 2>&1";

/// A container of a name of its own.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    /// Waits for the end of its input, and removes the container then.
    janitor: Child,
}

/// Whether brokers are to be containers.
///
/// # Errors
/// If the variable says something else.
pub(super) fn is_wanted() -> Result<bool> {
    match env::var_os("KEYFERRY_TEST_BROKER") {
        None => Ok(false),
        Some(wanted) if wanted == "process" => Ok(false),
        Some(wanted) if wanted == "container" => Ok(true),
        Some(other) => {
            bail!("KEYFERRY_TEST_BROKER is {}: it has to be process or container", other.display())
        }
    }
}

// === impl Container ===

impl Container {
    /// Of a broker that listens on this port, which nobody else's does.
    pub(super) fn new(port: u16) -> Result<Self> {
        let name = format!("keyferry-test-{}-{port}", std::process::id());
        let janitor = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "janitor", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the process that removes a container")?;
        Ok(Self { name, janitor })
    }

    /// Java of the image, which sees these directories; add its arguments.
    pub(super) fn java(&self, mut docker: Command, seen: &[&Path]) -> Command {
        docker.args(["run", "--rm", "--network", "host", "--name", &self.name]);
        docker.arg(format!("--user={}:{}", getuid().as_raw(), getgid().as_raw()));
        docker.args(seen.iter().map(|dir| format!("--volume={0}:{0}", dir.display())));
        docker.args(["--entrypoint", "java"]);
        docker.args([IMAGE, "-Dlog4j2.level=WARN", "-cp", JARS]);
        docker
    }

    /// What a signal is to a container.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let order = match signal {
            Signal::STOP => "pause",
            Signal::CONT => "unpause",
            Signal::KILL => "kill",
            other => bail!("no order of docker is like {other:?}"),
        };
        let mut docker = Command::new("docker");
        let output = docker.args([order, &self.name]).output().context("run docker")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {order} {}: {said}", self.name);
        Ok(())
    }

    /// Its process, as this machine counts.
    pub(super) fn pid(&self) -> Option<u32> {
        let mut docker = Command::new("docker");
        docker.args(["inspect", "--format", "{{.State.Pid}}", &self.name]);
        String::from_utf8(docker.output().ok()?.stdout).ok()?.trim().parse().ok()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        self.janitor.wait().ok();
    }
}
