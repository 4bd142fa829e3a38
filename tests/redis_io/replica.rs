//! A replica for tests: reads a link, keeps what came, acknowledges as the real ones do.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis_io::replication::{
    Announcement, Answer, Event, Link, ReplicationId, Resume, SnapshotSize, Transfer, open,
};
use redis_io::{Connection, ServerFacts};
use runtime::Clock;
use runtime::clock::timeout;
use wire::resp::scan::{RawCommand, StreamScanner};

use crate::{LIMIT, clock};

/// Real replicas acknowledge each second; tests have less time.
const ACK_EVERY: Duration = Duration::from_millis(50);

/// A replica and everything it has read.
pub(crate) struct Replica {
    answer: Answer,
    link: Link,
    transfer: Transfer,
    clock: std::sync::Arc<dyn Clock>,
    offset: u64,
    acknowledges: bool,
    size: Option<SnapshotSize>,
    snapshot: Vec<u8>,
    has_ended: bool,
    scanner: StreamScanner,
    commands: Vec<String>,
    /// The same, byte for byte.
    frames: Vec<RawCommand>,
}

impl Replica {
    /// Asks the server what it is, then to replicate.
    pub(crate) async fn open(mut connection: Connection, resume: Option<Resume>) -> Result<Self> {
        let facts = ServerFacts::gather(&mut connection).await?;
        Self::open_as(connection, Announcement::for_server(&facts), resume).await
    }

    /// Asks the server to replicate.
    pub(crate) async fn open_as(
        connection: Connection,
        announcement: Announcement,
        resume: Option<Resume>,
    ) -> Result<Self> {
        let (answer, link) = open(connection, &announcement, resume).await?;
        let (transfer, offset) = match answer {
            Answer::Full { offset, .. } => (Transfer::full(), offset),
            Answer::Continue { .. } => {
                let resume = resume.context("continued what was not asked for")?;
                (Transfer::resumed(), resume.next_offset - 1)
            }
        };
        Ok(Self {
            answer,
            link,
            transfer,
            clock: clock(),
            offset,
            acknowledges: true,
            size: None,
            snapshot: Vec::new(),
            has_ended: false,
            scanner: StreamScanner::default(),
            commands: Vec::new(),
            frames: Vec::new(),
        })
    }

    /// Never acknowledges by itself from here on.
    pub(crate) fn be_silent(&mut self) {
        self.acknowledges = false;
    }

    /// Acknowledges once.
    pub(crate) async fn ack(&mut self) -> Result<()> {
        Ok(self.link.ack(self.offset).await?)
    }

    /// Reads to the end of the snapshot.
    pub(crate) async fn read_snapshot(&mut self) -> Result<SnapshotSize> {
        self.read_while("the end of the snapshot", |replica| !replica.has_ended).await?;
        self.size.context("the snapshot has no beginning")
    }

    /// Reads until the stream has brought that command.
    pub(crate) async fn read_until(&mut self, command: &str) -> Result<()> {
        self.read_while(command, |replica| !replica.commands.iter().any(|c| c == command)).await
    }

    /// Whether anything is there to read, after a moment in which the runtime looks at its sockets.
    pub(crate) async fn has_input(&mut self) -> Result<bool> {
        match timeout(&*self.clock, ACK_EVERY, self.link.read_chunk()).await {
            Ok(chunk) => {
                self.take(chunk?)?;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    pub(crate) fn answer(&self) -> Answer {
        self.answer
    }

    pub(crate) fn snapshot(&self) -> &[u8] {
        &self.snapshot
    }

    pub(crate) fn commands(&self) -> &[String] {
        &self.commands
    }

    pub(crate) fn frames(&self) -> &[RawCommand] {
        &self.frames
    }

    /// The offset of the last byte read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The position to resume from.
    pub(crate) fn resume(&self, replid: ReplicationId) -> Resume {
        Resume { replid, next_offset: self.offset + 1 }
    }

    async fn read_while(&mut self, what: &str, goes_on: impl Fn(&Self) -> bool) -> Result<()> {
        let started = self.clock.monotonic();
        while goes_on(self) {
            if self.clock.monotonic() - started > LIMIT {
                bail!("waited in vain for {what}; the stream so far: {:?}", self.commands);
            }
            match timeout(&*self.clock, ACK_EVERY, self.link.read_chunk()).await {
                Ok(chunk) => self.take(chunk?)?,
                Err(_) if self.has_ended && self.acknowledges => self.ack().await?,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: bytes::Bytes) -> Result<()> {
        self.transfer.feed(chunk);
        while let Some(event) = self.transfer.next_event()? {
            match event {
                Event::Keepalive => {}
                Event::SnapshotStart(size) => self.size = Some(size),
                Event::SnapshotBytes(bytes) => self.snapshot.extend_from_slice(&bytes),
                Event::SnapshotEnd => self.has_ended = true,
                Event::StreamBytes(bytes) => {
                    self.offset += bytes.len() as u64;
                    self.has_ended = true;
                    self.scanner.feed(bytes);
                }
            }
        }
        while let Some(command) = self.scanner.next_command()? {
            let words: Vec<_> = command.iter().map(String::from_utf8_lossy).collect();
            self.commands.push(words.join(" "));
            self.frames.push(command);
        }
        Ok(())
    }
}
