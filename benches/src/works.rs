//! The works that are measured, and what they share.

use std::path::Path;

use anyhow::{Result, bail};

use crate::carrier::{Bridge, Carrier};
use crate::figure::{Figure, Measured};
use crate::kafka::Kafka;
use crate::pace::Stopwatch;
use crate::scale::Scale;
use crate::stage::Stage;
use crate::usage::{self, Memory};

mod kafka;
mod latency;
mod pause;
mod snapshot;
mod stream;

static STEADY: Figure = Figure::value("resident, steady (5,000 writes/s)", "MiB", 64.0, 32.0);
static PEAK: Figure = Figure::value("resident, peak of all works", "MiB", 64.0, 32.0);

/// A work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// A snapshot of strings.
    Snapshot,
    /// A snapshot of collections.
    Collections,
    /// A stream of SETs, as fast as the source takes them.
    Stream,
    /// The same by clients that wait for replies.
    Answered,
    /// A stream of mixed commands and transactions.
    Mixed,
    /// The way of single writes at a moderate pace.
    Latency,
    /// A destination that stands still.
    Pause,
    /// On Kafka, a stream that two processes apply, beside one that does it alone.
    Shared,
}

/// Where keyferry's journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Journal {
    /// Embedded in the one process.
    Local,
    /// On Kafka, between a process that captures and others that apply.
    Kafka,
}

/// One run: what it works with, and what it notes on the way.
pub(crate) struct Bench<'a> {
    keyferry: &'a Path,
    scale: &'a Scale,
    order: Vec<Carrier>,
    kafka: Option<Kafka>,
    steady_mib: Option<f64>,
    peak_mib: Option<f64>,
}

/// What one carrier took, by who took it.
#[derive(Debug, Clone, Copy)]
struct Spent {
    wall_seconds: f64,
    /// CPU seconds.
    bridge: Option<f64>,
    source: f64,
    destination: f64,
}

/// Counts what is spent from its making.
struct Meter {
    watch: Stopwatch,
    bridge: f64,
    source: f64,
    destination: f64,
}

/// The same of both carriers.
struct Both<T> {
    native: Option<T>,
    keyferry: Option<T>,
}

// === impl Work ===

impl Work {
    /// All that are done with this journal, in their order.
    pub(crate) fn all(journal: Journal) -> &'static [Self] {
        use Work::{Answered, Collections, Latency, Mixed, Pause, Shared, Snapshot, Stream};
        match journal {
            Journal::Local => &[Snapshot, Collections, Stream, Answered, Mixed, Latency, Pause],
            Journal::Kafka => &[Snapshot, Stream, Latency, Shared],
        }
    }

    /// What it is called.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot of strings",
            Self::Collections => "snapshot of collections",
            Self::Stream => "stream of SETs",
            Self::Answered => "stream of SETs by clients that wait for replies",
            Self::Mixed => "stream of mixed commands",
            Self::Latency => "latency",
            Self::Pause => "destination stands still",
            Self::Shared => "stream of SETs applied by two",
        }
    }
}

// === impl Bench ===

impl<'a> Bench<'a> {
    /// A run that takes the carriers in this order.
    ///
    /// # Errors
    /// If the journal needs a broker that does not start.
    pub(crate) fn new(
        keyferry: &'a Path,
        scale: &'a Scale,
        order: Vec<Carrier>,
        journal: Journal,
    ) -> Result<Self> {
        let kafka = (journal == Journal::Kafka).then(Kafka::start).transpose()?;
        Ok(Self { keyferry, scale, order, kafka, steady_mib: None, peak_mib: None })
    }

    /// Does a work and returns its figures under its title.
    ///
    /// # Errors
    /// If something fails, or the result is wrong.
    pub(crate) fn run(&mut self, work: Work) -> Result<Vec<Measured>> {
        if self.kafka.is_some() {
            return kafka::measure(self, work);
        }
        match work {
            Work::Snapshot => snapshot::strings(self),
            Work::Collections => snapshot::collections(self),
            Work::Stream => stream::sets(self),
            Work::Answered => stream::answered(self),
            Work::Mixed => stream::mixed(self),
            Work::Latency => latency::measure(self),
            Work::Pause => pause::measure(self),
            Work::Shared => bail!("only with --journal kafka"),
        }
    }

    /// Memory of the bridge, as it was seen in the works that were done.
    pub(crate) fn memory(&self) -> Vec<Measured> {
        let measured = |figure, keyferry| Measured { figure, native: None, keyferry };
        let all = [measured(&STEADY, self.steady_mib), measured(&PEAK, self.peak_mib)];
        all.into_iter().filter(|one| one.keyferry.is_some()).collect()
    }

    fn start(&self, carrier: Carrier, stage: &Stage) -> Result<Bridge> {
        match (&self.kafka, carrier) {
            (Some(kafka), Carrier::Keyferry) => {
                Ok(Bridge::Apart(kafka.bridge(self.keyferry, stage)?))
            }
            _ => Bridge::start(carrier, self.keyferry, &stage.source, &stage.destination),
        }
    }

    /// Starts a bridge between empty servers and waits until it carries what is written: the source
    /// may hold its stream back for a while after the snapshot.
    fn start_in_step(&self, carrier: Carrier, stage: &mut Stage) -> Result<Bridge> {
        let syncs = stage.full_syncs()?;
        let mut bridge = self.start(carrier, stage)?;
        stage.until_synced(&mut bridge, syncs)?;
        if let Bridge::Apart(apart) = &mut bridge {
            apart.until_shared(stage)?;
        }
        stage.in_step(&mut bridge)?;
        Ok(bridge)
    }

    /// Notes the bridge's memory, and ends it.
    fn end(&mut self, bridge: Bridge) -> Result<()> {
        if let Some(Memory { peak_mib, .. }) = bridge.memory()? {
            self.peak_mib = Some(self.peak_mib.map_or(peak_mib, |peak| peak.max(peak_mib)));
        }
        bridge.stop()
    }

    /// What `measure` measures, of every carrier in turn.
    fn each<T>(
        &mut self,
        mut measure: impl FnMut(&mut Self, Carrier) -> Result<T>,
    ) -> Result<Both<T>> {
        let mut both = Both { native: None, keyferry: None };
        for carrier in self.order.clone() {
            let found = measure(self, carrier)?;
            match carrier {
                Carrier::Native => both.native = Some(found),
                Carrier::Keyferry => both.keyferry = Some(found),
            }
        }
        Ok(both)
    }
}

// === impl Spent ===

impl Spent {
    /// CPU seconds of everybody: a machine with so many free cores cannot be faster.
    fn all(&self) -> f64 {
        self.bridge.unwrap_or(0.0) + self.source + self.destination
    }
}

// === impl Meter ===

impl Meter {
    /// Counts from now; the bridge from its own start, if it has not started.
    fn start(stage: &Stage, bridge: Option<&Bridge>) -> Result<Self> {
        let [source, destination] = servers(stage)?;
        let bridge = bridge.map_or(Ok(None), Bridge::cpu_seconds)?.unwrap_or(0.0);
        Ok(Self { watch: Stopwatch::start(), bridge, source, destination })
    }

    /// The time so far.
    fn seconds(&self) -> f64 {
        self.watch.seconds()
    }

    /// Ends the count of time and of the bridge; that of the servers when the source's fork, if
    /// there was one, has ended.
    fn stop(&self, stage: &Stage, bridge: &Bridge) -> Result<Spent> {
        let wall_seconds = self.watch.seconds();
        let bridge = bridge.cpu_seconds()?.map(|seconds| seconds - self.bridge);
        stage.until_reaped()?;
        let [source, destination] = servers(stage)?;
        let (source, destination) = (source - self.source, destination - self.destination);
        Ok(Spent { wall_seconds, bridge, source, destination })
    }
}

/// CPU seconds of both servers.
fn servers(stage: &Stage) -> Result<[f64; 2]> {
    let of = |server: &testkit::Server| server.pid().map_or(Ok(0.0), usage::cpu_seconds);
    Ok([of(&stage.source)?, of(&stage.destination)?])
}

// === impl Both ===

impl<T> Both<T> {
    /// A figure that `take` finds in what was measured.
    fn figure(&self, figure: &'static Figure, take: impl Fn(&T) -> Option<f64>) -> Measured {
        let [native, keyferry] = [&self.native, &self.keyferry].map(|side| side.as_ref());
        Measured { figure, native: native.and_then(&take), keyferry: keyferry.and_then(&take) }
    }
}
