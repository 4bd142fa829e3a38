//! A writer that costs next to nothing: it asks the server for no replies, so that the cores are
//! left to what is measured.
//!
//! A server that is behind stops taking bytes from the socket, which paces the writer. What it
//! refused is found in its own count of errors.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::Server;

pub(crate) mod answered;
pub(crate) mod collections;
pub(crate) mod mix;
pub(crate) mod strings;

/// What is written to the socket at once: enough that the call is small beside the copy.
const CHUNK_BYTES: usize = 64 << 10;
/// How long the server may take for what is under way; it takes a hundredth of it.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A connection that only writes.
pub(crate) struct Pen {
    stream: UnixStream,
    out: Vec<u8>,
}

// === impl Pen ===

impl Pen {
    /// Connects to a server.
    ///
    /// # Errors
    /// If it does not run.
    pub(crate) fn to(server: &Server) -> Result<Self> {
        let stream = UnixStream::connect(server.socket()).context("connect to the source")?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).context("set the read timeout")?;
        let mut pen = Self { stream, out: Vec::with_capacity(2 * CHUNK_BYTES) };
        pen.put(&[b"CLIENT", b"REPLY", b"OFF"])?;
        Ok(pen)
    }

    /// Writes a command, with the next ones if there is room.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) fn put(&mut self, words: &[&[u8]]) -> Result<()> {
        self.begin(words.len());
        for word in words {
            self.word(word);
        }
        self.end()
    }

    /// Begins a command of so many words; [`Pen::word`] adds them, [`Pen::end`] ends it.
    pub(crate) fn begin(&mut self, words: usize) {
        self.head(b'*', words);
    }

    /// Adds a word to the command.
    pub(crate) fn word(&mut self, word: &[u8]) {
        self.head(b'$', word.len());
        self.out.extend_from_slice(word);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends a command.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.out.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).context("write to the source")?;
        self.out.clear();
        Ok(())
    }

    /// Waits until the server has executed everything.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.put(&[b"CLIENT", b"REPLY", b"ON"])?;
        self.flush()?;
        let mut line = String::new();
        BufReader::new(&self.stream).read_line(&mut line).context("wait for the source")?;
        ensure!(line == "+OK\r\n", "the source answered {line:?}");
        Ok(())
    }

    fn head(&mut self, kind: u8, number: usize) {
        self.out.push(kind);
        let mut digits = [0_u8; 20];
        let mut left = number;
        let mut length = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(left % 10).expect("a digit");
            left /= 10;
            length += 1;
            if left == 0 {
                break;
            }
        }
        self.out.extend(digits.iter().skip(digits.len() - length));
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use testkit::Kind;

    use super::*;

    #[test]
    fn what_it_writes_is_executed_when_it_has_finished() {
        let server = Server::start(Kind::Redis7_0, &[]).unwrap();
        let mut pen = Pen::to(&server).unwrap();
        for n in 0..1234 {
            pen.put(&[b"RPUSH", b"list", format!("{n}").as_bytes()]).unwrap();
        }
        pen.put(&[b"SET", b"long", &[b'x'; 100_000]]).unwrap();
        pen.finish().unwrap();
        let mut client = server.client().unwrap();
        assert_eq!(client.cmd(&["LLEN", "list"]).unwrap().int().unwrap(), 1234);
        assert_eq!(client.cmd(&["STRLEN", "long"]).unwrap().int().unwrap(), 100_000);
        assert_eq!(client.cmd(&["LINDEX", "list", "1009"]).unwrap().text().unwrap(), "1009");
    }
}
