//! The checkpoints at a destination, one for each track: what they say, and whether they fit the journal.

use bytes::BytesMut;
use event::checkpoint::{Applied, Checkpoint, Resync, Territory};
use event::{Position, codec};
use redis_io::Connection;
use wire::resp::reply::Reply;

use crate::config::{Config, Existing};
use crate::error::Error;
use crate::names::Names;
use crate::progress::Progress;
use crate::scope::{Point, Scope};

/// What is said of a checkpoint that cannot be used.
type Unfit = String;

/// The checkpoints of a lane: of each track the one it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoints(Vec<Option<Checkpoint>>);

/// Reads the checkpoints of a lane. One of another history counts as none where the settings say that it does not
/// matter.
///
/// # Errors
/// What the destination refused; [`Error::Foreign`] when there is one that does not fit the journal.
pub(crate) async fn read(
    connection: &mut Connection,
    scope: &Scope,
    names: &Names,
    config: &Config,
) -> Result<Checkpoints, Error> {
    let mut found = Vec::with_capacity(scope.tracks());
    let gets = names.tracks().iter().map(|names| [b"GET".as_slice(), &names.checkpoint]);
    let replies = connection.call_each(&gets.collect::<Vec<_>>()).await?;
    for (track, reply) in replies.into_iter().enumerate() {
        let bytes = match reply {
            Reply::Bulk(bytes) => Some(bytes),
            _ => None,
        };
        found.push(match bytes.map(|bytes| fit(&bytes, scope, track)).transpose() {
            Ok(checkpoint) => checkpoint,
            Err(_) if config.existing != Existing::Fail => None,
            Err(what) => {
                return Err(Error::Foreign { endpoint: connection.endpoint().to_string(), what });
            }
        });
    }
    Ok(Checkpoints(found))
}

/// A checkpoint as it is stored, written at `position`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn encode(checkpoint: &Checkpoint, position: Position) -> Result<BytesMut, Error> {
    let mut out = BytesMut::new();
    codec::checkpoint::encode(checkpoint, &mut out).map_err(|error| Error::Contradiction {
        position,
        what: format!("its checkpoint cannot be written: {error}"),
    })?;
    Ok(out)
}

/// What the checkpoint of a track says.
fn of_track(
    (scope, track): (&Scope, usize),
    progress: &Progress,
    written: &Written<'_>,
) -> Checkpoint {
    let said = Said::of((scope, track), progress, written);
    let (first_partition, last_partition) = scope.span(track);
    Checkpoint {
        stream: scope.stream.clone(),
        incarnation: scope.incarnation,
        first_partition,
        last_partition,
        applied: said.applied().collect(),
        read_from: said.read_from.to_vec(),
        owner_epoch: written.owner,
        written_ms: written.now_ms,
        resyncs: said.resyncs,
        waits_at: said.waits_at,
        begun_at: said.begun_at,
        territory: said.territory.clone(),
        marker: None,
    }
}

/// What the checkpoint of a track says, borrowed: of most tracks that is what is there already.
struct Said<'a> {
    points: &'a [Point],
    judged: &'a [Point],
    read_from: &'a [u64],
    owner: u64,
    resyncs: Vec<Resync>,
    waits_at: Option<Position>,
    begun_at: Option<Position>,
    territory: &'a Territory,
}

/// What a checkpoint says besides the progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    /// Per line, up to where replies have been read.
    pub(crate) judged: &'a [Point],
    /// Per partition, where to read from.
    pub(crate) read_from: &'a [u64],
    /// The worker's number.
    pub(crate) owner: u64,
    /// The worker's clock.
    pub(crate) now_ms: i64,
    /// Whether it may be said that tracks wait: not beside what is still to be judged of their keys.
    pub(crate) says_waits: bool,
    /// Where the stream's keys live.
    pub(crate) territory: &'a Territory,
}

fn fit(bytes: &[u8], scope: &Scope, track: usize) -> Result<Checkpoint, Unfit> {
    let checkpoint =
        codec::checkpoint::decode(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    let covered = (checkpoint.first_partition, checkpoint.last_partition);
    let expected = scope.span(track);
    if checkpoint.stream != scope.stream {
        return Err(format!("it is of stream {}", checkpoint.stream));
    }
    if checkpoint.incarnation != scope.incarnation {
        return Err("the stream has been made anew since".to_owned());
    }
    if covered != expected {
        let ((first, last), (from, to)) = (covered, expected);
        return Err(format!("it covers partitions {first} to {last}, not {from} to {to}"));
    }
    if checkpoint.read_from.len() != scope.lane_indexes(track).len() {
        return Err("it does not say where to read from".to_owned());
    }
    Ok(checkpoint)
}

// === impl Said ===

impl<'a> Said<'a> {
    fn of((scope, track): (&Scope, usize), progress: &'a Progress, written: &Written<'a>) -> Self {
        let mut said = Self {
            points: progress.of_track(track),
            judged: written.judged,
            read_from: written.read_from.get(scope.lane_indexes(track)).unwrap_or_default(),
            owner: written.owner,
            resyncs: progress.resyncs_of(track).copied().collect(),
            waits_at: None,
            begun_at: progress.begun.get(&track).copied(),
            territory: written.territory,
        };
        let is_judged = |said: &Self| said.applied().all(|of| of.judged == of.position);
        if written.says_waits && is_judged(&said) {
            said.waits_at = progress.waits.get(&track).copied();
        }
        said
    }

    fn applied(&self) -> impl Iterator<Item = Applied> {
        self.points.iter().map(|point| {
            let judged = self.judged.iter().find(|judged| judged.line() == point.line());
            let none = Position { shard: point.position.shard, ..Position::default() };
            let judged = judged.map_or(none, |judged| judged.position);
            Applied { position: point.position, judged }
        })
    }

    /// Whether a checkpoint of the track says this already; when it was written does not matter.
    fn is_in(&self, known: &Checkpoint) -> bool {
        let Checkpoint {
            // The same in all checkpoints of a track.
            stream: _,
            incarnation: _,
            first_partition: _,
            last_partition: _,
            written_ms: _,
            applied,
            read_from,
            owner_epoch,
            resyncs,
            waits_at,
            begun_at,
            territory,
            marker,
        } = known;
        // Others look at the checkpoint of a track that waits, and go by it if it stays as it is. What is needed from
        // further back is said all the same.
        let waits = self.waits_at.is_some() && self.waits_at == *waits_at;
        let is_further_on = || self.read_from.iter().zip(read_from).all(|(now, then)| now >= then);
        (self.read_from == read_from || (waits && is_further_on()))
            && (self.owner, &self.resyncs) == (*owner_epoch, resyncs)
            && (self.waits_at, self.begun_at) == (*waits_at, *begun_at)
            && (self.territory == territory && marker.is_none())
            && self.applied().eq(applied.iter().copied())
    }
}

// === impl Checkpoints ===

impl Checkpoints {
    /// Whether a track has one.
    pub(crate) fn has(&self, track: usize) -> bool {
        self.0.get(track).is_some_and(Option::is_some)
    }

    /// Counts those of these tracks as none.
    pub(crate) fn forget(&mut self, is_forgotten: impl Fn(usize) -> bool) {
        let known = self.0.iter_mut().enumerate();
        known.filter(|(track, _)| is_forgotten(*track)).for_each(|(_, known)| *known = None);
    }

    /// Those that there are, with their tracks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Checkpoint)> {
        self.0.iter().enumerate().filter_map(|(track, known)| Some((track, known.as_ref()?)))
    }

    /// How far the lane has come. Partitions of tracks without a checkpoint begin at `begin`.
    pub(crate) fn progress(&self, scope: &Scope, begin: &[u64]) -> Progress {
        let mut progress = Progress::from(begin.to_vec());
        progress.needed.resize(scope.numbers.len(), 0);
        for (track, checkpoint) in self.iter() {
            for (index, from) in scope.lane_indexes(track).zip(&checkpoint.read_from) {
                if let Some(needed) = progress.needed.get_mut(index) {
                    *needed = *from;
                }
            }
            progress.begin(scope, track, &checkpoint.resyncs);
            let applied = checkpoint.applied.iter();
            progress.applied.extend(applied.map(|of| Point { track, position: of.position }));
            progress.waits.extend(checkpoint.waits_at.map(|at| (track, at)));
            progress.begun.extend(checkpoint.begun_at.map(|at| (track, at)));
        }
        progress
    }

    /// Those of a lane that stands at `progress` which say something new, with their tracks; at least one; or all.
    pub(crate) fn news(
        &self,
        (scope, progress): (&Scope, &Progress),
        written: &Written<'_>,
        all: bool,
    ) -> Vec<(usize, Checkpoint)> {
        let of_track = |track: usize| (track, of_track((scope, track), progress, written));
        let is_new = |track: &usize| {
            let said = Said::of((scope, *track), progress, written);
            let known = self.0.get(*track).and_then(Option::as_ref);
            // What has not begun has nothing to say, except with which snapshot it will: the same in all tracks.
            let begins = !said.points.is_empty() || !said.resyncs.is_empty();
            begins && (all || known.is_none_or(|known| !said.is_in(known)))
        };
        let mut news: Vec<_> = (0..scope.tracks()).filter(is_new).map(of_track).collect();
        if news.is_empty() {
            let goes_on = |track: &usize| self.has(*track) && !progress.waits.contains_key(track);
            news.push(of_track((0..scope.tracks()).find(goes_on).unwrap_or_default()));
        }
        news
    }

    /// Where others know that a track waits.
    pub(crate) fn waits_at(&self, track: usize) -> Option<Position> {
        self.0.get(track)?.as_ref()?.waits_at
    }

    /// Per partition of the lane, from where they say to read; where there is none, what `otherwise` says.
    pub(crate) fn read_from(&self, scope: &Scope, otherwise: &[u64]) -> Vec<u64> {
        let mut read_from = otherwise.to_vec();
        for (track, checkpoint) in self.iter() {
            let places = read_from.get_mut(scope.lane_indexes(track)).into_iter().flatten();
            places.zip(&checkpoint.read_from).for_each(|(place, from)| *place = *from);
        }
        read_from
    }

    /// Takes note of what has been written.
    pub(crate) fn take(&mut self, written: Vec<(usize, Checkpoint)>) {
        for (track, checkpoint) in written {
            if let Some(known) = self.0.get_mut(track) {
                *known = Some(checkpoint);
            }
        }
    }

    /// Per line, up to where replies have been read.
    pub(crate) fn judged(&self) -> Vec<Point> {
        let judged = |(track, checkpoint): (usize, &Checkpoint)| {
            let applied = checkpoint.applied.clone().into_iter();
            applied.map(move |applied| Point { track, position: applied.judged })
        };
        self.iter().flat_map(judged).collect()
    }

    /// What holds of data that is not the stream's: what is asked for now, or else what was asked for before.
    pub(crate) fn lasting(&self, asked: Existing) -> Existing {
        let is_shared = || self.iter().any(|(_, checkpoint)| checkpoint.territory.shared);
        match asked {
            Existing::Fail if is_shared() => Existing::Overwrite,
            asked => asked,
        }
    }

    /// Whether all that there are say where the stream's keys live.
    pub(crate) fn all_say(&self, territory: &Territory) -> bool {
        self.iter().all(|(_, checkpoint)| checkpoint.territory == *territory)
    }

    /// When the oldest of them was written.
    pub(crate) fn written_ms(&self) -> Option<i64> {
        self.iter().map(|(_, checkpoint)| checkpoint.written_ms).min()
    }
}

#[cfg(test)]
impl From<Vec<Option<Checkpoint>>> for Checkpoints {
    fn from(of_tracks: Vec<Option<Checkpoint>>) -> Self {
        Self(of_tracks)
    }
}

#[cfg(test)]
mod tests {
    use event::Shard;

    use super::*;

    fn scope(numbers: &[u16], one_order: bool) -> Scope {
        let numbers = numbers.into();
        Scope { stream: "shop".into(), incarnation: 7, numbers, partitions: 4, one_order }
    }

    #[test]
    fn where_to_read_from_is_no_news_of_a_track_that_waits_unless_it_is_further_back() {
        let scope = scope(&[0, 1], false);
        let mut progress = Progress::default();
        for track in 0..2 {
            progress.advance(track, Position::new(Shard(0), 2, 50));
        }
        progress.waits.insert(0, Position::new(Shard(0), 2, 60));
        let judged = progress.applied.clone();
        let everywhere = Territory::default();
        let mut stored = Checkpoints::from(vec![None, None]);
        for (read_from, tracks, said) in [
            ([7, 7], vec![0, 1], [7, 7]),
            ([8, 8], vec![1], [7, 8]),
            // Where nothing is new one has to be written all the same: not that which others watch.
            ([8, 8], vec![1], [7, 8]),
            ([6, 8], vec![0], [6, 8]),
        ] {
            let (judged, from) = (&judged[..], &read_from[..]);
            let written = Written { read_from: from, ..written(judged, &everywhere) };
            let news = stored.news((&scope, &progress), &written, false);
            assert_eq!(news.iter().map(|(track, _)| *track).collect::<Vec<_>>(), tracks);
            stored.take(news);
            assert_eq!(stored.read_from(&scope, from), said);
        }
    }

    fn written<'a>(judged: &'a [Point], territory: &'a Territory) -> Written<'a> {
        Written { judged, read_from: &[], owner: 3, now_ms: 9, says_waits: true, territory }
    }

    fn encoded(scope: &Scope, track: usize) -> Vec<u8> {
        let mut progress = Progress::default();
        for track in 0..scope.tracks() {
            progress.advance(track, Position::new(Shard(0), 2, 50 + track as u64));
        }
        let read_from: Vec<u64> = scope.numbers.iter().map(|number| u64::from(*number)).collect();
        let (read_from, judged) = (&read_from[..], &[][..]);
        let territory = Territory::default();
        let written = Written { read_from, ..written(judged, &territory) };
        encode(&of_track((scope, track), &progress, &written), Position::default())
            .unwrap()
            .to_vec()
    }

    #[test]
    fn a_lane_of_one_order_reads_back_its_own_checkpoint() {
        let scope = scope(&[0, 1, 2, 3], true);
        let checkpoint = fit(&encoded(&scope, 0), &scope, 0).unwrap();
        assert_eq!(checkpoint.applied[0].judged, Position::default());
        let progress = Checkpoints(vec![Some(checkpoint)]).progress(&scope, &[]);
        assert_eq!(progress.applied, [Point::from(Position::new(Shard(0), 2, 50))]);
        assert_eq!(progress.needed, [0, 1, 2, 3]);
    }

    #[test]
    fn each_track_goes_on_by_itself() {
        let scope = scope(&[1, 3], false);
        let checkpoint = fit(&encoded(&scope, 1), &scope, 1).unwrap();
        let known = Checkpoints(vec![None, Some(checkpoint)]);
        let progress = known.progress(&scope, &[70, 80]);
        assert_eq!(progress.needed, [70, 3]);
        let position = Position::new(Shard(0), 2, 51);
        assert_eq!(progress.applied, [Point { track: 1, position }]);
        assert!(known.has(1) && !known.has(0));
    }

    #[test]
    fn refuses_what_is_of_another_history() {
        let bytes = encoded(&scope(&[0, 1], true), 0);
        assert!(fit(&bytes, &scope(&[0, 1, 2, 3], true), 0).unwrap_err().contains("0 to 1"));
        assert!(fit(&bytes, &scope(&[0, 1], false), 0).unwrap_err().contains("0 to 1"));
        let other = Scope { incarnation: 8, ..scope(&[0, 1], true) };
        assert!(fit(&bytes, &other, 0).unwrap_err().contains("made anew"));
        let other = Scope { stream: "else".into(), ..scope(&[0, 1], true) };
        assert!(fit(&bytes, &other, 0).unwrap_err().contains("stream shop"));
        assert!(fit(b"nonsense", &other, 0).is_err());
    }
}
