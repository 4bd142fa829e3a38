//! Becoming the one worker that writes a lane: whoever wrote it before is shut out before anything is read.
//!
//! A worker raises the owner, takes the new number into the name of its connection, and then reads the owner again: if it
//! is higher than its own, it has lost. A successor raises the owner, kills every connection of the lane with a lower
//! number, and then reads the checkpoint: so no write of a predecessor, nor of an own connection that is half dead, can
//! follow that read.

use redis_io::Connection;
use wire::resp::encode::Decimal;
use wire::resp::reply::Reply;

use crate::error::Error;
use crate::names::Names;

/// Attempts to raise the owner while others do the same.
const ATTEMPTS: usize = 16;

/// Becomes the worker of a lane. `mine` is the number that this process had before, if any. Gives the new number.
///
/// # Errors
/// [`Error::Fenced`] when another process has taken over since; what the destination refused.
pub(crate) async fn claim(
    connection: &mut Connection,
    names: &Names,
    (stream, mine): (&str, Option<u64>),
) -> Result<u64, Error> {
    let number = raise(connection, names, (stream, mine)).await?;
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
    (stream, mine): (&str, Option<u64>),
) -> Result<u64, Error> {
    for _ in 0..ATTEMPTS {
        connection.call([b"WATCH".as_slice(), &names.owner]).await?;
        let current = owner(connection, names).await?;
        if mine.is_some_and(|mine| current.is_some_and(|current| current > mine)) {
            return Err(fenced(connection, stream));
        }
        let next = current.max(mine).unwrap_or(0) + 1;
        connection.call(["MULTI"]).await?;
        let number = Decimal::from(next);
        connection.call([b"SET".as_slice(), &names.owner, number.as_ref()]).await?;
        if connection.call(["EXEC"]).await? != Reply::Null {
            return Ok(next);
        }
    }
    Err(fenced(connection, stream))
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
