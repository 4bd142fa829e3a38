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
    names: &Names,
    stream: &str,
    claim: &mut Claim,
    random: &mut Random,
) -> Result<u64, Error> {
    let number = raise(connection, names, stream, claim, random).await?;
    let name = format!("{}{number}", names.connection);
    connection.call(["CLIENT", "SETNAME", &name]).await?;
    if owner(connection, names).await? != Some(number) {
        return Err(fenced(connection, stream));
    }
    let list = connection.call(["CLIENT", "LIST"]).await?;
    for id in predecessors(list.as_str().unwrap_or_default(), &names.connection, number) {
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

/// The number of the latest worker.
async fn owner(connection: &mut Connection, names: &Names) -> Result<Option<u64>, Error> {
    let reply = connection.call([b"GET".as_slice(), &names.owner]).await?;
    Ok(reply.as_int().and_then(|number| u64::try_from(number).ok()))
}

async fn raise(
    connection: &mut Connection,
    names: &Names,
    stream: &str,
    claim: &mut Claim,
    random: &mut Random,
) -> Result<u64, Error> {
    for _ in 0..ATTEMPTS {
        connection.call([b"WATCH".as_slice(), &names.owner]).await?;
        let current = owner(connection, names).await?;
        if claim.is_overtaken(current) {
            return Err(fenced(connection, stream));
        }
        let next = current.max(claim.mine).unwrap_or(0) + 1 + random.below(SPREAD);
        claim.tried = Some(next);
        connection.call(["MULTI"]).await?;
        let number = Decimal::from(next);
        connection.call([b"SET".as_slice(), &names.owner, number.as_ref()]).await?;
        if connection.call(["EXEC"]).await? != Reply::Null {
            return Ok(next);
        }
    }
    Err(fenced(connection, stream))
}

// === impl Claim ===

impl Claim {
    /// Whether another process has raised the owner since.
    fn is_overtaken(&self, current: Option<u64>) -> bool {
        current > self.mine && self.mine.is_some() && current != self.tried
    }
}

/// The ids of the connections of a lane with a lower number, from the text of CLIENT LIST.
fn predecessors(list: &str, name: &str, number: u64) -> Vec<String> {
    let field = |line: &str, field: &str| {
        let found = line.split(' ').find_map(|part| part.strip_prefix(field)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    let earlier = |line: &&str| {
        let of_lane =
            field(line, "name").and_then(|shown| shown.strip_prefix(name)?.parse::<u64>().ok());
        of_lane.is_some_and(|other| other < number)
    };
    list.lines().filter(earlier).filter_map(|line| field(line, "id")).collect()
}

fn fenced(connection: &Connection, stream: &str) -> Error {
    Error::Fenced { endpoint: connection.endpoint().to_string(), stream: stream.to_owned() }
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
    fn finds_the_lower_numbers_of_its_own_lane_only() {
        let list = "id=3 addr=127.0.0.1:1 name=keyferry:shop:0-15:4 db=0\n\
                    id=4 addr=127.0.0.1:2 name=keyferry:shop:0-15:7 db=0\n\
                    id=5 addr=127.0.0.1:3 name=keyferry:shop:0-15:12 db=0\n\
                    id=6 addr=127.0.0.1:4 name=keyferry:other:0-15:1 db=0\n\
                    id=7 addr=127.0.0.1:5 name= db=0\n";
        assert_eq!(predecessors(list, "keyferry:shop:0-15:", 7), ["3"]);
        assert_eq!(predecessors(list, "keyferry:shop:0-15:", 13), ["3", "4", "5"]);
    }
}
