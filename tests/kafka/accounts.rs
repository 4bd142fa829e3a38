//! Two accounts end to end: brokers that ask for TLS and a password, rights as `deploy/kafka-acls.sh` gives them,
//! servers that speak TLS, and each account where it must not be.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use testkit::kafka::{Broker, Operation, Resource, Setup};
use testkit::{
    Dataset, Kind, Process, Server, ServerCert, TlsFiles, Tolerance, Workload, compare, eventually,
};

use crate::apart::{PATIENCE, stop};

const JOURNAL: i32 = 6;
const STREAM: &str = "shop";
const TOPIC: &str = "keyferry.shop";
const CAPTURE: Account = Account { user: "capture", password: "sesame-of-capture" };
const APPLY: Account = Account { user: "apply", password: "sesame-of-apply" };

#[derive(Clone, Copy)]
struct Account {
    user: &'static str,
    password: &'static str,
}

/// Brokers and servers, all with TLS, and configuration files for both sides.
struct Place {
    broker: Broker,
    source: Server,
    destination: Server,
    files: TlsFiles,
    dir: TempDir,
}

// === impl Place ===

impl Place {
    fn start() -> Result<Self> {
        let files = TlsFiles::generate()?;
        let mut setup = Setup::default().tls(&files, ServerCert::Good);
        for account in [CAPTURE, APPLY] {
            setup = setup.user(account.user, account.password);
        }
        let server = || Server::start_tls(Kind::Redis7_0, &files, ServerCert::Good, &[]);
        let (source, destination) = (server()?, server()?);
        let (broker, dir) = (Broker::with(&setup)?, TempDir::new()?);
        Ok(Self { broker, source, destination, files, dir })
    }

    /// A configuration file for one side, with the account's properties beside it.
    fn config(&self, name: &str, account: Account, sections: &str) -> Result<String> {
        let path = |ending: &str| self.dir.path().join(format!("{name}{ending}"));
        let ca = self.files.ca().display().to_string();
        let properties = format!(
            "security.protocol=SASL_SSL\nssl.ca.location={ca}\nsasl.mechanism=SCRAM-SHA-256\n\
             sasl.username={}\nsasl.password={}\n",
            account.user, account.password
        );
        private(&path(".properties"), &properties)?;
        let text = format!(
            "data_dir = {:?}\n\n[stream]\nname = {STREAM:?}\npartitions = 4\n\n[journal]\nuri = \"kafka://{}\"\n\n\
             [kafka]\nproperties_file = {:?}\n{sections}",
            path(".data"),
            self.broker.bootstrap(),
            path(".properties")
        );
        private(&path(".toml"), &text)?;
        Ok(path(".toml").display().to_string())
    }

    fn capture(&self, name: &str, account: Account) -> Result<Process> {
        let (uri, ca) = (self.source.uri(), self.files.ca());
        let sections = format!("\n[source]\nuri = {uri:?}\ntls_ca_file = {ca:?}\n");
        Process::start(&["capture", "--config", &self.config(name, account, &sections)?])
    }

    fn apply(&self, name: &str, account: Account) -> Result<Process> {
        let (uri, ca) = (self.destination.uri(), self.files.ca());
        let sections = format!(
            "create = false\n\n[destination]\nname = \"copy\"\nuri = {uri:?}\ntls_ca_file = {ca:?}\n"
        );
        Process::start(&["apply", "--config", &self.config(name, account, &sections)?])
    }

    /// Gives the rights that the script would give, which names them for Kafka's own tool.
    fn give_rights(&self, words: &[&str]) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka-acls.sh");
        let output = Command::new(script)
            .args(words)
            .env("BOOTSTRAP", self.broker.admin())
            .env("DRY_RUN", "yes")
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)?.lines().try_for_each(|line| self.give(line))
    }

    fn give(&self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let of = |option: &'static str| {
            words.windows(2).filter_map(move |pair| match pair {
                [name, value] if *name == option => Some(*value),
                _ => None,
            })
        };
        let user = of("--allow-principal").next().and_then(|user| user.strip_prefix("User:"));
        let user = user.context("a right of somebody")?;
        ensure!(
            of("--resource-pattern-type").eq(["literal"]),
            "a right on more than is named: {line}"
        );
        let resources = of("--topic").map(|name| (Resource::Topic, name));
        let resources: Vec<_> =
            resources.chain(of("--group").map(|name| (Resource::Group, name))).collect();
        for operation in of("--operation") {
            let operation = match operation {
                "Read" => Operation::Read,
                "Write" => Operation::Write,
                "Create" => Operation::Create,
                "Describe" => Operation::Describe,
                "DescribeConfigs" => Operation::DescribeConfigs,
                other => bail!("a right that nobody needs: {other}"),
            };
            for (resource, name) in &resources {
                self.broker.allow_exactly(user, operation, *resource, name)?;
            }
        }
        Ok(())
    }

    fn is_same(&self) -> Result<bool> {
        let source = Dataset::read(&mut self.source.client()?)?;
        let destination = Dataset::read(&mut self.destination.client()?)?;
        let kind = self.source.kind();
        let tolerance = Tolerance::native(kind, kind).with_lag(kind, 500);
        Ok(compare(&source, &destination, &tolerance).is_empty())
    }
}

/// For the account alone, as keyferry asks for.
fn private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Into::into)
}

/// It ends with the journal's code, names all of these words, and no password.
fn assert_refused(mut process: Process, words: &[String]) -> Result<()> {
    let status = process.wait(PATIENCE)?;
    let said = process.stderr();
    ensure!(status.code() == Some(JOURNAL), "exit code {:?}:\n{said}", status.code());
    for word in words {
        ensure!(said.contains(word), "nothing is said of {word:?}:\n{said}");
    }
    ensure!(!said.contains("sesame"), "a password is shown:\n{said}");
    Ok(())
}

#[test]
fn two_accounts_carry_everything_and_each_is_kept_from_the_others_part() -> Result<()> {
    let place = Place::start()?;
    place.give_rights(&["capture", CAPTURE.user, STREAM])?;
    place.give_rights(&["apply", APPLY.user, STREAM, "copy"])?;
    let mut workload = Workload::new(testkit::seed(), Kind::Redis7_0);
    let mut client = place.source.client()?;
    workload.run(&mut client, 300)?;
    let mut capture = place.capture("capture", CAPTURE)?;
    capture
        .until(PATIENCE, "it runs", |_, said| said.contains("metrics and status").then_some(()))?;
    // It may make no topic: until capture has, it ends, and its supervisor starts it again.
    let mut apply = place.apply("apply", APPLY)?;
    eventually(PATIENCE, "an apply finds the topics", || {
        if !apply.is_running()? {
            let said = apply.stderr();
            ensure!(!said.contains("lacks the right"), "{said}");
            apply = place.apply("apply", APPLY)?;
        }
        Ok((place.destination.client()?.cmd(&["DBSIZE"])?.int()? > 0).then_some(()))
    })?;
    workload.run(&mut client, 300)?;
    // A flush that is still on its way would take the key away.
    let same = |mut processes: [&mut Process; 2]| {
        eventually(PATIENCE, "both hold the same", || {
            for process in &mut processes {
                ensure!(process.is_running()?, "one has ended:\n{}", process.stderr());
            }
            Ok(place.is_same()?.then_some(()))
        })
    };
    same([&mut capture, &mut apply])?;
    // A key that cannot be written: its letter goes to the topic that only applies may write.
    place.destination.client()?.cmd(&["SET", "in-the-way", "a string"])?;
    let mut client = place.source.client()?;
    client.cmd(&["RPUSH", "in-the-way", "a"])?;
    let held = |apply: &mut Process| {
        apply.until(PATIENCE, "it sets the key aside", |_, said| {
            said.contains("in-the-way").then_some(())
        })
    };
    held(&mut apply)?;
    client.cmd(&["SET", "in-the-way", "a whole state"])?;
    same([&mut capture, &mut apply])?;
    for process in [&capture, &apply] {
        let said = process.stderr();
        ensure!(!said.contains("lacks the right") && !said.contains("sesame"), "{said}");
    }

    stop(&mut apply)?;
    stop(&mut capture)?;

    // Each where it must not be. Nobody writes the stream: a second capture would stand by.
    let lacks = |right: &str| ["lacks the right".to_owned(), right.to_owned()];
    let denied = lacks(&format!("Write on topic {TOPIC}"));
    assert_refused(place.capture("wrong-capture", APPLY)?, &denied)?;
    let denied = lacks(&format!("on topic {TOPIC}.dead"));
    assert_refused(place.apply("wrong-apply", CAPTURE)?, &denied)?;
    let wrong = |account: Account| Account { password: "sesame-of-nobody", ..account };
    let named = ["does not let us in", "uthentication", "user and password"].map(str::to_owned);
    assert_refused(place.capture("capture-2", wrong(CAPTURE))?, &named)?;
    assert_refused(place.apply("apply-2", wrong(APPLY))?, &named)
}
