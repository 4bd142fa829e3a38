//! The handshake of a replica: REPLCONF, PSYNC, and what the server says to it.
//!
//! Guarantees: every reply is read before PSYNC goes out (servers refuse it otherwise); newlines
//! that come before the answer are keepalives, skipped, and count as signs of life; options that a
//! server does not know are no error. The version announced decides which snapshot format a
//! Valkey 9.1 sends: without one it falls back to one that cannot hold every value.

use std::sync::Arc;

use bytes::BytesMut;
use wire::resp::encode::write_command;
use wire::resp::reply::Reply;

use super::id::ReplicationId;
use super::link::Link;
use crate::connection::Connection;
use crate::error::{Error, quoted};
use crate::facts::{ServerFacts, Version};
use crate::refusal::{Code, Refusal};

/// The newest Valkey whose snapshots (version 80) can be read.
const NEWEST_VALKEY: Version = Version::new(9, 1, 0);
/// The longest answer to PSYNC; servers write less than a hundred bytes.
const MAX_ANSWER_BYTES: usize = 4 << 10;

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The history that the position is of.
    pub replid: ReplicationId,
    /// The next byte wanted: the offset processed so far plus one.
    pub next_offset: u64,
}

/// What to tell the server about us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Announcement {
    /// The Valkey version to pose as, if any.
    pub version: Option<Version>,
}

/// What the server grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A snapshot follows, then the stream.
    Full {
        /// The history.
        replid: ReplicationId,
        /// The offset of the snapshot: the first stream byte after it is `offset + 1`.
        offset: u64,
    },
    /// The stream follows, from the byte asked for.
    Continue {
        /// The history from here on; `None` if the server did not name it, so it is the same.
        replid: Option<ReplicationId>,
    },
}

// === impl Announcement ===

impl Announcement {
    /// What suits a server: a Valkey hears its own version, capped at what can be read; a Redis
    /// hears none. One that does not say what it is hears the newest, which others ignore.
    #[must_use]
    pub fn for_server(facts: &ServerFacts) -> Self {
        let version = match (&facts.flavour, facts.version) {
            (Some(_), Some(version)) if facts.is_valkey() => Some(version.min(NEWEST_VALKEY)),
            (Some(_), _) => None,
            (None, _) => Some(NEWEST_VALKEY),
        };
        Self { version }
    }
}

/// Turns a connection into a replication link. `resume` asks for the stream from a position; the
/// server may answer with a full transfer all the same. Without it a full transfer is asked for.
///
/// # Errors
/// [`Error::Psync`] when the server refuses, with a class that says whether it may pass (no link
/// to its own primary, loading, busy) or not (permissions, PSYNC unknown).
pub async fn open(
    mut connection: Connection,
    announcement: &Announcement,
    resume: Option<Resume>,
) -> Result<(Answer, Link), Error> {
    announce(&mut connection, announcement).await?;
    let (replid, offset) = match &resume {
        Some(resume) => (resume.replid.as_str(), resume.next_offset.to_string()),
        None => ("?", "-1".to_owned()),
    };
    let mut bytes = BytesMut::new();
    write_command(&mut bytes, ["PSYNC", replid, &offset]);
    connection.send(&bytes).await?;
    connection.flush().await?;
    let line = answer_line(&mut connection).await?;
    let answer = read_answer(&connection, &line)?;
    Ok((answer, Link::new(connection)))
}

async fn announce(connection: &mut Connection, announcement: &Announcement) -> Result<(), Error> {
    let mut bytes = BytesMut::new();
    write_command(&mut bytes, ["REPLCONF", "capa", "eof", "capa", "psync2"]);
    let mut replies = 1;
    if let Some(version) = announcement.version {
        write_command(&mut bytes, ["REPLCONF", "version", &version.to_string()]);
        replies += 1;
    }
    connection.send(&bytes).await?;
    connection.flush().await?;
    for _ in 0..replies {
        let Reply::Error(text) = connection.recv().await? else { continue };
        let refusal = Refusal::read(&text);
        let endpoint = Arc::clone(connection.endpoint());
        // Acknowledging needs the same permission, so a link without it would be cut soon.
        if matches!(refusal.code, Code::NoPermission | Code::NoAuth) {
            return Err(Error::Psync { endpoint, refusal });
        }
        tracing::debug!(%endpoint, %refusal, "replication option not taken");
    }
    Ok(())
}

/// The first line that is not a keepalive.
async fn answer_line(connection: &mut Connection) -> Result<BytesMut, Error> {
    loop {
        let buffer = connection.reader_mut().buffer_mut();
        let keepalives = buffer.iter().take_while(|byte| **byte == b'\n').count();
        drop(buffer.split_to(keepalives));
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            return Ok(buffer.split_to(end + 1));
        }
        if buffer.len() > MAX_ANSWER_BYTES {
            let came = quoted(buffer);
            return Err(unexpected(connection, came));
        }
        connection.reader_mut().fill("waiting for the answer to PSYNC").await?;
    }
}

fn read_answer(connection: &Connection, line: &[u8]) -> Result<Answer, Error> {
    let line = line.trim_ascii_end();
    if let Some(text) = line.strip_prefix(b"-") {
        let endpoint = Arc::clone(connection.endpoint());
        return Err(Error::Psync { endpoint, refusal: Refusal::read(text) });
    }
    parse_answer(line).ok_or_else(|| unexpected(connection, quoted(line)))
}

fn parse_answer(line: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(line).ok()?.strip_prefix('+')?;
    let mut words = text.split(' ');
    let answer = match words.next()? {
        "FULLRESYNC" => Answer::Full {
            replid: words.next()?.parse().ok()?,
            offset: words.next()?.parse().ok()?,
        },
        "CONTINUE" => match words.next() {
            Some(replid) => Answer::Continue { replid: Some(replid.parse().ok()?) },
            None => Answer::Continue { replid: None },
        },
        _ => return None,
    };
    words.next().is_none().then_some(answer)
}

fn unexpected(connection: &Connection, came: String) -> Error {
    let endpoint = Arc::clone(connection.endpoint());
    Error::Unexpected { endpoint, command: "PSYNC".to_owned(), came }
}

#[cfg(test)]
mod tests;
