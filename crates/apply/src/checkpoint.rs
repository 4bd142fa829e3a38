//! The checkpoint at a destination: what it says, and whether it fits the journal.

use bytes::{Bytes, BytesMut};
use event::checkpoint::{Applied, Checkpoint};
use event::codec;
use event::{Position, Shard};
use redis_io::Connection;
use wire::resp::reply::Reply;

use crate::config::{Config, Existing};
use crate::error::Error;
use crate::lane::Scope;
use crate::names::Names;
use crate::progress::Progress;

/// What is said of a checkpoint that cannot be used.
type Unfit = String;

/// Reads the checkpoint of a lane: its own, or one of the stream that covers all of it.
///
/// # Errors
/// What the destination refused; [`Error::Foreign`] when there is one that does not fit the journal.
pub(crate) async fn read(
    connection: &mut Connection,
    scope: &Scope,
    names: &Names,
) -> Result<Option<Checkpoint>, Error> {
    let whole = Names::new(&scope.stream, (0, 0), scope.partitions);
    let mut keys = vec![&names.checkpoint];
    if whole.checkpoint != names.checkpoint {
        keys.push(&whole.checkpoint);
    }
    for (number, key) in keys.into_iter().enumerate() {
        let Some(bytes) = get(connection, key).await? else { continue };
        match fit(&bytes, scope) {
            Ok(checkpoint) => return Ok(Some(checkpoint)),
            // The key of partition 0 may be that of another lane.
            Err(_) if number > 0 => {}
            Err(what) => {
                return Err(Error::Foreign { endpoint: connection.endpoint().to_string(), what });
            }
        }
    }
    Ok(None)
}

/// The same, unless the settings say that one of another history does not matter.
///
/// # Errors
/// As [`read`].
pub(crate) async fn usable(
    connection: &mut Connection,
    scope: &Scope,
    names: &Names,
    config: &Config,
) -> Result<Option<Checkpoint>, Error> {
    match read(connection, scope, names).await {
        Err(Error::Foreign { .. }) if config.existing != Existing::Fail => Ok(None),
        other => other,
    }
}

/// How far a lane has come, by its checkpoint.
pub(crate) fn progress(checkpoint: &Checkpoint, scope: &Scope) -> Progress {
    let skipped = usize::from(scope.first.saturating_sub(checkpoint.first_partition));
    let covered = usize::from(scope.last - scope.first) + 1;
    let needed: Vec<u64> =
        checkpoint.read_from.iter().skip(skipped).take(covered).copied().collect();
    let marks_needed = checkpoint.resync.is_some_and(|resync| resync.sweep);
    Progress {
        applied: checkpoint.applied.iter().map(|applied| applied.position).collect(),
        snapshot_from: marks_needed.then(|| needed.clone()),
        needed,
        resync: checkpoint.resync,
    }
}

/// The checkpoint of a lane that stands at `progress`.
pub(crate) fn encode(
    scope: &Scope,
    progress: &Progress,
    written: &Written<'_>,
    out: &mut BytesMut,
) -> Result<(), codec::EncodeError> {
    let judged = |shard: Shard| {
        let judged = written.judged.iter().find(|position| position.shard == shard);
        judged.copied().unwrap_or(Position { shard, ..Position::default() })
    };
    let applied = progress.applied.iter();
    let checkpoint = Checkpoint {
        stream: scope.stream.clone(),
        incarnation: scope.incarnation,
        first_partition: scope.first,
        last_partition: scope.last,
        applied: applied
            .map(|position| Applied { position: *position, judged: judged(position.shard) })
            .collect(),
        read_from: written.read_from.to_vec(),
        owner_epoch: written.owner,
        written_ms: written.now_ms,
        resync: progress.resync,
        marker: None,
    };
    codec::checkpoint::encode(&checkpoint, out)
}

/// What a checkpoint says besides the progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written<'a> {
    /// Per shard, up to where replies have been read.
    pub(crate) judged: &'a [Position],
    /// Per partition, where to read from.
    pub(crate) read_from: &'a [u64],
    /// The worker's number.
    pub(crate) owner: u64,
    /// The worker's clock.
    pub(crate) now_ms: i64,
}

async fn get(connection: &mut Connection, key: &Bytes) -> Result<Option<Bytes>, Error> {
    match connection.call([b"GET".as_slice(), key]).await? {
        Reply::Bulk(bytes) => Ok(Some(bytes)),
        _ => Ok(None),
    }
}

fn fit(bytes: &[u8], scope: &Scope) -> Result<Checkpoint, Unfit> {
    let checkpoint =
        codec::checkpoint::decode(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    let (first, last) = (checkpoint.first_partition, checkpoint.last_partition);
    if checkpoint.stream != scope.stream {
        return Err(format!("it is of stream {}", checkpoint.stream));
    }
    if checkpoint.incarnation != scope.incarnation {
        return Err("the stream has been made anew since".to_owned());
    }
    if first > scope.first || last < scope.last {
        return Err(format!(
            "it covers partitions {first} to {last}, not {} to {}",
            scope.first, scope.last
        ));
    }
    if checkpoint.read_from.len() != usize::from(last - first) + 1 {
        return Err("it does not say where to read from".to_owned());
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(first: u16, last: u16) -> Scope {
        Scope { stream: "shop".into(), incarnation: 7, first, last, partitions: 4, one_order: true }
    }

    fn encoded(scope: &Scope) -> Vec<u8> {
        let position = Position::new(Shard(0), 2, 50);
        let progress = Progress { applied: vec![position], ..Progress::default() };
        let read_from: Vec<u64> = (scope.first..=scope.last).map(u64::from).collect();
        let written = Written { judged: &[], read_from: &read_from, owner: 3, now_ms: 9 };
        let mut out = BytesMut::new();
        encode(scope, &progress, &written, &mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn a_lane_reads_back_its_own_checkpoint() {
        let checkpoint = fit(&encoded(&scope(0, 3)), &scope(0, 3)).unwrap();
        let progress = progress(&checkpoint, &scope(0, 3));
        assert_eq!(progress.applied, [Position::new(Shard(0), 2, 50)]);
        assert_eq!(progress.needed, [0, 1, 2, 3]);
        assert_eq!(checkpoint.applied[0].judged, Position::default());
    }

    #[test]
    fn a_narrower_lane_takes_its_part_of_a_wider_one() {
        let checkpoint = fit(&encoded(&scope(0, 3)), &scope(2, 3)).unwrap();
        assert_eq!(progress(&checkpoint, &scope(2, 3)).needed, [2, 3]);
    }

    #[test]
    fn refuses_what_is_of_another_history() {
        let bytes = encoded(&scope(0, 1));
        assert!(fit(&bytes, &scope(0, 3)).unwrap_err().contains("partitions 0 to 1"));
        let other = Scope { incarnation: 8, ..scope(0, 1) };
        assert!(fit(&bytes, &other).unwrap_err().contains("made anew"));
        let other = Scope { stream: "else".into(), ..scope(0, 1) };
        assert!(fit(&bytes, &other).unwrap_err().contains("stream shop"));
        assert!(fit(b"nonsense", &scope(0, 1)).is_err());
    }
}
