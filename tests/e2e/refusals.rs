//! Wrong use: a message that a stranger understands, a documented exit code, nothing lost.

use std::io::Write;
use std::net::TcpListener;

use anyhow::{Context, Result, ensure};
use testkit::{Kind, Process, Relay, Server, Signal, Then, Value, eventually, free_port};

use crate::bridge::{PATIENCE, Pair, stop};

const USAGE: i32 = 2;
const SOURCE: i32 = 3;
const DESTINATION: i32 = 4;
const NOT_EMPTY: i32 = 5;
const JOURNAL: i32 = 6;
const GAVE_UP: i32 = 7;

/// The bridge ends with this code, and says all of these words.
fn assert_refused(mut bridge: Process, code: i32, words: &[&str]) -> Result<()> {
    let status = bridge.wait(PATIENCE)?;
    let said = bridge.stderr();
    ensure!(status.code() == Some(code), "exit code {:?}, not {code}:\n{said}", status.code());
    for word in words.iter().chain(&["what to do"]) {
        ensure!(said.contains(word), "nothing is said of {word:?}:\n{said}");
    }
    Ok(())
}

fn run_between(source: &str, destination: &str, env: &[(&str, &str)]) -> Result<Process> {
    let dir = tempfile::tempdir()?.keep().display().to_string();
    Process::start_with(&["run", source, destination, "--data-dir", &dir], env)
}

#[test]
fn refuses_bad_flags_with_the_usage() -> Result<()> {
    let mut process = Process::start(&["run", "--no-such-flag"])?;
    ensure!(process.wait(PATIENCE)?.code() == Some(USAGE), "{}", process.stderr());
    ensure!(process.stderr().contains("--no-such-flag"), "{}", process.stderr());
    assert_refused(
        run_between("redis://h:1", "http://h:2", &[])?,
        USAGE,
        &["destination.uri", "redis"],
    )?;
    assert_refused(
        run_between("redis://user:hidden@h:1", "redis://h:2", &[])?,
        USAGE,
        &["KEYFERRY_SOURCE_PASSWORD"],
    )
}

#[test]
fn names_a_host_that_does_not_exist() -> Result<()> {
    let server = Server::start(Kind::Redis7_0, &[])?;
    let nowhere = "redis://no-such-host.invalid:6379";
    assert_refused(run_between(nowhere, &server.uri(), &[])?, SOURCE, &["no-such-host.invalid"])?;
    assert_refused(
        run_between(&server.uri(), nowhere, &[])?,
        DESTINATION,
        &["no-such-host.invalid"],
    )
}

#[test]
fn names_a_port_where_nobody_listens() -> Result<()> {
    let server = Server::start(Kind::Redis7_0, &[])?;
    let nowhere = format!("redis://127.0.0.1:{}", free_port()?);
    assert_refused(run_between(&nowhere, &server.uri(), &[])?, SOURCE, &[&nowhere])?;
    assert_refused(run_between(&server.uri(), &nowhere, &[])?, DESTINATION, &[&nowhere])
}

#[test]
fn says_that_a_password_is_wrong_and_never_shows_it() -> Result<()> {
    let locked = Server::start(Kind::Redis7_0, &["requirepass right"])?;
    let open = Server::start(Kind::Redis7_0, &[])?;
    let wrong = [("KEYFERRY_SOURCE_PASSWORD", "wrong-secret")];
    let mut bridge = run_between(&locked.uri(), &open.uri(), &wrong)?;
    bridge.wait(PATIENCE)?;
    ensure!(!bridge.stderr().contains("wrong-secret"), "{}", bridge.stderr());
    assert_refused(bridge, SOURCE, &["password"])?;
    assert_refused(run_between(&open.uri(), &locked.uri(), &[])?, DESTINATION, &["password"])
}

#[test]
fn names_the_permission_that_is_missing() -> Result<()> {
    let source = Server::start(Kind::Redis7_0, &[])?;
    let open = Server::start(Kind::Redis7_0, &[])?;
    let rule = ["ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-psync"];
    source.client()?.cmd(&rule)?;
    let env = [("KEYFERRY_SOURCE_USER", "weak"), ("KEYFERRY_SOURCE_PASSWORD", "pw")];
    assert_refused(run_between(&source.uri(), &open.uri(), &env)?, SOURCE, &["psync"])
}

/// A PONG passes, the answer to INFO does not.
const GREETING_BYTES: u64 = 200;

#[test]
fn waits_for_servers_that_have_answered_and_break_off() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    for (number, name) in ["source", "destination"].into_iter().enumerate() {
        let server = if number == 0 { &pair.source } else { &pair.destination };
        let relay = Relay::start(server.port(), GREETING_BYTES, Then::Cut)?;
        let mut uris = [pair.source.uri(), pair.destination.uri()];
        uris[number] = relay.uri();
        let dir = tempfile::TempDir::new()?;
        let dir = dir.path().join("data").display().to_string();
        let args = ["run", &uris[0], &uris[1], "--data-dir", &dir, "--existing", "overwrite"];
        let mut bridge = Process::start(&args)?;
        let waits = format!("the {name} has answered and does not any more");
        bridge
            .until(PATIENCE, &waits, |_, said| (said.matches(&waits).count() > 1).then_some(()))?;
        relay.lift();
        pair.caught_up(&mut bridge)?;
        stop(&mut bridge)?;
    }
    Ok(())
}

#[test]
fn gives_up_on_a_server_that_has_answered_once() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let relay = Relay::start(pair.source.port(), GREETING_BYTES, Then::Cut)?;
    let dir = tempfile::TempDir::new()?;
    let dir = dir.path().join("data").display().to_string();
    let window = ["--source-reconnect-window", "500ms"];
    let (source, destination) = (relay.uri(), pair.destination.uri());
    let mut args = vec!["run", &source, &destination, "--data-dir", &dir];
    args.extend(window);
    assert_refused(Process::start(&args)?, GAVE_UP, &["gave up", &source])
}

#[test]
fn recognises_what_is_not_a_redis() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let uri = format!("redis://{}", listener.local_addr()?);
    let web = std::thread::spawn(move || -> Result<()> {
        // One for the look whether the two are the same, one for the capture itself.
        for connection in listener.incoming().take(2) {
            connection?.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        }
        Ok(())
    });
    let open = Server::start(Kind::Redis7_0, &[])?;
    assert_refused(run_between(&uri, &open.uri(), &[])?, SOURCE, &["HTTP"])?;
    web.join().ok().context("the web server panicked")?
}

#[test]
fn refuses_a_destination_that_holds_keys() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut destination = pair.destination_client()?;
    destination.cmd(&["SET", "precious", "1"])?;
    assert_refused(pair.run(&[])?, NOT_EMPTY, &["1 key", "--existing"])?;
    ensure!(destination.cmd(&["GET", "precious"])?.text()? == "1");
    Ok(())
}

#[test]
fn refuses_a_destination_that_is_read_only() -> Result<()> {
    let primary = Server::start(Kind::Redis7_0, &[])?;
    let replica =
        Server::start(Kind::Redis7_0, &[&format!("replicaof 127.0.0.1 {}", primary.port())])?;
    let source = Server::start(Kind::Redis7_0, &[])?;
    assert_refused(run_between(&source.uri(), &replica.uri(), &[])?, DESTINATION, &["replica"])
}

#[test]
fn waits_while_the_destination_is_out_of_memory() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.destination_client()?.cmd(&["CONFIG", "SET", "maxmemory", "1"])?;
    let mut client = pair.source_client()?;
    for number in 0..100 {
        client.cmd(&["INCR", "counter"])?;
        client.cmd(&["RPUSH", "list", &number.to_string()])?;
    }
    bridge.until(PATIENCE, "it says that memory is full", |_, said| {
        said.contains("OOM").then_some(())
    })?;
    pair.destination_client()?.cmd(&["CONFIG", "SET", "maxmemory", "0"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

/// A snapshot that does not fit: whole collections, and large ones that travel in parts.
#[test]
fn waits_while_a_snapshot_does_not_fit() -> Result<()> {
    let limit = "maxmemory 3mb";
    let mut pair = Pair::start_with(Kind::Redis7_0, &[], Kind::Redis7_0, &[limit])?;
    let mut client = pair.source_client()?;
    let filled = client.batch(&collections_of_five_megabytes())?;
    ensure!(filled.iter().all(|reply| matches!(reply, Value::Int(_))), "the source is filled");
    let mut bridge = pair.run(&[])?;
    bridge.until(PATIENCE, "it says that memory is full", |_, said| {
        said.contains("OOM").then_some(())
    })?;
    // What comes meanwhile waits as well.
    client.cmd(&["INCR", "counter"])?;
    pair.destination_client()?.cmd(&["CONFIG", "SET", "maxmemory", "0"])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

fn collections_of_five_megabytes() -> Vec<Vec<String>> {
    let small = (0..1_000).map(|number| {
        let mut words = vec!["RPUSH".to_owned(), format!("small:{number}")];
        words.extend((0..20).map(|element| format!("{element:050}")));
        words
    });
    let large = (0..100).map(|number| {
        let mut words = vec!["SADD".to_owned(), "large".to_owned()];
        words.extend((0..500).map(|element| format!("{:040}", number * 500 + element)));
        words
    });
    small.chain(large).collect()
}

#[test]
fn refuses_a_second_process_on_one_journal() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    assert_refused(pair.run(&[])?, JOURNAL, &["in use", &bridge.pid().to_string()])?;
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)
}

#[test]
fn refuses_a_damaged_journal_by_file_and_byte() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let mut bridge = pair.run(&["--journal-segment-bytes", "64KiB"])?;
    for number in 0..3000 {
        client.cmd(&["SET", &format!("key:{number}"), &format!("{number:0200}")])?;
    }
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    let damaged = damage_a_segment(&pair.data_dir())?;
    assert_refused(pair.run(&[])?, JOURNAL, &[&damaged, "byte"])
}

/// Flips a bit in the middle of the oldest segment, which is sealed, and names the file.
fn damage_a_segment(data_dir: &str) -> Result<String> {
    let journal = std::path::Path::new(data_dir).join("journal/main");
    let mut segments: Vec<_> = std::fs::read_dir(journal)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    let oldest = segments.first().context("no segment")?;
    let mut bytes = std::fs::read(oldest)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("an empty segment")? ^= 0x10;
    std::fs::write(oldest, bytes)?;
    Ok(oldest.file_name().context("no name")?.to_string_lossy().into_owned())
}

#[test]
fn loses_nothing_when_interrupted_in_the_middle_of_a_snapshot() -> Result<()> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut client = pair.source_client()?;
    let keys: Vec<Vec<String>> = (0..100_000)
        .map(|number| vec!["SET".to_owned(), format!("key:{number}"), format!("{number:0100}")])
        .collect();
    client.batch(&keys)?;
    let mut bridge = pair.run(&[])?;
    let mut destination = pair.destination_client()?;
    eventually(PATIENCE, "the snapshot is under way", || {
        Ok((destination.cmd(&["DBSIZE"])?.int()? > 100).then_some(()))
    })?;
    bridge.signal(Signal::INT)?;
    let status = bridge.wait(PATIENCE)?;
    ensure!(status.code() == Some(0), "{status}:\n{}", bridge.stderr());
    ensure!(bridge.stderr().contains("stopped"), "it says where it stopped:\n{}", bridge.stderr());
    client.cmd(&["DEL", "key:1"])?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    pair.assert_same()?;
    stop(&mut bridge)
}

#[test]
fn refuses_to_copy_a_server_to_itself() -> Result<()> {
    let server = Server::start(Kind::Redis7_0, &[])?;
    let by_socket = format!("unix://{}", server.socket().display());
    assert_refused(run_between(&server.uri(), &by_socket, &[])?, USAGE, &["the same server"])
}

#[test]
fn refuses_to_overwrite_what_may_be_the_source_itself() -> Result<()> {
    let server = Server::start(Kind::Redis7_0, &[])?;
    server.client()?.cmd(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-info"])?;
    let destination = format!("redis://app@127.0.0.1:{}", server.port());
    let dir = tempfile::tempdir()?.keep().display().to_string();
    let args = ["run", &server.uri(), &destination, "--data-dir", &dir, "--existing", "overwrite"];
    let bridge = Process::start_with(&args, &[("KEYFERRY_DESTINATION_PASSWORD", "pw")])?;
    assert_refused(bridge, DESTINATION, &["whether it is", "ACL SETUSER app +info"])
}

#[test]
fn refuses_a_mapping_to_a_database_that_the_destination_lacks() -> Result<()> {
    let pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let bridge = pair.run(&["--map-dbs", "0:99"])?;
    assert_refused(bridge, DESTINATION, &["0:99", "16 databases", &pair.destination.uri()])
}

#[test]
fn refuses_to_copy_a_replica_to_its_primary() -> Result<()> {
    let primary = Server::start(Kind::Redis7_0, &[])?;
    let replica =
        Server::start(Kind::Redis7_0, &[&format!("replicaof 127.0.0.1 {}", primary.port())])?;
    let mut client = replica.client()?;
    eventually(PATIENCE, "the replica is in step", || {
        let link = client.info_field("replication", "master_link_status")?;
        Ok((link.as_deref() == Some("up")).then_some(()))
    })?;
    let words = ["one replication history", "REPLICAOF NO ONE"];
    assert_refused(run_between(&replica.uri(), &primary.uri(), &[])?, USAGE, &words)
}
