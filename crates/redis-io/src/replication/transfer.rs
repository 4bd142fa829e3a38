//! The framing of a full transfer, without I/O: chunks in, events out.
//!
//! ```text
//! \n…  $<length>\r\n      <length bytes>            stream…
//! \n…  $EOF:<40 bytes>\r\n  bytes… <the same 40 bytes>  stream…
//! \n…  -ERR text\r\n                                    instead of a snapshot
//! ```
//! Guarantees: events, with neighbouring bytes joined, do not depend on how the input was cut; no
//! byte of a snapshot or a stream is copied (but for at most 39 that looked like the beginning of
//! the mark); every input byte is in exactly one event or header. A mark is found wherever it
//! begins: that a snapshot contains it by chance has a probability of 2^-160.

mod mark;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use runtime::{Class, Classified};
use thiserror::Error;

use self::mark::{Mark, Search};
use crate::refusal::Refusal;

/// The longest header or error line; servers write less than a hundred bytes.
const MAX_HEADER_BYTES: usize = 1 << 10;

/// What comes after the answer to PSYNC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server is alive and prepares a snapshot. Not part of the stream.
    Keepalive,
    /// A snapshot begins.
    SnapshotStart(SnapshotSize),
    /// The next bytes of the snapshot, never empty.
    SnapshotBytes(Bytes),
    /// The snapshot is complete. From here on the link must be acknowledged each second.
    SnapshotEnd,
    /// The next bytes of the stream, never empty.
    StreamBytes(Bytes),
}

/// How the end of a snapshot is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotSize {
    /// By its length in bytes: the server has it on disk.
    Length(u64),
    /// By a mark after it: it is made while it is sent, and how long it gets nobody knows.
    UntilMark,
}

/// Why there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransferError {
    /// The server could not make it.
    #[error("the server failed to make a snapshot: {0}")]
    Refused(Refusal),
    /// Neither a length nor a mark.
    #[error("{0} is not the header of a snapshot")]
    BadHeader(String),
}

/// The state machine. Feed it chunks, take events until there are none.
#[derive(Debug)]
pub struct Transfer {
    input: VecDeque<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the header; its beginning may be here already.
    Header(BytesMut),
    /// In a snapshot with so many bytes to come.
    Counted(u64),
    /// In a snapshot that ends with the mark.
    Marked(Box<Mark>),
    /// The snapshot's last byte was given out.
    Ended,
    /// In the stream.
    Stream,
    /// No more events.
    Failed(TransferError),
}

// === impl Transfer ===

impl Transfer {
    /// For a link that was answered with a full transfer.
    #[must_use]
    pub fn full() -> Self {
        Self { input: VecDeque::new(), state: State::Header(BytesMut::new()) }
    }

    /// For a link that goes on in the stream: every byte is stream.
    #[must_use]
    pub fn resumed() -> Self {
        Self { input: VecDeque::new(), state: State::Stream }
    }

    /// Takes the next bytes of the link.
    pub fn feed(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.input.push_back(chunk);
        }
    }

    /// The next event, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// When there will be no snapshot. The link is useless then: every later call gives the same.
    pub fn next_event(&mut self) -> Result<Option<Event>, TransferError> {
        loop {
            match &mut self.state {
                State::Failed(error) => return Err(error.clone()),
                State::Ended => {
                    self.state = State::Stream;
                    return Ok(Some(Event::SnapshotEnd));
                }
                State::Counted(0) => self.state = State::Ended,
                State::Stream => return Ok(self.input.pop_front().map(Event::StreamBytes)),
                _ => {
                    let Some(chunk) = self.input.pop_front() else { return Ok(None) };
                    if let Some(event) = self.advance(chunk)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Consumes the beginning of `chunk` and puts the rest back.
    fn advance(&mut self, mut chunk: Bytes) -> Result<Option<Event>, TransferError> {
        let event = match &mut self.state {
            State::Header(line) => {
                if line.is_empty() && chunk.first() == Some(&b'\n') {
                    drop(chunk.split_to(1));
                    Some(Event::Keepalive)
                } else {
                    self.header(&mut chunk)?
                }
            }
            State::Counted(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
                let bytes = chunk.split_to(here);
                *left -= here as u64;
                Some(Event::SnapshotBytes(bytes))
            }
            State::Marked(mark) => match mark.search(&mut chunk) {
                Search::Before(bytes) => Some(Event::SnapshotBytes(bytes)),
                Search::Found => {
                    self.state = State::Ended;
                    None
                }
                Search::Nothing => None,
            },
            State::Ended | State::Stream | State::Failed(_) => None,
        };
        if !chunk.is_empty() {
            self.input.push_front(chunk);
        }
        Ok(event)
    }

    /// Collects the header line, then acts on it.
    fn header(&mut self, chunk: &mut Bytes) -> Result<Option<Event>, TransferError> {
        let State::Header(line) = &mut self.state else { return Ok(None) };
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&chunk.split_to(newline.map_or(chunk.len(), |at| at + 1)));
        if newline.is_none() && line.len() <= MAX_HEADER_BYTES {
            return Ok(None);
        }
        let header = read_header(line.trim_ascii_end());
        match header {
            Ok((size, state)) => {
                self.state = state;
                Ok(Some(Event::SnapshotStart(size)))
            }
            Err(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
        }
    }
}

fn read_header(line: &[u8]) -> Result<(SnapshotSize, State), TransferError> {
    let bad = || TransferError::BadHeader(crate::error::quoted(line));
    if let Some(text) = line.strip_prefix(b"-") {
        return Err(TransferError::Refused(Refusal::read(text)));
    }
    let size = line.strip_prefix(b"$").ok_or_else(bad)?;
    if let Some(mark) = size.strip_prefix(b"EOF:") {
        let mark = Mark::new(mark).ok_or_else(bad)?;
        return Ok((SnapshotSize::UntilMark, State::Marked(Box::new(mark))));
    }
    let digits =
        std::str::from_utf8(size).ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok()).ok_or_else(bad)?;
    Ok((SnapshotSize::Length(length), State::Counted(length)))
}

// === impl TransferError ===

impl Classified for TransferError {
    fn class(&self) -> Class {
        match self {
            Self::Refused(_) => Class::Retry,
            Self::BadHeader(_) => Class::Operator,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Refused(_) => {
                "The server's log says why: often memory or disk was too short for a snapshot, or \
                 one of its values does not fit the format agreed on."
            }
            Self::BadHeader(_) => {
                "Something between us and the server changes the protocol, or it is a server of \
                 another kind."
            }
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests;
