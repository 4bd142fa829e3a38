//! A small key at the source, written once a second with the source's own time.
//!
//! It maps the stream to the source's clock. Guarantees: where the account may not write, or the
//! source is read-only, capture goes on without it and the status says so; what the source refuses
//! is asked for again once a minute only, so that its log and its counters are not filled.

use std::sync::Arc;
use std::time::Duration;

use redis_io::{Connection, Connector, Error};
use runtime::{Clock, TaskError, chain};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::resp::encode::Decimal;
use wire::resp::reply::Reply;

use crate::limits::{HEARTBEAT_TTL, REFUSED_INTERVAL, UNREACHED_INTERVAL};
use crate::progress::Progress;

/// Writes the heartbeat and measures the source's clock.
pub(crate) struct Heartbeater {
    pub(crate) connector: Connector,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) key: String,
    pub(crate) interval: Duration,
    /// Whether to write; the clock is measured in any case.
    pub(crate) write: bool,
    pub(crate) source_clock: watch::Sender<SourceClock>,
    pub(crate) progress: Arc<Progress>,
}

/// What is known of the source's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceClock {
    /// Its time minus ours, milliseconds; none until measured.
    pub skew_ms: Option<i64>,
    /// Whether heartbeats are being written into the stream; none until it was tried.
    pub beats: Option<bool>,
}

/// What the source does not allow, why, and since when (monotonic time).
struct Refused {
    what: &'static str,
    why: String,
    at: Duration,
}

// === impl Heartbeater ===

impl Heartbeater {
    /// Beats until `stop`. Losing the connection only leaves a gap: the link's own task decides
    /// what it means.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), TaskError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.beat_on() => {}
        }
        Ok(())
    }

    async fn beat_on(&self) {
        let mut connection = None;
        let mut refused = None;
        loop {
            let wait = match self.beat(&mut connection, &mut refused).await {
                Ok(()) => self.interval,
                Err(error) => {
                    connection = None;
                    let how = format!("no heartbeat: {}", chain(&error));
                    tracing::debug!("{how}");
                    self.show(Some(false), &how);
                    self.interval.max(UNREACHED_INTERVAL)
                }
            };
            self.clock.sleep(wait).await;
        }
    }

    async fn beat(
        &self,
        connection: &mut Option<Connection>,
        refused: &mut Option<Refused>,
    ) -> Result<(), Error> {
        let now = self.clock.monotonic();
        if refused.as_ref().is_some_and(|refused| now < refused.at + REFUSED_INTERVAL) {
            return Ok(());
        }
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.connector.connect().await?),
        };
        let refusal = |what, why| Some(Refused { what, why, at: now });
        let outcome = match self.measure(connection).await? {
            Err(why) => refusal("TIME", why),
            Ok(_) if !self.write => {
                self.show(Some(false), "source, without heartbeat: switched off");
                return Ok(());
            }
            Ok(source_ms) => {
                self.write(connection, source_ms).await?.and_then(|why| refusal("SET", why))
            }
        };
        match &outcome {
            None => self.show(Some(true), "source, by heartbeat"),
            Some(Refused { what: "TIME", why, .. }) => {
                self.show(Some(false), &format!("ours: the source refuses TIME: {why}"));
            }
            Some(Refused { what, why, .. }) => {
                let how = format!("source, without heartbeat: it refuses {what}: {why}");
                self.show(Some(false), &how);
            }
        }
        // A server that loads its data will soon have done so.
        *refused = outcome.filter(|refused| !refused.why.starts_with("LOADING"));
        Ok(())
    }

    /// The time of the source, or why it does not tell.
    async fn measure(&self, connection: &mut Connection) -> Result<Result<i64, String>, Error> {
        let asked_ms = self.clock.now_ms();
        let reply = connection.ask([&b"TIME"[..]]).await?;
        let answered_ms = self.clock.now_ms();
        if let Some(error) = reply.error() {
            return Ok(Err(error.into_owned()));
        }
        let Some(source_ms) = unix_ms(&reply) else {
            return Ok(Err("an answer that is no time".to_owned()));
        };
        let middle_ms = asked_ms + (answered_ms - asked_ms) / 2;
        let skew_ms = Some(source_ms - middle_ms);
        self.source_clock.send_modify(|clock| clock.skew_ms = skew_ms);
        Ok(Ok(source_ms))
    }

    /// Writes the key; why not, where the source refuses.
    async fn write(
        &self,
        connection: &mut Connection,
        source_ms: i64,
    ) -> Result<Option<String>, Error> {
        let time = Decimal::from(source_ms);
        let ttl = Decimal::from(i64::try_from(HEARTBEAT_TTL.as_millis()).unwrap_or(i64::MAX));
        let (key, time, ttl) = (self.key.as_bytes(), time.to_bytes(), ttl.to_bytes());
        let reply = connection.ask([&b"SET"[..], key, &time, b"PX", &ttl]).await?;
        Ok(reply.error().map(std::borrow::Cow::into_owned))
    }

    fn show(&self, beats: Option<bool>, how: &str) {
        self.source_clock.send_if_modified(|clock| {
            let changed = clock.beats != beats;
            clock.beats = beats;
            changed
        });
        self.progress.set_clock(how);
    }
}

/// The answer to TIME: seconds and microseconds.
fn unix_ms(reply: &Reply) -> Option<i64> {
    let parts = reply.as_array()?;
    let part = |index: usize| parts.get(index)?.as_str()?.parse::<i64>().ok();
    Some(part(0)? * 1000 + part(1)? / 1000)
}
