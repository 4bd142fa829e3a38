//! What an operator does about the topics of a stream: make them, compare them with what is wanted, look at them.

use std::sync::Arc;
use std::time::Duration;

use runtime::Clock;

use super::config::KafkaConfig;
use super::notes::{FORMAT, Says, Seat, StreamNote};
use super::topics::{TopicFacts, Topics};
use super::{KafkaJournal, Purpose};
use crate::{OpenError, Writer};

/// The ending of the topic of dead letters.
pub const DEAD_LETTERS: &str = "dead";

/// What is noted about a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFacts {
    /// Form of the notes and of the records' headers.
    pub format: u32,
    /// Drawn when the stream was made.
    pub incarnation: u64,
    /// How many partitions it has.
    pub partitions: u16,
    /// How records are spread over them.
    pub placement: String,
    /// Its writers side by side, as many as there ever were.
    pub writers: Vec<WriterFacts>,
}

/// What is noted about one writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterFacts {
    /// Which.
    pub writer: Writer,
    /// Who holds it, if anybody ever did.
    pub lease: Option<LeaseFacts>,
    /// Where its holders began: number, and the offset in each partition.
    pub fences: Vec<(u64, Vec<u64>)>,
}

/// Who holds a writer of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// Grows with every holder.
    pub number: u64,
    /// What it calls itself.
    pub holder: String,
    /// Whether it has left in good order.
    pub is_released: bool,
    /// How long ago it said something, by this machine's clock.
    pub age: Duration,
}

/// The topics of one stream.
pub struct StreamTopics {
    config: KafkaConfig,
    clock: Arc<dyn Clock>,
}

// === impl StreamTopics ===

impl StreamTopics {
    /// Those of the stream that these settings describe.
    ///
    /// # Errors
    /// If the settings cannot be.
    pub fn new(config: KafkaConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let problems = config.problems();
        match problems.is_empty() {
            true => Ok(Self { config, clock }),
            false => Err(OpenError::Settings { what: problems.join("; ") }),
        }
    }

    /// Makes the topics that are missing, and notes what the stream is. Each topic, and whether it was made.
    ///
    /// # Errors
    /// If the brokers cannot be asked, a right is missing, or what is there is another stream.
    pub async fn create(&self) -> Result<Vec<(String, bool)>, OpenError> {
        let mut made = Vec::new();
        for (topics, topic, partitions) in self.all()? {
            let is_made = topics.make_where_missing(&topic, partitions).await?;
            made.push((topic, is_made));
        }
        self.journal(true).await?;
        Ok(made)
    }

    /// Everything in which the topics are other than wanted, each a sentence.
    ///
    /// # Errors
    /// If the brokers cannot be asked, a right is missing, or what is there is another stream.
    pub async fn differences(&self) -> Result<Vec<String>, OpenError> {
        let noted = self.noted().await?;
        let mut differences = Vec::new();
        for (topics, topic, partitions) in self.all()? {
            let noted = noted.filter(|_| topic == self.config.topic);
            differences.extend(topics.differences(&topic, partitions, noted).await?);
        }
        if differences.is_empty() {
            self.journal(false).await?;
        }
        Ok(differences)
    }

    /// The topics that are there, and the stream as it is.
    ///
    /// # Errors
    /// If the brokers cannot be asked, a right is missing, or there is no such stream.
    pub async fn describe(&self) -> Result<(Vec<TopicFacts>, KafkaJournal), OpenError> {
        let journal =
            KafkaJournal::open_as_it_is(self.config.clone(), Arc::clone(&self.clock)).await?;
        let mut found = Vec::new();
        for (topics, topic, _) in self.all()? {
            found.extend(topics.facts(&topic).await?);
        }
        Ok((found, journal))
    }

    /// How many partitions the stream was made with; `None`: it was not, or is another one.
    async fn noted(&self) -> Result<Option<usize>, OpenError> {
        let config = self.config.clone();
        match KafkaJournal::open_as_it_is(config, Arc::clone(&self.clock)).await {
            Ok(journal) => Ok(Some(journal.count())),
            Err(OpenError::Missing { .. } | OpenError::Mismatch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn journal(&self, create: bool) -> Result<KafkaJournal, OpenError> {
        let config = KafkaConfig { create, ..self.config.clone() };
        KafkaJournal::open(config, Arc::clone(&self.clock)).await
    }

    /// Each topic, and how many partitions it has to have.
    fn all(&self) -> Result<Vec<(Arc<Topics>, String, usize)>, OpenError> {
        let config = &self.config;
        let topics = Arc::new(Topics::new(config, Arc::clone(&self.clock))?);
        let beside = config.beside(DEAD_LETTERS);
        let dead = Arc::new(Topics::new(&beside, Arc::clone(&self.clock))?);
        let of_the_stream = [
            (config.topic.clone(), usize::from(config.partitions)),
            (config.meta_topic(), 1),
            (config.requests_topic(), 1),
        ];
        let mut all: Vec<_> = of_the_stream
            .into_iter()
            .map(|(topic, partitions)| (Arc::clone(&topics), topic, partitions))
            .collect();
        all.push((dead, beside.topic, 1));
        Ok(all)
    }
}

// === impl KafkaJournal ===

impl KafkaJournal {
    /// Opens a stream that exists, with as many partitions as it has.
    ///
    /// # Errors
    /// As [`KafkaJournal::open`], and where there is none.
    pub async fn open_as_it_is(
        mut config: KafkaConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        config.create = false;
        config.any_partitions = true;
        config.holds_to.clear();
        Self::open_for(Purpose::Look, config, clock).await
    }

    /// What is noted about it.
    pub fn facts(&self) -> StreamFacts {
        let now_ms = self.clock.now_ms();
        self.following.follower().look(|known| {
            let state = &known.state;
            let unknown = StreamNote {
                format: FORMAT,
                stream: self.config.stream.clone(),
                partitions: self.config.partitions,
                incarnation: self.incarnation,
                placement: self.config.placement.clone(),
            };
            let note = state.stream.clone().unwrap_or(unknown);
            let facts_of = |(writer, seat): (Writer, &Seat)| {
                let age_ms = now_ms.saturating_sub(known.heard(writer).at_ms);
                let lease = seat.lease.as_ref().map(|lease| LeaseFacts {
                    number: lease.number,
                    holder: lease.holder.clone(),
                    is_released: lease.says == Says::Release,
                    age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)),
                });
                let fences = seat.fences.all().map(|fence| (fence.lease, fence.at.clone()));
                WriterFacts { writer, lease, fences: fences.collect() }
            };
            StreamFacts {
                format: note.format,
                incarnation: note.incarnation,
                partitions: note.partitions,
                placement: note.placement,
                writers: state.seats().map(facts_of).collect(),
            }
        })
    }
}
