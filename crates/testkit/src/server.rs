//! A private server of a test: its own port, unix socket and directory, gone with the test.
//!
//! The binaries come from `scripts/servers`. A server is ready when `start` returns, and is killed
//! when dropped; nothing of it stays on the disk.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::deadline::eventually;
use crate::kind::Kind;
use crate::port;
use crate::spawn::{self, Guarded};
use crate::tls::{ServerCert, TlsFiles};
use crate::value::Value;

/// How long a start may take; an empty server needs 20 ms, one on a busy machine much longer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long an orderly stop may take: above the 10 s that a primary waits for its replicas.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How often a taken port is answered with another one.
const PORT_TRIES: u32 = 20;

/// A running server.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    port: u16,
    tls: bool,
    /// Before `dir`: the process goes before its directory does.
    process: Option<Guarded>,
    dir: TempDir,
}

/// Why a launch did not end in a ready server.
enum Launch {
    Ready(Guarded),
    PortTaken,
}

// === impl Server ===

impl Server {
    /// Starts a server with `extra` configuration lines, such as `"maxmemory 10mb"`.
    ///
    /// # Errors
    /// If the binary is not cached, or the server ends or does not answer; with its log.
    pub fn start(kind: Kind, extra: &[&str]) -> Result<Self> {
        Self::start_with(kind, false, |port| {
            let mut lines = vec![format!("port {port}")];
            lines.extend(extra.iter().map(|&line| line.to_owned()));
            lines
        })
    }

    /// Starts a server whose TCP port speaks TLS only and shows the certificate `shown`. It asks
    /// clients for none unless `extra` says `"tls-auth-clients yes"`.
    ///
    /// # Errors
    /// As [`Server::start`]; or if the binary is built without TLS (all but Redis 7.0).
    pub fn start_tls(
        kind: Kind,
        files: &TlsFiles,
        shown: ServerCert,
        extra: &[&str],
    ) -> Result<Self> {
        if !kind.has_tls() {
            bail!("the binary of {kind} is built without TLS");
        }
        let (cert, key) = files.server(shown);
        Self::start_with(kind, true, |port| {
            let mut lines = vec![
                "port 0".to_owned(),
                format!("tls-port {port}"),
                format!("tls-cert-file \"{}\"", cert.display()),
                format!("tls-key-file \"{}\"", key.display()),
                format!("tls-ca-cert-file \"{}\"", files.ca().display()),
                "tls-auth-clients no".to_owned(),
            ];
            lines.extend(extra.iter().map(|&line| line.to_owned()));
            lines
        })
    }

    fn start_with(kind: Kind, tls: bool, lines: impl Fn(u16) -> Vec<String>) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("kf-server-").tempdir()?;
        let mut server = Self { kind, port: 0, tls, process: None, dir };
        for _ in 0..PORT_TRIES {
            server.port = port::free()?;
            server.write_config(&lines(server.port))?;
            match server.launch()? {
                Launch::Ready(process) => {
                    server.process = Some(process);
                    return Ok(server);
                }
                Launch::PortTaken => {}
            }
        }
        bail!("{kind}: {PORT_TRIES} free ports in a row were taken before the server had them")
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its TCP address.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its address as an endpoint of keyferry.
    pub fn uri(&self) -> String {
        if self.tls {
            format!("rediss://localhost:{}", self.port)
        } else {
            format!("redis://127.0.0.1:{}", self.port)
        }
    }

    /// Its unix socket, which never speaks TLS.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Its directory: configuration, log, dump file.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::pid)
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// If it does not run.
    pub fn client(&self) -> Result<Client> {
        Client::unix(&self.socket())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Stops it in an orderly way (SIGTERM), as an operator would.
    ///
    /// # Errors
    /// If it does not run or does not end.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("stop a server that does not run")?;
        process.signal(Signal::TERM)?;
        process.wait(STOP_LIMIT).map(drop)
    }

    /// Kills it (SIGKILL), as a power cut would.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("kill a server that does not run")?;
        process.kill().map(drop)
    }

    /// Starts it again on the same port and directory, after killing it if it runs. What it wrote
    /// to its dump or append-only file before, it loads.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.kill()?;
        }
        let what = format!("port {} is free again", self.port);
        let process = eventually(START_LIMIT, what, || {
            Ok(match self.launch()? {
                Launch::Ready(process) => Some(process),
                Launch::PortTaken => None,
            })
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Freezes it (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&self) -> Result<()> {
        self.running()?.signal(Signal::STOP)
    }

    /// Ends a [`Server::pause`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&self) -> Result<()> {
        self.running()?.signal(Signal::CONT)
    }

    fn running(&self) -> Result<&Guarded> {
        self.process.as_ref().context("the server does not run")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn write_config(&self, extra: &[String]) -> Result<()> {
        let dir = self.dir.path().display();
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("dir \"{dir}\""),
            format!("unixsocket \"{dir}/socket\""),
            format!("logfile \"{dir}/log\""),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            // A replica is served at once: a test has no use for the wait for a second one.
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        if self.kind.at_least(7, 0) {
            // Tests may ask for DEBUG, as they could before 7.0 without asking.
            lines.push("enable-debug-command yes".to_owned());
        }
        lines.extend_from_slice(extra);
        let path = self.dir.path().join("server.conf");
        fs::write(&path, lines.join("\n") + "\n").context("write the server's configuration")
    }

    fn launch(&self) -> Result<Launch> {
        let binary = self.kind.binary()?;
        // The log of an earlier start would be taken for this one's.
        let logged = self.log().len();
        let output = fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = spawn::guarded(&binary);
        command
            .arg(self.dir.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        fs::remove_file(self.socket()).ok();
        let mut process = spawn::spawn(command, &binary)?;
        let what = format!("{} on port {} answers", self.kind, self.port);
        let ended = eventually(START_LIMIT, what, || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Some(status)));
            }
            // Its socket comes after its port: before, whoever was quicker to the port would answer.
            Ok((self.socket().exists() && self.answers()).then_some(None))
        })?;
        let Some(status) = ended else { return Ok(Launch::Ready(process)) };
        let log = self.log().get(logged..).unwrap_or_default().to_owned();
        if log.contains("Address already in use") || log.contains("Could not create server TCP") {
            return Ok(Launch::PortTaken);
        }
        bail!("{} ended with {} at its start:\n{log}", self.kind, spawn::how(status))
    }

    /// Whether it answers commands; a refusal (a password, say) is an answer, loading is not.
    fn answers(&self) -> bool {
        let reply = self.client().and_then(|mut client| {
            client.set_reply_limit(Some(Duration::from_secs(1)))?;
            client.ask(&["PING"])
        });
        match reply {
            Ok(Value::Error(text)) => !text.starts_with("LOADING"),
            Ok(_) => true,
            Err(_) => false,
        }
    }
}
