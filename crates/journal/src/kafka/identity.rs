//! Which stream it is: what is noted of it, against what is asked for and what is there.
//!
//! Guarantees: nobody uses a stream whose topic has another number of partitions than it was made with, or whose records
//! are gone while its notes remain: both would lose changes without a word.

use super::lease::random_number;
use super::notary::Notary;
use super::notes::{FORMAT, STREAM_KEY, StreamNote};
use super::rights::of_reader;
use super::{ASK_AGAIN, KafkaConfig, KafkaJournal, Purpose};
use crate::OpenError;

/// Polls of a twentieth of a second for the note that begins a stream.
const NOTE_POLLS: usize = 200;
/// How often records that seem to be gone are looked for: a partition that has just moved may tell too little at first.
const LOST_LOOKS: usize = 25;

/// How many partitions the stream has, by what is asked for, what is there, and what is noted.
pub(super) fn count(
    config: &KafkaConfig,
    purpose: Purpose,
    found: usize,
    noted: Option<&StreamNote>,
) -> Result<u16, OpenError> {
    let asked = usize::from(config.partitions);
    let mismatch = |what: String| Err(OpenError::Mismatch { stream: config.stream.clone(), what });
    let made = noted.map_or(found, |noted| usize::from(noted.partitions));
    if found > made && purpose == Purpose::Use {
        return mismatch(added(config, made, found));
    }
    if found < made {
        return mismatch(format!(
            "topic {} at {} has {found} partition(s), and {} says that the stream was made with {made}: {}",
            config.topic,
            config.brokers,
            config.meta_topic(),
            remade(config)
        ));
    }
    if made != asked && !config.any_partitions {
        return mismatch(format!(
            "topic {} at {} has {made} partition(s), {asked} are asked for: the number of partitions of a stream is \
             fixed, so ask for {made} or for another topic",
            config.topic, config.brokers
        ));
    }
    Ok(u16::try_from(made).unwrap_or(u16::MAX))
}

/// What it means that a topic has more partitions than its stream was made with.
pub(super) fn added(config: &KafkaConfig, made: usize, found: usize) -> String {
    format!(
        "topic {} at {} has {found} partitions, the stream was made with {made}: somebody has added some. Events are \
         spread by slot over the {made}, and the records that are there cannot be moved: over {found}, changes of one \
         key would be in two partitions, and out of order. Kafka cannot take partitions away again: begin a stream of \
         another name (--stream), which is filled by a new snapshot",
        config.topic, config.brokers
    )
}

/// What it means that a topic is not the one that the notes are about.
fn remade(config: &KafkaConfig) -> String {
    let (topic, meta) = (&config.topic, config.meta_topic());
    format!(
        "{topic} was deleted and made anew, and the events that destinations go on from are gone with it. To begin the \
         stream anew, by a new snapshot, delete both {topic} and {meta}; or begin one of another name (--stream)"
    )
}

// === impl KafkaJournal ===

impl KafkaJournal {
    /// What the stream is, noted now if it never was.
    pub(super) async fn identify(
        &self,
        noted: Option<StreamNote>,
        is_new: bool,
    ) -> Result<StreamNote, OpenError> {
        let place = self.config.place();
        let found = match noted {
            Some(found) => found,
            None => {
                self.may_begin(is_new).await?;
                let config = self.config.clone();
                let note = StreamNote {
                    format: FORMAT,
                    stream: config.stream.clone(),
                    partitions: config.partitions,
                    incarnation: random_number(),
                    placement: config.placement.clone(),
                };
                let writing = move || {
                    let notary = Notary::new(&config)?;
                    notary.write_and_wait(STREAM_KEY, &note, NOTE_POLLS)
                };
                let written = tokio::task::spawn_blocking(writing).await;
                let offset = written.expect("writing a note does not panic")?;
                let read = self.following.follower().until(|known| {
                    (known.next > offset).then(|| known.state.stream.clone()).flatten()
                });
                read.await.map_err(|error| of_reader(error, &place))?
            }
        };
        self.is_ours(&found)?;
        Ok(found)
    }

    /// Whether an unnoted stream may be taken for an empty one.
    async fn may_begin(&self, is_new: bool) -> Result<(), OpenError> {
        let raw = self.raw_ranges().await?;
        if is_new && raw.iter().all(|(_, end)| *end == 0) {
            return Ok(());
        }
        let is_empty = raw.iter().all(|(start, end)| start == end);
        match (is_empty, self.config.create) {
            (true, true) => Ok(()),
            (true, false) => Err(OpenError::Missing {
                stream: self.config.stream.clone(),
                what: format!("{} says nothing about a stream yet", self.config.meta_topic()),
            }),
            (false, _) => Err(self.mismatch(format!(
                "topic {} has records, but {} does not say whose: use another topic, or delete both",
                self.config.topic,
                self.config.meta_topic()
            ))),
        }
    }

    /// The fences that are noted are records of the topic: one that the topic does not reach was in another topic.
    pub(super) async fn refuse_lost_records(&self) -> Result<(), OpenError> {
        let fences: Vec<Vec<u64>> = self.following.follower().look(|known| {
            let newest = known.state.seats().filter_map(|(_, seat)| seat.fences.all().last());
            newest.map(|fence| fence.at.clone()).collect()
        });
        let is_within = |raw: &[(u64, u64)], fence: &Vec<u64>| {
            raw.iter().zip(fence).all(|((_, end), fence)| fence < end)
        };
        for _ in 0..LOST_LOOKS {
            let raw = self.raw_ranges().await?;
            if fences.iter().all(|fence| is_within(&raw, fence)) {
                return Ok(());
            }
            self.clock.sleep(ASK_AGAIN).await;
        }
        let config = &self.config;
        Err(self.mismatch(format!(
            "topic {} at {} does not hold what {} tells of its writers: {}",
            config.topic,
            config.brokers,
            config.meta_topic(),
            remade(config)
        )))
    }

    async fn raw_ranges(&self) -> Result<Vec<(u64, u64)>, OpenError> {
        let ranges = std::sync::Arc::clone(&self.ranges);
        let raw = self.ask(move || ranges.raw()).await;
        raw.map_err(|error| of_reader(error, &self.config.place()))
    }

    fn is_ours(&self, found: &StreamNote) -> Result<(), OpenError> {
        let meta = self.config.meta_topic();
        let config = &self.config;
        let what = if found.format != FORMAT {
            format!(
                "has format {}, this build knows {FORMAT}: use a build that knows it",
                found.format
            )
        } else if found.stream != config.stream {
            format!("is of stream {}, not {}: use another topic", found.stream, config.stream)
        } else if found.partitions != config.partitions {
            format!(
                "is of {} partitions, not {}: ask for as many",
                found.partitions, config.partitions
            )
        } else if found.placement != config.placement {
            format!(
                "spreads records by {:?}, this build by {:?}: use another topic",
                found.placement, config.placement
            )
        } else {
            return Ok(());
        };
        Err(self.mismatch(format!("what {meta} at {} says {what}", config.brokers)))
    }

    fn mismatch(&self, what: String) -> OpenError {
        OpenError::Mismatch { stream: self.config.stream.clone(), what }
    }
}
