//! Several brokers that form one cluster, each of them also a controller.

use anyhow::{Context, Result};

use super::node::Node;
use super::settings::Setup;

/// Running brokers, numbered from 0 here and from 1 in Kafka.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts so many brokers at once and waits for all.
    ///
    /// # Errors
    /// If one does not come up; with its log.
    pub fn start(count: u16) -> Result<Self> {
        let setup = Setup::of_a_cluster(count);
        let nodes: Result<Vec<Node>> = (1..=count).map(|id| Node::new(id, &setup)).collect();
        let mut cluster = Self { nodes: nodes? };
        let voters: Vec<String> = cluster.nodes.iter().map(Node::voter).collect();
        for node in &mut cluster.nodes {
            node.format(&voters, &setup)?;
        }
        for node in &mut cluster.nodes {
            node.launch()?;
        }
        for node in &mut cluster.nodes {
            node.wait()?;
        }
        Ok(cluster)
    }

    /// `host:port` of every broker.
    pub fn bootstrap(&self) -> String {
        let brokers: Vec<String> = self.nodes.iter().map(Node::bootstrap).collect();
        brokers.join(",")
    }

    /// Kills one (SIGKILL).
    ///
    /// # Errors
    /// If there is none, or it does not run.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.node(number)?.kill()
    }

    /// Starts one again on the same ports and data.
    ///
    /// # Errors
    /// If it does not come up; with its log.
    pub fn restart(&mut self, number: usize) -> Result<()> {
        self.node(number)?.restart()
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        self.nodes.get_mut(number).context("no broker of this number")
    }
}
