//! Where a reply ends, found in one pass over bytes that may still be arriving.

use super::{ReplyError, ReplyLimits};

/// A marker, a sign, 19 digits and the line end fit easily.
const MAX_LENGTH_LINE_BYTES: usize = 32;

/// How far into the reply at the front of a buffer the search has come.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// Bytes that belong to finished elements or to the line being read.
    position: usize,
    /// Bytes of that line known to hold no newline.
    searched: usize,
    /// Per open array, the elements still to come.
    open: Vec<u64>,
    /// The reply ends at `position`, which may lie beyond the bytes at hand.
    found: bool,
}

// === impl Boundary ===

impl Boundary {
    /// Whether nothing of a reply has been looked at.
    pub(super) fn is_at_start(&self) -> bool {
        self.position == 0 && self.searched == 0 && !self.found
    }

    /// The length of the reply at the start of `buffer`, or `None` while it is incomplete. After a
    /// length the next call is about the next reply.
    pub(super) fn find(
        &mut self,
        buffer: &[u8],
        limits: &ReplyLimits,
    ) -> Result<Option<usize>, ReplyError> {
        let too_long = || ReplyError::TooLong { limit: limits.max_bytes };
        while !self.found {
            // A string ends beyond the bytes at hand: nothing to look at.
            let Some(line) = buffer.get(self.position..) else {
                return Ok(None);
            };
            let unread = line.get(self.searched..).unwrap_or_default();
            let Some(newline) = memchr::memchr(b'\n', unread) else {
                self.searched = line.len();
                return if buffer.len() > limits.max_bytes { Err(too_long()) } else { Ok(None) };
            };
            let length = self.searched + newline + 1;
            self.searched = 0;
            let skip = self.element(line.get(..length).unwrap_or_default(), limits)?;
            self.position = self.position.saturating_add(length).saturating_add(skip);
            if self.position > limits.max_bytes {
                return Err(too_long());
            }
            self.found = self.open.is_empty();
        }
        if self.position > buffer.len() {
            return Ok(None);
        }
        self.found = false;
        Ok(Some(std::mem::take(&mut self.position)))
    }

    /// Takes note of the element that `line` begins; how many bytes follow the line.
    fn element(&mut self, line: &[u8], limits: &ReplyLimits) -> Result<usize, ReplyError> {
        let malformed = |reason: &'static str| ReplyError::Malformed { reason: reason.into() };
        let Some((marker, text)) = line.split_first() else {
            return Err(malformed("an empty line"));
        };
        let Some(text) = text.strip_suffix(b"\r\n") else {
            return Err(malformed("a line that does not end in CRLF"));
        };
        let mut skip = 0;
        match marker {
            b'+' | b'-' | b':' => self.close(),
            b'$' => {
                let length = length(text).ok_or_else(|| malformed("a length that is no number"))?;
                skip = usize::try_from(length).map_or(0, |length| length.saturating_add(2));
                self.close();
            }
            b'*' => {
                let count = length(text).ok_or_else(|| malformed("a count that is no number"))?;
                match u64::try_from(count) {
                    Ok(0) | Err(_) => self.close(),
                    Ok(_) if self.open.len() >= limits.max_depth => {
                        return Err(ReplyError::TooDeep { limit: limits.max_depth });
                    }
                    Ok(count) => self.open.push(count),
                }
            }
            _ => return Err(malformed("an unknown type of reply")),
        }
        Ok(skip)
    }

    /// One element is complete, and every array that it completes.
    fn close(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
    }
}

/// A decimal number, not below -1.
fn length(text: &[u8]) -> Option<i64> {
    if text.len() > MAX_LENGTH_LINE_BYTES {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|length| *length >= -1)
}
