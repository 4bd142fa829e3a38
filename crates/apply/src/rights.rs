//! Whether the account may do at the destination what has to be done: all that it lacks is told at the start, at once.
//!
//! Guarantees: nothing is executed. A server asks for the right to a command when it queues it, so commands are queued
//! in a transaction that is discarded.

use bytes::Bytes;
use redis_io::{Code, Connection, Refusal};
use wire::resp::reply::Reply;

use crate::error::Error;
use crate::names::Names;

/// A command that is asked about: its right, and its arguments with the key that is ours in the place of [`KEY`].
type Probe = (&'static str, &'static [&'static str]);

/// Stands for a key of ours.
const KEY: &str = "\0";

/// Without these nothing can be applied.
const NEEDED: [Probe; 10] = [
    ("select", &["SELECT", "0"]),
    ("get", &["GET", KEY]),
    ("set", &["SET", KEY, "1"]),
    ("del", &["DEL", KEY]),
    ("hset", &["HSET", KEY, "f", "v"]),
    ("hdel", &["HDEL", KEY, "f"]),
    ("hgetall", &["HGETALL", KEY]),
    ("client|setname", &["CLIENT", "SETNAME", "x"]),
    ("client|list", &["CLIENT", "LIST"]),
    ("client|kill", &["CLIENT", "KILL", "ID", "0"]),
];

/// Nearly every stream needs these sooner or later.
const WANTED: [Probe; 12] = [
    ("restore", &["RESTORE", KEY, "0", "x"]),
    ("pexpireat", &["PEXPIREAT", KEY, "1"]),
    ("rpush", &["RPUSH", KEY, "x"]),
    ("sadd", &["SADD", KEY, "x"]),
    ("zadd", &["ZADD", KEY, "1", "x"]),
    ("xadd", &["XADD", KEY, "1-1", "f", "v"]),
    ("rename", &["RENAME", KEY, KEY]),
    ("flushdb", &["FLUSHDB"]),
    ("scan", &["SCAN", "0"]),
    ("type", &["TYPE", KEY]),
    ("getrange", &["GETRANGE", KEY, "0", "1"]),
    ("hmget", &["HMGET", KEY, "f"]),
];

/// Looks for rights that are missing.
///
/// # Errors
/// [`Error::LacksRights`] with all of them that nothing goes without; others are warned of.
pub(crate) async fn check(connection: &mut Connection, names: &Names) -> Result<(), Error> {
    let mut lacking = of_transactions(connection, &names.checkpoint).await?;
    if lacking.is_empty() {
        let key = &names.checkpoint;
        lacking = queued(connection, &NEEDED, key).await?;
        let wanted = queued(connection, &WANTED, key).await?;
        if !lacking.is_empty() {
            lacking.extend(wanted);
        } else if !wanted.is_empty() {
            tracing::warn!(
                destination = %connection.endpoint(),
                advice = advice(connection.endpoint(), &wanted),
                "the account lacks rights that most streams need"
            );
        }
    }
    match lacking.is_empty() {
        true => Ok(()),
        false => {
            let endpoint = connection.endpoint().to_string();
            let advice = advice(&endpoint, &lacking);
            Err(Error::LacksRights { endpoint, rights: lacking.join(", "), advice })
        }
    }
}

fn advice(endpoint: &str, rights: &[&str]) -> String {
    let rights: Vec<String> = rights.iter().map(|right| format!("+{right}")).collect();
    format!("Allow it: ACL SETUSER {} {}.", redis_io::refusal::user_of(endpoint), rights.join(" "))
}

/// The rights to transactions themselves, by one that is empty. Without them there is no asking for others.
async fn of_transactions(
    connection: &mut Connection,
    key: &Bytes,
) -> Result<Vec<&'static str>, Error> {
    if is_denied(&connection.ask(["MULTI"]).await?) {
        return Ok(vec!["multi"]);
    }
    let mut lacking = Vec::new();
    if is_denied(&connection.ask(["EXEC"]).await?) {
        lacking.push("exec");
    }
    if is_denied(&connection.ask([b"WATCH".as_slice(), key]).await?) {
        lacking.push("watch");
    }
    connection.ask(["MULTI"]).await?;
    if is_denied(&connection.ask(["DISCARD"]).await?) {
        lacking.push("discard");
        // Nothing is in it; where it is refused, it is discarded.
        connection.ask(["EXEC"]).await?;
    }
    Ok(lacking)
}

/// Which of the rights are missing.
async fn queued(
    connection: &mut Connection,
    probes: &[Probe],
    key: &Bytes,
) -> Result<Vec<&'static str>, Error> {
    connection.call(["MULTI"]).await?;
    let mut lacking = Vec::new();
    for (right, words) in probes {
        let args = words.iter().map(|word| if *word == KEY { &key[..] } else { word.as_bytes() });
        if is_denied(&connection.ask(args.collect::<Vec<_>>()).await?) {
            lacking.push(*right);
        }
    }
    connection.call(["DISCARD"]).await?;
    Ok(lacking)
}

/// Whether the account may not run the command; a key of ours that it may not touch shows when it is written.
fn is_denied(reply: &Reply) -> bool {
    let Reply::Error(text) = reply else { return false };
    let refusal = Refusal::read(text);
    refusal.code == Code::NoPermission && refusal.forbidden_command().is_some()
}
