//! How long a write takes from the source's door to a reader at the destination.
//!
//! 5,000 writes a second; every tenth appends its own time to a stream, just before it goes into the
//! source's socket. At the destination a connection waits in `XREAD BLOCK`, which the server answers
//! as soon as the entry is there: nobody asks again and again, which would take the time of the very
//! cores that are measured, and nothing else than the server's own wake-up is waited for. Both ends
//! read one clock, since they are threads of one process.
//!
//! What is measured too much: the source's reading and executing, the destination's reply, the waking
//! of the thread that waits, and, while a reply is under way, the time until the next `XREAD` stands;
//! together 0.1 ms or less on an idle machine. Native replication is measured with the same, so both
//! have it; with more to do than cores, all of them wait for a core as well.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testkit::{Server, Value};

use super::{Bench, Both};
use crate::equality;
use crate::figure::{Figure, Measured};
use crate::load::Pen;
use crate::load::strings::{VALUE_BYTES, Values, key};
use crate::pace::{Beat, Stopwatch};
use crate::stage::Stage;

static P50: Figure = Figure::value("latency at 5,000 writes/s: p50", "ms", 1.0, 0.5);
static P99: Figure = Figure::value("latency at 5,000 writes/s: p99", "ms", 3.0, 1.5);

const WRITES_PER_SECOND: u64 = 5_000;
/// One write in so many tells its time.
const PROBE_EVERY: u64 = 10;
/// What is measured in the beginning, while both sides find their pace, does not count.
const WARM_UP_SECONDS: u64 = 1;
/// The stream with the times.
const PROBE: &str = "probe";
/// Strings that are written in between.
const STRINGS: u64 = 50_000;
/// How long the server holds an `XREAD` open for the next time, which comes within milliseconds.
const BLOCK_MS: &str = "10000";

/// Milliseconds.
struct Percentiles {
    p50: f64,
    p99: f64,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    figures(bench, [&P50, &P99])
}

/// What is measured, as these figures.
pub(super) fn figures(
    bench: &mut Bench<'_>,
    [p50, p99]: [&'static Figure; 2],
) -> Result<Vec<Measured>> {
    let both: Both<Percentiles> = bench.each(|bench, carrier| {
        let mut stage = Stage::empty()?;
        let mut bridge = bench.start_in_step(carrier, &mut stage)?;
        let found = percentiles(&stage, bench.scale.latency)?;
        if let Some(memory) = bridge.memory()? {
            bench.steady_mib = Some(memory.resident_mib);
        }
        stage.in_step(&mut bridge)?;
        equality::whole(&stage)?;
        bench.end(bridge)?;
        Ok(found)
    })?;
    Ok(vec![both.figure(p50, |found| Some(found.p50)), both.figure(p99, |found| Some(found.p99))])
}

fn percentiles(stage: &Stage, time: Duration) -> Result<Percentiles> {
    let watch = Stopwatch::start();
    let writes = WRITES_PER_SECOND * (WARM_UP_SECONDS + time.as_secs());
    let probes = writes / PROBE_EVERY;
    let mut times = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&stage.destination, watch, probes));
        let written = write(&stage.source, watch, writes);
        let read = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        written.and(read)
    })?;
    let warm = usize::try_from(WARM_UP_SECONDS * WRITES_PER_SECOND / PROBE_EVERY)?;
    times.drain(..warm.min(times.len()));
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied();
    let (p50, p99) = (at(50).context("no times")?, at(99).context("no times")?);
    Ok(Percentiles { p50, p99 })
}

fn write(source: &Server, watch: Stopwatch, writes: u64) -> Result<()> {
    let mut values = Values::new(4);
    let mut pen = Pen::to(source)?;
    let mut beat = Beat::per_second(WRITES_PER_SECOND);
    for n in 0..writes {
        beat.wait();
        if n % PROBE_EVERY == 0 {
            let now = watch.elapsed().as_nanos().to_string();
            pen.put(&[b"XADD", PROBE.as_bytes(), b"*", b"at", now.as_bytes()])?;
        } else {
            pen.put(&[b"SET", &key(values.below(STRINGS)), values.next(VALUE_BYTES)])?;
        }
        pen.flush()?;
    }
    pen.finish()
}

/// The milliseconds that each of so many times was on its way.
fn read(destination: &Server, watch: Stopwatch, probes: u64) -> Result<Vec<f64>> {
    let mut client = destination.client()?;
    let mut last = "0".to_owned();
    let mut found = Vec::new();
    while u64::try_from(found.len())? < probes {
        let reply = client.cmd(&["XREAD", "BLOCK", BLOCK_MS, "STREAMS", PROBE, &last])?;
        let now = watch.elapsed();
        ensure!(reply != Value::Nil, "no time arrived for {BLOCK_MS} ms");
        for (id, written) in entries(reply)? {
            found.push(now.saturating_sub(written).as_secs_f64() * 1e3);
            last = id;
        }
    }
    Ok(found)
}

/// Ids and times of a reply `[[stream, [[id, [name, time]], …]]]`.
fn entries(reply: Value) -> Result<Vec<(String, Duration)>> {
    let stream = reply.array()?.into_iter().next().context("no stream")?;
    let Ok([_, entries]) = <[Value; 2]>::try_from(stream.array()?) else {
        bail!("XREAD answered with no stream");
    };
    let one = |entry: Value| {
        let Ok([id, fields]) = <[Value; 2]>::try_from(entry.array()?) else {
            bail!("XREAD answered with no entry");
        };
        let nanos = fields.field("at").context("an entry without a time")?.int()?;
        Ok((id.text()?, Duration::from_nanos(u64::try_from(nanos)?)))
    };
    entries.array()?.into_iter().map(one).collect()
}
