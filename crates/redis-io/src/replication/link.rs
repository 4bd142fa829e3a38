//! The link itself: raw bytes in as fast as they come, acknowledgements out.
//!
//! Guarantees: the halves may be used from two tasks; reading is cancel-safe; chunks are cut as
//! the socket gave them, in order, without a gap, beginning with the first byte after the answer
//! to PSYNC. A chunk keeps the buffer that it was read into alive (at most [`LARGE_READ_BYTES`]).

use std::fmt;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use wire::resp::encode::{Decimal, write_command};

use crate::connection::{Connection, Peer, Writer};
use crate::error::{Error, PeerName};
use crate::transport::ReadHalf;

/// A buffer for a stream that trickles.
pub const SMALL_READ_BYTES: usize = 64 << 10;
/// A buffer for a snapshot or a busy stream: fewer system calls, and no gain beyond.
pub const LARGE_READ_BYTES: usize = 256 << 10;
/// Less room than this is not worth a system call.
const MIN_READ_BYTES: usize = 16 << 10;

/// A replication link.
#[derive(Debug)]
pub struct Link {
    reader: LinkReader,
    writer: LinkWriter,
}

/// The half that reads.
pub struct LinkReader {
    half: ReadHalf,
    buffer: BytesMut,
    /// Size of the next buffer: large while reads fill what they are given.
    next_buffer_bytes: usize,
    /// Whether the last read left room in its buffer.
    is_drained: bool,
    peer: Peer,
}

/// The half that acknowledges.
pub struct LinkWriter {
    writer: Writer,
    line: BytesMut,
}

// === impl Link ===

impl Link {
    pub(super) fn new(connection: Connection) -> Self {
        let (reader, writer) = connection.split();
        let (half, buffer, peer) = reader.into_raw();
        let next_buffer_bytes = LARGE_READ_BYTES;
        let reader = LinkReader { half, buffer, next_buffer_bytes, is_drained: true, peer };
        Self { reader, writer: LinkWriter { writer, line: BytesMut::new() } }
    }

    /// Separates the halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (LinkReader, LinkWriter) {
        (self.reader, self.writer)
    }

    /// See [`LinkReader::read_chunk`].
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn read_chunk(&mut self) -> Result<Bytes, Error> {
        self.reader.read_chunk().await
    }

    /// See [`LinkWriter::ack`].
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn ack(&mut self, offset: u64) -> Result<(), Error> {
        self.writer.ack(offset).await
    }

    /// The endpoint, as messages name it.
    #[must_use]
    pub fn endpoint(&self) -> &PeerName {
        &self.reader.peer.name
    }
}

// === impl LinkReader ===

impl LinkReader {
    /// The next bytes, never empty. Cancel-safe. Waits for as long as it takes: while a diskless
    /// snapshot is prepared a server is silent without a limit, and once the stream flows it pings
    /// every 10 s by default, so only the caller can tell which silence means a dead link (on the
    /// stream: the server's `repl-timeout`, 60 s by default).
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn read_chunk(&mut self) -> Result<Bytes, Error> {
        const DOING: &str = "replicating";
        if self.buffer.is_empty() {
            if self.buffer.capacity() < MIN_READ_BYTES {
                // Takes the old buffer again if every chunk of it is gone.
                self.buffer.reserve(self.next_buffer_bytes);
            }
            let room = self.buffer.capacity();
            let read = self.half.read_buf(&mut self.buffer).await;
            let read = read.map_err(|source| Error::io(&self.peer.name, DOING, source))?;
            self.is_drained = read < room;
            match read {
                0 => return Err(self.peer.closed(DOING)),
                read if read >= room / 2 => self.next_buffer_bytes = LARGE_READ_BYTES,
                _ => self.next_buffer_bytes = SMALL_READ_BYTES,
            }
        }
        Ok(self.buffer.split().freeze())
    }

    /// Whether the last chunk was all that had come.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// The endpoint, as messages name it.
    #[must_use]
    pub fn endpoint(&self) -> &PeerName {
        &self.peer.name
    }
}

impl fmt::Debug for LinkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkReader({})", self.peer.name)
    }
}

// === impl LinkWriter ===

impl LinkWriter {
    /// Reports everything up to `offset` as received. There is no reply.
    ///
    /// Call it once a second from the moment the last byte of the snapshot was read, also when
    /// the offset is still 0 or not beyond what the snapshot had: after a diskless snapshot the
    /// server holds the stream back until the first acknowledgement, whatever its number, and it
    /// drops a replica that is silent for `repl-timeout`. A lower offset than before is ignored by
    /// the server, so reporting only what is durable is safe. The timer is the caller's.
    ///
    /// # Errors
    /// When the link is lost.
    pub async fn ack(&mut self, offset: u64) -> Result<(), Error> {
        self.line.clear();
        let offset = Decimal::from(offset);
        write_command(&mut self.line, [b"REPLCONF".as_slice(), b"ACK", offset.as_ref()]);
        self.writer.send(&self.line).await?;
        self.writer.flush().await
    }
}

impl fmt::Debug for LinkWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkWriter({:?})", self.writer)
    }
}
