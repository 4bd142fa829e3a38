//! Child processes that never outlive the test.
//!
//! Where `setpriv` exists, the kernel kills the child when its parent *thread* dies, so every child
//! is started from one thread that lives as long as the test process. Elsewhere only `Drop` kills.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::deadline::eventually;

type Job = (Command, SyncSender<std::io::Result<Child>>);

static NURSE: LazyLock<SyncSender<Job>> = LazyLock::new(|| {
    let (jobs, inbox): (SyncSender<Job>, Receiver<Job>) = sync_channel(1);
    std::thread::spawn(move || {
        while let Ok((mut command, answer)) = inbox.recv() {
            // A test that no longer waits for its child loses it: dropping it is all one can do.
            if let Err(lost) = answer.send(command.spawn())
                && let Ok(mut child) = lost.0
            {
                child.kill().and_then(|()| child.wait()).ok();
            }
        }
    });
    jobs
});

static HAS_SETPRIV: LazyLock<bool> = LazyLock::new(|| {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
});

/// A running child; killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
}

/// A command that starts `program` so that it dies with the test; add arguments as usual.
pub(crate) fn guarded(program: impl AsRef<OsStr>) -> Command {
    if !*HAS_SETPRIV {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Starts a command made by [`guarded`]; `program` is only for the message.
pub(crate) fn spawn(command: Command, program: &Path) -> Result<Guarded> {
    let (answer, child) = sync_channel(1);
    NURSE.send((command, answer)).ok().context("the thread that starts children is gone")?;
    let child = child.recv().context("the thread that starts children is gone")?;
    Ok(Guarded { child: child.with_context(|| format!("start {}", program.display()))? })
}

// === impl Guarded ===

impl Guarded {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(raw(self.child.id())?, signal)
            .with_context(|| format!("send signal {signal:?} to process {}", self.child.id()))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("look at a child process")
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("process {} ends", self.child.id());
        eventually(limit, what, || self.ended())
    }

    /// Kills it with SIGKILL and reaps it.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill().context("kill a child process")?;
        self.child.wait().context("reap a child process")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A child that is gone already is what we want.
        self.kill().ok();
    }
}

/// Lets no file of a process grow beyond so many bytes.
#[cfg(target_os = "linux")]
pub(crate) fn limit_files(pid: u32, bytes: u64) -> Result<()> {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    let set = prlimit(Some(raw(pid)?), Resource::Fsize, limit);
    set.map(drop).with_context(|| format!("limit the files of process {pid}"))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_files(_: u32, _: u64) -> Result<()> {
    anyhow::bail!("only Linux limits the files of a process that runs")
}

fn raw(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id that is none")
}

/// "exit code 3" or "signal 9": how a process ended, for a message.
pub(crate) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no known end".to_owned(),
    }
}
