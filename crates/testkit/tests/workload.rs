//! The load is the same for the same seed, reaches everything, and replicates.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use testkit::{Client, Dataset, Kind, Server, Tolerance, Workload, assert_same, eventually};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_seed_decides_every_byte() {
    let take = |seed| {
        let mut load = Workload::new(seed, Kind::Redis8_2);
        (0..5000).map(|_| load.next()).collect::<Vec<_>>()
    };
    assert_eq!(take(7), take(7));
    assert_ne!(take(7), take(8));
}

#[test]
fn the_keys_of_a_unit_lie_in_one_slot_of_a_cluster() {
    let mut load = Workload::for_cluster(1, Kind::Valkey9_1);
    for _ in 0..20_000 {
        let unit = load.next();
        let words = unit.commands.iter().flatten();
        let tags: BTreeSet<&[u8]> = words
            .filter(|word| word.starts_with(b"{t"))
            .filter_map(|word| word.split(|byte| *byte == b'}').next())
            .collect();
        assert!(tags.len() <= 1, "{unit:?}");
    }
}

/// The data of a primary and of its own replica after the same load.
fn replicated(kind: Kind, seed: u64, units: usize) -> (Dataset, Dataset) {
    let primary = Server::start(kind, &["repl-ping-slave-period 3600"]).unwrap();
    let of = format!("slaveof 127.0.0.1 {}", primary.port());
    let replica = Server::start(kind, &[&of]).unwrap();
    let (mut client, mut follower) = (primary.client().unwrap(), replica.client().unwrap());
    eventually(LIMIT, "the replica is in step", || {
        let link = follower.info_field("replication", "master_link_status")?;
        Ok((link.as_deref() == Some("up")).then_some(()))
    })
    .unwrap();
    let outcome = Workload::new(seed, kind).run(&mut client, units);
    assert!(outcome.is_ok(), "{kind}: {outcome:?}\n{}", primary.log());
    let outcome = outcome.unwrap();
    let (sent, failed) = (outcome.commands, outcome.failed());
    assert!(failed * 5 < sent, "{failed} of {sent} commands failed: {:?}", outcome.errors);
    eventually(LIMIT, "the replica has all", || {
        let theirs = follower.info_field("replication", "slave_repl_offset")?;
        let ours = client.info_field("replication", "master_repl_offset")?;
        Ok((theirs == ours).then_some(()))
    })
    .unwrap();
    let read = |client: &mut Client| Dataset::read(client).unwrap();
    (read(&mut client), read(&mut follower))
}

#[test]
fn a_replica_ends_with_the_same_data_and_every_type_is_there() {
    for kind in Kind::EVERY {
        let (left, right) = replicated(kind, 43, 20_000);
        let tolerance = Tolerance::native(kind, kind).with_lag(kind, 10_000);
        assert_same(&left, &right, &tolerance);
        let types: BTreeSet<&str> = left
            .dbs
            .values()
            .flat_map(|keys| keys.values().map(|entry| entry.content.type_name()))
            .collect();
        let wanted = ["hash", "list", "set", "stream", "string", "zset"];
        let wanted = wanted.into_iter().filter(|name| kind.has_streams() || *name != "stream");
        assert_eq!(types, wanted.collect(), "{kind}");
        // One of the four may just have been emptied.
        assert!(left.dbs.len() >= 3, "{kind} used databases {:?}", left.dbs.keys());
    }
}

#[test]
fn every_command_of_the_load_succeeds_at_least_once() {
    for kind in Kind::EVERY {
        let server = Server::start(kind, &[]).unwrap();
        let mut client = server.client().unwrap();
        let mut load = Workload::new(1, kind);
        let (mut tried, mut worked) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..15_000 {
            let unit = load.next();
            let replies = client.batch(&unit.commands).unwrap();
            for (command, reply) in unit.commands.iter().zip(&replies) {
                let name = command.first().unwrap().to_ascii_uppercase();
                if !reply.is_error() {
                    worked.insert(name.clone());
                }
                tried.insert(name);
            }
        }
        let never: Vec<_> =
            tried.difference(&worked).map(|name| name.escape_ascii().to_string()).collect();
        assert!(never.is_empty(), "{kind}: {never:?} always fail");
        let least = if kind.has_streams() { 70 } else { 45 };
        assert!(tried.len() > least, "{kind}: only {} commands", tried.len());
    }
}
