//! Every write command, and random mixtures of all of them: the destination equals the source.

use anyhow::Result;
use testkit::examples::every_command;
use testkit::{Kind, Workload};

use crate::bridge::{Pair, stop};

/// Units of random commands in one run: every template comes up many times.
const UNITS: usize = 3_000;

fn every_command_arrives(source: Kind, destination: Kind) -> Result<()> {
    let mut pair = Pair::start(source, destination)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    for example in every_command(source) {
        client.all(&example.setup)?;
        client.all(&example.run)?;
    }
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

fn mixtures_arrive(source: Kind, destination: Kind, seed: u64) -> Result<()> {
    let mut pair = Pair::start(source, destination)?;
    let mut client = pair.source_client()?;
    let mut workload = Workload::new(seed, source);
    workload.run(&mut client, UNITS)?;
    let mut bridge = pair.run(&[])?;
    workload.run(&mut client, UNITS)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    workload.run(&mut client, UNITS)?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn every_command_arrives_redis_7_0() -> Result<()> {
    every_command_arrives(Kind::Redis7_0, Kind::Redis7_0)
}

#[test]
fn every_command_arrives_valkey_9_1() -> Result<()> {
    every_command_arrives(Kind::Valkey9_1, Kind::Valkey9_1)
}

#[test]
fn every_command_arrives_from_redis_6_2_to_8_2() -> Result<()> {
    every_command_arrives(Kind::Redis6_2, Kind::Redis8_2)
}

#[test]
fn mixtures_arrive_redis_7_0() -> Result<()> {
    mixtures_arrive(Kind::Redis7_0, Kind::Redis7_0, 1)
}

#[test]
fn mixtures_arrive_valkey_9_1() -> Result<()> {
    mixtures_arrive(Kind::Valkey9_1, Kind::Valkey9_1, 2)
}

#[test]
fn mixtures_arrive_from_redis_6_2_to_8_2() -> Result<()> {
    mixtures_arrive(Kind::Redis6_2, Kind::Redis8_2, 3)
}
