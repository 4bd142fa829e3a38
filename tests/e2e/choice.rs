//! Filters and mappings given on the command line, in a file and in the environment.

use anyhow::{Result, ensure};
use testkit::{Kind, Process, eventually};

use crate::bridge::{PATIENCE, Pair, stop};

#[test]
fn takes_only_what_the_filters_let_through() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let write = |client: &mut testkit::Client, value: &str| -> Result<()> {
        for key in ["user:1", "user:secret", "cart:1", "other"] {
            client.cmd(&["SET", key, value])?;
        }
        client.cmd(&["RPUSH", "user:list", value])?;
        Ok(())
    };
    write(&mut client, "snapshot")?;
    client.cmd(&["SELECT", "2"])?;
    write(&mut client, "of another database")?;
    client.cmd(&["SELECT", "0"])?;
    let flags = [
        "--include-prefixes",
        "user:,cart:,test:",
        "--exclude-keys",
        "*:secret",
        "--exclude-types",
        "list",
        "--exclude-dbs",
        "1-9",
    ];
    let mut bridge = pair.run(&flags)?;
    pair.caught_up(&mut bridge)?;
    write(&mut client, "stream")?;
    pair.caught_up(&mut bridge)?;
    let mut destination = pair.destination_client()?;
    for (key, exists) in
        [("user:1", 1), ("cart:1", 1), ("user:secret", 0), ("other", 0), ("user:list", 0)]
    {
        ensure!(destination.cmd(&["EXISTS", key])?.int()? == exists, "{key}");
    }
    ensure!(destination.cmd(&["GET", "user:1"])?.text()? == "stream");
    destination.cmd(&["SELECT", "2"])?;
    ensure!(destination.cmd(&["DBSIZE"])?.int()? == 0);
    stop(&mut bridge)
}

#[test]
fn maps_databases_as_a_file_and_the_environment_say() -> Result<()> {
    let mut pair = Pair::start(Kind::Valkey9_1, Kind::Valkey9_1)?;
    let mut client = pair.source_client()?;
    client.cmd(&["SET", "key", "of 0"])?;
    client.cmd(&["SELECT", "1"])?;
    client.cmd(&["SET", "key", "of 1"])?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("keyferry.toml");
    std::fs::write(&file, "[map]\ndbs = [\"0:5\", \"1:6\"]\n")?;
    let (source, destination, data) = (pair.source.uri(), pair.destination.uri(), pair.data_dir());
    let file = file.display().to_string();
    let env = [
        ("KEYFERRY_SOURCE_URI", source.as_str()),
        ("KEYFERRY_DESTINATION_URI", &destination),
        ("KEYFERRY_DATA_DIR", &data),
    ];
    let mut bridge = Process::start_with(&["run", "--config", &file], &env)?;
    pair.caught_up(&mut bridge)?;
    client.cmd(&["COPY", "key", "copied", "DB", "0"])?;
    pair.caught_up(&mut bridge)?;
    let mut there = pair.destination_client()?;
    for (db, key, value) in [("5", "key", "of 0"), ("6", "key", "of 1"), ("5", "copied", "of 1")] {
        there.cmd(&["SELECT", db])?;
        ensure!(there.cmd(&["GET", key])?.text()? == value, "db {db} {key}");
    }
    stop(&mut bridge)
}

#[test]
fn a_value_of_a_type_that_is_left_out_takes_the_old_one_away() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&["--exclude-types", "string"])?;
    client.cmd(&["HSET", "key", "field", "1"])?;
    client.cmd(&["HSET", "kept", "field", "1"])?;
    client.cmd(&["SET", "key", "a string now"])?;
    client.cmd(&["HSET", "last", "field", "1"])?;
    let mut destination = pair.destination_client()?;
    eventually(PATIENCE, "the last change is there", || {
        ensure!(bridge.is_running()?, "{}", bridge.stderr());
        Ok((destination.cmd(&["EXISTS", "last"])?.int()? == 1).then_some(()))
    })?;
    ensure!(destination.cmd(&["EXISTS", "kept"])?.int()? == 1);
    ensure!(destination.cmd(&["EXISTS", "key"])?.int()? == 0, "what is gone at the source stays");
    stop(&mut bridge)
}
