//! One process of Kafka: its directory, its ports, its Java.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use super::container::{self, Container};
use super::settings::{MECHANISM, Ports, Setup};
use crate::deadline::eventually;
use crate::kind::cache;
use crate::port::{self, BUS_DISTANCE};
use crate::spawn::{self, Guarded};

/// An empty broker needs 4 s; several on a busy machine much longer.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long an answer to the question for versions may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Any cluster has one; 22 characters of URL-safe base64.
const CLUSTER_ID: &str = "a2V5ZmVycnktLXRlc3RzMQ";
const JAVA_OPTIONS: [&str; 1] = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];
/// Small, quickly started, and not compiled twice: a test's broker lives for a minute.
const SHORT_LIVED: [&str; 4] =
    ["-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
/// As Kafka's own scripts have it.
const LONG_LIVED: [&str; 5] = [
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
];

/// A broker that may run.
#[derive(Debug)]
pub(super) struct Node {
    id: u16,
    ports: Ports,
    data: PathBuf,
    java_options: &'static [&'static str],
    /// Before `dir`: the process goes before its directory does.
    process: Option<Guarded>,
    /// Where it is one, of which the process is only the order to run it.
    container: Option<Container>,
    dir: TempDir,
}

// === impl Node ===

impl Node {
    pub(super) fn new(id: u16, setup: &Setup) -> Result<Self> {
        let clients = port::free()?;
        let admin = setup.is_secured().then(port::free).transpose()?;
        let dir = tempfile::Builder::new().prefix("kf-kafka-").tempdir()?;
        let data = setup.log_dir.clone().unwrap_or_else(|| dir.path().join("data"));
        let ports = Ports { clients, controller: clients + BUS_DISTANCE, admin };
        let container = container::is_wanted()?.then(|| Container::new(clients)).transpose()?;
        let java_options: &[_] = if setup.is_long_lived { &LONG_LIVED } else { &SHORT_LIVED };
        Ok(Self { id, ports, data, java_options, process: None, container, dir })
    }

    /// How the others of a cluster find it.
    pub(super) fn voter(&self) -> String {
        format!("{}@127.0.0.1:{}", self.id, self.ports.controller)
    }

    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.clients)
    }

    pub(super) fn admin(&self) -> String {
        self.admin_addr().to_string()
    }

    pub(super) fn admin_addr(&self) -> SocketAddr {
        let port = self.ports.admin.unwrap_or(self.ports.clients);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        let process = self.process.as_ref()?;
        self.container.as_ref().map_or(Some(process.pid()), Container::pid)
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Writes its settings and makes its directory of data.
    pub(super) fn format(&mut self, voters: &[String], setup: &Setup) -> Result<()> {
        let mut lines = setup.lines(self.id, self.ports, voters, &self.data);
        if let Some([certificate, key, authority]) = setup.tls_files() {
            // All in its own directory, which is all that a container sees.
            let (pair, trusted) = (self.dir().join("broker.pem"), self.dir().join("trusted.pem"));
            let text = fs::read_to_string(key)? + &fs::read_to_string(certificate)?;
            fs::write(&pair, text).context("write the broker's certificate")?;
            fs::copy(authority, &trusted).context("copy the broker's authority")?;
            for (name, path) in [("keystore", &pair), ("truststore", &trusted)] {
                lines += &format!("ssl.{name}.type=PEM\nssl.{name}.location={}\n", path.display());
            }
        }
        fs::write(self.settings_path(), lines).context("write the broker's settings")?;
        let mut command = self.java(Command::new, "kafka.tools.StorageTool")?;
        command.args(["format", "-t", CLUSTER_ID, "-c"]).arg(self.settings_path());
        for (name, password) in &setup.users {
            command
                .args(["--add-scram", &format!("{MECHANISM}=[name={name},password={password}]")]);
        }
        let output =
            command.output().context("run java: run scripts/kafka, which says what it needs")?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("a broker's directory cannot be made:\n{}", String::from_utf8_lossy(&said));
        }
        Ok(())
    }

    /// Starts its process, which is not ready then.
    pub(super) fn launch(&mut self) -> Result<()> {
        let output = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = self.java(spawn::guarded, "kafka.Kafka")?;
        command
            .arg(self.settings_path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        self.process = Some(spawn::spawn(command, Path::new("java"))?);
        Ok(())
    }

    /// Waits until it answers.
    pub(super) fn wait(&mut self) -> Result<()> {
        let what = format!("Kafka on port {} answers", self.ports.clients);
        let ended = eventually(START_LIMIT, &what, || {
            let process = self.process.as_mut().context("a broker that was not started")?;
            if let Some(status) = process.ended()? {
                return Ok(Some(Some(status)));
            }
            let accepts = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.clients)).is_ok();
            Ok((accepts && answers(self.admin_addr())).then_some(None))
        });
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.process = None;
                bail!("Kafka ended with {} at its start:\n{}", spawn::how(status), self.log())
            }
            Err(error) => Err(error.context(self.log())),
        }
    }

    /// Whether its start failed because somebody else had one of its ports.
    pub(super) fn port_was_taken(&self) -> bool {
        self.log().contains("Address already in use")
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("kill a broker that does not run")?;
        match &self.container {
            Some(container) => {
                container.signal(Signal::KILL)?;
                // It ends when the name is free again.
                process.wait(START_LIMIT).map(drop)
            }
            None => process.kill().map(drop),
        }
    }

    pub(super) fn limit_files(&self, bytes: u64) -> Result<()> {
        // Of the broker itself, where the process is the order to run a container.
        spawn::limit_files(self.pid().context("the broker does not run")?, bytes)
    }

    pub(super) fn ends(&mut self, limit: Duration) -> Result<()> {
        let process = self.process.as_mut().context("the broker does not run")?;
        let ended = process.wait(limit);
        ended.map_err(|error| error.context(self.log()))?;
        self.process = None;
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.kill()?;
        }
        self.launch()?;
        self.wait()
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().context("the broker does not run")?;
        self.container
            .as_ref()
            .map_or_else(|| process.signal(signal), |container| container.signal(signal))
    }

    /// Java with all jars; add the program's arguments. `start` makes a command of a program.
    fn java(&self, start: fn(&'static str) -> Command, class: &str) -> Result<Command> {
        let mut command = match &self.container {
            Some(container) => {
                let mut seen = vec![self.dir()];
                seen.extend(Some(self.data.as_path()).filter(|data| !data.starts_with(self.dir())));
                container.java(start("docker"), &seen)
            }
            None => {
                let jars = cache().join("servers/kafka-4.2/lib");
                ensure!(jars.is_dir(), "{} is missing: run scripts/kafka", jars.display());
                let mut command = start("java");
                command.arg("-cp").arg(jars.join("*"));
                command
            }
        };
        command.args(JAVA_OPTIONS).args(self.java_options).arg(class);
        Ok(command)
    }

    fn settings_path(&self) -> PathBuf {
        self.dir().join("server.properties")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("log")
    }
}

/// Whether it tells the versions it speaks, which nobody needs a right for.
fn answers(addr: SocketAddr) -> bool {
    // Length, ApiVersions 0, correlation 7, no client id.
    const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let ask = || {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.write_all(&QUESTION)?;
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        std::io::Result::Ok(head.ends_with(&[0, 0, 0, 7]))
    };
    ask().unwrap_or(false)
}
