//! What a reader of a stream asks of whoever captures it: a small JSON document, which is posted beside the stream.
//!
//! Whoever still wants it repeats it, with the same id, so that a capture that has just started hears of it too; one
//! that has obeyed it already does not obey it again.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The form that this build writes, and reads.
const FORMAT: u32 = 1;

/// The longest id and the longest name of who asks, bytes: they stand in logs.
const WORD_BYTES: usize = 200;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Drawn at random by who asks: the same in each repetition.
    pub id: String,
    /// What is asked for.
    pub ask: Ask,
    /// Who asks, for people.
    pub from: String,
    /// When it was asked first, Unix milliseconds.
    pub at_ms: i64,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// A snapshot beside the stream that begins after this was heard.
    Snapshot,
}

/// Why what was posted is no request.
#[derive(Debug, Error)]
pub enum RequestError {
    /// It is no document of ours.
    #[error("it is not a request")]
    Malformed(#[source] serde_json::Error),
    /// It is of another form.
    #[error("its format is {format}, this version knows {FORMAT}: use a newer one")]
    Format {
        /// Which.
        format: u32,
    },
    /// A word is too long.
    #[error("its {what} has {bytes} bytes, of at most {WORD_BYTES}")]
    Long {
        /// Which word.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// Its form alone, which is looked at first.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    id: String,
    ask: Ask,
    from: String,
    at_ms: i64,
}

// === impl Request ===

impl Request {
    /// The document.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Self { id, ask, from, at_ms } = self.clone();
        let document = Document { format: FORMAT, id, ask, from, at_ms };
        serde_json::to_vec(&document).expect("it is plain data").into()
    }

    /// Reads a document. Words that it does not know are passed over.
    ///
    /// # Errors
    /// When it is none, or one of a newer form.
    pub fn decode(document: &[u8]) -> Result<Self, RequestError> {
        let Form { format } = serde_json::from_slice(document).map_err(RequestError::Malformed)?;
        if format != FORMAT {
            return Err(RequestError::Format { format });
        }
        let Document { id, ask, from, at_ms, .. } =
            serde_json::from_slice(document).map_err(RequestError::Malformed)?;
        for (what, word) in [("id", &id), ("from", &from)] {
            let bytes = word.len();
            if bytes > WORD_BYTES {
                return Err(RequestError::Long { what, bytes });
            }
        }
        Ok(Self { id, ask, from, at_ms })
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "a snapshot",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let (id, from) = ("c0ffee".to_owned(), "resnapshot on host".to_owned());
        Request { id, ask: Ask::Snapshot, from, at_ms: 1_700_000_000_000 }
    }

    #[test]
    fn reads_what_it_wrote_and_what_is_frozen() {
        let request = request();
        let frozen = br#"{"format":1,"id":"c0ffee","ask":"snapshot","from":"resnapshot on host","at_ms":1700000000000}"#;
        assert_eq!(request.encode(), frozen.as_slice());
        assert_eq!(Request::decode(frozen).unwrap(), request);
        let more = br#"{"format":1,"id":"c0ffee","ask":"snapshot","from":"resnapshot on host","at_ms":1700000000000,"why":1}"#;
        assert_eq!(Request::decode(more).unwrap(), request);
    }

    #[test]
    fn names_what_it_does_not_understand() {
        let text = |document: &str| Request::decode(document.as_bytes()).unwrap_err().to_string();
        assert!(text("").contains("not a request"));
        assert!(
            text(r#"{"format":1,"id":"a","ask":"tea","from":"","at_ms":0}"#)
                .contains("not a request")
        );
        assert!(text(r#"{"format":2,"wants":"tea"}"#).contains("format is 2"));
        let long = Request { from: "x".repeat(300), ..request() };
        assert!(
            Request::decode(&long.encode()).unwrap_err().to_string().contains("its from has 300")
        );
    }
}
