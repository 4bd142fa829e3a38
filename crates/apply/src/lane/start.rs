//! Where a session goes on: where the checkpoints at the destination end, where this process knows better, or at a
//! snapshot.

use std::collections::{BTreeSet, HashMap};

use event::Position;
use journal::Description;

use super::begin::Begin;
use super::place::{Places, Told};
use super::{Memory, Tools};
use crate::checkpoint::Checkpoints;
use crate::config::{Config, Existing};
use crate::deadlines::Deadlines;
use crate::doubt::Doubt;
use crate::error::Error;
use crate::progress::Progress;
use crate::scope::{Line, Point, Scope};

/// Where a session begins.
pub(super) struct Start {
    pub(super) progress: Progress,
    pub(super) judged: Vec<Point>,
    pub(super) doubt: Doubt,
    /// Per line that nothing has been applied of: what is before its snapshot's epoch is not for this destination.
    pub(super) floor: HashMap<Line, Position>,
    /// Tracks that have no checkpoint of this history.
    pub(super) fresh: BTreeSet<usize>,
    /// The journal held nothing to begin with.
    pub(super) from_nothing: bool,
    /// The slots of shards, of several, as the journal told them before.
    pub(super) slots: Told,
}

/// Finds out where to begin.
pub(super) async fn start(
    tools: &Tools,
    description: &Description,
    (scope, known): (&Scope, &Checkpoints),
    memory: &mut Memory,
) -> Result<Start, Error> {
    let journal = &*tools.journal;
    let fresh: BTreeSet<usize> = (0..scope.tracks()).filter(|track| !known.has(*track)).collect();
    let begin = match (&tools.config.replay, fresh.is_empty()) {
        (_, true) => Begin::default(),
        (Some(replay), false) => Begin::at(vec![replay.begin.clone()], scope),
        (None, false) => {
            let begin = Begin::newest(&mut memory.survey, (journal, description), scope).await;
            begin.map_err(|error| match error {
                Error::NoSnapshot { stream, .. } if tools.config.awaits => {
                    Error::AwaitsSnapshot { stream }
                }
                error => error,
            })?
        }
    };
    let mut stored = known.progress(scope, &begin.offsets);
    for track in &fresh {
        let sweep = tools.config.existing == Existing::Sweep;
        begin.begin(&mut stored, (scope, *track), sweep);
    }
    let mut start = match known.written_ms() {
        Some(written_ms) => {
            if memory.had_checkpoint.is_empty() {
                let age_ms = tools.clock.now_ms().saturating_sub(written_ms);
                warn_of_expiry(&tools.config, age_ms);
            }
            let start = resume(stored, known.judged(), memory);
            start.in_journal(tools, description, scope).await?
        }
        None => {
            memory.deadlines = Deadlines::default();
            memory.aftermath = None;
            Start::at(stored, Vec::new())
        }
    };
    let begun = start.progress.resyncs.iter().map(|(line, of)| (line.track, of.shard, of.epoch));
    let snapshots = begin.snapshots.iter().map(|of| of.position);
    let found = fresh.iter().flat_map(|track| {
        snapshots.clone().map(|position| (*track, position.shard, position.epoch))
    });
    let epochs = begun.chain(found);
    start.floor = epochs
        .map(|(track, shard, epoch)| (Line { track, shard }, Position::new(shard, epoch, 0)))
        .collect();
    start.from_nothing = !fresh.is_empty() && begin.snapshots.is_empty();
    start.fresh = fresh;
    Ok(start)
}

/// Goes on where checkpoints end, or where this process knows it to be.
fn resume(stored: Progress, judged: Vec<Point>, memory: &mut Memory) -> Start {
    let same =
        |known: &Progress| (&known.applied, &known.resyncs) == (&stored.applied, &stored.resyncs);
    let known = memory.stood.iter().position(same);
    let mut stood = std::mem::take(&mut memory.stood).into_iter().map(|mut progress| {
        progress.stay_before(&memory.durable);
        // What was in doubt then still is.
        progress.stay_before(memory.doubt_from.as_deref().unwrap_or(&[]));
        progress
    });
    let unsure = std::mem::take(&mut memory.unsure_deadlines);
    match (known, stood.next(), stood.next()) {
        (Some(0), Some(judged), _) => {
            memory.deadlines.undo(unsure);
            memory.deadlines.drop_questions();
            Start::at(judged, std::mem::take(&mut memory.judged))
        }
        // The batch that was under way has been executed, and its replies are lost.
        (Some(1), Some(judged), Some(executed)) => {
            memory.aftermath = None;
            let progress = Progress { needed: judged.needed, ..executed };
            Start::at(progress, std::mem::take(&mut memory.judged))
        }
        _ => {
            memory.marks = Vec::new();
            memory.aftermath = None;
            memory.deadlines = Deadlines::default();
            Start::at(stored, judged)
        }
    }
}

/// Says what may have gone wrong while nobody wrote: it cannot be told afterwards in every case.
fn warn_of_expiry(config: &Config, age_ms: i64) {
    if u128::try_from(age_ms).is_ok_and(|age_ms| age_ms > config.hold_expiry.as_millis()) {
        tracing::warn!(
            seconds = age_ms / 1_000,
            "the last checkpoint is older than destination.hold_expiry: keys that expired here since then, and \
             lived on at the source, are set aside where that shows; compare counters and lists with such short \
             lives (docs/limits.md, Expiry)"
        );
    }
}

// === impl Start ===

impl Start {
    /// The same, reading on from where this journal has what comes next.
    async fn in_journal(
        self,
        tools: &Tools,
        description: &Description,
        scope: &Scope,
    ) -> Result<Self, Error> {
        let (journal, clock) = (&*tools.journal, &*tools.clock);
        // Who applies a snapshot made on demand needs nothing of the stream before it.
        let mut judged = self.judged.clone();
        judged.retain(|point| self.progress.on_demand(point.line()).is_none());
        let places = Places { journal, judged: &judged, scope, clock };
        let (found, slots) = places.find(description, &self.progress.needed).await?;
        let Some(found) = found else { return Ok(Self { slots, ..self }) };
        tracing::warn!(
            checkpoint = ?self.progress.needed,
            journal = ?found,
            "the journal is not as the checkpoint knows it (was it put back from a copy?): reading on from \
             before that, by the source's positions"
        );
        let mut snapshot_from = self.progress.snapshot_from.clone();
        for ((index, _), from) in &mut snapshot_from {
            *from = found.get(*index).map_or(*from, |found| *found.min(from));
        }
        let progress = Progress { needed: found, snapshot_from, ..self.progress };
        Ok(Self { slots, ..Self::at(progress, self.judged) })
    }

    fn at(progress: Progress, judged: Vec<Point>) -> Self {
        // Behind a snapshot made on demand, whose end does nothing: all before that had been judged.
        let begins = |applied: &Point| {
            applied.position.index == Position::LAST_INDEX
                && progress.begun.get(&applied.track) == Some(&applied.position)
        };
        let judged_of = |applied: &Point| {
            let judged = judged.iter().find(|judged| judged.line() == applied.line());
            if begins(applied) { Some(*applied) } else { judged.copied() }
        };
        let judged: Vec<Point> = progress.applied.iter().filter_map(judged_of).collect();
        let pairs = progress.applied.iter().map(|applied| {
            let judged = judged.iter().find(|judged| judged.line() == applied.line());
            (judged.map(|judged| judged.position).unwrap_or_default(), *applied)
        });
        let doubt = Doubt::new(pairs, progress.needed.clone());
        let (floor, fresh, slots) = (HashMap::new(), BTreeSet::new(), Told::new());
        Self { progress, judged, doubt, floor, fresh, from_nothing: false, slots }
    }
}

#[cfg(test)]
mod tests {
    use event::Shard;

    use super::*;

    fn at(offset: u64) -> Position {
        Position::new(Shard(0), 1, offset)
    }

    fn progress(position: Position, needed: u64) -> Progress {
        let mut progress = Progress::from(vec![needed]);
        progress.advance(0, position);
        progress
    }

    #[test]
    fn what_is_in_doubt_stays_so_until_it_is_settled_however_often_the_connection_is_lost() {
        let mut memory = Memory {
            stood: vec![progress(at(40), 4), progress(at(50), 5)],
            judged: vec![Point::from(at(20))],
            doubt_from: Some(vec![2]),
            durable: vec![9],
            ..Memory::default()
        };
        let stored = progress(at(50), 4);
        let start = resume(stored.clone(), vec![Point::from(at(20))], &mut memory);
        assert_eq!(start.doubt.from(), Some(&[2][..]), "a batch that was executed");
        (memory.stood, memory.judged) = (vec![progress(at(50), 4)], vec![Point::from(at(20))]);
        let start = resume(stored.clone(), vec![Point::from(at(20))], &mut memory);
        assert_eq!(start.doubt.from(), Some(&[2][..]), "nothing was executed since");
        (memory.judged, memory.doubt_from) = (vec![Point::from(at(50))], None);
        memory.stood = vec![progress(at(50), 4)];
        let start = resume(stored, vec![Point::from(at(20))], &mut memory);
        assert!(start.doubt.is_over(), "its replies have been read");
        assert_eq!(start.progress.needed, [4]);
    }

    #[test]
    fn nothing_is_in_doubt_where_a_snapshot_made_on_demand_has_ended() {
        let end = at(50).at_index(Position::LAST_INDEX);
        let mut begun = progress(end, 4);
        begun.begun.insert(0, end);
        let start = Start::at(begun.clone(), vec![Point::from(at(50))]);
        assert!(start.doubt.is_over());
        assert_eq!(start.judged, [Point::from(end)]);
        begun.begun.clear();
        assert!(!Start::at(begun, vec![Point::from(at(50))]).doubt.is_over());
    }
}
