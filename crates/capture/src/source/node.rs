//! A node of a cluster by its own words: which it is, and which slots it has.

use redis_io::Connection;
use wire::slot::{Slot, Slots};

use super::{IS_REPLICA, SourceError, answer};

/// A primary of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// What the nodes call it.
    pub id: String,
    /// The slots that it has.
    pub slots: Slots,
    /// All nodes that it knows, itself as well.
    pub known: Vec<String>,
}

// === impl Node ===

impl Node {
    /// Asks the node at the other end.
    ///
    /// # Errors
    /// When it does not answer, or cannot be read as a shard.
    pub(crate) async fn ask(connection: &mut Connection) -> Result<Self, SourceError> {
        let nodes = answer(connection, &["CLUSTER", "NODES"], "+cluster|nodes").await?;
        Self::read(&nodes)
    }

    /// The node that answered CLUSTER NODES.
    ///
    /// # Errors
    /// Why it cannot be read as a shard, and what to do.
    pub(super) fn read(answer: &str) -> Result<Self, SourceError> {
        let unfit = |what: &str| SourceError::Unfit(what.to_owned());
        let lines = answer.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let known = lines.clone().filter_map(|words| Some((*words.first()?).to_owned()));
        let myself = lines.clone().find(|words| {
            words.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"))
        });
        let Some(words) = myself else {
            return Err(unfit("it does not say in CLUSTER NODES which node it is"));
        };
        if words.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "slave")) {
            return Err(unfit(IS_REPLICA));
        }
        let (id, placed) = (words.first().unwrap_or(&""), words.get(8..).unwrap_or_default());
        let (moving, ranges): (Vec<&str>, Vec<&str>) =
            placed.iter().partition(|word| word.starts_with('['));
        if !moving.is_empty() {
            return Err(SourceError::Moved(format!(
                "slots are being moved between shards, which this version does not follow: {}. When all have moved, \
                 begin a new stream",
                moving.join(" ")
            )));
        }
        let found: Option<Vec<_>> = ranges.into_iter().map(range).collect();
        let Some(found) = found else {
            let what = format!("it has slots that cannot be read in CLUSTER NODES: {placed:?}");
            return Err(SourceError::Unfit(what));
        };
        match Slots::of(found) {
            none if none.is_empty() => Err(unfit(
                "it is a node of a cluster that has no slots: name a primary that has some",
            )),
            slots => Ok(Self { id: (*id).to_owned(), slots, known: known.collect() }),
        }
    }
}

fn range(word: &str) -> Option<(Slot, Slot)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let slot = |word: &str| word.parse().ok().and_then(Slot::new);
    Some((slot(first)?, slot(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: &str =
        "e7d1 127.0.0.1:30002@31002 master - 0 1426238316232 2 connected 5461-10922\n";

    fn read(placed: &str) -> Result<Node, SourceError> {
        let mine = "07c3 127.0.0.1:30004@31004,host myself,master - 0 0 1 connected";
        Node::read(&format!("{OTHER}{mine} {placed}\n"))
    }

    #[test]
    fn tells_its_own_slots() {
        let node = read("0-5460 10923 16383").unwrap();
        assert_eq!(
            (node.id.as_str(), node.slots.to_string().as_str()),
            ("07c3", "0-5460,10923,16383")
        );
        assert_eq!(node.known, ["e7d1", "07c3"]);
    }

    #[test]
    fn refuses_what_is_no_shard_at_rest() {
        for (placed, word) in [
            ("0-5460 [93->-e7d1]", "[93->-e7d1]"),
            ("0-5460 [77-<-e7d1]", "being moved"),
            ("", "no slots"),
            ("0-16384", "cannot be read"),
            ("x", "cannot be read"),
        ] {
            let refused = read(placed).unwrap_err().to_string();
            assert!(refused.contains(word), "{placed}: {refused}");
        }
        assert!(Node::read(OTHER).unwrap_err().to_string().contains("which node"));
        let replica =
            format!("{OTHER}07c3 127.0.0.1:30004@31004 myself,slave e7d1 0 0 1 connected\n");
        let refused = Node::read(&replica).unwrap_err().to_string();
        assert!(refused.contains("name the primary"), "{refused}");
    }
}
