//! The works with the journal on Kafka: a process that captures, others that apply, a broker between them.

use anyhow::{Context, Result, bail};

use super::{Bench, Meter, Spent, Work, latency, snapshot};
use crate::carrier::{Bridge, Carrier};
use crate::equality;
use crate::figure::{Figure, Measured, median};
use crate::kafka::{Setting, Shares};
use crate::load::{Pen, strings};
use crate::stage::{LAST_KEYS, Stage};

static SNAPSHOT_WALL: Figure = Figure::ratio("Kafka, snapshot of strings: time", "s", 3.0, 1.5);
static SNAPSHOT_CPU: Figure =
    Figure::value("Kafka, snapshot of strings: CPU per million keys", "s", 6.0, 3.0).told();
static STREAM_RATE: Figure =
    Figure::ratio("Kafka, stream of SETs: commands", "/s", 1.0, 1.0).more().told();
static STREAM_CPU: Figure = Figure::value("Kafka, stream of SETs: CPU per million", "s", 6.0, 3.0);
static STREAM_CAPTURE: Figure =
    Figure::value("Kafka, stream of SETs: CPU of capture", "s", 6.0, 3.0).told();
static STREAM_APPLY: Figure =
    Figure::value("Kafka, stream of SETs: CPU of apply", "s", 6.0, 3.0).told();
static STREAM_BROKER: Figure =
    Figure::value("Kafka, stream of SETs: CPU of the broker", "s", 6.0, 3.0).told();
static CAPTURE_PEAK: Figure =
    Figure::value("Kafka, stream of SETs: capture resident, peak", "MiB", 64.0, 32.0).told();
static APPLY_PEAK: Figure =
    Figure::value("Kafka, stream of SETs: apply resident, peak", "MiB", 64.0, 32.0).told();
static P50: Figure = Figure::value("Kafka, latency at 5,000 writes/s: p50", "ms", 5.0, 5.0);
static P99: Figure = Figure::value("Kafka, latency at 5,000 writes/s: p99", "ms", 20.0, 20.0);
static SHARED_RATE: Figure =
    Figure::value("Kafka, 4 partitions: commands by two applies ÷ by one", "×", 1.0, 1.0).more();
static SHARED_CPU: Figure =
    Figure::value("Kafka, 4 partitions: CPU of two applies per million", "s", 6.0, 3.0).told();
static SHARED_LIVE: Figure =
    Figure::value("Kafka, 4 partitions, while they are written: by two ÷ by one", "×", 1.0, 1.0)
        .more()
        .told();

/// A broker is warm when a stream takes more than this part of the CPU that the one before took of it.
const WARM: f64 = 0.85;
/// It gets no more of them than this.
const WARM_UP_STREAMS: usize = 8;
/// Processes that share a destination.
const TOGETHER: usize = 2;
/// How often one and two apply what was recorded, which takes them a second or two each.
const TURNS: usize = 5;

/// What a stream took.
struct Run {
    spent: Spent,
    /// By keyferry, and by the broker beside it.
    parts: Option<Parts>,
}

#[derive(Clone, Copy)]
struct Parts {
    cpu: Shares,
    capture_peak_mib: f64,
    apply_peak_mib: f64,
}

/// Does a work and returns its figures.
///
/// # Errors
/// If something fails, or the result is wrong.
pub(super) fn measure(bench: &mut Bench<'_>, work: Work) -> Result<Vec<Measured>> {
    warm_up(bench)?;
    match work {
        Work::Snapshot => snapshot_of_strings(bench),
        Work::Stream => stream(bench),
        Work::Latency => {
            set(bench, Setting::LOW_LATENCY)?;
            latency::figures(bench, [&P50, &P99])
        }
        Work::Shared => shared(bench),
        other => bail!("{} is not measured with the journal on Kafka", other.title()),
    }
}

/// Brokers run for months, while one that was just started spends many seconds on compiling itself: it carries streams
/// until the next takes hardly less than the one before.
fn warm_up(bench: &mut Bench<'_>) -> Result<()> {
    if bench.kafka.as_ref().is_none_or(|kafka| kafka.is_warm) {
        return Ok(());
    }
    set(bench, Setting::DEFAULT)?;
    let mut before = f64::INFINITY;
    for _ in 0..WARM_UP_STREAMS {
        let parts = sets(bench, Carrier::Keyferry)?.parts;
        let broker = parts.context("the bridge has processes")?.cpu.broker;
        if broker > WARM * before {
            break;
        }
        before = broker;
    }
    bench.kafka.as_mut().context("there is no broker")?.is_warm = true;
    Ok(())
}

fn snapshot_of_strings(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    set(bench, Setting::DEFAULT)?;
    let taken = snapshot::take_strings(bench)?;
    let millions = as_f64(bench.scale.strings) / 1e6;
    Ok(vec![
        taken.figure(&SNAPSHOT_WALL, |taken| Some(taken.seconds)),
        taken.figure(&SNAPSHOT_CPU, |taken| Some(taken.all.bridge? / millions)),
    ])
}

fn stream(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    set(bench, Setting::DEFAULT)?;
    let millions = as_f64(bench.scale.commands) / 1e6;
    let both = bench.each(sets)?;
    let told = |figure, of: fn(&Parts) -> f64| both.figure(figure, |run| Some(of(&run.parts?)));
    let cpu = |figure, of: fn(&Shares) -> f64| {
        both.figure(figure, |run| Some(of(&run.parts?.cpu) / millions))
    };
    Ok(vec![
        both.figure(&STREAM_RATE, |run| Some(millions * 1e6 / run.spent.wall_seconds)),
        cpu(&STREAM_CPU, |shares| shares.capture + shares.apply),
        cpu(&STREAM_CAPTURE, |shares| shares.capture),
        cpu(&STREAM_APPLY, |shares| shares.apply),
        cpu(&STREAM_BROKER, |shares| shares.broker),
        told(&CAPTURE_PEAK, |parts| parts.capture_peak_mib),
        told(&APPLY_PEAK, |parts| parts.apply_peak_mib),
    ])
}

/// What one process applies, and what two share, in turns: native replication has no part in it.
fn shared(bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
    let measured = |figure, keyferry| Measured { figure, native: None, keyferry };
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        set(bench, Setting::shared(1))?;
        let alone = backlog(bench)?;
        set(bench, Setting::shared(TOGETHER))?;
        turns.push((alone, backlog(bench)?));
    }
    // The last setting is that of two.
    let together_live = sets(bench, Carrier::Keyferry)?.spent.wall_seconds;
    set(bench, Setting::shared(1))?;
    let alone_live = sets(bench, Carrier::Keyferry)?.spent.wall_seconds;
    let millions = as_f64(bench.scale.commands) / 1e6;
    let cpu = turns.iter().filter_map(|(_, together)| Some(together.bridge? / millions));
    let ratios = turns.iter().map(|(alone, together)| alone.wall_seconds / together.wall_seconds);
    Ok(vec![
        measured(&SHARED_RATE, median(&ratios.collect::<Vec<_>>())),
        measured(&SHARED_CPU, median(&cpu.collect::<Vec<_>>())),
        measured(&SHARED_LIVE, Some(alone_live / together_live)),
    ])
}

/// What was recorded while nobody applied anything, from when that begins: as after an outage.
fn backlog(bench: &mut Bench<'_>) -> Result<Spent> {
    let count = bench.scale.commands;
    let mut stage = Stage::empty()?;
    let mut bridge = bench.start_in_step(Carrier::Keyferry, &mut stage)?;
    let Bridge::Apart(apart) = &mut bridge else { bail!("applies are processes on Kafka") };
    let steering = apart.steering()?;
    steering.pause()?;
    let before = steering.recorded()?;
    let mut pen = Pen::to(&stage.source)?;
    strings::write(&mut pen, count)?;
    stage.finish(pen)?;
    steering.until_recorded(before + count + LAST_KEYS)?;
    let meter = Meter::start(&stage, Some(&bridge))?;
    steering.resume()?;
    stage.until_arrived(&mut bridge)?;
    let spent = meter.stop(&stage, &bridge)?;
    equality::by_sample(&stage, count, strings::key)?;
    bench.end(bridge)?;
    Ok(spent)
}

/// `SET` of strings of 100 bytes, as fast as the source takes them.
fn sets(bench: &mut Bench<'_>, carrier: Carrier) -> Result<Run> {
    let count = bench.scale.commands;
    let mut stage = Stage::empty()?;
    let mut bridge = bench.start_in_step(carrier, &mut stage)?;
    let before = shares(bench, &bridge)?;
    let mut pen = Pen::to(&stage.source)?;
    let meter = Meter::start(&stage, Some(&bridge))?;
    strings::write(&mut pen, count)?;
    stage.finish(pen)?;
    stage.until_arrived(&mut bridge)?;
    let spent = meter.stop(&stage, &bridge)?;
    let after = shares(bench, &bridge)?;
    let parts = match (&bridge, before, after) {
        (Bridge::Apart(apart), Some(before), Some(after)) => {
            let [capture, apply] = apart.memory()?.map(|memory| memory.peak_mib);
            let cpu = after.since(before);
            Some(Parts { cpu, capture_peak_mib: capture, apply_peak_mib: apply })
        }
        _ => None,
    };
    equality::by_sample(&stage, count, strings::key)?;
    bench.end(bridge)?;
    Ok(Run { spent, parts })
}

fn shares(bench: &Bench<'_>, bridge: &Bridge) -> Result<Option<Shares>> {
    match (&bench.kafka, bridge) {
        (Some(kafka), Bridge::Apart(apart)) => kafka.shares(apart).map(Some),
        _ => Ok(None),
    }
}

fn set(bench: &mut Bench<'_>, setting: Setting) -> Result<()> {
    bench.kafka.as_mut().context("there is no broker")?.setting = setting;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a million is exact")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
