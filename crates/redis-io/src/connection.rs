//! One connection: commands out, replies in, in order.
//!
//! Guarantees: a reply belongs to the oldest command not yet answered; reading is cancel-safe,
//! writing is not (a dropped write leaves half a command: drop the connection). After an error of
//! either half the connection is lost. To pipeline more than the sockets' buffers hold, write and
//! read from two tasks ([`Connection::split`]): a server that cannot write its replies stops
//! reading commands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use runtime::Clock;
use runtime::clock::timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::resp::encode::write_command;
use wire::resp::reply::{Reply, ReplyDecoder, ReplyLimits};

use crate::error::{Error, PeerName, quoted};
use crate::refusal::Refusal;
use crate::transport::{ReadHalf, Transport, WriteHalf};

/// Free room that a read is given: two of the largest TLS records.
const READ_BYTES: usize = 32 << 10;

/// A connection whose two halves are used by one task.
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    writer: Writer,
    db: u32,
    is_named: bool,
}

/// The half that reads replies.
pub struct Reader {
    half: ReadHalf,
    decoder: ReplyDecoder,
    peer: Peer,
}

/// The half that writes commands.
pub struct Writer {
    half: WriteHalf,
    peer: Peer,
}

/// Who is at the other end, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The endpoint, as messages name it.
    pub name: PeerName,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The longest wait without a byte read or written.
    pub patience: Duration,
}

/// So many commands are written before their replies are read: neither side's buffers fill up.
const COMMANDS_AT_ONCE: usize = 128;

// === impl Connection ===

impl Connection {
    /// A connection over an open stream, without a greeting. [`crate::Connector`] does both.
    #[must_use]
    pub fn over(transport: Transport, peer: Peer, limits: ReplyLimits) -> Self {
        let (read, write) = transport.into_split();
        let decoder = ReplyDecoder::new(limits);
        let reader = Reader { half: read, decoder, peer: peer.clone() };
        Self { reader, writer: Writer { half: write, peer }, db: 0, is_named: false }
    }

    /// Runs one command; an error reply is an [`Error::Server`] that names the command.
    ///
    /// # Errors
    /// When the server refuses, or the connection is lost.
    pub async fn call<I>(&mut self, args: I) -> Result<Reply, Error>
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        let args = args.into_iter();
        let command = spoken(args.clone());
        match self.ask(args).await? {
            Reply::Error(text) => {
                let endpoint = Arc::clone(&self.reader.peer.name);
                Err(Error::Server { endpoint, command, refusal: Refusal::read(&text) })
            }
            reply => Ok(reply),
        }
    }

    /// Runs one command; an error reply is a [`Reply::Error`].
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn ask<I>(&mut self, args: I) -> Result<Reply, Error>
    where
        I: IntoIterator<IntoIter: Clone>,
        I::Item: AsRef<[u8]>,
    {
        let mut bytes = BytesMut::new();
        write_command(&mut bytes, args);
        self.send(&bytes).await?;
        self.flush().await?;
        self.recv().await
    }

    /// Runs commands one behind the other without waiting for each reply, and reads all of these; the first that is an
    /// error is an [`Error::Server`] that names its command.
    ///
    /// # Errors
    /// When the server refuses one, or the connection is lost.
    pub async fn call_each<C, A>(&mut self, commands: &[C]) -> Result<Vec<Reply>, Error>
    where
        C: AsRef<[A]>,
        A: AsRef<[u8]>,
    {
        let mut replies = Vec::with_capacity(commands.len());
        let mut refused = None;
        for some in commands.chunks(COMMANDS_AT_ONCE) {
            let mut bytes = BytesMut::new();
            some.iter().for_each(|command| write_command(&mut bytes, command.as_ref()));
            self.send(&bytes).await?;
            self.flush().await?;
            for command in some {
                let reply = self.recv().await?;
                if let Reply::Error(text) = &reply {
                    let endpoint = Arc::clone(&self.reader.peer.name);
                    let (command, refusal) = (spoken(command.as_ref().iter()), Refusal::read(text));
                    refused.get_or_insert(Error::Server { endpoint, command, refusal });
                }
                replies.push(reply);
            }
        }
        refused.map_or(Ok(replies), Err)
    }

    /// Writes encoded commands. They are on their way after [`flush`](Self::flush).
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn send(&mut self, commands: &[u8]) -> Result<(), Error> {
        self.writer.send(commands).await
    }

    /// Sends what is written.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().await
    }

    /// Reads the next reply. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn recv(&mut self) -> Result<Reply, Error> {
        self.reader.recv().await
    }

    /// The next reply, if it has been read already.
    ///
    /// # Errors
    /// When what came is not a reply.
    pub fn try_recv(&mut self) -> Result<Option<Reply>, Error> {
        self.reader.try_recv()
    }

    /// Changes the longest wait for a byte.
    pub fn set_patience(&mut self, patience: Duration) {
        self.reader.set_patience(patience);
    }

    /// Separates the halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// The endpoint, as messages name it.
    #[must_use]
    pub fn endpoint(&self) -> &PeerName {
        &self.reader.peer.name
    }

    /// Whether the server took the name of the settings: without it, `CLIENT LIST` does not show
    /// whose connection this is.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// The database that the greeting selected.
    #[must_use]
    pub fn db(&self) -> u32 {
        self.db
    }

    pub(crate) fn set_db(&mut self, db: u32) {
        self.db = db;
    }

    pub(crate) fn set_named(&mut self) {
        self.is_named = true;
    }

    pub(crate) fn reader_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// What a reply of the wrong shape becomes.
    pub(crate) fn unexpected(&self, command: &str, reply: &Reply) -> Error {
        let came = match reply {
            Reply::Simple(text) | Reply::Bulk(text) | Reply::Error(text) => quoted(text),
            Reply::Integer(number) => number.to_string(),
            Reply::Null => "nothing".to_owned(),
            Reply::Array(items) => format!("an array of {}", items.len()),
        };
        let endpoint = Arc::clone(self.endpoint());
        Error::Unexpected { endpoint, command: command.to_owned(), came }
    }
}

// === impl Reader ===

impl Reader {
    /// Reads the next reply. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is lost, when no byte came for the configured time, or when what came
    /// is not a reply.
    pub async fn recv(&mut self) -> Result<Reply, Error> {
        loop {
            match self.try_recv()? {
                Some(reply) => return Ok(reply),
                None => self.fill("waiting for a reply").await?,
            }
        }
    }

    /// The next reply, if it has been read already.
    ///
    /// # Errors
    /// When what came is not a reply.
    pub fn try_recv(&mut self) -> Result<Option<Reply>, Error> {
        self.decoder.next_reply().map_err(|source| {
            let endpoint = Arc::clone(&self.peer.name);
            Error::Protocol { endpoint, source }
        })
    }

    /// Changes the longest wait for a byte, for commands that block at the server.
    pub fn set_patience(&mut self, patience: Duration) {
        self.peer.patience = patience;
    }

    /// Reads at least one byte into the decoder's buffer. Cancel-safe.
    pub(crate) async fn fill(&mut self, doing: &'static str) -> Result<(), Error> {
        let buffer = self.decoder.buffer_mut();
        buffer.reserve(READ_BYTES);
        let read = self.half.read_buf(buffer);
        match timeout(&*self.peer.clock, self.peer.patience, read).await {
            Ok(Ok(0)) => Err(self.peer.closed(doing)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(Error::io(&self.peer.name, doing, source)),
            Err(elapsed) => Err(self.peer.timed_out(doing, elapsed.0)),
        }
    }

    /// The bytes read and not yet taken as replies.
    pub(crate) fn buffer_mut(&mut self) -> &mut BytesMut {
        self.decoder.buffer_mut()
    }

    /// The raw half, the bytes after the last reply, and who is at the other end.
    pub(crate) fn into_raw(self) -> (ReadHalf, BytesMut, Peer) {
        (self.half, self.decoder.into_rest(), self.peer)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.peer.name)
    }
}

// === impl Writer ===

impl Writer {
    /// Writes encoded commands. They are on their way after [`flush`](Self::flush). Not
    /// cancel-safe.
    ///
    /// # Errors
    /// When the connection is lost, or took no byte for the configured time.
    pub async fn send(&mut self, mut commands: &[u8]) -> Result<(), Error> {
        const DOING: &str = "writing commands";
        while !commands.is_empty() {
            let write = self.half.write(commands);
            let written = match timeout(&*self.peer.clock, self.peer.patience, write).await {
                Ok(Ok(0)) => return Err(self.peer.closed(DOING)),
                Ok(Ok(written)) => written,
                Ok(Err(source)) => return Err(Error::io(&self.peer.name, DOING, source)),
                Err(elapsed) => return Err(self.peer.timed_out(DOING, elapsed.0)),
            };
            commands = commands.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Sends what is written.
    ///
    /// # Errors
    /// When the connection is lost, or did not take it in the configured time.
    pub async fn flush(&mut self) -> Result<(), Error> {
        const DOING: &str = "flushing commands";
        match timeout(&*self.peer.clock, self.peer.patience, self.half.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(Error::io(&self.peer.name, DOING, source)),
            Err(elapsed) => Err(self.peer.timed_out(DOING, elapsed.0)),
        }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({})", self.peer.name)
    }
}

// === impl Peer ===

impl Peer {
    pub(crate) fn closed(&self, doing: &'static str) -> Error {
        Error::Closed { endpoint: Arc::clone(&self.name), doing, source: None }
    }

    fn timed_out(&self, doing: &'static str, after: Duration) -> Error {
        Error::Timeout { endpoint: Arc::clone(&self.name), doing, after }
    }
}

/// A command as messages name it: its name and, where that says too little, its subcommand. No
/// argument beyond, since it may be a secret or a value.
fn spoken<I>(args: I) -> String
where
    I: Iterator,
    I::Item: AsRef<[u8]>,
{
    const CONTAINERS: [&str; 16] = [
        "ACL", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG", "FUNCTION", "LATENCY", "MEMORY",
        "MODULE", "OBJECT", "PUBSUB", "REPLCONF", "SCRIPT", "XGROUP", "XINFO",
    ];
    let mut words =
        args.take(2).map(|word| String::from_utf8_lossy(word.as_ref()).to_ascii_uppercase());
    let name = words.next().unwrap_or_default();
    match words.next() {
        Some(sub) if CONTAINERS.contains(&name.as_str()) => format!("{name} {sub}"),
        _ => name,
    }
}

#[cfg(test)]
mod tests;
