//! Reading what a server answers (RESP2).
//!
//! The decoder finds the end of a reply first, in one pass whose state survives between reads, and
//! only then has `redis-protocol` decode the whole frame: so a large reply costs linear time
//! however it arrives, and the limits on depth and size hold before anything recurses or is
//! allocated. Texts in a [`Reply`] share the memory they were read into.

mod boundary;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;
use thiserror::Error;

use self::boundary::Boundary;

/// One answer of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status such as `OK`.
    Simple(Bytes),
    /// An error, its code the first word.
    Error(Bytes),
    /// A number.
    Integer(i64),
    /// A binary-safe string.
    Bulk(Bytes),
    /// No value, or an aborted transaction.
    Null,
    /// Several replies.
    Array(Vec<Reply>),
}

/// What one reply may be at most.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLimits {
    /// Deepest nesting of arrays.
    pub max_depth: usize,
    /// Longest reply in its raw form, in bytes.
    pub max_bytes: usize,
}

/// `COMMAND INFO` and `XINFO STREAM … FULL` nest six deep.
const DEFAULT_MAX_DEPTH: usize = 16;
/// A `DUMP` of the largest value with its frame around it.
const DEFAULT_MAX_BYTES: usize = 1 << 30;

impl Default for ReplyLimits {
    fn default() -> Self {
        Self { max_depth: DEFAULT_MAX_DEPTH, max_bytes: DEFAULT_MAX_BYTES }
    }
}

/// Why a connection's replies cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The bytes are no reply.
    #[error("malformed reply: {reason}")]
    Malformed {
        /// What was wrong.
        reason: Cow<'static, str>,
    },
    /// Arrays nest deeper than the limit.
    #[error("reply nested deeper than {limit} levels")]
    TooDeep {
        /// The configured limit.
        limit: usize,
    },
    /// The reply is longer than the limit.
    #[error("reply longer than {limit} bytes")]
    TooLong {
        /// The configured limit.
        limit: usize,
    },
}

/// The decoder of one connection. Feed it bytes, take replies until there are none.
#[derive(Debug, Default)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    buffer: BytesMut,
    boundary: Boundary,
    failed: Option<ReplyError>,
}

// === impl ReplyDecoder ===

impl ReplyDecoder {
    /// A decoder at the start of a reply.
    #[must_use]
    pub fn new(limits: ReplyLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next bytes of the connection.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer itself, for a socket to append to. Bytes in it must stay as they are.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole reply, or `None` until more bytes are there.
    ///
    /// # Errors
    /// When the bytes are no reply, or one beyond the limits. The connection is lost then: every
    /// later call gives the same error.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.decode_next().inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The bytes after the last reply, when the connection goes on with something else.
    #[must_use]
    pub fn into_rest(self) -> BytesMut {
        self.buffer
    }

    fn decode_next(&mut self) -> Result<Option<Reply>, ReplyError> {
        if self.boundary.is_at_start()
            && let Some((frame, text)) = common_status(&self.buffer)
        {
            self.buffer.advance(frame.len());
            return Ok(Some(Reply::Simple(Bytes::from_static(text))));
        }
        let Some(length) = self.boundary.find(&self.buffer, &self.limits)? else {
            return Ok(None);
        };
        let frame = self.buffer.split_to(length).freeze();
        match decode_range(&frame) {
            Ok(Some((range, _))) => Ok(Some(Reply::from_range(range, &frame))),
            Ok(None) => Err(ReplyError::Malformed { reason: "a line end is missing".into() }),
            Err(error) => Err(ReplyError::Malformed { reason: error.details().to_owned().into() }),
        }
    }
}

/// The replies that most commands get, as they come and their text.
const COMMON_STATUSES: [(&[u8], &[u8]); 2] = [(b"+QUEUED\r\n", b"QUEUED"), (b"+OK\r\n", b"OK")];

/// The common reply at the front of a buffer: there are thousands in a batch, so they are neither parsed nor do they
/// hold the buffer that they came in.
fn common_status(buffer: &[u8]) -> Option<(&'static [u8], &'static [u8])> {
    COMMON_STATUSES.into_iter().find(|(frame, _)| buffer.starts_with(frame))
}

// === impl Reply ===

impl Reply {
    fn from_range(range: RangeFrame, frame: &Bytes) -> Self {
        let part = |(start, end): (usize, usize)| match frame.get(start..end) {
            Some(part) => frame.slice_ref(part),
            None => Bytes::new(),
        };
        match range {
            RangeFrame::SimpleString((start, end)) if frame.get(start..end) == Some(b"OK") => {
                Self::Simple(Bytes::from_static(b"OK"))
            }
            RangeFrame::SimpleString(range) => Self::Simple(part(range)),
            RangeFrame::Error(range) => Self::Error(part(range)),
            RangeFrame::Integer(value) => Self::Integer(value),
            RangeFrame::BulkString(range) => Self::Bulk(part(range)),
            RangeFrame::Null => Self::Null,
            RangeFrame::Array(items) => {
                Self::Array(items.into_iter().map(|item| Self::from_range(item, frame)).collect())
            }
        }
    }

    /// Whether this is the status `OK`.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Simple(text) if text == "OK")
    }

    /// The bytes of a status or a string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Simple(bytes) | Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a status or a string, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The value of an integer, or of a string that is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => self.as_str()?.parse().ok(),
        }
    }

    /// The items of an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The text of an error, the code included, with what is not UTF-8 replaced.
    #[must_use]
    pub fn error(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Error(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }

    /// The code of an error: its first word, such as `MOVED` or `ERR`.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        match self {
            Self::Error(text) => {
                let code = text.split(|byte| *byte == b' ').next()?;
                std::str::from_utf8(code).ok()
            }
            _ => None,
        }
    }
}
