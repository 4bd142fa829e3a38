//! A bridge that is in step, and a writer that is as fast as the source: from the first command until
//! the last is at the destination.

use anyhow::Result;

use super::{Bench, Both, Meter, Spent};
use crate::equality;
use crate::figure::{Figure, Measured};
use crate::load::{Pen, answered, mix, strings};
use crate::stage::Stage;

static SETS_RATE: Figure = Figure::ratio("stream of SETs: commands", "/s", 0.8, 0.95).more();
static SETS_CPU: Figure = Figure::value("stream of SETs: CPU per million", "s", 2.5, 1.2);
static SETS_SOURCE: Figure =
    Figure::ratio("stream of SETs: CPU of the source", "s", 1.1, 1.0).told();
static SETS_DESTINATION: Figure =
    Figure::ratio("stream of SETs: CPU of the destination", "s", 1.1, 1.0).told();
static SETS_ALL: Figure =
    Figure::ratio("stream of SETs: CPU of servers and bridge", "s", 1.0, 1.0).told();
static SETS_SERVERS: Figure = Figure::ratio("stream of SETs: CPU of both servers", "s", 1.1, 1.0);
static ANSWERED_RATE: Figure = Figure::ratio("answered SETs: commands", "/s", 0.8, 0.95).more();
static ANSWERED_CPU: Figure = Figure::value("answered SETs: CPU per million", "s", 2.5, 1.2);
static MIXED_RATE: Figure = Figure::ratio("mixed stream: commands", "/s", 0.8, 0.95).more().told();
static MIXED_CPU: Figure = Figure::value("mixed stream: CPU per million", "s", 3.0, 1.6);

/// SET of strings of 100 bytes.
pub(super) fn sets(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let count = bench.scale.commands;
    let verify = |stage: &Stage| equality::by_sample(stage, count, strings::key);
    let write = |stage: &Stage| {
        let mut pen = Pen::to(&stage.source)?;
        strings::write(&mut pen, count)?;
        Ok(pen)
    };
    let spent = measure(bench, write, verify)?;
    Ok(vec![
        spent.figure(&SETS_RATE, |spent| Some(as_f64(count) / spent.wall_seconds)),
        spent.figure(&SETS_CPU, |spent| Some(spent.bridge? / as_f64(count) * 1e6)),
        spent.figure(&SETS_SOURCE, |spent| Some(spent.source)),
        spent.figure(&SETS_DESTINATION, |spent| Some(spent.destination)),
        spent.figure(&SETS_SERVERS, |spent| Some(spent.source + spent.destination)),
        spent.figure(&SETS_ALL, |spent| Some(spent.all())),
    ])
}

/// The same by clients that wait for replies, as those of applications do: `redis-benchmark`.
pub(super) fn answered(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let count = bench.scale.commands;
    let write = |stage: &Stage| {
        answered::write(&stage.source, count)?;
        Pen::to(&stage.source)
    };
    let spent = measure(bench, write, equality::whole)?;
    Ok(vec![
        spent.figure(&ANSWERED_RATE, |spent| Some(as_f64(count) / spent.wall_seconds)),
        spent.figure(&ANSWERED_CPU, |spent| Some(spent.bridge? / as_f64(count) * 1e6)),
    ])
}

/// The mix.
pub(super) fn mixed(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let count = bench.scale.commands;
    let write = |stage: &Stage| {
        let mut pen = Pen::to(&stage.source)?;
        mix::write(&mut pen, count)?;
        Ok(pen)
    };
    let spent = measure(bench, write, equality::whole)?;
    Ok(vec![
        spent.figure(&MIXED_RATE, |spent| Some(as_f64(count) / spent.wall_seconds)),
        spent.figure(&MIXED_CPU, |spent| Some(spent.bridge? / as_f64(count) * 1e6)),
    ])
}

fn measure(
    bench: &mut Bench<'_>,
    write: impl Fn(&Stage) -> Result<Pen>,
    verify: impl Fn(&Stage) -> Result<()>,
) -> Result<Both<Spent>> {
    bench.each(|bench, carrier| {
        let mut stage = Stage::empty()?;
        let mut bridge = bench.start_in_step(carrier, &mut stage)?;
        let meter = Meter::start(&stage, Some(&bridge))?;
        let pen = write(&stage)?;
        stage.finish(pen)?;
        stage.until_arrived(&mut bridge)?;
        let spent = meter.stop(&stage, &bridge)?;
        verify(&stage)?;
        bench.end(bridge)?;
        Ok(spent)
    })
}

#[expect(clippy::cast_precision_loss, reason = "a million is exact")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
