//! Topics against what is wanted of them: everything in which they differ, with what to do about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::super::identity::added;
use super::{ANSWER_LIMIT, Found, Topics};
use crate::OpenError;

/// What a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its name.
    pub topic: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// The smallest number of copies of any of them.
    pub replicas: usize,
    /// Its settings, by the names that Kafka's tools use.
    pub settings: BTreeMap<String, String>,
}

/// Where more than asked for is fine.
const AT_LEAST: &str = "max.message.bytes";

// === impl Topics ===

impl Topics {
    /// Makes a topic where it is missing; true when it was.
    pub(in super::super) async fn make_where_missing(
        &self,
        topic: &str,
        partitions: usize,
    ) -> Result<bool, OpenError> {
        let is_missing = self.find(topic).await? == Found::Nothing;
        if is_missing && self.make(topic, partitions).await? {
            self.appears(topic, Some(partitions)).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// What a topic is; `None`: it is not there.
    pub(in super::super) async fn facts(
        &self,
        topic: &str,
    ) -> Result<Option<TopicFacts>, OpenError> {
        let Found::Topic { partitions, .. } = self.find(topic).await? else { return Ok(None) };
        let replicas = self.copies(topic).await?;
        let settings = self.settings_at(topic).await?;
        Ok(Some(TopicFacts { topic: topic.to_owned(), partitions, replicas, settings }))
    }

    /// The smallest number of copies of a partition of a topic.
    pub(super) async fn copies(&self, topic: &str) -> Result<usize, OpenError> {
        let (asker, name) = (Arc::clone(&self.asker), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = asker.fetch_metadata(Some(&name), ANSWER_LIMIT)?;
            let found = metadata.topics().iter().find(|topic| topic.name() == name);
            let counts = found.map(|topic| {
                let copies = topic.partitions().iter().map(|partition| partition.replicas().len());
                copies.min().unwrap_or_default()
            });
            Ok(counts.unwrap_or_default())
        });
        let replicas: Result<usize, KafkaError> = asked.await.expect("asking does not panic");
        replicas.map_err(|error| self.unanswered(&error, topic))
    }

    /// Everything in which a topic is other than it would be made, each a sentence. `noted` is how many partitions a
    /// stream was made with whose own topic this is.
    pub(in super::super) async fn differences(
        &self,
        topic: &str,
        partitions: usize,
        noted: Option<usize>,
    ) -> Result<Vec<String>, OpenError> {
        let brokers = &self.config.brokers;
        let Some(found) = self.facts(topic).await? else {
            return Ok(vec![format!(
                "topic {topic} does not exist at {brokers}: make it (keyferry topics create)"
            )]);
        };
        let mut differences = Vec::new();
        let takes_any = self.config.any_partitions && topic == self.config.topic;
        if let Some(made) = noted.filter(|made| *made < found.partitions) {
            differences.push(added(&self.config, made, found.partitions));
        } else if found.partitions != partitions && !takes_any {
            differences.push(format!(
                "topic {topic} has {} partition(s), {partitions} are wanted: the number is fixed when a stream is made, \
                 so ask for {0} (--partitions), or name another stream",
                found.partitions
            ));
        }
        let copies = self.config.replication_factor.map(usize::from);
        if let Some(copies) = copies.filter(|copies| *copies != found.replicas) {
            differences.push(format!(
                "topic {topic} has {} copies of each partition, {copies} are wanted (kafka.replication_factor): change \
                 it with kafka-reassign-partitions.sh, or ask for what is there",
                found.replicas
            ));
        }
        for (name, wanted) in self.settings_of(topic) {
            let Some(value) = found.settings.get(name) else { continue };
            let number = |text: &str| text.parse::<i64>().ok();
            let is_enough = name == AT_LEAST && number(value) >= number(&wanted);
            if *value != wanted && !is_enough {
                differences.push(format!(
                    "topic {topic} has {name}={value}, {wanted} is wanted: kafka-configs.sh --bootstrap-server {brokers} \
                     --alter --entity-type topics --entity-name {topic} --add-config {name}={wanted}"
                ));
            }
        }
        Ok(differences)
    }
}
