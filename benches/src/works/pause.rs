//! A destination that stands still under load, and what that does to the source.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::{Client, eventually};

use super::{Bench, Both};
use crate::carrier::Bridge;
use crate::equality;
use crate::figure::{Figure, Measured};
use crate::load::Pen;
use crate::load::strings::{VALUE_BYTES, Values, key};
use crate::pace::{Beat, Stopwatch};
use crate::stage::Stage;

static BUFFER: Figure =
    Figure::value("destination stopped: source's output buffer", "MB", 0.1, 0.1);
static SYNCS: Figure = Figure::value("destination stopped: full resyncs", "", 0.0, 0.0);
static CATCH_UP: Figure = Figure::value("destination stopped: catching up", "s", 2.0, 1.0);

const WRITES_PER_SECOND: u64 = 20_000;
/// A burst every millisecond.
const BURST_WRITES: u64 = 20;
/// Strings that are written.
const STRINGS: u64 = 50_000;

struct Seen {
    buffer_bytes: u64,
    full_syncs: u64,
    catch_up_seconds: f64,
}

pub(super) fn measure(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let both: Both<Seen> = bench.each(|bench, carrier| {
        let mut stage = Stage::empty()?;
        let mut bridge = bench.start_in_step(carrier, &mut stage)?;
        let seen = stop_and_go(&mut stage, &mut bridge, bench.scale.pause)?;
        equality::whole(&stage)?;
        bench.end(bridge)?;
        Ok(seen)
    })?;
    Ok(vec![
        both.figure(&BUFFER, |seen| Some(as_f64(seen.buffer_bytes) / 1e6)),
        both.figure(&SYNCS, |seen| Some(as_f64(seen.full_syncs))),
        both.figure(&CATCH_UP, |seen| Some(seen.catch_up_seconds)),
    ])
}

fn stop_and_go(stage: &mut Stage, bridge: &mut Bridge, time: Duration) -> Result<Seen> {
    let syncs = stage.full_syncs()?;
    let mut observer = stage.source.client()?;
    let pen = Pen::to(&stage.source)?;
    stage.destination.pause()?;
    let (pen, buffer_bytes) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(pen, time));
        let largest = watch_buffer(&mut observer, || writer.is_finished());
        let pen = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        anyhow::Ok((pen, largest?))
    })?;
    stage.finish(pen)?;
    let watch = Stopwatch::start();
    stage.destination.resume()?;
    stage.until_arrived(bridge)?;
    let catch_up_seconds = watch.seconds();
    Ok(Seen { buffer_bytes, full_syncs: stage.full_syncs()? - syncs, catch_up_seconds })
}

fn write(mut pen: Pen, time: Duration) -> Result<Pen> {
    let mut values = Values::new(5);
    let mut beat = Beat::per_second(WRITES_PER_SECOND / BURST_WRITES);
    let watch = Stopwatch::start();
    while watch.elapsed() < time {
        beat.wait();
        for _ in 0..BURST_WRITES {
            pen.put(&[b"SET", &key(values.below(STRINGS)), values.next(VALUE_BYTES)])?;
        }
        pen.flush()?;
    }
    Ok(pen)
}

/// The most that ever waits at the source for one replica, until it is over.
fn watch_buffer(observer: &mut Client, over: impl Fn() -> bool) -> Result<u64> {
    /// Above any pause that is measured.
    const LIMIT: Duration = Duration::from_secs(300);
    let mut largest = 0;
    eventually(LIMIT, "the writer has finished", || {
        let list = observer.cmd(&["CLIENT", "LIST", "TYPE", "replica"])?.text()?;
        let fields = list.split_whitespace().filter_map(|field| field.strip_prefix("omem="));
        for bytes in fields {
            let bytes = bytes.parse().with_context(|| format!("not a number: {bytes}"))?;
            largest = largest.max(bytes);
        }
        Ok(over().then_some(()))
    })?;
    Ok(largest)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
