//! What an operator sees of the quarantine of a destination, and asks to be done about it.
//!
//! Nothing here changes data: a request is stored at the destination, and the lane that owns the key acts on it between two
//! batches, so that it keeps its place in the order. A lane that does not run acts when it starts.

use std::sync::Arc;

use bytes::Bytes;
use event::quarantine::{Letter, Piece};
use journal::{Journal, Offset, Partition, ReadLimit};
use runtime::Clock;
use wire::resp::reply::Reply;

use super::set::Spot;
use crate::config::Config;
use crate::error::Error;
use crate::lane::Link;
use crate::limits;
use crate::names::Names;

/// The held keys of one destination.
#[derive(Debug)]
pub struct Shelf {
    link: Link,
    lanes: Vec<Names>,
}

/// How many lanes apply a stream, each with a set of held keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// One: all partitions come in one order, as in the embedded journal.
    One,
    /// One for each of so many partitions.
    PerPartition(u16),
}

/// A key that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Database of the destination.
    pub db: u32,
    /// The key.
    pub key: Bytes,
    /// Where in the source's history it was set aside, and why.
    pub why: String,
    /// What has been asked for and not been done yet.
    pub asked: Option<Ask>,
}

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Apply its dead letters now, in order, and those of the keys they depend on; then go on with it.
    Retry,
    /// Forget its dead letters and go on with it as it is.
    Discard,
}

// === impl Shelf ===

impl Shelf {
    /// Connects to the destination of a stream.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn open(
        config: &Config,
        stream: &str,
        lanes: Lanes,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let connector = crate::apply::connector(config, clock)?;
        let link = Link::open(&connector, config).await?;
        let lanes = match lanes {
            Lanes::One => vec![Names::new(stream, (0, 0), 1)],
            Lanes::PerPartition(count) => (0..count)
                .map(|number| Names::new(stream, (number, number), u32::from(count)))
                .collect(),
        };
        Ok(Self { link, lanes })
    }

    /// Every key that is set aside, by database and name.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn list(&mut self) -> Result<Vec<HeldKey>, Error> {
        let mut keys = Vec::new();
        for names in &self.lanes {
            let asked = hash(&mut self.link, &names.requests).await?;
            for (field, why) in hash(&mut self.link, &names.quarantine).await? {
                let Some(Spot { db, key }) = Spot::parse(&field) else { continue };
                let asked = asked.iter().find(|(other, _)| *other == field);
                let asked = asked.and_then(|(_, word)| Ask::parse(word));
                keys.push(HeldKey {
                    db,
                    key,
                    why: String::from_utf8_lossy(&why).into_owned(),
                    asked,
                });
            }
        }
        keys.sort_by(|one, other| (one.db, &one.key).cmp(&(other.db, &other.key)));
        Ok(keys)
    }

    /// Asks for something to be done about a key. Says whether the key is set aside at all.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn ask(&mut self, db: u32, key: &Bytes, ask: Ask) -> Result<bool, Error> {
        let field = Spot { db, key: key.clone() }.field();
        for names in &self.lanes {
            let held: [&[u8]; 3] = [b"HEXISTS", &names.quarantine, &field];
            if self.link.connection.call(held).await?.as_int() == Some(1) {
                let word = ask.word().as_bytes();
                let put: [&[u8]; 4] = [b"HSET", &names.requests, &field, word];
                self.link.connection.call(put).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Every letter that the journal of dead letters holds now, in order. A letter that is not complete is left out.
///
/// # Errors
/// When the journal cannot be read, or a record is no letter.
pub async fn letters(journal: &dyn Journal) -> Result<Vec<Letter>, Error> {
    let range = journal.describe().await?.partitions.first().copied().unwrap_or_default();
    let mut found: Vec<Letter> = Vec::new();
    if range.start == range.end {
        return Ok(found);
    }
    let mut reader = journal.reader(vec![(Partition(0), range.start)]).await?;
    let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
    let (mut next, mut pieces): (Offset, Vec<Piece>) = (range.start, Vec::new());
    while next < range.end {
        for entry in reader.next(limit).await? {
            next = entry.offset.after(1);
            let piece = Piece::decode(entry.payload).map_err(|source| Error::Record {
                partition: 0,
                offset: entry.offset.0,
                source,
            })?;
            if piece.number == 0 {
                pieces.clear();
            }
            pieces.push(piece);
            found.extend(joined(&mut pieces));
        }
    }
    Ok(found)
}

/// The letter, once its last piece has come.
fn joined(pieces: &mut Vec<Piece>) -> Option<Letter> {
    let last = pieces.last()?;
    if last.number + 1 != last.count || u32::try_from(pieces.len()).ok()? != last.count {
        return None;
    }
    let event: Vec<Bytes> = pieces.iter().map(|piece| piece.letter.event.clone()).collect();
    let mut letter = pieces.pop()?.letter;
    pieces.clear();
    letter.event = if event.len() == 1 { letter.event } else { event.concat().into() };
    Some(letter)
}

/// The fields and values of a hash in the database of the checkpoint.
async fn hash(link: &mut Link, key: &Bytes) -> Result<Vec<(Bytes, Bytes)>, Error> {
    let reply = link.connection.call([b"HGETALL".as_slice(), key]).await?;
    Ok(pairs(&reply))
}

/// Fields and values of a reply to HGETALL.
pub(crate) fn pairs(reply: &Reply) -> Vec<(Bytes, Bytes)> {
    let pairs = reply.as_array().unwrap_or_default().chunks_exact(2);
    let pairs = pairs.filter_map(|pair| match pair {
        [Reply::Bulk(field), Reply::Bulk(value)] => Some((field.clone(), value.clone())),
        _ => None,
    });
    pairs.collect()
}

// === impl Ask ===

impl Ask {
    /// How it is stored.
    fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    /// Reads what is stored.
    pub(crate) fn parse(word: &[u8]) -> Option<Self> {
        [Self::Retry, Self::Discard].into_iter().find(|ask| ask.word().as_bytes() == word)
    }
}
