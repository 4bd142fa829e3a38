//! A record as a Kafka message: what is in headers, and what becomes of times that Kafka would not keep.
//!
//! The payload is the message's value as it is, the key its key, so that any consumer reads the topic.

use bytes::{Bytes, BytesMut};
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message, OwnedHeaders};

use crate::{Append, Entry, Offset, Partition};

/// What brokers take by default as one batch (`max.message.bytes`), and what the topic has to take.
pub(super) const MAX_MESSAGE_BYTES: usize = 1_048_588;
/// The largest payload: leaves room for key, headers and the batch's own head.
pub(super) const MAX_RECORD_BYTES: usize = 1_000_000;
/// A longer key stays out of the message: it is there for tools, and the payload has it.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// The number of the writer, decimal.
const LEASE: &str = "kf-lease";
/// What the record is.
const KIND: &str = "kf-kind";
/// The database it concerns, decimal.
const DB: &str = "kf-db";
/// Whom a record of a shared log is for.
const FOR: &str = "kf-for";
/// The record's time, decimal, where the message cannot carry it.
const TIME: &str = "kf-time";
/// The kind of the record by which a writer begins.
const FENCE: &str = "fence";

/// The time of a fence: before that of all records, so that no look-up by time finds it.
pub(super) const FENCE_TIME_MS: i64 = 1;
/// Times before this one are in a header: librdkafka takes 0 for now, and brokers do not know times before 1970.
pub(super) const FIRST_TIME_MS: i64 = 2;
/// Brokers refuse times that are an hour ahead (`message.timestamp.after.max.ms`); a source's clock may be.
const AHEAD_LIMIT_MS: i64 = 30 * 60 * 1000;

/// What the message of one record has besides its value.
pub(super) struct Envelope<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) timestamp_ms: i64,
    pub(super) headers: OwnedHeaders,
}

/// The headers of one writer's records. They are the same for almost all of a stream, so that those of the record before
/// are copied rather than made.
pub(super) struct Headers {
    lease: u64,
    last: Option<(&'static str, u32, OwnedHeaders)>,
}

/// Who wrote a message, and what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// 0 where a message is not ours.
    pub(super) lease: u64,
    pub(super) is_fence: bool,
    time_ms: Option<i64>,
}

/// Copies of payloads; small ones have their memory in common.
#[derive(Default)]
pub(super) struct Copies {
    space: BytesMut,
}

/// Memory that small payloads have in common: one of them keeps all of it.
const SPACE_BYTES: usize = 16 * 1024;
const SMALL_BYTES: usize = 1024;

// === impl Headers ===

impl Headers {
    /// Of the writer with this number.
    pub(super) fn of(lease: u64) -> Self {
        Self { lease, last: None }
    }

    /// What the message of a record has besides its value.
    pub(super) fn envelope<'a>(&mut self, record: &'a Append, now_ms: i64) -> Envelope<'a> {
        let headers = match &self.last {
            Some((kind, db, headers)) if (*kind, *db) == (record.kind, record.db) => {
                headers.clone()
            }
            _ => {
                let headers = with_number(head(self.lease, record.kind), DB, record.db);
                self.last = Some((record.kind, record.db, headers.clone()));
                headers
            }
        };
        Envelope::with(headers, record, now_ms)
    }
}

// === impl Envelope ===

impl<'a> Envelope<'a> {
    /// With these headers, and that of the time if need be.
    fn with(mut headers: OwnedHeaders, record: &'a Append, now_ms: i64) -> Self {
        let latest = now_ms.saturating_add(AHEAD_LIMIT_MS).max(FIRST_TIME_MS);
        let timestamp_ms = record.timestamp_ms.clamp(FIRST_TIME_MS, latest);
        if timestamp_ms != record.timestamp_ms {
            headers = with_number(headers, TIME, record.timestamp_ms);
        }
        let key = Some(&*record.key).filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES);
        Self { key, timestamp_ms, headers }
    }

    /// For a record of a log without a lease, which is for somebody.
    pub(super) fn shared(record: &'a Append, addressee: &str, now_ms: i64) -> Self {
        let mut envelope = Headers::of(0).envelope(record, now_ms);
        let addressee = Header { key: FOR, value: Some(addressee) };
        envelope.headers = envelope.headers.insert(addressee);
        envelope
    }

    /// The fence of the writer with this number.
    pub(super) fn fence(lease: u64) -> Self {
        Self { key: None, timestamp_ms: FENCE_TIME_MS, headers: head(lease, FENCE) }
    }
}

fn head(lease: u64, kind: &str) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(5);
    with_number(headers, LEASE, lease).insert(Header { key: KIND, value: Some(kind) })
}

fn with_number(headers: OwnedHeaders, key: &str, number: impl ToString) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(&number.to_string()) })
}

// === impl Origin ===

impl Origin {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        message.headers().map_or(Self::from_headers([]), |headers| {
            Self::from_headers(headers.iter().map(|header| (header.key, header.value)))
        })
    }

    fn from_headers<'a>(headers: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let mut origin = Self { lease: 0, is_fence: false, time_ms: None };
        for (key, value) in headers {
            let text = value.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
            match key {
                LEASE => origin.lease = text.parse().unwrap_or(0),
                KIND => origin.is_fence = text == FENCE,
                TIME => origin.time_ms = text.parse().ok(),
                _ => {}
            }
        }
        origin
    }

    /// The record of a message.
    pub(super) fn entry(self, message: &BorrowedMessage<'_>, copies: &mut Copies) -> Entry {
        let (partition, offset) = place_of(message);
        let told = message.timestamp().to_millis().unwrap_or_default();
        Entry {
            partition,
            offset: Offset(offset),
            timestamp_ms: self.time_ms.unwrap_or(told),
            payload: copies.of(message.payload().unwrap_or_default()),
        }
    }
}

// === impl Copies ===

impl Copies {
    fn of(&mut self, payload: &[u8]) -> Bytes {
        if payload.len() > SMALL_BYTES {
            return payload.to_vec().into();
        }
        if self.space.capacity() < payload.len() {
            self.space = BytesMut::with_capacity(SPACE_BYTES);
        }
        self.space.extend_from_slice(payload);
        self.space.split().freeze()
    }
}

/// Where a message is.
pub(super) fn place_of(message: &BorrowedMessage<'_>) -> (Partition, u64) {
    let partition = u16::try_from(message.partition()).unwrap_or(u16::MAX);
    (Partition(partition), u64::try_from(message.offset()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000_000_000;

    fn record(timestamp_ms: i64, key: Vec<u8>) -> Append {
        let (partition, payload) = (Partition(0), Bytes::new());
        Append { partition, key: key.into(), timestamp_ms, kind: "command", db: 3, payload }
    }

    fn read_back(envelope: &Envelope<'_>) -> Origin {
        Origin::from_headers(envelope.headers.iter().map(|header| (header.key, header.value)))
    }

    #[test]
    fn every_time_comes_back() {
        for time in [i64::MIN, -19, 0, 1, 2, NOW_MS, NOW_MS + AHEAD_LIMIT_MS + 1, i64::MAX] {
            let record = record(time, vec![]);
            let envelope = Headers::of(7).envelope(&record, NOW_MS);
            assert!((FIRST_TIME_MS..=NOW_MS + AHEAD_LIMIT_MS).contains(&envelope.timestamp_ms));
            let origin = read_back(&envelope);
            assert_eq!(origin.time_ms.unwrap_or(envelope.timestamp_ms), time);
            assert_eq!((origin.lease, origin.is_fence), (7, false));
        }
    }

    #[test]
    fn a_key_is_kept_unless_it_is_huge() {
        for (length, kept) in
            [(0, false), (3, true), (MAX_KEY_BYTES, true), (MAX_KEY_BYTES + 1, false)]
        {
            let record = record(NOW_MS, vec![b'k'; length]);
            assert_eq!(
                Headers::of(1).envelope(&record, NOW_MS).key.is_some(),
                kept,
                "{length} bytes"
            );
        }
        const { assert!(MAX_RECORD_BYTES + MAX_KEY_BYTES + 4096 < MAX_MESSAGE_BYTES) };
    }

    #[test]
    fn headers_follow_the_record() {
        let mut headers = Headers::of(7);
        for (kind, db) in
            [("command", 0), ("command", 3), ("image", 3), ("image", 3), ("command", 0)]
        {
            let record = Append { kind, db, ..record(NOW_MS, vec![]) };
            let envelope = headers.envelope(&record, NOW_MS);
            let of = |key| {
                let found = envelope.headers.iter().find(|header| header.key == key);
                found.and_then(|header| header.value).map(<[u8]>::to_vec)
            };
            assert_eq!(of(KIND), Some(kind.as_bytes().to_vec()));
            assert_eq!(of(DB), Some(db.to_string().into_bytes()));
            assert_eq!(of(LEASE), Some(b"7".to_vec()));
            assert_eq!(envelope.headers.count(), 3);
        }
    }

    #[test]
    fn copies_are_what_was_copied() {
        let mut copies = Copies::default();
        let payloads: Vec<Vec<u8>> = (0..200).map(|n: u8| vec![n; usize::from(n) * 7]).collect();
        let copied: Vec<Bytes> = payloads.iter().map(|payload| copies.of(payload)).collect();
        assert!(copied.iter().eq(&payloads));
    }

    #[test]
    fn what_is_not_ours_has_no_writer() {
        assert_eq!(Origin::from_headers([]).lease, 0);
        assert_eq!(Origin::from_headers([(LEASE, Some(&[0xff_u8][..]))]).lease, 0);
        assert!(read_back(&Envelope::fence(9)).is_fence);
    }
}
