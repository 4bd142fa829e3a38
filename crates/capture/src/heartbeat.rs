//! A small key at the source, written once a second with the source's own time.
//!
//! It maps the stream to the source's clock. Where the account may not write, or the source is read-only, capture
//! goes on without it and the status says so.

use std::sync::Arc;
use std::time::Duration;

use redis_io::{Connection, Connector, Error};
use runtime::{Clock, TaskError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::resp::encode::Decimal;

use crate::limits::HEARTBEAT_TTL;
use crate::progress::Progress;

/// Writes the heartbeat and measures the source's clock.
pub(crate) struct Heartbeater {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) key: String,
    pub(crate) interval: Duration,
    /// Whether to write; the clock is measured in any case.
    pub(crate) write: bool,
    /// Source clock minus our clock, milliseconds; none until measured.
    pub(crate) skew_ms: watch::Sender<Option<i64>>,
    pub(crate) progress: Arc<Progress>,
}

/// What one beat came to.
enum Beat {
    Written,
    /// The server told its time but refused the write.
    Refused(String),
}

// === impl Heartbeater ===

impl Heartbeater {
    /// Beats until `stop`. Losing the connection only leaves a gap: the link's own task decides what it means.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), TaskError> {
        let mut connection = None;
        while !stop.is_cancelled() {
            match self.beat(&mut connection).await {
                Ok(Beat::Written) => self.progress.set_clock("source, by heartbeat"),
                Ok(Beat::Refused(why)) => {
                    self.progress.set_clock(&format!("source, without heartbeat: {why}"));
                }
                Err(error) => {
                    connection = None;
                    self.progress.set_clock("ours");
                    tracing::debug!(%error, "no heartbeat");
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.clock.sleep(self.interval) => {}
            }
        }
        Ok(())
    }

    async fn beat(&self, connection: &mut Option<Connection>) -> Result<Beat, Error> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.connector.connect().await?),
        };
        let asked_ms = self.clock.now_ms();
        let reply = connection.ask([&b"TIME"[..]]).await?;
        let answered_ms = self.clock.now_ms();
        let source_ms = reply.as_array().and_then(|parts| {
            let part = |index: usize| parts.get(index)?.as_str()?.parse::<i64>().ok();
            Some(part(0)? * 1000 + part(1)? / 1000)
        });
        let Some(source_ms) = source_ms else {
            return Ok(Beat::Refused("TIME is refused".to_owned()));
        };
        let middle_ms = asked_ms + (answered_ms - asked_ms) / 2;
        self.skew_ms.send_replace(Some(source_ms - middle_ms));
        if !self.write {
            return Ok(Beat::Refused("switched off".to_owned()));
        }
        let time = Decimal::from(source_ms);
        let ttl = Decimal::from(i64::try_from(HEARTBEAT_TTL.as_millis()).unwrap_or(i64::MAX));
        let (key, time, ttl) = (self.key.as_bytes(), time.to_bytes(), ttl.to_bytes());
        let reply = connection.ask([&b"SET"[..], key, &time, b"PX", &ttl]).await?;
        Ok(match reply.error() {
            None => Beat::Written,
            Some(error) => Beat::Refused(error.into_owned()),
        })
    }
}
