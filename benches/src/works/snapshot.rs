//! A source that is full, a destination that is empty: from the start of the bridge until everything
//! is there.

use anyhow::Result;

use super::{Bench, Both, Meter, Spent};
use crate::equality;
use crate::figure::{Figure, Measured};
use crate::load::{Pen, collections, strings};
use crate::stage::Stage;

static STRINGS_WALL: Figure = Figure::ratio("snapshot of strings: time", "s", 2.0, 1.2);
static STRINGS_CPU: Figure =
    Figure::value("snapshot of strings: CPU per million keys", "s", 2.5, 1.2);
static STRINGS_SOURCE: Figure =
    Figure::ratio("snapshot of strings: CPU of the source", "s", 1.1, 1.0);
static STRINGS_DESTINATION: Figure =
    Figure::ratio("snapshot of strings: CPU of the destination", "s", 1.1, 1.0);
static COLLECTIONS_WALL: Figure = Figure::ratio("snapshot of collections: time", "s", 1.5, 1.1);
static COLLECTIONS_CPU: Figure =
    Figure::value("snapshot of collections: CPU per 100,000 keys", "s", 1.2, 0.6);

/// Strings of 100 bytes.
pub(super) fn strings(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let count = bench.scale.strings;
    let mut stage = Stage::empty()?;
    let mut pen = Pen::to(&stage.source)?;
    strings::write(&mut pen, count)?;
    stage.finish(pen)?;
    let spent = measure(bench, stage, count, strings::key)?;
    let millions = as_f64(count) / 1e6;
    Ok(vec![
        spent.figure(&STRINGS_WALL, |spent| Some(spent.wall_seconds)),
        spent.figure(&STRINGS_CPU, |spent| Some(spent.bridge? / millions)),
        spent.figure(&STRINGS_SOURCE, |spent| Some(spent.source)),
        spent.figure(&STRINGS_DESTINATION, |spent| Some(spent.destination)),
    ])
}

/// Hashes, lists, sets and sorted sets.
pub(super) fn collections(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let count = bench.scale.collections;
    let mut stage = Stage::empty()?;
    let mut pen = Pen::to(&stage.source)?;
    collections::write(&mut pen, count)?;
    stage.finish(pen)?;
    let spent = measure(bench, stage, count, collections::key)?;
    let hundred_thousands = as_f64(count) / 1e5;
    Ok(vec![
        spent.figure(&COLLECTIONS_WALL, |spent| Some(spent.wall_seconds)),
        spent.figure(&COLLECTIONS_CPU, |spent| Some(spent.bridge? / hundred_thousands)),
    ])
}

fn measure(
    bench: &mut Bench<'_>,
    mut stage: Stage,
    count: u64,
    key: impl Fn(u64) -> [u8; 16],
) -> Result<Both<Spent>> {
    bench.each(|bench, carrier| {
        stage.new_destination()?;
        let syncs = stage.full_syncs()?;
        let meter = Meter::start(&stage, None)?;
        let mut bridge = bench.start(carrier, &stage)?;
        // Written after the snapshot has begun, the last keys are behind all of it.
        stage.until_synced(&mut bridge, syncs)?;
        stage.in_step(&mut bridge)?;
        let spent = meter.stop(&stage, &bridge)?;
        equality::by_sample(&stage, count, &key)?;
        bench.end(bridge)?;
        Ok(spent)
    })
}

#[expect(clippy::cast_precision_loss, reason = "a million is exact")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
