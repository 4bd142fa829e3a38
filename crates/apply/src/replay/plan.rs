//! Which snapshot a replay begins with, and how much there is to apply.

use std::collections::BTreeSet;

use event::{Position, Shard};
use journal::{Description, Journal, Partition, ReadLimit};

use super::cut::Cut;
use super::{Beginning, Origin, Place, Replay, Until, shown};
use crate::error::Error;
use crate::limits;
use crate::survey::{Snapshot, Survey};

/// What a replay reads of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Which.
    pub partition: u16,
    /// The first record.
    pub from: u64,
    /// The first record that is not read any more.
    pub to: u64,
    /// How many records that are.
    pub records: u64,
    /// And bytes.
    pub bytes: u64,
    /// Whether the journal holds what comes behind the place where the replay ends.
    pub passed: bool,
}

/// So many snapshots are named where none of them fits.
const SNAPSHOTS_NAMED: usize = 8;

// === impl Replay ===

impl Replay {
    /// Looks for a snapshot to begin with in all that the journal holds.
    ///
    /// # Errors
    /// [`Error::NoReplay`] when there is none, or when the journal does not know what stands where it should end; when the
    /// journal cannot be read.
    pub async fn plan(
        journal: &dyn Journal,
        origin: Origin,
        until: Option<Place>,
    ) -> Result<Self, Error> {
        let description = journal.describe().await?;
        let mut survey = Survey::default();
        survey.read(journal, &description).await?;
        Self::among(&survey, &description, (origin, until))
    }

    /// Counts what it would read now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn measure(&self, journal: &dyn Journal) -> Result<Vec<Measured>, Error> {
        let description = journal.describe().await?;
        let ends: Vec<u64> = description.partitions.iter().map(|range| range.end.0).collect();
        let mut cut = Cut::new(self.until, ends, &self.begin.offsets);
        let measured = |(partition, from): (u16, &u64)| Measured {
            partition,
            from: *from,
            to: *from,
            records: 0,
            bytes: 0,
            passed: false,
        };
        let mut all: Vec<Measured> = (0..).zip(&self.begin.offsets).map(measured).collect();
        let from = (0..).map(Partition).zip(self.begin.offsets.iter().copied());
        let from = from.map(|(partition, offset)| (partition, journal::Offset(offset)));
        let mut reader = journal.reader(from.collect()).await?;
        while !cut.is_complete() {
            let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
            for entry in reader.next(limit).await? {
                let index = usize::from(entry.partition.0);
                if !cut.takes(index, &entry)? {
                    continue;
                }
                if let Some(of) = all.get_mut(index) {
                    of.to = entry.offset.0 + 1;
                    of.records += 1;
                    of.bytes += entry.payload.len() as u64;
                }
            }
        }
        for of in &mut all {
            of.passed = cut.has_passed(usize::from(of.partition));
        }
        Ok(all)
    }

    /// Chooses among what was found.
    pub(crate) fn among(
        survey: &Survey,
        description: &Description,
        (origin, until): (Origin, Option<Place>),
    ) -> Result<Self, Error> {
        let chooser = Chooser { survey, stream: &description.stream };
        if survey.is_of_cluster() {
            return Err(chooser.refused(
                "its source is a cluster, and the shards have no place in common to begin with or to end at: this \
                 version replays streams of one shard"
                    .to_owned(),
            ));
        }
        let until = match until {
            None => Until::End,
            Some(place) => chooser.resolve(place)?,
        };
        let found = match origin {
            Origin::Snapshot => chooser.newest(&[until])?,
            Origin::At(place) => chooser.newest_between(chooser.resolve(place)?, until)?,
            Origin::Beginning => chooser.oldest(until)?,
        };
        chooser.refuse_within_a_snapshot(found, until)?;
        let starts: Vec<u64> = description.partitions.iter().map(|range| range.start.0).collect();
        Ok(Self { begin: Beginning::of(found, &starts), until })
    }
}

/// Chooses a snapshot.
struct Chooser<'a> {
    survey: &'a Survey,
    stream: &'a str,
}

// === impl Chooser ===

impl<'a> Chooser<'a> {
    /// What a place means in this journal.
    fn resolve(&self, place: Place) -> Result<Until, Error> {
        let (epoch, offset) = match place {
            Place::TimeMs(ms) => return Ok(Until::TimeMs(ms)),
            Place::Offset { epoch, offset } => (epoch, offset),
        };
        let epochs: BTreeSet<u64> = self.survey.epochs().map(|(epoch, _)| epoch).collect();
        let mut all = epochs.iter();
        let epoch = match (epoch, all.next(), all.next()) {
            (Some(epoch), ..) if epochs.contains(&epoch) => epoch,
            (None, Some(only), None) => *only,
            (None, Some(_), Some(_)) => {
                return Err(self.refused(format!("offset:{offset} alone names no place in it")));
            }
            (_, None, _) => return Err(self.refused("it holds nothing".to_owned())),
            (Some(epoch), Some(_), _) => {
                return Err(self.refused(format!("it holds nothing of epoch {epoch}")));
            }
        };
        let position = Position::new(Shard(0), epoch, offset);
        Ok(Until::Position(position.at_index(Position::LAST_INDEX)))
    }

    fn complete(&self) -> impl Iterator<Item = &'a Snapshot> {
        self.survey.snapshots().filter(|snapshot| snapshot.is_complete())
    }

    /// The newest complete snapshot that is not after any of these places.
    fn newest(&self, places: &[Until]) -> Result<&'a Snapshot, Error> {
        let fits = |snapshot: &&Snapshot| places.iter().all(|place| !place.is_before(snapshot));
        let newest = self.complete().filter(fits).max_by_key(|snapshot| snapshot.order());
        newest.ok_or_else(|| {
            let named = places.iter().filter(|place| **place != Until::End);
            let named: Vec<String> = named.map(ToString::to_string).collect();
            self.refused(match named.as_slice() {
                [] => "it holds no complete snapshot".to_owned(),
                named => format!("it holds no complete snapshot as of {}", named.join(" and ")),
            })
        })
    }

    /// The newest to begin with that is not after `from`, and from which `until` is reached.
    fn newest_between(&self, from: Until, until: Until) -> Result<&'a Snapshot, Error> {
        self.refuse_unreached(from)?;
        let is_told = self.complete().any(|of| !from.is_before(of) && until.is_before(of));
        if is_told || until.comes_before(&from) {
            let what =
                format!("the place to end at, {until}, is before the one to begin at, {from}");
            return Err(self.refused(what));
        }
        self.newest(&[from, until])
    }

    /// What an epoch has not come to is a mistake: the newest snapshot, which is before it, was not meant.
    fn refuse_unreached(&self, place: Until) -> Result<(), Error> {
        let Until::Position(position) = place else { return Ok(()) };
        let Some((epoch, reach)) = self.survey.epochs().find(|(of, _)| *of == position.epoch)
        else {
            return Ok(());
        };
        // One made on demand may be ahead of the stream.
        let mut snapshots = self.complete().filter(|of| of.epoch == epoch);
        let is_reached = position.offset <= reach.last.offset
            || snapshots.any(|of| of.at.is_some_and(|at| position.offset <= at.offset));
        match is_reached {
            true => Ok(()),
            false => {
                let end = shown(epoch, reach.last.offset, reach.time_ms);
                let what =
                    format!("{place} was never reached: epoch {epoch} ends before that, at {end}");
                Err(self.refused(what))
            }
        }
    }

    fn oldest(&self, until: Until) -> Result<&'a Snapshot, Error> {
        match self.complete().min_by_key(|snapshot| snapshot.order()) {
            Some(oldest) if !until.is_before(oldest) => Ok(oldest),
            _ => self.newest(&[until]),
        }
    }

    /// Behind a snapshot that is not complete there is nothing to be had: neither what was before, nor what came.
    fn refuse_within_a_snapshot(&self, begin: &Snapshot, until: Until) -> Result<(), Error> {
        let ordinary = self.survey.snapshots().filter(|snapshot| snapshot.id == 0);
        let later = ordinary.filter(|snapshot| snapshot.epoch > begin.epoch);
        let last = later.filter(|snapshot| !until.is_before(snapshot)).max_by_key(|s| s.order());
        match last.filter(|last| !last.has_ended()) {
            None => Ok(()),
            Some(last) => {
                let begun = Beginning::of(last, &[]);
                Err(self.refused(format!(
                    "at {until} it holds a snapshot, begun at {begun}, that is not complete"
                )))
            }
        }
    }

    /// An error with what can be done instead.
    fn refused(&self, what: String) -> Error {
        let mut complete: Vec<&Snapshot> = self.complete().collect();
        complete.sort_by_key(|snapshot| snapshot.order());
        let skipped = complete.len().saturating_sub(SNAPSHOTS_NAMED);
        let named = complete.iter().skip(skipped).map(|of| Beginning::of(of, &[]).to_string());
        let mut named: Vec<String> = named.collect();
        if skipped > 0 {
            named.insert(0, format!("{skipped} older ones"));
        }
        let ends: Vec<String> = self
            .survey
            .epochs()
            .map(|(epoch, reach)| shown(epoch, reach.last.offset, reach.time_ms))
            .collect();
        let possible = match named.is_empty() {
            true => "it can be replayed from nowhere".to_owned(),
            false => format!("complete snapshots: {}", named.join(", ")),
        };
        let possible = match ends.is_empty() {
            true => possible,
            false => format!("{possible}; its epochs end at {}", ends.join(", ")),
        };
        Error::NoReplay { stream: self.stream.to_owned(), what, possible }
    }
}

// === impl Until ===

impl Until {
    /// Whether it is before what a snapshot shows.
    fn is_before(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::End => false,
            Self::TimeMs(ms) => snapshot.time_ms > *ms,
            Self::Position(position) => {
                snapshot.at.is_none_or(|at| at.is_after(position) || at.shard != position.shard)
            }
        }
    }

    /// Whether it is before another of the same kind.
    fn comes_before(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::TimeMs(ms), Self::TimeMs(other)) => ms < other,
            (Self::Position(position), Self::Position(other)) => other.is_after(position),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
