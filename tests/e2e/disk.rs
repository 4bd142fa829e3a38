//! A full disk: intake stops with a clear message, and goes on when there is room.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testkit::{Kind, Process, Server, eventually};

use crate::bridge::{PATIENCE, stop};

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
    let disk = SmallDisk::mount("6m")?;
    let (source, destination) =
        (Server::start(Kind::Redis7_0, &[])?, Server::start(Kind::Redis7_0, &[])?);
    let dir = disk.data_dir().display().to_string();
    let args = [
        "run",
        &source.uri(),
        &destination.uri(),
        "--data-dir",
        &dir,
        "--journal-compression",
        "none",
    ];
    let mut bridge = Process::start(&args)?;
    let mut client = source.client()?;
    let commands: Vec<Vec<String>> = (0..ELEMENTS)
        .map(|number| {
            vec!["RPUSH".to_owned(), format!("list:{}", number % 10), format!("{number:0300}")]
        })
        .collect();
    client.batch(&commands)?;
    bridge.until(PATIENCE, "it says that the disk is full", |_, said| {
        said.to_lowercase().contains("no space").then_some(())
    })?;
    eventually(PATIENCE, "the status says so too, though there is no room for it", || {
        let mut asked = Process::start(&["status", "--data-dir", &dir, "--max-age", "5s"])?;
        let code = asked.wait(PATIENCE)?.code();
        let said = asked.stdout();
        Ok((code == Some(0) && said.to_lowercase().contains("no space")).then_some(()))
    })?;
    disk.grow("200m")?;
    let mut other = destination.client()?;
    eventually(PATIENCE, "everything has arrived", || {
        ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
        let lengths = (0..10).map(|list| other.cmd(&["LLEN", &format!("list:{list}")])?.int());
        let total: i64 = lengths.collect::<Result<Vec<_>>>()?.iter().sum();
        ensure!(total <= ELEMENTS, "{total} elements: some arrived twice");
        Ok((total == ELEMENTS).then_some(()))
    })?;
    stop(&mut bridge).context("stop after the disk has room again")
}
