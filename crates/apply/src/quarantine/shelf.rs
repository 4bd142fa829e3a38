//! What an operator sees of the quarantine of a destination, and asks to be done about it.
//!
//! Nothing here changes data: a request is stored at the destination, and the lane that owns the key acts on it between two
//! batches, so that it keeps its place in the order. A lane that does not run acts when it starts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use runtime::Clock;
use wire::resp::reply::Reply;

use super::set::Spot;
use super::suspects::Suspects;
use crate::config::Config;
use crate::error::Error;
use crate::lane::Link;
use crate::names::TrackNames;

/// The held keys of one destination.
#[derive(Debug)]
pub struct Shelf {
    link: Link,
    lanes: Vec<TrackNames>,
}

/// How many lanes apply a stream, each with a set of held keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// One: all partitions come in one order, as in the embedded journal.
    One,
    /// One for each of so many partitions.
    PerPartition(u16),
}

/// A key or a function library that is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Database of the destination; [`event::quarantine::LIBRARIES_DB`]: it is a library.
    pub db: u32,
    /// The key, or the name of the library.
    pub key: Bytes,
    /// Where in the source's history it was set aside, and why.
    pub why: String,
    /// What has been asked for, if anything, and what became of it.
    pub answer: Option<Answer>,
}

/// A key of which nobody knows whether a change of it was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Database of the destination; [`event::quarantine::LIBRARIES_DB`]: it is a library.
    pub db: u32,
    /// The key, or the name of the library.
    pub key: Bytes,
    /// Where in the source's history that was.
    pub why: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has not been looked at yet, or is being done.
    Waiting(Ask),
    /// It cannot be done, and why. A new request takes its place.
    Refused(String),
}

/// What is stored for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is to be done.
    Ask(Ask),
    /// Its letters were executed; nobody has read yet what became of them.
    Tried,
    /// It cannot be done.
    Refused(String),
    /// It is no request of ours.
    Unknown(String),
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
            Lanes::One => vec![TrackNames::new(stream, 0, 1)],
            Lanes::PerPartition(count) => {
                (0..count).map(|number| TrackNames::new(stream, number, u32::from(count))).collect()
            }
        };
        Ok(Self { link, lanes })
    }

    /// Whether the stream has been applied here.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn has_begun(&mut self) -> Result<bool, Error> {
        for names in &self.lanes {
            let there =
                self.link.connection.call([b"EXISTS".as_slice(), &names.checkpoint]).await?;
            if there.as_int() == Some(1) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every key that is set aside, by database and name.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn list(&mut self) -> Result<Vec<HeldKey>, Error> {
        let mut keys = Vec::new();
        for names in &self.lanes {
            let asked = hash(&mut self.link, &names.requests).await?;
            let asked: HashMap<Bytes, Bytes> = asked.into_iter().collect();
            for (field, why) in hash(&mut self.link, &names.quarantine).await? {
                let Some(Spot { db, key }) = Spot::parse(&field) else { continue };
                keys.push(HeldKey {
                    db,
                    key,
                    why: String::from_utf8_lossy(&why).into_owned(),
                    answer: asked.get(&field).and_then(|word| Word::parse(word).answer()),
                });
            }
        }
        keys.sort_by(|one, other| (one.db, &one.key).cmp(&(other.db, &other.key)));
        Ok(keys)
    }

    /// Requests that were refused although, or because, no such key is set aside: what was asked about, as it is
    /// stored (database, colon, key), and why nothing was done.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn strays(&mut self) -> Result<Vec<(Bytes, String)>, Error> {
        let mut strays = Vec::new();
        for names in &self.lanes {
            let held = hash(&mut self.link, &names.quarantine).await?;
            let held: HashSet<Bytes> = held.into_iter().map(|(field, _)| field).collect();
            for (field, word) in hash(&mut self.link, &names.requests).await? {
                let known = held.contains(&field);
                if let (false, Word::Refused(why)) = (known, Word::parse(&word)) {
                    strays.push((field, why));
                }
            }
        }
        strays.sort();
        Ok(strays)
    }

    /// Suspects by database and key, and how many there are that are not listed.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn suspects(&mut self) -> Result<(Vec<Suspect>, u64), Error> {
        let (mut found, mut more) = (Vec::new(), 0);
        for names in &self.lanes {
            let suspects = Suspects::read(hash(&mut self.link, &names.suspects).await?);
            more += suspects.more();
            found.extend(suspects.iter().map(|(spot, why)| Suspect {
                db: spot.db,
                key: spot.key.clone(),
                why: String::from_utf8_lossy(why).into_owned(),
            }));
        }
        found.sort_by(|one, other| (one.db, &one.key).cmp(&(other.db, &other.key)));
        Ok((found, more))
    }

    /// Takes a key off the list of suspects: somebody has looked at it. Says whether it was there.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn forget_suspect(&mut self, db: u32, key: &Bytes) -> Result<bool, Error> {
        let field = Spot { db, key: key.clone() }.field();
        let mut there = false;
        for names in &self.lanes {
            let forget: [&[u8]; 3] = [b"HDEL", &names.suspects, &field];
            there |= self.link.connection.call(forget).await?.as_int() == Some(1);
        }
        Ok(there)
    }

    /// Empties the list of suspects. Says whether anything was in it.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn forget_suspects(&mut self) -> Result<bool, Error> {
        let mut there = false;
        for names in &self.lanes {
            let forget: [&[u8]; 2] = [b"DEL", &names.suspects];
            there |= self.link.connection.call(forget).await?.as_int() == Some(1);
        }
        Ok(there)
    }

    /// Asks for something to be done about a key, or a library (see [`HeldKey`]). Says whether the key is set aside at all.
    ///
    /// # Errors
    /// What the destination refused.
    pub async fn ask(&mut self, db: u32, key: &Bytes, ask: Ask) -> Result<bool, Error> {
        let field = Spot { db, key: key.clone() }.field();
        for names in &self.lanes {
            let held: [&[u8]; 3] = [b"HEXISTS", &names.quarantine, &field];
            if self.link.connection.call(held).await?.as_int() == Some(1) {
                let word = Word::Ask(ask).text();
                let put: [&[u8]; 4] = [b"HSET", &names.requests, &field, word.as_bytes()];
                self.link.connection.call(put).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }
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
}

// === impl Word ===

impl Word {
    /// How it is stored.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Ask(ask) => ask.word().to_owned(),
            Self::Tried => TRIED.to_owned(),
            Self::Refused(why) => format!("{REFUSED}{why}"),
            Self::Unknown(text) => text.clone(),
        }
    }

    /// Reads what is stored.
    pub(crate) fn parse(word: &[u8]) -> Self {
        let text = String::from_utf8_lossy(word).into_owned();
        let ask = [Ask::Retry, Ask::Discard].into_iter().find(|ask| ask.word() == text);
        match (ask, text.strip_prefix(REFUSED)) {
            (Some(ask), _) => Self::Ask(ask),
            (None, Some(why)) => Self::Refused(why.to_owned()),
            (None, None) if text == TRIED => Self::Tried,
            (None, None) => Self::Unknown(text),
        }
    }

    fn answer(self) -> Option<Answer> {
        match self {
            Self::Ask(ask) => Some(Answer::Waiting(ask)),
            Self::Tried => Some(Answer::Waiting(Ask::Retry)),
            Self::Refused(why) => Some(Answer::Refused(why)),
            Self::Unknown(_) => None,
        }
    }
}

/// The word of a request whose letters were executed.
const TRIED: &str = "tried";
/// How the word of a refused request begins.
const REFUSED: &str = "refused ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let refused = Word::Refused("too much".to_owned());
        for word in [Word::Ask(Ask::Retry), Word::Ask(Ask::Discard), Word::Tried, refused] {
            assert_eq!(Word::parse(word.text().as_bytes()), word);
        }
        assert_eq!(Word::parse(b"fly"), Word::Unknown("fly".to_owned()));
    }
}
