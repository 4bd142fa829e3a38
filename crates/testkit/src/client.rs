//! A small blocking RESP2 client for tests: commands, pipelines, any bytes.
//!
//! It decodes by itself, on purpose: what judges the project's decoder must not be that decoder.
//! Every read has a time limit, so that a test fails instead of hanging.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::value::Value;

/// One command: its name and arguments, any bytes.
pub type Command = Vec<Vec<u8>>;

/// How long one reply may take; the slowest honest one is a save on a busy two-core machine.
const REPLY_LIMIT: Duration = Duration::from_secs(60);
/// Commands written before their replies are read: enough to hide the round trip.
const WINDOW_COMMANDS: usize = 1000;

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<Stream>,
    out: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Makes a [`Command`] of words that are text.
pub fn command(words: &[&str]) -> Command {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

// === impl Client ===

impl Client {
    /// Connects over TCP.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn tcp(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr).with_context(|| format!("connect to {addr}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Self::over(Stream::Tcp(stream))
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn unix(path: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(path).with_context(|| format!("connect to {}", path.display()))?;
        Self::over(Stream::Unix(stream))
    }

    fn over(stream: Stream) -> Result<Self> {
        let client = Self { reader: BufReader::with_capacity(1 << 16, stream), out: Vec::new() };
        client.set_reply_limit(Some(REPLY_LIMIT))?;
        Ok(client)
    }

    /// Sets how long a reply may take; `None` waits for ever.
    ///
    /// # Errors
    /// If the socket refuses the option.
    pub fn set_reply_limit(&self, limit: Option<Duration>) -> Result<()> {
        match self.reader.get_ref() {
            Stream::Tcp(stream) => stream.set_read_timeout(limit),
            Stream::Unix(stream) => stream.set_read_timeout(limit),
        }
        .context("set the read timeout")
    }

    /// Runs one command; an error reply is an error that names the command.
    ///
    /// # Errors
    /// If the connection breaks or the server answers with an error.
    pub fn cmd(&mut self, words: &[impl AsRef<[u8]>]) -> Result<Value> {
        match self.ask(words)? {
            Value::Error(text) => bail!("{} answered {text}", spoken(words)),
            value => Ok(value),
        }
    }

    /// Runs one command; an error reply is a [`Value::Error`].
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> Result<Value> {
        self.send(words)?;
        self.read().with_context(|| spoken(words))
    }

    /// Writes one command without reading its reply, for commands that block.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn send(&mut self, words: &[impl AsRef<[u8]>]) -> Result<()> {
        self.queue(words);
        self.flush()
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// If the connection breaks, the time limit passes, or the bytes are not RESP2.
    pub fn read(&mut self) -> Result<Value> {
        let line = self.line()?;
        let (&kind, rest) = line.split_first().context("an empty reply line")?;
        let text = std::str::from_utf8(rest).unwrap_or("(not text)");
        let number = || text.parse::<i64>().with_context(|| format!("not a number: {text}"));
        match kind {
            b'+' => Ok(Value::Simple(text.to_owned())),
            b'-' => Ok(Value::Error(text.to_owned())),
            b':' => Ok(Value::Int(number()?)),
            b'$' => match usize::try_from(number()?) {
                Ok(length) => self.bulk(length),
                Err(_) => Ok(Value::Nil),
            },
            b'*' => match usize::try_from(number()?) {
                Ok(count) => {
                    (0..count).map(|_| self.read()).collect::<Result<_>>().map(Value::Array)
                }
                Err(_) => Ok(Value::Nil),
            },
            other => bail!("no RESP2 reply starts with byte {other:#04x}"),
        }
    }

    /// Runs many commands in a pipeline; the replies come in order, errors among them as values.
    ///
    /// # Errors
    /// If the connection breaks.
    pub fn batch<C, W>(&mut self, commands: &[C]) -> Result<Vec<Value>>
    where
        C: AsRef<[W]>,
        W: AsRef<[u8]>,
    {
        let mut replies = Vec::with_capacity(commands.len());
        for window in commands.chunks(WINDOW_COMMANDS) {
            for words in window {
                self.queue(words.as_ref());
            }
            self.flush()?;
            for _ in window {
                replies.push(self.read()?);
            }
        }
        Ok(replies)
    }

    /// Runs many commands in a pipeline, none of which may fail.
    ///
    /// # Errors
    /// If the connection breaks, or with the first error reply and its command.
    pub fn all<C, W>(&mut self, commands: &[C]) -> Result<Vec<Value>>
    where
        C: AsRef<[W]>,
        W: AsRef<[u8]>,
    {
        let replies = self.batch(commands)?;
        for (words, reply) in commands.iter().zip(&replies) {
            if let Value::Error(text) = reply {
                bail!("{} answered {text}", spoken(words.as_ref()));
            }
        }
        Ok(replies)
    }

    /// Authenticates; `user` is left out for servers before ACLs.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn auth(&mut self, user: Option<&str>, password: &str) -> Result<()> {
        match user {
            Some(user) => self.cmd(&["AUTH", user, password]),
            None => self.cmd(&["AUTH", password]),
        }
        .map(drop)
    }

    /// Selects a database.
    ///
    /// # Errors
    /// If the server has no such database.
    pub fn select(&mut self, db: u32) -> Result<()> {
        self.cmd(&["SELECT", &db.to_string()]).map(drop)
    }

    /// The text of `INFO section`.
    ///
    /// # Errors
    /// If the connection breaks or the server refuses.
    pub fn info(&mut self, section: &str) -> Result<String> {
        self.cmd(&["INFO", section])?.text()
    }

    /// One field of `INFO section`, if it is there.
    ///
    /// # Errors
    /// If the connection breaks or the server refuses.
    pub fn info_field(&mut self, section: &str, field: &str) -> Result<Option<String>> {
        let info = self.info(section)?;
        let found = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(found.map(str::to_owned))
    }

    fn queue(&mut self, words: &[impl AsRef<[u8]>]) {
        self.out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            let word = word.as_ref();
            self.out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            self.out.extend_from_slice(word);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    fn flush(&mut self) -> Result<()> {
        let written = match self.reader.get_ref() {
            Stream::Tcp(stream) => (&mut &*stream).write_all(&self.out),
            Stream::Unix(stream) => (&mut &*stream).write_all(&self.out),
        };
        self.out.clear();
        written.context("write to the server")
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).context("read a reply")?;
        if !line.ends_with(b"\r\n") {
            bail!("the server closed the connection");
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn bulk(&mut self, length: usize) -> Result<Value> {
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes).context("read a bulk reply")?;
        bytes.truncate(length);
        Ok(Value::Bulk(bytes))
    }
}

// === impl Stream ===

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

/// A command as a person would write it, cut short.
pub(crate) fn spoken(words: &[impl AsRef<[u8]>]) -> String {
    let mut line = words.iter().take(8).map(|word| abridged(word.as_ref())).collect::<Vec<_>>();
    if words.len() > 8 {
        line.push(format!("… ({} words)", words.len()));
    }
    line.join(" ")
}

/// Bytes for a person: printable as they are, the rest escaped, long ones cut with their length.
pub fn abridged(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 60;
    match bytes.get(..SHOWN_BYTES) {
        Some(start) if bytes.len() > SHOWN_BYTES => {
            format!("{}… ({} bytes)", start.escape_ascii(), bytes.len())
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_abridged_with_its_length() {
        assert_eq!(abridged(b"a\x00b"), "a\\x00b");
        assert!(abridged(&[b'x'; 100]).ends_with("x… (100 bytes)"));
    }

    #[test]
    fn a_reply_of_nested_arrays_is_read() {
        let (mut server, mine) = UnixStream::pair().unwrap();
        let mut client = Client::over(Stream::Unix(mine)).unwrap();
        server.write_all(b"*3\r\n:-5\r\n*-1\r\n*2\r\n$2\r\n\r\n\r\n+OK\r\n").unwrap();
        let reply = client.read().unwrap();
        let inner = Value::Array(vec![Value::Bulk(b"\r\n".to_vec()), Value::Simple("OK".into())]);
        assert_eq!(reply, Value::Array(vec![Value::Int(-5), Value::Nil, inner]));
    }

    #[test]
    fn a_closed_connection_is_an_error() {
        let (server, mine) = UnixStream::pair().unwrap();
        let mut client = Client::over(Stream::Unix(mine)).unwrap();
        drop(server);
        assert!(client.ask(&["PING"]).is_err());
    }
}
