//! A cluster of primaries without replicas: the slots spread evenly, in order, over as many servers.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::Client;
use crate::dataset::Dataset;
use crate::deadline::eventually;
use crate::kind::Kind;
use crate::server::Server;

/// How long the nodes may take to agree: they talk once a second, and the machine may be busy.
const AGREEMENT_LIMIT: Duration = Duration::from_secs(90);
/// Of each node.
const SETTINGS: [&str; 2] = ["cluster-enabled yes", "cluster-require-full-coverage no"];
/// How many slots there are.
const SLOTS: usize = 16_384;

/// Running nodes that have all slots together.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts so many primaries and waits until each of them serves.
    ///
    /// # Errors
    /// If a server does not start, or the nodes do not agree.
    pub fn start(kind: Kind, primaries: usize) -> Result<Self> {
        let nodes = (0..primaries).map(|_| Server::start(kind, &SETTINGS));
        let cluster = Self { nodes: nodes.collect::<Result<_>>()? };
        for (number, node) in cluster.nodes.iter().enumerate() {
            let mut words = vec!["CLUSTER".to_owned(), "ADDSLOTS".to_owned()];
            words.extend(slots_of(number, primaries).map(|slot| slot.to_string()));
            node.client()?.cmd(&words)?;
        }
        let first = cluster.nodes.first().context("a node")?.port().to_string();
        for node in cluster.nodes.iter().skip(1) {
            node.client()?.cmd(&["CLUSTER", "MEET", "127.0.0.1", &first])?;
        }
        eventually(AGREEMENT_LIMIT, "the nodes of the cluster agree", || {
            let mut agree = true;
            for node in &cluster.nodes {
                agree &= knows_all(&mut node.client()?, primaries)?;
            }
            Ok(agree.then_some(()))
        })?;
        Ok(cluster)
    }

    /// A replica of a node, which has what that has and may take its place.
    ///
    /// # Errors
    /// If it does not start, or is no replica after a while.
    pub fn replica_of(&self, number: usize) -> Result<Server> {
        let node = self.nodes.get(number).context("a node")?;
        let replica = Server::start(node.kind(), &SETTINGS)?;
        let (mut client, port) = (replica.client()?, node.port().to_string());
        client.cmd(&["CLUSTER", "MEET", "127.0.0.1", &port])?;
        let id = node.client()?.cmd(&["CLUSTER", "MYID"])?.text()?;
        eventually(AGREEMENT_LIMIT, "it knows its primary", || {
            Ok((!client.ask(&["CLUSTER", "REPLICATE", &id])?.is_error()).then_some(()))
        })?;
        eventually(AGREEMENT_LIMIT, "it is a replica, and all know it", || {
            let mut agree = client.info("replication")?.contains("master_link_status:up");
            for node in &self.nodes {
                let known = node.client()?.cmd(&["CLUSTER", "INFO"])?.text()?;
                agree &= known.contains(&format!("cluster_known_nodes:{}\r", self.nodes.len() + 1));
            }
            Ok(agree.then_some(()))
        })?;
        Ok(replica)
    }

    /// The nodes, in the order of their slots.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// What all nodes hold.
    ///
    /// # Errors
    /// If one does not answer.
    pub fn dataset(&self) -> Result<Dataset> {
        let clients = self.nodes.iter().map(Server::client);
        Dataset::read_all(&mut clients.collect::<Result<Vec<_>>>()?)
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// If no node answers.
    pub fn slot_of(&self, key: &str) -> Result<usize> {
        let mut client = self.nodes.first().context("a node")?.client()?;
        let slot = client.cmd(&["CLUSTER", "KEYSLOT", key])?;
        slot.int().map(|slot| usize::try_from(slot).unwrap_or_default())
    }

    /// So many tags, `{0}` and its like, of slots that the node has: a key with one of them is its.
    ///
    /// # Errors
    /// If no node answers.
    pub fn tags(&self, node: usize, count: usize) -> Result<Vec<String>> {
        let slots = slots_of(node, self.nodes.len());
        let mut tags = Vec::new();
        for number in 0_u32.. {
            if tags.len() == count {
                return Ok(tags);
            }
            let tag = format!("{{{number}}}");
            if slots.contains(&self.slot_of(&tag)?) {
                tags.push(tag);
            }
        }
        bail!("there are not so many tags")
    }
}

/// The slots of a node of so many.
fn slots_of(number: usize, nodes: usize) -> Range<usize> {
    SLOTS * number / nodes..SLOTS * (number + 1) / nodes
}

/// Whether a node serves, and knows all others.
fn knows_all(client: &mut Client, nodes: usize) -> Result<bool> {
    let info = client.cmd(&["CLUSTER", "INFO"])?.text()?;
    let known = format!("cluster_known_nodes:{nodes}\r");
    let covered = format!("cluster_slots_ok:{SLOTS}\r");
    Ok(info.contains("cluster_state:ok\r") && info.contains(&known) && info.contains(&covered))
}
