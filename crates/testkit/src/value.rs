//! What a server answers, and the shapes that tests take it for.
//!
//! Each reader fails with the value it met, so that a surprise of a server is seen in the message.

use std::fmt;

use anyhow::{Result, anyhow};

use crate::client::abridged;

/// A RESP2 reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value, of either kind.
    Nil,
    /// An integer.
    Int(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// A status line.
    Simple(String),
    /// A refusal.
    Error(String),
    /// Replies in order.
    Array(Vec<Self>),
}

// === impl Value ===

impl Value {
    /// An integer, or text that is one.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn int(&self) -> Result<i64> {
        match self {
            Self::Int(number) => Ok(*number),
            _ => self.clone().text()?.parse().map_err(|_| self.not("an integer")),
        }
    }

    /// The bytes of a bulk or status reply.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Bulk(bytes) => Ok(bytes),
            Self::Simple(text) => Ok(text.into_bytes()),
            other => Err(other.not("bytes")),
        }
    }

    /// The bytes of a bulk or status reply, as text.
    ///
    /// # Errors
    /// If it is anything else, or not UTF-8.
    pub fn text(self) -> Result<String> {
        match self {
            Self::Int(number) => Ok(number.to_string()),
            other => {
                String::from_utf8(other.bytes()?).map_err(|error| anyhow!("not text: {error}"))
            }
        }
    }

    /// The members of an array.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn array(self) -> Result<Vec<Self>> {
        match self {
            Self::Array(members) => Ok(members),
            other => Err(other.not("an array")),
        }
    }

    /// The members of an array of bytes.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn list(self) -> Result<Vec<Vec<u8>>> {
        self.array()?.into_iter().map(Self::bytes).collect()
    }

    /// An array of alternating names and values, as RESP2 writes a map.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn pairs(self) -> Result<Vec<(Self, Self)>> {
        let mut members = self.array()?.into_iter();
        let mut pairs = Vec::with_capacity(members.len() / 2);
        while let Some(name) = members.next() {
            let value = members.next().ok_or_else(|| anyhow!("a map with an odd end: {name}"))?;
            pairs.push((name, value));
        }
        Ok(pairs)
    }

    /// The value of `name` in an array of alternating names and values.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let Self::Array(members) = self else { return None };
        members.chunks_exact(2).find_map(|pair| match pair {
            [Self::Bulk(key), value] if key == name.as_bytes() => Some(value),
            [Self::Simple(key), value] if key == name => Some(value),
            _ => None,
        })
    }

    /// Whether this is an error reply.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    fn not(&self, wanted: &str) -> anyhow::Error {
        anyhow!("the server answered {self} where {wanted} was expected")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", abridged(bytes)),
            Self::Simple(text) => f.write_str(text),
            Self::Error(text) => write!(f, "error {text}"),
            Self::Array(members) => {
                f.write_str("[")?;
                for (n, member) in members.iter().enumerate() {
                    write!(f, "{}{member}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}
