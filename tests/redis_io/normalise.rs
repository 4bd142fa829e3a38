//! What every server really sends of every write command, made independent of time and place, and executed
//! elsewhere: the data is the same.
//!
//! Each example runs at a source with a replica of ours. The stream is rewritten as capture does it, against the
//! moment at which it was read, and what comes of it is given to an ordinary client of another server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use testkit::{Client, Dataset, Kind, Server, Tolerance, assert_same, examples, now_ms};
use wire::command::lookup;
use wire::command::normalise::{Context as Moment, DropReason, Era, Normalised, before, normalise};
use wire::command::script::{Followed, Scripts};
use wire::resp::scan::RawCommand;

use crate::connect;
use crate::replica::Replica;

/// A relative time of the source is counted from when the bytes arrived: later than it was said, by the lag.
const LAG: Duration = Duration::from_secs(20);

/// Commands that steer the stream, and mean the same to an ordinary client.
const STEERING: [&str; 3] = ["SELECT", "MULTI", "EXEC"];

fn era(kind: Kind) -> Era {
    match kind {
        Kind::Redis2_8 => Era::V2_6,
        Kind::Redis3_2 => Era::V2_8,
        Kind::Redis5_0 | Kind::Redis6_2 => Era::V5_0,
        Kind::Redis7_0 | Kind::Redis8_2 | Kind::Valkey9_1 => Era::V7_0,
    }
}

/// Scripts as they are issued: with and without keys, by text and by digest, with effects instead (from 3.2 on).
const SCRIPTS: &[&[&str]] = &[
    &["EVAL", "return redis.call('set',KEYS[1],ARGV[1])", "1", "a", "v"],
    &["EVAL", "redis.call('rpush',KEYS[1],1); return redis.call('expire',KEYS[1],1000)", "1", "l"],
    &["SCRIPT", "LOAD", "return redis.call('incr','n')"],
    &["EVALSHA", "a4714296f52e633140579c84b172b63da7bce890", "0"],
    &["EVALSHA", "A4714296F52E633140579C84B172B63DA7BCE890", "0"],
    &["EVAL", "return redis.call('get',KEYS[1])", "1", "a"],
    &["SELECT", "4"],
    &["EVAL", "for i=1,9 do redis.call('sadd',KEYS[1],i) end", "1", "s"],
    &["EVAL", "for i=1,9 do redis.call('sadd',KEYS[1],i*2) end", "1", "s"],
    &["SELECT", "0"],
    &["MULTI"],
    &["SET", "m", "1"],
    &["EVALSHA", "a4714296f52e633140579c84b172b63da7bce890", "0"],
    &["EXEC"],
    &["SCRIPT", "FLUSH"],
    &["EVAL", "return redis.call('incr','n')", "0"],
];

/// Runs every example at the source.
fn run_examples(server: &Server) -> Result<()> {
    let mut client = server.client()?;
    for example in examples::every_command(server.kind()) {
        for words in example.setup.iter().chain(&example.run) {
            client.cmd(words).with_context(|| format!("{}: {}", server.kind(), example.told()))?;
        }
        client.cmd(&["SELECT", "0"])?;
    }
    Ok(())
}

/// What scripts come to: their text in the place of a digest.
fn followed(scripts: &mut Scripts, command: &RawCommand) -> Result<Option<Vec<Bytes>>> {
    match scripts.follow(command)? {
        Followed::Run(words) => Ok(Some(words)),
        Followed::Noted => Ok(None),
    }
}

/// The words of a command of the stream as another server is told them; `None`: nothing of it.
fn rewritten(
    kind: Kind,
    scripts: &mut Scripts,
    command: &RawCommand,
    received_at_ms: i64,
) -> Result<Option<Vec<Bytes>>> {
    let words: Vec<Bytes> = command.iter().map(Bytes::copy_from_slice).collect();
    let shown = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
    let spec = lookup(&words).with_context(|| format!("{kind} sent {shown}"))?;
    let moment = Moment { source: era(kind), received_at_ms };
    let outcome = normalise(spec, &words, &moment).with_context(|| shown.clone())?;
    let words = match outcome {
        Normalised::Verbatim => words,
        Normalised::Script => return followed(scripts, command),
        Normalised::Rewritten { args, .. } => args,
        Normalised::Drop(DropReason::NoData | DropReason::ScriptCache) => return Ok(None),
        Normalised::Control if STEERING.iter().any(|name| spec.name == *name) => words,
        Normalised::Drop(DropReason::Message) | Normalised::Control => return Ok(None),
    };
    let spec = lookup(&words).context("a rewritten command is in the table")?;
    // Whoever reads it later, and takes it for what a server of today sent, changes nothing in it.
    let later = Moment { source: Era::V7_0, received_at_ms: received_at_ms + 86_400_000 };
    let again = normalise(spec, &words, &later).with_context(|| format!("{shown}, again"))?;
    let stays = matches!(again, Normalised::Verbatim | Normalised::Control | Normalised::Script);
    ensure!(stays, "{kind}: {shown} became {words:?}, and then {again:?}");
    Ok(Some(words))
}

fn execute(client: &mut Client, all: &[Vec<Bytes>]) -> Result<()> {
    for words in all {
        let shown = || String::from_utf8_lossy(&words.join(&b' ')).into_owned();
        let reply = client.ask(words)?;
        ensure!(!reply.is_error(), "{}: {reply:?}", shown());
        if let testkit::Value::Array(replies) = &reply {
            ensure!(!replies.iter().any(testkit::Value::is_error), "{}: {reply:?}", shown());
        }
    }
    Ok(())
}

/// A source, and a replica of ours that is known to have all of it.
async fn replicated(kind: Kind) -> Result<(Server, Replica)> {
    let source = Server::start(kind, &[])?;
    let mut replica = Replica::open(connect(&source.uri()).await?, None).await?;
    replica.read_snapshot().await?;
    // A flush would end a transfer of which the server does not know yet that it has arrived.
    source.client()?.cmd(&["SET", "the", "beginning"])?;
    replica.read_until("SET the beginning").await?;
    Ok((source, replica))
}

/// Gives another server what the source sent, and compares the two.
async fn assert_means_the_same(
    source: &Server,
    replica: &mut Replica,
    there: Kind,
) -> Result<usize> {
    let (kind, destination) = (source.kind(), Server::start(there, &[])?);
    source.client()?.cmd(&["SET", "the", "end"])?;
    replica.read_until("SET the end").await?;
    let received_at_ms = i64::try_from(now_ms())?;
    let mut scripts = Scripts::default();
    let commands = replica.frames().iter().filter(|command| !command.is_blank());
    let mut all: Vec<Vec<Bytes>> = Vec::new();
    for command in commands {
        all.extend(lookup(command).and_then(|spec| before(spec, command, era(kind))));
        all.extend(rewritten(kind, &mut scripts, command, received_at_ms)?);
    }
    execute(&mut destination.client()?, &all)?;
    let (left, right) =
        (Dataset::read(&mut source.client()?)?, Dataset::read(&mut destination.client()?)?);
    let slack = if era(kind) == Era::V7_0 { 0 } else { u64::try_from(LAG.as_millis())? };
    let native = Tolerance::native(kind, there);
    let tolerance = Tolerance { ttl_slack_ms: native.ttl_slack_ms.max(slack), ..native };
    assert_same(&left, &right, &tolerance);
    Ok(left.len())
}

/// What only one project has goes to a server of that project.
fn newer_than(kind: Kind) -> Vec<Kind> {
    match kind {
        Kind::Redis8_2 | Kind::Valkey9_1 => vec![kind],
        _ => vec![Kind::Redis8_2, Kind::Valkey9_1],
    }
}

#[tokio::test]
async fn what_every_server_sends_means_the_same_at_newer_ones() -> Result<()> {
    for kind in [Kind::OLD.as_slice(), &Kind::ALL].concat() {
        let (source, mut replica) = replicated(kind).await?;
        run_examples(&source)?;
        for there in newer_than(kind) {
            let keys = assert_means_the_same(&source, &mut replica, there).await;
            let keys = keys.with_context(|| format!("what {kind} sends, at {there}"))?;
            ensure!(keys > 80, "{kind}: only {keys} keys are left to compare");
        }
    }
    Ok(())
}

#[tokio::test]
async fn scripts_that_travel_as_such_are_followed_by_their_text() -> Result<()> {
    for kind in [Kind::OLD.as_slice(), &[Kind::Redis6_2, Kind::Redis7_0]].concat() {
        let (source, mut replica) = replicated(kind).await?;
        let mut client = source.client()?;
        for words in SCRIPTS {
            client.cmd(words).with_context(|| format!("{kind}: {words:?}"))?;
        }
        if kind.replicates_scripts() {
            ensure!(replica.commands().iter().all(|command| !command.contains("EVALSHA")));
        }
        let keys = assert_means_the_same(&source, &mut replica, Kind::Redis8_2).await;
        ensure!(keys.with_context(|| format!("scripts of {kind}"))? == 6);
        let by_digest = replica.commands().iter().any(|command| command.starts_with("EVALSHA"));
        ensure!(by_digest == kind.replicates_scripts(), "{kind}: {:?}", replica.commands());
    }
    Ok(())
}

#[tokio::test]
async fn keys_that_migrate_leave_one_server_and_arrive_at_the_other() -> Result<()> {
    for kind in [Kind::OLD.as_slice(), &Kind::ALL].concat() {
        let (from, mut left) = replicated(kind).await?;
        let (to, mut arrived) = replicated(kind).await?;
        let mut client = from.client()?;
        client.cmd(&["SET", "gone", "v"])?;
        client.cmd(&["RPUSH", "soon", "a", "b"])?;
        client.cmd(&["EXPIRE", "soon", "1000"])?;
        for key in ["gone", "soon"] {
            let port = to.port().to_string();
            client.cmd(&["MIGRATE", "127.0.0.1", &port, key, "0", "20000"])?;
        }
        for (server, replica, keys) in [(&from, &mut left, 1), (&to, &mut arrived, 3)] {
            let found = assert_means_the_same(server, replica, newer_than(kind)[0]).await;
            ensure!(found.with_context(|| format!("a key that left {kind}"))? == keys);
        }
    }
    Ok(())
}
