//! Asks brokers for offsets of partitions: first, next and by time.
//!
//! Guarantees: what passes by itself is asked again until [`ANSWER_LIMIT`] is over, such as a leader that was just
//! elected and does not know yet how far its records count, or one that has died, whose successor the client is made to
//! look for. Everything else is told at once.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset as Place, TopicPartitionList};

use super::client::Quiet;
use super::topics::ANSWER_LIMIT;

/// How long a question rests until it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long the leaders of partitions may take for one answer, the first time, the second and from then on. Beyond that
/// others may lead, while the client believes for minutes what it heard last, and goes on waiting for those that are gone;
/// or they are slow, and need longer.
const LEADER_LIMITS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), ANSWER_LIMIT];
/// How long it is looked for who leads.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// The first offset of each partition and the one after its last record, in the order of partitions. Blocks.
pub(super) fn first_and_next(
    asker: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: u16,
) -> Result<Vec<(u64, u64)>, KafkaError> {
    let of_all = |place| -> Vec<(u16, Place)> { (0..partitions).map(|of| (of, place)).collect() };
    let firsts = ask(asker, topic, &of_all(Place::Beginning))?;
    let nexts = ask(asker, topic, &of_all(Place::End))?;
    let known = |offset: Option<u64>| offset.unwrap_or_default();
    Ok(firsts.into_iter().zip(nexts).map(|(first, next)| (known(first), known(next))).collect())
}

/// The first offset with this time (Unix milliseconds) or a later one; `None` where there is none. Blocks.
pub(super) fn at_time(
    asker: &BaseConsumer<Quiet>,
    topic: &str,
    partition: u16,
    time_ms: i64,
) -> Result<Option<u64>, KafkaError> {
    let found = ask(asker, topic, &[(partition, Place::Offset(time_ms))])?;
    Ok(found.first().copied().flatten())
}

/// Whether the leaders of all partitions of a topic answer within so long. Blocks.
pub(super) fn answer_within(
    asker: &BaseConsumer<Quiet>,
    (topic, partitions): (&str, u16),
    limit: Duration,
) -> Result<(), KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in 0..partitions {
        asked.add_partition_offset(topic, i32::from(partition), Place::End)?;
    }
    let told = asker.offsets_for_times(asked, limit).and_then(|found| answers(&found).map(drop));
    if told.is_err() {
        look_who_leads(asker, topic);
    }
    told
}

fn ask(
    asker: &BaseConsumer<Quiet>,
    topic: &str,
    questions: &[(u16, Place)],
) -> Result<Vec<Option<u64>>, KafkaError> {
    let ask = |limit| {
        let mut asked = TopicPartitionList::new();
        for &(partition, place) in questions {
            asked.add_partition_offset(topic, i32::from(partition), place)?;
        }
        answers(&asker.offsets_for_times(asked, limit)?)
    };
    until_it_lasts(ask, || {
        // What the client has to tell meanwhile is in its context.
        drop(asker.poll(ASK_AGAIN_AFTER));
        match look_who_leads(asker, topic) {
            true => ASK_AGAIN_AFTER,
            false => LOOK_LIMIT,
        }
    })
}

/// Makes the client hear who leads the partitions of a topic; says whether anybody told.
fn look_who_leads(asker: &BaseConsumer<Quiet>, topic: &str) -> bool {
    let told = asker.fetch_metadata(Some(topic), LOOK_LIMIT);
    let told = told.inspect_err(|error| tracing::debug!(%error, topic, "nobody tells who leads"));
    let is_told = told.is_ok_and(|told| !told.brokers().is_empty());
    let lifeline = asker.context().lifeline();
    if is_told {
        lifeline.heard();
    } else {
        lifeline.overdue(asker.client(), LOOK_LIMIT);
    }
    is_told
}

/// In the order of partitions.
fn answers(found: &TopicPartitionList) -> Result<Vec<Option<u64>>, KafkaError> {
    let mut elements = found.elements();
    elements.sort_by_key(TopicPartitionListElem::partition);
    let offsets = elements.iter().map(|element| {
        element.error()?;
        Ok(match element.offset() {
            Place::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        })
    });
    offsets.collect()
}

/// Asks with a limit, and rests between, as long as what keeps it from an answer may pass by itself; a rest says how long
/// it took.
fn until_it_lasts<T>(
    mut ask: impl FnMut(Duration) -> Result<T, KafkaError>,
    mut rest: impl FnMut() -> Duration,
) -> Result<T, KafkaError> {
    let mut left = ANSWER_LIMIT;
    let mut limits = LEADER_LIMITS.into_iter();
    let mut limit = limits.next().unwrap_or(ANSWER_LIMIT);
    loop {
        let error = match ask(limit) {
            Err(error) if is_between_leaders(&error) => error,
            Err(error) if is_silence(&error) => {
                let Some(next) = limits.next() else { return Err(error) };
                limit = next;
                error
            }
            answer => return answer,
        };
        tracing::debug!(%error, "offsets are asked for again");
        left = left.saturating_sub(rest());
        if left.is_zero() {
            return Err(error);
        }
    }
}

/// Whether nobody has answered.
fn is_silence(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(Code::OperationTimedOut | Code::RequestTimedOut | Code::BrokerTransportFailure)
    )
}

/// Whether a partition's leader has just changed, or does not know yet that it is one, as after a topic was made; or
/// nobody leads any of those asked about, in which the library sees partitions that do not exist.
fn is_between_leaders(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::OffsetNotAvailable
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::ReplicaNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the last of them again and again. Also how often it was asked, and how often it rested.
    fn answers_of(
        script: Vec<Result<u64, RDKafkaErrorCode>>,
    ) -> (Result<u64, KafkaError>, usize, usize) {
        let (mut asked, mut rests) = (0, 0);
        let ask = |_| {
            let answer = script[asked.min(script.len() - 1)];
            asked += 1;
            answer.map_err(KafkaError::OffsetFetch)
        };
        let rest = || {
            rests += 1;
            ASK_AGAIN_AFTER
        };
        let answer = until_it_lasts(ask, rest);
        (answer, asked, rests)
    }

    #[test]
    fn asks_a_leader_that_was_just_elected_again() {
        let new = Err(RDKafkaErrorCode::OffsetNotAvailable);
        let moved = Err(RDKafkaErrorCode::NotLeaderForPartition);
        let nobody = Err(RDKafkaErrorCode::UnknownPartition);
        let (answer, asked, rests) = answers_of(vec![new, moved, nobody, new, Ok(7)]);
        assert_eq!((answer.unwrap(), asked, rests), (7, 5, 4));
    }

    #[test]
    fn tells_at_once_what_lasts() {
        let (answer, asked, rests) =
            answers_of(vec![Err(RDKafkaErrorCode::TopicAuthorizationFailed), Ok(7)]);
        let told = answer.unwrap_err().rdkafka_error_code();
        assert_eq!(told, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
        assert_eq!((asked, rests), (1, 0));
    }

    #[test]
    fn asks_again_when_a_leader_is_silent_and_gives_up_when_all_stay_so() {
        let silent = Err(RDKafkaErrorCode::OperationTimedOut);
        let (answer, asked, looks) = answers_of(vec![silent, Ok(7)]);
        assert_eq!((answer.unwrap(), asked, looks), (7, 2, 1));
        let (answer, asked, _) = answers_of(vec![silent]);
        let told = answer.unwrap_err().rdkafka_error_code();
        assert_eq!((told, asked), (Some(RDKafkaErrorCode::OperationTimedOut), 3));
    }

    #[test]
    fn gives_up_when_no_leader_knows() {
        let (answer, asked, _) = answers_of(vec![Err(RDKafkaErrorCode::OffsetNotAvailable)]);
        let told = answer.unwrap_err().rdkafka_error_code();
        assert_eq!(told, Some(RDKafkaErrorCode::OffsetNotAvailable));
        assert_eq!(asked, 100);
    }
}
