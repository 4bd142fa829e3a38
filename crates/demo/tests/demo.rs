//! The demo with a little data, over the servers' own replication: the comparison finds nothing
//! where nothing differs, and all that does.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use testkit::{Kind, Server, Value, eventually};

const LIMIT: Duration = Duration::from_secs(20);

/// Runs the program.
fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyferry-demo")).args(arguments).output().unwrap()
}

/// What it printed; it must have ended as `success` says.
#[track_caller]
fn told(output: &Output, success: bool) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), success, "{text}\n{errors}");
    text
}

/// A directory like those of scripts/demo-data, with records of our own in the same forms.
fn little_data() -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut files: [String; 7] = Default::default();
    let [cities, subdivisions, languages, words, surnames, characters, edits] = &mut files;
    for n in 0..300 {
        let (country, zone) = (["AA", "BB", "CC"][n % 3], ["Here/There", "Far/Away"][n % 2]);
        let comma = if n == 0 { "" } else { "," };
        writeln!(
            cities,
            r#"{comma}"{n}":{{"geonameid":{n},"name":"City {n}","latitude":{}.5,"longitude":{}.25,
            "countrycode":"{country}","population":{},"timezone":"{zone}","alternatenames":[]}}"#,
            n % 80,
            n % 170,
            1000 + 97 * n
        )
        .unwrap();
        writeln!(subdivisions, r#"{comma}{{"code":"AA-{n}","name":"Part {n}","type":"Part"}}"#)
            .unwrap();
        writeln!(languages, r#"{comma}{{"alpha_3":"l{n}","name":"Tongue {n}","type":"L"}}"#)
            .unwrap();
        let [a, b] = [n / 26 % 26, n % 26].map(|n| char::from(b'a' + u8::try_from(n).unwrap()));
        writeln!(words, "{a}{b}s\n{b}{a}s\nword's\n{a}é").unwrap();
        writeln!(surnames, "NAME{a}{b}{n}   0.{n:03}  1.0  {n}").unwrap();
        writeln!(characters, "{:04X};CHARACTER {n};Lu;0;L;;;;;N;;;;;", 0x41 + n).unwrap();
        writeln!(
            edits,
            "commit {n:040x}\nAuthor: Author {} <a@example.org>\nDate:   Fri Dec 16 23:{:02}:00 2022 \
             +0200\n\n    Subject {n}\n\n src/file{}.c | 3 ++-\n 1 file changed\n",
            n % 7,
            n % 60,
            n % 40
        )
        .unwrap();
    }
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    put("cities.json", &format!("{{{cities}}}"));
    let countries = ["AA", "BB", "CC"].map(|c| format!(r#"{{"alpha_2":"{c}","name":"{c} Land"}}"#));
    put("countries.json", &format!(r#"{{"3166-1":[{}]}}"#, countries.join(",")));
    put("subdivisions.json", &format!(r#"{{"3166-2":[{subdivisions}]}}"#));
    put("languages.json", &format!(r#"{{"639-3":[{languages}]}}"#));
    put("words", words);
    put("surnames", surnames);
    put("female-names", "ADA 0.2 0.2 1\nGRACE 0.1 0.3 2\n");
    put("male-names", "EDSGER 0.1 0.1 1\n");
    put("characters", characters);
    put("blocks", "# Blocks\n\n0000..007F; Basic Latin\n0080..FFFF; The Others\n");
    put("edits", edits);
    put("versions", "names\t0.3.0\n");
    dir
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_replica_is_equal_and_every_planted_difference_is_found() {
    let data = little_data();
    for kind in ["redis-7.0", "valkey-9.1"] {
        let pair = ["--source", kind, "--destination", kind];
        let short = ["--seconds", "1", "--least-keys", "1000", "--data", text(data.path())];
        let output =
            demo(&[&["run", "--bridge", "replicaof", "--plant"], &pair[..], &short].concat());
        let told = told(&output, true);
        assert!(told.contains("differences    0\n"), "{told}");
        assert!(
            told.contains("11 things were changed at the destination: all were found"),
            "{told}"
        );
        assert!(told.contains("Source and destination are equal."), "{told}");
    }
}

#[test]
fn less_data_than_was_asked_for_is_a_failure() {
    let data = little_data();
    let output = demo(&["run", "--bridge", "replicaof", "--data", text(data.path())]);
    let told = told(&output, false);
    assert!(told.contains("keys only; wanted: 300000"), "{told}");
}

#[test]
fn missing_data_is_named_with_what_fetches_it() {
    let empty = TempDir::new().unwrap();
    let told = told(&demo(&["run", "--bridge", "replicaof", "--data", text(empty.path())]), false);
    assert!(told.contains("(scripts/demo-data fetches it)"), "{told}");
}

#[test]
fn without_keyferry_the_way_to_start_is_named() {
    let data = little_data();
    let nowhere = data.path().join("keyferry");
    let run = ["run", "--least-keys", "1", "--keyferry", text(&nowhere)];
    let output = demo(&[&run[..], &["--data", text(data.path())]].concat());
    let told = told(&output, false);
    assert!(told.contains("start the demo by ./demo"), "{told}");
}

#[test]
fn the_parts_work_on_servers_of_ones_own() {
    let data = little_data();
    let servers = [0, 1].map(|_| Server::start(Kind::Redis7_0, &[]).unwrap());
    let [source, destination] = servers.each_ref().map(Server::uri);
    told(&demo(&["load", &source, "--data", text(data.path())]), true);
    let differing = told(&demo(&["compare", &source, &destination]), false);
    assert!(differing.contains("db 0 key \"city:0\": missing on the right"), "{differing}");
    assert!(differing.contains("NOT the same"), "{differing}");

    let port = servers[0].port().to_string();
    let [mut primary, mut replica] = servers.each_ref().map(|server| server.client().unwrap());
    replica.cmd(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    let written =
        told(&demo(&["write", &source, "--seconds", "1", "--data", text(data.path())]), true);
    assert!(written.contains(" commands"), "{written}");
    primary.cmd(&["SET", "last", "1"]).unwrap();
    eventually(LIMIT, "the replica has it all", || {
        let got = replica.ask(&["GET", "last"])?;
        Ok((got == Value::Bulk(b"1".to_vec())).then_some(()))
    })
    .unwrap();
    let same = told(&demo(&["compare", &source, &destination]), true);
    assert!(same.contains("differences    0\n"), "{same}");
}
