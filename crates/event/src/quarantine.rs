//! Dead letters: changes that a destination did not take. Message `DeadLetter` of `quarantine.proto`.

use bytes::Bytes;
use prost::Message as _;

use crate::codec::DecodeError;
use crate::{Position, SCHEMA_VERSION, Shard, limits, schema};

/// A change that a destination did not take, with everything needed to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The stream that it comes from.
    pub stream: String,
    /// The number drawn when the stream was made.
    pub incarnation: u64,
    /// Where it stands in the source's history.
    pub position: Position,
    /// Database of the destination.
    pub db: u32,
    /// The keys there that it should have written; none where it is not about keys.
    pub keys: Vec<Bytes>,
    /// Which change of a group; 0 otherwise.
    pub change: u32,
    /// What the destination said, or why it was not asked.
    pub why: String,
    /// Clock of the writer, Unix milliseconds.
    pub written_ms: i64,
    /// The encoded event.
    pub event: Bytes,
}

/// One record of a letter: the letter, with a piece of the event in place of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The letter.
    pub letter: Letter,
    /// Counted from 0.
    pub number: u32,
    /// How many there are.
    pub count: u32,
}

// === impl Letter ===

impl Letter {
    /// The records of this letter: one, or as many as its event has pieces.
    #[must_use]
    pub fn encode(&self) -> Vec<Bytes> {
        let count = self.event.len().div_ceil(limits::FRAGMENT_BYTES).max(1);
        let pieces = u32::try_from(count).expect("an event is smaller than four billion pieces");
        let mut rest = self.event.clone();
        let records = (0..pieces).map(|piece| {
            let event = rest.split_to(rest.len().min(limits::FRAGMENT_BYTES));
            let letter = schema::DeadLetter {
                schema: SCHEMA_VERSION,
                stream: self.stream.clone(),
                incarnation: self.incarnation,
                position: Some(schema::Position {
                    shard: self.position.shard.0,
                    epoch: self.position.epoch,
                    offset: self.position.offset,
                    index: self.position.index,
                }),
                db: self.db,
                key: self.keys.clone(),
                change: self.change,
                why: self.why.clone(),
                written_ms: self.written_ms,
                event,
                piece,
                pieces,
            };
            Bytes::from(letter.encode_to_vec())
        });
        records.collect()
    }
}

// === impl Piece ===

impl Piece {
    /// Reads one record.
    ///
    /// # Errors
    /// When it is no letter that this version understands.
    pub fn decode(record: Bytes) -> Result<Self, DecodeError> {
        let proto = schema::DeadLetter::decode(record).map_err(|error| DecodeError::Malformed {
            message: "DeadLetter",
            reason: error.into(),
        })?;
        match proto.schema {
            0 => return Err(DecodeError::Missing { name: "schema" }),
            1..=SCHEMA_VERSION => {}
            found => return Err(DecodeError::SchemaTooNew { found, known: SCHEMA_VERSION }),
        }
        let position = proto.position.ok_or(DecodeError::Missing { name: "position" })?;
        let letter = Letter {
            stream: proto.stream,
            incarnation: proto.incarnation,
            position: Position {
                shard: Shard(position.shard),
                epoch: position.epoch,
                offset: position.offset,
                index: position.index,
            },
            db: proto.db,
            keys: proto.key,
            change: proto.change,
            why: proto.why,
            written_ms: proto.written_ms,
            event: proto.event,
        };
        Ok(Self { letter, number: proto.piece, count: proto.pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(event_bytes: usize) -> Letter {
        Letter {
            stream: "shop".into(),
            incarnation: 7,
            position: Position { shard: Shard(1), epoch: 2, offset: 3, index: 4 },
            db: 5,
            keys: vec![Bytes::from_static(b"a\xff"), Bytes::new()],
            change: 6,
            why: "WRONGTYPE".into(),
            written_ms: -8,
            event: Bytes::from(vec![9; event_bytes]),
        }
    }

    #[test]
    fn a_letter_reads_back_from_one_record() {
        let records = letter(100).encode();
        let [record] = &records[..] else { panic!("{} records", records.len()) };
        let piece = Piece::decode(record.clone()).unwrap();
        assert_eq!(piece, Piece { letter: letter(100), number: 0, count: 1 });
    }

    #[test]
    fn a_large_event_goes_in_pieces_that_each_fit_a_record() {
        let whole = letter(2 * limits::FRAGMENT_BYTES + 1);
        let pieces: Vec<Piece> =
            whole.encode().into_iter().map(|record| Piece::decode(record).unwrap()).collect();
        assert_eq!(pieces.iter().map(|piece| piece.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(pieces.iter().all(|piece| piece.count == 3));
        let event: Vec<u8> = pieces.iter().flat_map(|piece| piece.letter.event.to_vec()).collect();
        assert_eq!(event, whole.event);
        assert!(whole.encode().iter().all(|record| record.len() <= limits::MAX_EVENT_BYTES));
    }

    #[test]
    fn refuses_what_is_no_letter() {
        assert!(Piece::decode(Bytes::from_static(b"\xff\xff")).is_err());
        assert!(Piece::decode(Bytes::new()).is_err());
    }
}
