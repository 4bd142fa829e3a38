//! What a broker of the tests is told: small, quick to start, and as strict as a real one.

use std::path::{Path, PathBuf};

use crate::tls::{ServerCert, TlsFiles};

/// The password mechanism of the users of [`Setup::user`].
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";

/// How a broker is to be. The default lets everybody do everything.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub(super) users: Vec<(String, String)>,
    pub(super) log_dir: Option<PathBuf>,
    tls: Option<(PathBuf, PathBuf, PathBuf)>,
    pub(super) is_long_lived: bool,
    properties: Vec<String>,
    replicas: u16,
}

/// Where a node listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) clients: u16,
    pub(super) controller: u16,
    /// Only where clients have to prove who they are.
    pub(super) admin: Option<u16>,
}

// === impl Setup ===

impl Setup {
    pub(super) fn of_a_cluster(nodes: u16) -> Self {
        Self { replicas: nodes.min(3), ..Self::default() }
    }

    /// Adds a user with a password (SCRAM-SHA-256). From then on clients have to log in, and may do nothing but what
    /// [`super::Broker::allow`] lets them.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Clients have to speak TLS.
    #[must_use]
    pub fn tls(mut self, files: &TlsFiles, shown: ServerCert) -> Self {
        let (certificate, key) = files.server(shown);
        self.tls = Some((certificate, key, files.ca()));
        self
    }

    /// Runs on Java as brokers do that have work for months: slow at first, then fast.
    #[must_use]
    pub fn long_lived(mut self) -> Self {
        self.is_long_lived = true;
        self
    }

    /// Keeps its data there, on a small file system say.
    #[must_use]
    pub fn log_dir(mut self, dir: &Path) -> Self {
        self.log_dir = Some(dir.to_owned());
        self
    }

    /// Adds a line to the settings, `name=value`.
    #[must_use]
    pub fn property(mut self, line: &str) -> Self {
        self.properties.push(line.to_owned());
        self
    }

    /// Whether clients come in through a listener with security, and the judge of a test through another.
    pub(super) fn is_secured(&self) -> bool {
        !self.users.is_empty() || self.tls.is_some()
    }

    /// The lines of `server.properties`.
    pub(super) fn lines(&self, id: u16, ports: Ports, voters: &[String], data: &Path) -> String {
        let replicas = self.replicas.max(1);
        let enough = replicas.min(2);
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            format!("node.id={id}"),
            format!("controller.quorum.voters={}", voters.join(",")),
            "controller.listener.names=CONTROLLER".to_owned(),
            format!("log.dirs={}", data.display()),
            format!("offsets.topic.replication.factor={replicas}"),
            // 50 would have to be made at the first commit.
            "offsets.topic.num.partitions=1".to_owned(),
            format!("transaction.state.log.replication.factor={replicas}"),
            format!("transaction.state.log.min.isr={enough}"),
            "transaction.state.log.num.partitions=1".to_owned(),
            format!("share.coordinator.state.topic.replication.factor={replicas}"),
            format!("share.coordinator.state.topic.min.isr={enough}"),
            // The first member of a group would wait for others.
            "group.initial.rebalance.delay.ms=0".to_owned(),
            // A topic that somebody misspelt must not come into being.
            "auto.create.topics.enable=false".to_owned(),
            // 128 MB of the heap otherwise.
            "log.cleaner.dedupe.buffer.size=4194304".to_owned(),
            "num.network.threads=2".to_owned(),
            "num.io.threads=2".to_owned(),
            "background.threads=2".to_owned(),
        ];
        if replicas > 1 {
            // One that does not answer is given up after 9 s otherwise. Where there is no other that would only make it
            // look away on a loaded machine.
            lines.push("broker.session.timeout.ms=3000".to_owned());
            lines.push("broker.heartbeat.interval.ms=500".to_owned());
        }
        lines.extend(self.listeners(ports));
        lines.extend(self.properties.iter().cloned());
        lines.join("\n") + "\n"
    }

    fn listeners(&self, ports: Ports) -> Vec<String> {
        let Ports { clients, controller, admin } = ports;
        let mut listeners = vec![
            format!("CLIENTS://127.0.0.1:{clients}"),
            format!("CONTROLLER://127.0.0.1:{controller}"),
        ];
        listeners.extend(admin.map(|port| format!("ADMIN://127.0.0.1:{port}")));
        let protocol = match (self.users.is_empty(), self.tls.is_some()) {
            (true, false) => "PLAINTEXT",
            (true, true) => "SSL",
            (false, false) => "SASL_PLAINTEXT",
            (false, true) => "SASL_SSL",
        };
        let between = if admin.is_some() { "ADMIN" } else { "CLIENTS" };
        let mut lines = vec![
            format!("listeners={}", listeners.join(",")),
            format!(
                "listener.security.protocol.map=CLIENTS:{protocol},CONTROLLER:PLAINTEXT,ADMIN:PLAINTEXT"
            ),
            format!("inter.broker.listener.name={between}"),
        ];
        if !self.users.is_empty() {
            lines.extend([
                format!("sasl.enabled.mechanisms={MECHANISM}"),
                format!("listener.name.clients.{}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;", MECHANISM.to_lowercase()),
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
                // Who comes in through the other listeners.
                "super.users=User:ANONYMOUS".to_owned(),
            ]);
        }
        lines
    }

    /// Certificate, key and authority of the listener for clients.
    pub(super) fn tls_files(&self) -> Option<[&Path; 3]> {
        let (certificate, key, authority) = self.tls.as_ref()?;
        Some([certificate, key, authority])
    }
}
