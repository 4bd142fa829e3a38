//! The keyferry binary as a child process: started, watched, signalled, killed.
//!
//! It is built before its first use in a test process, so that a test never judges yesterday's
//! binary; `KEYFERRY_BIN` names another one. It answers HTTP at any port that is free, unless told otherwise.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use rustix::process::Signal;

use crate::deadline::eventually;
use crate::kind::root;
use crate::spawn::{self, Guarded};

/// A running (or ended) keyferry with everything it printed.
#[derive(Debug)]
pub struct Process {
    guarded: Guarded,
    stdout: Capture,
    stderr: Capture,
}

/// Lines as they come, readable at any time.
#[derive(Debug)]
struct Capture {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

// === impl Process ===

impl Process {
    /// Starts keyferry with arguments.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub fn start(args: &[&str]) -> Result<Self> {
        Self::start_with(args, &[])
    }

    /// Starts keyferry with arguments and variables of the environment.
    ///
    /// # Errors
    /// If it cannot be built or started.
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Self::program(&binary()?, args, env)
    }

    /// Starts any other program the same way.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn program(binary: &Path, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        let mut command = spawn::guarded(binary);
        // What the tests are told by the environment is no option of keyferry's.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"KEYFERRY_") {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .env("KEYFERRY_ADMIN_LISTEN", "127.0.0.1:0")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut guarded = spawn::spawn(command, binary)?;
        let stdout = guarded.child_mut().stdout.take().context("a child without stdout")?;
        let stderr = guarded.child_mut().stderr.take().context("a child without stderr")?;
        Ok(Self { guarded, stdout: Capture::of(stdout), stderr: Capture::of(stderr) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.guarded.pid()
    }

    /// What it has printed to stdout so far; all of it once it is known to have ended.
    pub fn stdout(&self) -> String {
        self.stdout.text.lock().clone()
    }

    /// What it has printed to stderr so far; all of it once it is known to have ended.
    pub fn stderr(&self) -> String {
        self.stderr.text.lock().clone()
    }

    /// Waits until `found` finds something in what it printed (stdout, stderr).
    ///
    /// # Errors
    /// If it ends first, or the time passes; with what it printed.
    pub fn until<T>(
        &mut self,
        limit: Duration,
        what: impl Display,
        mut found: impl FnMut(&str, &str) -> Option<T>,
    ) -> Result<T> {
        let outcome = eventually(limit, &what, || {
            // The end is looked at first: what it printed before it is then complete or still read.
            let ended = self.ended()?;
            if let Some(value) = found(&self.stdout(), &self.stderr()) {
                return Ok(Some(value));
            }
            match ended {
                Some(status) => bail!("ended with {} before {what}", spawn::how(status)),
                None => Ok(None),
            }
        });
        outcome.map_err(|error| self.with_output(&error))
    }

    /// Whether it still runs. Where it does not, all that it has printed is there to be read.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.ended()?.is_none())
    }

    /// How it has ended, if it has; all that it has printed is there then.
    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.guarded.ended()?;
        if ended.is_some() {
            self.stdout.finish();
            self.stderr.finish();
        }
        Ok(ended)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.guarded.signal(signal)
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If the time passes; with what it printed.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = self.guarded.wait(limit).map_err(|error| self.with_output(&error))?;
        self.stdout.finish();
        self.stderr.finish();
        Ok(status)
    }

    /// Asks it to end (SIGTERM) and waits until it does.
    ///
    /// # Errors
    /// If it has ended already, or does not in time.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// Kills it (SIGKILL), whatever it is doing.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.guarded.kill()?;
        self.stdout.finish();
        self.stderr.finish();
        Ok(())
    }

    fn with_output(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{error}\n--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }
}

// === impl Capture ===

impl Capture {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            // A pipe that breaks has nothing more to say.
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                into.lock().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    /// Waits for the end of the pipe, which is there once the process has ended.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

/// The keyferry binary beside the running test's own, built now.
///
/// # Errors
/// If it does not build.
pub fn binary() -> Result<PathBuf> {
    static BUILT: LazyLock<Result<PathBuf, String>> =
        LazyLock::new(|| find().map_err(|error| format!("{error:#}")));
    BUILT.clone().map_err(|error| anyhow!(error))
}

fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("KEYFERRY_BIN") {
        return Ok(PathBuf::from(named));
    }
    let test = std::env::current_exe().context("find the running test")?;
    // target/PROFILE/deps/test
    let profile = test.ancestors().nth(2).context("a test outside of a target directory")?;
    build(profile)?;
    let binary = profile.join("keyferry");
    if !binary.exists() {
        bail!("{} is missing after cargo built it", binary.display());
    }
    Ok(binary)
}

fn build(profile: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--package", "keyferry-cli"]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let target = profile.parent().context("a profile without a target directory")?;
    command.arg("--target-dir").arg(target).current_dir(root());
    // What cargo has told this test about itself: build scripts that look at it would run again, and half of the
    // dependencies with them.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    let output = command.output().context("run cargo")?;
    if !output.status.success() {
        bail!("keyferry does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Process {
        Process::program(Path::new("/bin/sh"), &["-c", script], &[("WORD", "sesame")]).unwrap()
    }

    #[test]
    fn what_it_printed_and_how_it_ended_are_known() {
        let mut process = shell("echo $WORD; echo no >&2; exit 3");
        assert_eq!(process.wait(LIMIT).unwrap().code(), Some(3));
        assert_eq!((process.stdout(), process.stderr()), ("sesame\n".into(), "no\n".into()));
        assert!(!process.is_running().unwrap());
    }

    #[test]
    fn a_line_is_waited_for_and_its_absence_is_explained() {
        let mut process = shell("echo ready; exec sleep 100");
        let seen = process.until(LIMIT, "it is ready", |out, _| out.contains("ready").then_some(1));
        assert_eq!(seen.unwrap(), 1);
        assert!(process.is_running().unwrap());
        process.kill().unwrap();
        let mut process = shell("echo broken >&2; exit 1");
        let error = process.until(LIMIT, "it is ready", |_, _| None::<()>).unwrap_err().to_string();
        assert!(error.contains("exit code 1") && error.contains("broken"), "{error}");
    }

    #[test]
    fn a_signal_ends_it() {
        let mut process = shell("trap 'exit 7' TERM; echo on; while :; do sleep 0.01; done");
        process.until(LIMIT, "the trap is set", |out, _| out.contains("on").then_some(())).unwrap();
        assert_eq!(process.stop(LIMIT).unwrap().code(), Some(7));
    }
}
