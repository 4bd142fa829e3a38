//! What a broker's refusal means: the right that is missing, by its name, and what is wrong with settings.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::{AppendError, OpenError, ReadError};

/// What was asked of the brokers, for naming the right that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// To make a topic.
    Create(&'a str),
    /// For a topic's partitions and offsets.
    Describe(&'a str),
    /// For a topic's settings.
    DescribeConfigs(&'a str),
    /// To write to a topic.
    Write(&'a str),
    /// To read from a topic.
    Read(&'a str),
    /// To forget records of a topic.
    DeleteRecords(&'a str),
    /// To join a group, or to read or commit its offsets.
    Group(&'a str),
    /// To forget a group.
    DeleteGroup(&'a str),
}

/// A right that an account lacks, as Kafka names rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing(String);

// === impl Asked ===

impl Asked<'_> {
    /// The missing right, if that is what the code says.
    pub(super) fn missing(self, code: RDKafkaErrorCode) -> Option<Missing> {
        use RDKafkaErrorCode as Code;
        let of_group = |operation: &str, group: &str| format!("{operation} on group {group}");
        let right = match (code, self) {
            (Code::GroupAuthorizationFailed, Self::Group(group)) => of_group("Read", group),
            (Code::GroupAuthorizationFailed, Self::DeleteGroup(group)) => of_group("Delete", group),
            (Code::GroupAuthorizationFailed, _) => "Read on the consumer group".to_owned(),
            (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed, asked) => {
                asked.on_topic()
            }
            _ => return None,
        };
        Some(Missing(right))
    }

    /// The right of topics that it takes.
    fn on_topic(self) -> String {
        match self {
            Self::Create(topic) => format!("Create on topic {topic}"),
            Self::Describe(topic) => format!("Describe on topic {topic}"),
            Self::DescribeConfigs(topic) => format!("DescribeConfigs on topic {topic}"),
            // An account without it gets no number for its producer, which is told as a right of the cluster.
            Self::Write(topic) => format!("Write on topic {topic}"),
            Self::Read(topic) => format!("Read on topic {topic}"),
            Self::DeleteRecords(topic) => format!("Delete on topic {topic}"),
            Self::Group(group) | Self::DeleteGroup(group) => {
                format!("Read on the topic of group {group}")
            }
        }
    }

    pub(super) fn open_error(self, error: &KafkaError, place: &str) -> OpenError {
        match missing(self, error) {
            Some(Missing(right)) => OpenError::NoRight { right, place: place.to_owned() },
            None => OpenError::Unreachable { place: place.to_owned(), why: said(error) },
        }
    }

    pub(super) fn append_error(self, error: &KafkaError, place: &str) -> AppendError {
        match missing(self, error) {
            Some(Missing(right)) => AppendError::NoRight { right, place: place.to_owned() },
            None => AppendError::Failed(format!("{place}: {}", said(error))),
        }
    }

    /// The same of what has ended a producer for good.
    pub(super) fn open_end(self, end: (RDKafkaErrorCode, String), place: &str) -> OpenError {
        match self.open_error(&cause_of(&end), place) {
            OpenError::Unreachable { place, .. } => OpenError::Unreachable { place, why: end.1 },
            denied => denied,
        }
    }

    /// Likewise.
    pub(super) fn append_end(self, end: (RDKafkaErrorCode, String), place: &str) -> AppendError {
        match self.append_error(&cause_of(&end), place) {
            AppendError::Failed(_) => AppendError::Failed(format!("{place}: {}", end.1)),
            denied => denied,
        }
    }

    pub(super) fn read_error(self, error: &KafkaError, place: &str) -> ReadError {
        match missing(self, error) {
            Some(Missing(right)) => ReadError::NoRight { right, place: place.to_owned() },
            None => ReadError::Failed(format!("{place}: {}", said(error))),
        }
    }
}

/// What has ended a producer. Where one record was refused the library ends it since others may follow that one without
/// it, and its code says only that: what the broker said is in the text.
fn cause_of((code, reason): &(RDKafkaErrorCode, String)) -> KafkaError {
    let is_cause = |refused: &RDKafkaErrorCode| {
        let text = refused.to_string();
        let said = text.split_once('(').and_then(|(_, said)| said.strip_suffix(')'));
        said.is_some_and(|said| reason.contains(said))
    };
    let refusals =
        [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::ClusterAuthorizationFailed];
    KafkaError::Global(refusals.into_iter().find(is_cause).unwrap_or(*code))
}

fn missing(asked: Asked<'_>, error: &KafkaError) -> Option<Missing> {
    code_of(error).and_then(|code| asked.missing(code))
}

/// The broker's or the library's code, also of answers to an administrator.
fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// What the library says, without values of settings, which may be secrets.
pub(super) fn said(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, said, property, _) if is_secret(property) => {
            format!("property {property} cannot be used ({} characters said about it)", said.len())
        }
        KafkaError::ClientConfig(_, said, property, _) => format!("property {property}: {said}"),
        other => match code_of(other) {
            Some(code) => code.to_string(),
            None => other.to_string(),
        },
    }
}

/// The same trouble, met while opening, as one of a writer.
pub(super) fn as_append(error: OpenError) -> AppendError {
    match error {
        OpenError::NoRight { right, place } => AppendError::NoRight { right, place },
        other => AppendError::Failed(other.to_string()),
    }
}

/// The same trouble, met while opening, as one of a reader.
pub(super) fn of_opener(error: OpenError) -> ReadError {
    match error {
        OpenError::NoRight { right, place } => ReadError::NoRight { right, place },
        OpenError::Settings { what } => ReadError::Settings { what },
        other => ReadError::Failed(other.to_string()),
    }
}

/// The same trouble, met by a writer, as one of becoming it.
pub(super) fn of_writer(error: AppendError, place: &str) -> OpenError {
    match error {
        AppendError::NoRight { right, place } => OpenError::NoRight { right, place },
        other => OpenError::Unreachable { place: place.to_owned(), why: other.to_string() },
    }
}

/// The same trouble, met while reading notes, as one of opening.
pub(super) fn of_reader(error: ReadError, place: &str) -> OpenError {
    match error {
        ReadError::NoRight { right, place } => OpenError::NoRight { right, place },
        ReadError::Settings { what } => OpenError::Settings { what },
        other => OpenError::Unreachable { place: place.to_owned(), why: other.to_string() },
    }
}

/// Why a client could not be made.
pub(super) fn settings_error(error: &KafkaError) -> OpenError {
    OpenError::Settings { what: said(error) }
}

fn is_secret(property: &str) -> bool {
    ["password", "secret", "key", "token", "jaas", "config"]
        .iter()
        .any(|word| property.contains(word))
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaConfRes;

    use super::*;

    #[test]
    fn a_missing_right_is_named_as_kafka_names_it() {
        use RDKafkaErrorCode as Code;
        for (asked, code, right) in [
            (Asked::Create("t"), Code::TopicAuthorizationFailed, "Create on topic t"),
            (Asked::Write("t"), Code::ClusterAuthorizationFailed, "Write on topic t"),
            (Asked::Read("t"), Code::TopicAuthorizationFailed, "Read on topic t"),
            (Asked::Group("g"), Code::GroupAuthorizationFailed, "Read on group g"),
            (Asked::DeleteGroup("g"), Code::GroupAuthorizationFailed, "Delete on group g"),
        ] {
            let error = asked.read_error(&KafkaError::Global(code), "here");
            let text = error.to_string();
            assert!(matches!(error, ReadError::NoRight { .. }) && text.contains(right), "{text}");
        }
        let other = KafkaError::Global(Code::BrokerTransportFailure);
        assert!(matches!(Asked::Read("t").read_error(&other, "here"), ReadError::Failed(_)));
    }

    #[test]
    fn a_missing_right_is_named_also_where_the_library_says_only_that_it_gives_up() {
        let end = |said: &str| {
            let reason = format!(
                "ProduceRequest for t [0] with 1 message(s) failed: Broker: {said} (broker 1 PID{{Id:4,Epoch:0}}, base \
                 seq 0): unable to satisfy gap-less guarantee"
            );
            (RDKafkaErrorCode::GaplessGuarantee, reason)
        };
        for said in ["Topic authorization failed", "Cluster authorization failed"] {
            let error = Asked::Write("t").append_end(end(said), "here");
            assert!(matches!(error, AppendError::NoRight { .. }), "{error}");
            let error = Asked::Write("t").open_end(end(said), "here");
            assert!(matches!(error, OpenError::NoRight { .. }), "{error}");
        }
        let other = Asked::Write("t").append_end(end("Message size too large"), "here").to_string();
        assert!(other.contains("here") && other.contains("Message size too large"), "{other}");
        let other = Asked::Write("t").open_end(end("Message size too large"), "here");
        assert!(matches!(&other, OpenError::Unreachable { why, .. } if why.contains("too large")));
    }

    #[test]
    fn a_secret_is_not_repeated() {
        let of = |property: &str| {
            let (said, value) = ("bad value hunter2".to_owned(), "hunter2".to_owned());
            said_of(KafkaError::ClientConfig(
                RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
                said,
                property.to_owned(),
                value,
            ))
        };
        assert!(!of("sasl.password").contains("hunter2"));
        assert!(of("linger.ms").contains("linger.ms"));
    }

    fn said_of(error: KafkaError) -> String {
        said(&error)
    }
}
