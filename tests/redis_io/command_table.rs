//! The command table against what every server says of its own commands: which write, and where their keys are.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use testkit::{Client, Kind, Server, Value, examples};
use wire::command::keys::{Access, keys};
use wire::command::{CommandSpec, Effect, by_name, lookup};

/// Commands that a server calls writes and the table does not, by the effect that it has instead.
const NO_WRITES: &[(&str, Effect, &str)] = &[
    ("PFDEBUG", Effect::None, "changes how a HyperLogLog is encoded, not what it counts"),
    ("PFCOUNT", Effect::None, "changes the count that is kept beside the registers"),
    ("FLUSHALL", Effect::Flush, "has no key"),
    ("FLUSHDB", Effect::Flush, "has no key"),
    ("SWAPDB", Effect::SwapDb, "has no key"),
    ("FUNCTION LOAD", Effect::Function, "has no key"),
    ("FUNCTION DELETE", Effect::Function, "has no key"),
    ("FUNCTION FLUSH", Effect::Function, "has no key"),
    ("FUNCTION RESTORE", Effect::Function, "has no key"),
    ("CLUSTER FLUSHSLOT", Effect::FlushSlots, "has no key"),
];

/// Where a server names other keys than the table, and is wrong.
const OTHER_KEYS: &[(Kind, &str, &str)] = &[
    (Kind::Redis2_8, "BRPOP", "it sees the first list only"),
    (Kind::Redis3_2, "BRPOP", "it sees the first list only"),
    (Kind::Redis3_2, "GEORADIUS", "it does not look for STORE"),
    (Kind::Redis3_2, "GEORADIUSBYMEMBER", "it does not look for STORE"),
    (Kind::Redis2_8, "SORT", "it does not look for STORE"),
    (Kind::Redis2_8, "PFDEBUG", "it takes the subcommand for the key"),
    (Kind::Redis3_2, "PFDEBUG", "it takes the subcommand for the key"),
    (Kind::Redis5_0, "PFDEBUG", "it takes the subcommand for the key"),
    (Kind::Redis6_2, "PFDEBUG", "it takes the subcommand for the key"),
];

/// One command as a server describes it.
struct Described {
    /// Upper case; container and subcommand with a space between.
    name: String,
    writes: bool,
    /// Whether its subcommands are described one by one, and it only holds them.
    is_container: bool,
}

fn every_kind() -> Vec<Kind> {
    [Kind::OLD.as_slice(), &Kind::ALL].concat()
}

fn describe(client: &mut Client) -> Result<Vec<Described>> {
    let mut all = Vec::new();
    for entry in client.cmd(&["COMMAND"])?.array()? {
        let entry = entry.array()?;
        // From 7.0 on: name, arity, flags, three numbers of keys, categories, tips, specs, subcommands.
        let subcommands = match entry.get(9) {
            Some(more) => more.clone().array()?,
            None => Vec::new(),
        };
        all.push(one(&entry, !subcommands.is_empty())?);
        for subcommand in subcommands {
            all.push(one(&subcommand.array()?, false)?);
        }
    }
    Ok(all)
}

fn one(entry: &[Value], is_container: bool) -> Result<Described> {
    let [name, _, flags, ..] = entry else { anyhow::bail!("a description of {entry:?}") };
    let name = name.clone().text()?.to_uppercase().replace('|', " ");
    let flags = flags.clone().list()?;
    Ok(Described { name, writes: flags.iter().any(|flag| flag == b"write"), is_container })
}

/// Containers of servers that do not describe subcommands: the table has those only.
fn holds_subcommands(name: &str) -> bool {
    ["XGROUP", "SCRIPT", "CLUSTER", "FUNCTION", "REPLCONF"].contains(&name)
}

#[test]
fn every_write_command_of_every_server_is_in_the_table_as_a_write() -> Result<()> {
    for kind in every_kind() {
        let server = Server::start(kind, &[])?;
        let commands = describe(&mut server.client()?)?;
        let writes: Vec<&Described> =
            commands.iter().filter(|command| command.writes && !command.is_container).collect();
        assert!(writes.len() > 60, "{kind} names only {} writes", writes.len());
        for Described { name, .. } in writes {
            let Some(spec) = by_name(name) else {
                assert!(holds_subcommands(name), "{kind}: {name} is not in the table");
                continue;
            };
            let excepted = NO_WRITES.iter().find(|(known, ..)| known == name);
            match excepted {
                Some((_, effect, _)) => assert_eq!(spec.effect, *effect, "{kind}: {name}"),
                None => assert!(writes_keys(spec), "{kind}: {name} writes, says the server"),
            }
        }
    }
    Ok(())
}

fn writes_keys(spec: &CommandSpec) -> bool {
    matches!(
        spec.effect,
        Effect::Overwrite | Effect::Merge | Effect::Move | Effect::Delete | Effect::Expire
    )
}

#[test]
fn what_the_table_calls_a_write_is_one_on_every_server_that_knows_it() -> Result<()> {
    for kind in every_kind() {
        let server = Server::start(kind, &[])?;
        for Described { name, writes, is_container } in describe(&mut server.client()?)? {
            let Some(spec) = by_name(&name) else { continue };
            assert!(writes || is_container || !writes_keys(spec), "{kind}: {name}");
        }
    }
    Ok(())
}

#[test]
fn keys_are_where_every_server_finds_them() -> Result<()> {
    let mut differing = Vec::new();
    for kind in every_kind() {
        let server = Server::start(kind, &[])?;
        let mut client = server.client()?;
        let mut compared = BTreeSet::new();
        for example in examples::every_command(kind) {
            for words in example.setup.iter().chain(&example.run) {
                let args: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                let Some(spec) = lookup(args.as_slice()) else { continue };
                let name = spec.name.as_ref();
                if OTHER_KEYS.iter().any(|(at, known, _)| (*at, *known) == (kind, name)) {
                    continue;
                }
                let line = told(words);
                let ours = keys(spec, args.as_slice());
                let Ok(ours) = ours else {
                    // Servers never replicate these, so nobody asks for their keys.
                    assert_eq!(name, "MIGRATE", "{kind}: {line}: {ours:?}");
                    continue;
                };
                let ours: BTreeSet<Vec<u8>> =
                    ours.iter().filter_map(|key| words.get(key.index).cloned()).collect();
                let theirs = match kind {
                    Kind::Redis2_8 => keys_by_numbers(&mut client, words),
                    _ => keys_at(&mut client, words).map(Some),
                };
                let Some(theirs) = theirs.with_context(|| line.clone())? else { continue };
                if ours != theirs {
                    differing.push(format!("{kind}: {line}: {}", told(&Vec::from_iter(theirs))));
                }
                compared.insert(name.to_owned());
            }
        }
        assert!(compared.len() > 50, "{kind}: only {} commands were compared", compared.len());
    }
    assert!(differing.is_empty(), "found by the servers at the end:\n{}", differing.join("\n"));
    Ok(())
}

/// The keys of a command as the server finds them.
fn keys_at(client: &mut Client, words: &[Vec<u8>]) -> Result<BTreeSet<Vec<u8>>> {
    let ask: Vec<&[u8]> = [b"COMMAND".as_slice(), b"GETKEYS"]
        .into_iter()
        .chain(words.iter().map(|w| &w[..]))
        .collect();
    match client.ask(&ask)? {
        Value::Error(text) if is_keyless(&text, words) => Ok(BTreeSet::new()),
        reply => Ok(reply.list()?.into_iter().collect()),
    }
}

/// The keys by the three numbers that every server gives; `None` where options decide. Redis 2.8 has no more to say.
fn keys_by_numbers(client: &mut Client, words: &[Vec<u8>]) -> Result<Option<BTreeSet<Vec<u8>>>> {
    let name = words.first().context("a name")?;
    let info = client.cmd(&[b"COMMAND".as_slice(), b"INFO", name])?.array()?;
    let entry = info.into_iter().next().context("an entry")?.array()?;
    let [_, _, flags, first, last, step] = entry.as_slice() else {
        anyhow::bail!("a description of {entry:?}");
    };
    if flags.clone().list()?.iter().any(|flag| flag == b"movablekeys") {
        return Ok(None);
    }
    let (first, last, step) = (first.int()?, last.int()?, step.int()?);
    let count = i64::try_from(words.len())?;
    let last = if last < 0 { count + last } else { last };
    let steps = usize::try_from(step.max(1))?;
    let at = (first..=last).step_by(steps).filter(|at| *at > 0);
    let keys = at.filter_map(|at| words.get(usize::try_from(at).ok()?).cloned());
    Ok(Some(keys.collect()))
}

#[test]
fn keys_are_read_and_written_as_the_servers_say() -> Result<()> {
    for kind in every_kind().into_iter().filter(|kind| kind.at_least(7, 0)) {
        let server = Server::start(kind, &[])?;
        let mut client = server.client()?;
        for example in examples::every_command(kind) {
            for words in &example.run {
                let args: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
                let Some(spec) = lookup(args.as_slice()) else { continue };
                // The servers call it a read of the stream; it moves the group on, and never travels as such.
                let is_no_write = spec.effect == Effect::None || spec.name == "XREADGROUP";
                let (Ok(ours), false) = (keys(spec, args.as_slice()), is_no_write) else {
                    continue;
                };
                let ask: Vec<&[u8]> = [b"COMMAND".as_slice(), b"GETKEYSANDFLAGS"]
                    .into_iter()
                    .chain(args.iter().copied())
                    .collect();
                let found = match client.ask(&ask)? {
                    Value::Error(text) if is_keyless(&text, words) => continue,
                    found => found.array()?,
                };
                for pair in found {
                    let [key, flags] = <[Value; 2]>::try_from(pair.array()?)
                        .map_err(|pair| anyhow::anyhow!("a key and its flags, not {pair:?}"))?;
                    let (key, flags) = (key.bytes()?, flags.list()?);
                    let writes = !flags.iter().any(|flag| flag == b"RO");
                    let access = ours.iter().filter(|at| words.get(at.index) == Some(&key));
                    let ours_writes = access.map(|at| at.access != Access::Read).max();
                    let line = told(words);
                    // Flags of a command whose words decide are those of the worst case.
                    let varies = flags.iter().any(|flag| flag == b"variable_flags");
                    assert!(ours_writes == Some(writes) || varies, "{kind}: {line}: {flags:?}");
                }
            }
        }
    }
    Ok(())
}

/// Whether an error means that the command has no key; what is too short to have one is not even looked at.
fn is_keyless(error: &str, words: &[Vec<u8>]) -> bool {
    error.contains("no key") || (words.len() < 3 && error.contains("wrong number of arguments"))
}

/// A command, for a message.
fn told(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| testkit::abridged(word)).collect::<Vec<_>>().join(" ")
}
