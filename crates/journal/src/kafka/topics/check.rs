//! A topic that exists, before it is used: settings that would lose records, and those that somebody insists on.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use runtime::{Class, Classified};

use super::super::config::HeldTo;
use super::super::rights::Asked;
use super::super::{ASK_AGAIN, ASK_LIMIT};
use super::{ANSWER_LIMIT, Found, MAX_MESSAGE_BYTES, Topics};
use crate::OpenError;

/// How often a topic's settings are asked for that are not told.
const TRIES: usize = 10;

// === impl Topics ===

impl Topics {
    /// Whether a topic that exists can be used.
    pub(super) async fn check(&self, topic: &str, partitions: usize) -> Result<(), OpenError> {
        let settings = self.settings_at(topic).await?;
        let value = |name: &str| settings.get(name).map(String::as_str);
        let policy = value("cleanup.policy").unwrap_or_default();
        let wanted = if topic == self.config.topic { "delete" } else { "compact" };
        if !policy.is_empty() && policy != wanted {
            return Err(self.mismatch(format!(
                "topic {topic} at {} has cleanup.policy={policy}, which would lose records: set it to {wanted}",
                self.config.brokers
            )));
        }
        let limit = value("max.message.bytes").and_then(|value| value.parse().ok());
        if topic == self.config.topic && limit.is_some_and(|limit: usize| limit < MAX_MESSAGE_BYTES)
        {
            return Err(self.mismatch(format!(
                "topic {topic} at {} has max.message.bytes={}, which is too little for the largest record: set it \
                 to {MAX_MESSAGE_BYTES} or more",
                self.config.brokers,
                limit.unwrap_or_default()
            )));
        }
        self.check_held(topic, partitions, &settings).await
    }

    /// Whether a topic has what somebody insists on.
    async fn check_held(
        &self,
        topic: &str,
        partitions: usize,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), OpenError> {
        let config = &self.config;
        let holds_to = |what: HeldTo| config.holds_to.contains(&what);
        let copies = config.replication_factor.filter(|_| holds_to(HeldTo::ReplicationFactor));
        if let Some(wanted) = copies.map(usize::from) {
            // More of them do no harm, and there are more while partitions move.
            let copies = self.copies(topic).await?;
            if copies < wanted {
                return Err(self.mismatch(format!(
                    "topic {topic} at {} has {copies} copies of each partition, {wanted} are wanted \
                     (kafka.replication_factor): change it with kafka-reassign-partitions.sh, or leave the option out",
                    config.brokers
                )));
            }
        }
        for (name, wanted) in self.settings_of(topic) {
            let (held, option) = match name {
                "min.insync.replicas" => (HeldTo::MinInsyncReplicas, "kafka.min_insync_replicas"),
                "retention.ms" => (HeldTo::RetentionMs, "journal.retention_age"),
                // A share of the whole, which with another number of partitions is another one.
                "retention.bytes" if partitions == usize::from(config.partitions) => {
                    (HeldTo::RetentionBytes, "journal.retention_bytes")
                }
                _ => continue,
            };
            let differs = settings.get(name).filter(|value| **value != wanted);
            if let Some(value) = differs.filter(|_| holds_to(held)) {
                return Err(self.mismatch(format!(
                    "topic {topic} at {0} has {name}={value}, {wanted} is wanted ({option}): kafka-configs.sh \
                     --bootstrap-server {0} --alter --entity-type topics --entity-name {topic} --add-config \
                     {name}={wanted}, or leave the option out",
                    config.brokers
                )));
            }
        }
        Ok(())
    }

    /// A topic's settings, asked for again while they are not told: brokers that just start or move may not.
    pub(super) async fn settings_at(
        &self,
        topic: &str,
    ) -> Result<BTreeMap<String, String>, OpenError> {
        let began = self.clock.monotonic();
        let mut last = None;
        for _ in 0..TRIES {
            match self.settings_told(topic).await {
                Ok(settings) if !settings.is_empty() => return Ok(settings),
                Ok(_) => last = None,
                Err(error) if error.class() == Class::Retry => last = Some(error),
                Err(error) => return Err(error),
            }
            if self.clock.monotonic().saturating_sub(began) >= ASK_LIMIT {
                break;
            }
            self.clock.sleep(ASK_AGAIN).await;
        }
        match last {
            Some(error) => Err(error),
            None => Err(self.untold(topic).await?),
        }
    }

    async fn settings_told(&self, topic: &str) -> Result<BTreeMap<String, String>, OpenError> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
        let asked = [ResourceSpecifier::Topic(topic)];
        let answer = self.admin().describe_configs(&asked, &options).await;
        let answer = answer.map_err(|error| self.unanswered(&error, topic))?;
        let denied = |code| {
            let asked = Asked::DescribeConfigs(topic);
            asked.open_error(&KafkaError::AdminOp(code), &self.config.place())
        };
        let resource = answer.into_iter().next().transpose().map_err(denied)?;
        let entries = resource.map(|resource| resource.entries).unwrap_or_default();
        Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
    }

    /// Why settings are not told. The library leaves out the code of a refusal, and a topic always has some to tell: where
    /// nothing else is wrong with it, it is the right that is missing.
    async fn untold(&self, topic: &str) -> Result<OpenError, OpenError> {
        let why = match self.find(topic).await? {
            Found::Topic { led, partitions } if led == partitions && led > 0 => {
                let error = KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed);
                return Ok(Asked::DescribeConfigs(topic).open_error(&error, &self.config.place()));
            }
            Found::Topic { led, partitions } => {
                format!("{led} of {partitions} partitions of topic {topic} have a leader")
            }
            Found::Nothing => format!("topic {topic} is not told of"),
        };
        Ok(OpenError::Unreachable { place: self.config.place(), why })
    }
}
