//! The topics of a stream: made where they are missing, checked where they are not.

mod check;
mod compare;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};
use runtime::Clock;

use super::client::{Quiet, drop_aside};
use super::config::KafkaConfig;
use super::record::MAX_MESSAGE_BYTES;
use super::rights::{Asked, said, settings_error};
use super::settings::{self, Role};
use crate::OpenError;

pub use self::compare::TopicFacts;

/// How long brokers have to answer; also how long a start waits for a cluster that is not there.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long the first question waits before it is looked at what the client went through; each later one twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How many events of a client are heard after a question: some tries to connect, and what is logged of them.
const TROUBLES: usize = 5000;
/// How often a topic that was just made is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Everybody sees a new topic after some milliseconds; in this time at the latest.
const APPEAR_LOOKS: usize = 1000;

/// Asks the brokers about topics.
pub(super) struct Topics {
    admin: Option<AdminClient<Quiet>>,
    /// An administrator does not hear what goes wrong on its connections; this one does.
    asker: Arc<BaseConsumer<Quiet>>,
    config: KafkaConfig,
    trouble: Quiet,
    clock: Arc<dyn Clock>,
}

/// What has become of a topic that has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ensured {
    /// This has made it; of the stream's topics that of notes counts.
    pub(super) is_new: bool,
    /// How many partitions it has; of the stream's topics its own.
    pub(super) partitions: usize,
}

/// What is there of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// So many partitions have a leader, of so many.
    Topic {
        led: usize,
        partitions: usize,
    },
}

// === impl Topics ===

impl Topics {
    pub(super) fn new(config: &KafkaConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let trouble = Quiet::new(config);
        let made = settings::of(Role::Admin, config).create_with_context(trouble.clone());
        let asker = Arc::new(made.map_err(|error| settings_error(&error))?);
        let admin = Some(administrator(config).map_err(|error| settings_error(&error))?);
        Ok(Self { admin, asker, config: config.clone(), trouble, clock })
    }

    fn admin(&self) -> &AdminClient<Quiet> {
        self.admin.as_ref().expect("it is taken by drop only")
    }

    /// Makes what is missing and checks what is there, but for the number of partitions of the stream's own topic.
    pub(super) async fn ensure(&self) -> Result<Ensured, OpenError> {
        let meta_topic = self.config.meta_topic();
        let (own, notes) = tokio::join!(self.ensure_one(&self.config.topic, None), async {
            self.ensure_one(&meta_topic, Some(1)).await
        });
        Ok(Ensured { partitions: own?.partitions, is_new: notes?.is_new })
    }

    /// The same without a topic of notes; true when it is new.
    pub(super) async fn ensure_alone(&self) -> Result<bool, OpenError> {
        let wanted = Some(usize::from(self.config.partitions));
        Ok(self.ensure_one(&self.config.topic, wanted).await?.is_new)
    }

    /// Makes the stream's own topic if it is missing, and looks at nothing else of it.
    pub(super) async fn make_missing(&self) -> Result<(), OpenError> {
        let (topic, partitions) = (&self.config.topic, usize::from(self.config.partitions));
        self.make_where_missing(topic, partitions).await.map(drop)
    }

    /// `wanted` is how many partitions it has to have; `None`: as many as it has.
    async fn ensure_one(&self, topic: &str, wanted: Option<usize>) -> Result<Ensured, OpenError> {
        let config = &self.config;
        let count = wanted.unwrap_or(usize::from(config.partitions));
        match self.find(topic).await? {
            Found::Nothing if !config.create => Err(OpenError::Missing {
                stream: config.stream.clone(),
                what: format!("topic {topic} does not exist at {}", config.brokers),
            }),
            Found::Nothing if self.make(topic, count).await? => {
                self.appears(topic, Some(count)).await?;
                Ok(Ensured { is_new: true, partitions: count })
            }
            // Somebody else is making it, with as many partitions as was told there.
            Found::Nothing | Found::Topic { partitions: 0, .. } => {
                let partitions = self.appears(topic, None).await?;
                self.agree(topic, wanted, partitions)
            }
            Found::Topic { partitions, .. } => {
                let ensured = self.agree(topic, wanted, partitions)?;
                self.check(topic, partitions).await?;
                Ok(ensured)
            }
        }
    }

    /// A topic that was there has as many partitions as are wanted.
    fn agree(
        &self,
        topic: &str,
        wanted: Option<usize>,
        partitions: usize,
    ) -> Result<Ensured, OpenError> {
        if let Some(wanted) = wanted.filter(|wanted| partitions != *wanted) {
            return Err(self.mismatch(format!(
                "topic {topic} at {} has {partitions} partition(s), and may have {wanted} only: make it anew",
                self.config.brokers
            )));
        }
        Ok(Ensured { is_new: false, partitions })
    }

    /// Looks for the topic of requests, and makes it if it is missing and this is who listens.
    pub(super) async fn ensure_requests(&self, listens: bool) -> Result<(), OpenError> {
        let (config, topic) = (&self.config, self.config.requests_topic());
        let what = match self.find(&topic).await? {
            Found::Topic { partitions: 0 | 1, .. } => return Ok(()),
            Found::Topic { partitions, .. } => {
                format!("has {partitions} partitions, and may have one only: make it anew")
            }
            Found::Nothing if listens && config.create => {
                self.make(&topic, 1).await?;
                return self.appears(&topic, Some(1)).await.map(drop);
            }
            Found::Nothing if listens => {
                "does not exist, and may not be made: make it, with 1 partition, or allow keyferry to"
                    .to_owned()
            }
            Found::Nothing => {
                "does not exist: capture makes it when it starts, so start capture, or make it, with 1 partition"
                    .to_owned()
            }
        };
        Err(self.mismatch(format!("topic {topic} at {} {what}", config.brokers)))
    }

    async fn find(&self, topic: &str) -> Result<Found, OpenError> {
        let (asker, name) = (Arc::clone(&self.asker), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = metadata_of(&asker, &name)?;
            let found = metadata.topics().iter().find(|topic| topic.name() == name);
            let error = found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
            let led = |topic: &MetadataTopic| {
                topic.partitions().iter().filter(|partition| partition.leader() >= 0).count()
            };
            let sizes = found.map(|topic| (led(topic), topic.partitions().len()));
            Ok((error, sizes))
        });
        let answer: Result<_, KafkaError> = asked.await.expect("asking does not panic");
        let denied =
            |error: &KafkaError| Asked::Describe(topic).open_error(error, &self.config.place());
        match answer.map_err(|error| self.unanswered(&error, topic))? {
            (
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic),
                _,
            )
            | (None, None) => Ok(Found::Nothing),
            // It is being made.
            (Some(RDKafkaErrorCode::LeaderNotAvailable), _) => {
                Ok(Found::Topic { led: 0, partitions: 0 })
            }
            (Some(code), _) => Err(denied(&KafkaError::MetadataFetch(code))),
            (None, Some((led, partitions))) => Ok(Found::Topic { led, partitions }),
        }
    }

    /// True when this made it, false when somebody was quicker.
    async fn make(&self, topic: &str, partitions: usize) -> Result<bool, OpenError> {
        let copies = self.config.replication_factor.map_or(-1, i32::from);
        let partitions = i32::try_from(partitions).expect("a u16");
        let mut wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
        let settings = self.settings_of(topic);
        for (name, value) in &settings {
            wanted = wanted.set(name, value);
        }
        let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
        let made =
            self.admin().create_topics([&wanted], &options.operation_timeout(Some(ANSWER_LIMIT)));
        let made = made.await.map_err(|error| self.unanswered(&error, topic))?;
        match made.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => {
                let error = KafkaError::AdminOp(code);
                match Asked::Create(topic).open_error(&error, &self.config.place()) {
                    OpenError::Unreachable { .. } => Err(OpenError::Settings {
                        what: format!(
                            "topic {topic} cannot be made at {}: {}",
                            self.config.brokers,
                            said(&error)
                        ),
                    }),
                    denied => Err(denied),
                }
            }
            _ => Ok(true),
        }
    }

    fn settings_of(&self, topic: &str) -> Vec<(&'static str, String)> {
        let config = &self.config;
        let mut settings = vec![];
        if let Some(copies) = config.min_insync_replicas {
            settings.push(("min.insync.replicas", copies.to_string()));
        }
        if topic == config.topic {
            // Records are changes, not states: compaction would lose some.
            settings.push(("cleanup.policy", "delete".to_owned()));
            settings.push(("message.timestamp.type", "CreateTime".to_owned()));
            settings.push(("max.message.bytes", MAX_MESSAGE_BYTES.to_string()));
            settings.extend(config.retention_ms.map(|ms| ("retention.ms", ms.to_string())));
            settings
                .extend(config.retention_bytes.map(|bytes| ("retention.bytes", bytes.to_string())));
        } else if topic == config.requests_topic() {
            settings.push(("cleanup.policy", "delete".to_owned()));
            // Who still wants something asks again within seconds.
            settings.push(("retention.ms", "3600000".to_owned()));
        } else {
            settings.push(("cleanup.policy", "compact".to_owned()));
            // Signs of life come twice a second and are worth nothing later; a start reads all that is left.
            settings.push(("segment.bytes", "1048576".to_owned()));
            settings.push(("min.cleanable.dirty.ratio", "0.1".to_owned()));
            // Two claims of one number are told apart by their order, so both have to stay for a while.
            settings.push(("min.compaction.lag.ms", "60000".to_owned()));
        }
        settings
    }

    /// Waits until all partitions of a new topic are led, and says how many there are; none wanted: as many as who makes it
    /// was told.
    async fn appears(&self, topic: &str, wanted: Option<usize>) -> Result<usize, OpenError> {
        let is_whole = |led, partitions| {
            led == partitions && partitions > 0 && wanted.is_none_or(|wanted| partitions == wanted)
        };
        for _ in 0..APPEAR_LOOKS {
            match self.find(topic).await? {
                Found::Topic { led, partitions } if is_whole(led, partitions) => {
                    return Ok(partitions);
                }
                Found::Topic { .. } | Found::Nothing => self.clock.sleep(LOOK_EVERY).await,
            }
        }
        Err(OpenError::Unreachable {
            place: self.config.place(),
            why: format!("topic {topic} was made and does not appear"),
        })
    }

    fn mismatch(&self, what: String) -> OpenError {
        OpenError::Mismatch { stream: self.config.stream.clone(), what }
    }

    /// The brokers did not answer; what the client went through tells more than that the time is up.
    fn unanswered(&self, error: &KafkaError, topic: &str) -> OpenError {
        match Asked::Describe(topic).open_error(error, &self.config.place()) {
            OpenError::Unreachable { place, why } => {
                if let Some(why) = self.trouble.refusal() {
                    return OpenError::Refused { place, why };
                }
                let why = self
                    .trouble
                    .trouble()
                    .map_or(why.clone(), |trouble| format!("{why} ({trouble})"));
                OpenError::Unreachable { place, why }
            }
            denied => denied,
        }
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        drop_aside((self.admin.take(), Arc::clone(&self.asker)));
    }
}

/// What brokers say of a topic, on a thread that may block. Who is not let in hears so before the time is up.
fn metadata_of(asker: &BaseConsumer<Quiet>, topic: &str) -> Result<Metadata, KafkaError> {
    let (mut left, mut wait) = (ANSWER_LIMIT, FIRST_LOOK);
    loop {
        let now = wait.min(left);
        let asked = asker.fetch_metadata(Some(topic), now);
        // What went wrong meanwhile is told to the context.
        (0..TROUBLES).for_each(|_| drop(asker.poll(Duration::ZERO)));
        left -= now;
        if asked.is_ok() || left.is_zero() || asker.context().refusal().is_some() {
            return asked;
        }
        wait *= 2;
    }
}

/// A client for orders. Made for each, since it does not serve what its connections have to tell, which piles up.
pub(super) fn administrator(config: &KafkaConfig) -> Result<AdminClient<Quiet>, KafkaError> {
    settings::of(Role::Admin, config).create_with_context(Quiet::new(config))
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaRespErr as Code;
    use runtime::SystemClock;

    use super::*;

    #[tokio::test]
    async fn a_topic_that_somebody_else_is_just_making_is_waited_for() {
        let cluster = MockCluster::new(1).unwrap();
        let config = KafkaConfig::new(cluster.bootstrap_servers(), "shop", 3);
        cluster.create_topic(&config.topic, 3, 1).unwrap();
        cluster.topic_error(&config.topic, Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE).unwrap();
        let topics = Topics::new(&config, Arc::new(SystemClock::new())).unwrap();
        let making = async {
            // Long enough that the other has looked, too.
            for _ in 0..20 {
                let found = topics.find(&config.topic).await.unwrap();
                assert_eq!(found, Found::Topic { led: 0, partitions: 0 });
            }
            cluster.topic_error(&config.topic, Code::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        };
        let (ensured, ()) = tokio::join!(topics.ensure_alone(), making);
        assert!(matches!(ensured, Ok(false)), "{ensured:?}");
    }
}
