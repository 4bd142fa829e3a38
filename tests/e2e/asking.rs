//! Commands that only look: nonsense is told, and a reader who has read enough is no error.

use std::process::Command;

use anyhow::{Result, ensure};
use testkit::{Kind, Process, keyferry_binary};

use crate::bridge::{PATIENCE, Pair, stop};

const USAGE: i32 = 2;

/// A pair whose journal holds something, with nobody writing it any more.
fn journal_at_rest() -> Result<Pair> {
    let mut pair = Pair::start(Kind::Redis7_0, Kind::Redis7_0)?;
    let mut bridge = pair.run(&[])?;
    let mut client = pair.source_client()?;
    for number in 0..500 {
        client.cmd(&["SET", &format!("key:{number}"), "value"])?;
    }
    pair.caught_up(&mut bridge)?;
    stop(&mut bridge)?;
    Ok(pair)
}

/// Exit code, standard output, standard error.
fn tail(pair: &Pair, more: &[&str]) -> Result<(Option<i32>, String, String)> {
    let dir = pair.data_dir();
    let mut args = vec!["tail", "--data-dir", &dir];
    args.extend(more);
    let mut process = Process::start(&args)?;
    let code = process.wait(PATIENCE)?.code();
    Ok((code, process.stdout(), process.stderr()))
}

#[test]
fn tail_says_what_is_wrong_with_what_it_is_asked_for() -> Result<()> {
    let pair = journal_at_rest()?;
    let cases: [(&[&str], &str); 8] = [
        (&["--kind", "foo"], "possible values: command"),
        (&["--partition", "77"], "16 partitions, 0 to 15"),
        (&["--partition", "x"], "not a number"),
        (&["--db", "300"], "databases 0 to 255"),
        (&["--key", "[a"], "without its ]"),
        (&["--from", "99999999"], "beyond the end"),
        (&["--from", "5m"], "--since"),
        (&["--since", "4000000000000"], "is to come"),
    ];
    for (args, words) in cases {
        let (code, out, said) = tail(&pair, args)?;
        ensure!(code == Some(USAGE) && said.contains(words), "{args:?}: {code:?} {said}");
        ensure!(out.is_empty(), "{args:?}: {out}");
    }
    let (code, _, said) = tail(&pair, &["--db", "300", "--key", "[a", "--since", "soon"])?;
    let all = ["--db", "--key", "--since"].iter().all(|flag| said.contains(flag));
    ensure!(code == Some(USAGE) && all, "all at once: {said}");
    Ok(())
}

#[test]
fn tail_shows_no_more_than_it_is_asked_for() -> Result<()> {
    let pair = journal_at_rest()?;
    ensure!(tail(&pair, &["-n", "0"])? == (Some(0), String::new(), String::new()));
    let (code, out, _) =
        tail(&pair, &["--from", "beginning", "--kind", "command,image", "-n", "3"])?;
    ensure!(code == Some(0) && out.lines().count() == 3, "{out}");
    let (code, out, said) = tail(&pair, &["--from", "beginning", "--key", "nosuch"])?;
    ensure!(code == Some(0) && out.is_empty() && said.contains("none of the"), "{out}{said}");
    let waiting = ["tail", "--data-dir", &pair.data_dir(), "--follow", "--from", "99999999"];
    let mut waiting = Process::start(&waiting)?;
    waiting.until(PATIENCE, "it says that it waits", |_, said| {
        said.contains("waiting for it").then_some(())
    })?;
    waiting.kill()
}

#[test]
fn a_reader_who_has_read_enough_is_no_error() -> Result<()> {
    let pair = journal_at_rest()?;
    let (dir, destination) = (pair.data_dir(), pair.destination.uri());
    let commands: [&[&str]; 7] = [
        &["tail", "--data-dir", &dir, "--from", "beginning"],
        &["status", "--data-dir", &dir],
        &["quarantine", "list", &destination, "--data-dir", &dir],
        &["config"],
        &["config", "--reference"],
        &["run", "--help"],
        &["completions", "bash"],
    ];
    for args in commands {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = Command::new(keyferry_binary()?).args(args).stdout(writer).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(0) && said.is_empty(), "{args:?}: {output:?}");
    }
    Ok(())
}
