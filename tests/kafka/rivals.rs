//! Captures of one source that start at once, and whose leader is killed again and again: one leads at a time, and
//! what they write together has each change once.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Kind, Process, eventually};

use crate::apart::{PATIENCE, Stage, status_of, stop};
use crate::load::{Load, assert_counted, assert_one_full_transfer};
use crate::topic::assert_each_once;

/// Captures at any moment.
const RIVALS: usize = 3;
/// How often the one that leads is killed.
const KILLS: usize = 3;

fn dir_of(number: usize) -> String {
    format!("capture-{number}")
}

/// Waits until one leads alone, and answers which.
fn leader(stage: &Stage, captures: &[Process]) -> Result<usize> {
    eventually(PATIENCE, "one of them leads", || {
        let mut leaders = Vec::new();
        for (number, capture) in captures.iter().enumerate() {
            // What one that was killed has said is still there.
            let shown = status_of(stage, &dir_of(number))?;
            let pid = shown.pointer("/process/pid").and_then(Value::as_u64);
            let phase = shown.pointer("/capture/phase").and_then(Value::as_str);
            if pid == Some(capture.pid().into()) && phase == Some("stream") {
                leaders.push(number);
            }
        }
        // One that has just been replaced may not have said so yet.
        Ok(if let [leading] = leaders[..] { Some(leading) } else { None })
    })
}

fn caught_up(stage: &mut Stage, captures: &mut [Process], apply: &mut Process) -> Result<()> {
    stage.caught_up(&mut captures.iter_mut().chain([apply]).collect::<Vec<_>>())
}

#[test]
fn captures_that_start_at_once_and_whose_leaders_are_killed_double_nothing() -> Result<()> {
    let mut stage = Stage::start(Kind::Redis7_0)?;
    let load = Load::start(&stage.source)?;
    let start = |stage: &Stage, number| stage.capture(&dir_of(number));
    let mut captures: Vec<Process> =
        (0..RIVALS).map(|number| start(&stage, number)).collect::<Result<_>>()?;
    let mut apply = stage.apply()?;
    caught_up(&mut stage, &mut captures, &mut apply)?;
    for _ in 0..KILLS {
        let leading = leader(&stage, &captures)?;
        load.goes_on(100)?;
        let capture = captures.get_mut(leading).context("a capture")?;
        capture.kill()?;
        load.goes_on(100)?;
        *capture = start(&stage, leading)?;
    }
    let counted = load.stop()?;
    caught_up(&mut stage, &mut captures, &mut apply)?;
    stage.assert_same()?;
    assert_counted(&stage, counted)?;
    assert_one_full_transfer(&stage)?;
    let changes = u64::try_from(assert_each_once(&stage)?)?;
    ensure!(changes > 0, "nothing is in the topic");
    leader(&stage, &captures)?;
    stop(&mut apply)?;
    captures.iter_mut().try_for_each(stop)
}
