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
    /// Database of the destination; [`LIBRARIES_DB`]: it is about function libraries.
    pub db: u32,
    /// The keys there that it should have written, or the names of the libraries. A letter that is read does not name those
    /// that are too long for a record: the event does.
    pub keys: Vec<Bytes>,
    /// Which change of a group; 0 otherwise.
    pub change: u32,
    /// What the destination said, or why it was not asked.
    pub why: String,
    /// Clock of the writer, Unix milliseconds.
    pub written_ms: i64,
    /// The encoded event.
    pub event: Bytes,
    /// What the destination is called; empty in letters of an early version.
    pub destination: String,
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

/// Puts letters together from their pieces. Those of several writers may lie between one another.
#[derive(Debug, Default)]
pub struct Pieces {
    /// Those that go on, the one that did so last at the end.
    open: Vec<Open>,
}

/// A letter of which pieces are missing.
#[derive(Debug)]
struct Open {
    /// Where it begins.
    at: u64,
    /// In order.
    held: Vec<Piece>,
}

/// As many letters are put together at once: of what writers left half-written, no more stays in memory.
const OPEN_MAX: usize = 8;

/// In place of a database: function libraries belong to none. The empty name stands for what `FUNCTION RESTORE` brings.
pub const LIBRARIES_DB: u32 = u32::MAX;

// === impl Letter ===

impl Letter {
    /// The records of this letter: one, or as many as its event has pieces.
    #[must_use]
    pub fn encode(&self) -> Vec<Bytes> {
        let count = self.event.len().div_ceil(limits::FRAGMENT_BYTES).max(1);
        let pieces = u32::try_from(count).expect("an event is smaller than four billion pieces");
        let mut room = limits::RECORD_KEY_BYTES;
        let fits = |key: &&Bytes| {
            let left = room.checked_sub(key.len());
            room = left.unwrap_or(room);
            left.is_some()
        };
        let keys: Vec<Bytes> = self.keys.iter().filter(fits).cloned().collect();
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
                key: keys.clone(),
                change: self.change,
                why: self.why.clone(),
                written_ms: self.written_ms,
                event,
                piece,
                pieces,
                destination: self.destination.clone(),
            };
            Bytes::from(letter.encode_to_vec())
        });
        records.collect()
    }
}

// === impl Pieces ===

impl Pieces {
    /// Takes the piece that lies at this place. The letter and where it begins, once its last piece has come. One whose
    /// pieces do not follow one another is left out.
    #[must_use]
    pub fn push(&mut self, at: u64, piece: Piece) -> Option<(u64, Letter)> {
        let of_it = |open: &Open| open.held.first().is_some_and(|it| it.is_of_one_letter(&piece));
        let known = self.open.iter().position(of_it).map(|index| self.open.remove(index));
        let mut open = match known {
            _ if piece.number == 0 => Open { at, held: Vec::new() },
            Some(open) if u32::try_from(open.held.len()) == Ok(piece.number) => open,
            _ => return None,
        };
        if piece.number + 1 < piece.count {
            open.held.push(piece);
            if self.open.len() == OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push(open);
            return None;
        }
        let mut letter = piece.letter;
        if !open.held.is_empty() {
            let before = open.held.into_iter().map(|piece| piece.letter.event);
            letter.event = before.chain([letter.event]).collect::<Vec<_>>().concat().into();
        }
        Some((open.at, letter))
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
        if proto.piece >= proto.pieces {
            return Err(DecodeError::OutOfRange {
                name: "piece",
                value: proto.piece.into(),
                limit: u64::from(proto.pieces).saturating_sub(1),
            });
        }
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
            destination: proto.destination,
        };
        Ok(Self { letter, number: proto.piece, count: proto.pieces })
    }

    /// Whether all but what each piece has of the event is the same.
    fn is_of_one_letter(&self, other: &Self) -> bool {
        let (one, two) = (&self.letter, &other.letter);
        let place = |letter: &Letter| {
            (letter.incarnation, letter.position, letter.db, letter.change, letter.written_ms)
        };
        let names =
            |letter: &Letter| (letter.stream == one.stream, letter.destination == one.destination);
        self.count == other.count && place(one) == place(two) && names(two) == (true, true)
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
            destination: "shop-2".into(),
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
    fn letters_are_put_together_and_what_is_not_whole_is_left_out() {
        let (large, small) = (letter(2 * limits::FRAGMENT_BYTES + 1), letter(5));
        let records = |letter: &Letter| -> Vec<Piece> {
            letter.encode().into_iter().map(|record| Piece::decode(record).unwrap()).collect()
        };
        let [first, second, third] = &records(&large)[..] else { panic!("three pieces") };
        let other = Letter { written_ms: 9, ..large.clone() };
        let stray = &records(&other)[1];
        let mut pieces = Pieces::default();
        let mut put = |given: &[&Piece]| -> Vec<usize> {
            let put = (0..).zip(given).filter_map(|(at, piece)| pieces.push(at, (*piece).clone()));
            put.map(|(_, letter)| {
                [&large, &small].iter().position(|known| **known == letter).unwrap()
            })
            .collect()
        };
        assert_eq!(put(&[first, second, third]), [0]);
        assert!(put(&[first, third]).is_empty());
        assert_eq!(put(&[first, second, first, second, third]), [0]);
        assert!(put(&[first, stray, third]).is_empty());
        assert_eq!(put(&[first, second, &records(&small)[0], third]), [1, 0]);
        assert_eq!(put(&[first, second, third]), [0]);
    }

    #[test]
    fn letters_of_several_writers_lie_between_one_another() {
        let one = letter(2 * limits::FRAGMENT_BYTES + 1);
        let two = Letter { destination: "other".into(), ..one.clone() };
        let records = |letter: &Letter| -> Vec<Piece> {
            letter.encode().into_iter().map(|record| Piece::decode(record).unwrap()).collect()
        };
        let (ones, twos) = (records(&one), records(&two));
        let mut pieces = Pieces::default();
        let mut found = Vec::new();
        let mixed = [&ones[0], &twos[0], &twos[1], &ones[1], &twos[2], &ones[2]];
        for (at, piece) in (70..).zip(mixed) {
            found.extend(pieces.push(at, piece.clone()));
        }
        assert_eq!(found, [(71, two), (70, one)]);
    }

    #[test]
    fn of_what_was_left_half_written_no_more_than_a_few_are_kept() {
        let mut pieces = Pieces::default();
        let whole = letter(limits::FRAGMENT_BYTES + 1);
        for written_ms in 0..100 {
            let half = Letter { written_ms, ..whole.clone() }.encode().swap_remove(0);
            assert_eq!(pieces.push(0, Piece::decode(half).unwrap()), None);
        }
        assert_eq!(pieces.open.len(), OPEN_MAX);
    }

    #[test]
    fn refuses_a_piece_beyond_the_last() {
        let no_piece = schema::DeadLetter {
            schema: SCHEMA_VERSION,
            position: Some(schema::Position::default()),
            piece: u32::MAX,
            pieces: 0,
            ..schema::DeadLetter::default()
        };
        let refused = Piece::decode(no_piece.encode_to_vec().into());
        assert!(matches!(refused, Err(DecodeError::OutOfRange { .. })), "{refused:?}");
    }

    #[test]
    fn keys_that_are_too_long_for_a_record_are_named_by_the_event_only() {
        let long = Bytes::from(vec![b'k'; limits::RECORD_KEY_BYTES + 1]);
        let keys = vec![long, Bytes::from_static(b"short")];
        let letter = Letter { keys, ..letter(3 * limits::FRAGMENT_BYTES) };
        for record in letter.encode() {
            assert!(record.len() <= limits::MAX_EVENT_BYTES);
            assert_eq!(Piece::decode(record).unwrap().letter.keys, ["short"]);
        }
    }

    #[test]
    fn refuses_what_is_no_letter() {
        assert!(Piece::decode(Bytes::from_static(b"\xff\xff")).is_err());
        assert!(Piece::decode(Bytes::new()).is_err());
    }
}
