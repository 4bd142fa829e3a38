//! Whether the account may do at the destination what has to be done: all that it lacks is told at the start, at once.
//!
//! Guarantees: nothing is executed. A server asks for the right to a command when it queues it, so commands are queued
//! in a transaction that is discarded. What writes is sent only after something that does not has been queued; one that is
//! answered otherwise than by `QUEUED` or an error is the last: then there is no transaction.

use bytes::Bytes;
use redis_io::{Code, Connection, Refusal};
use wire::resp::reply::Reply;

use crate::error::Error;
use crate::names::{Names, TrackNames};

/// A command that is asked about: its right, and its arguments with the key that is ours in the place of [`KEY`].
type Probe = (&'static str, &'static [&'static str]);

/// Stands for a key of ours.
const KEY: &str = "\0";

/// Without these nothing can be applied. What writes comes behind what does not.
const NEEDED: [Probe; 10] = [
    ("get", &["GET", KEY]),
    ("hgetall", &["HGETALL", KEY]),
    ("select", &["SELECT", "0"]),
    ("client|setname", &["CLIENT", "SETNAME", "x"]),
    ("client|list", &["CLIENT", "LIST"]),
    ("client|kill", &["CLIENT", "KILL", "ID", "0"]),
    ("set", &["SET", KEY, "1"]),
    ("del", &["DEL", KEY]),
    ("hset", &["HSET", KEY, "f", "v"]),
    ("hdel", &["HDEL", KEY, "f"]),
];

/// So many of them write nothing.
const NEEDED_READS: usize = 6;

/// Nearly every stream needs these sooner or later. Likewise.
const WANTED: [Probe; 13] = [
    ("info", &["INFO"]),
    ("scan", &["SCAN", "0"]),
    ("type", &["TYPE", KEY]),
    ("getrange", &["GETRANGE", KEY, "0", "1"]),
    ("hmget", &["HMGET", KEY, "f"]),
    ("restore", &["RESTORE", KEY, "0", "x"]),
    ("pexpireat", &["PEXPIREAT", KEY, "1"]),
    ("rpush", &["RPUSH", KEY, "x"]),
    ("sadd", &["SADD", KEY, "x"]),
    ("zadd", &["ZADD", KEY, "1", "x"]),
    ("xadd", &["XADD", KEY, "1-1", "f", "v"]),
    ("rename", &["RENAME", KEY, KEY]),
    ("flushdb", &["FLUSHDB"]),
];

/// So many of them write nothing.
const WANTED_READS: usize = 5;

/// Import mode needs these, besides one that everything needs: by that a transaction shows. Likewise.
const IMPORTS: [Probe; 3] = [
    ("get", &["GET", KEY]),
    ("client|import-source", &["CLIENT", "IMPORT-SOURCE", "OFF"]),
    ("config|set", &["CONFIG", "SET", "import-mode", "yes"]),
];

/// So many of them change nothing.
const IMPORTS_READS: usize = 2;

/// Looks for rights that are missing; for those to import mode where it `imports`.
///
/// # Errors
/// [`Error::LacksRights`] with all of them that nothing goes without; others are warned of. [`Error::NoTransactions`]
/// where a command in `MULTI` is not queued.
pub(crate) async fn check(
    connection: &mut Connection,
    names: &Names,
    imports: bool,
) -> Result<(), Error> {
    let Some(TrackNames { checkpoint: key, .. }) = names.track(0) else { return Ok(()) };
    let mut lacking = of_transactions(connection, key).await?;
    if lacking.is_empty() {
        lacking = queued(connection, NEEDED.split_at(NEEDED_READS), key).await?;
        let wanted = queued(connection, WANTED.split_at(WANTED_READS), key).await?;
        let import = match imports && lacking.is_empty() {
            true => queued(connection, IMPORTS.split_at(IMPORTS_READS), key).await?,
            false => Vec::new(),
        };
        if lacking.is_empty() {
            warn(connection, &wanted, "the account lacks rights that most streams need");
            warn(connection, &import, "the account lacks rights that import mode needs");
        } else {
            lacking.extend(wanted);
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

/// Tells of rights that are missing, if any are.
fn warn(connection: &Connection, lacking: &[&str], what: &str) {
    if !lacking.is_empty() {
        let endpoint = connection.endpoint();
        tracing::warn!(destination = %endpoint, advice = advice(endpoint, lacking), "{what}");
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

/// Which of the rights are missing, of those to read and those to write.
async fn queued(
    connection: &mut Connection,
    (reads, writes): (&[Probe], &[Probe]),
    key: &Bytes,
) -> Result<Vec<&'static str>, Error> {
    connection.call(["MULTI"]).await?;
    let (mut lacking, mut is_queued) = (Vec::new(), false);
    for (right, words) in reads {
        match answer(connection, words, key).await? {
            Answer::Queued => is_queued = true,
            Answer::Denied => lacking.push(*right),
            Answer::Refused => {}
        }
    }
    // Errors alone do not show that there is a transaction.
    for (right, words) in writes.iter().filter(|_| is_queued) {
        if answer(connection, words, key).await? == Answer::Denied {
            lacking.push(*right);
        }
    }
    connection.call(["DISCARD"]).await?;
    Ok(lacking)
}

/// What is said to a command in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It waits.
    Queued,
    /// The account may not run it.
    Denied,
    /// It is refused for another reason.
    Refused,
}

/// Has a command queued.
async fn answer(
    connection: &mut Connection,
    words: &[&'static str],
    key: &Bytes,
) -> Result<Answer, Error> {
    let args = words.iter().map(|word| if *word == KEY { &key[..] } else { word.as_bytes() });
    let reply = connection.ask(args.collect::<Vec<_>>()).await?;
    match &reply {
        reply if is_denied(reply) => Ok(Answer::Denied),
        Reply::Error(_) => Ok(Answer::Refused),
        reply if reply.as_str() == Some("QUEUED") => Ok(Answer::Queued),
        _ => Err(Error::NoTransactions {
            endpoint: connection.endpoint().to_string(),
            command: words.first().copied().unwrap_or_default(),
        }),
    }
}

/// Whether the account may not run the command; a key of ours that it may not touch shows when it is written.
fn is_denied(reply: &Reply) -> bool {
    let Reply::Error(text) = reply else { return false };
    let refusal = Refusal::read(text);
    refusal.code == Code::NoPermission && refusal.forbidden_command().is_some()
}
