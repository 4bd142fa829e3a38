//! A source that is full, a destination that is empty: from the start of the bridge until everything
//! is there, and until what was written meanwhile is there.

use anyhow::Result;

use super::{Bench, Both, Meter, Spent};
use crate::equality;
use crate::figure::{Figure, Measured};
use crate::load::{Pen, collections, strings};
use crate::stage::{LAST_KEYS, Stage};

static STRINGS_WALL: Figure = Figure::ratio("snapshot of strings: time", "s", 2.0, 1.2);
static STRINGS_NEXT: Figure =
    Figure::ratio("snapshot of strings: until a later write is there", "s", 2.0, 1.2).told();
static STRINGS_CPU: Figure =
    Figure::value("snapshot of strings: CPU per million keys", "s", 2.5, 1.2);
static STRINGS_SOURCE: Figure =
    Figure::ratio("snapshot of strings: CPU of the source", "s", 1.1, 1.0).told();
static STRINGS_DESTINATION: Figure =
    Figure::ratio("snapshot of strings: CPU of the destination", "s", 1.1, 1.0).told();
static STRINGS_SERVERS: Figure =
    Figure::ratio("snapshot of strings: CPU of both servers", "s", 1.1, 1.0);
static COLLECTIONS_WALL: Figure = Figure::ratio("snapshot of collections: time", "s", 1.5, 1.1);
static COLLECTIONS_NEXT: Figure =
    Figure::ratio("snapshot of collections: until a later write is there", "s", 1.5, 1.1).told();
static COLLECTIONS_CPU: Figure =
    Figure::value("snapshot of collections: CPU per 100,000 keys", "s", 1.2, 0.6);

/// What a snapshot took.
pub(super) struct Taken {
    /// Until all keys of the snapshot were there.
    pub(super) seconds: f64,
    /// Until a write that followed was there.
    pub(super) all: Spent,
}

/// Strings of 100 bytes.
pub(super) fn strings(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let taken = take_strings(bench)?;
    let millions = as_f64(bench.scale.strings) / 1e6;
    Ok(vec![
        taken.figure(&STRINGS_WALL, |taken| Some(taken.seconds)),
        taken.figure(&STRINGS_NEXT, |taken| Some(taken.all.wall_seconds)),
        taken.figure(&STRINGS_CPU, |taken| Some(taken.all.bridge? / millions)),
        taken.figure(&STRINGS_SOURCE, |taken| Some(taken.all.source)),
        taken.figure(&STRINGS_DESTINATION, |taken| Some(taken.all.destination)),
        taken.figure(&STRINGS_SERVERS, |taken| Some(taken.all.source + taken.all.destination)),
    ])
}

/// What they took.
pub(super) fn take_strings(bench: &mut Bench<'_>) -> Result<Both<Taken>> {
    let count = bench.scale.strings;
    let mut stage = Stage::empty()?;
    let mut pen = Pen::to(&stage.source)?;
    strings::write(&mut pen, count)?;
    stage.finish(pen)?;
    measure(bench, stage, count, strings::key)
}

/// Hashes, lists, sets and sorted sets.
pub(super) fn collections(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let count = bench.scale.collections;
    let mut stage = Stage::empty()?;
    let mut pen = Pen::to(&stage.source)?;
    collections::write(&mut pen, count)?;
    stage.finish(pen)?;
    let taken = measure(bench, stage, count, collections::key)?;
    let hundred_thousands = as_f64(count) / 1e5;
    Ok(vec![
        taken.figure(&COLLECTIONS_WALL, |taken| Some(taken.seconds)),
        taken.figure(&COLLECTIONS_NEXT, |taken| Some(taken.all.wall_seconds)),
        taken.figure(&COLLECTIONS_CPU, |taken| Some(taken.all.bridge? / hundred_thousands)),
    ])
}

fn measure(
    bench: &mut Bench<'_>,
    mut stage: Stage,
    count: u64,
    key: impl Fn(u64) -> [u8; 16],
) -> Result<Both<Taken>> {
    bench.each(|bench, carrier| {
        stage.new_destination()?;
        let syncs = stage.full_syncs()?;
        let meter = Meter::start(&stage, None)?;
        let mut bridge = bench.start(carrier, &stage)?;
        // Written after the snapshot has begun, they are behind all of it.
        stage.until_synced(&mut bridge, syncs)?;
        stage.write_last_keys()?;
        stage.until_keys(&mut bridge, count + LAST_KEYS)?;
        let seconds = meter.seconds();
        stage.until_arrived(&mut bridge)?;
        let all = meter.stop(&stage, &bridge)?;
        equality::by_sample(&stage, count, &key)?;
        bench.end(bridge)?;
        Ok(Taken { seconds, all })
    })
}

#[expect(clippy::cast_precision_loss, reason = "a million is exact")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
