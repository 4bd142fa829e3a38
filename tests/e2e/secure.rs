//! TLS, client certificates, ACL users and Unix sockets, end to end.

use anyhow::{Result, ensure};
use testkit::{Kind, Process, Server, ServerCert, TlsFiles, eventually};

use crate::bridge::{PATIENCE, stop};

fn arrives(source: &Server, bridge: &mut Process, destination: &Server) -> Result<()> {
    source.client()?.cmd(&["SET", "over", "there"])?;
    let mut client = destination.client()?;
    eventually(PATIENCE, "the key has arrived", || {
        ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
        Ok((client.cmd(&["GET", "over"])?.text().ok().as_deref() == Some("there")).then_some(()))
    })
}

#[test]
fn goes_over_unix_sockets() -> Result<()> {
    let source = Server::start(Kind::Valkey9_1, &[])?;
    let destination = Server::start(Kind::Valkey9_1, &[])?;
    let uri = |server: &Server| format!("unix://{}", server.socket().display());
    let dir = tempfile::tempdir()?;
    let data = dir.path().display().to_string();
    let mut bridge =
        Process::start(&["run", &uri(&source), &uri(&destination), "--data-dir", &data])?;
    arrives(&source, &mut bridge, &destination)?;
    stop(&mut bridge)
}

#[test]
fn needs_no_more_than_the_rights_that_are_documented() -> Result<()> {
    let source = Server::start(Kind::Redis7_0, &[])?;
    let destination = Server::start(Kind::Redis7_0, &[])?;
    let reader = [
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">pw",
        "-@all",
        "+psync",
        "+replconf",
        "+ping",
        "+info",
        "+time",
        "+command",
        "~keyferry:heartbeat:*",
        "+set",
    ];
    source.client()?.cmd(&reader)?;
    let rules = "ACL SETUSER writer on >pw ~* -@all +@write +ping +info +select +scan +get +hgetall \
         +hexists +watch +multi +exec +discard +client|setname +client|list +client|kill +type +getrange +hmget";
    let writer: Vec<&str> = rules.split_whitespace().collect();
    destination.client()?.cmd(&writer)?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().display().to_string();
    let env = [
        ("KEYFERRY_SOURCE_USER", "reader"),
        ("KEYFERRY_SOURCE_PASSWORD", "pw"),
        ("KEYFERRY_DESTINATION_USER", "writer"),
        ("KEYFERRY_DESTINATION_PASSWORD", "pw"),
    ];
    let args = ["run", &source.uri(), &destination.uri(), "--data-dir", &data];
    let mut bridge = Process::start_with(&args, &env)?;
    arrives(&source, &mut bridge, &destination)?;
    stop(&mut bridge)
}

#[test]
fn speaks_tls_with_client_certificates() -> Result<()> {
    let files = TlsFiles::generate()?;
    let clients = ["tls-auth-clients yes"];
    let source = Server::start_tls(Kind::Redis7_0, &files, ServerCert::Good, &clients)?;
    let destination = Server::start_tls(Kind::Redis7_0, &files, ServerCert::Good, &[])?;
    let (cert, key) = files.client();
    let dir = tempfile::tempdir()?;
    let [data, ca, cert, key] =
        [dir.path(), &files.ca(), &cert, &key].map(|path| path.display().to_string());
    let (from, to) = (source.uri(), destination.uri());
    let mut args = vec!["run", &from, &to, "--data-dir", &data];
    args.extend(["--source-tls-ca-file", &ca, "--destination-tls-ca-file", &ca]);
    args.extend(["--source-tls-cert-file", &cert, "--source-tls-key-file", &key]);
    args.extend(["--source-tls-min-version", "1.3"]);
    let mut bridge = Process::start(&args)?;
    arrives(&source, &mut bridge, &destination)?;
    stop(&mut bridge)
}

#[test]
fn does_not_trust_an_unknown_authority() -> Result<()> {
    let (files, others) = (TlsFiles::generate()?, TlsFiles::generate()?);
    let source = Server::start_tls(Kind::Redis7_0, &files, ServerCert::Good, &[])?;
    let destination = Server::start(Kind::Redis7_0, &[])?;
    let dir = tempfile::tempdir()?;
    let [data, ca] = [dir.path(), &others.ca()].map(|path| path.display().to_string());
    let args = [
        "run",
        &source.uri(),
        &destination.uri(),
        "--data-dir",
        &data,
        "--source-tls-ca-file",
        &ca,
    ];
    let mut bridge = Process::start(&args)?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(3), "{}", bridge.stderr());
    ensure!(bridge.stderr().contains("certificate"), "{}", bridge.stderr());
    Ok(())
}

#[test]
fn a_password_file_that_is_rotated_is_read_again() -> Result<()> {
    let source = Server::start(Kind::Redis7_0, &[])?;
    let destination = Server::start(Kind::Redis7_0, &[])?;
    let mut admin = destination.client()?;
    admin.cmd(&["CONFIG", "SET", "requirepass", "first"])?;
    let dir = tempfile::tempdir()?;
    let (data, file) = (dir.path().join("data"), dir.path().join("secret"));
    let [data, path] = [&data, &file].map(|path| path.display().to_string());
    std::fs::write(&file, "first\n")?;
    let args = [
        "run",
        &source.uri(),
        &destination.uri(),
        "--data-dir",
        &data,
        "--destination-password-file",
        &path,
    ];
    let mut bridge = Process::start(&args)?;
    let mut client = source.client()?;
    let mut arrives = |bridge: &mut Process, admin: &mut testkit::Client, value: &str| {
        client.cmd(&["SET", "over", value])?;
        eventually(PATIENCE, "the key has arrived", || {
            ensure!(bridge.is_running()?, "the bridge ended:\n{}", bridge.stderr());
            Ok((admin.cmd(&["GET", "over"])?.text().ok().as_deref() == Some(value)).then_some(()))
        })
    };
    arrives(&mut bridge, &mut admin, "one")?;
    admin.cmd(&["CONFIG", "SET", "requirepass", "second"])?;
    admin.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    eventually(PATIENCE, "it says what it waits for", || {
        Ok(bridge.stderr().contains("wrong user or password").then_some(()))
    })?;
    std::fs::write(&file, "second\n")?;
    arrives(&mut bridge, &mut admin, "two")?;
    ensure!(!bridge.stderr().contains("second"), "{}", bridge.stderr());
    stop(&mut bridge)?;
    // At a start it is a mistake in the settings.
    std::fs::write(&file, "typo\n")?;
    let mut bridge = Process::start(&args)?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(4), "{}", bridge.stderr());
    // And a password that stays wrong is given up, as a matter of the destination.
    std::fs::write(&file, "second\n")?;
    let mut bridge =
        Process::start(&[&args[..], &["--destination-refused-window", "1s"]].concat())?;
    arrives(&mut bridge, &mut admin, "three")?;
    admin.cmd(&["CONFIG", "SET", "requirepass", "third"])?;
    admin.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    ensure!(bridge.wait(PATIENCE)?.code() == Some(4), "{}", bridge.stderr());
    ensure!(bridge.stderr().contains("gave up after"), "{}", bridge.stderr());
    Ok(())
}

#[test]
fn rights_that_are_missing_are_named_all_at_once() -> Result<()> {
    for kind in [Kind::Redis6_2, Kind::Redis8_2, Kind::Valkey9_1] {
        let source = Server::start(kind, &[])?;
        let destination = Server::start(kind, &[])?;
        let mut client = destination.client()?;
        let lacks = |client: &mut testkit::Client, rights: &[&str]| -> Result<String> {
            let user = ["ACL", "SETUSER", "writer", "on", ">pw", "~*", "+@all"];
            client.cmd(&[&user, rights].concat())?;
            let dir = tempfile::tempdir()?;
            let data = dir.path().display().to_string();
            let env =
                [("KEYFERRY_DESTINATION_USER", "writer"), ("KEYFERRY_DESTINATION_PASSWORD", "pw")];
            let args = ["run", &source.uri(), &destination.uri(), "--data-dir", &data];
            let mut bridge = Process::start_with(&args, &env)?;
            let code = bridge.wait(PATIENCE)?.code();
            ensure!(code == Some(4), "{code:?}: {}", bridge.stderr());
            Ok(bridge.stderr())
        };
        let said = lacks(&mut client, &["-exec", "-watch"])?;
        ensure!(said.contains("ACL SETUSER writer +exec +watch."), "{kind}: {said}");
        let said = lacks(&mut client, &["-hgetall", "-client"])?;
        let wanted = "writer +hgetall +client|setname +client|list +client|kill.";
        ensure!(said.contains(wanted), "{kind}: {said}");
        let left = client.cmd(&["DBSIZE"])?.int()?;
        ensure!(left == 0, "{kind}: asking has written {left} keys");
    }
    Ok(())
}

#[test]
fn rights_that_import_mode_needs_are_named_all_at_once() -> Result<()> {
    let source = Server::start(Kind::Valkey9_1, &[])?;
    let destination = Server::start(Kind::Valkey9_1, &[])?;
    let mut client = destination.client()?;
    let rules = "ACL SETUSER writer on >pw ~* +@all -config|set -client|import-source";
    client.cmd(&rules.split_whitespace().collect::<Vec<_>>())?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().display().to_string();
    let env = [("KEYFERRY_DESTINATION_USER", "writer"), ("KEYFERRY_DESTINATION_PASSWORD", "pw")];
    let args = ["run", &source.uri(), &destination.uri(), "--data-dir", &data, "--import-mode"];
    let mut bridge = Process::start_with(&args, &env)?;
    arrives(&source, &mut bridge, &destination)?;
    let said = bridge.stderr();
    ensure!(said.contains("ACL SETUSER writer +client|import-source +config|set."), "{said}");
    ensure!(said.contains("expiry is held back instead"), "{said}");
    stop(&mut bridge)?;
    ensure!(!bridge.stderr().contains("may still be in import mode"), "{}", bridge.stderr());
    Ok(())
}

#[test]
fn the_end_of_an_outage_is_told_once() -> Result<()> {
    let mut pair = crate::bridge::Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    pair.caught_up(&mut bridge)?;
    let mut destination = pair.destination_client()?;
    destination.cmd(&["CONFIG", "SET", "requirepass", "other"])?;
    destination.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
    bridge.until(PATIENCE, "it says what is wanted", |_, said| {
        said.contains("KEYFERRY_DESTINATION_PASSWORD").then_some(())
    })?;
    destination.cmd(&["CONFIG", "SET", "requirepass", ""])?;
    pair.source_client()?.cmd(&["CLIENT", "KILL", "TYPE", "replica"])?;
    let ends = ["the destination is reachable again", "the link to the source is up again"];
    bridge.until(PATIENCE, "it says that both are over", |_, said| {
        ends.iter().all(|end| said.contains(end)).then_some(())
    })?;
    pair.caught_up(&mut bridge)?;
    let said = bridge.stderr();
    for end in ends {
        ensure!(said.matches(end).count() == 1, "{end}: {said}");
    }
    stop(&mut bridge)
}
