//! The examples cover every write command that the servers know, and each of them works.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use testkit::examples::{WITHOUT_EXAMPLE, every_command};
use testkit::{Client, Dataset, Kind, Server, Tolerance, Value, assert_same, eventually};

/// The names of all write commands, subcommands as `xgroup|create`.
fn write_commands(commands: &[Value], into: &mut BTreeSet<String>) {
    for command in commands {
        let parts = command.clone().array().unwrap();
        let name = parts[0].clone().text().unwrap().to_lowercase();
        let flags = parts[2].clone().array().unwrap();
        if flags.contains(&Value::Simple("write".into())) {
            into.insert(name);
        }
        if let Some(Value::Array(subcommands)) = parts.get(9) {
            write_commands(subcommands, into);
        }
    }
}

fn offset(client: &mut Client) -> u64 {
    let field = client.info_field("replication", "master_repl_offset").unwrap();
    field.unwrap().parse().unwrap()
}

#[test]
fn every_write_command_of_every_kind_has_an_example() {
    for kind in Kind::EVERY {
        let server = Server::start(kind, &[]).unwrap();
        let commands = server.client().unwrap().cmd(&["COMMAND"]).unwrap().array().unwrap();
        let mut wanted = BTreeSet::new();
        write_commands(&commands, &mut wanted);
        let least = if kind.has_streams() { 80 } else { 60 };
        assert!(wanted.len() > least, "{kind} names only {} write commands", wanted.len());
        let shown: BTreeSet<String> = every_command(kind)
            .iter()
            .flat_map(|example| example.names().collect::<Vec<_>>())
            .collect();
        let excused = |name: &String| {
            WITHOUT_EXAMPLE.iter().any(|(excused, _)| excused == name)
                // Before 7.0 a container command has no subcommands of its own.
                || shown.iter().any(|shown| shown.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('|')))
        };
        let missing: Vec<_> = wanted.difference(&shown).filter(|name| !excused(name)).collect();
        assert!(missing.is_empty(), "{kind} writes with {missing:?} too");
    }
}

#[test]
fn every_example_succeeds_changes_something_and_replicates() {
    for kind in Kind::EVERY {
        let primary = Server::start(kind, &["repl-ping-slave-period 3600"]).unwrap();
        let of = format!("slaveof 127.0.0.1 {}", primary.port());
        let replica = Server::start(kind, &[&of]).unwrap();
        let (mut client, mut follower) = (primary.client().unwrap(), replica.client().unwrap());
        let limit = Duration::from_secs(30);
        eventually(limit, "the replica is in step", || {
            let link = follower.info_field("replication", "master_link_status")?;
            Ok((link.as_deref() == Some("up")).then_some(()))
        })
        .unwrap();
        for example in every_command(kind) {
            client.all(&example.setup).unwrap();
            let before = offset(&mut client);
            for reply in client.all(&example.run).unwrap() {
                let failed =
                    matches!(&reply, Value::Array(replies) if replies.iter().any(Value::is_error));
                assert!(!failed, "{kind}: {} answered {reply}", example.told());
            }
            assert!(offset(&mut client) > before, "{kind}: {} changed nothing", example.told());
        }
        eventually(limit, "the replica has all", || {
            let theirs = follower.info_field("replication", "slave_repl_offset")?;
            Ok((theirs == Some(offset(&mut client).to_string())).then_some(()))
        })
        .unwrap();
        let read = |client: &mut Client| Dataset::read(client).unwrap();
        let (left, right) = (read(&mut client), read(&mut follower));
        let least = if kind.has_streams() { 100 } else { 60 };
        assert!(left.len() > least, "{kind}: only {} keys are left", left.len());
        let tolerance = Tolerance::native(kind, kind).with_lag(kind, 5000);
        assert_same(&left, &right, &tolerance);
    }
}
