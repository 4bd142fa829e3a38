//! A full disk: intake stops with a clear message, and goes on when there is room.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testkit::{Deadline, Kind, Process, Server, eventually};

/// More data goes through than in other tests, in a build without optimisation: a loaded machine takes minutes for it.
/// Nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(300);

/// A file system of a few megabytes, gone with the value.
struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Result<Self> {
        let disk = Self { dir: TempDir::new()? };
        disk.command(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])?;
        Ok(disk)
    }

    fn grow(&self, size: &str) -> Result<()> {
        self.command(&["-o", &format!("remount,size={size}")])
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, args: &[&str]) -> Result<()> {
        let status = Command::new("mount").args(args).arg(self.dir.path()).status()?;
        ensure!(
            status.success(),
            "mount failed: this test needs root to make a small disk of its own"
        );
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
        assert!(ended.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}

/// Elements of 300 bytes: several times what the disk and the spool's memory hold together.
const ELEMENTS: i64 = 150_000;

#[test]
fn waits_for_room_and_loses_nothing() -> Result<()> {
    let (disk, source, destination) = full_soon()?;
    let mut bridge = run(&disk, &source, &destination)?;
    let dir = disk.data_dir().display().to_string();
    let status = || {
        let mut asked = Process::start(&["status", "--data-dir", &dir, "--max-age", "5s"])?;
        let code = asked.wait(PATIENCE)?.code();
        Ok((code == Some(0)).then(|| asked.stdout().to_lowercase()))
    };
    // From then on it has room of its own.
    eventually(PATIENCE, "there is a status", status)?;
    fill(&mut bridge, &source)?;
    eventually(PATIENCE, "the status says so too, though there is no room for it", || {
        Ok(status()?.filter(|said| said.contains("no space")))
    })?;
    disk.grow("200m")?;
    everything_arrives(&mut bridge, &destination)?;
    ensure!(bridge.stderr().contains("there is room"), "{}", bridge.stderr());
    stop(&mut bridge)
}

/// Far below the time that is given where the journal is only slow.
const STOP_LIMIT: Duration = Duration::from_secs(12);

#[test]
fn a_stop_does_not_wait_for_room_and_says_so() -> Result<()> {
    let (disk, source, destination) = full_soon()?;
    let mut bridge = run(&disk, &source, &destination)?;
    fill(&mut bridge, &source)?;
    let deadline = Deadline::after(STOP_LIMIT);
    let status = bridge.stop(PATIENCE)?;
    ensure!(!deadline.has_passed(), "it took {:?} to stop", deadline.elapsed());
    let said = bridge.stderr();
    ensure!(status.success() && said.contains("there is no room for what had come"), "{said}");
    ensure!(!said.contains("everything read is durable"), "it is not: {said}");
    disk.grow("200m")?;
    let mut bridge = run(&disk, &source, &destination)?;
    everything_arrives(&mut bridge, &destination)?;
    stop(&mut bridge)
}

/// Once there is room again.
fn stop(bridge: &mut Process) -> Result<()> {
    let status = bridge.stop(PATIENCE)?;
    ensure!(status.success(), "the bridge ended with {status}:\n{}", bridge.stderr());
    Ok(())
}

fn full_soon() -> Result<(SmallDisk, Server, Server)> {
    let disk = SmallDisk::mount("6m")?;
    let backlog = ["repl-backlog-size 128mb"];
    Ok((disk, Server::start(Kind::Redis7_0, &backlog)?, Server::start(Kind::Redis7_0, &[])?))
}

fn run(disk: &SmallDisk, source: &Server, destination: &Server) -> Result<Process> {
    let dir = disk.data_dir().display().to_string();
    let (source, destination) = (source.uri(), destination.uri());
    let args = ["run", &source, &destination, "--data-dir", &dir, "--journal-compression", "none"];
    Process::start(&args)
}

/// Writes more than there is room for, and waits until that is said.
fn fill(bridge: &mut Process, source: &Server) -> Result<()> {
    let mut client = source.client()?;
    let commands: Vec<Vec<String>> = (0..ELEMENTS)
        .map(|number| {
            vec!["RPUSH".to_owned(), format!("list:{}", number % 10), format!("{number:0300}")]
        })
        .collect();
    client.batch(&commands)?;
    bridge.until(PATIENCE, "it says that the disk is full", |_, said| {
        said.to_lowercase().contains("no space").then_some(())
    })
}

fn everything_arrives(bridge: &mut Process, destination: &Server) -> Result<()> {
    let mut client = destination.client()?;
    eventually(PATIENCE, "everything has arrived", || {
        ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
        let lengths = (0..10).map(|list| client.cmd(&["LLEN", &format!("list:{list}")])?.int());
        let total: i64 = lengths.collect::<Result<Vec<_>>>()?.iter().sum();
        ensure!(total <= ELEMENTS, "{total} elements: some arrived twice");
        Ok((total == ELEMENTS).then_some(()))
    })
}
