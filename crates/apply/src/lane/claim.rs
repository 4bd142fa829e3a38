//! Becoming the one worker that writes a lane: whoever wrote it before is shut out before anything is read.
//!
//! A worker raises the owner, takes the new number into the name of its connection, and then reads the owner again: if it
//! is higher than its own, it has lost. A successor raises the owner, kills every connection of the lane with a lower
//! number, and then reads the checkpoint: so no write of a predecessor, nor of an own connection that is half dead, can
//! follow that read.

use redis_io::Connection;
use runtime::Random;
use wire::resp::encode::Decimal;
use wire::resp::reply::Reply;

use crate::error::Error;
use crate::names::Names;
use crate::scope::Scope;

/// Attempts to raise the owner while others do the same.
const ATTEMPTS: usize = 16;

/// Numbers are drawn from so many above the one before: where the answer to raising the owner was lost, its number
/// tells whether it was this process that raised it.
const SPREAD: u64 = 1 << 20;

/// What a process knows of itself as the worker of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The number that it has, or had before.
    pub(crate) mine: Option<u64>,
    /// The number that it raised the owner to, perhaps without hearing that it did.
    tried: Option<u64>,
}

/// Becomes the worker of a lane. Gives the new number.
///
/// # Errors
/// [`Error::Fenced`] when another process has taken over since; what the destination refused.
pub(crate) async fn claim(
    connection: &mut Connection,
    (scope, names): (&Scope, &Names),
    claim: &mut Claim,
    random: &mut Random,
) -> Result<u64, Error> {
    let number = raise(connection, (scope, names), claim, random).await?;
    let name = format!("{}{}:{number}", names.connection, scope.shown());
    connection.call(["CLIENT", "SETNAME", &name]).await?;
    if owners(connection, names).await?.iter().any(|owner| *owner != Some(number)) {
        return Err(fenced(connection, scope));
    }
    let list = connection.call(["CLIENT", "LIST"]).await?;
    let list = list.as_str().unwrap_or_default();
    for id in predecessors(list, &names.connection, (scope, number)) {
        // It may have gone by itself meanwhile, which is as good.
        if let Reply::Error(text) = connection.ask(["CLIENT", "KILL", "ID", &id]).await?
            && !text.starts_with(b"ERR No such client")
        {
            return Err(refused_kill(connection, &text));
        }
        tracing::info!(client = id, "ended the connection of an earlier worker");
    }
    claim.mine = Some(number);
    Ok(number)
}

/// Per track, the number of the latest worker.
async fn owners(connection: &mut Connection, names: &Names) -> Result<Vec<Option<u64>>, Error> {
    let gets = names.tracks().iter().map(|track| [b"GET".as_slice(), &track.owner]);
    let replies = connection.call_each(&gets.collect::<Vec<_>>()).await?;
    let number = |reply: &Reply| reply.as_int().and_then(|number| u64::try_from(number).ok());
    Ok(replies.iter().map(number).collect())
}

async fn raise(
    connection: &mut Connection,
    (scope, names): (&Scope, &Names),
    claim: &mut Claim,
    random: &mut Random,
) -> Result<u64, Error> {
    for _ in 0..ATTEMPTS {
        let mut watch = vec![b"WATCH".as_slice()];
        watch.extend(names.tracks().iter().map(|track| &track.owner[..]));
        connection.call(watch).await?;
        let current = owners(connection, names).await?.into_iter().flatten().max();
        if claim.is_overtaken(current) {
            return Err(fenced(connection, scope));
        }
        let next = current.max(claim.mine).unwrap_or(0) + 1 + random.below(SPREAD);
        claim.tried = Some(next);
        connection.call(["MULTI"]).await?;
        let number = Decimal::from(next);
        let tracks = names.tracks().iter();
        let sets = tracks.map(|track| [b"SET".as_slice(), &track.owner, number.as_ref()]);
        connection.call_each(&sets.collect::<Vec<_>>()).await?;
        if connection.call(["EXEC"]).await? != Reply::Null {
            return Ok(next);
        }
    }
    Err(fenced(connection, scope))
}

// === impl Claim ===

impl Claim {
    /// Whether another process has raised the owner since.
    fn is_overtaken(&self, current: Option<u64>) -> bool {
        current > self.mine && self.mine.is_some() && current != self.tried
    }
}

/// The ids of the connections with a lower number that have a partition in common with the lane, from the text of CLIENT
/// LIST.
fn predecessors(list: &str, prefix: &str, (scope, number): (&Scope, u64)) -> Vec<String> {
    let field = |line: &str, field: &str| {
        let found = line.split(' ').find_map(|part| part.strip_prefix(field)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    let earlier = |line: &&str| {
        let name = field(line, "name");
        let of_lane = name.as_deref().and_then(|name| name.strip_prefix(prefix)?.split_once(':'));
        of_lane.is_some_and(|(partitions, other)| {
            other.parse::<u64>().is_ok_and(|other| other < number) && scope.overlaps(partitions)
        })
    };
    list.lines().filter(earlier).filter_map(|line| field(line, "id")).collect()
}

fn fenced(connection: &Connection, scope: &Scope) -> Error {
    Error::Fenced { endpoint: connection.endpoint().to_string(), stream: scope.stream.clone() }
}

fn refused_kill(connection: &Connection, text: &[u8]) -> Error {
    Error::Connection(redis_io::Error::Server {
        endpoint: std::sync::Arc::clone(connection.endpoint()),
        command: "CLIENT KILL".to_owned(),
        refusal: redis_io::Refusal::read(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_it_raised_itself_without_hearing_of_it_is_its_own() {
        let claim = Claim { mine: Some(5), tried: Some(90) };
        assert!(!claim.is_overtaken(Some(5)) && !claim.is_overtaken(Some(90)));
        assert!(claim.is_overtaken(Some(6)) && claim.is_overtaken(Some(91)));
        assert!(!claim.is_overtaken(None));
        assert!(!Claim::default().is_overtaken(Some(7)));
    }

    #[test]
    fn finds_the_lower_numbers_of_its_own_partitions_only() {
        let list = "id=3 addr=127.0.0.1:1 name=keyferry:shop:0-3:4 db=0\n\
                    id=4 addr=127.0.0.1:2 name=keyferry:shop:1,7:7 db=0\n\
                    id=5 addr=127.0.0.1:3 name=keyferry:shop:3-15:12 db=0\n\
                    id=6 addr=127.0.0.1:4 name=keyferry:other:0-15:1 db=0\n\
                    id=7 addr=127.0.0.1:5 name= db=0\n\
                    id=8 addr=127.0.0.1:5 name=keyferry:shop:8-9:1 db=0\n";
        let numbers = [2, 3, 7].into();
        let (stream, incarnation) = ("shop".into(), 1);
        let scope = Scope { stream, incarnation, numbers, partitions: 16, one_order: false };
        let found = |number| predecessors(list, "keyferry:shop:", (&scope, number));
        assert_eq!(found(7), ["3"]);
        assert_eq!(found(13), ["3", "4", "5"]);
    }
}
